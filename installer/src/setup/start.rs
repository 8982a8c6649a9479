//! Starting the arrays and volumes that were adopted. Each is looked at twice: before it is started it
//! must be what was planned, and what then shows on it must be the file system that was planned. Only
//! after that may anything be written to its disks.

use anyhow::{Context as _, Result, anyhow, ensure};

use super::apply::{Job, changed};
use super::roles::{RoleDisk, What, label, places};
use super::volumes::{VolumeTarget, state};
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::facts::VolumeKind;
use crate::machine::{Machine, Refresh};
use crate::render::File;
use crate::units::Bytes;

/// Where mdadm reads which arrays start by themselves.
const ARRAYS: &str = "/etc/mdadm/mdadm.conf.d/hearth.conf";

/// Reads an array once a month, so that a sector that went bad is found while another disk has it.
const CARE: &str = "mdcheck_start.timer";

/// A volume of the plan.
struct Planned<'a> {
    volume: &'a VolumeTarget,
    state: Digest,
    file_system: &'a str,
    id: &'a str,
    /// What an array is called here.
    label: String,
}

/// Starts every array and volume of the plan, now and at later starts.
pub(super) fn start(machine: &mut impl Machine, job: &Job) -> Result<()> {
    for role in &job.plan.roles {
        if let Some(planned) = planned(role) {
            look(machine, &planned).with_context(|| format!("starting the disks for {}", places(&role.roles)))?;
        }
    }
    // From here on a start assembles arrays, and writes to their disks: not before all were looked at.
    list(machine, job)?;
    for array in arrays(job) {
        machine.open_volume(&array.volume.dev(&array.label))?;
    }
    Ok(())
}

/// Has every later start put the arrays of the plan together, and look after them.
pub(super) fn list(machine: &mut impl Machine, job: &Job) -> Result<()> {
    let arrays = arrays(job);
    if arrays.is_empty() {
        return Ok(());
    }
    changed(machine, &[listed(&arrays)])?;
    machine.refresh(&Refresh::Enable(vec![CARE.to_owned()]))
}

fn arrays(job: &Job) -> Vec<Planned<'_>> {
    job.plan.roles.iter().filter_map(planned).filter(|planned| planned.volume.kind == VolumeKind::Md).collect()
}

fn planned(role: &RoleDisk) -> Option<Planned<'_>> {
    let What::Assemble { volume, state, file_system, id, .. } = &role.what else { return None };
    Some(Planned { volume, state: *state, file_system, id, label: label(&role.roles) })
}

/// Starts one, as far as that writes nothing to its disks, if it is what was planned.
fn look(machine: &mut impl Machine, planned: &Planned<'_>) -> Result<()> {
    let Planned { volume, file_system, id, label, .. } = planned;
    let facts = machine.facts()?;
    let now = volume.find(&facts).ok_or_else(|| anyhow!("{volume} is not there")).kind(Exit::Environment)?;
    if let Some(fault) = &now.fault {
        return Err(anyhow!("{volume} is not complete: {fault}")).kind(Exit::Refused);
    }
    if state(now, &facts.disks) != planned.state {
        let text = format!("{volume} is not as it was when the plan was approved. It was not started");
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    let dev = volume.dev(label);
    if !now.active {
        machine.start_volume(now, &dev)?;
    }
    let found = machine.probe(&dev, Bytes::ZERO, volume.size)?;
    let is_planned = |kind: &str, own: Option<&str>| kind == *file_system && own == Some(*id);
    ensure!(
        found.as_ref().is_some_and(|found| is_planned(&found.kind, found.id.as_deref())),
        "{volume} shows another file system than its disks did. Nothing was written to it"
    );
    Ok(())
}

/// The list for mdadm. It counts before `AUTO -all`, which keeps all other arrays as they are.
fn listed(arrays: &[Planned<'_>]) -> File {
    let lines: String = arrays
        .iter()
        .map(|array| format!("ARRAY /dev/{} UUID={}\n", array.volume.dev(&array.label).disk, array.volume.id))
        .collect();
    File::public(ARRAYS, format!("# Written by `hearth setup`: the arrays that were adopted.\n{lines}"))
}
