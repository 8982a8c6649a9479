//! Copies files into images without turning their holes into bytes.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use hearth::units::Bytes;
use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{Whence, lseek};

/// A run of bytes that is really stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub start: Bytes,
    /// Where it ends.
    pub end: Bytes,
}

/// The stored runs of `file`; the rest reads as zeros.
pub fn extents(file: &File) -> Result<Vec<Extent>> {
    let size = i64::try_from(file.metadata().context("reading a file's size")?.len())?;
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match lseek(file.as_fd(), at, Whence::SeekData) {
            Ok(start) => start,
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno).context("looking for data in a sparse file"),
        };
        let end = lseek(file.as_fd(), start, Whence::SeekHole).context("looking for a hole in a sparse file")?;
        extents.push(Extent { start: Bytes(u64::try_from(start)?), end: Bytes(u64::try_from(end)?) });
        at = end;
    }
    Ok(extents)
}

/// How much is copied at a time.
const BLOCK: usize = 4 << 20;

/// Copies `from` to `offset` in `to`, which must read as zeros there. Only positioned
/// reads and writes: several threads fill one image through the same handle.
pub fn copy(from: &File, to: &File, offset: Bytes) -> Result<()> {
    for Extent { start, end } in extents(from)? {
        let done = kernel_copy(from, to, start, end, offset).context("copying into the image")?;
        user_copy(from, to, done, end, offset)?;
    }
    Ok(())
}

/// Lets the kernel copy, which some file systems do without touching a byte; returns how far it came.
fn kernel_copy(from: &File, to: &File, start: Bytes, end: Bytes, offset: Bytes) -> Result<Bytes> {
    let (mut at, mut into) = (i64::try_from(start.0)?, i64::try_from((start + offset).0)?);
    loop {
        let left = usize::try_from(i64::try_from(end.0)? - at)?;
        match copy_file_range(from, Some(&mut at), to, Some(&mut into), left) {
            // Between these two file systems, or by this kernel, it may not be to be had.
            Ok(0) | Err(Errno::EXDEV | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EPERM) => break,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Bytes(u64::try_from(at)?))
}

fn user_copy(from: &File, to: &File, start: Bytes, end: Bytes, offset: Bytes) -> Result<()> {
    let mut buffer = Vec::new();
    let mut at = start.0;
    while at < end.0 {
        let part = usize::try_from(end.0 - at).map_or(BLOCK, |left| left.min(BLOCK));
        buffer.resize(part, 0);
        from.read_exact_at(&mut buffer, at).context("reading what goes into the image")?;
        put(to, &buffer, offset + Bytes(at))?;
        at += part as u64;
    }
    Ok(())
}

/// Writes `bytes` at `offset` in `to`.
pub fn put(to: &File, bytes: &[u8], offset: Bytes) -> Result<()> {
    to.write_all_at(bytes, offset.0).context("writing into the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_bytes_and_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(8 << 20).unwrap();
        to.set_len(16 << 20).unwrap();
        put(&from, b"hello", Bytes::mib(5)).unwrap();
        copy(&from, &to, Bytes::mib(1)).unwrap();
        let mut found = [0; 5];
        to.read_exact_at(&mut found, Bytes::mib(6).0).unwrap();
        assert_eq!(&found, b"hello");
        let third = tempfile::tempfile().unwrap();
        third.set_len(16 << 20).unwrap();
        user_copy(&from, &third, Bytes::ZERO, Bytes::mib(8), Bytes::mib(1)).unwrap();
        third.read_exact_at(&mut found, Bytes::mib(6).0).unwrap();
        assert_eq!(&found, b"hello");
        let stored: u64 = extents(&to).unwrap().iter().map(|extent| extent.end.0 - extent.start.0).sum();
        assert!(stored < Bytes::mib(1).0, "{stored} bytes are stored");
    }
}
