//! Writes that are still there after a power cut, and where GRUB looks for them.
//!
//! `fsync` makes a file last by writing it to ext4's journal. GRUB, and a mount with
//! `noload`, do not read the journal: to them the file does not exist before the journal
//! has been written back. [`checkpoint`] has that done.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use crate::ioctl;

/// Replaces `path` with `bytes`: after a power cut it is the old file or the new one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, 0o644, |_| Ok(()))
}

/// The same for a file that its owner alone may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, 0o600, |_| Ok(()))
}

/// The same for a file that is made with `mode`, and `finish`ed before it gets its name.
pub fn write_as(path: &Path, bytes: &[u8], mode: u32, finish: impl FnOnce(&File) -> std::io::Result<()>) -> Result<()> {
    let parent = path.parent().context("a file needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let mut name = path.file_name().context("a file needs a name")?.to_owned();
    name.push(".new");
    let fresh = parent.join(name);
    // What a power cut left under that name may have another owner, or let others read it.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", fresh.display()));
        }
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
    let mut file = file.with_context(|| format!("making {}", fresh.display()))?;
    let written = file.write_all(bytes).and_then(|()| finish(&file)).and_then(|()| file.sync_all());
    written.with_context(|| format!("writing {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("renaming {} to {}", fresh.display(), path.display()))?;
    sync_dir(parent)
}

/// Makes renames, links and removals in a folder last.
pub fn sync_dir(path: &Path) -> Result<()> {
    let dir = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    dir.sync_all().with_context(|| format!("writing {} to disk", path.display()))
}

/// Makes everything on the file system of `path` last.
pub fn sync_file_system(path: &Path) -> Result<()> {
    let dir = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    nix::unistd::syncfs(&dir).with_context(|| format!("writing the file system of {} to disk", path.display()))
}

/// Makes everything that was written to a device last, its own cache included.
pub fn flush_device(path: &str) -> Result<()> {
    let device = OpenOptions::new().write(true).open(path).with_context(|| format!("opening {path}"))?;
    device.sync_all().with_context(|| format!("flushing {path}"))
}

/// Makes everything on the file system of `path` last and, on ext4, moves it from the
/// journal to its place, where readers that know no journal find it.
pub fn checkpoint(path: &str) -> Result<()> {
    let dir = File::open(path).with_context(|| format!("opening {path}"))?;
    nix::unistd::syncfs(&dir).with_context(|| format!("writing the file system of {path} to disk"))?;
    match ioctl::checkpoint(&dir) {
        // Not ext4 (ENOTTY, EOPNOTSUPP), or no journal (ENODEV): nothing is hidden there.
        Ok(()) | Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::ENODEV) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("writing back the journal of {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_checkpoint_is_harmless_where_there_is_no_journal() {
        checkpoint("/proc").unwrap();
        let error = checkpoint("/no/such/place").unwrap_err().to_string();
        assert_eq!(error, "opening /no/such/place");
    }
}
