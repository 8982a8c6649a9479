//! Reads a finished image once and hashes it twice at the same time: all of it for
//! the sums file, on another core, and its chunks for the manifest.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};

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

/// Chunks in memory: one is hashed as a part of the whole, one waits for that, one is
/// filled and hashed by itself, and one is spare, so that nobody waits for a copy.
const BUFFERS: usize = 4;

/// Hashes the image at `path`; chunks that lie in `free` altogether are declared free.
pub fn image(path: &Path, free: &[Extent]) -> Result<Hashes> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let size = Bytes(file.metadata()?.len());
    let (give, take) = mpsc::sync_channel::<(Arc<Vec<u8>>, usize)>(1);
    std::thread::scope(|scope| {
        let whole = scope.spawn(move || -> Result<Digest> {
            let mut hasher = Hasher::new(std::io::sink());
            for (block, length) in take {
                hasher.write_all(&block[..length]).context("hashing the image")?;
            }
            Ok(hasher.finish().0)
        });
        let chunks = chunks(&file, size, free, |block, length| {
            give.send((block, length)).map_err(|_| anyhow!("hashing the image ended early"))
        });
        drop(give);
        let whole = whole.join().map_err(|_| anyhow!("hashing the image panicked"))??;
        Ok(Hashes { whole, chunks: chunks? })
    })
}

/// The chunk table of an image; each chunk is passed to `also` (a buffer and how much of it counts).
fn chunks(
    file: &File,
    size: Bytes,
    free: &[Extent],
    also: impl Fn(Arc<Vec<u8>>, usize) -> Result<()>,
) -> Result<Vec<Chunk>> {
    let stored = sparse::extents(file)?;
    let zeros = Arc::new(vec![0; usize::try_from(CHUNK.0)?]);
    let zero_digest = Digest::of(zeros.as_slice());
    let mut buffers = vec![zeros.clone(); BUFFERS];
    let (mut chunks, mut at, mut next) = (Vec::new(), Bytes::ZERO, 0);
    while at < size {
        let end = Bytes((at + CHUNK).0.min(size.0));
        let length = usize::try_from((end - at).0)?;
        while stored.get(next).is_some_and(|extent| extent.end <= at) {
            next += 1;
        }
        // Holes are not read.
        let block = if stored.get(next).is_some_and(|extent| extent.start < end) {
            buffers.rotate_left(1);
            file.read_exact_at(&mut Arc::make_mut(&mut buffers[0])[..length], at.0).context("reading the image")?;
            &buffers[0]
        } else {
            &zeros
        };
        also(block.clone(), length)?;
        let zero = Arc::ptr_eq(block, &zeros) || block[..length] == zeros[..length];
        let sha256 = if zero && length == zeros.len() { zero_digest } else { Digest::of(&block[..length]) };
        let class = if covered(free, Extent { start: at, end }) {
            ChunkClass::Free
        } else if zero {
            ChunkClass::Zero
        } else {
            ChunkClass::Data
        };
        chunks.push(Chunk { sha256, class });
        at = end;
    }
    Ok(chunks)
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
