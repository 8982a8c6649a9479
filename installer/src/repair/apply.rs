//! Writing the system anew, in setup mode, from the medium that Hearth was started from. From the
//! first write to the last nothing starts from the disk, so a power cut at any moment leaves a disk
//! that is repaired once more, from the top: `data` still has all that is needed.
//!
//! Root gets what it must have before it first starts: who the machine is, its keys, how `data` is
//! mounted, and what was set up. The rest is done by [`super::finish`] when it runs.

use anyhow::{Context as _, Result, anyhow};

use super::plan::RepairPlan;
use crate::adopt::{fat, storage};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Disk, Facts};
use crate::flash::protected;
use crate::layout::{ADOPTED, ESP_LABEL, HEARTH_LABEL, Part, ROOT_LABEL, derived_id};
use crate::machine::{Dev, Machine, Renewal};
use crate::page::text::wrap;
use crate::render::report::{FILE_NAME as REPORT, Moved as Told, Outcome, Report};
use crate::render::{File, Owner};
use crate::setup::roles::state;
use crate::setup::{MOVED, again, now, tell_firmware};

/// Where the new root is mounted while files are put into it.
pub const SYSTEM_DIR: &str = "/run/hearth/repair/system";

/// What is left to do on the new root: the record itself, which is root's alone.
pub const PENDING: &str = "/var/lib/hearth/repair.json";

/// Carries out an approved plan, and starts the machine again.
pub(super) fn apply(machine: &mut impl Machine, plan: &RepairPlan) -> Result<()> {
    write(machine, plan)?;
    restart(machine)
}

/// Carries it out as far as the restart.
pub(super) fn write(machine: &mut impl Machine, plan: &RepairPlan) -> Result<()> {
    let facts = machine.facts()?;
    let boot = facts.boot_disk().context("Hearth cannot tell which disk it was started from").kind(Exit::Refused)?;
    let disk = present(&facts, plan)?;
    let words = format!(
        "Hearth is being written anew to {}. Until that is finished nothing starts from it; if it stopped, repair it again.",
        plan.disk.told()
    );
    machine.put_file(&File::public(MOVED, words))?;
    mend_table(machine, plan, disk).context("mending the partition table")?;
    let install = plan.record.install;
    let id = |label| fat::planned(install, label);
    let renewal = Renewal { from: boot, to: disk, esp: id(ESP_LABEL), hearth: id(HEARTH_LABEL) };
    machine.say(&format!("Hearth: writing to {} ...", disk.name));
    machine.renew_system(&renewal)?;
    machine.say("Hearth: giving the new system what it knew ...");
    prepare(machine, plan, disk).context("preparing the new system")?;
    machine.make_startable(&renewal)?;
    tell(machine, &facts, plan, disk);
    Ok(())
}

/// The disk, if it still is what the plan was made for.
fn present<'a>(facts: &'a Facts, plan: &RepairPlan) -> Result<&'a Disk> {
    let disk = facts.disks.iter().find(|disk| plan.disk.is(disk) && !disk.boot_medium);
    let disk = disk.with_context(|| format!("the disk {} is gone", plan.disk.told())).kind(Exit::Environment)?;
    let why = protected(&facts.disks, disk).first().map(ToString::to_string);
    let changed = state(disk) != plan.state;
    let why = why.or_else(|| changed.then(|| format!("{} is not as it was when the plan was made.", disk.path)));
    match why {
        Some(why) => Err(anyhow!("{why} Nothing was written to it")).kind(Exit::Refused),
        None => Ok(disk),
    }
}

/// Writes both copies of the table, if one of them is damaged.
fn mend_table(machine: &mut impl Machine, plan: &RepairPlan, disk: &Disk) -> Result<()> {
    if plan.table.put(machine, &disk.name, disk.size)? { machine.reread_table(&disk.name) } else { Ok(()) }
}

/// Makes the copied root that of this machine.
fn prepare(machine: &mut impl Machine, plan: &RepairPlan, disk: &Disk) -> Result<()> {
    let dev = Dev::part(&disk.name, Part::RootA.number());
    machine.mount_system(&dev, SYSTEM_DIR)?;
    let done = fill(machine, plan, &dev);
    // Whatever came of it: a file system that is mounted would keep the next try from the disk.
    let unmounted = machine.unmount(SYSTEM_DIR);
    done.and(unmounted)
}

fn fill(machine: &mut impl Machine, plan: &RepairPlan, dev: &Dev) -> Result<()> {
    let record = &plan.record;
    // As in adoption: whatever comes after it is not the image's.
    machine.keep_image(SYSTEM_DIR)?;
    machine.grow_root(dev)?;
    machine.name_root(dev, derived_id(record.install, ROOT_LABEL))?;
    let (mut files, links) = storage::files(record.data);
    files.extend(record.files()?);
    files.extend(record.encryption.map(crate::encryption::Encryption::file).transpose()?);
    if let Some(setup) = &record.setup {
        files.extend(again::sealed(&setup.approved)?);
    }
    files.push(File::private(PENDING, Owner::ROOT, record.to_bytes()?.to_vec()));
    let marker = storage::marker(record.install, &record.digest()?.to_string());
    files.push(File::public(ADOPTED, marker));
    for link in links {
        machine.link(&below(&link.path), &link.target)?;
    }
    for mut file in files {
        file.path = below(&file.path);
        machine.put_file(&file)?;
    }
    Ok(())
}

/// A path of the new root, as it is seen here.
fn below(path: &str) -> String {
    format!("{SYSTEM_DIR}{path}")
}

/// Tells the firmware, and the stick.
fn tell(machine: &mut impl Machine, facts: &Facts, plan: &RepairPlan, disk: &Disk) {
    let notes = tell_firmware(machine, facts, disk);
    for line in notes.iter().flat_map(|note| wrap("Hearth: WARNING: ", note)) {
        machine.say(&line);
    }
    if let Some(boot) = facts.boot_disk() {
        let stick = Dev::hearth(&boot.name);
        if let Err(error) = machine.put_hearth_file(&stick, REPORT, report(plan, &notes).as_bytes()) {
            let text = format!("no report could be written to {} ({error:#})", stick.path());
            for line in wrap("Hearth: WARNING: ", &text) {
                machine.say(&line);
            }
        }
    }
}

/// Starts the machine again.
pub(super) fn restart(machine: &mut impl Machine) -> Result<()> {
    machine.say("Hearth: the system is whole. Restarting; remove the stick.");
    machine.restart()
}

fn report(plan: &RepairPlan, notes: &[String]) -> String {
    let hostname = plan.hostname();
    let disk = plan.disk.told();
    let outcome = Outcome::Renewed(Told { hostname: hostname.as_deref().unwrap_or("hearth"), disk: &disk, notes });
    Report { version: env!("CARGO_PKG_VERSION"), when: &now(), outcome }.text()
}
