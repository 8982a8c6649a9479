//! From a manifest to what has to be done with each chunk of the image. Pure, and
//! suspicious: a manifest is a file that somebody handed us.

use uuid::Uuid;

use crate::layout::ALIGNMENT;
use crate::manifest::{ChunkClass, DiskImage, Partition};
use crate::units::{Bytes, SectorSize};

/// A chunk lies in memory several times over, so it may not be large.
const LARGEST_CHUNK: Bytes = Bytes::mib(16);

/// What has to be done with one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It belongs to nothing: the disk keeps what it has there.
    Skip,
    /// Its bytes go to the disk.
    Write,
}

/// One chunk of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its place in the manifest's list.
    pub index: usize,
    /// Where it begins, in the image and on the disk.
    pub at: Bytes,
    /// How long it is.
    pub len: Bytes,
    /// How many of its first bytes are not written now: the table's place, which comes last.
    pub hold_back: Bytes,
    /// From here on the disk gets zeros: the image's own copy of its table, which would lie in
    /// the middle of the disk.
    pub blank_from: Bytes,
    /// What to do.
    pub work: Work,
}

impl Piece {
    /// How many bytes it puts on the disk.
    pub fn size(&self) -> Bytes {
        match self.work {
            Work::Skip => Bytes::ZERO,
            Work::Write => self.len - self.hold_back,
        }
    }

    /// Whether the disk gets other bytes than the image has.
    pub fn is_changed(&self) -> bool {
        self.blank_from < self.len || self.hold_back > Bytes::ZERO
    }
}

/// Why a manifest cannot be followed. All of them are told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither 512 nor 4096.
    #[error("it counts in sectors of {0} bytes")]
    Sector(u32),
    /// Not a whole number of sectors, or nothing at all.
    #[error("the image would have {0} bytes, which is not a whole number of sectors")]
    Size(u64),
    /// No sensible chunk size.
    #[error("its chunks have {0} bytes")]
    ChunkSize(u64),
    /// Too many or too few chunks.
    #[error("it lists {found} chunks, but the image has {needed}")]
    Count {
        /// How many it lists.
        found: usize,
        /// How many the image has.
        needed: u64,
    },
    /// A partition outside the image, or over another.
    #[error("partition {0} lies outside the image, or over another one")]
    Partition(u32),
    /// No partition at all.
    #[error("it lists no partition")]
    NoPartitions,
}

/// What to do with every chunk of the image, in order.
pub fn plan(image: &DiskImage) -> Result<Vec<Piece>, Vec<Problem>> {
    let mut wrong = check(image);
    let (size, chunk) = (image.size, image.chunk_size);
    if wrong.is_empty() && image.chunks.len() as u64 != size.0.div_ceil(chunk.0) {
        wrong.push(Problem::Count { found: image.chunks.len(), needed: size.0.div_ceil(chunk.0) });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (tables_end, copy_from) = between_tables(image);
    let pieces = image.chunks.iter().enumerate().map(|(index, listed)| {
        let at = chunk * index as u64;
        let len = Bytes(chunk.0.min(size.0 - at.0));
        let inside = |edge: Bytes| Bytes(edge.saturating_sub(at).0.min(len.0));
        let (hold_back, blank_from) = (inside(tables_end), inside(copy_from));
        let free = listed.class == ChunkClass::Free && blank_from == len;
        let work = if free || hold_back == len { Work::Skip } else { Work::Write };
        Piece { index, at, len, hold_back, blank_from, work }
    });
    Ok(pieces.collect())
}

/// Before the first partition lies the table, behind the last its copy: where the one's place
/// ends, and where the other's begins.
pub(super) fn between_tables(image: &DiskImage) -> (Bytes, Bytes) {
    let sector = image.sector_size;
    let first = image.partitions.iter().map(|part| part.start.offset(sector)).min();
    let last = image.partitions.iter().map(|part| end(part, sector)).max();
    (first.unwrap_or(ALIGNMENT), last.unwrap_or(image.size))
}

fn check(image: &DiskImage) -> Vec<Problem> {
    let mut wrong = Vec::new();
    let sector = image.sector_size;
    if ![512, 4096].contains(&sector.0) {
        wrong.push(Problem::Sector(sector.0));
        return wrong;
    }
    let whole = |bytes: Bytes| bytes > Bytes::ZERO && bytes.0 % u64::from(sector.0) == 0;
    if !whole(image.size) || image.size.0 > i64::MAX as u64 {
        wrong.push(Problem::Size(image.size.0));
    }
    // The table is held back by whole chunks of at least its size.
    if !whole(image.chunk_size) || image.chunk_size > LARGEST_CHUNK || image.chunk_size < ALIGNMENT {
        wrong.push(Problem::ChunkSize(image.chunk_size.0));
    }
    if image.partitions.is_empty() {
        wrong.push(Problem::NoPartitions);
    }
    let mut parts: Vec<&Partition> = image.partitions.iter().collect();
    parts.sort_by_key(|part| part.start);
    let mut free_from = ALIGNMENT;
    for part in parts {
        let start = part.start.0.checked_mul(u64::from(sector.0)).map(Bytes);
        let end = start.and_then(|start| start.0.checked_add(part.size.0)).map(Bytes);
        let room = image.size.saturating_sub(crate::gpt::copy_size(sector));
        match (start, end) {
            (Some(start), Some(end)) if start >= free_from && end <= room && whole(part.size) => free_from = end,
            _ => wrong.push(Problem::Partition(part.number)),
        }
    }
    wrong
}

fn end(part: &Partition, sector: SectorSize) -> Bytes {
    part.start.offset(sector) + part.size
}

/// The image's partitions with ids of their own: two disks written from one image must
/// not look alike. `drawn` is an id nobody else has.
pub fn with_own_ids(partitions: &[Partition], drawn: Uuid) -> Vec<Partition> {
    let own = |part: &Partition| crate::layout::derived_id(drawn, &format!("partition {}", part.name));
    partitions.iter().map(|part| Partition { guid: own(part), ..part.clone() }).collect()
}

#[cfg(test)]
mod tests;
