//! Both ends of a disk, where its partition tables lie: for the table library, which
//! wants to seek in a whole disk, and for callers who have only the two ends at hand.

use std::io::{self, Read, Seek, SeekFrom, Write};

use anyhow::{Context as _, Result, ensure};
use gptman::{GPT, GPTPartitionEntry};
use uuid::Uuid;

use crate::layout::gpt_bytes;
use crate::manifest::Partition;
use crate::units::{Bytes, SectorSize};

/// How much of each end a table can need: 24 KiB with large sectors.
pub const EDGE: Bytes = Bytes::kib(64);

/// How many entries a table has, used or not.
pub const ENTRIES: usize = 128;

/// How long one entry is.
pub const ENTRY_SIZE: usize = 128;

/// The beginning and the end of a disk. Its middle cannot be read or written.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The first [`EDGE`] bytes.
    pub head: Vec<u8>,
    /// The last [`EDGE`] bytes.
    pub tail: Vec<u8>,
    size: u64,
    at: u64,
}

impl Ends {
    /// The ends of an empty disk.
    pub fn empty(size: Bytes) -> Result<Self> {
        let blank = || vec![0; usize::try_from(EDGE.0).unwrap_or_default()];
        Self::of(size, blank(), blank())
    }

    /// The ends of a disk of `size`, [`EDGE`] each, as they were read.
    pub fn of(size: Bytes, head: Vec<u8>, tail: Vec<u8>) -> Result<Self> {
        ensure!(size >= EDGE * 4, "a disk of {size} has no room for a partition table");
        Ok(Self { head, tail, size: size.0, at: 0 })
    }

    fn slot(&mut self, len: usize) -> io::Result<&mut [u8]> {
        let outside = || io::Error::other("outside the disk's two ends");
        let (at, tail_from) = (self.at, self.size - self.tail.len() as u64);
        let (buffer, from) = if at >= tail_from { (&mut self.tail, tail_from) } else { (&mut self.head, 0) };
        let from = usize::try_from(at - from).map_err(|_| outside())?;
        let slot = buffer.get_mut(from..).filter(|rest| !rest.is_empty()).ok_or_else(outside)?;
        let len = len.min(slot.len());
        self.at += len as u64;
        Ok(&mut slot[..len])
    }
}

impl Read for Ends {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let slot = self.slot(out.len())?;
        out[..slot.len()].copy_from_slice(slot);
        Ok(slot.len())
    }
}

impl Write for Ends {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let slot = self.slot(data.len())?;
        slot.copy_from_slice(&data[..slot.len()]);
        Ok(slot.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.size, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = base.checked_add_signed(by).ok_or_else(|| io::Error::other("seek outside the disk"))?;
        Ok(self.at)
    }
}

/// How long the copy of a table at the disk's end is: its entries and one header.
pub fn copy_size(sector: SectorSize) -> Bytes {
    Bytes((ENTRIES * ENTRY_SIZE) as u64).round_up(sector.bytes()) + sector.bytes()
}

/// A fresh table for a disk of `size`: `head` begins with the protective MBR (without
/// boot code), and `tail` ends with the table's copy.
pub fn table(disk: Uuid, partitions: &[Partition], size: Bytes, sector: SectorSize) -> Result<Ends> {
    let mut ends = Ends::empty(size)?;
    let mut gpt =
        GPT::new_from(&mut ends, sector.bytes().0, gpt_bytes(disk)).context("planning the partition table")?;
    for partition in partitions {
        gpt[partition.number] = GPTPartitionEntry {
            partition_type_guid: gpt_bytes(partition.type_guid),
            unique_partition_guid: gpt_bytes(partition.guid),
            starting_lba: partition.start.0,
            ending_lba: partition.start.0 + partition.size.0 / sector.bytes().0 - 1,
            attribute_bits: 0,
            partition_name: partition.name.as_str().into(),
        };
    }
    gpt.write_into(&mut ends).context("writing the partition table")?;
    GPT::write_protective_mbr_into(&mut ends, sector.bytes().0).context("writing the protective MBR")?;
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ALIGNMENT, Part};
    use crate::units::Sector;

    fn partition(sector: SectorSize) -> Partition {
        Partition {
            number: 4,
            name: "root-a".into(),
            type_guid: Part::RootA.type_guid(),
            guid: Uuid::from_u128(4),
            start: Sector::at(ALIGNMENT, sector),
            size: Bytes::mib(8),
        }
    }

    #[test]
    fn a_table_reads_back_from_either_end_alone() {
        for sector in [SectorSize(512), SectorSize(4096)] {
            let ends = table(Uuid::from_u128(1), &[partition(sector)], Bytes::mib(16), sector).unwrap();
            assert_eq!(&ends.head[510..512], &[0x55, 0xaa]);
            for blank_head in [true, false] {
                let mut one = ends.clone();
                if blank_head { &mut one.head } else { &mut one.tail }.fill(0);
                let gpt = GPT::read_from(&mut one, sector.bytes().0).unwrap();
                assert_eq!(gpt[4].partition_name.as_str(), "root-a");
                assert_eq!(gpt.header.disk_guid, gpt_bytes(Uuid::from_u128(1)));
            }
        }
    }

    #[test]
    fn the_middle_is_out_of_reach_and_a_small_disk_refused() {
        let mut ends = Ends::empty(Bytes::mib(1)).unwrap();
        ends.seek(SeekFrom::Start(Bytes::kib(512).0)).unwrap();
        assert!(ends.read(&mut [0; 1]).is_err() && ends.write(&[0]).is_err());
        assert!(Ends::empty(EDGE).is_err());
        assert!(table(Uuid::nil(), &[partition(SectorSize(512))], Bytes::mib(4), SectorSize(512)).is_err());
    }
}
