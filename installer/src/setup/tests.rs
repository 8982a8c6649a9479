//! The whole of setup on machines made of maps: from the answer file to the seal, with the
//! power cut at every effect.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::answers::{FILE_NAME, Secret};
use crate::digest::Digest;
use crate::encryption::Key;
use crate::facts::{Content, Disk, Fault, Volume, VolumeKind};
use crate::machine::fake::{DISK, Fake, Firmware, Formatted, Loss, Luks, Rules};
use crate::machine::{Account, Refresh, Verdict};
use crate::page::text::WIDTH;
use crate::render::File;
use crate::units::{Bytes, SectorSize};

pub(crate) const ANSWERS: &str = r#"version = 1
recovery-kit = "/mnt/backups/kit.txt"
stacks = ["core"]
erase = ["ata-BLANK_1"]
[system]
disk = "this"
hostname = "attic"
[admin]
login = "ada"
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh a@b"]
password-hash = "$y$j9T$qFUEwDxI6IAferEE/yree0$TMfsy3pMeUifHB6Zi/Z4NPtxBBE32WHxPxUW0gHcmx7"
[domain]
dns = "duckdns"
name = "attic.duckdns.org"
token = "0a1b2c3d-0000-4000-8000-00000000beef"
[[users]]
name = "ada"
display-name = "Ada"
email = "ada@example.org"
groups = ["admins"]
password-hash = "$argon2id$v=19$m=65536,t=3,p=4$i2RIurmJ0ogFb4ssgoeMXQ$zUk46LvIWuEtD6U9beNceBEO6yZ2L12H8pOc2DRo15I"
[[disks]]
roles = ["media", "downloads"]
disk = { serial = "BLANK-1" }
prepare = "erase"
[[disks]]
roles = ["backups"]
disk = { serial = "PHOTOS-1" }
prepare = "adopt"
"#;

/// A word of the answers that must be nowhere in the end but on `data`.
pub(crate) const TOKEN: &str = "00000000beef";

pub(crate) fn disk(name: &str, serial: &str, content: Option<&str>) -> Disk {
    let facts = crate::facts::zoo::facts("nas");
    let mut disk = facts.disks.into_iter().find(|disk| disk.name == "sdd").unwrap();
    name.clone_into(&mut disk.name);
    disk.path = format!("/dev/{name}");
    disk.by_id = vec![format!("ata-{}", serial.replace('-', "_"))];
    disk.serial = Some(serial.to_owned());
    disk.wwn = None;
    disk.size = Bytes::gib(100);
    disk.content = content.map(|kind| crate::facts::Content {
        kind: kind.to_owned(),
        label: Some("photos".to_owned()),
        id: Some(serial.to_owned()),
    });
    disk
}

/// A machine with an answer file on the disk it was started from.
pub(crate) fn machine(answers: &str) -> Fake {
    let mut fake = Fake::with(Bytes::gib(64), SectorSize(512));
    fake.others = vec![disk("sda", "BLANK-1", None), disk("sdb", "PHOTOS-1", Some("ext4"))];
    for world in [&mut fake.now, &mut fake.durable] {
        world.hearth.insert(FILE_NAME.to_owned(), answers.as_bytes().to_vec());
        let docker = File::public(crate::render::docker::PATH, r#"{"userland-proxy": false}"#);
        world.placed.insert(docker.path.clone(), docker);
    }
    fake
}

/// The same answers for a machine that is started from a stick, with a disk for Hearth.
pub(crate) fn stick() -> Fake {
    stick_with(ANSWERS)
}

/// The same with more in the answers.
pub(crate) fn stick_with(answers: &str) -> Fake {
    let answers = answers
        .replace("erase = [", "erase = [\"ata-FAST_1\", ")
        .replace("disk = \"this\"", "disk = { serial = \"FAST-1\" }");
    let mut fake = machine(&answers);
    fake.others.push(disk(SYSTEM, "FAST-1", Some("ntfs")));
    fake
}

/// The disk that the stick is copied to.
pub(crate) const SYSTEM: &str = "sdc";

/// Text without the line ends that a console needs.
pub(crate) fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Goes on as far as one start goes, as GRUB and systemd would have it.
pub(crate) fn one_start(fake: &mut Fake) -> Result<()> {
    match fake.mode {
        Mode::Setup => begin(fake),
        Mode::Adopt => {
            crate::adopt::resume_on(fake)?;
            // It may have had nothing left to do but to remove its plan.
            fake.mount_data();
            apply::resume(fake, "2026-11-24 20:30 UTC")
        }
        _ => {
            // Where data is encrypted somebody opened it: setup waits for that.
            fake.mount_data();
            apply::resume(fake, "2026-11-24 20:30 UTC")
        }
    }
}

/// Starts again until the machine is sealed.
pub(crate) fn until_sealed(fake: &mut Fake) {
    for _ in 0..6 {
        one_start(fake).unwrap();
        if fake.now.placed.contains_key(take::SEALED) && !fake.now.placed.contains_key(take::ANSWERS) {
            return;
        }
        fake.boot();
    }
    panic!("not sealed after six starts: {:?}", fake.said);
}

/// All that must be the same however often the power went.
#[derive(Debug, PartialEq)]
struct End {
    placed: BTreeMap<String, File>,
    accounts: BTreeMap<String, Account>,
    formatted: BTreeMap<String, Formatted>,
    luks: BTreeMap<String, Luks>,
    hearth: Vec<String>,
    /// Of the disk that Hearth was written to.
    other_hearth: Vec<String>,
    sectors: BTreeMap<u64, Digest>,
    marks: (Vec<String>, Vec<String>),
}

fn end(fake: &Fake) -> End {
    let world = &fake.durable;
    let mut placed = world.placed.clone();
    placed.remove(journal::JOURNAL);
    let zero = |bytes: &Vec<u8>| bytes.iter().all(|byte| *byte == 0);
    End {
        placed,
        accounts: world.accounts.clone(),
        formatted: world.formatted.clone(),
        luks: world.luks.clone(),
        hearth: world.hearth.keys().cloned().collect(),
        other_hearth: world.hearths.values().flat_map(BTreeMap::keys).cloned().collect(),
        sectors: world
            .sectors
            .iter()
            .filter(|(_, bytes)| !zero(bytes))
            .map(|(at, bytes)| (*at, Digest::of(bytes)))
            .collect(),
        marks: (world.immutable.iter().cloned().collect(), world.networks.iter().cloned().collect()),
    }
}

#[test]
fn an_answer_file_becomes_a_sealed_machine() {
    let mut fake = machine(ANSWERS);
    until_sealed(&mut fake);
    let end = end(&fake);
    assert_eq!(end.hearth, ["hearth-report.txt", "hearth.done.toml"]);
    assert_eq!(end.accounts["ada"].groups, ["admins"]);
    assert_eq!(end.formatted.keys().collect::<Vec<_>>(), ["/dev/sda1"], "only the disk that is listed");
    for path in [
        "/etc/hostname",
        "/etc/hearth/hearth.toml",
        "/opt/stacks/core/authelia/configuration.yml",
        "/opt/stacks/.gitignore",
        "/opt/stacks/.git",
        "/boot/hearth/password.cfg",
    ] {
        assert!(end.placed.contains_key(path), "{path}");
    }
    assert_eq!(end.marks.0, ["/mnt/backups", "/mnt/downloads", "/mnt/media", "/var/lib/hearth/disks/media-downloads"]);
    assert!(fake.refreshed.contains(&Refresh::Hostname));
    let kit = String::from_utf8(end.placed["/mnt/backups/kit.txt"].bytes.to_vec()).unwrap();
    assert!(kit.contains("in the boot menu: ") && kit.contains("opens attic"), "{kit}");
    assert!(fake.said.iter().all(|line| line.len() <= WIDTH), "{:?}", fake.said);
}

#[test]
fn s10_secrets_are_on_data_alone() {
    let mut fake = machine(ANSWERS);
    until_sealed(&mut fake);
    let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(TOKEN);
    let found: Vec<&String> =
        fake.durable.placed.values().filter(|file| holds(&file.bytes)).map(|file| &file.path).collect();
    assert_eq!(found, ["/etc/hearth/secrets/domain.token"]);
    assert!(!fake.durable.hearth.values().any(|bytes| holds(bytes)), "HEARTH still tells the token");
    assert!(!fake.said.iter().any(|line| line.contains(TOKEN)), "a console told the token");

    let mut fake = stick();
    until_sealed(&mut fake);
    let hearths = fake.durable.hearths.values().chain([&fake.durable.hearth]).flat_map(BTreeMap::values);
    assert_eq!(hearths.filter(|bytes| holds(bytes)).count(), 0, "a HEARTH still tells the token");
    assert!(!fake.said.iter().any(|line| line.contains(TOKEN)), "a console told the token");
}

#[test]
fn a_stick_is_copied_to_the_disk_that_is_listed_and_set_up_there() {
    let mut fake = stick();
    begin(&mut fake).unwrap();
    let report = |fake: &Fake| unwrapped(&String::from_utf8_lossy(&fake.durable.hearth["hearth-report.txt"]));
    assert!(report(&fake).contains("goes on from") && report(&fake).contains("serial FAST-1"), "{}", report(&fake));
    assert_eq!((fake.restarts, fake.durable.first.as_deref()), (1, Some(SYSTEM)));
    until_sealed(&mut fake);
    let moved = end(&fake);
    assert_eq!(moved.hearth, ["hearth-report.txt", "hearth.done.toml", "hearth.moved"]);
    assert_eq!(moved.other_hearth, ["hearth-report.txt", "hearth.done.toml"]);
    let report = report(&fake);
    assert!(report.contains("this machine is set up") && report.contains("written from the medium"), "{report}");
    assert!(fake.said.iter().all(|line| line.len() <= WIDTH), "{:?}", fake.said);

    // The same on the disk it was started from, but for what follows from the disk.
    let mut here = machine(ANSWERS);
    until_sealed(&mut here);
    let (moved, here) = (moved.placed, end(&here).placed);
    let same = |path: &String| !path.contains("by\\x2duuid") && here[path].mode == moved[path].mode;
    assert_eq!(moved.len(), here.len());
    assert!(here.keys().filter(|path| !path.contains("by\\x2duuid")).all(same));
    assert_eq!(moved["/etc/hearth/hearth.toml"], here["/etc/hearth/hearth.toml"]);
}

#[test]
fn a_start_from_the_stick_afterwards_waits_and_changes_nothing() {
    for firmware in [Firmware::Bios, Firmware::Refuses] {
        let mut fake = stick();
        fake.firmware = firmware;
        begin(&mut fake).unwrap();
        let said = |fake: &Fake, words: &str| unwrapped(&fake.said.join(" ")).contains(words);
        let word = if firmware == Firmware::Bios { "started by BIOS" } else { "took no entry" };
        assert!(said(&fake, word) && fake.restarts == 1, "{:?}", fake.said);
        fake.boot();
        let before = fake.durable.clone();
        // The disk is complete, the stick comes first: setup must neither erase it nor restart for ever.
        for _ in 0..2 {
            begin(&mut fake).unwrap();
            fake.boot();
        }
        begin(&mut fake).unwrap();
        assert!(said(&fake, "started from the stick again") && fake.restarts == 1, "{:?}", fake.said);
        assert!(String::from_utf8_lossy(&fake.now.placed[moved::MOVED].bytes).contains("remove it, or choose"));
        fake.boot();
        assert!(fake.durable == before, "a start from the stick has changed something");
        fake.stick_gone = true;
        fake.boot();
        until_sealed(&mut fake);
        let sealed = fake.durable.clone();
        fake.stick_gone = false;
        fake.boot();
        begin(&mut fake).unwrap();
        fake.boot();
        assert!(fake.durable == sealed && fake.restarts == 1, "a start from the stick has changed something");
        // Other answers are another wish, and the disk is protected.
        let text = String::from_utf8(stick().now.hearth[FILE_NAME].clone()).unwrap().replace("attic", "other");
        fake.now.hearth.insert(FILE_NAME.to_owned(), text.into_bytes());
        let error = format!("{:#}", begin(&mut fake).unwrap_err());
        assert!(error.contains("[hearth-installed]"), "{error}");
    }
}

#[test]
fn a_stick_that_takes_no_writes_restarts_once() {
    let mut fake = stick();
    (fake.stick_refuses, fake.firmware) = (true, Firmware::Bios);
    begin(&mut fake).unwrap();
    let told = unwrapped(&fake.said.join(" "));
    assert!(told.contains("could not be overwritten") && told.contains("change every password"), "{told}");
    fake.boot();
    begin(&mut fake).unwrap();
    assert_eq!(fake.restarts, 1);
    fake.stick_gone = true;
    fake.boot();
    until_sealed(&mut fake);
    // Its answers are still there, and no way to erase the disk with them.
    fake.stick_gone = false;
    fake.boot();
    let error = format!("{:#}", begin(&mut fake).unwrap_err());
    assert!(error.contains("[hearth-installed]") && fake.restarts == 1, "{error}");
}

#[test]
fn a_system_disk_that_changed_since_is_not_written_to() {
    let mut fake = stick();
    let facts = fake.facts().unwrap();
    let found = source::find(&fake, &facts).unwrap().unwrap();
    let planned = planned(&fake, &facts, &found.read().unwrap()).unwrap();
    fake.others[2] = disk(SYSTEM, "FAST-1", Some("xfs"));
    let sectors = fake.durable.sectors.clone();
    let error = format!("{:#}", moved::write(&mut fake, &facts, &found, planned).unwrap_err());
    assert!(error.contains("/dev/sdc is not as it was when the plan was made. Nothing was written to it"), "{error}");
    assert_eq!(fake.durable.sectors, sectors);
}

#[test]
fn a_medium_that_cannot_be_copied_is_refused_before_anything_is_done() {
    let mut fake = stick();
    begin(&mut fake).unwrap();
    fake.boot();
    // The copy has been adopted: it is no medium any more.
    crate::adopt::resume_on(&mut fake).unwrap();
    let mut again = fake.clone();
    again.mode = Mode::Setup;
    let text = stick().now.hearth[FILE_NAME].clone();
    again.now.hearths.get_mut(SYSTEM).unwrap().insert(FILE_NAME.to_owned(), text);
    let error = format!("{:#}", begin(&mut again).unwrap_err());
    assert!(error.contains("[no-copy] `system.disk`: /dev/sdc cannot be copied."), "{error}");
}

/// The answers with everything encrypted.
pub(crate) fn encrypted() -> String {
    format!("{ANSWERS}[encryption]\nunlock = \"passphrase\"\npassphrase = \"{PASSPHRASE}\"\n")
}

pub(crate) const PASSPHRASE: &str = "open sesame please";

#[test]
fn s6_everything_is_encrypted_and_nothing_but_the_kit_tells_the_recovery_key() {
    let mut fake = machine(&encrypted());
    fake.luck = Some(Cell::new(1));
    until_sealed(&mut fake);
    let (data, role) = (&fake.durable.luks["/dev/nvme0n1p6"], &fake.durable.luks["/dev/sda1"]);
    assert_eq!(data.keys.everyday, Key::Passphrase(Secret::new(PASSPHRASE.to_owned())));
    assert_eq!(data.keys.recovery, role.keys.recovery, "one recovery key opens all");
    assert_eq!(fake.durable.formatted.keys().collect::<Vec<_>>(), ["/dev/mapper/hearth-media-downloads"]);
    let tell = |secret: &str| -> Vec<&str> {
        let holds = |file: &&File| String::from_utf8_lossy(&file.bytes).contains(secret);
        fake.durable.placed.values().filter(holds).map(|file| file.path.as_str()).collect()
    };
    let recovery = data.keys.recovery.expose();
    assert_eq!(tell(recovery), ["/mnt/backups/kit.txt", "/var/lib/hearth/data/keys/recovery"]);
    let Key::Drawn(key) = &role.keys.everyday else { panic!("{role:?}") };
    assert_eq!(tell(key.expose()), ["/var/lib/hearth/data/keys/hearth-media-downloads"]);
    assert_eq!(tell(PASSPHRASE), [""; 0]);
    for secret in [recovery, key.expose(), PASSPHRASE] {
        assert!(!fake.said.iter().any(|line| line.contains(secret)), "a console told a key");
    }
}

#[test]
fn a_plan_that_encrypts_needs_the_answers_that_say_what_opens() {
    let mut fake = machine(&encrypted());
    begin(&mut fake).unwrap();
    fake.boot();
    fake.now.hearth.remove(SETUP_FILE);
    let error = format!("{:#}", one_start(&mut fake).unwrap_err());
    assert!(error.contains("no answer file on HEARTH says what opens it"), "{error}");
    assert!(fake.durable.luks.is_empty() && fake.durable.data.is_none());
}

/// Whatever is drawn differs each time, so a key that was made twice would be seen.
#[test]
fn the_recovery_key_of_the_kit_opens_the_disks_however_often_the_power_went() {
    let fresh = || {
        let mut fake = machine(&encrypted());
        fake.luck = Some(Cell::new(1));
        begin(&mut fake).unwrap();
        fake.boot();
        fake
    };
    let (first, mut whole) = (fresh().effects, fresh());
    until_sealed(&mut whole);
    for at in first..whole.effects {
        let mut fake = fresh();
        fake.cut = Some((at, [Loss::All, Loss::None][at % 2]));
        let _ = one_start(&mut fake);
        fake.power_cut([Loss::All, Loss::None][at % 2]);
        // From then on no key is made any more.
        let over = fake.durable.placed.contains_key("/mnt/backups/kit.txt");
        until_sealed(&mut fake);
        let kit = String::from_utf8(fake.durable.placed["/mnt/backups/kit.txt"].bytes.to_vec()).unwrap();
        for (dev, luks) in &fake.durable.luks {
            assert!(kit.contains(luks.keys.recovery.expose()), "{dev}, cut at {at}");
        }
        let kept = &fake.durable.placed["/var/lib/hearth/data/keys/hearth-media-downloads"].bytes;
        let key = Key::Drawn(Secret::new(String::from_utf8(kept.to_vec()).unwrap()));
        assert_eq!(fake.durable.luks["/dev/sda1"].keys.everyday, key, "cut at {at}");
        if over {
            break;
        }
    }
}

#[test]
fn the_power_may_go_at_any_effect() {
    cut_everywhere(machine(ANSWERS), 1);
}

#[test]
fn the_power_may_go_at_any_effect_with_everything_encrypted() {
    cut_everywhere(machine(&encrypted()), 1);
}

/// A machine whose photos lie on a mirror, and whose films on a volume of LVM.
pub(crate) fn with_volumes() -> Fake {
    let answers = ANSWERS
        .replace("erase = [\"ata-BLANK_1\"]\n", "")
        .replace("disk = { serial = \"PHOTOS-1\" }", "disk = { md = \"nas:photos\" }")
        .replace(
            "disk = { serial = \"BLANK-1\" }\nprepare = \"erase\"",
            "disk = { lvm = \"vg0/films\" }\nprepare = \"adopt\"",
        );
    let mut fake = machine(&answers);
    let piece = |name: &str, serial: &str, kind: &str| disk(name, serial, Some(kind));
    fake.others = vec![
        piece("sda", "MIRROR-1", "linux_raid_member"),
        piece("sdb", "MIRROR-2", "linux_raid_member"),
        piece("sdc", "GROUP-1", "LVM2_member"),
    ];
    let volume = |kind, name: &str, level: &str, members: &[&str], inside: &str| Volume {
        kind,
        name: name.to_owned(),
        id: format!("id-of-{name}"),
        level: level.to_owned(),
        size: Bytes::gib(99),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        fault: None,
        active: false,
        content: Some(Content { kind: inside.to_owned(), label: None, id: Some(format!("{inside}-id")) }),
    };
    fake.volumes = vec![
        volume(VolumeKind::Md, "nas:photos", "raid1", &["sda", "sdb"], "ext4"),
        volume(VolumeKind::Lvm, "vg0/films", "linear", &["sdc"], "xfs"),
    ];
    fake
}

#[test]
fn the_power_may_go_at_any_effect_while_volumes_are_adopted() {
    cut_everywhere(with_volumes(), 1);
}

#[test]
fn volumes_are_started_once_approved_and_come_back_by_themselves() {
    let mut fake = with_volumes();
    begin(&mut fake).unwrap();
    assert!(fake.started.is_empty(), "nothing runs in setup mode");
    fake.boot();
    until_sealed(&mut fake);
    let text = |path: &str| String::from_utf8(fake.durable.placed[path].bytes.to_vec()).unwrap();
    let conf = text("/etc/mdadm/mdadm.conf.d/hearth.conf");
    assert!(conf.ends_with("\nARRAY /dev/md/hearth-backups UUID=id-of-nas:photos\n"), "{conf}");
    let start = text("/etc/systemd/system/hearth-media-downloads-start.service");
    let device = "dev-disk-by\\x2did-lvm\\x2dpv\\x2duuid\\x2dGROUP\\x2d1.device";
    assert!(start.contains("ExecStart=/usr/sbin/lvchange --activate y vg0/films\n"), "{start}");
    assert!(start.contains(&format!("BindsTo={device}\nAfter={device}\n")), "{start}");
    assert!(start.contains("ConditionKernelCommandLine=!hearth.mode=setup\n"), "{start}");
    let late = text(&format!("/etc/systemd/system/{device}.d/60-hearth-media-downloads.conf"));
    assert_eq!(late, "[Unit]\nWants=hearth-media-downloads-start.service\n");
    let mount = text("/etc/systemd/system/var-lib-hearth-disks-media\\x2ddownloads.mount");
    assert!(mount.contains("Requires=hearth-media-downloads-start.service\n"), "{mount}");
    assert!(!mount.contains("RequiresMountsFor"), "it needs no data: {mount}");
    assert!(fake.refreshed.contains(&Refresh::Enable(vec!["mdcheck_start.timer".to_owned()])));
    assert!(fake.durable.formatted.is_empty());
    let told = roles_of(&fake).unwrap();
    assert!(told.contains(&("/mnt/backups".to_owned(), "the RAID array \"nas:photos\"".to_owned())), "{told:?}");
}

#[test]
fn a_volume_that_is_not_what_was_planned_is_not_written_to() {
    let stopped = |spoil: &dyn Fn(&mut Fake)| {
        let mut fake = with_volumes();
        begin(&mut fake).unwrap();
        fake.boot();
        spoil(&mut fake);
        let error = format!("{:#}", one_start(&mut fake).unwrap_err());
        assert!(!fake.durable.placed.contains_key("/etc/mdadm/mdadm.conf.d/hearth.conf"), "{error}");
        assert!(!fake.started.values().any(|(id, writable)| *writable && id.contains("photos")), "{error}");
        error
    };
    let gone = stopped(&|fake| drop(fake.volumes.remove(0)));
    assert!(gone.contains("starting the disks for /mnt/backups: the RAID array \"nas:photos\" is not there"), "{gone}");
    let half = stopped(&|fake| fake.volumes[0].fault = Some(Fault::Missing { there: 1, of: 2 }));
    assert!(half.contains("is not complete: it has 1 of its 2 members"), "{half}");
    let other = stopped(&|fake| fake.volumes[0].size = Bytes::gib(98));
    assert!(other.contains("is not as it was when the plan was approved. It was not started"), "{other}");
}

#[test]
fn the_power_may_go_at_any_effect_on_the_way_to_another_disk() {
    // The end is the same as on any machine.
    cut_everywhere(stick(), 7);
}

/// Cuts at every effect before adoption, at some of adoption's, and at every `step`th of the rest.
fn cut_everywhere(first: Fake, step: usize) {
    // How far an uninterrupted machine is after each part; a cut one begins at the last before it.
    let mut machines = vec![first];
    let mut next = machines[0].clone();
    begin(&mut next).unwrap();
    next.boot();
    machines.push(next.clone());
    crate::adopt::resume_on(&mut next).unwrap();
    machines.push(next.clone());
    until_sealed(&mut next);
    let (effects, wanted) = (next.effects, end(&next));
    for at in 0..effects {
        // Adoption has tests of its own, and is cut here and there only.
        let (first, last) = (machines[1].effects, machines[2].effects);
        if (first..last).contains(&at) && at % 9 > 0 || at >= last && at % step > 0 {
            continue;
        }
        // Each effect is cut with one kind of loss: GRUB's password alone takes a tenth of a second.
        let losses = [Loss::All, Loss::None, Loss::Some(0x5555_aaaa_3333_cccc)];
        let loss = losses[at % losses.len()];
        let mut fake = machines.iter().rev().find(|machine| machine.effects <= at).unwrap().clone();
        fake.cut = Some((at, loss));
        if one_start(&mut fake).is_ok() && fake.effects <= at {
            let cut = fake.cut.take();
            fake.boot();
            fake.cut = cut;
            let _ = one_start(&mut fake);
        }
        fake.power_cut(loss);
        until_sealed(&mut fake);
        let got = end(&fake);
        assert_eq!(got.placed.keys().collect::<Vec<_>>(), wanted.placed.keys().collect::<Vec<_>>(), "{at}, {loss:?}");
        assert_eq!(got, wanted, "cut at {at}, {loss:?}");
    }
}

#[test]
fn a_sealed_machine_is_left_alone() {
    let mut fake = machine(ANSWERS);
    until_sealed(&mut fake);
    let (before, effects) = (end(&fake), fake.effects);
    apply::resume(&mut fake, "2027-01-01 00:00 UTC").unwrap();
    // Nor does another answer file count, in setup mode chosen from the menu.
    fake.now.hearth.insert(FILE_NAME.to_owned(), ANSWERS.replace("attic", "other").into_bytes());
    fake.mode = Mode::Setup;
    begin(&mut fake).unwrap();
    assert_eq!((end(&fake), fake.effects), (before, effects));
}

#[test]
fn a_refusal_changes_no_disk_and_is_written_beside_the_answers() {
    let mut fake = machine(&ANSWERS.replace("erase = [\"ata-BLANK_1\"]", "erase = [\"ata-PHOTOS_1\"]"));
    let sectors = fake.durable.sectors.clone();
    begin(&mut fake).unwrap_err();
    let report = String::from_utf8(fake.durable.hearth["hearth-report.txt"].clone()).unwrap();
    for words in ["NOT set up", "[not-listed]", "[listed-in-vain]", "ata-BLANK_1"] {
        assert!(report.contains(words), "{report}");
    }
    assert_eq!((fake.durable.sectors.clone(), fake.restarts), (sectors, 0));
    assert!(fake.durable.hearth.contains_key(FILE_NAME), "the answers are there to be corrected");
}

#[test]
fn a_disk_that_changed_since_is_not_formatted() {
    let mut fake = machine(ANSWERS);
    begin(&mut fake).unwrap();
    fake.boot();
    fake.others[0] = disk("sda", "BLANK-1", Some("xfs"));
    let error = format!("{:#}", one_start(&mut fake).unwrap_err());
    assert!(error.contains("is not as it was when the plan was approved. Nothing was written to it"), "{error}");
    assert!(fake.durable.formatted.is_empty());
}

#[test]
fn answers_that_were_edited_after_the_approval_are_not_followed() {
    let mut fake = machine(ANSWERS);
    begin(&mut fake).unwrap();
    fake.boot();
    fake.now.hearth.insert(FILE_NAME.to_owned(), ANSWERS.replace("attic", "other").into_bytes());
    let error = format!("{:#}", one_start(&mut fake).unwrap_err());
    assert!(error.contains("was changed after the setup was approved"), "{error}");
    assert!(fake.durable.data.is_none());
    assert_eq!(fake.disk().name, DISK);
}

#[test]
fn an_address_without_a_router_goes_back_to_dhcp() {
    let static_address =
        "[[network.wired]]\nmac = \"18:c0:4d:11:22:33\"\naddress = \"192.168.1.10/24\"\ngateway = \"192.168.1.1\"\n";
    let mut fake = machine(&format!("{ANSWERS}{static_address}"));
    fake.router = false;
    until_sealed(&mut fake);
    let wired = |path: &&String| path.contains("-wired-");
    assert_eq!(fake.durable.placed.keys().find(wired), None);
    let report = String::from_utf8(fake.durable.hearth["hearth-report.txt"].clone()).unwrap();
    assert!(report.contains("WARNING: no router answered at 192.168.1.1"), "{report}");
    let mut fake = machine(&format!("{ANSWERS}{static_address}"));
    until_sealed(&mut fake);
    assert!(fake.durable.placed.keys().any(|path| wired(&path)));
}

#[test]
fn a_token_that_does_not_fit_is_told_and_setup_goes_on() {
    let told = |verdict: Verdict| {
        let mut fake = machine(ANSWERS);
        fake.duckdns = verdict;
        until_sealed(&mut fake);
        String::from_utf8(fake.durable.hearth["hearth-report.txt"].clone()).unwrap().replace("\r\n ", "")
    };
    assert!(!told(Verdict::Belong).contains("WARNING"));
    let refused = told(Verdict::Refused);
    for words in ["WARNING: DuckDNS refuses `domain.token` for attic.duckdns.org", "/etc/hearth/secrets/domain.token"] {
        assert!(refused.contains(words), "{refused}");
    }
    let unknown = told(Verdict::Unknown("its name could not be looked up".to_owned()));
    assert!(unknown.contains("could not be checked (its name could not be looked up)"), "{unknown}");
}

#[test]
fn rules_that_shut_everybody_out_are_taken_back() {
    let faults = [
        (Rules::ShutOut, "nobody could come to port 22", 2),
        (Rules::Refused, "could not be loaded (syntax error)", 1),
    ];
    for (rules, words, loaded) in faults {
        let mut fake = machine(ANSWERS);
        fake.rules = rules;
        until_sealed(&mut fake);
        let report = String::from_utf8(fake.durable.hearth["hearth-report.txt"].clone()).unwrap();
        assert!(report.replace("\r\n ", "").contains(words), "{report}");
        for file in crate::render::firewall::of_image() {
            assert_eq!(fake.durable.placed.get(&file.path), Some(&file));
        }
        assert_eq!(fake.refreshed.iter().filter(|part| **part == Refresh::Firewall).count(), loaded);
    }
}

/// The same machine, known to run Hearth's image.
fn of_the_image(mut fake: Fake) -> Fake {
    let image = File::public(crate::facts::IMAGE_FILE, "{}");
    fake.now.placed.insert(image.path.clone(), image);
    fake
}

#[test]
fn a_dry_run_tells_the_plan_and_has_no_effect() {
    let mut fake = of_the_image(machine(ANSWERS));
    let lines = dry_run::tell(&fake, None).unwrap();
    for words in
        ["set up this machine as \"attic\"", "ERASED: all", "1 disk is ERASED.", "/dev/nvme0n1p3: nothing was changed."]
    {
        assert!(lines.iter().any(|line| line.contains(words)), "{words} is not in {lines:#?}");
    }
    assert!(lines.iter().all(|line| line.len() <= WIDTH && !line.contains(TOKEN)), "{lines:#?}");
    assert_eq!((fake.effects, fake.said.len()), (0, 0));
    // The same for a file that lies elsewhere.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    std::fs::write(&file, ANSWERS).unwrap();
    fake.now.hearth.clear();
    let again = dry_run::tell(&fake, Some(&file)).unwrap();
    assert_eq!(again.iter().zip(&lines).filter(|(one, other)| one != other).count(), 1, "{again:#?}");
}

#[test]
fn a_dry_run_that_would_not_go_on_ends_as_setup_would() {
    let said = |fake: Fake| {
        let error = dry_run::tell(&of_the_image(fake), None).unwrap_err();
        (crate::exit::code_of(&error), format!("{error:#}"))
    };
    let is = |(code, text): (u8, String), exit: Exit, words: &str| {
        assert!(code == exit.code() && text.contains(words), "{code}: {text}");
    };
    is(said(machine(&ANSWERS.replace("ata-BLANK_1", "ata-PHOTOS_1"))), Exit::Refused, "[not-listed]");
    is(said(machine("version = 1")), Exit::Input, "errors in hearth.toml");
    is(said(Fake::new(64)), Exit::Input, "no answer file");
    let mut sealed = machine(ANSWERS);
    until_sealed(&mut sealed);
    is(said(sealed), Exit::Refused, "is set up");
    let desk = dry_run::tell(&machine(ANSWERS), None).unwrap_err();
    is((crate::exit::code_of(&desk), desk.to_string()), Exit::Refused, "hearth answers check FILE");
}
