//! Reads a finished image once on each core: one hashes all of it for the sums
//! file, one hashes its chunks for the manifest.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::{Digest, Hasher};
use hearth::manifest::{CHUNK, Chunk, ChunkClass};
use hearth::units::Bytes;

use crate::sparse::{self, Extent};

/// What reading an image gives.
#[derive(Debug)]
pub struct Hashes {
    /// Of the whole file.
    pub whole: Digest,
    /// Its chunks.
    pub chunks: Vec<Chunk>,
}

/// Hashes the image at `path`; chunks that lie in `free` altogether are declared free.
pub fn image(path: &Path, free: &[Extent]) -> Result<Hashes> {
    std::thread::scope(|scope| {
        let whole = scope.spawn(|| -> Result<Digest> {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let size = Bytes(file.metadata()?.len());
            let mut hasher = Hasher::new(std::io::sink());
            each_block(&file, size, Bytes::mib(1), |block| std::io::Write::write_all(&mut hasher, block))?;
            Ok(hasher.finish().0)
        });
        let chunks = chunks(path, free)?;
        let whole = whole.join().map_err(|_| anyhow!("hashing the image panicked"))??;
        Ok(Hashes { whole, chunks })
    })
}

/// The chunk table of the image at `path`.
fn chunks(path: &Path, free: &[Extent]) -> Result<Vec<Chunk>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let size = Bytes(file.metadata()?.len());
    let mut chunks = Vec::new();
    let mut at = Bytes::ZERO;
    let zeros = vec![0; usize::try_from(CHUNK.0)?];
    let zero_digest = Digest::of(&zeros);
    each_block(&file, size, CHUNK, |block| {
        let end = at + Bytes(block.len() as u64);
        let zero = block == &zeros[..block.len()];
        let sha256 = if zero && block.len() == zeros.len() { zero_digest } else { Digest::of(block) };
        let class = if covered(free, Extent { start: at, end }) {
            ChunkClass::Free
        } else if zero {
            ChunkClass::Zero
        } else {
            ChunkClass::Data
        };
        chunks.push(Chunk { sha256, class });
        at = end;
        Ok(())
    })?;
    Ok(chunks)
}

/// Calls `act` with each block of the file in order; the last may be shorter. Holes are not read.
fn each_block(file: &File, size: Bytes, block: Bytes, mut act: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<()> {
    let stored = sparse::extents(file)?;
    let mut buffer = vec![0; usize::try_from(block.0)?];
    let mut clean = true;
    let mut at = Bytes::ZERO;
    let mut next = 0;
    while at < size {
        let end = Bytes((at + block).0.min(size.0));
        let part = &mut buffer[..usize::try_from((end - at).0)?];
        while stored.get(next).is_some_and(|extent| extent.end <= at) {
            next += 1;
        }
        if stored.get(next).is_some_and(|extent| extent.start < end) {
            file.read_exact_at(part, at.0).context("reading the image")?;
            clean = false;
        } else if !clean {
            part.fill(0);
            clean = true;
        }
        act(part).context("hashing the image")?;
        at = end;
    }
    Ok(())
}

/// Whether `free` (sorted, apart from each other) covers all of `wanted`.
fn covered(free: &[Extent], wanted: Extent) -> bool {
    let mut at = wanted.start;
    for extent in &free[free.partition_point(|extent| extent.end <= at)..] {
        if extent.start > at {
            return false;
        }
        at = extent.end;
        if at >= wanted.end {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, end: u64) -> Extent {
        Extent { start: Bytes(start), end: Bytes(end) }
    }

    #[test]
    fn cover_may_be_in_pieces_but_not_have_gaps() {
        let free = [extent(0, 10), extent(10, 20), extent(25, 30)];
        assert!(covered(&free, extent(5, 20)));
        assert!(!covered(&free, extent(5, 21)));
        assert!(!covered(&free, extent(20, 25)));
        assert!(covered(&free, extent(26, 30)));
        assert!(!covered(&[], extent(0, 1)));
    }

    #[test]
    fn chunks_have_their_class_and_hash() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(CHUNK.0 * 3 + 100).unwrap();
        sparse::put(file.as_file(), b"x", CHUNK).unwrap();
        let free = [Extent { start: CHUNK * 2, end: CHUNK * 3 }];
        let hashes = image(file.path(), &free).unwrap();
        let classes: Vec<ChunkClass> = hashes.chunks.iter().map(|chunk| chunk.class).collect();
        assert_eq!(classes, [ChunkClass::Zero, ChunkClass::Data, ChunkClass::Free, ChunkClass::Zero]);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(hashes.whole, Digest::of(&bytes));
        for (chunk, bytes) in hashes.chunks.iter().zip(bytes.chunks(usize::try_from(CHUNK.0).unwrap())) {
            assert_eq!(chunk.sha256, Digest::of(bytes));
        }
    }
}
