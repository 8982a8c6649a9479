//! The disk that Hearth was started from, as a source: setup writes the system disk from it.
//! It holds the image, but for what differs on every written disk. Of that the partition
//! table is worked out again as the image had it, `HEARTH` is made anew, and what belongs to
//! nothing is left alone. All the rest is proved, chunk by chunk, by the list that the disk
//! carries on `HEARTH`.

mod renew;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, anyhow};
use uuid::Uuid;

use super::chunks::{self, Piece, Work};
use super::hearth_files::{self, HearthFile};
use super::medium::{BlockDevice, Medium};
use super::table::FinalTable;
use super::write::{self, Job, Outcome, Watch};
use super::{Need, traces};
use crate::bootchain::MBR_CODE;
use crate::exit::{Exit, Kind as _};
use crate::facts::Disk;
use crate::gpt;
use crate::layout::Part;
use crate::machine::{Dev, on_hearth};
use crate::manifest::{DiskImage, FORMAT, MEDIUM_FILE};
use crate::units::{Bytes, SectorSize};

/// What is copied from one `HEARTH` to the next beside the list: what people read. Answers,
/// keys and reports are not: they are of this disk.
const COPIED: [&str; 2] = ["README.txt", "hearth.example.toml"];

/// A disk to copy Hearth from.
pub struct MediumSource {
    medium: Box<dyn Medium>,
    /// For people.
    path: String,
    image: DiskImage,
    pieces: Vec<Piece>,
    /// What goes to the other `HEARTH`.
    files: Vec<HearthFile>,
}

impl fmt::Debug for MediumSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediumSource({})", self.path)
    }
}

/// What the copy has of its own.
#[derive(Clone, Debug)]
pub struct Own {
    /// What the ids of the table and its partitions follow from.
    pub table: Uuid,
    /// The volume id of the new `HEARTH`.
    pub hearth: u32,
    /// What lies on it besides what is copied: a disk that starts has all of it.
    pub files: Vec<HearthFile>,
    /// Where former contents must not be found later on: begin and length, at most 1 MiB.
    pub cleared: Vec<(Bytes, Bytes)>,
}

impl MediumSource {
    /// Opens `boot`, the disk that Hearth was started from.
    pub fn open(boot: &Disk) -> Result<Self> {
        let files = on_hearth(&Dev::hearth(&boot.name), |dir| {
            let there = COPIED.iter().chain([&MEDIUM_FILE]).filter(|name| dir.join(name).exists());
            let read = |name: &&str| std::fs::read(dir.join(name)).with_context(|| format!("reading {name} on HEARTH"));
            there.map(|name| Ok(HearthFile::new(name, read(name)?))).collect::<Result<Vec<_>>>()
        })?;
        let file = File::open(&boot.path).with_context(|| format!("opening {}", boot.path))?;
        let medium = ReadOnly { file, size: boot.size, sector: boot.logical_sector };
        let source = Self::new(Box::new(medium), &boot.path, files)?;
        source.require_as_written(boot)?;
        Ok(source)
    }

    fn new(medium: Box<dyn Medium>, path: &str, files: Vec<HearthFile>) -> Result<Self> {
        let list = files.iter().find(|file| file.name == MEDIUM_FILE);
        let list = list.ok_or_else(|| {
            anyhow!(
                "{path} cannot be copied: {MEDIUM_FILE} is missing on its HEARTH partition; write the image to it again"
            )
        });
        let what = || format!("reading {MEDIUM_FILE} on HEARTH of {path}");
        let image: DiskImage =
            serde_json::from_slice(&list.kind(Exit::Refused)?.bytes).with_context(what).kind(Exit::Io)?;
        if image.format != FORMAT {
            let text = format!("format {} is not known here ({FORMAT} is)", image.format);
            return Err(anyhow!(text)).with_context(what).kind(Exit::Refused);
        }
        let pieces = chunks::plan(&image).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow!("it cannot be followed: {}", all.join("; "))
        });
        let pieces = pieces.with_context(what).kind(Exit::Io)?;
        Ok(Self { medium, path: path.to_owned(), image, pieces, files })
    }

    /// What a disk must have to take the copy.
    pub fn need(&self) -> Need {
        Need { size: self.image.size, sector: self.image.sector_size }
    }

    /// How many bytes a copy puts on a disk, as [`Watch`] counts them.
    pub fn total(&self) -> Bytes {
        write::total(&self.pieces)
    }

    /// Writes Hearth to `target`, which is claimed meanwhile and must be approved by now. If it
    /// fails, nothing starts from `target`; done again, it goes on where it stopped.
    pub fn clone_to(&self, target: &Disk, own: &Own, watch: &dyn Watch) -> Result<Outcome> {
        let medium = BlockDevice::claim(&target.path, target.size, target.logical_sector)?;
        let outcome = self.write_to(&medium, traces(target), own, watch).with_context(|| {
            let to = &target.path;
            format!(
                "copying Hearth from {} to {to} stopped; {to} has no partition table, so nothing starts from it",
                self.path
            )
        })?;
        medium.reread_table().with_context(|| format!("having the kernel read the new table of {}", target.path))?;
        Ok(outcome)
    }

    fn write_to(
        &self,
        medium: &dyn Medium,
        mut traces: Vec<(Bytes, Bytes)>,
        own: &Own,
        watch: &dyn Watch,
    ) -> Result<Outcome> {
        let image = &self.image;
        traces.extend(&own.cleared);
        let table = FinalTable::new(image, medium.size(), own.table)?;
        let job = Job { image, pieces: &self.pieces, table, traces, verify: true };
        let files: Vec<&HearthFile> = self.files.iter().chain(&own.files).collect();
        write::write(&job, self.bytes()?, medium, watch, |medium| match image.find(Part::Hearth) {
            Some(hearth) => hearth_files::make(medium, hearth, image.sector_size, own.hearth, &files),
            None => Err(anyhow!("the image has no partition {}", Part::Hearth.name())).kind(Exit::Refused),
        })
    }

    /// The image that the disk was written from, as far as it matters.
    fn bytes(&self) -> Result<ImageBytes<'_>> {
        let (tables_end, copy_from) = chunks::between_tables(&self.image);
        let ends = gpt::table(self.image.disk_guid, &self.image.partitions, self.image.size, self.image.sector_size)?;
        let copy = usize::try_from(gpt::copy_size(self.image.sector_size).0)?;
        let sector = usize::try_from(self.image.sector_size.bytes().0)?;
        let mut head = vec![0; usize::try_from(tables_end.0)?];
        head[..sector + copy].copy_from_slice(&ends.head[..sector + copy]);
        // The boot code is the image's own, and all that the first sector keeps of it.
        let mut first = vec![0; usize::try_from(self.medium.sector().bytes().0)?];
        self.medium
            .read_at(Bytes::ZERO, &mut first)
            .with_context(|| format!("reading the first sector of {}", self.path))?;
        head[..MBR_CODE].copy_from_slice(&first[..MBR_CODE]);
        let mut tail = vec![0; usize::try_from((self.image.size - copy_from).0)?];
        let at = tail.len() - copy;
        tail[at..].copy_from_slice(&ends.tail[ends.tail.len() - copy..]);
        Ok(ImageBytes { source: self, at: Bytes::ZERO, head, tail, copy_from })
    }

    /// A disk that Hearth has been set up on is no medium any more: its root has grown.
    fn require_as_written(&self, boot: &Disk) -> Result<()> {
        for part in &self.image.partitions {
            let start = part.start.offset(self.image.sector_size);
            let same = |found: &crate::facts::Partition| {
                (found.number, found.start, found.size) == (Some(part.number), Some(start), part.size)
            };
            if !boot.partitions.iter().any(same) {
                let text = format!(
                    "{} cannot be copied: its partition {} is not as it was written, {} from byte {}",
                    self.path, part.name, part.size, start.0
                );
                return Err(anyhow!(text)).kind(Exit::Refused);
            }
        }
        Ok(())
    }
}

/// The image, read from the disk and from what is known of it.
#[derive(Debug)]
struct ImageBytes<'a> {
    source: &'a MediumSource,
    at: Bytes,
    /// Up to the first partition.
    head: Vec<u8>,
    /// From behind the last one.
    tail: Vec<u8>,
    copy_from: Bytes,
}

impl Read for ImageBytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let chunk = self.source.image.chunk_size.0;
        let index = usize::try_from(self.at.0 / chunk).map_err(io::Error::other)?;
        let Some(piece) = self.source.pieces.get(index) else { return Ok(0) };
        let slice = |bytes: &[u8], from: Bytes, into: &mut [u8]| -> io::Result<usize> {
            let bytes = &bytes[usize::try_from((self.at - from).0).map_err(io::Error::other)?..];
            let len = into.len().min(bytes.len());
            into[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        };
        let until = |end: Bytes| usize::try_from((end - self.at).0).map_err(io::Error::other);
        let len = into.len().min(until(piece.at + piece.len)?);
        let into = &mut into[..len];
        let tables_end = Bytes(self.head.len() as u64);
        let len = if self.at < tables_end {
            slice(&self.head, Bytes::ZERO, into)?
        } else if self.at >= self.copy_from {
            slice(&self.tail, self.copy_from, into)?
        } else if piece.work == Work::Skip {
            // Nobody looks at it, so it need not be read.
            into.fill(0);
            len
        } else {
            let len = len.min(until(self.copy_from)?);
            self.source.load(self.at, &mut into[..len])?;
            len
        };
        self.at = self.at + Bytes(len as u64);
        Ok(len)
    }
}

impl MediumSource {
    /// Reads, and on an error tells which sector it was.
    fn load(&self, at: Bytes, into: &mut [u8]) -> io::Result<()> {
        let medium = &*self.medium;
        medium.read_at(at, into).map_err(|error| {
            let place = write::bad_place(medium.sector(), at, into.len(), |at, range| {
                medium.read_at(at, &mut into[range]).is_err()
            });
            io::Error::new(error.kind(), format!("{} gives nothing at byte {}: {error}", self.path, place.0))
        })
    }
}

/// A disk that is only read.
#[derive(Debug)]
struct ReadOnly {
    file: File,
    size: Bytes,
    sector: SectorSize,
}

impl Medium for ReadOnly {
    fn size(&self) -> Bytes {
        self.size
    }

    fn sector(&self) -> SectorSize {
        self.sector
    }

    fn read_at(&self, at: Bytes, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at.0)
    }

    fn write_at(&self, _: Bytes, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
