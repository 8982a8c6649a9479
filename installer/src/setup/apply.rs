//! Carries out an approved setup on the disk that was prepared for it. Every step looks
//! first and does only what is missing; after a power cut they run again from the top.
//! When all are through, the machine is sealed.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::journal::{Event, Journal};
use super::plan::SetupPlan;
use super::progress::Progress;
use super::take::{self, ANSWERS, pending};
use super::{disks, moved, steps};
use crate::answers::{self, Answers};
use crate::claim;
use crate::exit::{Exit, Kind as _};
use crate::machine::real::say_failure;
use crate::machine::{Dev, Machine};
use crate::render::File;
use crate::render::report::{FILE_NAME as REPORT, Outcome, Report, Success};
use crate::repair;

/// The public key by which this machine is known.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Who says it.
const VOICE: &str = "Hearth";

/// What every step needs to know.
pub struct Job {
    /// What was approved.
    pub plan: SetupPlan,
    /// The answers, secrets and all.
    pub answers: Answers,
    /// The same, as they were written.
    pub text: zeroize::Zeroizing<String>,
    /// HEARTH of the disk that this machine runs from.
    pub hearth: Dev,
    /// When this is, as people write it.
    pub now: String,
}

impl Job {
    /// The day, as YYYY-MM-DD.
    pub fn day(&self) -> &str {
        self.now.split(' ').next().unwrap_or_default()
    }
}

/// A step: its word in the journal, what people read, and how it is done.
pub struct Step<M> {
    word: &'static str,
    what: &'static str,
    run: fn(&mut M, &Job, &mut Journal) -> Result<()>,
}

fn all<M: Machine>() -> Vec<Step<M>> {
    vec![
        Step { word: "scrub", what: "taking the answer file off HEARTH", run: steps::scrub },
        Step { word: "identity", what: "name, language and time zone", run: steps::identity },
        Step { word: "network", what: "the network", run: steps::network },
        Step { word: "disks", what: "preparing the disks for media, downloads and backups", run: disks::format },
        Step { word: "mounts", what: "mounting them", run: disks::mount },
        Step { word: "admin", what: "making the account", run: steps::admin },
        Step { word: "boot-menu", what: "locking the boot menu", run: steps::boot_menu },
        Step { word: "kit", what: "writing the recovery kit", run: steps::kit },
        Step { word: "firewall", what: "the firewall", run: steps::firewall },
        Step { word: "docker", what: "the networks of containers", run: steps::docker },
        Step { word: "secrets", what: "keeping the secrets", run: steps::secrets },
        Step { word: "domain", what: "the public name", run: steps::domain },
        Step { word: "portal", what: "the portal's configuration and people", run: steps::portal },
        Step { word: "stacks-repo", what: "the history of the stacks' folder", run: steps::history },
        Step { word: "truth", what: "writing down what this machine is", run: steps::truth },
    ]
}

/// Carries on with the setup that is not finished; nothing to do is fine.
pub fn resume(machine: &mut impl Machine, now: &str) -> Result<()> {
    let done = carry_on(machine, now);
    if let Err(error) = &done {
        Progress::stopped(error).tell(machine);
    }
    done
}

fn carry_on(machine: &mut impl Machine, now: &str) -> Result<()> {
    let Some((approved, bytes)) = pending(machine)? else {
        // The power may have gone between the seal and this.
        return if machine.exists(ANSWERS) { machine.remove_file(ANSWERS) } else { Ok(()) };
    };
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let answers = answers::read_bytes(&bytes, ANSWERS)
        .map_err(|problems| anyhow::anyhow!("the answers that were taken over are damaged:\n{problems}"))
        .kind(Exit::Mismatch)?;
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let job = Job { plan: approved.plan, answers, text, hearth: Dev::hearth(&disk.name), now: now.to_owned() };
    run(machine, &job)
}

fn run<M: Machine>(machine: &mut M, job: &Job) -> Result<()> {
    let mut journal = Journal::read(machine, job.plan.digest())?;
    let steps = all::<M>();
    let count = steps.len() + 1;
    machine.say(&if journal.is_resumed() {
        format!("{VOICE}: setting up was interrupted. Going on where it stopped.")
    } else {
        format!("{VOICE}: setting up this machine as {} asks.", answers::FILE_NAME)
    });
    for (i, step) in steps.iter().enumerate() {
        tell(machine, i + 1, count, step.what);
        journal.note(machine, step.word, Event::Begin, None)?;
        match (step.run)(machine, job, &mut journal) {
            Ok(()) => journal.note(machine, step.word, Event::Done, None)?,
            Err(error) => {
                // The cause counts; that it could not be written down as well is no news.
                let _ = journal.note(machine, step.word, Event::Failed, Some(format!("{error:#}")));
                return Err(error.context(format!("step {} of {count}, {}", i + 1, step.what)));
            }
        }
    }
    tell(machine, count, count, "sealing");
    seal(machine, job, &journal).context("sealing")
}

/// Tells a step on the consoles, and to whoever looks from elsewhere.
fn tell(machine: &mut impl Machine, number: usize, of: usize, what: &str) {
    machine.say(&format!("{VOICE}: {number}/{of} {what} ..."));
    Progress::Step { number, of, what: what.to_owned() }.tell(machine);
}

/// The end: the report is written, the answers with their secrets go, and answer files are not
/// looked at any more.
fn seal(machine: &mut impl Machine, job: &Job, journal: &Journal) -> Result<()> {
    let mut done = job.plan.sentences();
    done.extend(job.plan.left_out().iter().map(|left| format!("NOT YET: {}.", left.told())));
    let text = report(machine, job, journal, done, false)?;
    machine.put_hearth_file(&job.hearth, REPORT, text.as_bytes()).context("writing the report to HEARTH")?;
    for dev in moved::sticks(machine, job.plan.digest(), &job.hearth)? {
        if let Err(error) = machine.put_hearth_file(&dev, REPORT, text.as_bytes()) {
            say_failure(machine, &format!("{VOICE}: the report could not be written to {}", dev.path()), &error);
        }
    }
    repair::keep(machine).context("keeping what a repair needs")?;
    machine.put_file(&take::seal(&job.plan))?;
    machine.remove_file(ANSWERS)?;
    Progress::end(machine);
    machine.say(&format!("{VOICE}: this machine is set up."));
    Ok(())
}

/// What the owner reads who was not there: `done`, and what went otherwise; `again` on a root that was written anew.
pub(super) fn report(
    machine: &impl Machine,
    job: &Job,
    journal: &Journal,
    mut done: Vec<String>,
    again: bool,
) -> Result<String> {
    let facts = machine.facts()?;
    let told = facts.nics.iter().flat_map(|nic| &nic.addresses).filter(|address| !address.link_local);
    let addresses: Vec<IpAddr> = told.map(|address| address.ip).collect();
    let admin = job.answers.admin.as_ref().context("the answers name no admin")?;
    let hostname = job.answers.system.hostname.as_ref().context("the answers name no host")?.to_string();
    let key = machine.read_file(HOST_KEY)?.unwrap_or_default();
    let fingerprint = claim::fingerprint(&String::from_utf8_lossy(&key)).unwrap_or_else(|| "unknown".to_owned());
    done.extend(journal.warnings().into_iter().map(|warning| format!("WARNING: {warning}.")));
    if facts.is_offline() {
        done.extend(
            facts.adapters.iter().map(|adapter| format!("WARNING: no network; the adapter {}.", adapter.told())),
        );
    }
    let login = admin.login.to_string();
    let success = Success {
        hostname: &hostname,
        addresses: &addresses,
        login: &login,
        ssh: !admin.ssh_keys.is_empty(),
        fingerprint: &fingerprint,
        url: None,
        done: &done,
    };
    let outcome = if again { Outcome::Repaired(success) } else { Outcome::Success(success) };
    Ok(Report { version: facts.version(), when: &job.now, outcome }.text())
}

/// Puts files in place; true if any was not there as it should be.
pub fn changed(machine: &mut impl Machine, files: &[File]) -> Result<bool> {
    let mut changed = false;
    for file in files {
        if !machine.has_file(file)? {
            machine.put_file(file)?;
            changed = true;
        }
    }
    Ok(changed)
}
