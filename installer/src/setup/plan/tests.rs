use super::*;
use crate::adopt::survey::survey;
use crate::answers::{self, Problems};
use crate::facts::zoo;
use crate::layout::Part;
use crate::machine::fake::{Fake, image_table};
use crate::units::SectorSize;
use uuid::Uuid;

/// What would be read from the disks of a zoo machine.
pub(crate) fn surveys(facts: &Facts) -> Surveys {
    let table = Ok(image_table(SectorSize(512)));
    let boot = facts.boot_disk().map(|_| Survey { table, leftovers: Vec::new(), drawn: Uuid::from_u128(7) });
    let set_up = |disk: &&Disk| disk.partitions.iter().any(|part| part.name.as_deref() == Some(Part::Data.name()));
    let installed = |disk: &Disk| {
        let found = Installed { name: "attic".to_owned(), last_used: "2026-10-03".to_owned() };
        (disk.name.clone(), found)
    };
    let hearths = facts.disks.iter().filter(|disk| disk.has_hearth()).filter(set_up);
    Surveys { boot, installed: hearths.map(installed).collect(), no_copy: None }
}

fn answers(text: &str) -> Answers {
    answers_of(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Answers with `text` between what every file has.
pub(super) fn answers_of(text: &str) -> Result<Answers, Problems> {
    let rest = "version = 1\nrecovery-kit = \"declined\"\n";
    let admin = "\n[admin]\nlogin = \"ada\"\nssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh a@b\"]\npassword-hash = \"$y$j9T$qFUEwDxI6IAferEE/yree0$TMfsy3pMeUifHB6Zi/Z4NPtxBBE32WHxPxUW0gHcmx7\"\n";
    answers::read(&format!("{rest}{text}{admin}"), "hearth.toml")
}

fn codes(found: Result<Planned, Vec<Refusal>>) -> Vec<&'static str> {
    found.err().unwrap_or_default().iter().map(Refusal::code).collect()
}

const NVME: &str = "nvme-Samsung_SSD_970_EVO_Plus_1TB_S4EWNX0N123456";

#[test]
fn staying_plans_what_adoption_plans() {
    let fake = Fake::new(64);
    let facts = crate::machine::Machine::facts(&fake).unwrap();
    let boot = survey(&fake, &fake.disk()).unwrap();
    let surveys = Surveys { boot: Some(boot), ..Surveys::default() };
    let planned = plan(&facts, &answers("[system]\ndisk = \"this\"\nhostname = \"hearth\"\n"), &surveys).unwrap();
    assert_eq!(planned.plan.system.route, Route::Stay);
    assert_eq!(planned.adopt, fake.plan());
    assert_eq!(planned.plan.install, fake.plan().install);
    assert_eq!(planned.plan.roles.len(), 1, "three folders on data: {:?}", planned.plan.roles);
}

#[test]
fn a_stick_goes_to_the_disk_that_is_listed() {
    let facts = zoo::facts("mini-pc");
    let text =
        format!("erase = [\"{NVME}\"]\n[system]\ndisk = {{ serial = \"S4EWNX0N123456\" }}\nhostname = \"hearth\"\n");
    let planned = plan(&facts, &answers(&text), &surveys(&facts))
        .unwrap_or_else(|why| panic!("{}", super::super::refusal::all(&why)));
    assert_eq!((planned.plan.system.route, planned.plan.system.disk.name.as_str()), (Route::Write, "nvme0n1"));
    let adopt = &planned.adopt;
    assert_eq!((&adopt.disk, adopt.install), (&planned.plan.system.disk, planned.plan.install));
    let image = image_table(SectorSize(512));
    for (now, then) in adopt.before.entries.iter().zip(&adopt.table.entries) {
        assert_eq!((now.id, &now.name, now.start), (then.id, &then.name, then.start), "the firmware's entry names it");
        assert!(image.entries.iter().all(|entry| entry.id != now.id), "the stick has the same {}", now.name);
    }
    let again = plan(&facts, &answers(&text), &surveys(&facts)).unwrap();
    assert_eq!(again.plan.digest(), planned.plan.digest());
}

#[test]
fn every_refusal_is_told_at_once() {
    let mut facts = zoo::facts("mini-pc");
    facts.mode = Some(Mode::Normal);
    let text = "erase = [\"usb-Kingston_1\"]\n[system]\ndisk = { serial = \"S4EWNX0N123456\" }\nhostname = \"hearth\"\n[[network.wired]]\nmac = \"02:00:00:00:00:99\"\n";
    let found = codes(plan(&facts, &answers(text), &surveys(&facts)));
    assert_eq!(found, ["not-setup", "not-listed", "listed-in-vain", "no-such-card"]);
}

#[test]
fn what_is_there_is_adopted_or_refused_by_name() {
    let facts = zoo::facts("nas");
    let text = |serial: &str, prepare: &str| {
        format!(
            "[system]\ndisk = \"this\"\nhostname = \"hearth\"\n[[disks]]\nroles = [\"media\"]\ndisk = {{ serial = \"{serial}\" }}\nprepare = \"{prepare}\"\n"
        )
    };
    let refused = |serial: &str, prepare: &str| {
        let refusals = plan(&facts, &answers(&text(serial, prepare)), &surveys(&facts)).unwrap_err();
        super::super::refusal::all(&refusals)
    };
    assert!(refused("WD-WCC7K0AAAAAA", "adopt").contains("part of a RAID array"));
    assert!(refused("WSD0ABCD", "adopt").contains("part of a ZFS pool"));
    assert!(refused("WSD0ABCE", "adopt").contains("empty"));
}

#[test]
fn another_disk_changes_nothing_of_the_plan_but_the_disk() {
    let facts = zoo::facts("mini-pc");
    let planned = |erase: &str, disk: &str| {
        let text = format!("{erase}[system]\nhostname = \"hearth\"\ndisk = {disk}\n");
        let found = plan(&facts, &answers(&text), &surveys(&facts));
        serde_json::to_value(found.unwrap_or_else(|why| panic!("{}", super::super::refusal::all(&why))).plan).unwrap()
    };
    let mut here = planned("", "\"this\"");
    let mut there = planned(&format!("erase = [\"{NVME}\"]\n"), "{ serial = \"S4EWNX0N123456\" }");
    assert_ne!(here, there);
    for plan in [&mut here, &mut there] {
        let plan = plan.as_object_mut().unwrap();
        // The disk, the id that follows from it, and the answers that name it.
        plan.remove("system").unwrap();
        plan.remove("install").unwrap();
        let answers = plan["answers"].as_object_mut().unwrap();
        answers.remove("erase");
        answers["system"].as_object_mut().unwrap().remove("disk").unwrap();
    }
    assert_eq!(here, there);
}
