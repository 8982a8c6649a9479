//! Which blocks of an ext4 file system belong to nothing: read from its block
//! bitmaps, because e2fsprogs' own lister cannot look into a disk image. Layout:
//! <https://docs.kernel.org/filesystems/ext4/globals.html>

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, anyhow};
use hearth::units::Bytes;

use crate::sparse::Extent;

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;

/// A group whose bitmap was never written: free but for what its first blocks may hold.
const BLOCK_UNINIT: u16 = 2;

/// More than a backup superblock and its descriptors ever take at a group's start.
const GROUP_HEAD: u64 = 2048;

/// The superblock of the file system at `offset` in `image`.
fn superblock(image: &File, offset: Bytes) -> Result<[u8; 1024]> {
    let mut raw = [0; 1024];
    image.read_exact_at(&mut raw, offset.0 + SUPERBLOCK).context("reading the ext4 superblock")?;
    if half(&raw, 0x38) != MAGIC {
        return Err(anyhow!("there is no ext4 file system at byte {offset}"));
    }
    Ok(raw)
}

fn block_of(superblock: &[u8]) -> u64 {
    1024 << word(superblock, 0x18)
}

/// The block size of the file system at `offset` in `image`.
pub fn block_size(image: &File, offset: Bytes) -> Result<Bytes> {
    Ok(Bytes(block_of(&superblock(image, offset)?)))
}

/// The free runs of the file system at `offset` in `image`, as runs of the image, in order.
pub fn free_extents(image: &File, offset: Bytes) -> Result<Vec<Extent>> {
    let raw = superblock(image, offset)?;
    let block = block_of(&raw);
    let blocks = u64::from(word(&raw, 0x04)) | u64::from(word(&raw, 0x150)) << 32;
    let per_group = u64::from(word(&raw, 0x20));
    let descriptor = u64::from(half(&raw, 0xfe)).max(32);
    let first = u64::from(word(&raw, 0x14));
    let table = (first + 1) * block;
    let mut free = Vec::new();
    let mut note = |start: u64, end: u64| {
        let at = |number: u64| Bytes(number * block) + offset;
        match free.last_mut() {
            Some(Extent { end: last, .. }) if *last == at(start) => *last = at(end),
            _ => free.push(Extent { start: at(start), end: at(end) }),
        }
    };
    let mut bitmap = vec![0; usize::try_from(block)?];
    for group in 0..(blocks - first).div_ceil(per_group) {
        let start = first + group * per_group;
        let count = per_group.min(blocks - start);
        let mut entry = vec![0; usize::try_from(descriptor)?];
        image.read_exact_at(&mut entry, offset.0 + table + group * descriptor).context("reading a group descriptor")?;
        if half(&entry, 0x12) & BLOCK_UNINIT != 0 {
            if count > GROUP_HEAD {
                note(start + GROUP_HEAD, start + count);
            }
            continue;
        }
        let high = if descriptor >= 64 { u64::from(word(&entry, 0x20)) << 32 } else { 0 };
        let at = (u64::from(word(&entry, 0)) | high) * block;
        image.read_exact_at(&mut bitmap, offset.0 + at).context("reading a block bitmap")?;
        for number in 0..count {
            if bitmap[usize::try_from(number / 8)?] >> (number % 8) & 1 == 0 {
                note(start + number, start + number + 1);
            }
        }
    }
    Ok(free)
}

fn half(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

fn word(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system of two groups of 8192 one-KiB blocks: the first has a bitmap, the second none.
    fn example() -> File {
        let image = tempfile::tempfile().unwrap();
        image.set_len(16 << 20).unwrap();
        let put = |at: u64, bytes: &[u8]| image.write_all_at(bytes, at + 512).unwrap();
        put(1024 + 0x38, &MAGIC.to_le_bytes());
        put(1024 + 0x04, &16_385u32.to_le_bytes());
        put(1024 + 0x14, &1u32.to_le_bytes());
        put(1024 + 0x20, &8192u32.to_le_bytes());
        put(2048, &5u32.to_le_bytes());
        put(2048 + 32 + 0x12, &BLOCK_UNINIT.to_le_bytes());
        put(5 * 1024, &[0xff; 1024]);
        put(5 * 1024 + 1, &[0b1111_1001]);
        image
    }

    #[test]
    fn free_runs_come_from_bitmaps_and_unwritten_groups() {
        let free = free_extents(&example(), Bytes(512)).unwrap();
        let extent = |start: u64, end: u64| Extent { start: Bytes(start * 1024 + 512), end: Bytes(end * 1024 + 512) };
        assert_eq!(free, [extent(10, 12), extent(8193 + 2048, 16_385)]);
    }

    #[test]
    fn the_block_size_is_read() {
        assert_eq!(block_size(&example(), Bytes(512)).unwrap(), Bytes::kib(1));
    }

    #[test]
    fn what_is_no_ext4_is_refused() {
        assert!(free_extents(&example(), Bytes(0)).is_err());
    }
}
