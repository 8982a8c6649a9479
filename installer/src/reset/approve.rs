//! Approval: somebody types the machine's name, and the end of the serial number of each role disk that is
//! erased. And the note that carries what was approved through every restart.

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::plan::{FORMAT, ResetPlan};
use crate::approval::Token;
use crate::digest::Digest;
use crate::exit::{Exit, Kind as _};
use crate::page::text::wrap;
use crate::page::{Input, Talk};

/// How often somebody may mistype.
const TRIES: usize = 3;

/// Something to type.
pub(super) enum Typed {
    /// The machine's name.
    Name(String),
    /// The end of a disk's serial number.
    Disk(String, Token),
}

impl Typed {
    /// What it asks for.
    pub(super) fn question(&self) -> String {
        match self {
            Self::Name(name) => format!("To approve, type the name of this machine, {name}."),
            Self::Disk(disk, token) => format!("{} It is that of {disk}.", token.question()),
        }
    }

    fn accepts(&self, typed: &str) -> bool {
        match self {
            Self::Name(name) => typed.trim() == name,
            Self::Disk(_, token) => token.accepts(typed),
        }
    }
}

/// All that approves `plan`, in order.
pub(super) fn tokens(plan: &ResetPlan) -> Vec<Typed> {
    let disks = plan.erased().into_iter().map(|disk| {
        let token = Token::for_disk(disk.serial.as_deref(), disk.wwn.as_deref(), ("name", disk.name.clone()));
        Typed::Disk(disk.told(), token)
    });
    std::iter::once(Typed::Name(plan.hostname.clone())).chain(disks).collect()
}

/// Asks for all of it. Anything else than that is an error, and nothing was changed.
pub(super) fn ask(talk: &mut impl Talk, plan: &ResetPlan) -> Result<()> {
    for typed in tokens(plan) {
        talk.say_all(&wrap("", &format!("{} Enter alone leaves.", typed.question())))?;
        one(talk, &typed)?;
    }
    Ok(())
}

fn one(talk: &mut impl Talk, wanted: &Typed) -> Result<()> {
    for _ in 0..TRIES {
        talk.ask("Approve: ")?;
        match talk.hear(None)? {
            Input::Line(typed) if wanted.accepts(&typed) => return Ok(()),
            Input::Line(typed) if typed.is_empty() => break,
            Input::Line(_) => talk.say("That is not it.")?,
            Input::Interrupted | Input::Nothing | Input::Closed => {
                return Err(anyhow!("stopped. Nothing was changed")).kind(Exit::Interrupted);
            }
        }
    }
    Err(anyhow!("the reset was not approved. Nothing was changed")).kind(Exit::Refused)
}

/// An approved reset, as it lies on root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Approved {
    /// Of the plan: a damaged note is noticed by it.
    digest: Digest,
    /// What was approved.
    pub(super) plan: ResetPlan,
}

impl Approved {
    pub(super) fn new(plan: ResetPlan) -> Self {
        Self { digest: plan.digest(), plan }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).context("writing the approved reset as JSON")?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the note back and believes it only if it is whole.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let approved: Self = serde_json::from_slice(bytes).context("reading the approved reset")?;
        let format = approved.plan.format;
        ensure!(format == FORMAT, "the approved reset has format {format}, this Hearth knows {FORMAT}");
        ensure!(approved.digest == approved.plan.digest(), "the approved reset is damaged: its digest differs");
        Ok(approved)
    }
}
