use super::*;
use crate::facts::zoo;
use crate::flash::fake::Fake;
use crate::flash::tests::{Silent, flash, image, starts};

pub(super) const HEARTH_ID: u32 = 0x1234_abcd;

fn own() -> Own {
    let files = vec![HearthFile::new("hearth.toml", b"answers".to_vec())];
    Own { table: Uuid::from_u128(77), hearth: HEARTH_ID, files, cleared: Vec::new() }
}

/// What HEARTH of a written disk holds that is copied.
pub(super) fn files(list: &DiskImage) -> Vec<HearthFile> {
    let list = serde_json::to_vec(&list.clone().without_hearth()).unwrap();
    vec![HearthFile::new("README.txt", b"read me".to_vec()), HearthFile::new(MEDIUM_FILE, list)]
}

/// A stick of 32 MiB as `flash` writes it, and as it is after a while: with ids of its own, files on
/// HEARTH, and whatever was there before in the places that belong to nothing.
fn stick(sector: u32) -> Vec<u8> {
    let disk = Fake::new(Bytes::mib(32), sector);
    flash(&image(sector), &disk, 1).unwrap();
    let mut bytes = disk.bytes();
    bytes[(2 << 20) + 5000..3 << 20].fill(0x77);
    bytes[11 << 20] ^= 1;
    // Another tool moved the table's copy, and used the gap before the first partition.
    bytes[31 << 20..].fill(0);
    bytes[40_000..50_000].fill(0x55);
    bytes
}

fn source(disk: Fake) -> MediumSource {
    let sector = disk.sector().0;
    source_of(disk, files(&image(sector).list))
}

pub(super) fn source_of(disk: Fake, files: Vec<HearthFile>) -> MediumSource {
    MediumSource::new(Box::new(disk), "/dev/sdb", files).unwrap()
}

fn copy(source: &MediumSource, target: &Fake) -> Result<Outcome> {
    source.write_to(target, Vec::new(), &own(), &Silent)
}

#[test]
fn a_copy_starts_and_is_the_image_with_a_hearth_and_a_table_of_its_own() {
    for sector in [512, 4096] {
        let (image, target) = (image(sector), Fake::new(Bytes::mib(24), sector));
        let source = source(Fake::holding(stick(sector), sector));
        let own = Own { cleared: vec![(Bytes::mib(20), Bytes::mib(1))], ..own() };
        let outcome = source.write_to(&target, Vec::new(), &own, &Silent).unwrap();
        // Of 15 MiB two are free, two HEARTH's and one the table's.
        assert_eq!((outcome.written, outcome.verified), (Bytes::mib(10), source.total()));
        assert!(starts(&target));
        let bytes = target.bytes();
        let mib = |from: usize, to: usize| from << 20..to << 20;
        for same in [0..MBR_CODE, mib(1, 2), mib(4, 10), mib(12, 14)] {
            assert!(bytes[same.clone()] == image.bytes[same.clone()], "{same:?} with sectors of {sector}");
        }
        assert!(bytes[mib(20, 21)].iter().all(|byte| *byte == 0), "what is to be cleared is there");
        assert!(bytes[mib(21, 22)].iter().any(|byte| *byte != 0), "what is beside it is gone");
        let fat = bytes[mib(2, 4)].to_vec();
        let fat = fatfs::FileSystem::new(io::Cursor::new(fat), fatfs::FsOptions::new()).unwrap();
        assert_eq!((fat.volume_label(), fat.volume_id()), ("HEARTH".to_owned(), HEARTH_ID));
        for file in files(&image.list).iter().chain(&own.files) {
            let mut found = Vec::new();
            fat.root_dir().open_file(&file.name).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == *file.bytes, "{}", file.name);
        }
        let table = |bytes: &[u8]| bytes[sector as usize..3 * sector as usize].to_vec();
        assert_ne!(table(&bytes), table(&image.bytes));

        // The copy is a medium as well.
        let next = Fake::new(Bytes::mib(16), sector);
        copy(&self::source(Fake::holding(bytes.clone(), sector)), &next).unwrap();
        assert!(next.bytes()[mib(2, 10)] == bytes[mib(2, 10)]);
    }
}

#[test]
fn a_medium_that_is_not_as_it_was_written_is_told_with_the_place() {
    for (damaged, told) in [
        (Bytes(100), "2.0 MiB from byte 0 "),
        (Bytes(Bytes::mib(2).0 - 1), "2.0 MiB from byte 0 "),
        (Bytes(Bytes::mib(7).0 + 9), "2.0 MiB from byte 6291456 "),
        (Bytes(Bytes::mib(14).0 - 1), "2.0 MiB from byte 12582912 "),
    ] {
        let mut bytes = stick(512);
        bytes[usize::try_from(damaged.0).unwrap()] ^= 1;
        let target = Fake::new(Bytes::mib(16), 512);
        let error = copy(&source(Fake::holding(bytes, 512)), &target).unwrap_err();
        assert!(error.to_string().contains(told), "{error:#}");
        assert_eq!(crate::exit::code_of(&error), Exit::Mismatch.code());
        assert!(!starts(&target));
    }
}

#[test]
fn a_place_that_cannot_be_read_is_told_to_the_sector_unless_nobody_needs_it() {
    let mut stick = Fake::holding(stick(512), 512);
    stick.unreadable = Some(Bytes(Bytes::mib(9).0 + 700));
    let target = Fake::new(Bytes::mib(16), 512);
    let error = copy(&source(stick), &target).unwrap_err().to_string();
    assert!(
        error.contains(&format!("/dev/sdb gives nothing at byte {}: the disk gives up", Bytes::mib(9).0 + 512)),
        "{error}"
    );
    assert!(!starts(&target));

    for unneeded in [Bytes::mib(3), Bytes::mib(11), Bytes::mib(20)] {
        let mut stick = Fake::holding(self::stick(512), 512);
        stick.unreadable = Some(unneeded);
        copy(&source(stick), &Fake::new(Bytes::mib(16), 512)).unwrap();
    }
}

#[test]
fn a_hearth_that_does_not_read_back_leaves_no_table() {
    let mut target = Fake::new(Bytes::mib(16), 512);
    target.flips = Some(Bytes(Bytes::mib(2).0 + 3));
    let error = format!("{:#}", copy(&source(Fake::holding(stick(512), 512)), &target).unwrap_err());
    assert!(error.contains("making HEARTH: the disk does not give back"), "{error}");
    assert!(error.contains(&format!("at byte {} ", Bytes::mib(2).0 + 3)), "{error}");
    assert!(!starts(&target));
}

#[test]
fn a_hearth_without_a_list_or_with_a_broken_one_is_refused() {
    let open = |files: Vec<HearthFile>| {
        let disk = Box::new(Fake::new(Bytes::mib(1), 512));
        format!("{:#}", MediumSource::new(disk, "/dev/sdb", files).unwrap_err())
    };
    assert!(open(Vec::new()).contains("hearth.manifest.json is missing"));
    let list = |change: &dyn Fn(&mut DiskImage)| {
        let mut list = image(512).list;
        change(&mut list);
        vec![HearthFile::new(MEDIUM_FILE, serde_json::to_vec(&list).unwrap())]
    };
    assert!(open(list(&|list| list.format = 9)).contains("format 9 is not known"));
    assert!(open(list(&|list| list.partitions.clear())).contains("it lists no partition"));
    assert!(open(vec![HearthFile::new(MEDIUM_FILE, b"{".to_vec())]).contains("reading hearth.manifest.json"));
}

#[test]
fn a_disk_that_was_set_up_is_no_medium() {
    let source = source(Fake::holding(stick(512), 512));
    let mut disk = zoo::facts("mini-pc").disks.into_iter().find(|disk| disk.boot_medium).unwrap();
    let found = |part: &crate::manifest::Partition| crate::facts::Partition {
        number: Some(part.number),
        start: Some(part.start.offset(SectorSize(512))),
        size: part.size,
        ..disk.partitions[0].clone()
    };
    disk.partitions = source.image.partitions.iter().map(found).collect();
    source.require_as_written(&disk).unwrap();
    disk.partitions[2].size = Bytes::gib(9);
    let error = source.require_as_written(&disk).unwrap_err().to_string();
    assert!(error.contains("its partition root-a is not as it was written, 10.0 MiB from byte 4194304"), "{error}");
}
