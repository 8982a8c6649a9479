//! The writing itself. Three threads pass a few buffers round: one reads (and decompresses)
//! the image, one checks each chunk against the manifest and writes it, one reads it back
//! from the medium. The partition table is held back until everything is proved, so that
//! an interrupted disk starts nothing; the last sector written is the first.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use anyhow::{Context as _, Result, anyhow};

use super::buffer::Buffer;
use super::chunks::{Piece, Work};
use super::medium::Medium;
use super::note::Note;
use super::table::FinalTable;
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::layout::ALIGNMENT;
use crate::manifest::DiskImage;
use crate::units::{Bytes, SectorSize};

/// How many chunks are in memory at once. With chunks of 4 MiB and zstd's window of 8 MiB
/// a whole flash stays below 64 MiB.
const BUFFERS: usize = 8;

/// So many chunks are written before the disk is told to make them last and they are read
/// back: fewer would wait for the disk too often, more would need more memory.
const BATCH: usize = 3;

/// After so many chunks that differ, only every [`GLANCE`]th is compared before it is
/// written: a disk with other contents should not be read for nothing.
const MISSES: usize = 4;

/// See [`MISSES`].
const GLANCE: usize = 16;

/// Every so many chunks are read once more at the very end. A disk that claims to be larger
/// than it is overwrites its beginning with what comes later.
const RECHECK: usize = 16;

/// What of an image goes to a disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    /// What the image is.
    pub image: &'a DiskImage,
    /// What to do with each of its chunks.
    pub pieces: &'a [Piece],
    /// Whether everything is read back.
    pub verify: bool,
}

/// What is written to a disk.
#[derive(Debug)]
pub struct Job<'a> {
    /// What the image is.
    pub image: &'a DiskImage,
    /// What to do with each of its chunks.
    pub pieces: &'a [Piece],
    /// The table the disk gets.
    pub table: FinalTable,
    /// Where signatures of former contents lie, beyond the image: begin and length.
    pub traces: Vec<(Bytes, Bytes)>,
    /// Whether everything is read back.
    pub verify: bool,
}

/// Is told how far the work is.
pub trait Watch: Sync {
    /// So many more bytes are on the disk for good.
    fn advance(&self, count: Bytes);
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that were written.
    pub written: Bytes,
    /// Bytes that the disk had already.
    pub kept: Bytes,
    /// Bytes that were read back, or read and found right.
    pub verified: Bytes,
}

/// How many bytes a job puts on the disk.
pub fn total(pieces: &[Piece]) -> Bytes {
    pieces.iter().map(Piece::size).sum()
}

/// Writes the image that `source` gives to `medium`. `last` may add to the finished
/// partitions; the table follows after it. On an error the disk has no table.
pub fn write(
    job: &Job<'_>,
    source: impl Read + Send,
    medium: &dyn Medium,
    watch: &dyn Watch,
    last: impl FnOnce(&dyn Medium) -> Result<()>,
) -> Result<Outcome> {
    make_unbootable(job, medium)?;
    let content = Content { image: job.image, pieces: job.pieces, verify: job.verify };
    let (outcome, boot_code) = fill(content, source, medium, watch)?;
    last(medium)?;
    medium.flush().context("making everything last before the partition table")?;
    job.table.commit(&boot_code, medium)?;
    Ok(outcome)
}

/// Writes the chunks alone, and proves them; gives the image's boot code, too.
pub(super) fn fill(
    content: Content<'_>,
    source: impl Read + Send,
    medium: &dyn Medium,
    watch: &dyn Watch,
) -> Result<(Outcome, Vec<u8>)> {
    let (outcome, boot_code, expected) = chunks(content, source, medium, watch)?;
    if content.verify {
        recheck(content, &expected, medium)?;
    }
    Ok((outcome, boot_code))
}

/// Takes the former table away, so that from here on nothing starts from the disk, and then
/// its copy and the signatures of former contents. [`write()`] begins with it.
pub fn make_unbootable(job: &Job<'_>, medium: &dyn Medium) -> Result<()> {
    let what = "taking the former partition table away";
    let sector = medium.sector();
    let note = Note { version: job.image.version.clone(), image: job.image.image_id }.to_sector(sector);
    let mut head = Buffer::new(usize::try_from(ALIGNMENT.0)?);
    head[..note.len()].copy_from_slice(&note);
    medium.write_at(Bytes::ZERO, &head).context(what)?;
    medium.flush().context(what)?;
    let zeros = Buffer::new(head.len());
    let end = medium.size().round_down(sector.bytes());
    medium.write_at(end - ALIGNMENT, &zeros).context(what)?;
    for &(at, len) in &job.traces {
        let at = at.round_down(sector.bytes());
        let len = Bytes(len.0.min(ALIGNMENT.0).min(end.saturating_sub(at).0)).round_down(sector.bytes());
        medium.write_at(at, &zeros[..usize::try_from(len.0)?]).context("taking signatures of former contents away")?;
    }
    medium.flush().context(what)
}

/// A chunk on its way.
struct Loaded {
    piece: Piece,
    buffer: Buffer,
}

/// The expected digest of each chunk that was written or found, by its index.
type Expected = Vec<Option<Digest>>;

fn chunks(
    content: Content<'_>,
    source: impl Read + Send,
    medium: &dyn Medium,
    watch: &dyn Watch,
) -> Result<(Outcome, Vec<u8>, Expected)> {
    let size = usize::try_from(content.image.chunk_size.0)?;
    let (give_back, empty) = channel();
    for _ in 0..BUFFERS {
        give_back.send(Buffer::new(size)).context("making buffers")?;
    }
    std::thread::scope(|scope| {
        let (to_writer, loaded) = sync_channel(BUFFERS);
        let (to_checker, written) = sync_channel(BUFFERS);
        let reader = scope.spawn(move || read_chunks(content, source, &empty, &to_writer));
        let returned = give_back.clone();
        let checker = scope.spawn(move || read_back(content, medium, watch, &written, &returned));
        let mut writer = Writer::new(content, medium, watch);
        let wrote = writer.run(&loaded, &to_checker, &give_back);
        // Both ends hang up, so that the other threads see that nothing follows.
        drop((loaded, to_checker, give_back));
        let ended = |panicked| anyhow!("a worker thread panicked: {panicked:?}");
        // Where one thread fails the others only stop: the order tells the cause from its effects.
        let (proved, read) = (checker.join().map_err(ended)?, reader.join().map_err(ended)?);
        let verified = proved?;
        wrote?;
        read?;
        let mut outcome = writer.outcome;
        outcome.verified = outcome.verified + verified;
        Ok((outcome, writer.boot_code, writer.expected))
    })
}

/// Reads the image to its end, chunk by chunk. Stops quietly when nobody wants more.
fn read_chunks(
    content: Content<'_>,
    mut source: impl Read,
    empty: &Receiver<Buffer>,
    to_writer: &SyncSender<Loaded>,
) -> Result<()> {
    for &piece in content.pieces {
        let Ok(mut buffer) = empty.recv() else { return Ok(()) };
        let part = &mut buffer[..usize::try_from(piece.len.0)?];
        source.read_exact(part).map_err(|error| short(&error, content, piece)).kind(Exit::Mismatch)?;
        if to_writer.send(Loaded { piece, buffer }).is_err() {
            return Ok(());
        }
    }
    let mut more = [0];
    // Reading past the end also has a compressed image's own checksum looked at.
    match source.read(&mut more) {
        Ok(0) => Ok(()),
        Ok(_) => Err(anyhow!("the image is longer than its manifest says ({} bytes)", content.image.size.0))
            .kind(Exit::Mismatch),
        Err(error) => Err(error).context("reading the image's end").kind(Exit::Mismatch),
    }
}

fn short(error: &io::Error, content: Content<'_>, piece: Piece) -> anyhow::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let size = content.image.size.0;
        return anyhow!(
            "the image is cut short: it ends before byte {}, its manifest says {size}",
            (piece.at + piece.len).0
        );
    }
    anyhow!("the image cannot be read at byte {}: {error}", piece.at.0)
}

/// Checks and writes.
struct Writer<'a> {
    content: Content<'a>,
    medium: &'a dyn Medium,
    watch: &'a dyn Watch,
    outcome: Outcome,
    boot_code: Vec<u8>,
    expected: Expected,
    compared: Buffer,
    misses: usize,
    since: usize,
}

impl<'a> Writer<'a> {
    fn new(content: Content<'a>, medium: &'a dyn Medium, watch: &'a dyn Watch) -> Self {
        Self {
            content,
            medium,
            watch,
            outcome: Outcome::default(),
            boot_code: Vec::new(),
            expected: vec![None; content.pieces.len()],
            compared: Buffer::new(usize::try_from(content.image.chunk_size.0).unwrap_or_default()),
            misses: 0,
            since: 0,
        }
    }

    fn run(
        &mut self,
        loaded: &Receiver<Loaded>,
        to_checker: &SyncSender<Loaded>,
        give_back: &Sender<Buffer>,
    ) -> Result<()> {
        for Loaded { piece, mut buffer } in loaded {
            let on_disk = self.take(piece, &mut buffer)?;
            if on_disk || !self.content.verify {
                self.watch.advance(piece.size());
                // The reader has ended when it needs no more buffers.
                let _ = give_back.send(buffer);
            } else if to_checker.send(Loaded { piece, buffer }).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Brings a chunk to the disk; true if it needs no reading back.
    fn take(&mut self, piece: Piece, buffer: &mut Buffer) -> Result<bool> {
        let whole = &mut buffer[..usize::try_from(piece.len.0)?];
        if piece.work == Work::Skip && piece.index > 0 {
            return Ok(true);
        }
        let listed = self.content.image.chunks[piece.index].sha256;
        if Digest::of(&*whole) != listed {
            let text = format!(
                "the image is damaged: its {} from byte {} are not what the manifest lists",
                piece.len, piece.at.0
            );
            return Err(anyhow!(text)).kind(Exit::Mismatch);
        }
        if piece.index == 0 {
            whole[..crate::bootchain::MBR_CODE].clone_into(&mut self.boot_code);
        }
        if piece.work == Work::Skip {
            return Ok(true);
        }
        whole[usize::try_from(piece.blank_from.0)?..].fill(0);
        let (at, bytes) = on_disk(piece, whole);
        let digest = if piece.is_changed() { Digest::of(bytes) } else { listed };
        self.expected[piece.index] = Some(digest);
        if self.is_there(at, bytes) {
            self.outcome.kept = self.outcome.kept + piece.size();
            self.outcome.verified = self.outcome.verified + piece.size();
            return Ok(true);
        }
        put(self.medium, at, bytes)?;
        self.outcome.written = self.outcome.written + piece.size();
        Ok(false)
    }

    /// Whether the disk has these bytes already. Not asked of every chunk of a disk that is another.
    fn is_there(&mut self, at: Bytes, bytes: &[u8]) -> bool {
        self.since += 1;
        if self.misses >= MISSES && self.since < GLANCE {
            return false;
        }
        self.since = 0;
        let compared = &mut self.compared[..bytes.len()];
        // A place that cannot be read can often be written.
        let same = self.medium.read_at(at, compared).is_ok() && *compared == *bytes;
        self.misses = if same { 0 } else { self.misses + 1 };
        same
    }
}

/// The part of a chunk that lies on the disk now, and where.
fn on_disk(piece: Piece, chunk: &[u8]) -> (Bytes, &[u8]) {
    let from = usize::try_from(piece.hold_back.0).unwrap_or(chunk.len());
    (piece.at + piece.hold_back, &chunk[from..])
}

fn read_back(
    content: Content<'_>,
    medium: &dyn Medium,
    watch: &dyn Watch,
    written: &Receiver<Loaded>,
    give_back: &Sender<Buffer>,
) -> Result<Bytes> {
    let mut found = Buffer::new(usize::try_from(content.image.chunk_size.0)?);
    let mut verified = Bytes::ZERO;
    loop {
        let batch: Vec<Loaded> = written.iter().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(verified);
        }
        medium.flush().context("making what was written last")?;
        for Loaded { piece, buffer } in batch {
            let (at, bytes) = on_disk(piece, &buffer[..usize::try_from(piece.len.0)?]);
            compare(medium, at, bytes, &mut found)?;
            verified = verified + piece.size();
            watch.advance(piece.size());
            // The reader has ended when it needs no more buffers.
            let _ = give_back.send(buffer);
        }
    }
}

/// Fails, with the place, unless the medium holds `bytes` at `at`.
pub(super) fn compare(medium: &dyn Medium, at: Bytes, bytes: &[u8], scratch: &mut Buffer) -> Result<()> {
    let found = &mut scratch[..bytes.len()];
    get(medium, at, found)?;
    if found == bytes {
        return Ok(());
    }
    let place = found.iter().zip(bytes).position(|(found, wrote)| found != wrote).unwrap_or_default();
    let text = format!(
        "the disk does not give back what was written to it: at byte {} it has 0x{:02x} instead of 0x{:02x}. \
         It is broken, or smaller than it says; do not trust it",
        at.0 + place as u64,
        found[place],
        bytes[place]
    );
    Err(anyhow!(text)).kind(Exit::Mismatch)
}

/// Reads a few chunks once more, now that everything is written.
fn recheck(content: Content<'_>, expected: &Expected, medium: &dyn Medium) -> Result<()> {
    let mut found = Buffer::new(usize::try_from(content.image.chunk_size.0)?);
    let there = content.pieces.iter().filter_map(|piece| Some((piece, expected[piece.index]?)));
    for (piece, digest) in there.step_by(RECHECK) {
        let found = &mut found[..usize::try_from(piece.size().0)?];
        let at = piece.at + piece.hold_back;
        get(medium, at, found)?;
        if Digest::of(&*found) != digest {
            let text = format!(
                "what was right at byte {} a moment ago is not any more: the disk is smaller than it says and \
                 overwrites itself. Do not trust it",
                at.0
            );
            return Err(anyhow!(text)).kind(Exit::Mismatch);
        }
    }
    Ok(())
}

/// Writes, and on an error tells which sector it was.
pub(super) fn put(medium: &dyn Medium, at: Bytes, bytes: &[u8]) -> Result<()> {
    let Err(error) = medium.write_at(at, bytes) else { return Ok(()) };
    let fails = |at, range: Range<usize>| medium.write_at(at, &bytes[range]).is_err();
    let place = bad_place(medium.sector(), at, bytes.len(), fails).0;
    Err(error).with_context(|| format!("writing to the disk at byte {place}")).kind(Exit::Io)
}

/// Reads, and on an error tells which sector it was.
fn get(medium: &dyn Medium, at: Bytes, into: &mut [u8]) -> Result<()> {
    let Err(error) = medium.read_at(at, into) else { return Ok(()) };
    let place = bad_place(medium.sector(), at, into.len(), |at, range| medium.read_at(at, &mut into[range]).is_err()).0;
    Err(error).with_context(|| format!("reading back from the disk at byte {place}")).kind(Exit::Io)
}

/// The first of the sectors in `len` bytes from `at` for which `fails` says yes: it is given
/// the sector's place, and where in those bytes it lies. If none fails now, `at`.
pub(super) fn bad_place(
    sector: SectorSize,
    at: Bytes,
    len: usize,
    mut fails: impl FnMut(Bytes, Range<usize>) -> bool,
) -> Bytes {
    let step = sector.0.max(1) as usize;
    let mut places = (0..len).step_by(step).map(|from| (at + Bytes(from as u64), from..len.min(from + step)));
    places.find(|(at, range)| fails(*at, range.clone())).map_or(at, |(at, _)| at)
}
