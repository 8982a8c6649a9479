//! Carries out an approved reset. Every step looks at what is there, does what is still to be done, and leaves it
//! durable: after a power cut all of them run again from the top. The note that leads here goes last, when
//! everything else is where GRUB and setup mode find it.

use anyhow::{Context as _, Result, anyhow};

use super::plan::ResetPlan;
use crate::adopt::plan::Target;
use crate::exit::{Exit, Kind as _};
use crate::facts::Disk;
use crate::layout::{ADOPTED, GROWN, Part, RESET};
use crate::machine::table::Table;
use crate::machine::{Dev, Machine, Refresh};
use crate::manifest::MEDIUM_FILE;
use crate::page::text::wrap;
use crate::render::grub;
use crate::render::report::{FILE_NAME as REPORT, Outcome, Report, Reset};
use crate::shipped::Stray;
use crate::units::Bytes;

/// Who says it.
const VOICE: &str = "Hearth";

/// What the image brings on HEARTH.
const BROUGHT: [&str; 3] = ["README.txt", "hearth.example.toml", MEDIUM_FILE];

/// What goes last, in this order: as long as the note is there, GRUB leads here and its menu is locked.
const LAST: [&str; 3] = [grub::PATH, ADOPTED, RESET];

/// What every step needs to know.
struct Job<'a> {
    plan: &'a ResetPlan,
    /// The disk that Hearth runs from, by its name of the hour.
    disk: String,
    size: Bytes,
    now: &'a str,
    /// Disks that could not be erased.
    failed: Vec<Target>,
    /// What could not be done, a sentence each.
    warnings: Vec<String>,
}

impl Job<'_> {
    fn hearth(&self) -> Dev {
        Dev::hearth(&self.disk)
    }

    fn table(&self, machine: &impl Machine, disk: &Disk) -> Result<Table> {
        Table::read(machine, &self.disk, self.size, disk.logical_sector)
    }
}

/// A step: what people read, and how it is done.
struct Step<M> {
    what: &'static str,
    run: fn(&mut M, &mut Job<'_>) -> Result<()>,
}

fn steps<M: Machine>() -> Vec<Step<M>> {
    vec![
        Step { what: "erasing data", run: data },
        Step { what: "erasing the disks that were approved for it", run: disks },
        Step { what: "taking everything off HEARTH", run: hearth },
        Step { what: "putting the system back to what the image brought", run: root },
        Step { what: "writing the report", run: report },
    ]
}

/// Runs every step, then starts again into setup mode.
pub(super) fn run<M: Machine>(machine: &mut M, plan: &ResetPlan, now: &str) -> Result<()> {
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let mut job = Job { plan, disk: disk.name.clone(), size: disk.size, now, failed: Vec::new(), warnings: Vec::new() };
    let steps = steps::<M>();
    let count = steps.len() + 1;
    machine.say(&format!("{VOICE}: starting over, as it was approved. A power cut only delays it."));
    for (i, step) in steps.iter().enumerate() {
        machine.say(&format!("{VOICE}: {}/{count} {} ...", i + 1, step.what));
        (step.run)(machine, &mut job).with_context(|| format!("step {} of {count}, {}", i + 1, step.what))?;
    }
    machine.say(&format!("{VOICE}: {count}/{count} making it last ..."));
    finish(machine).context("making it last")?;
    machine.say(&format!("{VOICE}: done. Restarting into setup mode."));
    machine.restart()
}

/// Erases `data`, and what may lie in the second root slot, and takes both out of the partition table.
fn data(machine: &mut impl Machine, job: &mut Job<'_>) -> Result<()> {
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("the disk that Hearth runs from is gone")?;
    let before = job.table(machine, disk)?;
    for part in [Part::Data, Part::RootB] {
        if before.part(part).is_some() {
            machine.erase(&Dev::part(&job.disk, part.number()))?;
        }
    }
    let mut table = before.clone();
    table.entries.retain(|entry| entry.number <= Part::RootA.number());
    if let Some(root) = table.entries.iter_mut().find(|entry| entry.number == Part::RootA.number()) {
        // It stays as large as it is.
        root.attributes |= GROWN;
    }
    table.put(machine, &job.disk, job.size).map(drop)
}

/// Erases the role disks that were approved for it. One that fails now keeps nothing else from being erased: it is
/// told, and left to its owner.
fn disks(machine: &mut impl Machine, job: &mut Job<'_>) -> Result<()> {
    let facts = machine.facts()?;
    for target in job.plan.erased() {
        let done = present(&facts.disks, target).and_then(|disk| machine.wipe(disk));
        let Err(error) = done else { continue };
        let text = format!("{} was NOT ERASED: {error:#}", target.told());
        for line in wrap(&format!("{VOICE}: WARNING: "), &text) {
            machine.say(&line);
        }
        job.failed.push(target.clone());
        job.warnings.push(text.replace('\n', " "));
    }
    Ok(())
}

/// The disk that was approved, under whatever name it has now.
fn present<'a>(disks: &'a [Disk], target: &Target) -> Result<&'a Disk> {
    let mut fits = disks.iter().filter(|disk| target.is(disk) && !disk.boot_medium);
    match (fits.next(), fits.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => Err(anyhow!("it is not there")),
        (Some(_), Some(_)) => Err(anyhow!("two disks say that they are it")),
    }
}

fn hearth(machine: &mut impl Machine, job: &mut Job<'_>) -> Result<()> {
    machine.clear_hearth(&job.hearth(), &BROUGHT)
}

/// How often root is looked at: what is put right may bring something along, a new initramfs for example.
const LOOKS: usize = 3;

/// Puts root back to what the image brought, but for what goes last.
fn root(machine: &mut impl Machine, job: &mut Job<'_>) -> Result<()> {
    let mut left = strays(machine)?;
    for _ in 0..LOOKS {
        for stray in &left {
            let is_initramfs = matches!(stray, Stray::Initramfs(_));
            match machine.put_right(stray) {
                // The one there starts, and what is in it opens nothing that is left.
                Err(error) if is_initramfs => job.warnings.push(format!("could not {stray}: {error:#}")),
                other => other?,
            }
        }
        left = strays(machine)?;
        left.retain(|stray| !matches!(stray, Stray::Initramfs(_)));
        if left.is_empty() {
            break;
        }
    }
    // What comes again after it was put right is the system's own doing.
    job.warnings.extend(left.iter().map(|stray| format!("the system did it again: {stray}")));
    // Where the disk can; it does not say so otherwise.
    machine.refresh(&Refresh::Run(&["fstrim", "--quiet-unsupported", "/"]))
}

fn strays(machine: &impl Machine) -> Result<Vec<Stray>> {
    let is_last =
        |stray: &Stray| matches!(stray, Stray::Foreign(path) if LAST.iter().any(|last| path.as_os_str() == *last));
    let mut strays = machine.strays()?;
    strays.retain(|stray| !is_last(stray));
    Ok(strays)
}

fn report(machine: &mut impl Machine, job: &mut Job<'_>) -> Result<()> {
    let mut done = job.plan.sentences(&job.failed);
    done.extend(job.warnings.iter().map(|warning| format!("WARNING: {warning}.")));
    let outcome = Outcome::Reset(Reset { hostname: &job.plan.hostname, done: &done });
    let text = Report { version: env!("CARGO_PKG_VERSION"), when: job.now, outcome }.text();
    machine.put_hearth_file(&job.hearth(), REPORT, text.as_bytes()).context("writing the report to HEARTH")
}

/// Everything else is where readers that know no journal find it before the marks go, and each mark
/// before the next.
fn finish(machine: &mut impl Machine) -> Result<()> {
    machine.settle("/")?;
    for path in LAST {
        machine.remove_file(path)?;
        machine.settle("/")?;
    }
    Ok(())
}
