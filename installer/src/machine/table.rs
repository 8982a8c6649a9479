//! The partition table as Hearth plans it, and the order in which it reaches the disk.
//!
//! Three readers must agree on the root partition's id after a power cut at any
//! moment: GRUB reads the first table and checks no sums; the kernel (started with
//! `gpt`) and libblkid check them and turn to the copy at the disk's end. So the copy
//! is written first; then, as one sector, the entry of the root; then the rest; and
//! the first header, whose sums make the new table valid, last. At every moment in
//! between GRUB's id is the one that the kernel finds.

use anyhow::{Context as _, Result, ensure};
use gptman::{GPT, GPTHeader, GPTPartitionEntry};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Dev, Machine};
use crate::gpt::{self, EDGE, ENTRIES, ENTRY_SIZE, Ends};
use crate::layout::{ALIGNMENT, Part, from_gpt_bytes, gpt_bytes};
use crate::units::{Bytes, Sector, SectorSize};

/// A partition table without what follows from it (sums, places of the copies).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Table {
    /// Its own id.
    pub id: Uuid,
    /// The disk's logical sector size.
    pub sector_size: SectorSize,
    /// Its entries, by number.
    pub entries: Vec<Entry>,
}

/// One used entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Its number, counted from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Uuid,
    /// Its own id.
    pub id: Uuid,
    /// Its first sector.
    pub start: Sector,
    /// How many sectors it has.
    pub sectors: u64,
    /// Its attribute bits.
    pub attributes: u64,
}

impl Entry {
    /// Where it begins, in bytes.
    pub fn offset(&self, size: SectorSize) -> Bytes {
        self.start.offset(size)
    }

    /// How long it is, in bytes.
    pub fn size(&self, size: SectorSize) -> Bytes {
        Bytes(self.sectors * u64::from(size.0))
    }

    /// The sector behind its last.
    pub fn end(&self) -> Sector {
        self.start + self.sectors
    }
}

/// One write of the sequence; the disk is flushed after each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableWrite {
    /// Where.
    pub offset: Bytes,
    /// What.
    pub bytes: Vec<u8>,
}

impl Table {
    /// The entry of `part`, if it has its number and its name.
    pub fn part(&self, part: Part) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == part.number() && entry.name == part.name())
    }

    /// The first sector that partitions may not use, rounded down to whole MiB.
    pub fn usable_end(disk_size: Bytes, sector_size: SectorSize) -> Bytes {
        let sectors = disk_size.round_down(sector_size.bytes());
        sectors.saturating_sub(gpt::copy_size(sector_size)).round_down(ALIGNMENT)
    }

    /// Reads the table as the kernel does: the first, or where its sums are wrong the copy.
    pub fn read(machine: &impl Machine, disk: &str, disk_size: Bytes, sector_size: SectorSize) -> Result<Self> {
        Self::parse(&mut ends_of(machine, disk, disk_size)?, disk, sector_size)
    }

    /// Reads only the copy at the disk's end. It may be another table: whoever writes an
    /// image to a larger disk leaves the former one's copy there.
    pub fn read_copy(machine: &impl Machine, disk: &str, disk_size: Bytes, sector_size: SectorSize) -> Result<Self> {
        let mut edges = ends_of(machine, disk, disk_size)?;
        edges.head.fill(0);
        Self::parse(&mut edges, disk, sector_size)
    }

    fn parse(edges: &mut Ends, disk: &str, sector_size: SectorSize) -> Result<Self> {
        let gpt = GPT::read_from(edges, u64::from(sector_size.0))
            .with_context(|| format!("reading the partition table of {disk}"))?;
        let entries = gpt
            .iter()
            .filter(|(_, entry)| entry.is_used())
            .map(|(number, entry)| {
                Ok(Entry {
                    number,
                    name: entry.partition_name.as_str().to_owned(),
                    kind: from_gpt_bytes(entry.partition_type_guid),
                    id: from_gpt_bytes(entry.unique_partition_guid),
                    start: Sector(entry.starting_lba),
                    sectors: entry.size().with_context(|| format!("partition {number} of {disk}"))?,
                    attributes: entry.attribute_bits,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { id: from_gpt_bytes(gpt.header.disk_guid), sector_size, entries })
    }

    /// True if both copies lie on the disk exactly as [`Table::writes`] would put them.
    pub fn is_on(&self, machine: &impl Machine, disk: &str, disk_size: Bytes) -> Result<bool> {
        for write in self.compose(machine, disk, disk_size)?.1 {
            if machine.read(&Dev::disk(disk), write.offset, write.bytes.len())? != write.bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts both copies on the disk, durably; false if they were there already.
    pub fn put(&self, machine: &mut impl Machine, disk: &str, disk_size: Bytes) -> Result<bool> {
        if self.is_on(machine, disk, disk_size)? {
            return Ok(false);
        }
        let dev = Dev::disk(disk);
        for write in self.writes(machine, disk, disk_size)? {
            machine.write(&dev, write.offset, &write.bytes)?;
            machine.flush(&dev)?;
        }
        ensure!(self.is_on(machine, disk, disk_size)?, "{disk} does not give back what was written to it");
        Ok(true)
    }

    /// What to write, in order, flushing after each. The result is read back in memory
    /// first, from either copy alone.
    pub fn writes(&self, machine: &impl Machine, disk: &str, disk_size: Bytes) -> Result<Vec<TableWrite>> {
        let (edges, writes) = self.compose(machine, disk, disk_size)?;
        prove(&edges, self)?;
        Ok(writes)
    }

    fn compose(&self, machine: &impl Machine, disk: &str, disk_size: Bytes) -> Result<(Ends, Vec<TableWrite>)> {
        let sector = u64::from(self.sector_size.0);
        let mut edges = ends_of(machine, disk, disk_size)?;
        let old_mbr = edges.head[..512].to_vec();
        edges.head[512..].fill(0);
        edges.tail.fill(0);
        let mut gpt = GPT::new_from(&mut edges, sector, gpt_bytes(self.id)).context("making the partition table")?;
        for entry in &self.entries {
            gpt[entry.number] = GPTPartitionEntry {
                partition_type_guid: gpt_bytes(entry.kind),
                unique_partition_guid: gpt_bytes(entry.id),
                starting_lba: entry.start.0,
                ending_lba: entry.start.0 + entry.sectors - 1,
                attribute_bits: entry.attributes,
                partition_name: entry.name.as_str().into(),
            };
        }
        gpt.write_into(&mut edges).context("making the partition table")?;
        let header = gpt.header.clone();
        edges.head[..512].copy_from_slice(&protective_mbr(&old_mbr, disk_size, self.sector_size));

        let sector_len = usize::try_from(sector).context("sector size")?;
        let array = ENTRIES * ENTRY_SIZE;
        let copy = Bytes((header.last_usable_lba + 1) * sector);
        let tail = usize::try_from(disk_size.0 - copy.0).context("length of the copy")?;
        let tail = edges.tail[edges.tail.len() - tail..].to_vec();
        let head = |from: usize, len: usize| TableWrite {
            offset: Bytes(from as u64),
            bytes: edges.head[from..from + len].to_vec(),
        };
        let first = 2 * sector_len;
        let mut writes = vec![TableWrite { offset: copy, bytes: tail }, head(first, sector_len)];
        if array > sector_len {
            writes.push(head(first + sector_len, array - sector_len));
        }
        writes.push(head(sector_len, sector_len));
        writes.push(head(0, 512.max(sector_len)));
        Ok((edges, writes))
    }
}

/// The old first sector, boot code and all, with its one entry covering the whole disk.
fn protective_mbr(old: &[u8], disk_size: Bytes, sector_size: SectorSize) -> [u8; 512] {
    /// Where the first entry lies, and in it the type, the first sector and the count.
    const ENTRY: usize = 446;
    let mut mbr = [0; 512];
    mbr.copy_from_slice(&old[..512]);
    let count = u32::try_from(disk_size.0 / u64::from(sector_size.0) - 1).unwrap_or(u32::MAX);
    mbr[ENTRY + 4] = 0xee;
    mbr[ENTRY + 8..ENTRY + 12].copy_from_slice(&1u32.to_le_bytes());
    mbr[ENTRY + 12..ENTRY + 16].copy_from_slice(&count.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn ends_of(machine: &impl Machine, disk: &str, size: Bytes) -> Result<Ends> {
    ensure!(size >= ALIGNMENT * 4, "{disk} is only {size} long: no partition table fits");
    let len = usize::try_from(EDGE.0).context("length")?;
    let dev = Dev::disk(disk);
    Ends::of(size, machine.read(&dev, Bytes::ZERO, len)?, machine.read(&dev, size - EDGE, len)?)
}

/// Reads `table` back: from both copies, then from each alone.
fn prove(ends: &Ends, table: &Table) -> Result<()> {
    for (head, tail) in [(true, true), (true, false), (false, true)] {
        let mut ends = ends.clone();
        if !head {
            ends.head.fill(0);
        }
        if !tail {
            ends.tail.fill(0);
        }
        let gpt = GPT::read_from(&mut ends, u64::from(table.sector_size.0)).context("reading the new table back")?;
        let used = gpt.iter().filter(|(_, entry)| entry.is_used()).count();
        ensure!(used == table.entries.len(), "the new table does not read back as it was planned");
        let header: &GPTHeader = &gpt.header;
        ensure!(header.disk_guid == gpt_bytes(table.id), "the new table reads back with another id");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
