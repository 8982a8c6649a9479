//! Setting up on another disk than the one Hearth was started from. That disk gets a copy of
//! Hearth with the approved plan and the answers in it, all of it there before it can start.
//! Then the firmware is told to start it, and the stick keeps a note instead of the answers:
//! a machine that is started from it once more waits, and says where it went.

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::approved::{Approved, SETUP_FILE};
use super::plan::{Planned, Route, SetupPlan};
use super::roles::state;
use super::source::{self, Found};
use super::{now, steps};
use crate::adopt::plan::{AdoptPlan, Target};
use crate::adopt::{self, By};
use crate::answers::FILE_NAME;
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::facts::{Disk, Facts, Firmware};
use crate::flash::hearth_files::HearthFile;
use crate::flash::medium_source::Own;
use crate::flash::{edges, protected};
use crate::layout::{PLAN_FILE, Part};
use crate::machine::table::Table;
use crate::machine::{Dev, Machine, SystemCopy};
use crate::page::text::wrap;
use crate::render::File;
use crate::render::report::{FILE_NAME as REPORT, Moved as Told, Outcome, Report};

/// What is left on HEARTH of the stick.
const NOTE: &str = "hearth.moved";

/// Where setup goes on, for the page.
pub const MOVED: &str = "/run/hearth/setup-moved";

/// The version of [`Moved`].
const FORMAT: u32 = 1;

/// The note. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Moved {
    /// [`FORMAT`].
    format: u32,
    /// The disk that Hearth was written to.
    disk: Target,
    /// Of the answers that were followed.
    answers: Digest,
    /// Of the plan that was approved.
    plan: Digest,
}

/// The note of the disk that Hearth was started from, if the disk it tells of is there with
/// Hearth on it, and nobody has brought other answers since.
pub(super) fn noted(machine: &impl Machine, facts: &Facts, found: Option<&Found>) -> Option<Moved> {
    let moved = read(machine, &Dev::hearth(&facts.boot_disk()?.name))?;
    let is_there = facts.disks.iter().any(|disk| moved.disk.is(disk) && disk.has_hearth() && !disk.boot_medium);
    let same = found.is_none_or(|found| Digest::of(&*found.bytes) == moved.answers);
    (is_there && same).then_some(moved)
}

/// The note on `dev`. What cannot be read as one is none: it only spares people a question.
fn read(machine: &impl Machine, dev: &Dev) -> Option<Moved> {
    let bytes = machine.hearth_file(dev, NOTE).ok()??;
    serde_json::from_slice(&bytes).ok().filter(|moved: &Moved| moved.format == FORMAT)
}

/// Leaves the note of `plan` on `dev`.
pub(super) fn note(machine: &mut impl Machine, plan: &SetupPlan, answers: Digest, dev: &Dev) -> Result<()> {
    let moved = Moved { format: FORMAT, disk: plan.system.disk.clone(), answers, plan: plan.digest() };
    let bytes = serde_json::to_vec_pretty(&moved).context("writing the note for the stick")?;
    machine.put_hearth_file(dev, NOTE, &bytes)
}

/// Where the note of `plan` lies, besides the disk whose HEARTH is `own`.
pub(super) fn sticks(machine: &impl Machine, plan: Digest, own: &Dev) -> Result<Vec<Dev>> {
    let mut devs = source::candidates(&machine.facts()?);
    devs.retain(|dev| dev != own && read(machine, dev).is_some_and(|moved| moved.plan == plan));
    Ok(devs)
}

/// Waits, because the setup went on elsewhere. What a power cut left of the answers is taken off.
pub(super) fn wait(machine: &mut impl Machine, facts: &Facts, moved: &Moved, found: Option<&Found>) -> Result<()> {
    if let Some(found) = found {
        scrub(machine, facts, &moved.disk, found);
    }
    tell_where(machine, &moved.disk)
}

/// A setup for these answers that is complete on another disk, which has not begun with it.
pub(super) fn written(machine: &impl Machine, facts: &Facts, found: &Found) -> Result<Option<SetupPlan>> {
    for hearth in source::candidates(facts) {
        let disk = facts.disks.iter().find(|disk| disk.name == hearth.disk && !disk.boot_medium);
        let Some(disk) = disk else { continue };
        let (Some(setup), Some(_)) =
            (machine.hearth_file(&hearth, SETUP_FILE)?, machine.hearth_file(&hearth, PLAN_FILE)?)
        else {
            continue;
        };
        let Ok(approved) = Approved::from_bytes(&setup) else { continue };
        let system = &approved.plan.system;
        if system.route == Route::Write && system.disk.is(disk) && approved.answers == Digest::of(&*found.bytes) {
            return Ok(Some(approved.plan));
        }
    }
    Ok(None)
}

/// Writes Hearth to the planned disk, with all that it needs to go on there.
pub(super) fn write(machine: &mut impl Machine, seen: &Facts, found: &Found, planned: Planned) -> Result<()> {
    let Planned { plan, adopt } = planned;
    // Looking over the disks takes a while, and one may have been put to use meanwhile.
    let facts = &machine.facts()?;
    let boot = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let target = disk_of(facts, &plan.system.disk)?;
    let why = protected(&facts.disks, target).first().map(ToString::to_string);
    let changed = state(target) != state(disk_of(seen, &plan.system.disk)?);
    let why = why.or_else(|| changed.then(|| format!("{} is not as it was when the plan was made.", target.path)));
    if let Some(why) = why {
        return Err(anyhow!("{why} Nothing was written to it")).kind(Exit::Refused);
    }
    let before = adopt.before.clone();
    let own = own(&plan, adopt, found)?;
    let words = format!("Hearth is being written to {}. It can take some minutes.", plan.system.disk.told());
    page_says(machine, &words)?;
    machine.say(&format!("Hearth: writing to {} ...", target.name));
    machine.copy_system(&SystemCopy { from: boot, to: target, own })?;
    let table = Table::read(machine, &target.name, target.size, target.logical_sector)?;
    ensure!(table == before, "{} does not have the partitions that were planned", target.path);
    finish(machine, found, &plan, true)
}

fn own(plan: &SetupPlan, adopt: AdoptPlan, found: &Found) -> Result<Own> {
    let later = adopt.table.entries.iter().filter(|entry| entry.number > Part::RootA.number());
    let sector = adopt.table.sector_size;
    let cleared = later.flat_map(|entry| edges(entry.offset(sector), entry.size(sector))).collect();
    let (table, hearth) = (adopt.install, adopt.ids.hearth);
    let approved = Approved::new(plan.clone(), &found.bytes, By::AnswerFile);
    let files = vec![
        HearthFile::new(FILE_NAME, found.bytes.to_vec()),
        HearthFile::new(SETUP_FILE, approved.to_bytes()?),
        HearthFile::new(PLAN_FILE, adopt::approved(adopt, By::AnswerFile)?),
    ];
    Ok(Own { table, hearth, files, cleared })
}

/// Everything that follows once Hearth is on the disk: the firmware, the stick, the restart. With
/// `fresh` it was written in this start. A stick that cannot hold the note must not restart the
/// machine again and again: then people are told.
pub(super) fn finish(machine: &mut impl Machine, found: &Found, plan: &SetupPlan, fresh: bool) -> Result<()> {
    let facts = machine.facts()?;
    let boot = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let stick = Dev::hearth(&boot.name);
    let disk = disk_of(&facts, &plan.system.disk)?;
    let notes = tell_firmware(machine, &facts, disk);
    for note in &notes {
        warn(machine, note);
    }
    let report = report(plan, &notes);
    let beside = found.on.iter().filter(|dev| **dev != stick);
    for dev in std::iter::once(&stick).chain(beside) {
        if let Err(error) = machine.put_hearth_file(dev, REPORT, report.as_bytes()) {
            warn(machine, &format!("no report could be written to {} ({error:#})", dev.path()));
        }
    }
    let left = note(machine, plan, Digest::of(&*found.bytes), &stick);
    scrub(machine, &facts, &plan.system.disk, found);
    if let Err(error) = &left {
        warn(machine, &format!("{} takes no note ({error:#}): remove it before the next start", stick.path()));
    }
    if fresh || left.is_ok() {
        machine.say("Hearth: restarting. Setting up goes on from the new disk.");
        return machine.restart();
    }
    tell_where(machine, &plan.system.disk)
}

/// Has the firmware start the disk first; what people must know or do about it.
pub(crate) fn tell_firmware(machine: &mut impl Machine, facts: &Facts, disk: &Disk) -> Vec<String> {
    let by_hand = format!("have it start from {} ({})", disk.name, Target::of(disk).told());
    if facts.firmware == Firmware::Bios {
        return vec![format!(
            "this machine was started by BIOS, whose order only a person can change: in its setup, {by_hand}, or remove \
             the stick"
        )];
    }
    let esp = Dev::part(&disk.name, Part::Esp.number());
    let told = Table::read(machine, &disk.name, disk.size, disk.logical_sector).and_then(|table| {
        let id = table.part(Part::Esp).context("there is no EFI system partition")?.id;
        machine.start_first(&esp, id)
    });
    match told {
        Ok(()) => Vec::new(),
        Err(error) => vec![format!("the firmware took no entry for the disk ({error:#}): in its menu, {by_hand}")],
    }
}

fn report(plan: &SetupPlan, notes: &[String]) -> String {
    let hostname = plan.answers.pointer("/system/hostname").and_then(|name| name.as_str()).unwrap_or_default();
    let disk = plan.system.disk.told();
    let outcome = Outcome::Moved(Told { hostname, disk: &disk, notes });
    Report { version: &plan.hearth, when: &now(), outcome }.text()
}

/// Takes the answers off every stick; the new disk keeps them until it has taken them over.
fn scrub(machine: &mut impl Machine, facts: &Facts, system: &Target, found: &Found) {
    let (text, when) = (String::from_utf8_lossy(&found.bytes), now());
    let text = zeroize::Zeroizing::new(text.into_owned());
    let wanted = Digest::of(&*found.bytes);
    let is_new = |dev: &Dev| facts.disks.iter().any(|disk| disk.name == dev.disk && system.is(disk));
    for dev in source::candidates(facts).into_iter().filter(|dev| !is_new(dev)) {
        let Ok(Some((name, bytes))) = machine.answer_file(&dev) else { continue };
        if Digest::of(&*bytes) != wanted {
            continue;
        }
        let day = when.split(' ').next().unwrap_or_default();
        if let Err(error) = steps::take_off(machine, &text, day, &dev, &name) {
            let place = dev.path();
            let what = format!(
                "{name} on {place} could not be overwritten ({error:#}): change every password and token in it"
            );
            warn(machine, &what);
        }
    }
}

fn disk_of<'a>(facts: &'a Facts, target: &Target) -> Result<&'a Disk> {
    let disk = facts.disks.iter().find(|disk| target.is(disk));
    disk.with_context(|| format!("the disk {} is gone", target.told())).kind(Exit::Environment)
}

fn warn(machine: &mut impl Machine, text: &str) {
    for line in wrap("Hearth: WARNING: ", text) {
        machine.say(&line);
    }
}

fn tell_where(machine: &mut impl Machine, disk: &Target) -> Result<()> {
    let text = format!(
        "started from the stick again: remove it, or choose {} in the firmware's menu, and restart. This machine goes on \
         from that disk; nothing is done here.",
        disk.told()
    );
    for line in wrap("Hearth: ", &text) {
        machine.say(&line);
    }
    page_says(machine, &text)
}

fn page_says(machine: &mut impl Machine, text: &str) -> Result<()> {
    machine.put_file(&File::public(MOVED, text))
}
