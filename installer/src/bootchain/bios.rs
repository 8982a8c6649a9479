//! Renewing GRUB for BIOS so that every moment leaves a disk that starts. The BIOS
//! boot partition has room for two cores. The new one goes where the boot code does
//! not look; when it is safely there, one sector is written: the boot code that
//! points at it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{BiosImages, CORE_LBA, CORE_MAX, MBR_CODE, bios_boot_images};
use crate::units::{Bytes, Sector, SectorSize};

const SECTOR: usize = SectorSize::IMAGE.0 as usize;

/// Where the BIOS boot partition lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: Sector,
    pub(super) size: Bytes,
}

/// A core to be written to `at`, and the boot sector that leads to it.
#[derive(Debug)]
pub(super) struct Plan {
    at: Sector,
    core: Vec<u8>,
    boot_sector: [u8; SECTOR],
}

/// What to write so that `disk` starts with `boot_img` and `core_img`; nothing if it already does.
pub(super) fn plan(disk: &File, place: Place, boot_img: &[u8], core_img: &[u8]) -> Result<Option<Plan>> {
    let half = Bytes(place.size.0 / 2).round_down(SectorSize::IMAGE.bytes());
    ensure!(
        half.0 >= CORE_MAX as u64,
        "the BIOS boot partition has {}, too little for two cores; Hearth's own has 1 MiB",
        place.size
    );
    let slots = [place.start, place.start + half.0 / SectorSize::IMAGE.bytes().0];
    let mut boot_sector = [0; SECTOR];
    disk.read_exact_at(&mut boot_sector, 0).context("reading the boot sector")?;
    for slot in slots {
        let wanted = bios_boot_images(boot_img, core_img, slot)?;
        if boot_sector[..MBR_CODE] == wanted.mbr_code && read(disk, slot, wanted.core.len())? == wanted.core {
            return Ok(None);
        }
    }
    let mut points_at = [0; 8];
    points_at.copy_from_slice(&boot_sector[CORE_LBA..CORE_LBA + 8]);
    let at = if u64::from_le_bytes(points_at) == slots[0].0 { slots[1] } else { slots[0] };
    let BiosImages { mbr_code, core } = bios_boot_images(boot_img, core_img, at)?;
    // The rest of the sector is the disk's signature and the protective partition table.
    boot_sector[..MBR_CODE].copy_from_slice(&mbr_code);
    Ok(Some(Plan { at, core, boot_sector }))
}

impl Plan {
    /// Writes it: the core, then, when the disk has it, the boot sector.
    pub(super) fn carry_out(&self, disk: &File) -> Result<()> {
        for (offset, bytes) in self.writes() {
            disk.write_all_at(bytes, offset.0)
                .and_then(|()| disk.sync_all())
                .with_context(|| format!("writing GRUB's BIOS core to the disk at byte {}", offset.0))?;
            // Dropped from memory, so that what is compared comes from the disk.
            posix_fadvise(disk, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).context("dropping the disk's cache")?;
            let mut back = vec![0; bytes.len()];
            disk.read_exact_at(&mut back, offset.0).with_context(|| format!("reading the disk at {}", offset.0))?;
            ensure!(
                back == bytes,
                "the disk does not give back what was written at byte {}; it may be failing: see `smartctl`",
                offset.0
            );
        }
        Ok(())
    }

    /// In order, each to be on the disk before the next one begins.
    fn writes(&self) -> [(Bytes, &[u8]); 2] {
        [(self.at.offset(SectorSize::IMAGE), self.core.as_slice()), (Bytes::ZERO, self.boot_sector.as_slice())]
    }
}

fn read(disk: &File, at: Sector, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    disk.read_exact_at(&mut bytes, at.offset(SectorSize::IMAGE).0)
        .with_context(|| format!("reading the BIOS boot partition at sector {}", at.0))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place { start: Sector(2048), size: Bytes::mib(1) };

    fn boot_img(fill: u8) -> Vec<u8> {
        let mut boot = vec![fill; SECTOR];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    /// A disk as the builder makes it: the core at the start of the partition.
    fn disk(boot: u8, core: &[u8]) -> File {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(Bytes::mib(3).0).unwrap();
        let made = bios_boot_images(&boot_img(boot), core, PLACE.start).unwrap();
        disk.write_all_at(&made.mbr_code, 0).unwrap();
        disk.write_all_at(b"table of 72 bytes", MBR_CODE as u64).unwrap();
        disk.write_all_at(&made.core, PLACE.start.offset(SectorSize::IMAGE).0).unwrap();
        disk
    }

    /// What a BIOS would do: which of the two versions starts, if one is whole.
    fn starts(disk: &File, versions: [(u8, &[u8]); 2]) -> Option<usize> {
        let mut mbr = [0; MBR_CODE];
        disk.read_exact_at(&mut mbr, 0).unwrap();
        let at = Sector(u64::from_le_bytes(mbr[CORE_LBA..CORE_LBA + 8].try_into().unwrap()));
        versions.iter().position(|(boot, core)| {
            let made = bios_boot_images(&boot_img(*boot), core, at).unwrap();
            made.mbr_code == mbr && read(disk, at, made.core.len()).unwrap() == made.core
        })
    }

    #[test]
    fn renewing_alternates_between_the_halves_and_is_idempotent() {
        let (one, two, three) = (vec![1; 2000], vec![2; 90_000], vec![3; 1024]);
        let disk = disk(7, &one);
        assert!(plan(&disk, PLACE, &boot_img(7), &one).unwrap().is_none());
        let first = plan(&disk, PLACE, &boot_img(7), &two).unwrap().unwrap();
        assert_eq!(first.at, PLACE.start + 1024);
        first.carry_out(&disk).unwrap();
        assert_eq!(starts(&disk, [(7, &one), (7, &two)]), Some(1));
        assert!(plan(&disk, PLACE, &boot_img(7), &two).unwrap().is_none());
        let second = plan(&disk, PLACE, &boot_img(8), &three).unwrap().unwrap();
        assert_eq!(second.at, PLACE.start);
        second.carry_out(&disk).unwrap();
        assert_eq!(starts(&disk, [(7, &two), (8, &three)]), Some(1));
        let mut table = [0; 17];
        disk.read_exact_at(&mut table, MBR_CODE as u64).unwrap();
        assert_eq!(&table, b"table of 72 bytes");
    }

    #[test]
    fn a_partition_for_one_core_is_refused() {
        let disk = disk(7, &[1; 2000]);
        let small = Place { size: Bytes::kib(512), ..PLACE };
        let error = plan(&disk, small, &boot_img(7), &[2; 2000]).unwrap_err().to_string();
        assert!(error.contains("too little for two cores"), "{error}");
    }

    proptest! {
        /// A power cut after any number of the bytes leaves the old version or the new one.
        #[test]
        fn a_power_cut_leaves_a_disk_that_starts(cut in 0usize..60_000, old in 1024usize..50_000, new in 1024usize..50_000) {
            let (before, after) = (vec![1; old], vec![2; new]);
            let disk = disk(7, &before);
            let plan = plan(&disk, PLACE, &boot_img(8), &after).unwrap().unwrap();
            let mut left = cut;
            for (offset, bytes) in plan.writes() {
                // A sector is written whole or not at all.
                let whole = left.min(bytes.len()) / SECTOR * SECTOR;
                disk.write_all_at(&bytes[..whole], offset.0).unwrap();
                left -= left.min(bytes.len());
            }
            prop_assert!(starts(&disk, [(7, &before), (8, &after)]).is_some());
        }
    }
}
