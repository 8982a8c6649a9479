//! Making what lies on disks of the real machine unreadable. What opens an encrypted disk goes first, and at once;
//! the rest by the disk's own means where it has any, which takes seconds, or else by overwriting it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::durable;
use crate::facts::{Disk, Holder};
use crate::machine::Dev;
use crate::run::Cmd;
use crate::units::Bytes;

/// More than the header of a LUKS container has with all its keys: 16 MiB as Hearth makes it.
const HEAD: Bytes = Bytes::mib(32);

/// What some formats keep at the end: the copy of a partition table, the superblock of an array.
const TAIL: Bytes = Bytes::mib(1);

/// How much is overwritten at a time.
const PIECE: Bytes = Bytes::mib(1);

/// How much between two words to the consoles.
const STEP: Bytes = Bytes::gib(1);

/// Makes all of `device` read as zeros.
pub(super) fn erase(device: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
    let size = overwrite_ends(device)?;
    let discard = Cmd::new(format!("having {device} forget its blocks"), "blkdiscard");
    let forgot = discard.args(["--force", device]).succeeds()?;
    // A disk may say that it did, and give back what was there.
    if !(forgot && reads_as_zeros(device, size)?) {
        overwrite(device, size, say)?;
    }
    durable::flush_device(device)
}

/// Overwrites what says what is on `device`, and what opens it; returns its size.
fn overwrite_ends(device: &str) -> Result<Bytes> {
    let what = || format!("overwriting {device}");
    let file = OpenOptions::new().read(true).write(true).open(device).with_context(what)?;
    let size = size_of(&file).with_context(what)?;
    let zeros = vec![0; usize::try_from(PIECE.0)?];
    for (from, to) in [(0, size.0.min(HEAD.0)), (size.saturating_sub(TAIL).0, size.0)] {
        let mut at = from;
        while at < to {
            let len = (to - at).min(PIECE.0);
            file.write_all_at(&zeros[..usize::try_from(len)?], at).with_context(what)?;
            at += len;
        }
    }
    file.sync_all().with_context(what)?;
    Ok(size)
}

fn size_of(mut file: &File) -> std::io::Result<Bytes> {
    use std::io::{Seek as _, SeekFrom};
    file.seek(SeekFrom::End(0)).map(Bytes)
}

/// Looks closely at the first GiB, where most of what matters begins, and here and there behind it.
fn reads_as_zeros(device: &str, size: Bytes) -> Result<bool> {
    const LOOK: usize = 64 << 10;
    let file = File::open(device).with_context(|| format!("opening {device}"))?;
    let mut bytes = vec![0; LOOK];
    let mut at = Bytes::ZERO;
    while at + Bytes(LOOK as u64) <= size {
        file.read_exact_at(&mut bytes, at.0).with_context(|| format!("reading {device}"))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = at + if at < STEP { PIECE } else { Bytes::mib(64) };
    }
    Ok(true)
}

/// Writes zeros over all of `device`, and tells how far it is.
fn overwrite(device: &str, size: Bytes, say: &mut dyn FnMut(&str)) -> Result<()> {
    let (mut at, mut told) = (Bytes::ZERO, 0);
    while at < size {
        let len = Bytes((size - at).0.min(STEP.0));
        Cmd::new(format!("overwriting {device}"), "blkdiscard")
            .args(["--force", "--zeroout", "--offset", &at.0.to_string(), "--length", &len.0.to_string(), device])
            .run()?;
        at = at + len;
        let tenths = at.0 * 10 / size.0;
        if tenths > told {
            told = tenths;
            say(&format!("Hearth: overwriting {device}: {} %", tenths * 10));
        }
    }
    Ok(())
}

/// Takes off `disk` what says what is on it and on its partitions, and what opens them. What is built on
/// them is stopped first.
pub(super) fn wipe(disk: &Disk) -> Result<()> {
    let nodes: Vec<String> = disk.partitions.iter().map(|part| Dev::disk(&part.device).path()).collect();
    let holders = disk.partitions.iter().flat_map(|part| &part.holders).chain(&disk.holders);
    for holder in holders {
        stop(holder)?;
    }
    for node in nodes.iter().chain([&disk.path]) {
        // It knows where each file system has its other superblocks.
        let wipe = Cmd::new(format!("taking the signatures off {node}"), "wipefs");
        wipe.args(["--all", "--force", "--quiet", node]).run()?;
        overwrite_ends(node)?;
    }
    // Where the disk can, and without a guarantee.
    Cmd::new(format!("having {} forget its blocks", disk.path), "blkdiscard")
        .args(["--force", &disk.path])
        .succeeds()?;
    durable::flush_device(&disk.path)
}

/// Stops an array. Nothing else runs on a disk in the start in which disks are erased.
fn stop(holder: &Holder) -> Result<()> {
    let path = Dev::disk(&holder.name).path();
    if !Path::new(&path).exists() {
        // It was built on another disk as well, and stopped with that.
        return Ok(());
    }
    ensure!(holder.name.starts_with("md"), "{} ({}) is built on it and runs", holder.name, holder.kind);
    Cmd::new(format!("stopping {} ({})", holder.name, holder.kind), "mdadm").args(["--stop", &path]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(len: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(len).unwrap();
        file
    }

    #[test]
    fn both_ends_are_overwritten_and_nothing_between_them() {
        let file = file(HEAD.0 + 2 * TAIL.0 + 512);
        let end = HEAD.0 + 2 * TAIL.0 + 512;
        for at in [0, HEAD.0 - 1, HEAD.0, end - TAIL.0 - 1, end - TAIL.0, end - 1] {
            file.as_file().write_all_at(b"x", at).unwrap();
        }
        let path = file.path().to_string_lossy().into_owned();
        assert_eq!(overwrite_ends(&path).unwrap(), Bytes(end));
        let bytes = std::fs::read(file.path()).unwrap();
        let left: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        assert_eq!(left, [HEAD.0, end - TAIL.0 - 1].map(|at| usize::try_from(at).unwrap()));
        assert!(!reads_as_zeros(&path, Bytes(end)).unwrap());
        for at in left {
            file.as_file().write_all_at(&[0], at as u64).unwrap();
        }
        assert!(reads_as_zeros(&path, Bytes(end)).unwrap());
    }

    #[test]
    fn what_is_shorter_than_its_ends_is_overwritten_whole() {
        let file = file(4096);
        file.as_file().write_all_at(&[7; 4096], 0).unwrap();
        overwrite_ends(&file.path().to_string_lossy()).unwrap();
        assert!(std::fs::read(file.path()).unwrap().iter().all(|byte| *byte == 0));
    }
}
