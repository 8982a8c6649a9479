//! The id of a FAT file system: four bytes in its first sector and in that sector's copy.

use anyhow::Result;
use uuid::Uuid;

use crate::layout::derived_id;
use crate::machine::{Dev, Machine};
use crate::units::Bytes;

/// Where a FAT32's first sector keeps the id.
const ID: usize = 67;

/// The volume id for `label`, written as `ABCD-1234` elsewhere.
pub(crate) fn planned(install: Uuid, label: &str) -> u32 {
    let bytes = derived_id(install, label).into_bytes();
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

/// Where the boot sector and its copy lie, and what they should be, for those that differ.
pub(super) fn changes(machine: &impl Machine, dev: &Dev, id: u32) -> Result<Vec<(Bytes, Vec<u8>)>> {
    let first = machine.read(dev, Bytes::ZERO, 512)?;
    let Some(mut places) = sectors(&first) else { return Ok(Vec::new()) };
    // The copy first: the first sector is the one that is believed.
    places.reverse();
    let mut out = Vec::new();
    for at in places {
        let mut sector = machine.read(dev, at, 512)?;
        if is_fat32(&sector) && sector[ID..ID + 4] != id.to_le_bytes() {
            sector[ID..ID + 4].copy_from_slice(&id.to_le_bytes());
            out.push((at, sector));
        }
    }
    Ok(out)
}

/// Gives the FAT that `bytes` are the beginning of the id `id`.
pub(crate) fn set_id(bytes: &mut [u8], id: u32) {
    for at in bytes.get(..512).and_then(sectors).unwrap_or_default() {
        let at = usize::try_from(at.0).unwrap_or(usize::MAX);
        let sector = at.checked_add(512).and_then(|end| bytes.get_mut(at..end));
        if let Some(sector) = sector.filter(|sector| is_fat32(sector)) {
            sector[ID..ID + 4].copy_from_slice(&id.to_le_bytes());
        }
    }
}

fn is_fat32(sector: &[u8]) -> bool {
    // 0x29 says that id, label and name of the type are there.
    sector[510..512] == [0x55, 0xaa] && sector[66] == 0x29 && &sector[82..90] == b"FAT32   "
}

fn sectors(first: &[u8]) -> Option<Vec<Bytes>> {
    if !is_fat32(first) {
        return None;
    }
    let word = |at: usize| u64::from(u16::from_le_bytes([first[at], first[at + 1]]));
    let (sector, copy) = (word(11), word(50));
    let mut out = vec![Bytes::ZERO];
    if (1..32).contains(&copy) && sector >= 512 {
        out.push(Bytes(copy * sector));
    }
    Some(out)
}
