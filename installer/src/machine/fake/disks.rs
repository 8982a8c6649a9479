//! What the disks of the fake machine hold at first, and in which pieces they are written.

use uuid::Uuid;

use crate::facts::{Content, Partition};
use crate::layout::{HEARTH_LABEL, Part, derived_id};
use crate::machine::Dev;
use crate::machine::table::{Entry, Table};
use crate::units::{Bytes, Sector, SectorSize};

/// How large root-a is in the image.
pub(crate) const BASE: Bytes = Bytes::mib(2402);

/// The smallest piece.
pub(super) const UNIT: u64 = 512;

pub(super) fn partitions(disk: &str, table: &Table) -> Vec<Partition> {
    let sector = table.sector_size;
    let partition = |entry: &Entry| Partition {
        device: Dev::part(disk, entry.number).kernel_name(),
        number: Some(entry.number),
        start: Some(entry.offset(sector)),
        size: entry.size(sector),
        name: Some(entry.name.clone()),
        kind: Some(entry.kind.to_string()),
        guid: Some(entry.id.to_string()),
        content: (entry.number == Part::Hearth.number()).then(|| Content {
            kind: "vfat".to_owned(),
            label: Some(HEARTH_LABEL.to_owned()),
            id: None,
        }),
        mountpoints: Vec::new(),
        holders: Vec::new(),
    };
    table.entries.iter().map(partition).collect()
}

pub(super) fn chunks(at: u64, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    assert!(at % UNIT == 0 && bytes.len() as u64 % UNIT == 0, "whole sectors only");
    let size = usize::try_from(UNIT).unwrap();
    bytes.chunks(size).enumerate().map(|(i, chunk)| (at / UNIT + i as u64, chunk.to_vec())).collect()
}

pub(super) fn fat_sector(id: [u8; 4]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[11..13].copy_from_slice(&512u16.to_le_bytes());
    sector[50..52].copy_from_slice(&6u16.to_le_bytes());
    sector[66] = 0x29;
    sector[67..71].copy_from_slice(&id);
    sector[82..90].copy_from_slice(b"FAT32   ");
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The table that an image brings.
pub(crate) fn image_table(sector: SectorSize) -> Table {
    let seed = Uuid::from_u128(0x1111_2222);
    let places = [
        (Part::Bios, 1, Bytes::mib(1)),
        (Part::Esp, 2, Bytes::mib(64)),
        (Part::Hearth, 66, Bytes::mib(64)),
        (Part::RootA, 130, BASE),
    ];
    let entries = places
        .iter()
        .map(|&(part, start, size)| Entry {
            number: part.number(),
            name: part.name().to_owned(),
            kind: part.type_guid(),
            id: derived_id(seed, part.name()),
            start: Sector::at(Bytes::mib(start), sector),
            sectors: size.0 / u64::from(sector.0),
            attributes: 0,
        })
        .collect();
    Table { id: derived_id(seed, "disk"), sector_size: sector, entries }
}
