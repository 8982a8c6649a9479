//! How this machine is, for the person who owns it: `hearth status` on one screen, `hearth doctor` with
//! the cause of each finding and what to do about it. What is looked at is gathered first
//! ([`seen`]) and judged by rules that need no machine ([`rules`]): one look serves both commands,
//! and what cannot be looked at is a finding as well, never silence.

mod rules;
mod seen;
mod view;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use crate::exit::{Exit, Kind as _, require_root};
use crate::page::text::print;
use seen::Seen;

/// The version of the JSON document.
const FORMAT: u32 = 1;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Something is lost, or will be, unless somebody acts.
    Red,
    /// Worth knowing; nothing is lost yet.
    Note,
    /// As it should be.
    Good,
}

impl State {
    /// The word that stands before it: colour alone says nothing to many people and to no log.
    fn word(self) -> &'static str {
        match self {
            Self::Red => "RED",
            Self::Note => "NOTE",
            Self::Good => "ok",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The thing.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// The same in words, with the cause.
    pub told: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Everything that was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    format: u32,
    hearth: String,
    hostname: String,
    addresses: Vec<String>,
    /// The worst first.
    findings: Vec<Finding>,
}

impl Status {
    fn look() -> Result<Self> {
        // Docker, the disks and some files tell the rest only to root.
        require_root()?;
        Ok(Self::of(&Seen::look()?))
    }

    fn of(seen: &Seen) -> Self {
        let mut findings = rules::judge(seen);
        findings.sort_by_key(|finding| finding.state);
        let Seen { hearth, hostname, addresses, .. } = seen;
        Self {
            format: FORMAT,
            hearth: hearth.clone(),
            hostname: hostname.clone(),
            addresses: addresses.clone(),
            findings,
        }
    }

    fn number(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }
}

/// `hearth status`: how the machine is, on one screen.
pub fn status(json: bool) -> Result<()> {
    let status = Status::look()?;
    if json { print_json(&status) } else { print(&view::screen(&status)) }
}

/// `hearth doctor`: every finding, with what to do. Ends with a code of its own if something is red.
pub fn doctor(json: bool) -> Result<()> {
    let status = Status::look()?;
    if json { print_json(&status) } else { print(&view::all(&status)) }?;
    match status.number(State::Red) {
        0 => Ok(()),
        1 => Err(anyhow!("one finding is red")).kind(Exit::Mismatch),
        red => Err(anyhow!("{red} findings are red")).kind(Exit::Mismatch),
    }
}

fn print_json(status: &Status) -> Result<()> {
    print(&[serde_json::to_string_pretty(status).context("writing what was found as JSON")?])
}

#[cfg(test)]
mod tests;
