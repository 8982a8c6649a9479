//! Puts one thing right. What is erased is overwritten first: on platters it is gone then, on flash memory at least
//! from where anybody reads. After a power cut the same is simply done again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nix::fcntl::OFlag;

use super::entry::Entry;
use super::{Stray, below, copied};
use crate::durable;
use crate::run::Cmd;

/// How much is overwritten at a time.
const PIECE: usize = 1 << 20;

/// Puts `stray` right, durably.
pub(crate) fn put_right(root: &Path, stray: &Stray) -> Result<()> {
    match stray {
        Stray::Foreign(path) => unlocked(&below(root, path), erase),
        Stray::Changed(path) => unlocked(&below(root, path), |there| put_back(&copied(root, path), there)),
        Stray::Initramfs(kernel) => Cmd::new(format!("making the initramfs of Linux {kernel}"), "update-initramfs")
            .args(["-u", "-k", kernel])
            .run(),
    }
}

/// Does something to `path`; if it was locked against changes by an attribute, once more without.
fn unlocked(path: &Path, act: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let done = act(path);
    let locked = |error: &anyhow::Error| {
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        io.is_some_and(|io| io.kind() == ErrorKind::PermissionDenied)
    };
    if !done.as_ref().is_err_and(locked) {
        return done;
    }
    let parent = path.parent().unwrap_or(path);
    // Whether that helped shows at once.
    Cmd::new("unlocking a folder", "chattr").args(["-i", "-a"]).arg(parent).succeeds()?;
    Cmd::new("unlocking what is in it", "chattr").args(["-R", "-f", "-i", "-a"]).arg(path).succeeds()?;
    act(path)
}

/// Erases what is at `path`, a folder with all that is in it. What is mounted in it is somebody's
/// disk, and nothing of that is touched.
fn erase(path: &Path) -> Result<()> {
    let what = || format!("erasing {}", path.display());
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            let parent = path.parent().unwrap_or(path).symlink_metadata().with_context(what)?;
            ensure!(parent.dev() == meta.dev(), "something is mounted at {}; it was not touched", path.display());
            for found in fs::read_dir(path).with_context(what)? {
                erase(&found.with_context(what)?.path())?;
            }
            fs::remove_dir(path).with_context(what)?;
        }
        Ok(meta) => {
            if meta.is_file() {
                overwrite(path, &meta).with_context(what)?;
            }
            fs::remove_file(path).with_context(what)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(what),
    }
    durable::sync_dir(path.parent().unwrap_or(path))
}

/// Overwrites a file that has no other name: one that has may be a program.
fn overwrite(path: &Path, meta: &fs::Metadata) -> std::io::Result<()> {
    if meta.nlink() > 1 {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    fill(&file, meta.len())
}

fn fill(mut file: &File, len: u64) -> std::io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut left = len;
    while left > 0 {
        let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    file.sync_all()
}

/// Puts the copy at `from` back to `to`.
fn put_back(from: &Path, to: &Path) -> Result<()> {
    let was = Entry::of(from)?.with_context(|| format!("{} is gone", from.display()))?;
    let there = Entry::of(to)?;
    if was.is_dir() && there.as_ref().is_some_and(Entry::is_dir) {
        was.settle(to)?;
        return durable::sync_dir(to);
    }
    if was.is_dir() {
        erase(to)?;
        was.copy(from, to)?;
        return durable::sync_dir(to.parent().unwrap_or(to));
    }
    let fresh = beside(to);
    erase(&fresh)?;
    was.copy(from, &fresh)?;
    if fresh.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        let written = File::open(&fresh).and_then(|file| file.sync_all());
        written.with_context(|| format!("writing {}", fresh.display()))?;
    }
    if there.is_some_and(|there| there.is_dir()) {
        erase(to)?;
    }
    // Held open, so that what was in it can be overwritten once nothing leads there any more.
    let meta = to.symlink_metadata().ok().filter(|meta| meta.is_file() && meta.nlink() == 1);
    let old = meta.and_then(|meta| Some((OpenOptions::new().write(true).open(to).ok()?, meta.len())));
    fs::rename(&fresh, to).with_context(|| format!("putting {} back", to.display()))?;
    durable::sync_dir(to.parent().unwrap_or(to))?;
    if let Some((file, len)) = old {
        fill(&file, len).with_context(|| format!("overwriting what was in {}", to.display()))?;
    }
    Ok(())
}

/// A name that the next look finds foreign, if the power goes before it is renamed.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".hearth-new");
    path.with_file_name(name)
}
