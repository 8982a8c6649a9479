//! What a login shows: above it which Hearth this is and how it is, and after it, on a console
//! and by SSH, also what setup left to do. Both are kept in files and made again and again
//! from outside: what looks at disks may hang with one of them, and a login must not.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::text::{print, wrap};
use super::view::head;
use crate::adopt::situation;
use crate::durable;
use crate::facts::{gather, hostname_now};
use crate::machine::real::Real;
use crate::run::Cmd;
use crate::setup::Remains;

/// Where agetty finds what stands above a login.
const ISSUE: &str = "/run/issue.d/20-hearth-head.issue";

/// Where PAM finds what follows one.
const MOTD: &str = "/run/motd.d/20-hearth";

/// Prints the lines that stand above a login, or keeps them, and those that follow one, where
/// logins find them.
pub fn show_head(publish: bool) -> Result<()> {
    let facts = gather()?;
    let mut above = head(&facts, &hostname_now(), &situation(&facts));
    let after = match Remains::look(&Real) {
        Ok(None) => Vec::new(),
        Ok(Some(remains)) => {
            above.extend(remains.red());
            remains.lines()
        }
        Err(error) => wrap("  setup   ", &format!("what it left to do cannot be told: {error:#}")),
    };
    if !publish {
        return print(&above);
    }
    keep(MOTD, &format!("{}\n", [above.clone(), after].concat().join("\n")))?;
    // agetty replaces what follows a backslash.
    if keep(ISSUE, &format!("{}\n\n", above.join("\n").replace('\\', "\\\\")))? {
        // Only logins at which nobody has begun to type.
        Cmd::new("showing the new head", "agetty").arg("--reload").run()?;
    }
    Ok(())
}

/// Keeps `text` at `path`; true if something else was there.
fn keep(path: &str, text: &str) -> Result<bool> {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    durable::write(Path::new(path), text.as_bytes())?;
    Ok(true)
}
