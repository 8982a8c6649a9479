//! Setting a machine up: facts and answers become a plan, the plan is approved, and what
//! was approved is carried out, however often the power goes in between.
//!
//! In setup mode [`unattended`] finds an answer file, plans, and hands over: the approved
//! plan and the answers lie on HEARTH of the disk that Hearth will run from, which is this
//! one or one that it is written to ([`moved`]). That disk is then started for good. Adoption prepares it and takes both over ([`take`]), and
//! [`resume`] carries out the rest, at every start until the machine is sealed.

pub(crate) mod again;
mod apply;
mod approved;
mod disks;
mod dry_run;
mod journal;
mod mounts;
mod moved;
pub mod plan;
mod progress;
pub mod refusal;
mod remains;
pub mod roles;
pub mod source;
mod start;
mod steps;
pub(crate) mod take;
pub mod volumes;

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow};

use crate::adopt::{self, By, survey};
use crate::answers::{Answers, DiskChoice, FILE_NAME};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Facts, Mode};
use crate::flash::installed;
use crate::machine::real::{Real, say_failure};
use crate::machine::{Dev, Machine};
use crate::page::text::{moment, wrap};
use crate::render::File;
use crate::render::report::{FILE_NAME as REPORT, Failure, Outcome, Report};
pub(crate) use approved::Approved;
use approved::SETUP_FILE;
pub use dry_run::dry_run;
pub(crate) use moved::{MOVED, tell_firmware};
use plan::{Planned, Route, SetupPlan, Surveys};
pub use progress::Progress;
pub use remains::{Remains, approved_plan, roles_of};
use source::Found;
pub(crate) use take::{APPROVED, SEALED};

/// Why an answer file was not followed, for the page.
pub const FAILED: &str = "/run/hearth/setup-failed";

/// Looks for an answer file in setup mode and follows it. None is no failure: then people are
/// asked. A refusal is told on every console and beside the answer file.
pub fn unattended() -> Result<()> {
    begin(&mut Real)
}

fn begin(machine: &mut impl Machine) -> Result<()> {
    if machine.exists(take::SEALED) {
        machine.say("Hearth: this machine is set up. Answer files are not looked at any more.");
        return Ok(());
    }
    let facts = machine.facts()?;
    let found = match source::find(machine, &facts) {
        Ok(found) => found,
        Err(error) => {
            say_failure(machine, "Hearth: the answer file was not followed", &error);
            keep_failure(machine, &error);
            return Err(error);
        }
    };
    if let Some(moved) = moved::noted(machine, &facts, found.as_ref()) {
        return moved::wait(machine, &facts, &moved, found.as_ref());
    }
    let Some(found) = found else { return Ok(()) };
    let (done, outcome) = match follow(machine, &facts, &found) {
        Ok(Next::Stay(planned)) => (hand_over(machine, &facts, &found.bytes, planned, By::AnswerFile), NOT_FOLLOWED),
        Ok(Next::Write(planned)) => (moved::write(machine, &facts, &found, planned), NOT_WRITTEN),
        Ok(Next::Written(plan)) => (moved::finish(machine, &found, &plan, false), NOT_WRITTEN),
        Err(error) => (Err(error), NOT_FOLLOWED),
    };
    if let Err(error) = &done {
        say_failure(machine, &format!("Hearth: {}", outcome.0), error);
        keep_failure(machine, error);
        report_failure(machine, &found, error, outcome);
    }
    done
}

/// What is said of a setup that ends in setup mode: what happened, and what to do.
type Ending = (&'static str, &'static str);

const NOT_FOLLOWED: Ending =
    ("the answer file was not followed. No disk was changed", "correct the file, and start the machine again");

const NOT_WRITTEN: Ending = (
    "Hearth could not be written to the disk that was approved for it",
    "see to the cause, and start the machine again: it goes on where it stopped",
);

/// What comes of an answer file.
enum Next {
    /// Hearth stays on the disk it was started from.
    Stay(Planned),
    /// It goes to another one.
    Write(Planned),
    /// It went there; the power went before the restart.
    Written(SetupPlan),
}

/// Plans for what was found, and shows the plan.
fn follow(machine: &mut impl Machine, facts: &Facts, found: &Found) -> Result<Next> {
    machine.say(&format!("Hearth: {} was found. Looking at the disks ...", found.place()));
    let answers = found.read()?;
    if let Some(plan) = moved::written(machine, facts, found)? {
        return Ok(Next::Written(plan));
    }
    let planned = planned(machine, facts, &answers)?;
    for line in planned.plan.lines(facts) {
        machine.say(&line);
    }
    let (next, then): (fn(Planned) -> Next, _) = match planned.plan.system.route {
        Route::Stay => (Next::Stay, "Restarting to carry it out."),
        Route::Write => (Next::Write, "Carrying it out."),
    };
    for line in wrap("Hearth: ", &format!("the plan is approved by {}. {then}", found.place())) {
        machine.say(&line);
    }
    Ok(next(planned))
}

/// The plan for these answers, or everything that stands against it.
pub(crate) fn planned(machine: &impl Machine, facts: &Facts, answers: &Answers) -> Result<Planned> {
    let surveys = surveys(machine, facts, answers)?;
    plan::plan(facts, answers, &surveys).map_err(|refusals| anyhow!(refusal::all(&refusals))).kind(Exit::Refused)
}

/// What has to be read from the disks themselves.
fn surveys(machine: &impl Machine, facts: &Facts, answers: &Answers) -> Result<Surveys> {
    let boot = facts.boot_disk().map(|disk| survey::survey(machine, disk)).transpose()?;
    let others = facts.disks.iter().filter(|disk| !disk.boot_medium);
    let installed = others.filter_map(|disk| Some((disk.name.clone(), installed::find(disk)?))).collect();
    let source = facts.boot_disk().filter(|_| matches!(answers.system.disk, DiskChoice::Selected(_)));
    let no_copy = source.and_then(|disk| machine.can_copy(disk).err()).map(|error| format!("{error:#}"));
    Ok(Surveys { boot, installed, no_copy })
}

/// Hands over what somebody approved at the end of the questions; `text` is their answer file.
pub(crate) fn approve(machine: &mut impl Machine, facts: &Facts, text: &str, planned: Planned) -> Result<()> {
    if let Some(disk) = facts.boot_disk() {
        let hearth = Dev::hearth(&disk.name);
        let other = machine.answer_file(&hearth)?.map(|(name, _)| name);
        // Of two answer files nobody could say which one counts.
        if let Some(name) = other.filter(|name| !name.eq_ignore_ascii_case(FILE_NAME)) {
            machine.scrub_hearth_file(&hearth, &name)?;
        }
    }
    hand_over(machine, facts, text.as_bytes(), planned, By::Console)
}

/// Leaves everything on this disk's HEARTH, what GRUB looks at last, and starts again.
fn hand_over(machine: &mut impl Machine, facts: &Facts, answers: &[u8], planned: Planned, by: By) -> Result<()> {
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let hearth = Dev::hearth(&disk.name);
    let approved = Approved::new(planned.plan, answers, by);
    let lies_there = machine.answer_file(&hearth)?.is_some_and(|(_, bytes)| *bytes == answers);
    if !lies_there {
        machine.put_hearth_file(&hearth, FILE_NAME, answers).context("writing the answers to HEARTH")?;
    }
    machine
        .put_hearth_file(&hearth, SETUP_FILE, &approved.to_bytes()?)
        .context("writing the approved plan to HEARTH")?;
    adopt::hand_over(machine, disk, planned.adopt, by)
}

fn keep_failure(machine: &mut impl Machine, error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // The page says less without it, and the consoles have been told.
    let _ = machine.put_file(&File::public(FAILED, causes.join("\n")));
}

/// Writes down beside the answer file why it was not followed. Where that cannot be done the
/// consoles have been told.
fn report_failure(machine: &mut impl Machine, found: &Found, error: &anyhow::Error, (what, advice): Ending) {
    let Some(dev) = &found.on else { return };
    let why: Vec<String> =
        error.chain().flat_map(|cause| cause.to_string().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let what = format!("{what}.");
    let outcome = Outcome::Failure(Failure { what: &what, why: &why, advice });
    let text = Report { version: env!("CARGO_PKG_VERSION"), when: &now(), outcome }.text();
    if let Err(failed) = machine.put_hearth_file(dev, REPORT, text.as_bytes()) {
        say_failure(machine, &format!("Hearth: {REPORT} could not be written"), &failed);
    }
}

/// Carries on with an approved setup on the disk that was prepared for it.
pub fn resume() -> Result<()> {
    let mut machine = Real;
    if machine.facts().is_ok_and(|facts| facts.mode == Some(Mode::Setup)) {
        return Err(anyhow!("a setup is carried out on the disk it was approved for, not in setup mode"))
            .kind(Exit::Refused);
    }
    let done = apply::resume(&mut machine, &now());
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: setting up stopped. The next start goes on where it stopped", error);
    }
    done
}

/// When this is, in UTC, as people write it.
pub(crate) fn now() -> String {
    moment(SystemTime::now())
}

#[cfg(test)]
pub(crate) mod tests;
