//! Files for the `HEARTH` partition that travel with a flash, and a whole new `HEARTH` for a
//! copy. They are put there before the disk gets its partition table, so a disk that starts
//! has them.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, ensure};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use zeroize::Zeroizing;

use super::buffer::Buffer;
use super::medium::Medium;
use super::write;
use crate::layout::HEARTH_LABEL;
use crate::manifest::Partition;
use crate::units::{Bytes, SectorSize};

/// A file in the partition's top folder.
#[derive(Clone, PartialEq, Eq)]
pub struct HearthFile {
    /// Its name.
    pub name: String,
    /// Its contents, which may hold secrets.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl HearthFile {
    /// A file called `name`.
    pub fn new(name: &str, bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into() }
    }
}

impl std::fmt::Debug for HearthFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HearthFile({}, {} bytes)", self.name, self.bytes.len())
    }
}

/// Puts `files` into the FAT of `partition` and reads them back.
pub fn put(medium: &dyn Medium, partition: &Partition, sector: SectorSize, files: &[HearthFile]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let window = || Window { medium, start: partition.start.offset(sector), size: partition.size, at: 0 };
    let open = || FileSystem::new(window(), FsOptions::new()).map_err(|error| anyhow!("{error}"));
    let what = |file: &HearthFile| format!("putting {} on {HEARTH_LABEL}", file.name);
    let fat = open().with_context(|| format!("opening {HEARTH_LABEL}"))?;
    for file in files {
        let mut to = fat.root_dir().create_file(&file.name).with_context(|| what(file))?;
        to.truncate().and_then(|()| to.write_all(&file.bytes)).and_then(|()| to.flush()).with_context(|| what(file))?;
    }
    fat.unmount().with_context(|| format!("closing {HEARTH_LABEL}"))?;
    medium.flush().with_context(|| format!("making the files on {HEARTH_LABEL} last"))?;
    let fat = open().with_context(|| format!("opening {HEARTH_LABEL} again"))?;
    for file in files {
        let mut back = Zeroizing::new(Vec::new());
        fat.root_dir()
            .open_file(&file.name)
            .and_then(|mut from| from.read_to_end(&mut back))
            .with_context(|| what(file))?;
        ensure!(back == file.bytes, "{}: the disk does not give back what was written to it", what(file));
    }
    Ok(())
}

/// How much is written at a time.
const PIECE: usize = 1 << 22;

/// FAT32 is not valid below this size.
const FAT32_FROM: Bytes = Bytes::mib(34);

/// Makes `partition` anew, with `files` in it, and reads it back. It is made in memory, where
/// it needs little: nearly all of it is zeros.
pub fn make(
    medium: &dyn Medium,
    partition: &Partition,
    sector: SectorSize,
    volume: u32,
    files: &[&HearthFile],
) -> Result<()> {
    let what = || format!("making {HEARTH_LABEL}");
    // Answers may be among the files, and they hold secrets.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(partition.size.0)?]);
    let mut fat = Cursor::new(&mut bytes[..]);
    let mut label = [b' '; 11];
    label[..HEARTH_LABEL.len()].copy_from_slice(HEARTH_LABEL.as_bytes());
    let mut options = FormatVolumeOptions::new().volume_id(volume).volume_label(label);
    options = options.bytes_per_sector(u16::try_from(sector.0).with_context(what)?).bytes_per_cluster(sector.0);
    if partition.size >= FAT32_FROM {
        options = options.fat_type(FatType::Fat32);
    }
    format_volume(&mut fat, options).with_context(what)?;
    let inside = FileSystem::new(&mut fat, FsOptions::new()).map_err(|error| anyhow!("{error}")).with_context(what)?;
    for file in files {
        let mut to = inside.root_dir().create_file(&file.name).with_context(what)?;
        to.write_all(&file.bytes).and_then(|()| to.flush()).with_context(what)?;
    }
    inside.unmount().with_context(what)?;
    let at = |index: usize| partition.start.offset(sector) + Bytes((index * PIECE) as u64);
    let (mut buffer, mut scratch) = (Buffer::new(PIECE), Buffer::new(PIECE));
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        buffer[..piece.len()].copy_from_slice(piece);
        write::put(medium, at(index), &buffer[..piece.len()]).with_context(what)?;
    }
    medium.flush().with_context(what)?;
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        write::compare(medium, at(index), piece, &mut scratch).with_context(what)?;
    }
    Ok(())
}

/// The partition, as a file that ends where it ends. Pieces of any length become whole sectors.
struct Window<'a> {
    medium: &'a dyn Medium,
    start: Bytes,
    size: Bytes,
    at: u64,
}

impl Window<'_> {
    /// The sectors that hold the next `len` bytes, as far as they are in the partition: where they
    /// lie, what is in them, and where in that the bytes are.
    fn step(&mut self, len: usize) -> io::Result<(Bytes, Vec<u8>, Range<usize>)> {
        let left = self.size.0.saturating_sub(self.at);
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        let (at, sector) = (self.start + Bytes(self.at), self.medium.sector().bytes());
        let from = at.round_down(sector);
        let whole = Bytes(at.0 + len as u64).round_up(sector) - from;
        let index = |bytes: Bytes| usize::try_from(bytes.0).map_err(io::Error::other);
        let mut bytes = vec![0; index(whole)?];
        if len > 0 {
            self.medium.read_at(from, &mut bytes)?;
        }
        self.at += len as u64;
        let skip = index(at - from)?;
        Ok((from, bytes, skip..skip + len))
    }
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (_, bytes, place) = self.step(into.len())?;
        into[..place.len()].copy_from_slice(&bytes[place.clone()]);
        Ok(place.len())
    }
}

impl Write for Window<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (at, mut bytes, place) = self.step(from.len())?;
        bytes[place.clone()].copy_from_slice(&from[..place.len()]);
        if !place.is_empty() {
            self.medium.write_at(at, &bytes)?;
        }
        Ok(place.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.0.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("before the partition's start"))?;
        Ok(self.at)
    }
}
