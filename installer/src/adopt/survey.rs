//! What is read from the disk itself before a plan is made: its table, and whether
//! anything of somebody's lies in the space behind the image.

use anyhow::Result;
use uuid::Uuid;

use super::plan::lay_out;
use crate::facts::{Content, Disk};
use crate::layout::{ALIGNMENT, Part};
use crate::machine::table::Table;
use crate::machine::{Dev, Machine};
use crate::units::{Bytes, SectorSize};

/// How far behind the image every MiB is looked at: partitions begin at whole MiB.
const DENSE: Bytes = Bytes::gib(4);

/// Behind that, so far apart: every MiB of a large disk would take hours.
const SPARSE: Bytes = Bytes::gib(1);

/// What a look at one place reads: every signature named in [`looks_like_something`] lies within.
const LOOK: usize = 68 << 10;

/// What was read from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Its partition table, or why that cannot be read.
    pub table: Result<Table, String>,
    /// What was found in its free space.
    pub leftovers: Vec<Leftover>,
    /// An id nobody else has, for where the machine does not tell who it is.
    pub drawn: Uuid,
}

/// A signature where there should be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where it begins.
    pub at: Bytes,
    /// What it is.
    pub content: Content,
}

/// Reads `disk`.
pub fn survey(machine: &impl Machine, disk: &Disk) -> Result<Survey> {
    let drawn = machine.random_id()?;
    let table = match Table::read(machine, &disk.name, disk.size, disk.logical_sector) {
        Ok(table) => table,
        Err(error) => {
            return Ok(Survey { table: Err(format!("{error:#}")), leftovers: Vec::new(), drawn });
        }
    };
    let leftovers = leftovers(machine, disk, &table)?;
    Ok(Survey { table: Ok(table), leftovers, drawn })
}

fn leftovers(machine: &impl Machine, disk: &Disk, table: &Table) -> Result<Vec<Leftover>> {
    let dev = Dev::disk(&disk.name);
    let Some(root) = table.part(Part::RootA) else { return Ok(Vec::new()) };
    let free = (root.offset(table.sector_size) + root.size(table.sector_size)).round_up(ALIGNMENT);
    let end = Table::usable_end(disk.size, table.sector_size);
    let mut points = grid(free, end);
    points.extend(former_partitions(machine, disk, table));
    if let Ok(extents) = lay_out(disk, table) {
        points.extend(extents.iter().filter(|extent| extent.part != Part::RootA).map(|extent| extent.start));
    }
    points.retain(|point| (free..end).contains(point));
    points.sort_unstable();
    points.dedup();
    let mut out = Vec::new();
    for at in points {
        let len = usize::try_from((end - at).0).map_or(LOOK, |room| room.min(LOOK));
        if looks_like_something(&machine.read(&dev, at, len)?) {
            // libblkid decides: it checks sums and sizes, where a look only compares a few bytes.
            if let Some(content) = machine.probe(&dev, at, end - at)? {
                out.push(Leftover { at, content });
            }
        }
    }
    Ok(out)
}

/// Whole MiB first, then whole GiB, from `free` to `end`.
fn grid(free: Bytes, end: Bytes) -> Vec<Bytes> {
    let dense = (free.0..end.0.min(free.0 + DENSE.0)).step_by(usize::try_from(ALIGNMENT.0).unwrap_or(usize::MAX));
    let from = free.round_up(SPARSE).0;
    let sparse = (from..end.0.max(from)).step_by(usize::try_from(SPARSE.0).unwrap_or(usize::MAX));
    dense.chain(sparse).map(Bytes).collect()
}

/// Where partitions began before the image was written over the first table: the copy
/// at the disk's end usually still tells.
fn former_partitions(machine: &impl Machine, disk: &Disk, table: &Table) -> Vec<Bytes> {
    // A disk may have been used with the other sector size, behind a USB bridge that changes it.
    [table.sector_size, SectorSize(512), SectorSize(4096)]
        .iter()
        .filter_map(|&sector| Some((sector, Table::read_copy(machine, &disk.name, disk.size, sector).ok()?)))
        .flat_map(|(sector, old)| old.entries.into_iter().map(move |entry| entry.offset(sector)))
        .collect()
}

/// Whether some well-known signature could begin here. Cheap, and it may be wrong: it
/// only saves asking libblkid at thousands of places that hold nothing it knows.
fn looks_like_something(bytes: &[u8]) -> bool {
    const MAGIC: [(usize, &[u8]); 20] = [
        (0x438, &[0x53, 0xef]),                         // ext2, ext3, ext4
        (0, b"XFSB"),                                   // xfs
        (0x1_0040, b"_BHRfS_M"),                        // btrfs
        (0, b"LUKS\xba\xbe"),                           // LUKS
        (3, b"NTFS    "),                               // ntfs
        (3, b"EXFAT   "),                               // exfat
        (3, b"-FVE-FS-"),                               // BitLocker
        (54, b"FAT"),                                   // FAT12, FAT16
        (82, b"FAT32   "),                              // FAT32
        (4096, &[0xfc, 0x4e, 0x2b, 0xa9]),              // md 1.2
        (0, &[0xfc, 0x4e, 0x2b, 0xa9]),                 // md 1.1
        (4086, b"SWAPSPACE2"),                          // swap
        (4096 + 24, &[0xc6, 0x85, 0x73, 0xf6]),         // bcache, bcachefs
        (1024, &[0x10, 0x20, 0xf5, 0xf2]),              // f2fs
        (32769, b"CD001"),                              // iso9660
        (0x1_0000, &[0x01, 0x16, 0x19, 0x70]),          // gfs2
        (32, b"NXSB"),                                  // apfs
        (1024, b"H+\x00\x04"),                          // hfs+
        (512, b"EFI PART"),                             // a nested disk
        (16384, &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), // zfs: the list that its label begins with
    ];
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..offset + magic.len()) == Some(magic);
    let lvm = (0..4).any(|sector| at(sector * 512, b"LABELONE"));
    lvm || MAGIC.iter().any(|&(offset, magic)| at(offset, magic))
}
