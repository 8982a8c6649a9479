//! The people of the portal, after setup: who may log in, with what password. The file is Authelia's:
//! it writes all of it anew when somebody changes a password there, from what it has read last. So
//! what we do not know in it is kept, and neither its change nor ours is lost.

mod away;
mod command;
mod list;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::answers::{Secret, portal_hash};
use crate::beneath::{Folder, Found};
use crate::exit::{Exit, Kind as _};
use crate::render::authelia::{Cost, PEOPLE, cost_in};

use away::Away;
pub use command::{Command, run};
use list::{List, New, Person, require, require_free};

/// The stacks, a folder of root's.
const STACKS: &str = "/opt/stacks";

/// Authelia's folder in it, which its container writes to.
const FOLDER: &str = "core/authelia";

/// Where those who may not log in for now are kept.
const AWAY: &str = "/etc/hearth/portal";

/// How often a change is tried that Authelia comes before.
const TRIES: usize = 10;

/// How long Authelia hears of no change after it has read or written the list: half a second, and some time to read.
const DEAF: Duration = Duration::from_millis(700);

/// How long a list that cannot be read may be one that Authelia is writing at that moment.
const WRITING: Duration = Duration::from_millis(50);

/// The portal's people, where they lie.
struct Portal {
    folder: Folder,
    away: Away,
}

impl Portal {
    /// Finds them below `stacks`.
    fn open(stacks: &Path, away: Away) -> Result<Self> {
        let none = || {
            anyhow!(
                "there is no portal on this machine: {}/{FOLDER}/{PEOPLE} is missing. `stacks = [\"core\"]` in the answers of setup makes one",
                stacks.display()
            )
        };
        let folder = Folder::open(stacks, FOLDER)?.ok_or_else(none).kind(Exit::Refused)?;
        Ok(Self { folder, away })
    }

    /// Everybody, those last who may not log in.
    fn people(&self) -> Result<Vec<Person>> {
        let mut people = self.read()?.1.people();
        let away = self.away.read()?.people().into_iter();
        // Whoever is in both was brought back by a hand that knew only the one list.
        let away: Vec<Person> = away.filter(|one| people.iter().all(|other| other.name != one.name)).collect();
        people.extend(away);
        Ok(people)
    }

    fn add(&self, new: &New<'_>) -> Result<()> {
        let _only = self.away.only()?;
        require_free(&self.people()?, &new.name.to_string())?;
        self.change(|list| list.add(new))
    }

    fn set_password(&self, name: &str, hash: &Secret<String>) -> Result<()> {
        let _only = self.away.only()?;
        require(&self.people()?, name)?;
        match self.read()?.1.get(name) {
            Some(_) => self.change(|list| list.set_password(name, hash)),
            None => self.away.change(|list| list.set_password(name, hash)),
        }
    }

    fn disable(&self, name: &str) -> Result<()> {
        let _only = self.away.only()?;
        require(&self.people()?, name)?;
        self.change(|list| match list.take(name)? {
            // Kept before the list goes without them: a power cut between leaves them in both.
            Some(person) => self.away.keep(name, person),
            None => Ok(()),
        })
    }

    fn enable(&self, name: &str) -> Result<()> {
        let _only = self.away.only()?;
        require(&self.people()?, name)?;
        let kept = self.away.read()?.get(name).cloned();
        self.change(|list| {
            kept.clone().map_or(Ok(()), |person| list.put(name, person))?;
            list.set_disabled(name, false)
        })?;
        if kept.is_some() { self.away.forget(name) } else { Ok(()) }
    }

    fn read(&self) -> Result<(Found, List)> {
        let mut tries = 0;
        loop {
            let found = self.folder.read(PEOPLE)?;
            let found = found.ok_or_else(|| anyhow!("the portal has no list of people: {FOLDER}/{PEOPLE} is missing"));
            let found = found.kind(Exit::Refused)?;
            tries += 1;
            match List::read(&found.bytes) {
                Ok(list) => return Ok((found, list)),
                Err(_) if tries < TRIES => thread::sleep(WRITING),
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {STACKS}/{FOLDER}/{PEOPLE}")).kind(Exit::Io);
                }
            }
        }
    }

    /// Changes the list by `change`, on what it is at that moment; where it was done already, `change` does nothing.
    fn change(&self, change: impl Fn(&mut List) -> Result<()>) -> Result<()> {
        let changed = |list: &List| {
            let mut list = list.clone();
            change(&mut list).map(|()| list)
        };
        for _ in 0..TRIES {
            let (found, list) = self.read()?;
            if !self.folder.replace(PEOPLE, &found, changed(&list)?.text()?.as_bytes())? {
                continue;
            }
            // Perhaps Authelia did not hear of it, and has written what it knew before.
            thread::sleep(DEAF);
            let (found, list) = self.read()?;
            // Perhaps it will: once more the same, which it hears.
            if changed(&list)? == list && self.folder.replace(PEOPLE, &found, &found.bytes)? {
                return Ok(());
            }
        }
        let text = "the list of people changed again and again, so this change may not last. `hearth user list` shows \
                    whether it is there; try once more";
        Err(anyhow!(text)).kind(Exit::Environment)
    }

    /// The hash of `password`, as expensive as the portal's own.
    fn hash(&self, password: &str) -> Result<Secret<String>> {
        let configured = self.folder.read("configuration.yml")?;
        let cost = configured.and_then(|found| cost_in(&found.bytes)).unwrap_or(Cost::DEFAULT);
        portal_hash(password, cost.memory, cost.passes, cost.lanes).map(Secret::new)
    }
}

#[cfg(test)]
mod tests;
