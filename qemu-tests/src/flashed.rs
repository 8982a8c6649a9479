//! Compares a disk that an image was flashed to with the image, byte for byte, and says
//! which ids it got.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use hearth::gpt::{ENTRIES, ENTRY_SIZE, copy_size};
use hearth::layout::{ALIGNMENT, from_gpt_bytes};
use hearth::manifest::{ChunkClass, Manifest};
use hearth::units::Bytes;
use uuid::Uuid;

use crate::nbd::Disk;

const SECTOR: usize = 512;

/// The code in the first sector that a BIOS starts.
const BOOT_CODE: usize = 440;

/// Where a table's header keeps the disk's id, and an entry its partition's.
const DISK_ID: std::ops::Range<usize> = 56..72;
const PARTITION_ID: std::ops::Range<usize> = 16..32;

/// Fails at the first byte that is not what a finished flash of the image leaves; gives the
/// ids in the disk's table, its own first.
pub fn compare(disk: &Disk, image: &Path, manifest: &Manifest) -> Result<Vec<Uuid>> {
    let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let sector = manifest.sector_size;
    ensure!(sector.0 as usize == SECTOR, "this compares tables with sectors of {SECTOR} bytes");
    let table = SECTOR + usize::try_from(copy_size(sector).0)?;
    // Behind the last partition the image has the copy of its own table.
    let ends = manifest.partitions.iter().map(|part| part.start.offset(sector) + part.size);
    let copy_from = ends.max().context("an image without partitions")?;
    for (index, chunk) in manifest.chunks.iter().enumerate() {
        let at = manifest.chunk_size * index as u64;
        let end = (at + manifest.chunk_size).0.min(manifest.image.size.0);
        if chunk.class == ChunkClass::Free && end <= copy_from.0 {
            continue;
        }
        let mut wanted = vec![0; usize::try_from(end - at.0)?];
        file.read_exact_at(&mut wanted, at.0).context("reading the image")?;
        let kept = usize::try_from(copy_from.0.clamp(at.0, end) - at.0)?;
        wanted[kept..].fill(0);
        let mut found = disk.read(at.0, wanted.len())?;
        if index == 0 {
            // The table is looked at below.
            wanted[BOOT_CODE..table].fill(0);
            found[BOOT_CODE..table].fill(0);
        }
        if found != wanted {
            let place = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted).unwrap_or_default();
            let (found, wanted) = (found[place], wanted[place]);
            bail!("byte {} is 0x{found:02x}, the image says 0x{wanted:02x}", at.0 + place as u64);
        }
    }
    tables(disk, &file, table)
}

/// Compares both tables with the image's; gives the ids.
fn tables(disk: &Disk, image: &File, length: usize) -> Result<Vec<Uuid>> {
    let mut wanted = vec![0; length];
    image.read_exact_at(&mut wanted, 0).context("reading the image's table")?;
    let found = disk.read(0, length)?;
    ensure!(found[510..512] == [0x55, 0xaa] && found[450] == 0xee, "the first sector is no protective MBR");
    // At the very end the copy: first the entries, then the header.
    let tail = disk.read(disk.size() - ALIGNMENT.0, usize::try_from(ALIGNMENT.0)?)?;
    let copy = &tail[tail.len() - (length - SECTOR)..];
    let (header, entries) = (&found[SECTOR..2 * SECTOR], &found[2 * SECTOR..]);
    let (copied_entries, copied_header) = copy.split_at(ENTRIES * ENTRY_SIZE);
    ensure!(entries == copied_entries, "the table and its copy list different partitions");
    ensure!(
        tail[..tail.len() - copy.len()].iter().all(|byte| *byte == 0),
        "former contents lie before the table's copy"
    );
    let last = disk.size() / SECTOR as u64 - 1;
    for (header, here, there) in [(header, 1, last), (copied_header, last, 1)] {
        let word = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes);
        ensure!(header.starts_with(b"EFI PART"), "at sector {here} is no header of a partition table");
        ensure!(word(24)? == here && word(32)? == there, "the header at sector {here} points elsewhere");
        ensure!(header[DISK_ID] == found[SECTOR..][DISK_ID], "the table and its copy have different ids");
    }
    let mut ids = vec![id(&found[SECTOR..][DISK_ID])?];
    let mut former = vec![id(&wanted[SECTOR..][DISK_ID])?];
    for (found, wanted) in entries.chunks(ENTRY_SIZE).zip(wanted[2 * SECTOR..].chunks(ENTRY_SIZE)) {
        let same = found[..16] == wanted[..16] && found[32..] == wanted[32..];
        ensure!(same, "the disk's table lists other partitions than the image's");
        if wanted[..16] != [0; 16] {
            ids.push(id(&found[PARTITION_ID])?);
            former.push(id(&wanted[PARTITION_ID])?);
        }
    }
    ensure!(ids.iter().all(|id| !id.is_nil() && !former.contains(id)), "the disk has an id of the image: {ids:?}");
    Ok(ids)
}

fn id(bytes: &[u8]) -> Result<Uuid> {
    Ok(from_gpt_bytes(bytes.try_into().context("an id has 16 bytes")?))
}

/// Fails unless nothing can start from the disk: it has no boot signature and no table at either end.
pub fn has_no_table(disk: &Disk) -> Result<()> {
    let first = disk.read(0, 2 * SECTOR)?;
    let last = disk.read(disk.size() - SECTOR as u64, SECTOR)?;
    ensure!(first[510..512] != [0x55, 0xaa], "an unfinished disk has a boot sector");
    let table = first[SECTOR..].starts_with(b"EFI PART") || last.starts_with(b"EFI PART");
    ensure!(!table, "an unfinished disk has a partition table");
    Ok(())
}

/// Leaves old bytes at the beginning of every chunk of the image's place, as a used disk has them.
pub fn make_used(disk: &Disk, manifest: &Manifest) -> Result<()> {
    let old = vec![0xa5; usize::try_from(Bytes::kib(64).0)?];
    for index in 0..manifest.chunks.len() as u64 {
        disk.write((manifest.chunk_size * index).0, &old, true)?;
    }
    disk.reset_stats();
    Ok(())
}
