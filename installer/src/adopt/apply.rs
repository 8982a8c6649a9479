//! Carries out an approved plan. Every step looks first, does only what is missing,
//! and leaves it durable: after a power cut the same steps run again from the top, and
//! what the machine shows counts, not what somebody noted.
//!
//! Nothing of the image's own partitions is ever in danger: the table is the only thing
//! that is rewritten, and [`super::table`] says how. The marker that ends it all is set
//! when everything else is durable.

use anyhow::{Context as _, Result, bail, ensure};

use super::approve::Approved;
use super::fat;
use super::lock::{self, Lock};
use super::plan::AdoptPlan;
use super::storage::{self, BINDS, INSIDE, SUBVOLUMES};
use crate::exit::{Exit, Kind as _, mark};
use crate::facts::{Content, Disk, Facts};
use crate::layout::{ADOPTED, DATA_DIR, PLAN_FILE, Part};
use crate::machine::table::{Entry, Table};
use crate::machine::{Dev, Machine, Place};
use crate::render::File;
use crate::setup::take::{self, Taken};
use crate::shipped::KEPT;
use crate::units::Bytes;

/// Who says it.
const VOICE: &str = "Hearth";

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    /// There was nothing to do.
    Nothing,
    /// It was missing, and was done now.
    Work,
}

/// A step: what it is called, and how it is done.
struct Step<M> {
    what: &'static str,
    run: fn(&mut M, &Job) -> Result<Did>,
}

/// What every step needs to know.
struct Job {
    plan: AdoptPlan,
    disk: String,
    size: Bytes,
    esp_in_use: bool,
    /// Whether an earlier start got as far as the new table.
    begun: bool,
    /// What else was approved for this machine.
    setup: Option<Taken>,
    /// What locks `data`, if it is encrypted.
    lock: Option<Lock>,
}

impl Job {
    fn dev(&self, part: Part) -> Dev {
        Dev::part(&self.disk, part.number())
    }
}

fn steps<M: Machine>() -> Vec<Step<M>> {
    vec![
        // First, because whatever comes after it may leave something on root.
        Step { what: "keeping a copy of what the image brought", run: keep },
        Step { what: "writing the new partition table", run: write_table },
        Step { what: "telling the kernel about it", run: tell_kernel },
        Step { what: "growing the system's file system", run: grow },
        Step { what: "giving the file systems their own ids", run: name },
        Step { what: "making the file system for data", run: make_data },
        Step { what: "making the folders on data", run: fill_data },
        Step { what: "making this machine's SSH keys", run: host_keys },
        Step { what: "mounting data", run: mount_all },
    ]
}

/// Carries out the plan that lies on HEARTH, from wherever it was left.
pub fn resume(machine: &mut impl Machine) -> Result<()> {
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let file = machine.hearth_file(&Dev::hearth(&disk.name), PLAN_FILE)?;
    if machine.exists(ADOPTED) {
        return forget_plan(machine, disk, file.is_some());
    }
    let file = file.with_context(|| format!("there is no approved plan ({PLAN_FILE}) on HEARTH")).kind(Exit::Input)?;
    let approved = match Approved::from_bytes(&file) {
        Ok(approved) => approved,
        Err(error) => return Err(give_up_plan(machine, disk, error)),
    };
    let setup = take::look(machine, &Dev::hearth(&disk.name)).context("nothing was changed")?;
    let lock = lock::of(approved.plan.encryption, setup.as_ref()).context("nothing was changed")?;
    let mut job = job(machine, &facts, disk, approved)?;
    (job.setup, job.lock) = (setup, lock);
    run(machine, &job)?;
    forget_plan(machine, disk, true)
}

/// Runs every step, then sets the marker.
fn run<M: Machine>(machine: &mut M, job: &Job) -> Result<()> {
    let steps = steps::<M>();
    let count = steps.len() + 1;
    machine.say(&if job.begun {
        format!("{VOICE}: preparing this disk was interrupted. Going on where it stopped.")
    } else {
        format!("{VOICE}: preparing this disk for everyday use. A power cut does no harm.")
    });
    for (i, step) in steps.iter().enumerate() {
        machine.say(&format!("{VOICE}: {}/{count} {} ...", i + 1, step.what));
        let did = (step.run)(machine, job).with_context(|| format!("step {} of {count}, {}", i + 1, step.what))?;
        if did == Did::Nothing {
            machine.say(&format!("{VOICE}: {}/{count} was done before", i + 1));
        }
    }
    machine.say(&format!("{VOICE}: {count}/{count} making it last ..."));
    finish(machine, job).context("making it last")?;
    machine.say(&format!("{VOICE}: done. Hearth runs from this disk now."));
    Ok(())
}

/// A plan that cannot be read is in the way: as long as nothing was changed, removing it
/// leads back to setup.
fn give_up_plan(machine: &mut impl Machine, disk: &Disk, error: anyhow::Error) -> anyhow::Error {
    let untouched = Table::read(machine, &disk.name, disk.size, disk.logical_sector)
        .is_ok_and(|table| table.part(Part::Data).is_none());
    let hint = if untouched && machine.remove_hearth_file(&Dev::hearth(&disk.name), PLAN_FILE).is_ok() {
        "Nothing was changed, and the plan was removed: restart, and approve it again."
    } else {
        "Parts of it were carried out before. Write the image to the disk again."
    };
    mark(error, Exit::Mismatch).context(hint)
}

/// Checks that this is the disk the plan was approved for, in a state the plan knows.
fn job(machine: &impl Machine, facts: &Facts, disk: &Disk, approved: Approved) -> Result<Job> {
    let plan = approved.plan;
    let was = &plan.disk;
    if !was.is(disk) {
        return Err(anyhow::anyhow!(
            "the plan on HEARTH was approved for {} ({}, {}), and this disk, {}, is another one. Nothing was changed.",
            was.name,
            was.serial.as_deref().unwrap_or("no serial number"),
            was.size,
            disk.name
        ))
        .kind(Exit::Refused);
    }
    if let Some(twin) = facts.duplicates.iter().find(|twin| twin.disks.contains(&disk.name)) {
        let names = twin.disks.join(" and ");
        return Err(anyhow::anyhow!(
            "{names} hold the same copy of Hearth. Nothing was changed. Remove one, and restart."
        ))
        .kind(Exit::Refused);
    }
    let table = Table::read(machine, &disk.name, disk.size, disk.logical_sector)?;
    if table != plan.before && table != plan.table {
        return Err(anyhow::anyhow!("the partition table of {} was changed since the plan was approved", disk.name))
            .kind(Exit::Refused);
    }
    let esp = disk.partitions.iter().find(|part| part.number == Some(Part::Esp.number()));
    let esp_in_use = esp.is_some_and(|part| !part.mountpoints.is_empty());
    let (disk, size, begun) = (disk.name.clone(), disk.size, table == plan.table);
    Ok(Job { plan, disk, size, esp_in_use, begun, setup: None, lock: None })
}

fn keep(machine: &mut impl Machine, _: &Job) -> Result<Did> {
    if machine.exists(KEPT) {
        return Ok(Did::Nothing);
    }
    machine.keep_image("/")?;
    Ok(Did::Work)
}

fn write_table(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    Ok(if job.plan.table.put(machine, &job.disk, job.size)? { Did::Work } else { Did::Nothing })
}

fn tell_kernel(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    let differ = kernel_differs(machine, job)?;
    if differ.is_empty() {
        return Ok(Did::Nothing);
    }
    machine.take_table(&job.disk, &differ)?;
    let differ = kernel_differs(machine, job)?;
    ensure!(differ.is_empty(), "the kernel did not take the partitions {differ:?} of {} from the new table", job.disk);
    Ok(Did::Work)
}

/// The numbers of the partitions that the kernel does not have as planned.
fn kernel_differs(machine: &impl Machine, job: &Job) -> Result<Vec<u32>> {
    let places = machine.places(&job.disk)?;
    let sector = job.plan.disk.sector;
    let planned = |entry: &Entry| Place { start: entry.offset(sector), size: entry.size(sector) };
    let differ = job.plan.table.entries.iter().filter(|entry| places.get(&entry.number) != Some(&planned(entry)));
    Ok(differ.map(|entry| entry.number).collect())
}

fn grow(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    // resize2fs itself sees whether there is anything left to do.
    machine.grow_root(&job.dev(Part::RootA))?;
    Ok(Did::Work)
}

fn name(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    let mut did = Did::Nothing;
    let root = job.dev(Part::RootA);
    if id_of(machine, job, Part::RootA)?.as_deref() != Some(&job.plan.ids.root.to_string()) {
        machine.name_root(&root, job.plan.ids.root)?;
        did = Did::Work;
    }
    for (part, id) in [(Part::Esp, job.plan.ids.esp), (Part::Hearth, job.plan.ids.hearth)] {
        // A mounted FAT keeps its own copy of the first sector, and may write it back.
        if part == Part::Esp && job.esp_in_use {
            continue;
        }
        let dev = job.dev(part);
        for (offset, sector) in fat::changes(machine, &dev, id)? {
            machine.write(&dev, offset, &sector)?;
            machine.flush(&dev)?;
            did = Did::Work;
        }
    }
    Ok(did)
}

/// The id of the file system in a planned partition.
fn id_of(machine: &impl Machine, job: &Job, part: Part) -> Result<Option<String>> {
    Ok(probe(machine, job, part)?.and_then(|content| content.id))
}

fn probe(machine: &impl Machine, job: &Job, part: Part) -> Result<Option<Content>> {
    let size = job.plan.entry(part).map_or(Bytes::ZERO, |entry| entry.size(job.plan.disk.sector));
    machine.probe(&job.dev(part), Bytes::ZERO, size)
}

fn make_data(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    if let Some(lock) = &job.lock {
        let there = probe(machine, job, Part::Data)?;
        let made = lock.make(machine, &job.dev(Part::Data), there.as_ref(), job.plan.ids.data)?;
        return Ok(if made { Did::Work } else { Did::Nothing });
    }
    let dev = job.dev(Part::Data);
    let id = job.plan.ids.data;
    match probe(machine, job, Part::Data)? {
        None => machine.make_data(&dev, id)?,
        Some(content) if content.id.as_deref() == Some(&id.to_string()) => {
            if machine.is_mounted(DATA_DIR)? {
                return Ok(Did::Nothing);
            }
            if machine.mount(&dev, DATA_DIR).is_ok() {
                return Ok(Did::Nothing);
            }
            // Ours, and torn by a power cut while it was made. Nothing of anybody's can be
            // on it: Docker and people come only after the marker.
            machine.make_data(&dev, id)?;
        }
        Some(content) => return Err(foreign(&content)),
    }
    machine.mount(&dev, DATA_DIR)?;
    Ok(Did::Work)
}

/// Why the space for `data` is not taken.
pub(super) fn foreign(content: &Content) -> anyhow::Error {
    let text = format!(
        "the space for data holds {}, which appeared after the plan was approved. Nothing was erased.",
        content.kind
    );
    mark(anyhow::anyhow!(text), Exit::Refused)
}

fn fill_data(machine: &mut impl Machine, _: &Job) -> Result<Did> {
    let mut did = Did::Nothing;
    for subvolume in SUBVOLUMES {
        let whole = format!("{DATA_DIR}/{subvolume}");
        if machine.exists(&whole) {
            continue;
        }
        // Filled under another name, and renamed when all of it is durable: what has its
        // final name is whole.
        let partial = format!("{whole}.partial");
        if machine.exists(&partial) {
            machine.remove(&partial)?;
        }
        let whole_bind = BINDS.iter().find(|bind| bind.source == subvolume);
        machine.make_subvolume(&partial, whole_bind.map_or(0o755, |bind| bind.mode))?;
        for bind in BINDS {
            let inside = match bind.source.strip_prefix(subvolume) {
                Some("") => partial.clone(),
                Some(rest) if rest.starts_with('/') => format!("{partial}{rest}"),
                _ => continue,
            };
            if inside != partial {
                machine.make_dir(&inside, bind.mode)?;
            }
            if machine.exists(bind.target) {
                machine.copy_into(bind.target, &inside)?;
            }
        }
        for (folder, mode) in INSIDE {
            if let Some(rest) = folder.strip_prefix(&format!("{subvolume}/")) {
                let folder = format!("{partial}/{rest}");
                if !machine.exists(&folder) {
                    machine.make_dir(&folder, mode)?;
                }
            }
        }
        machine.rename_durably(&partial, &whole)?;
        did = Did::Work;
    }
    Ok(did)
}

fn host_keys(machine: &mut impl Machine, _: &Job) -> Result<Did> {
    // ssh-keygen makes only those that are missing.
    machine.make_host_keys()?;
    Ok(Did::Work)
}

fn mount_all(machine: &mut impl Machine, job: &Job) -> Result<Did> {
    let (files, links) = storage::files(job.plan.ids.data);
    if let Some(lock) = &job.lock {
        machine.put_file(&lock.file()?)?;
    }
    for file in &files {
        machine.put_file(file)?;
    }
    for link in &links {
        machine.link(&link.path, &link.target)?;
    }
    let names: Vec<String> = storage::mounts(job.plan.ids.data).into_iter().map(|unit| unit.name).collect();
    machine.start_units(&names)?;
    for bind in BINDS {
        if !machine.is_mounted(bind.target)? {
            bail!("{} is not mounted, though systemd reported no error", bind.target);
        }
    }
    Ok(Did::Work)
}

fn finish(machine: &mut impl Machine, job: &Job) -> Result<()> {
    if let Some(setup) = &job.setup {
        take::take(machine, setup).context("taking the approved setup over")?;
    }
    // Twice: GRUB must find everything else in its place before it finds the marker.
    machine.settle("/")?;
    machine.put_file(&File::public(ADOPTED, storage::marker(job.plan.install, &job.plan.digest().to_string())))?;
    machine.settle("/")
}

/// The plan has served: GRUB looks at the marker first, so it may go at any time.
fn forget_plan(machine: &mut impl Machine, disk: &Disk, there: bool) -> Result<()> {
    if there {
        machine.remove_hearth_file(&Dev::hearth(&disk.name), PLAN_FILE)?;
    }
    Ok(())
}
