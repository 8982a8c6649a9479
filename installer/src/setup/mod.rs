//! Setting a machine up: facts and answers become a plan, the plan is approved, and what
//! was approved is carried out, however often the power goes in between.
//!
//! In setup mode [`unattended`] finds an answer file, plans, and hands over: the approved
//! plan and the answers lie on HEARTH of the disk that Hearth will run from. That disk is
//! then started for good. Adoption prepares it and takes both over ([`take`]), and
//! [`resume`] carries out the rest, at every start until the machine is sealed.

mod apply;
mod approved;
mod disks;
mod dry_run;
mod journal;
mod mounts;
pub mod plan;
pub mod refusal;
mod remains;
pub mod roles;
pub mod source;
mod steps;
pub(crate) mod take;

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow};

use crate::adopt::{self, By, survey};
use crate::answers::{Answers, FILE_NAME};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Facts, Mode};
use crate::flash::installed;
use crate::machine::real::{Real, say_failure};
use crate::machine::{Dev, Machine};
use crate::page::text::wrap;
use crate::render::File;
use crate::render::report::{FILE_NAME as REPORT, Failure, Outcome, Report};
use approved::{Approved, SETUP_FILE};
pub use dry_run::dry_run;
use plan::{Planned, Route, Surveys};
pub use remains::{Remains, roles_of};
use source::Found;
pub(crate) use take::SEALED;

/// Why an answer file was not followed, for the page.
pub const FAILED: &str = "/run/hearth/setup-failed";

/// Looks for an answer file in setup mode and follows it. None is no failure: then people are
/// asked. A refusal is told on every console and beside the answer file.
pub fn unattended() -> Result<()> {
    begin(&mut Real)
}

fn begin(machine: &mut impl Machine) -> Result<()> {
    if machine.exists(take::SEALED) {
        return Ok(());
    }
    let facts = machine.facts()?;
    let found = match source::find(machine, &facts) {
        Ok(None) => return Ok(()),
        Ok(Some(found)) => found,
        Err(error) => {
            say_failure(machine, "Hearth: the answer file was not followed", &error);
            keep_failure(machine, &error);
            return Err(error);
        }
    };
    let done = follow(machine, &facts, &found);
    if let Err(error) = &done {
        say_failure(machine, "Hearth: the answer file was not followed. No disk was changed", error);
        keep_failure(machine, error);
        report_failure(machine, &found, error);
    }
    done
}

/// Plans for what was found, and hands over.
fn follow(machine: &mut impl Machine, facts: &Facts, found: &Found) -> Result<()> {
    machine.say(&format!("Hearth: {} was found. Looking at the disks ...", found.place()));
    let answers = found.read()?;
    let planned = planned(machine, facts, &answers)?;
    stay(machine, facts, found, planned)
}

/// The plan for these answers, or everything that stands against it.
pub(crate) fn planned(machine: &impl Machine, facts: &Facts, answers: &Answers) -> Result<Planned> {
    let surveys = surveys(machine, facts)?;
    let planned = plan::plan(facts, answers, &surveys).map_err(|refusals| anyhow!(refusal::all(&refusals)));
    let planned = planned.kind(Exit::Refused)?;
    match planned.plan.system.route {
        Route::Stay => Ok(planned),
        Route::Write => {
            let refusal = refusal::Refusal::NotYet {
                key: "system.disk".to_owned(),
                why: "this version cannot write Hearth to another disk by itself. Write the image to that disk with `hearth-image flash`, start from it, and say disk = \"this\".".to_owned(),
            };
            Err(anyhow!(refusal::all(&[refusal]))).kind(Exit::Refused)
        }
    }
}

/// What has to be read from the disks themselves.
fn surveys(machine: &impl Machine, facts: &Facts) -> Result<Surveys> {
    let boot = facts.boot_disk().map(|disk| survey::survey(machine, disk)).transpose()?;
    let others = facts.disks.iter().filter(|disk| !disk.boot_medium);
    let installed = others.filter_map(|disk| Some((disk.name.clone(), installed::find(disk)?))).collect();
    Ok(Surveys { boot, installed })
}

/// Tells the plan that an answer file approves, and hands over.
fn stay(machine: &mut impl Machine, facts: &Facts, found: &Found, planned: Planned) -> Result<()> {
    for line in planned.plan.lines(facts) {
        machine.say(&line);
    }
    for line in wrap("Hearth: ", &format!("the plan is approved by {}. Restarting to carry it out.", found.place())) {
        machine.say(&line);
    }
    hand_over(machine, facts, &found.bytes, planned, By::AnswerFile)
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
    let adopt = planned.adopt.context("a plan for this disk without the way to adopt it")?;
    let approved = Approved::new(planned.plan, answers, by);
    let lies_there = machine.answer_file(&hearth)?.is_some_and(|(_, bytes)| *bytes == answers);
    if !lies_there {
        machine.put_hearth_file(&hearth, FILE_NAME, answers).context("writing the answers to HEARTH")?;
    }
    machine
        .put_hearth_file(&hearth, SETUP_FILE, &approved.to_bytes()?)
        .context("writing the approved plan to HEARTH")?;
    adopt::hand_over(machine, disk, adopt, by)
}

fn keep_failure(machine: &mut impl Machine, error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // The page says less without it, and the consoles have been told.
    let _ = machine.put_file(&File::public(FAILED, causes.join("\n")));
}

/// Writes down beside the answer file why it was not followed. Where that cannot be done the
/// consoles have been told.
fn report_failure(machine: &mut impl Machine, found: &Found, error: &anyhow::Error) {
    let Some(dev) = &found.on else { return };
    let why: Vec<String> =
        error.chain().flat_map(|cause| cause.to_string().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let what = format!("{} was not followed. No disk was changed.", found.name);
    let outcome =
        Outcome::Failure(Failure { what: &what, why: &why, advice: "correct the file, and start the machine again" });
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
fn now() -> String {
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    format!("{} UTC", text[..16].replace('T', " "))
}

#[cfg(test)]
pub(crate) mod tests;
