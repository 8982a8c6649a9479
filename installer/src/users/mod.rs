//! The people of the portal, after setup: who may log in, with what password. The file is Authelia's:
//! it writes to it when somebody changes a password there, so what we do not know in it is kept,
//! and a change that came between is never lost.

mod command;
mod list;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use crate::answers::{Secret, portal_hash};
use crate::beneath::{Folder, Found};
use crate::exit::{Exit, Kind as _};
use crate::render::authelia::{Cost, PEOPLE, cost_in};

pub use command::{Command, run};
use list::List;

/// The stacks, a folder of root's.
const STACKS: &str = "/opt/stacks";

/// Authelia's folder in it, which its container writes to.
const FOLDER: &str = "core/authelia";

/// How often a change is tried that Authelia comes before.
const TRIES: usize = 5;

/// The portal's people, where they lie.
struct Portal {
    folder: Folder,
}

impl Portal {
    /// Finds them below `stacks`.
    fn open(stacks: &Path) -> Result<Self> {
        let none = || {
            anyhow!(
                "there is no portal on this machine: {}/{FOLDER}/{PEOPLE} is missing. `stacks = [\"core\"]` in the answers of setup makes one",
                stacks.display()
            )
        };
        let folder = Folder::open(stacks, FOLDER)?.ok_or_else(none).kind(Exit::Refused)?;
        Ok(Self { folder })
    }

    fn read(&self) -> Result<(Found, List)> {
        let found = self.folder.read(PEOPLE)?;
        let found = found.ok_or_else(|| anyhow!("the portal has no list of people: {FOLDER}/{PEOPLE} is missing"));
        let found = found.kind(Exit::Refused)?;
        let list =
            List::read(&found.bytes).with_context(|| format!("reading {STACKS}/{FOLDER}/{PEOPLE}")).kind(Exit::Io)?;
        Ok((found, list))
    }

    /// Changes the list by `change`, on what it is at that moment.
    fn change(&self, change: impl Fn(&mut List) -> Result<()>) -> Result<()> {
        for _ in 0..TRIES {
            let (found, mut list) = self.read()?;
            change(&mut list)?;
            if self.folder.replace(PEOPLE, &found, list.text()?.as_bytes())? {
                return Ok(());
            }
        }
        Err(anyhow!("the list of people changed again and again; nothing was done. Try once more"))
            .kind(Exit::Environment)
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
