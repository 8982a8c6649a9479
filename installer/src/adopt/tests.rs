use proptest::prelude::*;

use super::*;
use crate::layout::Part;
use crate::machine::fake::{DISK, Fake, Loss};
use crate::page::text::WIDTH;
use crate::units::{Bytes, SectorSize};

/// A script to talk with, whose answers are known beforehand.
use crate::page::script::Script;

/// Has a fresh machine run from its disk.
pub(crate) fn until_adopted(fake: &mut Fake) {
    approve_and_start(&mut Script::new(&["3456"]), fake).unwrap();
    fake.boot();
    until_done(fake);
}

fn approved(gib: u64) -> Fake {
    let mut fake = Fake::new(gib);
    let mut script = Script::new(&["3456"]);
    approve_and_start(&mut script, &mut fake).unwrap();
    assert_eq!(fake.restarts, 1);
    fake.boot();
    assert_eq!(fake.mode, Mode::Adopt);
    fake
}

/// Starts again and again until the marker is set, as people would.
fn until_done(fake: &mut Fake) {
    for _ in 0..3 {
        if fake.mode == Mode::Normal {
            break;
        }
        assert_eq!(fake.mode, Mode::Adopt, "an approved plan must never lead back to setup");
        apply::resume(fake).unwrap();
        fake.power_cut(Loss::All);
    }
    assert_eq!(fake.mode, Mode::Normal);
}

/// The end, without what may differ: a plan that was not removed any more does no harm.
fn end_state(fake: &Fake) -> crate::machine::fake::World {
    let mut world = fake.durable.clone();
    world.hearth.clear();
    world
}

#[test]
fn a_plan_is_carried_out() {
    let mut fake = approved(64);
    let plan = Approved::from_bytes(&fake.now.hearth[PLAN_FILE]).unwrap().plan;
    apply::resume(&mut fake).unwrap();
    assert!(fake.now.hearth.is_empty(), "the plan has served");
    assert_eq!(fake.now.root_size, plan.entry(Part::RootA).unwrap().size(fake.sector));
    assert_eq!(fake.now.root_id, plan.ids.root.to_string());
    let data = fake.now.data.clone().unwrap();
    assert_eq!(data.id, plan.ids.data);
    assert!(data.paths.contains("/var/lib/hearth/data/state/home/(copied from /home)"));
    assert!(data.paths.contains("/var/lib/hearth/data/docker/volumes"));
    assert!(!data.paths.iter().any(|path| path.contains(".partial")));
    let wants = "/etc/systemd/system/local-fs.target.wants/var-lib-docker-volumes.mount";
    assert_eq!(fake.now.links[wants], "/etc/systemd/system/var-lib-docker-volumes.mount");
    assert!(fake.now.keys);
    assert!(plan.table.is_on(&fake, DISK, fake.size).unwrap());
    assert_eq!(fake.said.last().unwrap(), "Hearth: done. Hearth runs from this disk now.");
    // Once more changes nothing.
    let before = fake.durable.clone();
    apply::resume(&mut fake).unwrap();
    assert_eq!(fake.durable, before);
    fake.boot();
    assert_eq!(fake.mode, Mode::Normal);
}

#[test]
fn a_power_cut_before_any_effect_ends_in_the_same_state() {
    // Small disks have no root-b: another table, the same steps.
    let some = Loss::Some(0x5555_5555_5555_5555);
    for (gib, losses) in [(16, &[Loss::All][..]), (64, &[Loss::All, Loss::None, some])] {
        let mut whole = approved(gib);
        let first = whole.effects;
        until_done(&mut whole);
        let end = end_state(&whole);
        let count = {
            let mut fake = approved(gib);
            apply::resume(&mut fake).unwrap();
            fake.effects
        };
        assert!(count - first > 60, "only {} effects: is everything an effect?", count - first);
        let fresh = approved(gib);
        for at in first..count {
            for &loss in losses {
                let mut fake = fresh.clone();
                fake.cut = Some((at, loss));
                apply::resume(&mut fake).expect_err("the power went");
                fake.power_cut(loss);
                until_done(&mut fake);
                assert_eq!(end_state(&fake), end, "cut before effect {at}, {loss:?}");
            }
        }
    }
}

#[test]
fn the_first_resume_after_a_cut_says_what_it_does() {
    let mut fake = approved(16);
    fake.cut = Some((fake.effects + 40, Loss::All));
    apply::resume(&mut fake).unwrap_err();
    fake.power_cut(Loss::All);
    fake.said.clear();
    apply::resume(&mut fake).unwrap();
    assert_eq!(fake.said[0], "Hearth: preparing this disk was interrupted. Going on where it stopped.");
    assert_eq!(fake.said[1], "Hearth: 1/10 keeping a copy of what the image brought ...");
    assert_eq!(fake.said[2], "Hearth: 1/10 was done before");
    assert!(fake.said.iter().all(|line| line.len() <= WIDTH), "{:?}", fake.said);
}

thread_local! {
    /// An approved plan, made once for all cases.
    static FRESH: Fake = approved(64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn many_cuts_in_a_row_still_end_there(cuts in proptest::collection::vec((0usize..80, any::<u64>()), 1..6)) {
        let mut fake = FRESH.with(Fake::clone);
        let mut whole = fake.clone();
        until_done(&mut whole);
        for (after, pattern) in cuts {
            if fake.mode == Mode::Normal {
                break;
            }
            let loss = Loss::Some(pattern);
            fake.cut = Some((fake.effects + after, loss));
            let _ = apply::resume(&mut fake);
            fake.power_cut(loss);
        }
        until_done(&mut fake);
        prop_assert_eq!(end_state(&fake), end_state(&whole));
    }
}

#[test]
fn another_disk_is_left_alone() {
    let mut fake = approved(64);
    fake.serial = Some("ANOTHER".to_owned());
    let before = fake.durable.clone();
    let error = apply::resume(&mut fake).unwrap_err();
    assert!(error.to_string().contains("is another one. Nothing was changed."), "{error}");
    assert_eq!(crate::exit::code_of(&error), Exit::Refused.code());
    assert_eq!(fake.durable, before);
}

#[test]
fn a_table_changed_by_somebody_is_left_alone() {
    let mut fake = approved(64);
    let mut table = crate::machine::fake::image_table(SectorSize(512));
    table.entries[3].sectors -= 2048;
    for write in table.writes(&fake, DISK, fake.size).unwrap() {
        fake.store(write.offset.0, &write.bytes);
    }
    let before = fake.durable.clone();
    let error = apply::resume(&mut fake).unwrap_err().to_string();
    assert!(error.contains("was changed since the plan was approved"), "{error}");
    assert_eq!(fake.durable, before);
}

#[test]
fn data_that_appeared_meanwhile_is_not_erased() {
    let mut fake = approved(64);
    let foreign = crate::machine::fake::DataFs {
        id: uuid::Uuid::from_u128(7),
        torn: false,
        paths: ["precious".to_owned()].into(),
    };
    fake.now.data = Some(foreign.clone());
    let error = format!("{:#}", apply::resume(&mut fake).unwrap_err());
    assert!(error.contains("holds btrfs") && error.contains("Nothing was erased"), "{error}");
    assert_eq!(fake.now.data, Some(foreign));
}

#[test]
fn a_damaged_plan_leads_back_to_setup_while_nothing_was_changed() {
    let mut fake = approved(16);
    fake.now.hearth.get_mut(PLAN_FILE).unwrap().truncate(300);
    fake.durable.hearth = fake.now.hearth.clone();
    let error = format!("{:#}", apply::resume(&mut fake).unwrap_err());
    assert!(error.contains("restart, and approve it again"), "{error}");
    fake.boot();
    assert_eq!(fake.mode, Mode::Setup);
}

#[test]
fn wrong_approval_changes_nothing() {
    for answers in [&["nope", "3457", "S4EW"][..], &[""], &[]] {
        let mut fake = Fake::new(64);
        let before = fake.durable.clone();
        let mut script = Script::new(answers);
        approve_and_start(&mut script, &mut fake).unwrap();
        assert_eq!((fake.durable, fake.effects), (before, 0), "{answers:?}");
        assert!(script.said.iter().all(|line| line.len() <= WIDTH), "{:?}", script.said);
    }
}

#[test]
fn a_credential_approves_like_a_person() {
    let mut fake = Fake::new(16);
    let error = approve_by(&mut fake, "0000").unwrap_err();
    assert_eq!(crate::exit::code_of(&error), Exit::Refused.code());
    assert_eq!(fake.effects, 0);
    approve_by(&mut fake, "3456\n").unwrap();
    assert_eq!(Approved::from_bytes(&fake.now.hearth[PLAN_FILE]).unwrap().by, By::Credential);
    assert_eq!(fake.restarts, 1);
}

#[test]
fn a_dry_run_tells_every_effect_and_has_none() {
    let fake = Fake::new(64);
    let told = tell(&fake).unwrap();
    assert_eq!((fake.effects, &fake.now), (0, &fake.durable));
    let text = told.join("\n") + "\n";
    let path = format!("{}/fixtures/adopt/dry-run-64.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("HEARTH_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
    assert!(told.iter().all(|line| line.len() <= WIDTH));
}

#[test]
fn refusals_are_told_together_with_their_codes() {
    let mut fake = Fake::new(4);
    fake.mode = Mode::Normal;
    let error = plan_for(&fake).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("[not-setup]") && text.contains("[too-small]"), "{text}");
    assert_eq!(crate::exit::code_of(&error), Exit::Refused.code());
}

#[test]
fn missing_data_names_the_cause() {
    let fake = Fake::new(64);
    let facts = fake.facts().unwrap();
    let id = uuid::Uuid::from_u128(5);
    let unit = &storage::mounts(id)[0].text;
    assert!(missing_because(&facts, Some(unit)).contains(&format!("no disk holds the file system {id}")));
    assert!(missing_because(&facts, None).contains("unit that mounts it is gone"));
    let mut facts = facts;
    facts.disks[0].partitions[0].content =
        Some(crate::facts::Content { kind: "btrfs".to_owned(), label: None, id: Some(id.to_string()) });
    assert!(missing_because(&facts, Some(unit)).starts_with("it is on nvme0n1, but it cannot be mounted"));
}

#[test]
fn locked_data_can_be_opened_and_destroyed_data_names_the_cause() {
    let encryption = Encryption { unlock: crate::answers::Unlock::TpmPin, luks: uuid::Uuid::from_u128(6) };
    let mut facts = Fake::new(64).facts().unwrap();
    assert_eq!(locked_state(&facts, encryption), DataState::Missing(encryption::absent(encryption)));
    let id = Some(encryption.luks.to_string());
    facts.disks[0].partitions[0].content = Some(Content { kind: "crypto_LUKS".to_owned(), label: None, id });
    assert_eq!(locked_state(&facts, encryption), DataState::Locked("the PIN"));
}

#[test]
fn sizes_are_as_designed() {
    let rows = |gib: u64| -> Vec<(String, Bytes)> {
        let plan = Fake::new(gib).plan();
        let size = |e: &crate::machine::table::Entry| (e.name.clone(), e.size(SectorSize(512)));
        plan.table.entries[3..].iter().map(size).collect()
    };
    let root = crate::machine::fake::BASE + Bytes::gib(8);
    assert_eq!(rows(16), [("root-a".to_owned(), root), ("data".to_owned(), Bytes::mib(16384 - 130 - 1) - root)]);
    let two = root * 2;
    assert_eq!(rows(64)[1], ("root-b".to_owned(), root));
    assert_eq!(rows(64)[2], ("data".to_owned(), Bytes::mib(65536 - 130 - 1) - two));
    assert_eq!(rows(4096)[2].1, Bytes::mib(4096 * 1024 - 130 - 1) - two);
}
