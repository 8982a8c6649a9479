//! Takes out of the tree what two builds would not share or what belongs to the
//! machine and not to the image: identities, keys, caches, logs. Times are set in packing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

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

/// Normalises the tree.
pub fn normalise(tree: &Path) -> Result<()> {
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
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_caches_and_logs_go() {
        let tree = tempfile::tempdir().unwrap();
        for name in
            ["etc/ssh/ssh_host_rsa_key", "etc/passwd-", "var/log/apt/term.log", "var/cache/apt/x.bin", "usr/keep"]
        {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        normalise(tree.path()).unwrap();
        for gone in ["etc/ssh/ssh_host_rsa_key", "etc/passwd-", "var/log/apt/term.log", "var/cache/apt/x.bin"] {
            assert!(!tree.path().join(gone).exists(), "{gone}");
        }
        assert!(tree.path().join("var/log/apt").is_dir() && tree.path().join("var/cache/apt").is_dir());
        assert_eq!(fs::read_to_string(tree.path().join("etc/machine-id")).unwrap(), "uninitialized\n");
        assert!(tree.path().join("usr/keep").exists());
    }
}
