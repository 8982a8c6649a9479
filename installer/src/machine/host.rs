//! The running system behind [`super::Machine`]: files with their modes and owners,
//! accounts, and the programs that take up what was written for them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use argon2::{Algorithm, Argon2, Params, Version};

use super::{Account, Refresh};
use crate::answers::{FileSystem, Secret};
use crate::durable;
use crate::facts::{Volume, VolumeKind};
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::render::{File, Owner};
use crate::run::Cmd;

/// No file system that Hearth makes on HEARTH has larger clusters.
const CLUSTER: u64 = 32 << 10;

pub(super) fn read_file(path: &str) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {path}")),
    }
}

pub(super) fn has_file(file: &File) -> Result<bool> {
    let Ok(meta) = fs::symlink_metadata(&file.path) else { return Ok(false) };
    let same = meta.is_file()
        && meta.mode() & 0o7777 == file.mode
        && (meta.uid(), meta.gid()) == (file.owner.uid, file.owner.gid)
        && meta.len() == file.bytes.len() as u64;
    Ok(same && read_file(&file.path)?.as_ref() == Some(&*file.bytes))
}

pub(super) fn put_file(file: &File) -> Result<()> {
    durable::write_as(Path::new(&file.path), &file.bytes, 0o600, |handle| {
        fchown(handle, Some(file.owner.uid), Some(file.owner.gid))?;
        handle.set_permissions(Permissions::from_mode(file.mode))
    })
}

pub(super) fn remove_file(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => durable::sync_dir(Path::new(path).parent().unwrap_or(Path::new("/"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {path}")),
    }
}

pub(super) fn append_line(path: &str, line: &str) -> Result<()> {
    let parent = Path::new(path).parent().context("a file needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("opening {path}"))?;
    // A power cut can leave half a line; the next one must not become part of it.
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last).with_context(|| format!("reading {path}"))?;
    }
    let torn = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{torn}{line}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {path}"))?;
    durable::sync_dir(parent)
}

/// Overwrites the file at `path` to the end of its last cluster, and removes it.
pub(super) fn scrub(path: &Path) -> Result<()> {
    let what = || format!("overwriting {}", path.display());
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(what),
    };
    let len = file.metadata().with_context(what)?.len().next_multiple_of(CLUSTER);
    file.write_all(&vec![0; usize::try_from(len)?]).and_then(|()| file.sync_all()).with_context(what)?;
    remove_file(&path.to_string_lossy())
}

/// Overwrites and removes everything in the folder `dir` but the files `kept`.
pub(super) fn clear(dir: &Path, kept: &[&str]) -> Result<()> {
    for found in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let found = found.with_context(|| format!("reading {}", dir.display()))?;
        let path = found.path();
        if kept.iter().any(|name| found.file_name().eq_ignore_ascii_case(name)) {
            continue;
        }
        if found.file_type().with_context(|| format!("looking at {}", path.display()))?.is_dir() {
            clear(&path, &[])?;
            fs::remove_dir(&path).with_context(|| format!("removing {}", path.display()))?;
        } else {
            scrub(&path)?;
        }
    }
    Ok(())
}

pub(super) fn account(login: &str) -> Result<Option<Account>> {
    let text = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let shadow = text("/etc/shadow")?;
    let mut fields =
        shadow.lines().map(|line| line.split(':')).filter_map(|mut line| Some((line.next()?, line.next()?)));
    let Some((_, hash)) = fields.find(|(name, _)| *name == login) else { return Ok(None) };
    let groups = text("/etc/group")?;
    let member = |line: &str| {
        let mut fields = line.split(':');
        let (name, members) = (fields.next()?, fields.nth(2)?);
        members.split(',').any(|member| member == login).then(|| name.to_owned())
    };
    let mut groups: Vec<String> = groups.lines().filter_map(member).collect();
    groups.sort();
    Ok(Some(Account { login: login.to_owned(), groups, hash: Secret::new(hash.to_owned()) }))
}

pub(super) fn set_account(account: &Account) -> Result<()> {
    let login = account.login.as_str();
    let groups = account.groups.join(",");
    if self::account(login)?.is_none() {
        let add = Cmd::new(format!("making the account {login}"), "useradd");
        add.args(["--create-home", "--user-group", "--shell", "/bin/bash", "--groups", &groups, login]).run()?;
    } else {
        let change = Cmd::new(format!("changing the account {login}"), "usermod");
        change.args(["--groups", &groups, login]).run()?;
    }
    let line = format!("{login}:{}\n", account.hash.expose());
    Cmd::new(format!("setting the password of {login}"), "chpasswd").arg("--encrypted").input(line).run()?;
    durable::sync_file_system(Path::new("/etc"))?;
    durable::sync_file_system(Path::new("/home"))
}

pub(super) fn format(device: &str, kind: FileSystem, id: &str, label: &str) -> Result<()> {
    // mkfs.xfs takes the id as an option of its metadata.
    let metadata = format!("uuid={id}");
    let (program, options): (_, &[&str]) = match kind {
        // Nothing is kept back for root: only people's files will live there.
        FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m0", "-U", id]),
        FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f", "-m", &metadata]),
        FileSystem::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-U", id]),
    };
    Cmd::new(format!("making a file system in {device}"), program).args(options).args(["-L", label, device]).run()?;
    durable::flush_device(device)
}

pub(super) fn start_volume(volume: &Volume, device: &str) -> Result<()> {
    let start = match volume.kind {
        VolumeKind::Md => {
            let uuid = format!("--uuid={}", volume.id);
            // With its members named it starts whole or not at all.
            let members = volume.members.iter().map(|member| format!("/dev/{member}"));
            let assemble = Cmd::new(format!("assembling {volume}"), "mdadm");
            assemble.args(["--assemble", "--readonly", &uuid, device]).args(members)
        }
        VolumeKind::Lvm => Cmd::new(format!("starting {volume}"), "lvchange").args(["--activate", "y", &volume.name]),
    };
    start.run()
}

pub(super) fn open_volume(device: &str) -> Result<()> {
    // mdadm refuses to make writable what is writable.
    let node = fs::canonicalize(device).with_context(|| format!("looking for {device}"))?;
    let switch = Path::new("/sys/class/block").join(node.file_name().unwrap_or_default()).join("md/array_state");
    let state = fs::read_to_string(&switch).with_context(|| format!("reading {}", switch.display()))?;
    if state.trim() != "readonly" {
        return Ok(());
    }
    Cmd::new(format!("letting {device} take writes"), "mdadm").args(["--readwrite", device]).run()
}

pub(super) fn guard(path: &str) -> Result<()> {
    Cmd::new(format!("guarding {path}"), "chattr").args(["+i", path]).run()
}

pub(super) fn refresh(part: &Refresh) -> Result<()> {
    let systemctl = |what: &str, words: &[&str]| Cmd::new(what, "systemctl").args(words).run();
    match part {
        Refresh::Hostname => {
            Cmd::new("taking the host name", "hostname").args(["--file", "/etc/hostname"]).run()?;
            systemctl("announcing the host name", &["try-restart", "avahi-daemon.service"])
        }
        Refresh::Run(argv) => Cmd::new(format!("running {}", argv[0]), argv[0]).args(&argv[1..]).run(),
        Refresh::Network => Cmd::new("taking the network's files", "networkctl").arg("reload").run(),
        Refresh::Ssh => systemctl("taking SSH's files", &["try-reload-or-restart", "ssh.service"]),
        Refresh::Enable(units) => {
            systemctl("reading the units", &["daemon-reload"])?;
            Cmd::new("starting units", "systemctl").args(["enable", "--now"]).args(units).run()
        }
        Refresh::Restart(unit) => systemctl(&format!("restarting {unit}"), &["restart", unit]),
        Refresh::Data => {
            // Until now a generator kept everything away that lies on `data`.
            systemctl("reading the units", &["daemon-reload"])?;
            // Each by its name: systemd does not go into what an active target needs in its turn.
            let targets = ["local-fs.target", "sysinit.target", "multi-user.target"];
            systemctl("starting what waits for data", &[&["start", "--no-block"], &targets[..]].concat())
        }
        Refresh::Firewall => {
            check_rules()?;
            // In one step each. `ufw reload` takes everything away first, and the machine is open meanwhile.
            for (program, path) in UFW_RULES {
                Cmd::new(format!("taking {path}"), program).args(["--noflush", path]).run()?;
            }
            systemctl("taking Hearth's firewall table", &["reload", "hearth-firewall.service"])
        }
    }
}

/// What loads UFW's rules, over IPv4 and IPv6. It replaces the chains that the file names, all at once.
const UFW_RULES: [(&str, &str); 2] =
    [("iptables-restore", "/etc/ufw/user.rules"), ("ip6tables-restore", "/etc/ufw/user6.rules")];

/// Has both parts of the firewall read by what will load them, before either is loaded.
fn check_rules() -> Result<()> {
    for (program, path) in UFW_RULES {
        let check = Cmd::new(format!("checking {path}"), program);
        check.args(["--test", "--noflush", path]).run()?;
    }
    let table = "/usr/share/hearth/firewall.nft";
    Cmd::new(format!("checking {table}"), "nft").args(["--check", "--file", table]).run()
}

pub(super) fn ensure_dir(path: &str, mode: u32, owner: Owner) -> Result<()> {
    let right =
        |meta: &fs::Metadata| meta.mode() & 0o7777 == mode && (meta.uid(), meta.gid()) == (owner.uid, owner.gid);
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() && right(&meta) => return Ok(()),
        Ok(meta) if meta.is_dir() => {}
        _ => fs::create_dir_all(path).with_context(|| format!("making {path}"))?,
    }
    chown(path, Some(owner.uid), Some(owner.gid)).with_context(|| format!("setting the owner of {path}"))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {path}"))?;
    durable::sync_dir(Path::new(path))?;
    durable::sync_dir(Path::new(path).parent().unwrap_or(Path::new("/")))
}

/// Asks for `address` until a neighbour says that it has it. Many routers do not answer pings,
/// but none hides from its own network.
pub(super) fn reaches(address: IpAddr, patience: Duration) -> Result<bool> {
    let until = Instant::now() + patience;
    let text = address.to_string();
    loop {
        Cmd::new(format!("looking for {text}"), "ping").args(["-q", "-c", "1", "-W", "2", &text]).succeeds()?;
        let neighbours = Cmd::new("listing the neighbours", "ip").args(["neighbour", "show", "to", &text]).stdout()?;
        if neighbours.lines().any(|line| line.contains(" lladdr ") && !line.ends_with("FAILED")) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Docker keeps its networks; one with other addresses than planned is made anew, which it
/// refuses as long as a container is in it.
pub(super) fn ensure_network(network: &NamedNetwork) -> Result<()> {
    let NamedNetwork { name, v4, v6, internal } = network;
    let format = "{{range .IPAM.Config}}{{.Subnet}} {{end}}{{.Internal}}";
    let look = Cmd::new(format!("looking at Docker's network {name}"), "docker");
    let (code, now) = look.args(["network", "inspect", "--format", format, name]).answer()?;
    if code == Some(0) {
        if now.trim() == format!("{v4} {v6} {internal}") {
            return Ok(());
        }
        Cmd::new(format!("removing Docker's former network {name}"), "docker").args(["network", "rm", name]).run()?;
    }
    let mut make = Cmd::new(format!("making Docker's network {name}"), "docker").args(["network", "create", "--ipv6"]);
    if *internal {
        make = make.arg("--internal");
    }
    make.args(["--subnet", &v4.to_string(), "--subnet", &v6.to_string(), name]).run()
}

pub(super) fn time_to_hash(cost: Cost) -> Result<Duration> {
    let failed = |error| anyhow::anyhow!("measuring how long a password takes to hash: {error}");
    let params = Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(failed)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let begin = Instant::now();
    hasher.hash_password_into(b"how long does this take?", b"as long as it takes", &mut [0; 32]).map_err(failed)?;
    Ok(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Owner {
        Owner { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }

    #[test]
    fn a_file_gets_its_mode_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/secret").to_string_lossy().into_owned();
        let file = |bytes: &[u8], mode| File { mode, ..File::private(path.clone(), here(), bytes) };
        put_file(&file(b"one", 0o600)).unwrap();
        assert!(has_file(&file(b"one", 0o600)).unwrap() && !has_file(&file(b"one", 0o640)).unwrap());
        // What a power cut left under the temporary name is no obstacle.
        fs::write(format!("{path}.new"), "torn").unwrap();
        put_file(&file(b"two", 0o640)).unwrap();
        assert!(has_file(&file(b"two", 0o640)).unwrap());
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_line_never_joins_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal").to_string_lossy().into_owned();
        append_line(&path, "one").unwrap();
        fs::write(&path, "one\ntw").unwrap();
        append_line(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\n");
    }

    #[test]
    fn a_folder_is_cleared_but_for_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["README.TXT", "hearth.toml", "photos/README.txt", "photos/deep/one.jpg"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        clear(dir.path(), &["README.txt", "missing"]).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|found| found.unwrap().file_name()).collect();
        assert_eq!(left, ["README.TXT"]);
    }

    #[test]
    fn what_is_scrubbed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hearth.toml");
        fs::write(&path, "token").unwrap();
        // A second name shows what became of the bytes.
        let other = dir.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        scrub(&path).unwrap();
        scrub(&path).unwrap();
        assert!(!path.exists());
        assert!(fs::read(other).unwrap().iter().all(|byte| *byte == 0));
    }
}
