//! The digests of an image: of its chunks for the manifest, and of all of it for the sums.
//! `HEARTH` tells the digests of the chunks around it, so a build needs those before the
//! image is whole: they are worked out on all cores, and the whole in a second pass. Most
//! of them the base layer knows, so that a rebuild reads only what the overlay wrote to.

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A stretch of an image that was copied from a file whose digests are known, and then edited.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Where in the image it begins.
    pub start: Bytes,
    /// The digests of the file's whole chunks.
    pub digests: &'a [Digest],
    /// What may have been written to since, in the image.
    pub edited: &'a [Extent],
}

impl Copied<'_> {
    /// The digest of the chunk at `place`, if that follows from the file's.
    fn digest(&self, place: Extent) -> Option<Digest> {
        let into = place.start.0.checked_sub(self.start.0)?;
        let is_one = into % CHUNK.0 == 0 && place.end - place.start == CHUNK;
        let is_edited = self.edited.iter().any(|edited| edited.start < place.end && place.start < edited.end);
        let known = self.digests.get(usize::try_from(into / CHUNK.0).ok()?);
        known.filter(|_| is_one && !is_edited).copied()
    }
}

/// The digests of the whole chunks of the file at `path`.
pub fn digests(path: &Path) -> Result<Vec<Digest>> {
    let whole = usize::try_from(path.metadata().context("reading a file's size")?.len() / CHUNK.0)?;
    Ok(chunks(path, &[], None)?.into_iter().take(whole).map(|chunk| chunk.sha256).collect())
}

/// The chunks of the image at `path`; those that lie in `free` altogether are declared free. What is known
/// of `copied` is not read.
pub fn chunks(path: &Path, free: &[Extent], copied: Option<Copied<'_>>) -> Result<Vec<Chunk>> {
    let image = Image::open(path, free)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Chunk)>> {
        let mut buffer = image.zeros.to_vec();
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= image.count() {
                return Ok(done);
            }
            let chunk = if let Some(known) = copied.and_then(|copied| copied.digest(image.place(index))) {
                image.classify(index, known, known == image.zero_digest)
            } else if image.is_stored(index) {
                image.describe(index, image.load(index, &mut buffer)?)
            } else {
                image.describe(index, image.zeros(index))
            };
            done.push((index, chunk));
        }
    };
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("hashing panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?
    .concat();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, chunk)| chunk).collect())
}

/// Reads the image at `path` once, and hashes all of it on another core. Its chunks are
/// `known` already, but for those that are to be hashed `anew`.
pub fn image(path: &Path, free: &[Extent], known: &[Chunk], anew: &Range<usize>) -> Result<Hashes> {
    let image = Image::open(path, free)?;
    let (give, take) = mpsc::sync_channel::<(Arc<Vec<u8>>, usize)>(1);
    std::thread::scope(|scope| {
        let whole = scope.spawn(move || -> Result<Digest> {
            let mut hasher = Hasher::new(std::io::sink());
            for (block, length) in take {
                hasher.write_all(&block[..length]).context("hashing the image")?;
            }
            Ok(hasher.finish().0)
        });
        let read = || -> Result<Vec<Chunk>> {
            let mut buffers = vec![image.zeros.clone(); BUFFERS];
            let mut chunks = Vec::with_capacity(image.count());
            for index in 0..image.count() {
                let block = if image.is_stored(index) {
                    buffers.rotate_left(1);
                    image.load(index, Arc::make_mut(&mut buffers[0]).as_mut_slice())?;
                    &buffers[0]
                } else {
                    &image.zeros
                };
                let length = image.zeros(index).len();
                give.send((block.clone(), length)).map_err(|_| anyhow!("hashing the image ended early"))?;
                chunks.push(match known.get(index) {
                    Some(known) if !anew.contains(&index) => known.clone(),
                    _ => image.describe(index, &block[..length]),
                });
            }
            Ok(chunks)
        };
        let chunks = read();
        drop(give);
        let whole = whole.join().map_err(|_| anyhow!("hashing the image panicked"))??;
        Ok(Hashes { whole, chunks: chunks? })
    })
}

/// An image, and what of it need not be read.
struct Image<'a> {
    file: File,
    size: Bytes,
    stored: Vec<Extent>,
    free: &'a [Extent],
    zeros: Arc<Vec<u8>>,
    zero_digest: Digest,
}

impl<'a> Image<'a> {
    fn open(path: &Path, free: &'a [Extent]) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let zeros = Arc::new(vec![0; usize::try_from(CHUNK.0)?]);
        let (size, stored) = (Bytes(file.metadata()?.len()), sparse::extents(&file)?);
        Ok(Self { file, size, stored, free, zero_digest: Digest::of(zeros.as_slice()), zeros })
    }

    fn count(&self) -> usize {
        usize::try_from(self.size.0.div_ceil(CHUNK.0)).unwrap_or(usize::MAX)
    }

    /// Where the chunk lies.
    fn place(&self, index: usize) -> Extent {
        let start = CHUNK * index as u64;
        Extent { start, end: Bytes((start + CHUNK).0.min(self.size.0)) }
    }

    /// Holes are not read.
    fn is_stored(&self, index: usize) -> bool {
        let Extent { start, end } = self.place(index);
        let next = self.stored.partition_point(|extent| extent.end <= start);
        self.stored.get(next).is_some_and(|extent| extent.start < end)
    }

    /// As many zeros as the chunk is long.
    fn zeros(&self, index: usize) -> &[u8] {
        let Extent { start, end } = self.place(index);
        &self.zeros[..usize::try_from((end - start).0).unwrap_or(self.zeros.len())]
    }

    fn load<'b>(&self, index: usize, into: &'b mut [u8]) -> Result<&'b [u8]> {
        let part = &mut into[..self.zeros(index).len()];
        self.file.read_exact_at(part, self.place(index).start.0).context("reading the image")?;
        Ok(part)
    }

    fn describe(&self, index: usize, bytes: &[u8]) -> Chunk {
        let zero = bytes == self.zeros(index);
        let sha256 = if zero && bytes.len() == self.zeros.len() { self.zero_digest } else { Digest::of(bytes) };
        self.classify(index, sha256, zero)
    }

    fn classify(&self, index: usize, sha256: Digest, zero: bool) -> Chunk {
        let class = if covered(self.free, self.place(index)) {
            ChunkClass::Free
        } else if zero {
            ChunkClass::Zero
        } else {
            ChunkClass::Data
        };
        Chunk { sha256, class }
    }
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
        let hashes = image(file.path(), &free, &[], &(0..0)).unwrap();
        assert_eq!(chunks(file.path(), &free, None).unwrap(), hashes.chunks);
        let classes: Vec<ChunkClass> = hashes.chunks.iter().map(|chunk| chunk.class).collect();
        assert_eq!(classes, [ChunkClass::Zero, ChunkClass::Data, ChunkClass::Free, ChunkClass::Zero]);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(hashes.whole, Digest::of(&bytes));
        for (chunk, bytes) in hashes.chunks.iter().zip(bytes.chunks(usize::try_from(CHUNK.0).unwrap())) {
            assert_eq!(chunk.sha256, Digest::of(bytes));
        }
    }

    #[test]
    fn what_is_known_is_hashed_again_only_where_it_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(CHUNK.0 * 3).unwrap();
        let known = chunks(file.path(), &[], None).unwrap();
        for at in [CHUNK, CHUNK * 2] {
            sparse::put(file.as_file(), b"x", at).unwrap();
        }
        let hashes = image(file.path(), &[], &known, &(1..2)).unwrap();
        let now = chunks(file.path(), &[], None).unwrap();
        assert_eq!(hashes.chunks, [known[0].clone(), now[1].clone(), known[2].clone()]);
        assert_eq!(hashes.whole, Digest::of(std::fs::read(file.path()).unwrap()));
    }

    #[test]
    fn what_was_copied_is_hashed_again_only_where_it_was_edited() {
        let chunk = usize::try_from(CHUNK.0).unwrap();
        let from = tempfile::NamedTempFile::new().unwrap();
        let body: Vec<u8> =
            (0..5 * chunk + 7).map(|at| u8::from(at / chunk != 2) * (at / 999).to_le_bytes()[0]).collect();
        std::fs::write(from.path(), &body).unwrap();
        let digests = digests(from.path()).unwrap();
        assert_eq!(digests.len(), 5);

        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(CHUNK.0 * 8).unwrap();
        sparse::copy(from.as_file(), image.as_file(), CHUNK).unwrap();
        // The first chunk and a boundary: an edit that ends in one chunk and begins in the one before.
        let edited = [CHUNK + Bytes(9), CHUNK * 5 - Bytes(1)].map(|start| Extent { start, end: start + Bytes(2) });
        for Extent { start, .. } in edited {
            sparse::put(image.as_file(), b"??", start).unwrap();
        }
        let free = [Extent { start: CHUNK * 2, end: CHUNK * 3 }];
        let copied = Copied { start: CHUNK, digests: &digests, edited: &edited };
        assert_eq!(chunks(image.path(), &free, Some(copied)).unwrap(), chunks(image.path(), &free, None).unwrap());

        // It is the list that is believed: an edit that is not in it goes unseen.
        let known: Vec<bool> =
            (0..8).map(|n| copied.digest(Extent { start: CHUNK * n, end: CHUNK * (n + 1) }).is_some()).collect();
        assert_eq!(known, [false, false, true, true, false, false, false, false]);
    }
}
