//! Starting over: a machine that is set up becomes one that is not, for whoever has it next or for its owner once
//! more. Everything of the owner on the system disk is erased, and root is put back to what the image brought
//! ([`crate::shipped`]); the role disks are kept, or erased as well.
//!
//! A plan is made, shown and approved, and then lies on root ([`RESET`]), where GRUB looks before all else. From there
//! on there is no way back: every start leads into [`apply`], with nothing of `data` mounted and nothing else
//! running, until all is done. Then the note goes, and with it the last that tells this machine from a fresh one.

mod apply;
mod approve;
mod lines;
mod plan;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::audit;
use crate::exit::{Exit, Kind as _, require_root};
use crate::facts::{Facts, Mode};
use crate::layout::{ADOPTED, DATA_DIR, RESET};
use crate::machine::Machine;
use crate::machine::real::{Real, say_failure};
use crate::machine::recording::Recording;
use crate::machine::table::Table;
use crate::page::text::wrap;
use crate::page::{Console, Talk};
use crate::render::{File, Owner};
use crate::setup::{self, SEALED};
use crate::shipped::KEPT;
use approve::Approved;
pub use plan::{Refusal, Scope};
use plan::{ResetPlan, Seen};

/// Where the machine's name lies.
const HOSTNAME: &str = "/etc/hostname";

/// Asks somebody on this terminal for approval, leaves the note, and starts again.
pub fn run(scope: Scope) -> Result<()> {
    require_root()?;
    let mut console = Console::open()?;
    begin(&mut console, &mut Real, scope, audit::note)
}

/// Tells the plan and every effect it would have, and has none of them.
pub fn dry_run(scope: Scope) -> Result<Vec<String>> {
    require_root()?;
    tell(&Real, scope)
}

/// Carries out what was approved, in the start that GRUB makes for it. A failure is said on every console.
pub fn resume() -> Result<()> {
    let mut machine = Real;
    let done = go_on(&mut machine, &setup::now());
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: starting over stopped", error);
        machine.say("Hearth: the next start goes on where it stopped (Ctrl-Alt-Del).");
    }
    done
}

fn begin(
    talk: &mut impl Talk,
    machine: &mut impl Machine,
    scope: Scope,
    note: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let (facts, plan) = plan_for(machine, scope)?;
    talk.say_all(&plan.lines(&facts))?;
    talk.say("")?;
    approve::ask(talk, &plan)?;
    note(&format!("approved a reset of {} ({})", plan.hostname, scope.word()))?;
    talk.say("Approved. From here on there is no way back. Restarting ...")?;
    hand_over(machine, plan)
}

/// Looks at the machine and plans; every refusal at once.
fn plan_for(machine: &impl Machine, scope: Scope) -> Result<(Facts, ResetPlan)> {
    let facts = machine.facts()?;
    let seen = look(machine, &facts)?;
    match plan::plan(&facts, &seen, scope) {
        Ok(plan) => Ok((facts, plan)),
        Err(refusals) => {
            let told: Vec<String> = refusals.iter().map(|why| format!("[{}] {why}", why.code())).collect();
            Err(anyhow!("this machine is not reset. Nothing was changed.\n{}", told.join("\n"))).kind(Exit::Refused)
        }
    }
}

/// What is read from the machine before it is planned for.
fn look(machine: &impl Machine, facts: &Facts) -> Result<Seen> {
    let setup = setup::approved_plan(machine)?;
    let table = facts.boot_disk().map(|disk| Table::read(machine, &disk.name, disk.size, disk.logical_sector));
    let hostname = machine.read_file(HOSTNAME)?.unwrap_or_default();
    let kit = setup.as_ref().and_then(|setup| setup.kit());
    Ok(Seen {
        adopted: machine.exists(ADOPTED),
        sealed: machine.exists(SEALED),
        under_way: machine.exists(RESET),
        kept: machine.exists(KEPT),
        hostname: String::from_utf8_lossy(&hostname).trim().to_owned(),
        table: table.transpose().map_err(|error| format!("{error:#}")),
        kit_is_there: kit.is_some_and(|kit| machine.exists(kit)),
        setup,
    })
}

/// Leaves the note and starts the machine again.
fn hand_over(machine: &mut impl Machine, plan: ResetPlan) -> Result<()> {
    let bytes = Approved::new(plan).to_bytes()?;
    machine.put_file(&File::new(RESET, 0o600, Owner::ROOT, bytes)).context("writing the approved reset")?;
    // GRUB replays no journal: to it the note exists once the journal is written back.
    machine.settle("/")?;
    machine.restart()
}

fn go_on(machine: &mut impl Machine, now: &str) -> Result<()> {
    let mode = machine.facts()?.mode;
    if matches!(mode, Some(Mode::Setup | Mode::Recovery)) {
        return Err(anyhow!("a reset is carried out in the start that GRUB makes for it: restart")).kind(Exit::Refused);
    }
    match (mode, machine.read_file(RESET)?) {
        (Some(Mode::Reset), Some(bytes)) => {
            // Nothing mounts it in this start, so somebody is at work here.
            ensure!(!machine.is_mounted(DATA_DIR)?, "{DATA_DIR} is mounted. Nothing was erased");
            apply::run(machine, &Approved::from_bytes(&bytes)?.plan, now)
        }
        (Some(Mode::Reset), None) => {
            machine.say("Hearth: all of the reset is done. Restarting into setup mode.");
            machine.settle("/")?;
            machine.restart()
        }
        // The power went after the note was written, and before GRUB could see it.
        (_, Some(_)) => {
            machine.say("Hearth: a reset was approved. Restarting to carry it out.");
            machine.settle("/")?;
            machine.restart()
        }
        (_, None) => Ok(()),
    }
}

fn tell(machine: &impl Machine, scope: Scope) -> Result<Vec<String>> {
    let mut record = Recording::new(machine);
    let (facts, plan) = plan_for(&record, scope)?;
    let mut out = plan.lines(&facts);
    let tokens = approve::tokens(&plan);
    hand_over(&mut record, plan.clone())?;
    apply::run(&mut record, &plan, "YYYY-MM-DD HH:MM UTC")?;
    out.push(String::new());
    out.extend(tokens.iter().flat_map(|token| wrap("", &token.question())));
    out.push("A dry run: nothing is changed. These would be the effects:".to_owned());
    out.extend(record.effects.iter().flat_map(|effect| wrap("  - ", effect)));
    Ok(out)
}

#[cfg(test)]
mod tests;
