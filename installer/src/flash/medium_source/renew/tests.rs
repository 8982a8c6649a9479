use super::*;
use crate::flash::fake::{Fake, pattern};
use crate::flash::medium_source::tests::{HEARTH_ID, files, source_of};
use crate::flash::tests::{Image, Silent, flash, image_of};

const ESP_ID: u32 = 0x5151_5151;

/// The image in its four parts, of which HEARTH lies where the others find the EFI system partition.
fn image(sector: u32) -> Image {
    let parts = [(1, "bios", 1, 1), (2, "esp", 2, 1), (3, "hearth", 3, 1), (4, "root-a", 4, 10)];
    image_of(SectorSize(sector), &parts)
}

fn source(sector: u32) -> MediumSource {
    let stick = Fake::new(Bytes::mib(16), sector);
    flash(&image(sector), &stick, 1).unwrap();
    source_of(Fake::holding(stick.bytes(), sector), files(&image(sector).list))
}

/// A disk of 24 MiB on which Hearth was set up: behind the image's partitions there are others.
fn damaged() -> Vec<u8> {
    let mut bytes = pattern(Bytes::mib(24), 11);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

/// What firmware could start from it: by BIOS, and by UEFI.
fn starts(bytes: &[u8]) -> (bool, bool) {
    let esp = &bytes[2 << 20..];
    (!bytes.starts_with(&NEXT_DISK), esp[510..512] == [0x55, 0xaa] || esp[..512].iter().any(|byte| *byte != 0))
}

#[test]
fn a_disk_is_renewed_and_starts_last_of_all() {
    for sector in [512, 4096] {
        let (image, source, target) = (image(sector), source(sector), Fake::holding(damaged(), sector));
        let (before, mib) = (target.bytes(), |from: usize, to: usize| from << 20..to << 20);
        let outcome = source.renew_on(&target, HEARTH_ID, &Silent).unwrap();
        // All that is counted beforehand is written: who watches sees it come to its end.
        assert_eq!(outcome.written + outcome.kept, source.renewed().unwrap());
        let half = target.bytes();
        assert_eq!(starts(&half), (false, false));
        assert_eq!(half[440..1 << 20], before[440..1 << 20], "the table was touched");
        assert!(half[mib(15, 24)] == before[mib(15, 24)], "what lies behind was touched");
        assert!(half[mib(4, 10)] == image.bytes[mib(4, 10)] && half[mib(12, 14)] == image.bytes[mib(12, 14)]);
        let hearth = fatfs::FileSystem::new(std::io::Cursor::new(half[mib(3, 4)].to_vec()), fatfs::FsOptions::new());
        assert_eq!(hearth.unwrap().volume_id(), HEARTH_ID);

        source.start_on(&target, ESP_ID).unwrap();
        let bytes = target.bytes();
        assert_eq!(starts(&bytes), (true, true));
        assert!(bytes[..440] == image.bytes[..440] && bytes[mib(1, 2)] == image.bytes[mib(1, 2)]);
        assert_eq!(bytes[440..1 << 20], before[440..1 << 20]);
        assert!(bytes[(2 << 20) + 512..3 << 20] == image.bytes[(2 << 20) + 512..3 << 20]);
        // Once more writes little: the chunk that holds HEARTH, which is made anew each time.
        let outcome = source.renew_on(&target, HEARTH_ID, &Silent).unwrap();
        assert!(outcome.written < Bytes::mib(2) && outcome.kept > Bytes::mib(4), "{outcome:?}");
    }
}

#[test]
fn wherever_it_is_cut_off_nothing_starts_and_the_rest_stays() {
    let source = source(512);
    let writes = |dies_after| {
        let mut target = Fake::holding(damaged(), 512);
        target.dies_after = dies_after;
        let renewed = source.renew_on(&target, HEARTH_ID, &Silent).map(drop);
        (renewed.and_then(|()| source.start_on(&target, ESP_ID)), target)
    };
    let (done, whole) = writes(None);
    done.unwrap();
    let mut cut = 0;
    loop {
        let (done, target) = writes(Some(cut));
        if done.is_ok() {
            break;
        }
        let (bytes, before) = (target.bytes(), damaged());
        let (bios, uefi) = starts(&bytes);
        // The first two writes take away what was damaged; the last two bring both ways of starting.
        let finished = bytes[..2 << 20] == whole.bytes()[..2 << 20] || bytes[2 << 20..] == whole.bytes()[2 << 20..];
        assert!(cut < 2 || finished || (!bios && !uefi), "after {cut} writes it starts by BIOS {bios}, UEFI {uefi}");
        assert!(bytes[440..512] == before[440..512] && bytes[15 << 20..] == before[15 << 20..]);
        // Where it was cut off does not show afterwards.
        let again = Fake::holding(bytes, 512);
        source.renew_on(&again, HEARTH_ID, &Silent).unwrap();
        source.start_on(&again, ESP_ID).unwrap();
        assert!(again.bytes() == whole.bytes(), "after {cut} writes");
        cut += 1;
    }
    assert!(cut > 8, "only {cut} writes");
}

#[test]
fn the_id_of_the_system_partition_is_set_in_both_sectors_of_a_fat32() {
    let mut fat = vec![0; 4096];
    for at in [0, 6 * 512] {
        fat[at + 11..at + 13].copy_from_slice(&512u16.to_le_bytes());
        fat[at + 50..at + 52].copy_from_slice(&6u16.to_le_bytes());
        fat[at + 66] = 0x29;
        fat[at + 82..at + 90].copy_from_slice(b"FAT32   ");
        fat[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
    }
    let plain = fat.clone();
    fat::set_id(&mut fat, ESP_ID);
    for at in [67, 6 * 512 + 67] {
        assert_eq!(fat[at..at + 4], ESP_ID.to_le_bytes());
    }
    assert_eq!(fat.iter().zip(&plain).filter(|(now, before)| now != before).count(), 8);
    let mut other = vec![7; 4096];
    fat::set_id(&mut other, ESP_ID);
    assert_eq!(other, vec![7; 4096]);
}
