//! Starting over on machines made of maps, with the power cut at every effect.

use std::collections::BTreeSet;

use super::*;
use crate::answers::FILE_NAME;
use crate::exit::code_of;
use crate::layout::{GROWN, Part};
use crate::machine::fake::{DISK, Fake, Loss, World};
use crate::page::script::Script;
use crate::page::text::WIDTH;
use crate::render::report::FILE_NAME as REPORT;
use crate::setup::tests::{ANSWERS, TOKEN, encrypted, machine, until_sealed, with_volumes};

const NOW: &str = "2027-02-03 04:05 UTC";

/// What approves both kinds of reset.
const KEEP: &[&str] = &["attic"];
const ERASE: &[&str] = &["attic", "nk-1", "os-1"];

/// A machine that is set up, and was started since.
fn sealed(mut fake: Fake) -> Fake {
    until_sealed(&mut fake);
    fake.boot();
    assert_eq!(fake.mode, Mode::Normal);
    fake
}

fn approve(fake: &mut Fake, scope: Scope, typed: &[&str]) -> Result<Vec<String>> {
    let mut script = Script::new(typed);
    begin(&mut script, fake, scope, |_| Ok(()))?;
    Ok(script.said)
}

/// Starts again until the machine is in setup mode.
fn until_fresh(fake: &mut Fake) {
    for _ in 0..4 {
        fake.boot();
        if fake.mode == Mode::Setup {
            return;
        }
        go_on(fake, NOW).unwrap();
    }
    panic!("not in setup mode after four starts: {:?}", fake.said);
}

fn reset(first: Fake, scope: Scope, typed: &[&str]) -> Fake {
    let mut fake = sealed(first);
    approve(&mut fake, scope, typed).unwrap();
    assert_eq!(fake.restarts, 2, "one for setup, one for this");
    until_fresh(&mut fake);
    fake
}

/// All that lasts, but for what GRUB sees of it.
fn end(fake: &Fake) -> World {
    World { settled: BTreeSet::new(), ..fake.durable.clone() }
}

fn report(fake: &Fake) -> String {
    let text = String::from_utf8(fake.durable.hearth[REPORT].clone()).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fails if anything of the owner is on the system disk.
fn is_fresh(fake: &Fake) {
    let world = &fake.durable;
    assert_eq!(fake.strays().unwrap(), []);
    assert!(world.data.is_none() && world.networks.is_empty() && world.immutable.is_empty() && !world.keys);
    assert!(world.accounts.is_empty() && world.links.is_empty());
    assert_eq!(world.hearth.keys().collect::<Vec<_>>(), [REPORT]);
    let table = Table::read(fake, DISK, fake.size, fake.sector).unwrap();
    let names: Vec<&str> = table.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["bios", "esp", "hearth", "root-a"]);
    assert_eq!(table.part(Part::RootA).unwrap().attributes, GROWN);
    let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(TOKEN);
    assert!(!world.placed.values().any(|file| holds(&file.bytes)) && !world.hearth.values().any(|bytes| holds(bytes)));
}

#[test]
fn role_disks_are_kept_and_the_machine_can_be_set_up_once_more() {
    let before = sealed(machine(ANSWERS));
    let mut fake = reset(machine(ANSWERS), Scope::KeepDisks, KEEP);
    is_fresh(&fake);
    assert_eq!(fake.durable.formatted, before.durable.formatted);
    assert!(fake.durable.placed.contains_key("/mnt/backups/kit.txt"), "what is on a disk that is kept stays");
    let told = report(&fake);
    for words in ["this machine was reset; it was attic", NOW, "BLANK-1, kept as it was.", "PHOTOS-1, kept as it was."]
    {
        assert!(told.contains(words), "{told}");
    }
    // Once more by the same answers: nothing is in the way, and root does not grow twice.
    let answers = ANSWERS.as_bytes().to_vec();
    fake.now.hearth.insert(FILE_NAME.to_owned(), answers.clone());
    fake.durable.hearth.insert(FILE_NAME.to_owned(), answers);
    until_sealed(&mut fake);
    assert_eq!(fake.durable.root_size, before.durable.root_size);
    let ids = |fake: &Fake| Table::read(fake, DISK, fake.size, fake.sector).unwrap().entries.len();
    assert_eq!(ids(&fake), ids(&before));
    // And once more reset.
    fake.boot();
    approve(&mut fake, Scope::KeepDisks, KEEP).unwrap();
    until_fresh(&mut fake);
    is_fresh(&fake);
}

#[test]
fn all_disks_are_erased() {
    let fake = reset(machine(ANSWERS), Scope::EraseAll, ERASE);
    is_fresh(&fake);
    assert!(fake.durable.formatted.is_empty() && fake.others.iter().all(|disk| disk.content.is_none()));
    assert!(!fake.durable.placed.contains_key("/mnt/backups/kit.txt"));
    let told = report(&fake);
    assert!(told.contains("BLANK-1, ERASED.") && told.contains("PHOTOS-1, ERASED."), "{told}");
}

#[test]
fn nothing_opens_what_was_encrypted() {
    let typed = &["attic", "nk-1", "os-1"];
    let fake = reset(machine(&encrypted()), Scope::EraseAll, typed);
    is_fresh(&fake);
    assert!(fake.durable.luks.is_empty());
}

#[test]
fn the_disks_of_volumes_are_erased_one_by_one() {
    let fake = reset(with_volumes(), Scope::EraseAll, &["attic", "up-1", "or-1", "or-2"]);
    is_fresh(&fake);
    assert!(fake.started.is_empty() && fake.others.iter().all(|disk| disk.content.is_none()));
}

#[test]
fn the_power_may_go_at_any_effect() {
    cut_everywhere(machine(ANSWERS), Scope::KeepDisks, KEEP);
}

#[test]
fn the_power_may_go_at_any_effect_while_all_is_erased() {
    cut_everywhere(machine(&encrypted()), Scope::EraseAll, ERASE);
}

fn cut_everywhere(first: Fake, scope: Scope, typed: &[&str]) {
    let before = sealed(first);
    let mut whole = before.clone();
    approve(&mut whole, scope, typed).unwrap();
    let approved = whole.effects;
    until_fresh(&mut whole);
    let wanted = end(&whole);
    assert!(whole.effects - before.effects > 40, "only {} effects", whole.effects - before.effects);
    let losses = [Loss::All, Loss::None, Loss::Some(0x5555_aaaa_3333_cccc)];
    for at in before.effects..whole.effects {
        // The table is among the first that is written, and there each loss is another; elsewhere none is.
        let table = (approved..approved + 16).contains(&at);
        for loss in losses.into_iter().filter(|loss| table || *loss == losses[at % losses.len()]) {
            let mut fake = before.clone();
            fake.cut = Some((at, loss));
            let mut done = approve(&mut fake, scope, typed).map(drop);
            while done.is_ok() {
                // What starts has effects as well; the power does not go in them.
                let cut = fake.cut.take();
                fake.boot();
                fake.cut = cut;
                done = go_on(&mut fake, NOW);
            }
            fake.power_cut(loss);
            match fake.mode {
                Mode::Normal if !fake.now.placed.contains_key(RESET) => {
                    assert!(at < approved, "an approved reset was forgotten, cut at {at}");
                    assert_eq!(end(&fake), end(&before), "something was changed without an approval, cut at {at}");
                    approve(&mut fake, scope, typed).unwrap();
                }
                Mode::Normal | Mode::Reset => go_on(&mut fake, NOW).unwrap(),
                Mode::Setup => {}
                other => panic!("started in {other:?}, cut at {at}"),
            }
            until_fresh(&mut fake);
            assert_eq!(end(&fake), wanted, "cut at {at}, {loss:?}");
        }
    }
}

#[test]
fn a_disk_that_fails_keeps_nothing_else_from_being_erased() {
    let mut first = machine(ANSWERS);
    first.failing.insert("sda".to_owned());
    let fake = reset(first, Scope::EraseAll, ERASE);
    is_fresh(&fake);
    let told = report(&fake);
    assert!(told.contains("BLANK-1, NOT ERASED, see below.") && told.contains("PHOTOS-1, ERASED."), "{told}");
    assert!(told.contains("was NOT ERASED: /dev/sda does not take writes"), "{told}");
    assert!(fake.said.iter().any(|line| line.contains("WARNING")), "{:?}", fake.said);
}

#[test]
fn only_what_is_asked_for_approves() {
    for (typed, code) in [
        (&["nope", "Attic", "hearth"][..], Exit::Refused),
        (&[""], Exit::Refused),
        (&["attic", "0000", "1111", "os-1"], Exit::Refused),
        (&["attic", "nk-1"], Exit::Interrupted),
        (&[], Exit::Interrupted),
    ] {
        let mut fake = sealed(machine(ANSWERS));
        let (before, effects) = (fake.durable.clone(), fake.effects);
        let error = approve(&mut fake, Scope::EraseAll, typed).unwrap_err();
        assert_eq!(code_of(&error), code.code(), "{typed:?}: {error:#}");
        assert!(format!("{error:#}").contains("Nothing was changed"), "{error:#}");
        assert_eq!((fake.durable, fake.effects), (before, effects), "{typed:?}");
    }
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let mut fake = sealed(machine(ANSWERS));
    let effects = fake.effects;
    let error = begin(&mut Script::new(KEEP), &mut fake, Scope::KeepDisks, |_| Err(anyhow!("no space"))).unwrap_err();
    assert!(error.to_string().contains("no space") && fake.effects == effects, "{error:#}");
}

fn codes(fake: &Fake, scope: Scope) -> Vec<String> {
    let error = plan_for(fake, scope).unwrap_err();
    assert_eq!(code_of(&error), Exit::Refused.code());
    let text = error.to_string();
    assert!(text.starts_with("this machine is not reset. Nothing was changed."), "{text}");
    text.lines().filter_map(|line| Some(line.strip_prefix('[')?.split_once(']')?.0.to_owned())).collect()
}

#[test]
fn refusals_are_told_together_with_their_codes() {
    assert_eq!(codes(&machine(ANSWERS), Scope::KeepDisks), ["setup-mode"]);
    let mut half = machine(ANSWERS);
    crate::setup::tests::one_start(&mut half).unwrap();
    half.boot();
    assert_eq!(codes(&half, Scope::KeepDisks), ["not-set-up"]);
    let mut twice = sealed(machine(ANSWERS));
    approve(&mut twice, Scope::KeepDisks, KEEP).unwrap();
    assert_eq!(codes(&twice, Scope::EraseAll), ["under-way"]);

    let mut fake = sealed(machine(ANSWERS));
    fake.others[0].read_only = true;
    let twin = fake.others.remove(1);
    fake.now.image = None;
    assert_eq!(codes(&fake, Scope::EraseAll), ["no-copy", "read-only", "absent"]);
    // Disks that are kept may be away.
    assert_eq!(codes(&fake, Scope::KeepDisks), ["no-copy"]);
    fake.others.extend([twin.clone(), twin]);
    assert_eq!(codes(&fake, Scope::EraseAll), ["no-copy", "read-only", "ambiguous"]);
}

#[test]
fn the_system_disk_must_be_what_hearth_made_it() {
    let fake = sealed(machine(ANSWERS));
    let (mut facts, mut seen) = (fake.facts().unwrap(), look(&fake, &fake.facts().unwrap()).unwrap());
    let codes = |facts: &Facts, seen: &Seen| -> Vec<&'static str> {
        plan::plan(facts, seen, Scope::KeepDisks).unwrap_err().iter().map(Refusal::code).collect()
    };
    let what = crate::facts::SameId::Disk;
    facts.duplicates.push(crate::facts::Duplicate {
        what,
        id: "x".to_owned(),
        disks: vec![DISK.to_owned(), "sdz".to_owned()],
    });
    facts.disks[0].read_only = true;
    seen.table = Err("no table".to_owned());
    assert_eq!(codes(&facts, &seen), ["duplicate", "read-only", "layout"]);
    facts.disks[0].boot_medium = false;
    assert_eq!(codes(&facts, &seen), ["no-boot-disk"]);
}

#[test]
fn a_kept_disk_that_is_encrypted_needs_the_kit() {
    // The kit lies on the adopted disk, which is kept as well and not encrypted.
    let fake = sealed(machine(&encrypted()));
    let (facts, plan) = plan_for(&fake, Scope::KeepDisks).unwrap();
    let text = plan.lines(&facts).join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("only the recovery key of the kit opens it"), "{text}");
    let inside = encrypted().replace("/mnt/backups/kit.txt", "/mnt/media/kit.txt");
    let mut fake = sealed(machine(&inside));
    assert_eq!(codes(&fake, Scope::KeepDisks), ["kit-inside"]);
    plan_for(&fake, Scope::EraseAll).unwrap();
    fake.now.placed.remove("/mnt/media/kit.txt");
    plan_for(&fake, Scope::KeepDisks).unwrap();
    let declined = encrypted().replace("/mnt/backups/kit.txt", "declined");
    assert_eq!(codes(&sealed(machine(&declined)), Scope::KeepDisks), ["no-kit"]);
}

#[test]
fn a_start_that_is_not_for_it_does_nothing_or_leads_there() {
    let mut fake = sealed(machine(ANSWERS));
    let effects = fake.effects;
    go_on(&mut fake, NOW).unwrap();
    assert_eq!(fake.effects, effects);
    approve(&mut fake, Scope::KeepDisks, KEEP).unwrap();
    for mode in [Mode::Setup, Mode::Recovery] {
        fake.mode = mode;
        let before = fake.durable.clone();
        assert!(go_on(&mut fake, NOW).unwrap_err().to_string().contains("restart"));
        assert_eq!(fake.durable, before);
    }
    fake.mode = Mode::Normal;
    let restarts = fake.restarts;
    go_on(&mut fake, NOW).unwrap();
    assert!(fake.restarts == restarts + 1 && fake.durable.data.is_some());
}

#[test]
fn a_damaged_note_erases_nothing() {
    let mut fake = sealed(machine(ANSWERS));
    approve(&mut fake, Scope::KeepDisks, KEEP).unwrap();
    let note = String::from_utf8(fake.now.placed[RESET].bytes.to_vec()).unwrap();
    let forged = note.replace("keep-disks", "erase-all");
    assert_ne!(note, forged);
    let file = File::new(RESET, 0o600, Owner::ROOT, forged.into_bytes());
    fake.now.placed.insert(RESET.to_owned(), file.clone());
    fake.durable.placed.insert(RESET.to_owned(), file);
    fake.boot();
    let before = fake.durable.clone();
    let error = go_on(&mut fake, NOW).unwrap_err();
    assert!(error.to_string().contains("its digest differs"), "{error:#}");
    assert_eq!(fake.durable, before);
}

#[test]
fn a_dry_run_tells_every_effect_and_has_none() {
    for (scope, name) in [(Scope::KeepDisks, "keep-disks"), (Scope::EraseAll, "erase-all")] {
        let fake = sealed(machine(ANSWERS));
        let (effects, before) = (fake.effects, fake.durable.clone());
        let told = tell(&fake, scope).unwrap();
        assert_eq!((fake.effects, &fake.durable), (effects, &before));
        assert!(told.iter().all(|line| line.len() <= WIDTH && line.is_ascii()), "{told:#?}");
        let text = told.join("\n") + "\n";
        let path = format!("{}/fixtures/reset/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("HEARTH_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
    }
}
