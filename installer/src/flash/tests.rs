use std::sync::OnceLock;

use proptest::prelude::*;
use uuid::Uuid;

use super::fake::{Fake, Lie};
use super::hearth_files::{self, HearthFile};
use super::*;
use crate::bootchain::MBR_CODE;
use crate::digest::Digest;
use crate::gpt::{self, Ends};
use crate::layout::{Part, from_gpt_bytes};
use crate::manifest::{Chunk, ChunkClass, DiskImage, FORMAT, Partition};
use crate::units::{Sector, SectorSize};

/// An image: its bytes, and what is listed of them.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) list: DiskImage,
}

/// An image of 15 MiB in chunks of 2 MiB: data, zeros, something free, and a FAT.
pub(super) fn image(sector: u32) -> Image {
    static MADE: [OnceLock<Image>; 2] = [const { OnceLock::new() }; 2];
    MADE[usize::from(sector > 512)].get_or_init(|| make_image(SectorSize(sector))).clone()
}

fn make_image(sector: SectorSize) -> Image {
    image_of(sector, &[(1, "bios", 1, 1), (3, "hearth", 2, 2), (4, "root-a", 4, 10)])
}

/// An image of 15 MiB with these partitions, each with its number, its name, its begin and its length in MiB.
pub(super) fn image_of(sector: SectorSize, partitions: &[(u32, &str, u64, u64)]) -> Image {
    let part = |number, name: &str, start, size| Partition {
        number,
        name: name.to_owned(),
        type_guid: Part::RootA.type_guid(),
        guid: Uuid::from_u128(u128::from(number)),
        start: Sector::at(Bytes::mib(start), sector),
        size: Bytes::mib(size),
    };
    let partitions: Vec<Partition> =
        partitions.iter().map(|&(number, name, at, size)| part(number, name, at, size)).collect();
    let size = Bytes::mib(15);
    let mut bytes = fake::pattern(size, 7);
    bytes[8 << 20..10 << 20].fill(0);
    bytes[14 << 20..].fill(0);
    let table = gpt::table(Uuid::from_u128(9), &partitions, size, sector).unwrap();
    let (head, end) = (table.head.len(), bytes.len());
    bytes[..head].copy_from_slice(&table.head);
    bytes[..MBR_CODE].fill(0xeb);
    bytes[head..1 << 20].fill(0);
    bytes[end - table.tail.len()..].copy_from_slice(&table.tail);
    let fat = fat(sector);
    bytes[2 << 20..(2 << 20) + fat.len()].copy_from_slice(&fat);
    let chunk_size = Bytes::mib(2);
    let class = |index| match index {
        4 => ChunkClass::Zero,
        5 => ChunkClass::Free,
        _ => ChunkClass::Data,
    };
    let chunks = bytes
        .chunks(2 << 20)
        .enumerate()
        .map(|(index, chunk)| Chunk { sha256: Digest::of(chunk), class: class(index) })
        .collect();
    let list = DiskImage {
        format: FORMAT,
        version: "0.1.0".into(),
        arch: "amd64".into(),
        image_id: Uuid::from_u128(5),
        size,
        disk_guid: Uuid::from_u128(9),
        sector_size: sector,
        partitions,
        chunk_size,
        chunks,
    };
    Image { bytes, list }
}

/// An empty FAT of 2 MiB.
fn fat(sector: SectorSize) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(vec![0; 2 << 20]);
    let options = fatfs::FormatVolumeOptions::new().bytes_per_sector(u16::try_from(sector.0).unwrap());
    fatfs::format_volume(&mut bytes, options).unwrap();
    bytes.into_inner()
}

pub(super) struct Silent;

impl Watch for Silent {
    fn advance(&self, _: Bytes) {}
}

/// Writes `image` to `disk`; the ids follow from `drawn`.
pub(super) fn flash(image: &Image, disk: &Fake, drawn: u128) -> anyhow::Result<Outcome> {
    flash_with(image, &image.bytes, disk, drawn, true, &[])
}

fn flash_with(
    image: &Image,
    source: &[u8],
    disk: &Fake,
    drawn: u128,
    verify: bool,
    files: &[HearthFile],
) -> anyhow::Result<Outcome> {
    let pieces = plan(&image.list).unwrap();
    let table = FinalTable::new(&image.list, disk.size(), Uuid::from_u128(drawn)).unwrap();
    let job = Job { image: &image.list, pieces: &pieces, table, traces: Vec::new(), verify };
    write(&job, source, disk, &Silent, |medium| {
        hearth_files::put(medium, &image.list.partitions[1], image.list.sector_size, files)
    })
}

/// Whether firmware would find anything to start.
pub(super) fn starts(disk: &Fake) -> bool {
    let bytes = disk.bytes();
    let edge = usize::try_from(gpt::EDGE.0).unwrap();
    let mut ends = Ends::of(disk.size(), bytes[..edge].to_vec(), bytes[bytes.len() - edge..].to_vec()).unwrap();
    bytes[510..512] == [0x55, 0xaa] || gptman::GPT::read_from(&mut ends, u64::from(disk.sector().0)).is_ok()
}

#[test]
fn a_written_disk_holds_the_image_and_a_table_of_its_own() {
    for sector in [512, 4096] {
        let (image, disk) = (image(sector), Fake::new(Bytes::mib(32), sector));
        let outcome = flash(&image, &disk, 1).unwrap();
        let bytes = disk.bytes();
        let mib = |from: usize, to: usize| from << 20..to << 20;
        assert_eq!(bytes[mib(1, 10)], image.bytes[mib(1, 10)], "with sectors of {sector}");
        assert_eq!(bytes[mib(12, 14)], image.bytes[mib(12, 14)]);
        assert!(bytes[mib(14, 15)].iter().all(|byte| *byte == 0), "the image's own copy of its table stays away");
        assert_ne!(bytes[mib(10, 12)], image.bytes[mib(10, 12)], "what is free is not touched");
        assert_eq!(bytes[..MBR_CODE], image.bytes[..MBR_CODE]);
        let total = Bytes::mib(12);
        assert_eq!(outcome, Outcome { written: total, kept: Bytes::ZERO, verified: total });

        let edge = usize::try_from(gpt::EDGE.0).unwrap();
        let ends = Ends::of(disk.size(), bytes[..edge].to_vec(), bytes[bytes.len() - edge..].to_vec()).unwrap();
        for blank_head in [false, true] {
            let mut ends = ends.clone();
            if blank_head {
                ends.head.fill(0);
            }
            let found = gptman::GPT::read_from(&mut ends, u64::from(sector)).unwrap();
            assert_eq!(
                found.header.last_usable_lba,
                (Bytes::mib(32) - gpt::copy_size(SectorSize(sector))).0 / u64::from(sector) - 1
            );
            for part in &image.list.partitions {
                assert_eq!(found[part.number].starting_lba, part.start.0);
                assert_ne!(from_gpt_bytes(found[part.number].unique_partition_guid), part.guid);
            }
            assert_ne!(from_gpt_bytes(found.header.disk_guid), image.list.disk_guid);
        }
    }
}

#[test]
fn two_disks_of_one_image_share_no_id() {
    let image = image(512);
    let table = |drawn: u128| {
        let disk = Fake::new(Bytes::mib(16), 512);
        flash(&image, &disk, drawn).unwrap();
        let bytes = disk.bytes();
        (bytes[1024..1024 + 128].to_vec(), bytes[512..1024].to_vec())
    };
    assert_eq!(table(1), table(1));
    let (one, two) = (table(1), table(2));
    assert!(one.0 != two.0 && one.1 != two.1);
}

#[test]
fn writing_again_writes_only_what_differs() {
    let (image, disk) = (image(512), Fake::new(Bytes::mib(16), 512));
    flash(&image, &disk, 1).unwrap();
    disk.written();
    let again = flash(&image, &disk, 2).unwrap();
    assert_eq!((again.written, again.kept, again.verified), (Bytes::ZERO, Bytes::mib(12), Bytes::mib(12)));
    assert!(disk.written() < Bytes::mib(3).0, "tables and the wiped edges alone");

    let mut changed = self::image(512);
    changed.bytes[12 << 20] ^= 1;
    changed.list.chunks[6].sha256 = Digest::of(&changed.bytes[12 << 20..14 << 20]);
    let delta = flash(&changed, &disk, 3).unwrap();
    assert_eq!(delta.written, Bytes::mib(2));
}

#[test]
fn an_image_that_is_not_its_manifests_never_gets_a_table() {
    let image = image(512);
    let mut flipped = image.bytes.clone();
    flipped[9 << 20] ^= 4;
    let mut longer = image.bytes.clone();
    longer.push(0);
    for (source, expected) in [
        (&flipped[..], "the image is damaged: its 2.0 MiB from byte 8388608"),
        (&image.bytes[..(15 << 20) - 1], "cut short: it ends before byte 15728640"),
        (&image.bytes[..5 << 20], "cut short: it ends before byte 6291456"),
        (&[], "cut short: it ends before byte 2097152"),
        (&longer[..], "longer than its manifest says (15728640 bytes)"),
    ] {
        let disk = Fake::new(Bytes::mib(16), 512);
        let error = flash_with(&image, source, &disk, 1, true, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error:#}");
        assert_eq!(crate::exit::code_of(&error), crate::exit::Exit::Mismatch.code());
        assert!(!starts(&disk));
        assert_eq!(Note::read(&disk.bytes()).unwrap().version, "0.1.0");
    }
}

#[test]
fn a_flipped_bit_and_a_refused_write_are_told_with_their_place() {
    for at in [Bytes::mib(1), Bytes(Bytes::mib(7).0 + 777), Bytes(Bytes::mib(13).0 - 1)] {
        let mut disk = Fake::new(Bytes::mib(16), 512);
        disk.flips = Some(at);
        let error = flash(&image(512), &disk, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("at byte {} it has", at.0)), "{error}");
        assert!(!starts(&disk));

        let mut disk = Fake::new(Bytes::mib(16), 512);
        disk.refuses = Some(at);
        let error = flash(&image(512), &disk, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("writing to the disk at byte {}", at.0 / 512 * 512)), "{error}");
        assert!(!starts(&disk));
    }
}

#[test]
fn a_flip_in_the_table_takes_the_table_away() {
    for at in [Bytes(600), Bytes(Bytes::mib(16).0 - 100), Bytes(100)] {
        let mut disk = Fake::new(Bytes::mib(16), 512);
        disk.flips = Some(at);
        let error = format!("{:#}", flash(&image(512), &disk, 1).unwrap_err());
        assert!(error.contains("does not give back"), "{error}");
        assert_ne!(disk.bytes()[510..512], [0x55, 0xaa]);
    }
}

#[test]
fn a_disk_that_folds_over_is_caught_although_each_part_read_back_right() {
    let image = image(512);
    let disk = Fake::new(Bytes::mib(32), 512).lying(Lie::Folds(Bytes::mib(12)));
    let error = flash(&image, &disk, 1).unwrap_err().to_string();
    assert!(error.contains("smaller than it says"), "{error}");
}

#[test]
fn without_reading_back_a_flip_goes_unseen_which_is_why_it_is_the_default() {
    let mut disk = Fake::new(Bytes::mib(16), 512);
    disk.flips = Some(Bytes::mib(7));
    let outcome = flash_with(&image(512), &image(512).bytes, &disk, 1, false, &[]).unwrap();
    assert_eq!(outcome.verified, Bytes::ZERO);
}

#[test]
fn files_travel_and_are_there_after_a_second_flash_too() {
    let (image, disk) = (image(512), Fake::new(Bytes::mib(16), 512));
    let file = |text: &str| HearthFile { name: "hearth.toml".into(), bytes: text.as_bytes().to_vec().into() };
    for text in ["schema = 1\n", "schema = 1\n# longer than the first\n"] {
        flash_with(&image, &image.bytes, &disk, 1, true, &[file(text)]).unwrap();
        let fat = disk.bytes()[2 << 20..4 << 20].to_vec();
        let fat = fatfs::FileSystem::new(std::io::Cursor::new(fat), fatfs::FsOptions::new()).unwrap();
        let mut found = String::new();
        std::io::Read::read_to_string(&mut fat.root_dir().open_file("hearth.toml").unwrap(), &mut found).unwrap();
        assert_eq!(found, text);
    }
    assert!(!format!("{:?}", file("secret")).contains("secret"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The promise: cut off anywhere, nothing starts; go on, and it is as if never cut off.
    #[test]
    fn a_cut_at_any_write_starts_nothing_and_the_next_run_ends_the_same(after in 1usize..16) {
        let image = image(512);
        let whole = Fake::new(Bytes::mib(16), 512);
        flash(&image, &whole, 7).unwrap();

        let mut disk = Fake::new(Bytes::mib(16), 512);
        disk.dies_after = Some(after);
        let cut = flash(&image, &disk, 7);
        if cut.is_err() {
            // Only the very last write, the first sector, makes a disk that starts.
            prop_assert_ne!(&disk.bytes()[510..512], &[0x55, 0xaa]);
        }
        disk.dies_after = None;
        flash(&image, &disk, 7).unwrap();
        prop_assert!(disk.bytes() == whole.bytes());
    }
}
