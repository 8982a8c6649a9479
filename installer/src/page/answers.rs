//! The answer file as the page tells of it. Somebody who put one on the stick must see
//! that it was found, whether it is right, and whether setup follows it; if not, why.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::text::{WIDTH, count, cut, wrap};
use crate::answers::{self, Problems};
use crate::facts::{Facts, Mode};
use crate::machine::{Dev, on_hearth};
use crate::run::Cmd;
use crate::setup::{FAILED, MOVED, SEALED};

/// The unit that looks for an answer file once, at the start.
const UNIT: &str = "hearth-setup-unattended.service";

/// What is known of the answer file of this start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerFile {
    /// There is none.
    Absent,
    /// Setup is at it now; the text is its name.
    Followed(String),
    /// It checks clean and came after setup had looked; the text is its name.
    Next(String),
    /// The machine is set up, so nobody looks at it; the text is its name.
    Ignored(String),
    /// Setup did not follow it; the text says why, a reason a line.
    Failed(String),
    /// It has errors.
    Wrong(Problems),
    /// It cannot be read; the text says why.
    Unreadable(String),
    /// Setup went on on another disk, or is writing to it; the text says so.
    Moved(String),
    /// Writing to another disk stopped; the text says why, a reason a line.
    Unwritten(String),
}

impl AnswerFile {
    /// Looks on the HEARTH of the disk that setup was started from, and at what came of it.
    pub fn look(facts: &Facts) -> Self {
        let Some(disk) = facts.boot_disk().filter(|_| facts.mode == Some(Mode::Setup)) else { return Self::Absent };
        let failed = failure();
        match (moved(), &failed) {
            (Some(text), None) => return Self::Moved(text),
            (Some(_), Some(why)) => return Self::Unwritten(why.clone()),
            (None, _) => {}
        }
        let found = look(&disk.name);
        let sealed = Path::new(SEALED).exists();
        match found {
            Ok(None) if failed.is_none() => Self::Absent,
            Ok(Some((name, _))) if sealed => Self::Ignored(name),
            Ok(Some((_, Err(problems)))) => Self::Wrong(problems),
            Ok(Some((name, Ok(())))) if failed.is_none() => {
                if is_followed() {
                    Self::Followed(name)
                } else {
                    Self::Next(name)
                }
            }
            // It may have lain on another stick, or come as a credential.
            Ok(_) => Self::Failed(failed.unwrap_or_default()),
            Err(error) => Self::Unreadable(format!("{error:#}")),
        }
    }

    /// Whether setup has written to a disk in this start.
    pub(super) fn has_written(&self) -> bool {
        matches!(self, Self::Moved(_) | Self::Unwritten(_))
    }

    /// What the page says of it; with `full` more than the least.
    pub(super) fn lines(&self, full: bool) -> Vec<String> {
        match self {
            Self::Absent => Vec::new(),
            Self::Followed(name) => said(&format!("{name} is being followed: this machine sets itself up.")),
            Self::Next(name) => said(&format!("{name} checks clean. Setup follows it at the next start.")),
            Self::Ignored(name) => said(&format!("{name} is not looked at: this machine is set up.")),
            Self::Failed(why) => first(&format!("the answer file was not followed. {CORRECT}"), why.lines(), full),
            Self::Wrong(problems) => {
                let errors = count(problems.list.len(), "error");
                let lines: Vec<String> = problems.lines().collect();
                let what = format!("{} has {errors}, so setup does not follow it.", problems.name);
                first(&what, lines.iter().map(String::as_str), full)
            }
            Self::Moved(text) if full => said(text),
            Self::Moved(text) => vec![cut(&format!("{FIRST}{text}"), WIDTH)],
            Self::Unwritten(why) => first(UNWRITTEN, why.lines(), full),
            Self::Unreadable(why) if full => said(&format!("cannot be read: {why}")),
            Self::Unreadable(why) => vec![cut(&format!("{FIRST}cannot be read: {why}"), WIDTH)],
        }
    }

    /// What the details say of it: all that the page leaves out.
    pub(super) fn details(&self) -> Vec<String> {
        let (head, reasons): (String, Vec<String>) = match self {
            Self::Wrong(problems) => {
                let errors = count(problems.list.len(), "error");
                (format!("{}: {errors}", problems.name), problems.lines().collect())
            }
            Self::Unwritten(why) => (UNWRITTEN.to_owned(), why.lines().map(str::to_owned).collect()),
            Self::Failed(why) => {
                (format!("the answer file was not followed. {CORRECT}"), why.lines().map(str::to_owned).collect())
            }
            _ => return self.lines(true),
        };
        let mut out = wrap("Answers ", &head);
        out.extend(reasons.iter().flat_map(|reason| wrap("  - ", reason)));
        out
    }
}

/// Why setup did not follow an answer file at this start.
pub(super) fn failure() -> Option<String> {
    fs::read_to_string(FAILED).ok()
}

/// Where setup goes on, if not here.
pub(super) fn moved() -> Option<String> {
    fs::read_to_string(MOVED).ok()
}

/// The beginning of what is said of answers, and of the lines below.
const FIRST: &str = "  answers  ";
const INDENT: &str = "           ";

/// Of a disk that has no partition table now, and gets it at the next start.
const UNWRITTEN: &str = "writing Hearth to another disk stopped; the next start goes on.";

/// What to do.
const CORRECT: &str = "Correct it, and start again.";

fn said(text: &str) -> Vec<String> {
    wrap(FIRST, text)
}

/// What is the matter, and as many reasons as the page has room for.
fn first<'a>(what: &str, reasons: impl Iterator<Item = &'a str>, full: bool) -> Vec<String> {
    let reasons: Vec<&str> = reasons.collect();
    let room = if full { 3 } else { 1 };
    let mut out = said(what);
    out.extend(reasons.iter().take(room).map(|line| cut(&format!("{INDENT}{line}"), WIDTH)));
    if full && reasons.len() > room {
        out.push(format!("{INDENT}\"Show details\" tells all of them."));
    }
    out
}

/// The answer file's name, and whether it checks clean.
type Checked = (String, Result<(), Problems>);

fn look(disk: &str) -> Result<Option<Checked>> {
    on_hearth(&Dev::hearth(disk), |dir| {
        let Some(path) = answers::find(dir)? else { return Ok(None) };
        let name = answers::name_of(&path);
        let bytes = answers::bytes(&path).with_context(|| format!("looking at {name}"))?;
        let checked = answers::read_bytes(&bytes, &name).map(drop);
        Ok(Some((name, checked)))
    })
}

/// Whether setup is at it at this moment: its unit ends once it has looked.
pub(crate) fn is_followed() -> bool {
    let state = Cmd::new("asking whether setup runs", "systemctl").args(["is-active", UNIT]).answer();
    state.is_ok_and(|(_, word)| word.trim() == "activating")
}
