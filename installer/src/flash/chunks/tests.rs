use proptest::prelude::*;

use super::*;
use crate::flash::tests::image;
use crate::manifest::Chunk;
use crate::units::Sector;

#[test]
fn the_table_is_held_back_its_copy_blanked_and_free_space_skipped() {
    let pieces = plan(&image(512).list).unwrap();
    assert_eq!(pieces.len(), 8);
    assert_eq!((pieces[0].hold_back, pieces[0].work), (Bytes::mib(1), Work::Write));
    assert!(pieces[0].is_changed() && !pieces[1].is_changed());
    assert_eq!(pieces[5].work, Work::Skip);
    assert_eq!((pieces[7].len, pieces[7].blank_from), (Bytes::mib(1), Bytes::ZERO));
}

#[test]
fn a_manifest_that_cannot_be_followed_tells_all_that_is_wrong() {
    let mut list = image(512).list;
    list.chunk_size = Bytes(1000);
    list.size = Bytes(list.size.0 + 1);
    list.partitions[1].start = Sector(u64::MAX);
    list.partitions[2].size = Bytes::mib(11);
    let wrong = plan(&list).unwrap_err();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    let mut few = image(512).list;
    few.chunks.pop();
    assert_eq!(plan(&few).unwrap_err(), [Problem::Count { found: 7, needed: 8 }]);
    let mut none = image(512).list;
    none.partitions.clear();
    assert_eq!(plan(&none).unwrap_err(), [Problem::NoPartitions]);
    none.sector_size = SectorSize(520);
    assert_eq!(plan(&none).unwrap_err(), [Problem::Sector(520)]);
}

proptest! {
    /// Whatever a manifest says: no panic, and what is planned stays inside the image and
    /// never touches the table's place.
    #[test]
    fn any_manifest_is_refused_or_planned_within_bounds(
        size in prop_oneof![any::<u64>(), (1u64..64).prop_map(|mib| mib << 20)],
        chunk in prop_oneof![any::<u64>(), (0u64..20).prop_map(|mib| mib << 20)],
        sector in prop_oneof![Just(512), Just(4096), any::<u32>()],
        classes in proptest::collection::vec(0u8..3, 0..64),
        parts in proptest::collection::vec((any::<u32>(), prop_oneof![any::<u64>(), 0u64..65536], prop_oneof![any::<u64>(), (0u64..64).prop_map(|mib| mib << 20)]), 0..5),
    ) {
        let mut list = image(512).list;
        list.size = Bytes(size);
        list.chunk_size = Bytes(chunk);
        list.sector_size = SectorSize(sector);
        let class = |class| [ChunkClass::Data, ChunkClass::Zero, ChunkClass::Free][usize::from(class)];
        list.chunks = classes.iter().map(|c| Chunk { sha256: list.chunks[0].sha256, class: class(*c) }).collect();
        let part = list.partitions[0].clone();
        list.partitions = parts
            .into_iter()
            .map(|(number, start, size)| Partition { number, start: Sector(start), size: Bytes(size), ..part.clone() })
            .collect();
        if let Ok(pieces) = plan(&list) {
            let mut at = Bytes::ZERO;
            for piece in &pieces {
                prop_assert_eq!(piece.at, at);
                at = at + piece.len;
                prop_assert!(piece.hold_back <= piece.len && piece.blank_from <= piece.len);
                if piece.work == Work::Write {
                    prop_assert!(piece.at + piece.hold_back >= ALIGNMENT);
                }
            }
            prop_assert_eq!(at, list.size);
        }
    }

    /// The manifest is a file from outside: whatever its bytes, reading it is an error or a manifest.
    #[test]
    fn any_bytes_are_read_without_a_panic(at in 0usize..2000, with in any::<[u8; 4]>()) {
        let mut text = serde_json::to_vec(&image(512).list).unwrap();
        let at = at % (text.len() - 4);
        text[at..at + 4].copy_from_slice(&with);
        if let Ok(list) = serde_json::from_slice::<DiskImage>(&text) {
            let _ = plan(&list);
        }
    }

    /// So is a disk's table.
    #[test]
    fn any_table_is_read_without_a_panic(at in 0usize..17408, with in any::<[u8; 16]>()) {
        let image = image(512);
        let edge = usize::try_from(crate::gpt::EDGE.0).unwrap();
        let mut head = image.bytes[..edge].to_vec();
        head[at..at + 16].copy_from_slice(&with);
        let tail = image.bytes[image.bytes.len() - edge..].to_vec();
        let mut ends = crate::gpt::Ends::of(image.list.size, head, tail).unwrap();
        let _ = gptman::GPT::read_from(&mut ends, 512);
    }
}
