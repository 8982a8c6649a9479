//! Writing Hearth once more into the partitions of a disk that it was set up on. The table is
//! never touched, and neither is what lies behind the image's partitions: `data` stays.
//!
//! What firmware starts is taken away first and comes back last, so a disk that a power cut
//! leaves half written starts nothing: [`MediumSource::renew`] does the one and
//! [`MediumSource::make_startable`] the other.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::MediumSource;
use crate::adopt::fat;
use crate::bootchain::MBR_CODE;
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::facts::Disk;
use crate::flash::buffer::Buffer;
use crate::flash::chunks::{Piece, Work};
use crate::flash::hearth_files::{self, HearthFile};
use crate::flash::medium::{BlockDevice, Medium};
use crate::flash::write::{self, Content, Outcome, Watch};
use crate::layout::Part;
use crate::manifest::Partition;
use crate::units::{Bytes, SectorSize};

/// So much of the EFI system partition comes last. Without it no firmware sees a file system
/// there. It holds the first sector and its copy, for every sector size.
const HELD: Bytes = Bytes::kib(4);

/// What a BIOS runs from a disk that is not finished: `int 18h`, which hands over to the next one,
/// and for a BIOS that comes back from it, standing still.
const NEXT_DISK: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

impl MediumSource {
    /// Writes everything but what firmware starts into the partitions of `target`, which is claimed
    /// meanwhile. From the first write on nothing starts from it; done again, it goes on where it stopped.
    pub fn renew(&self, target: &Disk, hearth: u32, watch: &dyn Watch) -> Result<Outcome> {
        let medium = claim(target)?;
        let outcome = self.renew_on(&medium, hearth, watch).with_context(|| {
            let (from, to) = (&self.path, &target.path);
            format!("copying Hearth from {from} to {to} stopped; nothing starts from {to} until that is done again")
        })?;
        medium.reread_table().with_context(|| format!("having the kernel look at {} again", target.path))?;
        Ok(outcome)
    }

    /// How many bytes [`Self::renew`] puts on a disk, as [`Watch`] counts them.
    pub fn renewed(&self) -> Result<Bytes> {
        Ok(write::total(&held_back(&self.pieces, self.held_until()?)))
    }

    /// Puts back what firmware starts; `esp` is the volume id of the EFI system partition.
    pub fn make_startable(&self, target: &Disk, esp: u32) -> Result<()> {
        let medium = claim(target)?;
        let what = || format!("making {} start", target.path);
        self.start_on(&medium, esp).with_context(what)?;
        medium.reread_table().with_context(what)
    }

    pub(super) fn renew_on(&self, medium: &dyn Medium, hearth: u32, watch: &dyn Watch) -> Result<Outcome> {
        let (image, sector) = (&self.image, self.image.sector_size);
        let (esp, place) = (self.find(Part::Esp)?, self.find(Part::Hearth)?);
        stop_on(medium, esp.start.offset(sector))?;
        let pieces = held_back(&self.pieces, self.held_until()?);
        let content = Content { image, pieces: &pieces, verify: true };
        let (outcome, _) = write::fill(content, self.bytes()?, medium, watch)?;
        let files: Vec<&HearthFile> = self.files.iter().collect();
        hearth_files::make(medium, place, sector, hearth, &files)?;
        medium.flush().context("making everything last")?;
        Ok(outcome)
    }

    pub(super) fn start_on(&self, medium: &dyn Medium, id: u32) -> Result<()> {
        let sector = self.image.sector_size;
        let esp = self.find(Part::Esp)?.start.offset(sector);
        let begin = self.pieces_before(self.held_until()?)?;
        let slice = |from: Bytes, to: Bytes| -> Result<Vec<u8>> {
            Ok(begin[usize::try_from(from.0)?..usize::try_from(to.0)?].to_vec())
        };
        let bios = self.find(Part::Bios)?;
        let core = bios.start.offset(sector);
        put(medium, core, &slice(core, core + bios.size)?)?;
        let mut fat = slice(esp, esp + HELD)?;
        fat::set_id(&mut fat, id);
        put(medium, esp, &fat)?;
        let mut first = first_sector(medium)?;
        first[..MBR_CODE].copy_from_slice(&begin[..MBR_CODE]);
        put(medium, Bytes::ZERO, &first)
    }

    /// The image's bytes up to the end of the chunk that reaches `end`, proved.
    fn pieces_before(&self, end: Bytes) -> Result<Vec<u8>> {
        let mut source = self.bytes()?;
        let mut out = Vec::new();
        for piece in self.pieces.iter().take_while(|piece| piece.at < end) {
            let mut bytes = vec![0; usize::try_from(piece.len.0)?];
            source.read_exact(&mut bytes).context("reading what firmware starts")?;
            if Digest::of(&bytes) != self.image.chunks[piece.index].sha256 {
                let text = format!("the image is damaged: its {} from byte {} differ", piece.len, piece.at.0);
                return Err(anyhow!(text)).kind(Exit::Mismatch);
            }
            out.extend(bytes);
        }
        Ok(out)
    }

    /// Where that ends which comes last.
    fn held_until(&self) -> Result<Bytes> {
        Ok(self.find(Part::Esp)?.start.offset(self.image.sector_size) + HELD)
    }

    fn find(&self, part: Part) -> Result<&Partition> {
        let missing = || anyhow!("the image has no partition {}", part.name());
        self.image.find(part).ok_or_else(missing).kind(Exit::Refused)
    }
}

/// Claims the disk. Its partitions were just mounted or looked at, and then udev has it in hand for a moment.
fn claim(target: &Disk) -> Result<BlockDevice> {
    const TRIES: usize = 20;
    let claim = || BlockDevice::claim(&target.path, target.size, target.logical_sector);
    for _ in 1..TRIES {
        if let Ok(medium) = claim() {
            return Ok(medium);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    claim()
}

/// The same pieces, with nothing before `end` written.
fn held_back(pieces: &[Piece], end: Bytes) -> Vec<Piece> {
    let held = |piece: &Piece| {
        let hold_back = end.saturating_sub(piece.at).min(piece.len).max(piece.hold_back);
        let work = if hold_back == piece.len { Work::Skip } else { piece.work };
        Piece { hold_back, work, ..*piece }
    };
    pieces.iter().map(held).collect()
}

/// Takes away what firmware starts. The table's sectors stay, and so does the mark by which the first
/// one is known as that of a disk with a table.
fn stop_on(medium: &dyn Medium, esp: Bytes) -> Result<()> {
    put(medium, esp, &vec![0; usize::try_from(HELD.0)?])?;
    let mut first = first_sector(medium)?;
    first[..MBR_CODE].fill(0);
    first[..NEXT_DISK.len()].copy_from_slice(&NEXT_DISK);
    put(medium, Bytes::ZERO, &first)
}

fn first_sector(medium: &dyn Medium) -> Result<Vec<u8>> {
    let SectorSize(len) = medium.sector();
    let mut first = vec![0; len as usize];
    medium.read_at(Bytes::ZERO, &mut first).context("reading the first sector")?;
    Ok(first)
}

/// Writes `bytes`, makes them last, and reads them back.
fn put(medium: &dyn Medium, at: Bytes, bytes: &[u8]) -> Result<()> {
    let mut scratch = Buffer::new(bytes.len());
    scratch.copy_from_slice(bytes);
    write::put(medium, at, &scratch)?;
    medium.flush().context("making it last")?;
    write::compare(medium, at, bytes, &mut scratch)
}

#[cfg(test)]
mod tests;
