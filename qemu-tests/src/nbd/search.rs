//! What a thief does who reads a disk from its first byte to its last.

use std::io;
use std::ops::Range;

use super::Disk;

/// Where on `disk` which of the needles lies, by name and byte; each needle is a name and the text to look for.
pub fn find<'a>(disk: &Disk, needles: &[(&'a str, &str)]) -> io::Result<Vec<(&'a str, u64)>> {
    const PIECE: usize = 4 << 20;
    let longest = needles.iter().map(|(_, needle)| needle.len()).max().unwrap_or_default();
    let mut found = Vec::new();
    let mut at = 0;
    while at < disk.size() {
        let Range { start, end } = at..(at + (PIECE + longest) as u64).min(disk.size());
        let bytes = disk.read(start, usize::try_from(end - start).map_err(io::Error::other)?)?;
        for (what, needle) in needles {
            let here = memchr::memmem::find_iter(&bytes, needle.as_bytes()).filter(|place| *place < PIECE);
            found.extend(here.map(|place| (*what, start + place as u64)));
        }
        at += PIECE as u64;
    }
    Ok(found)
}
