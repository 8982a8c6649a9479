//! The people who may not log in for now. Authelia 4.39 forgets that somebody is disabled as soon as
//! anybody changes a password: it leaves that out of what it writes. So they are not in its list at
//! all, but here, in a file of root's, with all that is told of them.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};
use serde_norway::Value;

use super::list::List;
use crate::durable;
use crate::exit::{Exit, Kind as _};

/// Where they lie, and who looks after the portal stands in a queue.
#[derive(Debug)]
pub(super) struct Away {
    folder: PathBuf,
}

impl Away {
    /// Those in `folder`, which is root's and need not be there.
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("disabled.yml")
    }

    /// Waits until no other command changes the portal's people; none does as long as this is held.
    pub(super) fn only(&self) -> Result<impl fmt::Debug> {
        let what = || format!("waiting for other commands in {}", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(what)?;
        let folder = File::open(&self.folder).with_context(what)?;
        Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, error)| error).with_context(what)
    }

    /// Everybody here.
    pub(super) fn read(&self) -> Result<List> {
        let what = || format!("reading {}", self.path().display());
        match fs::read(self.path()) {
            Ok(bytes) => List::read(&bytes).with_context(what).kind(Exit::Io),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(List::empty()),
            Err(error) => Err(error).with_context(what).kind(Exit::Io),
        }
    }

    /// Keeps all that is told of somebody, in place of what was kept before.
    pub(super) fn keep(&self, name: &str, person: Value) -> Result<()> {
        self.change(|list| {
            list.take(name)?;
            list.put(name, person)?;
            list.set_disabled(name, true)
        })
    }

    /// Forgets somebody who may log in again.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        self.change(|list| list.take(name).map(drop))
    }

    /// Changes what is told here.
    pub(super) fn change(&self, change: impl FnOnce(&mut List) -> Result<()>) -> Result<()> {
        let mut list = self.read()?;
        change(&mut list)?;
        durable::write_private(&self.path(), list.text()?.as_bytes())
    }
}
