//! Running from this disk: the image, written to a disk as it is, becomes a machine of
//! its own on that disk.
//!
//! In setup mode a plan is made, shown and approved, and then lies on HEARTH. GRUB finds
//! it there and starts the disk for good, where [`apply`] carries it out, again and again
//! if need be, until the marker is set. Nothing but the plan is written before that start.

mod apply;
mod approve;
pub(crate) mod fat;
mod lock;
pub(crate) mod plan;
pub(crate) mod storage;
pub(crate) mod survey;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

#[cfg(test)]
pub(crate) use apply::resume as resume_on;
pub use plan::{AdoptPlan, Refusal};

use crate::approval::Token;
use crate::encryption::{self, Encryption};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Content, Disk, Facts, Mode, Partition};
use crate::layout::{ADOPTED, DATA_DIR, PLAN_FILE};
use crate::machine::real::{self, Real, say_failure};
use crate::machine::recording::Recording;
use crate::machine::{Dev, Machine};
use crate::page::text::wrap;
use crate::page::{DataState, Input, Situation, Talk};
use crate::repair;
use approve::Approved;
pub(crate) use approve::By;

/// What went wrong while the plan was carried out, for the page.
pub(crate) const FAILED: &str = "/run/hearth/adopt-failed";

/// The credential that approves without a person.
const CREDENTIAL: &str = "hearth.adopt";

/// How often somebody may mistype before the page comes back.
const TRIES: usize = 3;

/// What Hearth is doing on this machine.
pub fn situation(facts: &Facts) -> Situation {
    if facts.mode == Some(Mode::Setup) {
        return if repair::is_offered(&Real, facts) { Situation::Repairable } else { Situation::Setup };
    }
    if Path::new(ADOPTED).exists() {
        return Situation::Running(data_state(facts));
    }
    let why = fs::read_to_string(FAILED).unwrap_or_default();
    let why =
        if why.trim().is_empty() { "it was not started in setup mode, and no plan is approved" } else { why.trim() };
    Situation::Stopped(why.to_owned())
}

/// How `data` is, and if it is missing, why.
fn data_state(facts: &Facts) -> DataState {
    if Real.is_mounted(DATA_DIR).unwrap_or(false) {
        return DataState::Mounted;
    }
    if facts.mode == Some(Mode::Recovery) {
        return DataState::Missing("recovery was chosen at the start, and it leaves data alone".to_owned());
    }
    // What cannot be read is told as what follows from it: data is not mounted.
    if let Some(encryption) = encryption::locked(&Real).ok().flatten() {
        return locked_state(facts, encryption);
    }
    let unit = fs::read_to_string(format!("/etc/systemd/system/{}", storage::unit_name(DATA_DIR, "mount")));
    DataState::Missing(missing_because(facts, unit.ok().as_deref()))
}

/// Whether somebody can open `data`, or its disk is gone.
fn locked_state(facts: &Facts, encryption: Encryption) -> DataState {
    let id = encryption.luks.to_string();
    let parts = facts.disks.iter().flat_map(|disk| &disk.partitions);
    let mut contents = parts.filter_map(|part| part.content.as_ref());
    if contents.any(|content| content.id.as_ref() == Some(&id)) {
        DataState::Locked(encryption.typed())
    } else {
        DataState::Missing(encryption::absent(encryption))
    }
}

/// Why `data` is not mounted. `unit` is the text of its mount unit.
fn missing_because(facts: &Facts, unit: Option<&str>) -> String {
    let Some(id) = unit.and_then(storage::data_in) else {
        return "the unit that mounts it is gone from /etc/systemd/system".to_owned();
    };
    let is = |content: &Option<Content>| content.as_ref().is_some_and(|content| content.id.as_deref() == Some(id));
    // In a partition, or in the open container that lies in it.
    let in_part = |part: &Partition| is(&part.content) || part.holders.iter().any(|holder| is(&holder.content));
    let holds = |disk: &&Disk| disk.partitions.iter().any(in_part);
    match facts.disks.iter().find(holds) {
        Some(disk) => format!(
            "it is on {}, but it cannot be mounted. `journalctl -b -u {}` says more.",
            disk.name,
            storage::unit_name(DATA_DIR, "mount")
        ),
        None => format!("no disk holds the file system {id}. Is a disk unplugged, or damaged?"),
    }
}

/// Looks at the machine and plans; every refusal at once.
fn plan_for(machine: &impl Machine) -> Result<(Disk, AdoptPlan)> {
    let facts = machine.facts()?;
    let disk = facts.boot_disk().cloned();
    let survey = disk.as_ref().map(|disk| survey::survey(machine, disk)).transpose()?;
    match (plan::plan(&facts, survey.as_ref()), disk) {
        (Ok(plan), Some(disk)) => Ok((disk, plan)),
        (Ok(_), None) => Err(refused(&[Refusal::NoBootDisk])).kind(Exit::Refused),
        (Err(refusals), _) => Err(refused(&refusals)).kind(Exit::Refused),
    }
}

fn refused(refusals: &[Refusal]) -> anyhow::Error {
    let lines: Vec<String> = refusals.iter().map(|refusal| format!("[{}] {refusal}", refusal.code())).collect();
    anyhow!("Hearth cannot run from this disk. Nothing was changed.\n{}", lines.join("\n"))
}

/// Shows the plan to a person, asks for approval, and starts the machine again.
pub fn ask(talk: &mut impl Talk) -> Result<()> {
    let only = real::only_one()?;
    if only.is_none() {
        return talk.say("The other console is asking the same question right now. Answer it there.");
    }
    talk.say("Looking at this disk, and for old data in its free space ...")?;
    approve_and_start(talk, &mut Real)
}

fn approve_and_start(talk: &mut impl Talk, machine: &mut impl Machine) -> Result<()> {
    let (disk, plan) = plan_for(machine)?;
    talk.say("")?;
    talk.say_all(&plan.lines(&disk))?;
    let token = token_of(&plan);
    talk.say_all(&wrap("", &format!("{} Enter alone goes back.", token.question())))?;
    for _ in 0..TRIES {
        talk.ask("Approve: ")?;
        match talk.hear(None)? {
            Input::Line(typed) if token.accepts(&typed) => {
                talk.say("Approved. Writing the plan and restarting ...")?;
                hand_over(machine, &disk, plan, By::Console)?;
                // systemd ends this process in its own time; until then nothing more is offered.
                while talk.hear(None)? != Input::Closed {}
                return Ok(());
            }
            Input::Line(typed) if typed.is_empty() => return talk.say("Nothing was changed."),
            Input::Interrupted => return talk.say("Nothing was changed."),
            Input::Line(_) => {
                talk.say_all(&wrap("", &format!("These are not the last characters of the {}.", token.of)))?;
            }
            Input::Nothing | Input::Closed => return Ok(()),
        }
    }
    talk.say("Nothing was changed.")
}

/// What approves `plan`.
fn token_of(plan: &AdoptPlan) -> Token {
    let table = ("partition table id", plan.before.id.to_string());
    Token::for_disk(plan.disk.serial.as_deref(), plan.disk.wwn.as_deref(), table)
}

/// The approved plan as it lies on HEARTH, in [`PLAN_FILE`].
pub(crate) fn approved(plan: AdoptPlan, by: By) -> Result<Vec<u8>> {
    Approved::new(plan, by).to_bytes()
}

/// Leaves the approved plan on HEARTH and starts the machine again.
pub(crate) fn hand_over(machine: &mut impl Machine, disk: &Disk, plan: AdoptPlan, by: By) -> Result<()> {
    let bytes = approved(plan, by)?;
    machine
        .put_hearth_file(&Dev::hearth(&disk.name), PLAN_FILE, &bytes)
        .context("writing the approved plan to HEARTH")?;
    machine.restart()
}

/// Approves by the systemd credential instead of a person. A failure is said on every console.
pub fn unattended() -> Result<()> {
    let mut machine = Real;
    let done = credential().and_then(|typed| approve_by(&mut machine, &typed));
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: running from this disk by credential failed", error);
    }
    done
}

fn approve_by(machine: &mut impl Machine, typed: &str) -> Result<()> {
    let (disk, plan) = plan_for(machine)?;
    let token = token_of(&plan);
    if !token.accepts(typed) {
        let text = format!(
            "the credential {CREDENTIAL} does not hold the last characters of the {} of {}. Nothing was changed.",
            token.of, disk.name
        );
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    machine.say(&format!("Hearth: running from {} was approved by credential. Restarting to prepare it.", disk.name));
    hand_over(machine, &disk, plan, By::Credential)
}

fn credential() -> Result<String> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY")
        .context("systemd gave no credentials: this is for hearth-adopt-credential.service")
        .kind(Exit::Input)?;
    let path = Path::new(&dir).join(CREDENTIAL);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Carries out the approved plan, in the start that GRUB made for it. A failure is said on
/// every console and kept for the page; the start goes on without Docker.
pub fn resume() -> Result<()> {
    let mut machine = Real;
    // In any other start root is not what it seems: in setup mode it is a copy in memory.
    if machine.facts().is_ok_and(|facts| facts.mode != Some(Mode::Adopt)) {
        return Err(anyhow!("a plan is carried out only in the start that GRUB makes for it: restart"))
            .kind(Exit::Refused);
    }
    let done = apply::resume(&mut machine);
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: preparing this disk stopped", error);
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        // The page says less without it, and the consoles have been told.
        let _ = crate::durable::write(Path::new(FAILED), causes.join(": ").as_bytes());
    }
    done
}

/// Tells the plan and every effect it would have, and has none of them.
pub fn dry_run() -> Result<Vec<String>> {
    tell(&Real)
}

fn tell(machine: &impl Machine) -> Result<Vec<String>> {
    let mut record = Recording::new(machine);
    let (disk, plan) = plan_for(&record)?;
    let mut out = plan.lines(&disk);
    let token = token_of(&plan);
    hand_over(&mut record, &disk, plan, By::Console)?;
    apply::resume(&mut record)?;
    out.push(String::new());
    out.extend(wrap("", &format!("{} It is {}.", token.question(), token.whole)));
    out.push("A dry run: nothing is changed. These would be the effects:".to_owned());
    out.extend(record.effects.iter().flat_map(|effect| wrap("  - ", effect)));
    Ok(out)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::until_adopted;
