//! An approved setup once more, on a root that was written anew beside `data` that stayed. The
//! steps are those of setup, as far as they are about root: what lies on `data` or on other disks
//! is as its owner left it, and nothing is formatted, drawn or asked of anybody.
//!
//! While `data` is locked there is no more to be had than the name, the network and the account:
//! with those its owner can log in and open it.

use anyhow::{Context as _, Result};

use super::apply::{Job, changed, report};
use super::approved::Approved;
use super::journal::{Event, Journal};
use super::roles::places;
use super::take::{APPROVED, seal};
use super::{disks, start, steps};
use crate::answers::{Answers, Secret};
use crate::layout::DATA_DIR;
use crate::machine::{Account, Dev, Machine, Refresh};
use crate::render::{self, File, Owner};

/// What is done again.
pub(crate) struct Again {
    job: Job,
    /// The hash of the admin's password as it was last.
    password: Secret<String>,
}

impl Again {
    /// The setup that was `approved`, with the answers that are about root.
    pub(crate) fn new(approved: Approved, answers: Answers, password: Secret<String>, hearth: Dev, now: &str) -> Self {
        let text = zeroize::Zeroizing::new(String::new());
        Self { job: Job { plan: approved.plan, answers, text, hearth, now: now.to_owned() }, password }
    }

    /// Does what root can do alone, and the rest if `data` is there; gives the report once all is done.
    pub(crate) fn run<M: Machine>(&self, machine: &mut M) -> Result<Option<String>> {
        let job = &self.job;
        let mut journal = Journal::read(machine, job.plan.digest())?;
        let journal = &mut journal;
        step(machine, journal, "identity", "name, language and time zone", |machine, journal| {
            steps::identity(machine, job, journal)
        })?;
        step(machine, journal, "network", "the network", |machine, _| {
            let Some(network) = &job.answers.network else { return Ok(()) };
            // Not tried: it is the one that served until now.
            steps::take_network(machine, network).map(drop)
        })?;
        step(machine, journal, "admin", "the account", |machine, _| self.account(machine))?;
        step(machine, journal, "firewall", "the firewall", |machine, journal| steps::firewall(machine, job, journal))?;
        if !machine.is_mounted(DATA_DIR)? {
            return Ok(None);
        }
        step(machine, journal, "mounts", "the disks for media, downloads and backups", |machine, journal| {
            mounts(machine, job, journal)
        })?;
        // It starts after this; its networks lie on `data`.
        step(machine, journal, "docker", "the networks of containers", |machine, _| {
            steps::docker_addresses(machine, job).map(drop)
        })?;
        if job.plan.has("/domain") {
            step(machine, journal, "domain", "the public name", |machine, _| steps::follow_name(machine))?;
        }
        let done = vec![
            format!("The system was written anew, with Hearth {}.", env!("CARGO_PKG_VERSION")),
            "Data, the disks for media, downloads and backups, and the SSH keys of this machine stayed.".to_owned(),
            "What was installed or changed by hand on the system is gone: packages, accounts, files outside of data."
                .to_owned(),
        ];
        report(machine, job, journal, done, true).map(Some)
    }

    fn account(&self, machine: &mut impl Machine) -> Result<()> {
        let admin = self.job.answers.admin.as_ref().context("the answers name no admin")?;
        let wanted = render::admin::account(admin);
        let groups = wanted.groups.iter().map(|group| (*group).to_owned()).collect();
        let account = Account { login: wanted.login, groups, hash: self.password.clone() };
        if machine.account(&account.login)?.as_ref() != Some(&account) {
            machine.set_account(&account)?;
        }
        if changed(machine, &render::admin::files(admin))? {
            machine.refresh(&Refresh::Ssh)?;
        }
        Ok(())
    }
}

/// What says on root, before it first starts, that this machine is set up.
pub(crate) fn sealed(approved: &Approved) -> Result<[File; 2]> {
    Ok([File::private(APPROVED, Owner::ROOT, approved.to_bytes()?), seal(&approved.plan)])
}

fn step<M: Machine>(
    machine: &mut M,
    journal: &mut Journal,
    word: &str,
    what: &str,
    run: impl FnOnce(&mut M, &mut Journal) -> Result<()>,
) -> Result<()> {
    machine.say(&format!("Hearth: {what} ..."));
    journal.note(machine, word, Event::Begin, None)?;
    match run(machine, journal) {
        Ok(()) => journal.note(machine, word, Event::Done, None),
        Err(error) => {
            // The cause counts; that it could not be written down as well is no news.
            let _ = journal.note(machine, word, Event::Failed, Some(format!("{error:#}")));
            Err(error.context(what.to_owned()))
        }
    }
}

/// The disks as they were. One that is not there now must not keep the machine from the others.
fn mounts(machine: &mut impl Machine, job: &Job, journal: &mut Journal) -> Result<()> {
    if let Err(error) = start::start(machine, job) {
        let text = format!("an array or a volume was not started ({error:#}). Later starts try again");
        journal.warn(machine, "mounts", text)?;
        start::list(machine, job)?;
    }
    let all = disks::lay_out(machine, job)?;
    for (role, seen) in job.plan.roles.iter().zip(all) {
        let Err(error) = disks::attach(machine, &seen) else { continue };
        // All of them are switched on for later starts, whatever starts now.
        let _ = machine.refresh(&Refresh::Enable(seen.names()));
        let text = format!("the disk for {} was not mounted ({error:#}). Later starts try again", places(&role.roles));
        journal.warn(machine, "mounts", text)?;
    }
    Ok(())
}
