//! Repair on machines made of maps: set up from a stick, damaged, started from the stick again, with
//! the power cut at every effect.

use std::collections::BTreeMap;

use super::dialog::ask;
use super::finish::resume_on;
use super::record::{FORMAT, Record, Unfit};
use super::survey::Data;
use super::*;
use crate::layout::{ADOPTED, DATA_DIR};
use crate::machine::Refresh;
use crate::machine::fake::{DISK, Fake, Firmware, Loss, World};
use crate::page::script::Script;
use crate::page::text::WIDTH;
use crate::render::File;
use crate::setup::tests::{ANSWERS, PASSPHRASE, SYSTEM, encrypted, stick_with, until_sealed, unwrapped};
use crate::units::Bytes;

/// The last four characters of the serial number of the disk.
const APPROVAL: &str = "ST-1";

const NOW: &str = "2026-11-25 08:00 UTC";

/// Where the record lies.
const RECORD: &str = "/var/lib/hearth/data/repair/setup.json";

/// A machine that was set up from a stick and runs from its own disk.
fn healthy(answers: &str) -> Fake {
    let mut fake = stick_with(answers);
    let docker = File::public(crate::render::docker::PATH, r#"{"userland-proxy": false}"#);
    fake.image = vec![docker];
    let own = [
        File { mode: 0o444, ..File::public("/etc/machine-id", "0123456789abcdef0123456789abcdef\n") },
        File::private("/etc/ssh/ssh_host_ed25519_key", crate::render::Owner::ROOT, *b"the private key\n"),
        File::public("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA the public key\n"),
    ];
    for file in own {
        fake.now.placed.insert(file.path.clone(), file.clone());
        fake.durable.placed.insert(file.path.clone(), file);
    }
    until_sealed(&mut fake);
    fake.said.clear();
    fake.refreshed.clear();
    fake
}

/// The same with its root and what starts it gone, started from the stick.
fn damaged(answers: &str) -> Fake {
    let mut fake = healthy(answers);
    for world in [&mut fake.now, &mut fake.durable] {
        world.lose_root(&[]);
        world.dead.insert(SYSTEM.to_owned());
    }
    fake.boot();
    assert_eq!(fake.mode, Mode::Setup);
    fake
}

/// What must be the same as before. The marker names the record instead of the plan, and the journal and
/// the reports are other ones.
fn kept(world: &World) -> (BTreeMap<String, File>, World) {
    let mut placed = world.placed.clone();
    placed.retain(|path, _| path != ADOPTED && !path.ends_with("journal.jsonl"));
    // The keys were not made, but kept.
    let mut rest = World { placed: BTreeMap::new(), keys: true, ..world.clone() };
    rest.settled.clear();
    // The new root has what the stick's image brought.
    rest.image = None;
    rest.hearth.clear();
    rest.hearths.clear();
    (placed, rest)
}

/// What differs between two worlds, in few words.
fn differ(now: &(BTreeMap<String, File>, World), before: &(BTreeMap<String, File>, World)) -> Vec<String> {
    let paths = now.0.keys().chain(before.0.keys());
    let mut out: Vec<String> = paths.filter(|path| now.0.get(*path) != before.0.get(*path)).cloned().collect();
    let (one, other) = (&now.1, &before.1);
    let parts = [
        ("sectors", one.sectors == other.sectors),
        ("root", (one.root_size, &one.root_id) == (other.root_size, &other.root_id)),
        ("data", one.data == other.data),
        ("links", one.links == other.links),
        ("accounts", one.accounts == other.accounts),
        ("guards", one.immutable == other.immutable),
        ("role disks", one.formatted == other.formatted),
        ("containers", one.luks == other.luks),
    ];
    out.extend(parts.iter().filter(|(_, same)| !same).map(|(part, _)| (*part).to_owned()));
    if out.is_empty() && one != other {
        out.push("something else".to_owned());
    }
    out
}

fn one_start(fake: &mut Fake) -> Result<()> {
    match fake.mode {
        Mode::Setup => ask(&mut Script::new(&[APPROVAL]), fake, None),
        Mode::Normal => resume_on(fake, NOW, || Ok(())),
        other => panic!("started as {other:?}"),
    }
}

fn until_repaired(fake: &mut Fake) {
    for _ in 0..4 {
        one_start(fake).unwrap();
        if fake.mode == Mode::Normal {
            assert!(!fake.now.placed.contains_key(PENDING), "{:?}", fake.said);
            return;
        }
        fake.boot();
    }
    panic!("not repaired after four starts: {:?}", fake.said);
}

#[test]
fn a_damaged_machine_becomes_what_it_was() {
    let before = kept(&healthy(ANSWERS).durable);
    let mut fake = damaged(ANSWERS);
    let mut facts = fake.facts().unwrap();
    assert!(is_offered(&fake, &facts));
    // By the table, where udev cannot tell the partitions; and not without.
    facts.disks.iter_mut().for_each(|disk| disk.partitions.clear());
    assert!(is_offered(&fake, &facts));
    facts.disks.retain(|disk| disk.name != SYSTEM);
    assert!(!is_offered(&fake, &facts));
    let mut script = Script::new(&["nope", APPROVAL]);
    ask(&mut script, &mut fake, None).unwrap();
    let said = unwrapped(&script.said.join(" "));
    for words in [
        "repair the machine \"attic\" on sdc",
        "4 root-a",
        "WRITTEN ANEW: the system",
        "stays: services",
        "These are not",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(script.said.iter().chain(&fake.said).all(|line| line.len() <= WIDTH), "{:?}", script.said);
    let report = unwrapped(&String::from_utf8_lossy(&fake.durable.hearth["hearth-report.txt"]));
    assert!(report.contains("was written anew") && report.contains("serial FAST-1"), "{report}");
    fake.boot();
    assert_eq!(fake.mode, Mode::Normal);
    let mut notes = 0;
    resume_on(&mut fake, NOW, || {
        notes += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((differ(&kept(&fake.durable), &before), notes), (Vec::new(), 1));
    let report = unwrapped(&String::from_utf8_lossy(&fake.durable.hearths[SYSTEM]["hearth-report.txt"]));
    assert!(report.contains("this machine is repaired") && !report.contains("ERASED"), "{report}");
    let timer = Refresh::Enable(vec![crate::ddns::TIMER.to_owned()]);
    assert!([Refresh::Firewall, Refresh::Ssh, timer].iter().all(|part| fake.refreshed.contains(part)));
    // It can be reset later: what the image brought is kept, and nothing of its owner's with it.
    let brought = fake.durable.image.clone().expect("a copy of what the image brought");
    assert!(brought.placed.keys().eq([crate::render::docker::PATH]) && brought.accounts.is_empty());
    // Nothing new is kept, nothing is left to do, and nothing is done twice.
    assert!(!keep(&mut fake).unwrap());
    let after = fake.durable.clone();
    resume_on(&mut fake, NOW, || panic!("noted twice")).unwrap();
    assert!(fake.durable == after);
}

#[test]
fn the_power_may_go_at_any_effect() {
    let answers = wifi();
    let mut whole = damaged(&answers);
    until_repaired(&mut whole);
    let (fresh, end) = (damaged(&answers), kept(&whole.durable));
    assert!(whole.effects - fresh.effects > 60, "only {} effects", whole.effects - fresh.effects);
    for at in fresh.effects..whole.effects {
        for loss in [Loss::All, Loss::None] {
            let mut fake = fresh.clone();
            fake.cut = Some((at, loss));
            // The power may as well go while it starts.
            while one_start(&mut fake).is_ok() && fake.effects < at {
                fake.boot();
            }
            fake.power_cut(loss);
            if fake.mode == Mode::Normal {
                // What starts is a machine that knows who it is, and is set up.
                for path in ["/etc/machine-id", "/boot/hearth/password.cfg", crate::setup::SEALED] {
                    assert!(fake.now.placed.contains_key(path), "{path}, cut at {at}");
                }
            }
            until_repaired(&mut fake);
            assert_eq!(differ(&kept(&fake.durable), &end), [""; 0], "cut before effect {at}, {loss:?}");
        }
    }
}

/// The same answers with a Wi-Fi, whose passphrase root needs.
fn wifi() -> String {
    format!("{ANSWERS}[network.wifi]\nssid = \"attic\"\npassphrase = \"correct horse\"\ncountry = \"DE\"\n")
}

#[test]
fn the_password_of_today_and_the_secrets_of_root_are_kept() {
    let mut fake = healthy(&wifi());
    let mut account = fake.now.accounts["ada"].clone();
    account.hash = crate::answers::Secret::new("$y$j9T$changed$by-passwd".to_owned());
    fake.set_account(&account).unwrap();
    assert!(keep(&mut fake).unwrap() && !keep(&mut fake).unwrap());
    let record = String::from_utf8(fake.durable.placed[RECORD].bytes.to_vec()).unwrap();
    for secret in ["changed$by-passwd", "correct horse", "the private key"] {
        assert!(record.contains(secret), "{secret}");
    }
    // Neither what opens disks, nor what only services need.
    assert!(!record.contains("00000000beef") && !record.contains("$argon2id$"), "{record}");
    assert_eq!((fake.durable.placed[RECORD].mode, fake.durable.placed[RECORD].owner.uid), (0o600, 0));
    let record = Record::from_bytes(record.as_bytes()).unwrap();
    let shown = format!("{record:?}");
    assert!(
        !shown.contains("correct horse") && !shown.contains("private key") && !shown.contains("by-passwd"),
        "{shown}"
    );
}

#[test]
fn a_record_is_believed_only_if_all_of_it_can_be_used() {
    let fake = healthy(ANSWERS);
    let bytes = fake.durable.placed[RECORD].bytes.clone();
    let record = Record::from_bytes(&bytes).unwrap();
    assert_eq!(*record.to_bytes().unwrap(), *bytes);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let format = |format| format!("\"format\": {format}");
    let newer =
        text.replacen(&format(FORMAT), &format(FORMAT + 1), 1).replacen("\"hearth\": \"", "\"hearth\": \"9.", 1);
    let Err(Unfit::Newer(version)) = Record::from_bytes(newer.as_bytes()) else { panic!("believed") };
    assert!(version.starts_with("9."), "{version}");
    let damaged = [
        text[..text.len() / 2].to_owned(),
        text.replacen("\"install\"", "\"instal\"", 1),
        text.replacen("/etc/machine-id", "/etc/shadow", 1),
        text.replacen("\\\"ada\\\"", "\\\"\\\"", 1),
        text.replacen("\"by\": \"", "\"by\": \"x", 1),
        "{}".to_owned(),
    ];
    for wrong in damaged {
        assert_ne!(wrong, text);
        assert!(matches!(Record::from_bytes(wrong.as_bytes()), Err(Unfit::Damaged(_))), "{wrong}");
    }
}

#[test]
fn an_encrypted_machine_has_its_account_before_it_is_opened_and_the_rest_then() {
    let before = kept(&healthy(&encrypted()).durable);
    for typed in [PASSPHRASE.to_owned(), recovery(&damaged(&encrypted()))] {
        let mut fake = damaged(&encrypted());
        let mut script = Script::new(&["not that one", &typed, APPROVAL]);
        ask(&mut script, &mut fake, None).unwrap();
        assert!(script.said.contains(&"That does not open it.".to_owned()), "{:?}", script.said);
        assert!(!script.said.iter().chain(&fake.said).any(|line| line.contains(&typed)), "a console told a key");
        fake.boot();
        assert_eq!(fake.mode, Mode::Normal);
        resume_on(&mut fake, NOW, || panic!("it is not finished")).unwrap();
        assert!(
            fake.now.accounts.contains_key("ada") && fake.now.placed.contains_key("/etc/ssh/authorized_keys.d/ada")
        );
        assert!(fake.now.placed.contains_key(PENDING) && fake.now.immutable.is_empty());
        assert!(fake.now.placed.contains_key(crate::encryption::LOCK_FILE));
        fake.mount_data();
        resume_on(&mut fake, NOW, || Ok(())).unwrap();
        assert_eq!(differ(&kept(&fake.durable), &before), [""; 0]);
    }
}

fn recovery(fake: &Fake) -> String {
    let kit = String::from_utf8(fake.durable.placed["/mnt/backups/kit.txt"].bytes.to_vec()).unwrap();
    kit.lines().map(str::trim).find(|line| line.split('-').count() == 8).unwrap().to_owned()
}

#[test]
fn three_wrong_ones_or_enter_alone_change_nothing() {
    for answers in
        [&["one", "two", "three", APPROVAL][..], &["", APPROVAL], &[PASSPHRASE, ""], &[PASSPHRASE, "a", "b", "c"]]
    {
        let mut fake = damaged(&encrypted());
        let before = fake.durable.clone();
        let mut script = Script::new(answers);
        ask(&mut script, &mut fake, None).unwrap();
        assert_eq!(script.said.last().unwrap(), "Nothing was changed.");
        assert!(fake.durable == before && fake.restarts == 1);
    }
}

/// The codes of all that stands against repairing this machine.
fn codes(change: impl Fn(&mut Facts, &mut survey::Survey)) -> Vec<&'static str> {
    let mut fake = damaged(ANSWERS);
    let mut facts = fake.facts().unwrap();
    let mut survey = survey::survey(&mut fake, &facts).unwrap();
    change(&mut facts, &mut survey);
    let refusals = choose(&facts, &survey, None).unwrap_err();
    let lines = refusal::all(&refusals);
    assert!(lines.is_ascii(), "{lines}");
    refusals.iter().map(Refusal::code).collect()
}

/// What is said of the disk that was formatted for films, and of the one that was adopted.
const OTHERS: [&str; 2] = ["not-hearth", "no-table"];

fn of_system(change: impl Fn(&mut survey::Seen)) -> Vec<&'static str> {
    let mut codes = codes(|_, survey| change(survey.disks.get_mut(SYSTEM).unwrap()));
    assert_eq!(codes[..2], OTHERS);
    codes.split_off(2)
}

fn table(seen: &mut survey::Seen) -> &mut Table {
    seen.table.as_mut().unwrap()
}

#[test]
fn every_reason_against_it_has_a_code() {
    type Change = fn(&mut survey::Seen);
    let reasons: [(&str, Change); 13] = [
        ("no-table", |seen| seen.table = Err("bad".to_owned())),
        ("not-hearth", |seen| table(seen).entries.retain(|entry| entry.name != "data")),
        ("not-hearth", |seen| table(seen).entries[5].kind = uuid::Uuid::nil()),
        ("other-layout", |seen| table(seen).entries[3].start.0 += 2048),
        ("too-small", |seen| table(seen).entries[3].sectors = 2048),
        ("other-table", |seen| table(seen).entries[5].id = uuid::Uuid::nil()),
        ("sector-size", |seen| table(seen).sector_size.0 = 4096),
        ("no-data", |seen| seen.data = Data::Absent),
        ("no-data", |seen| seen.data = Data::Other("ext4".to_owned())),
        ("data-damaged", |seen| seen.data = Data::Unmountable("bad superblock".to_owned())),
        ("no-record", |seen| seen.data = Data::Bare),
        ("newer-record", |seen| seen.data = Data::Unfit(Unfit::Newer("9.0.0".to_owned()))),
        ("record-damaged", |seen| seen.data = Data::Unfit(Unfit::Damaged("torn".to_owned()))),
    ];
    for (code, change) in reasons {
        let codes = of_system(change);
        assert!(codes.contains(&code), "{code} is not among {codes:?}");
    }
    assert_eq!(codes(|facts, _| facts.mode = Some(Mode::Recovery)), ["not-setup"]);
    assert_eq!(codes(|_, survey| survey.no_copy = Some("it was set up".to_owned())), ["no-copy"]);
    assert_eq!(codes(|facts, _| facts.disks.retain(|disk| disk.boot_medium)), ["no-disk"]);
    assert_eq!(codes(|facts, _| facts.disks.iter_mut().for_each(|disk| disk.boot_medium = false)), ["no-boot-disk"]);
    let codes = codes(|facts, _| facts.disks.iter_mut().for_each(|disk| disk.read_only = true));
    assert_eq!(codes, [OTHERS[0], OTHERS[1], "read-only"]);
}

#[test]
fn a_disk_is_not_repaired_from_itself() {
    let mut fake = healthy(ANSWERS);
    fake.mode = Mode::Setup;
    let error = format!("{:#}", ask(&mut Script::new(&[APPROVAL]), &mut fake, None).unwrap_err());
    assert!(error.contains("[from-itself]") && error.contains("from a stick"), "{error}");
}

#[test]
fn of_several_disks_one_is_chosen_by_its_lasting_name() {
    let mut fake = damaged(ANSWERS);
    let facts = fake.facts().unwrap();
    let mut survey = survey::survey(&mut fake, &facts).unwrap();
    survey.disks.insert("sda".to_owned(), survey.disks[SYSTEM].clone());
    let Err(refusals) = choose(&facts, &survey, None) else { panic!("one was taken") };
    assert_eq!(refusals, [Refusal::Several(vec!["ata-BLANK_1".to_owned(), "ata-FAST_1".to_owned()])]);
    let Ok(Chosen::Open(plan)) = choose(&facts, &survey, Some("ata-FAST_1")) else { panic!("none was taken") };
    assert_eq!(plan.disk.name, SYSTEM);
    let gone = choose(&facts, &survey, Some("ata-NOBODY")).unwrap_err();
    assert_eq!(gone[0].code(), "not-there");
}

#[test]
fn a_table_is_mended_from_its_whole_copy_and_nothing_is_done_without_one() {
    let wreck = |fake: &mut Fake, at: Bytes| {
        fake.write(&Dev::disk(SYSTEM), at, &[0xa5; 1024]).unwrap();
        fake.flush(&Dev::disk(SYSTEM)).unwrap();
    };
    let end = |fake: &Fake| fake.disk_named(SYSTEM).size - Bytes(1024);
    let mut fake = damaged(ANSWERS);
    let before = kept(&healthy(ANSWERS).durable);
    wreck(&mut fake, Bytes::ZERO);
    let mut script = Script::new(&[APPROVAL]);
    ask(&mut script, &mut fake, None).unwrap();
    assert!(unwrapped(&script.said.join(" ")).contains("is mended from its copy"), "{:?}", script.said);
    fake.boot();
    until_repaired(&mut fake);
    let (mut now, mut before) = (kept(&fake.durable), before);
    // The first sector's boot code was overwritten, and is the image's once what starts is put back.
    now.1.sectors.clear();
    before.1.sectors.clear();
    assert_eq!(differ(&now, &before), [""; 0]);
    let disk = fake.disk_named(SYSTEM);
    let table = Table::read(&fake, SYSTEM, disk.size, disk.logical_sector).unwrap();
    assert!(table.is_on(&fake, SYSTEM, disk.size).unwrap());

    let mut fake = damaged(ANSWERS);
    wreck(&mut fake, Bytes::ZERO);
    let at = end(&fake);
    wreck(&mut fake, at);
    let before = fake.durable.clone();
    let error = format!("{:#}", ask(&mut Script::new(&[APPROVAL]), &mut fake, None).unwrap_err());
    assert_eq!(error.matches("[no-table]").count(), 2, "{error}");
    assert!(fake.durable == before);
}

#[test]
fn a_disk_that_changed_since_is_not_written_to() {
    let mut fake = damaged(ANSWERS);
    let (_, mut plan) = planned(&mut fake, None, || panic!("nothing is encrypted")).unwrap();
    plan.state = crate::digest::Digest::of("another disk");
    let before = fake.durable.clone();
    let error = format!("{:#}", apply::apply(&mut fake, &plan).unwrap_err());
    assert!(error.contains("is not as it was when the plan was made. Nothing was written to it"), "{error}");
    assert!(fake.durable == before);
}

#[test]
fn a_dry_run_tells_the_effects_and_has_none() {
    for (answers, key) in [(ANSWERS.to_owned(), "never asked for"), (encrypted(), PASSPHRASE)] {
        let mut fake = damaged(&answers);
        let before = fake.durable.clone();
        let lines = tell(&mut fake, None, || Ok(Zeroizing::new(key.to_owned()))).unwrap();
        let text = unwrapped(&lines.join(" "));
        for words in [
            "It is FAST-1.",
            "take away what firmware starts from /dev/sdc",
            "write /run/hearth/repair/system/etc/machine-id, mode 444",
            "write /run/hearth/repair/system/boot/hearth/adopted",
            "put back what firmware starts from /dev/sdc",
            "restart",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:#?}");
        assert!(fake.durable == before && fake.restarts == 1);
    }
    let wrong = tell(&mut damaged(&encrypted()), None, || Ok(Zeroizing::new("wrong".to_owned()))).unwrap_err();
    assert_eq!(crate::exit::code_of(&wrong), Exit::Refused.code());
}

#[test]
fn a_credential_approves_once() {
    let mut fake = damaged(&encrypted());
    fake.firmware = Firmware::Bios;
    fake.credentials.insert(CREDENTIAL.to_owned(), "nope\n".to_owned());
    fake.credentials.insert(KEY.to_owned(), format!("{PASSPHRASE}\n"));
    let before = fake.durable.clone();
    let error = format!("{:#}", by_credential(&mut fake).unwrap_err());
    assert!(error.contains("the last characters of the serial number of sdc") && fake.durable == before, "{error}");
    fake.credentials.insert(CREDENTIAL.to_owned(), APPROVAL.to_owned());
    by_credential(&mut fake).unwrap();
    assert_eq!(fake.restarts, 2);
    // The BIOS starts the stick again.
    fake.boot();
    assert_eq!(fake.mode, Mode::Setup);
    let before = fake.durable.clone();
    by_credential(&mut fake).unwrap();
    assert!(fake.restarts == 2 && fake.durable == before, "it repairs again and again");
    fake.stick_gone = true;
    fake.boot();
    assert_eq!(fake.mode, Mode::Normal);
}

#[test]
fn a_role_disk_that_is_absent_does_not_hold_the_repair_up() {
    let mut fake = damaged(ANSWERS);
    ask(&mut Script::new(&[APPROVAL]), &mut fake, None).unwrap();
    fake.boot();
    fake.absent.insert("mnt-backups.mount".to_owned());
    resume_on(&mut fake, NOW, || Ok(())).unwrap();
    let report = unwrapped(&String::from_utf8_lossy(&fake.durable.hearths[SYSTEM]["hearth-report.txt"]));
    assert!(report.contains("WARNING: the disk for /mnt/backups was not mounted"), "{report}");
    assert!(!fake.now.placed.contains_key(PENDING));
}

#[test]
fn a_machine_that_merely_runs_from_its_disk_keeps_a_record_too() {
    let mut fake = Fake::new(64);
    crate::adopt::until_adopted(&mut fake);
    assert!(keep(&mut fake).unwrap());
    let record = Record::from_bytes(&fake.durable.placed[RECORD].bytes).unwrap();
    assert!(record.setup.is_none() && record.table == Table::read(&fake, DISK, fake.size, fake.sector).unwrap());
    assert!(fake.now.settled.contains(RECORD) && RECORD.starts_with(DATA_DIR));
}
