//! Carrying out what was planned for the role disks. A disk is only formatted if it is
//! still what it was when that was approved, or if an interrupted start began it.

use anyhow::{Context as _, Result, anyhow, ensure};

use super::apply::{Did, Job, changed};
use super::journal::Journal;
use super::mounts::{self, Seen, seen, starts};
use super::roles::{RoleDisk, What, label, state, word};
use crate::adopt::plan::Target;
use crate::bootchain::MBR_CODE;
use crate::exit::{Exit, Kind as _};
use crate::facts::Disk;
use crate::flash::{protected, traces};
use crate::layout::ALIGNMENT;
use crate::machine::{Dev, Machine, Refresh};
use crate::render::{File, Owner};
use crate::units::Bytes;

/// The step's word in the journal for one disk.
fn step_of(disk: &RoleDisk) -> String {
    label(&disk.roles)
}

/// Formats the disks that were approved for it.
pub(super) fn format<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<Did> {
    let mut did = Did::Nothing;
    for disk in &job.plan.roles {
        if let What::Erase { .. } = &disk.what {
            let step = step_of(disk);
            let whole = format_one(machine, disk, journal.is_done(&step))
                .with_context(|| format!("formatting the disk for {}", words(disk)))?;
            if whole == Did::Work {
                journal.note(machine, &step, super::journal::Event::Done, None)?;
                did = Did::Work;
            }
        }
    }
    Ok(did)
}

fn words(disk: &RoleDisk) -> String {
    disk.roles.iter().map(|role| word(*role)).collect::<Vec<_>>().join(" and ")
}

fn format_one(machine: &mut impl Machine, role: &RoleDisk, done: bool) -> Result<Did> {
    let What::Erase { disk: target, state: planned, table, file_system, id } = &role.what else {
        return Ok(Did::Nothing);
    };
    let disk = present(machine, target)?;
    let ours = table.is_on(machine, &disk.name, disk.size)?;
    let part = Dev::part(&disk.name, 1);
    if ours && done {
        return Ok(Did::Nothing);
    }
    let facts = machine.facts()?;
    if let Some(why) = protected(&facts.disks, &disk).first() {
        return Err(anyhow!("{why} Nothing was written to it.")).kind(Exit::Refused);
    }
    if !ours && state(&disk) != *planned && !half_written(machine, &disk)? {
        let text = format!("{} is not as it was when the plan was approved. Nothing was written to it", disk.path);
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    if !ours {
        let dev = Dev::disk(&disk.name);
        let zeros = vec![0; usize::try_from(ALIGNMENT.0)?];
        // The mark comes first, in the place of the former table: a disk that a power cut leaves
        // without a table is known by it as one that was approved.
        let mut first = zeros.clone();
        first[..MARK.len()].copy_from_slice(MARK);
        machine.write(&dev, Bytes::ZERO, &first)?;
        machine.flush(&dev)?;
        let end = disk.size.round_down(disk.logical_sector.bytes());
        machine.write(&dev, end - ALIGNMENT, &zeros)?;
        for (at, len) in traces(&disk) {
            let at = at.round_down(disk.logical_sector.bytes());
            let len = Bytes(len.0.min(end.saturating_sub(at).0)).round_down(disk.logical_sector.bytes());
            machine.write(&dev, at.max(ALIGNMENT), &zeros[..usize::try_from(len.0)?])?;
        }
        machine.flush(&dev)?;
        for mut write in table.writes(machine, &disk.name, disk.size)? {
            // The first sector comes last, and with it the mark goes: it lies where boot code would.
            if write.offset == Bytes::ZERO {
                write.bytes[..MBR_CODE].fill(0);
            }
            machine.write(&dev, write.offset, &write.bytes)?;
            machine.flush(&dev)?;
        }
        ensure!(
            table.is_on(machine, &disk.name, disk.size)?,
            "{} does not give back what was written to it",
            disk.path
        );
    }
    machine.reread_table(&disk.name)?;
    machine.format(&part, *file_system, *id, word(role.roles[0]))?;
    Ok(Did::Work)
}

/// What lies at the beginning of a disk whose formatting has begun.
const MARK: &[u8] = b"Hearth is formatting this disk; its former contents are gone.\n";

fn half_written(machine: &impl Machine, disk: &Disk) -> Result<bool> {
    let first = machine.read(&Dev::disk(&disk.name), Bytes::ZERO, 512.max(usize::try_from(disk.logical_sector.0)?))?;
    Ok(first.starts_with(MARK))
}

/// The disk that was planned for, under whatever name it has now.
fn present(machine: &impl Machine, target: &Target) -> Result<Disk> {
    let facts = machine.facts()?;
    let mut fits = facts.disks.into_iter().filter(|disk| target.is(disk));
    match (fits.next(), fits.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => {
            let serial = target.serial.as_deref().unwrap_or("no serial number");
            Err(anyhow!("the disk {} ({serial}, {}) is not there", target.name, target.size)).kind(Exit::Environment)
        }
        (Some(_), Some(_)) => Err(anyhow!("two disks say that they are {}", target.name)).kind(Exit::Refused),
    }
}

/// Makes the folders, guards them, and has systemd mount what belongs there.
pub(super) fn mount<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<Did> {
    let all: Vec<Seen> = job.plan.roles.iter().map(seen).collect();
    let mut did = Did::Nothing;
    for folder in all.iter().flat_map(|seen| &seen.before) {
        machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
    }
    for folder in all.iter().flat_map(|seen| &seen.guarded) {
        if !machine.is_mounted(folder)? {
            machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
            machine.set_immutable(folder, true)?;
        }
    }
    for seen in &all {
        let files: Vec<File> =
            seen.units.iter().map(|unit| File::public(mounts::path(unit), unit.text.clone())).collect();
        if changed(machine, &files)? {
            did = Did::Work;
        }
    }
    let mut missing = Vec::new();
    for seen in &all {
        let names: Vec<String> = seen.units.iter().filter(|unit| starts(unit)).map(|unit| unit.name.clone()).collect();
        let shared = seen.on_disk.as_ref();
        if let Some((at, unit, folders)) = shared {
            machine.refresh(&Refresh::Enable(vec![unit.clone()]))?;
            ensure!(machine.is_mounted(at)?, "{at} is not mounted, though systemd reported no error");
            for folder in folders {
                machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
            }
        }
        missing.extend(names.into_iter().filter(|name| shared.is_none_or(|(_, unit, _)| unit != name)));
    }
    machine.refresh(&Refresh::Enable(missing))?;
    Ok(did)
}
