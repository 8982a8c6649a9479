//! Takes out of the tree what two builds would not share or what belongs to the
//! machine and not to the image: identities, keys, caches, logs, times.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// Folders that are empty in the image: the running system fills them.
pub const VOLATILE: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Files and folders to remove, if they exist.
const REMOVED: [&str; 24] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    // Made for the machine that runs nvme-cli's postinst.
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "etc/resolv.conf",
    "root/.bash_history",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/cache/man",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
];

/// Folders whose files go; folders in them stay, because packages own them.
const EMPTIED: [&str; 2] = ["var/cache/apt", "var/log"];

/// Normalises the tree; every time stamp ends at `epoch` or before.
pub fn normalise(tree: &Path, epoch: u64) -> Result<()> {
    for name in REMOVED {
        remove(&tree.join(name))?;
    }
    for entry in fs::read_dir(tree.join("etc/ssh")).into_iter().flatten() {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_")) {
            remove(&path)?;
        }
    }
    // "uninitialized", not empty: systemd then knows that this is the first boot.
    fs::write(tree.join("etc/machine-id"), "uninitialized\n").context("writing /etc/machine-id")?;
    for name in EMPTIED {
        empty(&tree.join(name))?;
    }
    let newest = i64::try_from(epoch).context("the epoch")?;
    clamp(tree, tree.metadata()?.dev(), newest)
}

fn remove(path: &Path) -> Result<()> {
    let outcome = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    outcome.with_context(|| format!("removing {}", path.display()))
}

fn empty(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() { empty(&path)? } else { remove(&path)? }
    }
    Ok(())
}

/// Parallel unpacking leaves folder times to chance, so folders get `newest`; files keep theirs unless younger.
fn clamp(path: &Path, device: u64, newest: i64) -> Result<()> {
    let found = path.symlink_metadata().with_context(|| format!("reading {}", path.display()))?;
    if found.dev() != device {
        return Ok(());
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
            clamp(&entry?.path(), device, newest)?;
        }
    }
    let seconds = if found.is_dir() { newest } else { found.mtime().min(newest) };
    let time = TimeSpec::new(seconds, 0);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)
        .with_context(|| format!("setting the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_go_and_times_are_clamped() {
        let tree = tempfile::tempdir().unwrap();
        for name in
            ["etc/ssh/ssh_host_rsa_key", "etc/passwd-", "var/log/apt/term.log", "var/cache/apt/x.bin", "usr/keep"]
        {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        normalise(tree.path(), 1000).unwrap();
        for gone in ["etc/ssh/ssh_host_rsa_key", "etc/passwd-", "var/log/apt/term.log", "var/cache/apt/x.bin"] {
            assert!(!tree.path().join(gone).exists(), "{gone}");
        }
        assert!(tree.path().join("var/log/apt").is_dir() && tree.path().join("var/cache/apt").is_dir());
        assert_eq!(fs::read_to_string(tree.path().join("etc/machine-id")).unwrap(), "uninitialized\n");
        assert_eq!(tree.path().join("usr/keep").metadata().unwrap().mtime(), 1000);
        assert_eq!(tree.path().join("usr").metadata().unwrap().mtime(), 1000);
    }
}
