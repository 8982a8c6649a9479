//! Renewing the files of the EFI system partition. FAT has no journal and no
//! atomic rename, so the order is what keeps a machine that starts: GRUB before
//! shim (an old shim takes a new GRUB; a new shim may refuse an old one), each file
//! whole on the disk under another name before it takes its name, and the old
//! file's clusters given back only when the disk knows that nobody points at them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::durable;

/// What lies where: from the packages (and Hearth's own stub), to the ESP; in the order of writing.
const FILES: [(&str, &str); 4] = [
    ("usr/share/hearth/boot/esp-grub.cfg", "EFI/debian/grub.cfg"),
    ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "EFI/BOOT/grubx64.efi"),
    ("usr/lib/shim/mmx64.efi.signed", "EFI/BOOT/mmx64.efi"),
    ("usr/lib/shim/shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"),
];

/// A file of the ESP that differs from what it is made of.
#[derive(Debug)]
pub(super) struct Stale {
    /// Below the ESP's top.
    pub(super) path: &'static str,
    bytes: Vec<u8>,
}

/// Which files of the ESP mounted at `esp` differ from those of the packages below `root`.
pub(super) fn stale(root: &Path, esp: &Path) -> Result<Vec<Stale>> {
    let mut out = Vec::new();
    for (from, path) in FILES {
        let from = root.join(from);
        let bytes = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        if fs::read(esp.join(path)).ok().as_deref() != Some(&bytes) {
            out.push(Stale { path, bytes });
        }
    }
    Ok(out)
}

/// Writes what is stale, in order, and compares it with what the disk gives back.
pub(super) fn replace(esp: &Path, stale: &[Stale]) -> Result<()> {
    for file in stale {
        let path = esp.join(file.path);
        put(&path, &file.bytes).with_context(|| format!("renewing {} on the EFI system partition", file.path))?;
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file needs a folder")?;
    fs::create_dir_all(parent)?;
    let fresh = beside(path)?;
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    durable::sync_file_system(parent)?;
    // As long as the old file is open, the kernel does not give its clusters back.
    let old = File::open(path).ok();
    fs::rename(&fresh, path)?;
    durable::sync_file_system(parent)?;
    drop(old);
    durable::sync_file_system(parent)
}

fn beside(path: &Path) -> Result<PathBuf> {
    let mut name = OsString::from("new-");
    name.push(path.file_name().context("a file needs a name")?);
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (from, _) in FILES {
            fs::create_dir_all(root.path().join(from).parent().unwrap()).unwrap();
            fs::write(root.path().join(from), from).unwrap();
        }
        root
    }

    fn paths(stale: &[Stale]) -> Vec<&str> {
        stale.iter().map(|file| file.path).collect()
    }

    #[test]
    fn only_what_differs_is_written_and_shim_comes_last() {
        let (root, esp) = (root(), tempfile::tempdir().unwrap());
        let all = stale(root.path(), esp.path()).unwrap();
        assert_eq!(
            paths(&all),
            ["EFI/debian/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi", "EFI/BOOT/BOOTX64.EFI"]
        );
        replace(esp.path(), &all).unwrap();
        assert!(stale(root.path(), esp.path()).unwrap().is_empty());

        fs::write(root.path().join(FILES[1].0), "upgraded").unwrap();
        let one = stale(root.path(), esp.path()).unwrap();
        assert_eq!(paths(&one), ["EFI/BOOT/grubx64.efi"]);
        replace(esp.path(), &one).unwrap();
        assert_eq!(fs::read(esp.path().join(FILES[1].1)).unwrap(), b"upgraded");
        assert_eq!(fs::read_dir(esp.path().join("EFI/BOOT")).unwrap().count(), 3);
    }

    #[test]
    fn what_a_power_cut_left_does_not_stand_in_the_way() {
        let (root, esp) = (root(), tempfile::tempdir().unwrap());
        fs::create_dir_all(esp.path().join("EFI/BOOT")).unwrap();
        fs::write(esp.path().join("EFI/BOOT/new-grubx64.efi"), "half of it, and longer than the new one; much longer")
            .unwrap();
        replace(esp.path(), &stale(root.path(), esp.path()).unwrap()).unwrap();
        assert_eq!(fs::read_dir(esp.path().join("EFI/BOOT")).unwrap().count(), 3);
        assert_eq!(fs::read(esp.path().join(FILES[1].1)).unwrap(), FILES[1].0.as_bytes());
    }

    #[test]
    fn a_package_that_is_gone_is_named_before_anything_is_written() {
        let (root, esp) = (root(), tempfile::tempdir().unwrap());
        fs::remove_file(root.path().join(FILES[3].0)).unwrap();
        let error = stale(root.path(), esp.path()).unwrap_err().to_string();
        assert!(error.ends_with("shimx64.efi.signed"), "{error}");
        assert_eq!(fs::read_dir(esp.path()).unwrap().count(), 0);
    }
}
