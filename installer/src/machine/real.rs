//! The machine itself: the only code of the steps that changes anything.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Account, Dev, Lead, Machine, Place, Refresh, Renewal, Repository, SystemCopy, Verdict, duckdns, erase, firmware,
    host, luks, neighbour,
};
use crate::answers::{self, FileSystem, Secret};
use crate::durable;
use crate::encryption::{Key, Keys};
use crate::facts::{Content, Disk, Facts, Volume, gather, probe};
use crate::flash::Watch;
use crate::flash::medium_source::MediumSource;
use crate::page::text::wrap;
use crate::render;
use crate::render::authelia::Cost;
use crate::render::docker::NamedNetwork;
use crate::run::Cmd;
use crate::shipped::{self, Stray};
use crate::units::Bytes;

/// Where HEARTH is mounted while a file on it is read or written.
const HEARTH_DIR: &str = "/run/hearth/answers";

/// Held while it is.
const HEARTH_LOCK: &str = "/run/hearth/answers.lock";

/// This machine.
#[derive(Debug, Default)]
pub struct Real;

impl Machine for Real {
    fn facts(&self) -> Result<Facts> {
        // Without udev's answers lsblk would miss a serial number, or what has just appeared.
        wait_for_udev()?;
        gather()
    }

    fn read(&self, dev: &Dev, offset: Bytes, len: usize) -> Result<Vec<u8>> {
        let path = dev.path();
        let file = File::open(&path).with_context(|| format!("opening {path}"))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset.0).with_context(|| format!("reading {path} at {}", offset.0))?;
        Ok(bytes)
    }

    fn probe(&self, dev: &Dev, offset: Bytes, len: Bytes) -> Result<Option<Content>> {
        probe(&dev.path(), offset, len)
    }

    fn places(&self, disk: &str) -> Result<BTreeMap<u32, Place>> {
        let mut out = BTreeMap::new();
        let dir = PathBuf::from("/sys/class/block").join(disk);
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry.with_context(|| format!("reading {}", dir.display()))?.path();
            let value = |name: &str| -> Option<u64> { fs::read_to_string(path.join(name)).ok()?.trim().parse().ok() };
            let number = value("partition").and_then(|number| u32::try_from(number).ok());
            if let (Some(number), Some(start), Some(size)) = (number, value("start"), value("size")) {
                // sysfs counts 512-byte units on every disk.
                out.insert(number, Place { start: Bytes(start * 512), size: Bytes(size * 512) });
            }
        }
        Ok(out)
    }

    fn random_id(&self) -> Result<Uuid> {
        crate::layout::drawn_id()
    }

    fn draw(&self, count: usize) -> Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("drawing a secret: {error}"))?;
        Ok(bytes)
    }

    fn hearth_file(&self, hearth: &Dev, name: &str) -> Result<Option<Vec<u8>>> {
        let _hearth = Hearth::mount(hearth, false)?;
        match fs::read(Hearth::file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {name} on HEARTH")),
        }
    }

    fn answer_file(&self, hearth: &Dev) -> Result<Option<(String, Zeroizing<Vec<u8>>)>> {
        on_hearth(hearth, |dir| {
            let Some(path) = answers::find(dir)? else { return Ok(None) };
            Ok(Some((answers::name_of(&path), answers::bytes(&path)?)))
        })
    }

    fn credential(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let path = Path::new(&dir).join(name);
        Ok(host::read_file(&path.to_string_lossy())?.map(Zeroizing::new))
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).symlink_metadata().is_ok()
    }

    fn is_mounted(&self, path: &str) -> Result<bool> {
        is_mounted(path)
    }

    fn say(&mut self, line: &str) {
        say(line);
    }

    fn write(&mut self, dev: &Dev, offset: Bytes, bytes: &[u8]) -> Result<()> {
        let path = dev.path();
        let file = OpenOptions::new().write(true).open(&path).with_context(|| format!("opening {path} for writing"))?;
        let _lock = claim(&dev.disk)?;
        file.write_all_at(bytes, offset.0).with_context(|| format!("writing {path} at {}", offset.0))
    }

    fn flush(&mut self, dev: &Dev) -> Result<()> {
        durable::flush_device(&dev.path())
    }

    fn take_table(&mut self, disk: &str, numbers: &[u32]) -> Result<()> {
        let dev = Dev::disk(disk);
        for number in numbers {
            // Not BLKRRPART: it refuses while root is mounted. And each number alone: asked for
            // all of them, partx stops at the first that is free, and 5 is on small disks.
            let tell = Cmd::new(format!("telling the kernel about partition {number}"), "partx");
            tell.args(["--update", "--nr", &number.to_string(), &dev.path()]).run()?;
        }
        tell_udev(disk)
    }

    fn grow_root(&mut self, dev: &Dev) -> Result<()> {
        Cmd::new("growing the system's file system", "resize2fs").arg(dev.path()).run()?;
        durable::flush_device(&dev.path())
    }

    fn name_root(&mut self, dev: &Dev, id: Uuid) -> Result<()> {
        // While it is mounted tune2fs asks the kernel to do it, which keeps the superblock's copies alike.
        let set = Cmd::new("giving the system's file system its id", "tune2fs");
        set.args(["-U", &id.to_string(), &dev.path()]).run()?;
        durable::checkpoint("/")
    }

    fn make_luks(&mut self, dev: &Dev, id: Uuid, keys: &Keys) -> Result<()> {
        let memory = gather()?.memory.unwrap_or_default();
        luks::make(&dev.path(), &id.to_string(), keys, memory)?;
        tell_udev(&dev.disk)
    }

    fn open_luks(&mut self, dev: &Dev, name: &str, key: &Key) -> Result<bool> {
        luks::open(&dev.path(), name, key)
    }

    fn close_luks(&mut self, name: &str, path: &str) -> Result<()> {
        if is_mounted(path)? {
            Cmd::new(format!("unmounting {path}"), "umount").arg(path).run()?;
        }
        luks::close(name)
    }

    fn make_data(&mut self, dev: &Dev, id: Uuid) -> Result<()> {
        let make = Cmd::new("making the file system for data", "mkfs.btrfs");
        make.args(["--quiet", "--force", "--label", crate::layout::DATA_LABEL, "--uuid", &id.to_string(), &dev.path()])
            .run()?;
        durable::flush_device(&dev.path())?;
        tell_udev(&dev.disk)
    }

    fn mount(&mut self, dev: &Dev, path: &str) -> Result<()> {
        if is_mounted(path)? {
            return Ok(());
        }
        fs::create_dir_all(path).with_context(|| format!("making {path}"))?;
        Cmd::new("mounting data", "mount").args(["-t", "btrfs", "-o", "noatime", &dev.path(), path]).run()
    }

    fn make_subvolume(&mut self, path: &str, mode: u32) -> Result<()> {
        Cmd::new("making a subvolume", "btrfs").args(["subvolume", "create", path]).run()?;
        set_mode(path, mode)
    }

    fn make_dir(&mut self, path: &str, mode: u32) -> Result<()> {
        fs::create_dir(path).with_context(|| format!("making {path}"))?;
        set_mode(path, mode)
    }

    fn copy_into(&mut self, from: &str, to: &str) -> Result<()> {
        let copy = Cmd::new(format!("copying {from}"), "cp");
        copy.args(["--archive", "--one-file-system", "--no-target-directory", from, to]).run()
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let subvolume = Cmd::new("looking at a subvolume", "btrfs").args(["subvolume", "show", path]).succeeds()?;
        if subvolume {
            return Cmd::new("removing a half-made subvolume", "btrfs").args(["subvolume", "delete", path]).run();
        }
        fs::remove_dir_all(path).with_context(|| format!("removing {path}"))
    }

    fn rename_durably(&mut self, from: &str, to: &str) -> Result<()> {
        let parent = Path::new(to).parent().unwrap_or(Path::new("/"));
        durable::sync_file_system(parent)?;
        fs::rename(from, to).with_context(|| format!("renaming {from} to {to}"))?;
        durable::sync_file_system(parent)
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let path = Path::new(path);
        if fs::read_link(path).is_ok_and(|now| now == Path::new(target)) {
            return Ok(());
        }
        let parent = path.parent().context("a link at the top")?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let made = match symlink(target, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                fs::remove_file(path).and_then(|()| symlink(target, path))
            }
            other => other,
        };
        made.with_context(|| format!("linking {}", path.display()))?;
        durable::sync_dir(parent)
    }

    fn make_host_keys(&mut self) -> Result<()> {
        Cmd::new("making the SSH host keys", "ssh-keygen").arg("-A").run()?;
        durable::sync_file_system(Path::new("/etc/ssh"))
    }

    fn start_units(&mut self, units: &[String]) -> Result<()> {
        Cmd::new("reading the new units", "systemctl").arg("daemon-reload").run()?;
        Cmd::new("mounting data", "systemctl").arg("start").args(units).run()
    }

    fn settle(&mut self, path: &str) -> Result<()> {
        durable::checkpoint(path)
    }

    fn put_hearth_file(&mut self, hearth: &Dev, name: &str, bytes: &[u8]) -> Result<()> {
        let mounted = Hearth::mount(hearth, true)?;
        durable::write(&Hearth::file(name), bytes)?;
        let back = fs::read(Hearth::file(name)).with_context(|| format!("reading {name} on HEARTH back"))?;
        ensure!(back == bytes, "HEARTH does not give back what was written to it");
        mounted.unmount()
    }

    fn remove_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()> {
        let mounted = Hearth::mount(hearth, true)?;
        match fs::remove_file(Hearth::file(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {name} on HEARTH"));
            }
            _ => {}
        }
        mounted.unmount()
    }

    fn scrub_hearth_file(&mut self, hearth: &Dev, name: &str) -> Result<()> {
        let mounted = Hearth::mount(hearth, true)?;
        host::scrub(&Hearth::file(name))?;
        mounted.unmount()
    }

    fn clear_hearth(&mut self, hearth: &Dev, kept: &[&str]) -> Result<()> {
        let mounted = Hearth::mount(hearth, true)?;
        host::clear(Path::new(HEARTH_DIR), kept)?;
        mounted.unmount()
    }

    fn can_copy(&self, from: &Disk) -> Result<()> {
        MediumSource::open(from).map(drop)
    }

    fn copy_system(&mut self, copy: &SystemCopy<'_>) -> Result<()> {
        let source = MediumSource::open(copy.from)?;
        let watch = Told::new(&copy.to.name, source.total());
        source.clone_to(copy.to, &copy.own, &watch)?;
        tell_udev(&copy.to.name)
    }

    fn renew_system(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        let source = MediumSource::open(renewal.from)?;
        let watch = Told::new(&renewal.to.name, source.renewed()?);
        source.renew(renewal.to, renewal.hearth, &watch)?;
        tell_udev(&renewal.to.name)
    }

    fn make_startable(&mut self, renewal: &Renewal<'_>) -> Result<()> {
        MediumSource::open(renewal.from)?.make_startable(renewal.to, renewal.esp)?;
        tell_udev(&renewal.to.name)
    }

    fn mount_to_look(&mut self, dev: &Dev, path: &str) -> Result<()> {
        // Whose disk this is shows only later: no link of it leads anywhere.
        let options = "ro,rescue=nologreplay,nosuid,nodev,noexec,nosymfollow";
        mount_at(dev, path, "btrfs", options)
    }

    fn mount_system(&mut self, dev: &Dev, path: &str) -> Result<()> {
        mount_at(dev, path, "ext4", "rw,nosuid,nodev,noexec")
    }

    fn unmount(&mut self, path: &str) -> Result<()> {
        if !is_mounted(path)? {
            return Ok(());
        }
        durable::sync_file_system(Path::new(path))?;
        unmount_at(path)
    }

    fn start_first(&mut self, esp: &Dev, id: Uuid) -> Result<()> {
        firmware::start_first(esp, id)
    }

    fn restart(&mut self) -> Result<()> {
        Cmd::new("restarting", "systemctl").arg("reboot").run()
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        host::read_file(path)
    }

    fn has_file(&self, file: &render::File) -> Result<bool> {
        host::has_file(file)
    }

    fn put_file(&mut self, file: &render::File) -> Result<()> {
        host::put_file(file)
    }

    fn remove_file(&mut self, path: &str) -> Result<()> {
        host::remove_file(path)
    }

    fn append_line(&mut self, path: &str, line: &str) -> Result<()> {
        host::append_line(path, line)
    }

    fn account(&self, login: &str) -> Result<Option<Account>> {
        host::account(login)
    }

    fn set_account(&mut self, account: &Account) -> Result<()> {
        host::set_account(account)
    }

    fn reread_table(&mut self, disk: &str) -> Result<()> {
        let path = Dev::disk(disk).path();
        Cmd::new(format!("telling the kernel about {path}"), "blockdev").args(["--rereadpt", &path]).run()?;
        tell_udev(disk)
    }

    fn format(&mut self, dev: &Dev, kind: FileSystem, id: Uuid, label: &str) -> Result<()> {
        host::format(&dev.path(), kind, &id.to_string(), label)?;
        tell_udev(&dev.disk)
    }

    fn start_volume(&mut self, volume: &Volume, dev: &Dev) -> Result<()> {
        host::start_volume(volume, &dev.path())?;
        wait_for_udev()
    }

    fn open_volume(&mut self, dev: &Dev) -> Result<()> {
        host::open_volume(&dev.path())
    }

    fn ensure_dir(&mut self, path: &str, mode: u32, owner: render::Owner) -> Result<()> {
        host::ensure_dir(path, mode, owner)
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        Ok(fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned()))
    }

    fn reaches(&self, address: IpAddr, patience: Duration) -> Result<bool> {
        host::reaches(address, patience)
    }

    fn keep_image(&mut self, root: &str) -> Result<()> {
        if root != "/" {
            return shipped::keep(Path::new(root));
        }
        let whole = Whole::mount()?;
        shipped::keep(whole.path())
    }

    fn strays(&self) -> Result<Vec<Stray>> {
        let whole = Whole::mount()?;
        shipped::strays(whole.path())
    }

    fn put_right(&mut self, stray: &Stray) -> Result<()> {
        shipped::put_right(Path::new("/"), stray)
    }

    fn erase(&mut self, dev: &Dev) -> Result<()> {
        let _lock = claim(&dev.disk)?;
        erase::erase(&dev.path(), &mut |line| say(line))
    }

    fn wipe(&mut self, disk: &Disk) -> Result<()> {
        // The kernel's old partitions do no harm: the machine is started again behind this.
        erase::wipe(disk)
    }

    fn make_repository(&mut self, repository: &Repository) -> Result<()> {
        repository.make()
    }

    fn ask_duckdns(&self, name: &str, token: &Secret<String>) -> Result<Verdict> {
        duckdns::ask(duckdns::BASE, name, token, duckdns::PAUSE)
    }

    fn tell_duckdns(&mut self, name: &str, token: &Secret<String>, lead: Lead) -> Result<(Verdict, Option<IpAddr>)> {
        duckdns::tell(duckdns::BASE, name, token, lead, duckdns::PAUSE)
    }

    fn admits(&self, port: u16) -> Result<Option<bool>> {
        neighbour::admitted(port)
    }

    fn time_to_hash(&self, cost: Cost) -> Result<Duration> {
        host::time_to_hash(cost)
    }

    fn guard(&mut self, path: &str) -> Result<()> {
        host::guard(path)
    }

    fn ensure_network(&mut self, network: &NamedNetwork) -> Result<()> {
        host::ensure_network(network)
    }

    fn refresh(&mut self, part: &Refresh) -> Result<()> {
        host::refresh(part)
    }
}

fn say(line: &str) {
    println!("{line}");
    for console in consoles() {
        // A console that cannot be written to is nobody's screen.
        if let Ok(mut tty) = OpenOptions::new().write(true).open(&console) {
            let _ = tty.write_all(format!("{line}\r\n").as_bytes());
        }
    }
}

/// Tells on every console how far a copy is: a line for each tenth.
struct Told {
    disk: String,
    total: Bytes,
    done: Mutex<Bytes>,
}

impl Told {
    fn new(disk: &str, total: Bytes) -> Self {
        Self { disk: disk.to_owned(), total, done: Mutex::default() }
    }
}

impl Watch for Told {
    fn advance(&self, count: Bytes) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let tenths = |done: Bytes| done.0 * 10 / self.total.0.max(1);
        let before = tenths(*done);
        *done = *done + count;
        if tenths(*done) > before {
            say(&format!("Hearth: writing to {}: {} %", self.disk, tenths(*done) * 10));
        }
    }
}

/// Mounts `dev` at `path`, which is made.
fn mount_at(dev: &Dev, path: &str, kind: &str, options: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {path}"))?;
    let dev = dev.path();
    Cmd::new(format!("mounting {dev}"), "mount").args(["-t", kind, "-o", options, &dev, path]).run()
}

/// Keeps udev from looking at a disk while it is written to.
fn claim(disk: &str) -> Result<Flock<File>> {
    let path = Dev::disk(disk).path();
    let file = File::open(&path).with_context(|| format!("opening {path}"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).with_context(|| format!("locking {path}"))
}

/// Waits until udev has nothing left to do. A slow machine's udev may not even answer for
/// a while at the start; giving up then would stop what a minute later goes well.
fn wait_for_udev() -> Result<()> {
    /// Two minutes each.
    const TRIES: usize = 5;
    let settle = || Cmd::new("waiting for devices", "udevadm").args(["settle", "--timeout=120"]);
    for _ in 1..TRIES {
        if settle().succeeds()? {
            return Ok(());
        }
    }
    settle().run()
}

/// Has udev look at the disk and its partitions again, and waits for it.
fn tell_udev(disk: &str) -> Result<()> {
    let path = Dev::disk(disk).path();
    let node = fs::canonicalize(&path).with_context(|| format!("looking for {path}"))?;
    let device = format!("/sys/class/block/{}", node.file_name().unwrap_or_default().to_string_lossy());
    // udevadm itself looks for the partitions: the kernel may be taking a new table meanwhile, and
    // one that goes between two looks of ours would be an error.
    Cmd::new("telling udev", "udevadm").args(["trigger", "--action=change", "--parent-match", &device]).run()?;
    wait_for_udev()
}

pub(crate) fn is_mounted(path: &str) -> Result<bool> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    Ok(text.lines().any(|line| line.split(' ').nth(4) == Some(path)))
}

fn set_mode(path: &str, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {path}"))
}

/// The device nodes of every console the kernel writes to.
pub(crate) fn consoles() -> Vec<String> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    active.split_whitespace().map(|name| format!("/dev/{name}")).collect()
}

/// Reads something in the top folder of a HEARTH partition.
pub(crate) fn on_hearth<T>(hearth: &Dev, read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let _hearth = Hearth::mount(hearth, false)?;
    read(Path::new(HEARTH_DIR))
}

/// HEARTH, mounted for as long as a file on it is needed.
struct Hearth {
    dev: Dev,
    mounted: bool,
    // Two consoles look at it, and one of them may be writing. Dropped last, after the unmounting.
    _alone: Flock<File>,
}

impl Hearth {
    fn mount(dev: &Dev, writable: bool) -> Result<Self> {
        fs::create_dir_all(HEARTH_DIR).with_context(|| format!("making {HEARTH_DIR}"))?;
        let lock = File::create(HEARTH_LOCK).with_context(|| format!("opening {HEARTH_LOCK}"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error);
        let lock = lock.with_context(|| format!("locking {HEARTH_LOCK}"))?;
        let access = if writable { "rw" } else { "ro" };
        let options = format!("{access},nosuid,nodev,noexec,umask=0077");
        Cmd::new("mounting HEARTH", "mount").args(["-t", "vfat", "-o", &options, &dev.path(), HEARTH_DIR]).run()?;
        Ok(Self { dev: dev.clone(), mounted: true, _alone: lock })
    }

    fn file(name: &str) -> PathBuf {
        Path::new(HEARTH_DIR).join(name)
    }

    /// Unmounts, and makes everything durable.
    fn unmount(mut self) -> Result<()> {
        self.mounted = false;
        unmount_at(HEARTH_DIR)?;
        durable::flush_device(&self.dev.path())
    }
}

/// Unmounts what is at `path`. Whatever asks how full file systems are, as lsblk does for the page, has it
/// in use for that moment, and is kept out by no lock: so this is tried for some seconds.
fn unmount_at(path: &str) -> Result<()> {
    const TRIES: usize = 20;
    let unmount = || Cmd::new(format!("unmounting {path}"), "umount").arg(path);
    for _ in 1..TRIES {
        if unmount().succeeds()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    unmount().run()
}

impl Drop for Hearth {
    fn drop(&mut self) {
        if self.mounted {
            // The first error is the one to tell; /run is gone at the next start anyway.
            let _ = unmount_at(HEARTH_DIR);
        }
    }
}

/// Root, seen at another place: without what is mounted on it.
struct Whole(PathBuf);

impl Whole {
    fn mount() -> Result<Self> {
        let path = PathBuf::from(format!("/run/hearth/root-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Cmd::new("looking at root", "mount").args(["--bind", "/"]).arg(&path).run()?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // What failed before is the one to tell; the next start has a new /run.
        let _ = Cmd::new("looking away from root", "umount").arg(&self.0).run();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Tells on every console what failed, and why.
pub(crate) fn say_failure(machine: &mut impl Machine, what: &str, error: &anyhow::Error) {
    machine.say(&format!("{what}:"));
    for cause in error.chain() {
        for line in cause.to_string().lines().flat_map(|line| wrap("  ", line)) {
            machine.say(&line);
        }
    }
}

/// Held while somebody is asked: two consoles must not approve two plans.
pub(crate) fn only_one() -> Result<Option<Flock<OwnedFd>>> {
    let path = "/run/hearth/adopt.lock";
    fs::create_dir_all("/run/hearth").context("making /run/hearth")?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = OwnedFd::from(file.with_context(|| format!("opening {path}"))?);
    Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())
}
