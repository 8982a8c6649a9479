//! The partition table a written disk gets, and the order in which it appears: the copy
//! at the disk's end, then the table, and the first sector, without which nothing looks
//! at either, last of all.

use anyhow::{Context as _, Result, anyhow, ensure};
use uuid::Uuid;

use super::buffer::Buffer;
use super::medium::Medium;
use crate::bootchain::MBR_CODE;
use crate::exit::{Exit, Kind as _};
use crate::gpt::{self, Ends};
use crate::layout::derived_id;
use crate::manifest::DiskImage;
use crate::units::{Bytes, SectorSize};

/// Both ends of the finished disk.
#[derive(Debug)]
pub struct FinalTable {
    ends: Ends,
    size: Bytes,
    sector: SectorSize,
}

impl FinalTable {
    /// The image's partitions on a disk of `size`, with ids that follow from `drawn`.
    pub fn new(image: &DiskImage, size: Bytes, drawn: Uuid) -> Result<Self> {
        let sector = image.sector_size;
        let size = size.round_down(sector.bytes());
        let partitions = super::chunks::with_own_ids(&image.partitions, drawn);
        Ok(Self { ends: gpt::table(derived_id(drawn, "disk"), &partitions, size, sector)?, size, sector })
    }

    /// Puts the table on the disk. What does not read back as it was written is taken away again.
    pub fn commit(&self, boot_code: &[u8], medium: &dyn Medium) -> Result<()> {
        ensure!(boot_code.len() == MBR_CODE, "the image's boot code was not seen");
        self.put_all(boot_code, medium).inspect_err(|_| {
            // The first error is the one to tell; without this sector the rest is not looked at.
            let _ = medium.write_at(Bytes::ZERO, &Buffer::new(self.sector.0 as usize)).and_then(|()| medium.flush());
        })
    }

    fn put_all(&self, boot_code: &[u8], medium: &dyn Medium) -> Result<()> {
        let copy = usize::try_from(gpt::copy_size(self.sector).0)?;
        let sector = self.sector.0 as usize;
        let tail = &self.ends.tail[self.ends.tail.len() - copy..];
        put(medium, self.size - Bytes(copy as u64), tail, "writing the partition table's copy")?;
        let table = &self.ends.head[sector..sector + copy];
        put(medium, Bytes(sector as u64), table, "writing the partition table")?;
        let mut first = self.ends.head[..sector].to_vec();
        first[..MBR_CODE].copy_from_slice(boot_code);
        put(medium, Bytes::ZERO, &first, "writing the first sector")
    }
}

fn put(medium: &dyn Medium, at: Bytes, bytes: &[u8], what: &'static str) -> Result<()> {
    let mut buffer = Buffer::new(bytes.len());
    buffer.copy_from_slice(bytes);
    medium.write_at(at, &buffer).context(what)?;
    medium.flush().context(what)?;
    buffer.fill(0xff);
    medium.read_at(at, &mut buffer).context(what)?;
    if *buffer == *bytes {
        return Ok(());
    }
    Err(anyhow!("{what}: the disk does not give back what was written to it at byte {}", at.0)).kind(Exit::Mismatch)
}
