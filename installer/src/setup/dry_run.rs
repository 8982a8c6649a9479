//! The plan for this machine, told and not carried out. It is made in the way that setup
//! makes it, from a machine that can only be looked at.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use super::{planned, source, take};
use crate::answers::{self, Answers};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Facts, IMAGE_FILE};
use crate::machine::Machine;
use crate::machine::real::Real;
use crate::page::text::wrap;

/// The lines of the plan for the answer file at `file`, or for the one that setup would find.
/// What stands against it is an error, with the exit code that setup would end with.
pub fn dry_run(file: Option<&Path>) -> Result<Vec<String>> {
    tell(&Real, file)
}

pub(super) fn tell(machine: &impl Machine, file: Option<&Path>) -> Result<Vec<String>> {
    // Somebody at a desk wants to know whether a file is right; that is another command.
    if !machine.exists(IMAGE_FILE) {
        let text = "`hearth setup --dry-run` makes the plan for the machine it runs on, from its disks and network cards, \
                    and this one was not started from Hearth. Here, `hearth answers check FILE` tells whether a file is right";
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    if machine.exists(take::SEALED) {
        return Err(anyhow!("this machine is set up: answer files are not looked at any more")).kind(Exit::Refused);
    }
    let facts = machine.facts()?;
    let (place, answers) = read(machine, &facts, file)?;
    let mut lines = planned(machine, &facts, &answers)?.plan.lines(&facts);
    lines.extend(wrap("", &format!("A dry run with {place}: nothing was changed.")));
    Ok(lines)
}

/// The answers, and where they lie.
fn read(machine: &impl Machine, facts: &Facts, file: Option<&Path>) -> Result<(String, Answers)> {
    if let Some(path) = file {
        return Ok((path.display().to_string(), answers::load(path)?));
    }
    let found = source::find(machine, facts)?;
    let found = found.context("there is no answer file. Name one with --answers").kind(Exit::Input)?;
    Ok((found.place(), found.read()?))
}
