//! The answer file as the page tells of it. Somebody who put one on the stick must see
//! that it was found, whether it is right, and that this version does not act on it.

use anyhow::{Context as _, Result};

use super::text::{WIDTH, count, cut, wrap};
use crate::answers::{self, Problems};
use crate::facts::{Facts, Mode};
use crate::machine::{Dev, on_hearth};

/// What is known of the answer file on HEARTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerFile {
    /// There is none, or nobody would act on it.
    Absent,
    /// It checks clean; the text is its name.
    Clean(String),
    /// It has errors.
    Wrong(Problems),
    /// It cannot be read; the text says why.
    Unreadable(String),
}

impl AnswerFile {
    /// Looks on the HEARTH of the disk that setup was started from.
    pub fn look(facts: &Facts) -> Self {
        let disk = facts.boot_disk().filter(|_| facts.mode == Some(Mode::Setup));
        match disk.map(|disk| look(&disk.name)) {
            None => Self::Absent,
            Some(Ok(found)) => found,
            Some(Err(error)) => Self::Unreadable(format!("{error:#}")),
        }
    }

    /// What the page says of it; with `full` more than the least.
    pub(super) fn lines(&self, full: bool) -> Vec<String> {
        match self {
            Self::Absent => Vec::new(),
            Self::Clean(name) => said(&format!("{name} checks clean, but {NOT_YET}.")),
            Self::Wrong(problems) => {
                let errors = count(problems.list.len(), "error");
                let mut out = said(&format!("{} has {errors}, and {NOT_YET}.", problems.name));
                let first = if full { 3 } else { 1 };
                out.extend(problems.lines().take(first).map(|line| cut(&format!("{INDENT}{line}"), WIDTH)));
                if full && problems.list.len() > first {
                    out.push(format!("{INDENT}\"Show details\" tells all of them."));
                }
                out
            }
            Self::Unreadable(why) if full => said(&format!("cannot be read: {why}")),
            Self::Unreadable(why) => vec![cut(&format!("{FIRST}cannot be read: {why}"), WIDTH)],
        }
    }

    /// What the details say of it: all that the page leaves out.
    pub(super) fn details(&self) -> Vec<String> {
        let Self::Wrong(problems) = self else { return self.lines(true) };
        let mut out = wrap("Answers ", &format!("{}: {}", problems.name, count(problems.list.len(), "error")));
        out.extend(problems.lines().flat_map(|line| wrap("  - ", &line)));
        out
    }
}

/// The beginning of what is said of answers, and of the lines below.
const FIRST: &str = "  answers  ";
const INDENT: &str = "           ";

/// What this version cannot do, said wherever a file was found.
const NOT_YET: &str = "setup does not act on it yet";

fn said(text: &str) -> Vec<String> {
    wrap(FIRST, text)
}

fn look(disk: &str) -> Result<AnswerFile> {
    on_hearth(&Dev::hearth(disk), |dir| {
        let Some(path) = answers::find(dir)? else { return Ok(AnswerFile::Absent) };
        let name = answers::name_of(&path);
        let bytes = answers::bytes(&path).with_context(|| format!("looking at {name}"))?;
        Ok(match answers::read_bytes(&bytes, &name) {
            Ok(_) => AnswerFile::Clean(name),
            Err(problems) => AnswerFile::Wrong(problems),
        })
    })
}
