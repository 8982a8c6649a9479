use proptest::prelude::*;

use super::*;
use crate::adopt::survey::survey;
use crate::facts::{Content, Duplicate, Holder, SameId};
use crate::machine::Machine as _;
use crate::machine::fake::{BASE, DISK, Fake, image_table};
use crate::page::text::WIDTH;

fn codes(refusals: &[Refusal]) -> Vec<&'static str> {
    refusals.iter().map(Refusal::code).collect()
}

fn refuse(fake: &Fake, change: impl Fn(&mut Facts)) -> Vec<Refusal> {
    let mut facts = fake.facts().unwrap();
    change(&mut facts);
    let found = survey(fake, &fake.disk()).unwrap();
    plan(&facts, Some(&found)).unwrap_err()
}

thread_local! {
    /// A machine in setup mode, and the disk that it runs from.
    static FRESH: (Facts, Disk) = {
        let fake = Fake::new(16);
        (fake.facts().unwrap(), fake.disk())
    };
}

proptest! {
    #[test]
    fn partitions_never_overlap_and_stay_on_the_disk(
        mib in 16 * 1024u64..16 * 1024 * 1024,
        rest in 0u64..256,
        big_sectors in any::<bool>(),
    ) {
        let sector = SectorSize(if big_sectors { 4096 } else { 512 });
        let (mut facts, mut disk) = FRESH.with(|(facts, disk)| (facts.clone(), disk.clone()));
        disk.size = Bytes::mib(mib) + Bytes(rest * u64::from(sector.0));
        disk.logical_sector = sector;
        let found = Survey { table: Ok(image_table(sector)), leftovers: Vec::new(), drawn: Uuid::nil() };
        facts.disks = vec![disk.clone()];
        let plan = plan(&facts, Some(&found)).unwrap();
        let mut end = Sector(0);
        for entry in &plan.table.entries {
            prop_assert!(entry.start >= end, "{} overlaps", entry.name);
            prop_assert_eq!(entry.offset(sector).0 % ALIGNMENT.0, 0);
            prop_assert_eq!(entry.size(sector).0 % ALIGNMENT.0, 0);
            end = entry.end();
        }
        // Header and 128 entries of 128 bytes lie behind the last partition.
        let copy = Bytes(16384 + u64::from(sector.0));
        prop_assert!(end.offset(sector) + copy <= disk.size);
        prop_assert!(disk.size - end.offset(sector) < Bytes::mib(3), "space is wasted at the end");
        prop_assert_eq!(plan.entry(Part::RootB).is_some(), disk.size >= ROOT_B_FROM);
        prop_assert!(plan.entry(Part::Data).unwrap().size(sector) >= MIN_DATA);
        prop_assert_eq!(plan.entry(Part::RootA).unwrap().size(sector), BASE + ROOT_GROWTH);
        let mut ids: Vec<Uuid> = plan.table.entries.iter().map(|entry| entry.id).collect();
        ids.extend([plan.table.id, plan.ids.root, plan.ids.data]);
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), plan.table.entries.len() + 3, "ids must differ");
    }

    #[test]
    fn what_a_refusal_says_is_needed_is_enough(mib in 1024u64..13 * 1024) {
        let mut disk = FRESH.with(|(_, disk)| disk.clone());
        disk.size = Bytes::mib(mib);
        match lay_out(&disk, &image_table(SectorSize(512))) {
            Ok(extents) => prop_assert!(extents.last().unwrap().size >= MIN_DATA),
            Err(Refusal::TooSmall { need, size, .. }) => {
                prop_assert!(size < need);
                disk.size = need;
                prop_assert!(lay_out(&disk, &image_table(SectorSize(512))).is_ok());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn the_same_facts_give_the_same_plan() {
    let fake = Fake::new(64);
    assert_eq!(fake.plan().digest(), fake.plan().digest());
    let mut other = Fake::new(64);
    other.serial = Some("S4EWNX0N123457".to_owned());
    assert_ne!(fake.plan().install, other.plan().install);
}

#[test]
fn machines_that_do_not_say_who_they_are_still_get_ids_of_their_own() {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_ne!(install_id(None, Some("QM00001"), one), install_id(None, Some("QM00001"), two));
    assert_ne!(install_id(Some(one), None, one), install_id(Some(one), None, two));
    assert_eq!(install_id(Some(one), Some("S"), one), install_id(Some(one), Some("S"), two));
}

#[test]
fn every_refusal_at_once() {
    let mut fake = Fake::new(8);
    let at = Bytes::mib(130 + 2402);
    let mut ext4 = vec![0; 4096];
    ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    fake.store(at.0, &ext4);
    let content = Content { kind: "ext4".to_owned(), label: Some("photos".to_owned()), id: None };
    fake.leftovers.insert(at.0, content);
    let refusals = refuse(&fake, |facts| {
        facts.mode = Some(Mode::Normal);
        facts.disks[0].read_only = true;
        facts.disks[0].partitions[1].mountpoints.push("/efi".to_owned());
        let disks = vec![DISK.to_owned(), "sdb".to_owned()];
        facts.duplicates.push(Duplicate { what: SameId::Disk, id: "x".to_owned(), disks });
    });
    assert_eq!(codes(&refusals), ["not-setup", "duplicate", "read-only", "in-use", "leftover", "too-small"]);
    let told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert!(told[4].starts_with("nvme0n1 still holds ext4 \"photos\" at 2.5 GiB"), "{}", told[4]);
    assert!(told[5].contains("has 8.0 GiB, but 12.5 GiB are needed: 10.3 GiB for the system"), "{}", told[5]);
}

#[test]
fn a_disk_that_is_not_the_image_is_refused() {
    let fake = Fake::new(64);
    let facts = fake.facts().unwrap();
    let refuse = |change: &dyn Fn(&mut Table)| {
        let mut table = image_table(SectorSize(512));
        change(&mut table);
        let found = Survey { table: Ok(table), leftovers: Vec::new(), drawn: Uuid::nil() };
        codes(&plan(&facts, Some(&found)).unwrap_err())
    };
    assert_eq!(refuse(&|table| table.entries[3].name = "root".to_owned()), ["layout"]);
    assert_eq!(refuse(&|table| table.entries[1].kind = Part::Data.type_guid()), ["layout"]);
    assert_eq!(refuse(&|table| table.entries.swap_remove(2).number = 9), ["layout"]);
    assert_eq!(refuse(&|table| table.sector_size = SectorSize(4096)), ["sector-size"]);
    assert_eq!(refuse(&|table| *table = fake.plan().table), ["already-adopted"]);
    assert_eq!(refuse(&|table| table.entries[2].sectors = 1 << 40), ["layout"]);
    let unreadable = Survey { table: Err("no table".to_owned()), leftovers: Vec::new(), drawn: Uuid::nil() };
    assert_eq!(codes(&plan(&facts, Some(&unreadable)).unwrap_err()), ["layout"]);
    assert_eq!(codes(&plan(&facts, None).unwrap_err()), ["no-boot-disk"]);
}

#[test]
fn holders_and_whole_disk_signatures_are_named() {
    let fake = Fake::new(64);
    let holder = Holder {
        name: "md127".to_owned(),
        kind: "raid1".to_owned(),
        size: Bytes::gib(1),
        content: None,
        mountpoints: vec![],
    };
    let refusals = refuse(&fake, |facts| facts.disks[0].partitions[3].holders.push(holder.clone()));
    assert_eq!(
        refusals[0].to_string(),
        "nvme0n1 is in use: md127 (raid1) is built on it. Stop what uses it, then look again."
    );
    let refusals = refuse(&fake, |facts| {
        facts.disks[0].content = Some(Content { kind: "zfs_member".to_owned(), label: None, id: None });
    });
    assert_eq!(codes(&refusals), ["in-use"]);
}

#[test]
fn old_data_is_found_where_partitions_were() {
    // Far behind what is looked at closely, and not at a whole GiB: only the former
    // disk's copy of its table tells where to look.
    let mut fake = Fake::new(128);
    let at = Bytes::gib(100) + Bytes::mib(77);
    let mut old = image_table(SectorSize(512));
    old.entries.truncate(1);
    old.entries[0].start = Sector::at(at, SectorSize(512));
    for write in old.writes(&fake, DISK, fake.size).unwrap().into_iter().take(1) {
        fake.store(write.offset.0, &write.bytes);
    }
    let mut luks = vec![0; 512];
    luks[..6].copy_from_slice(b"LUKS\xba\xbe");
    fake.store(at.0, &luks);
    let content = Content { kind: "crypto_LUKS".to_owned(), label: None, id: None };
    fake.leftovers.insert(at.0, content.clone());
    let found = survey(&fake, &fake.disk()).unwrap();
    assert_eq!(found.leftovers.len(), 1);
    assert_eq!((found.leftovers[0].at, &found.leftovers[0].content), (at, &content));
    // What only looks like a signature is not libblkid's opinion, and no reason.
    fake.leftovers.clear();
    assert_eq!(survey(&fake, &fake.disk()).unwrap().leftovers, []);
}

#[test]
fn the_plan_for_people() {
    for (gib, name) in [(16, "plan-16"), (64, "plan-64"), (4096, "plan-4096")] {
        let fake = Fake::new(gib);
        let lines = fake.plan().lines(&fake.disk());
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        let text = lines.join("\n") + "\n";
        let path = format!("{}/fixtures/adopt/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("HEARTH_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
    }
}
