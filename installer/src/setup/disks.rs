//! Carrying out what was planned for the role disks. A disk is only formatted if it is
//! still what it was when that was approved, or if an interrupted start began it.

use anyhow::{Context as _, Result, anyhow, ensure};
use uuid::Uuid;

use super::apply::{Job, changed};
use super::journal::{Event, Journal};
use super::mounts::{Seen, seen};
use super::roles::{RoleDisk, What, label, places, state};
use super::start;
use super::steps::secret;
use crate::adopt::plan::Target;
use crate::bootchain::MBR_CODE;
use crate::encryption::{Key, Keys, key_path, recovery_path};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Disk, Facts};
use crate::flash::{protected, traces};
use crate::layout::ALIGNMENT;
use crate::machine::{Dev, Machine, Refresh};
use crate::render::secrets::Draw;
use crate::render::{File, Owner};
use crate::units::Bytes;

/// Formats the disks that were approved for it.
pub(super) fn format<M: Machine>(machine: &mut M, job: &Job, journal: &mut Journal) -> Result<()> {
    for disk in &job.plan.roles {
        // Its name stands for the disk in the journal.
        let step = label(&disk.roles);
        let did = format_one(machine, disk, journal.is_done(&step))
            .with_context(|| format!("formatting the disk for {}", places(&disk.roles)))?;
        if did {
            journal.note(machine, &step, Event::Done, None)?;
        }
    }
    Ok(())
}

/// Formats the disk of a role, if it is one that is formatted; true if that was still to be done.
fn format_one(machine: &mut impl Machine, role: &RoleDisk, done: bool) -> Result<bool> {
    let What::Erase { disk: target, state: planned, table, file_system, id, luks } = &role.what else {
        return Ok(false);
    };
    let facts = machine.facts()?;
    let disk = present(&facts, target)?;
    let ours = table.is_on(machine, &disk.name, disk.size)?;
    let part = Dev::part(&disk.name, 1);
    if ours && done {
        return Ok(false);
    }
    if let Some(why) = protected(&facts.disks, disk).first() {
        return Err(anyhow!("{why} Nothing was written to it.")).kind(Exit::Refused);
    }
    if !ours && state(disk) != *planned && !half_written(machine, disk)? {
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
        for (at, len) in traces(disk) {
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
    let dev = match luks {
        Some(luks) => encrypt(machine, &part, *luks, &label(&role.roles))?,
        None => part,
    };
    machine.format(&dev, *file_system, *id, role.roles[0].word())?;
    Ok(true)
}

/// Encrypts the partition `part` and opens it under the name `label`. Its key is on `data` before
/// the disk has it, and the recovery key of `data` opens it as well.
fn encrypt(machine: &mut impl Machine, part: &Dev, luks: Uuid, label: &str) -> Result<Dev> {
    let path = key_path(label);
    if machine.read_file(&path)?.is_none() {
        let key = Draw::Key.make(&machine.draw(Draw::Key.bytes())?);
        machine.put_file(&File::private(path.clone(), Owner::ROOT, key.expose().as_bytes()))?;
    }
    let everyday = Key::Drawn(secret(machine, &path)?);
    let keys = Keys { recovery: secret(machine, &recovery_path())?, everyday };
    machine.make_luks(part, luks, &keys)?;
    ensure!(machine.open_luks(part, label, &keys.everyday)?, "what was just encrypted does not open");
    Ok(Dev::mapped(label))
}

/// What lies at the beginning of a disk whose formatting has begun.
const MARK: &[u8] = b"Hearth is formatting this disk; its former contents are gone.\n";

fn half_written(machine: &impl Machine, disk: &Disk) -> Result<bool> {
    let first = machine.read(&Dev::disk(&disk.name), Bytes::ZERO, 512.max(usize::try_from(disk.logical_sector.0)?))?;
    Ok(first.starts_with(MARK))
}

/// The disk that was planned for, under whatever name it has now.
fn present<'a>(facts: &'a Facts, target: &Target) -> Result<&'a Disk> {
    let mut fits = facts.disks.iter().filter(|disk| target.is(disk));
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
pub(super) fn mount<M: Machine>(machine: &mut M, job: &Job, _: &mut Journal) -> Result<()> {
    start::start(machine, job)?;
    for seen in lay_out(machine, job)? {
        attach(machine, &seen)?;
    }
    Ok(())
}

/// Makes the folders below which the disks are seen, guards them, and puts the units in place.
pub(super) fn lay_out(machine: &mut impl Machine, job: &Job) -> Result<Vec<Seen>> {
    let all: Vec<Seen> = job.plan.roles.iter().map(seen).collect();
    for folder in all.iter().flat_map(|seen| &seen.before) {
        machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
    }
    for folder in all.iter().flat_map(|seen| &seen.guarded) {
        if !machine.is_mounted(folder)? {
            machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
            machine.guard(folder)?;
        }
    }
    let units = all.iter().flat_map(|seen| &seen.units);
    let files: Vec<File> = units.map(|unit| File::public(unit.path(), unit.text.clone())).collect();
    changed(machine, &files)?;
    Ok(all)
}

/// Has systemd mount one disk, now and at every start.
pub(super) fn attach(machine: &mut impl Machine, seen: &Seen) -> Result<()> {
    let mut names = seen.names();
    if let Some((at, unit, folders)) = &seen.on_disk {
        machine.refresh(&Refresh::Enable(vec![unit.clone()]))?;
        ensure!(machine.is_mounted(at)?, "{at} is not mounted, though systemd reported no error");
        for folder in folders {
            machine.ensure_dir(folder, 0o755, Owner::ROOT)?;
        }
        names.retain(|name| name != unit);
    }
    machine.refresh(&Refresh::Enable(names))
}
