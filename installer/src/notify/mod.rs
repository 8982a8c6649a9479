//! Telling the owner something who is not looking: a mail, by the server that the answers name. What
//! happened on the way is told step by step, because "it did not work" helps nobody: most mail servers
//! are set up once, and wrongly, and nobody notices before the first alarm.

mod message;
mod outcome;
mod settings;
mod smtp;
mod transcript;

use anyhow::Result;
use clap::Subcommand;

use crate::exit::require_root;
use crate::facts::hostname_now;
use crate::machine::real::Real;
use crate::page::text::{print, wrap};
pub use message::Notice;
pub use outcome::Outcome;
pub use settings::Mail;

/// What can be done with notices.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a test message, and tell exactly what became of it.
    Test {
        /// Show what would be sent and by which server; send nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Carries out `command`.
pub fn run(command: &Command) -> Result<()> {
    let Command::Test { dry_run } = command;
    require_root()?;
    let mail = Mail::configured(&Real)?;
    test(&mail, &Notice::test(&hostname_now()), *dry_run, &smtp::send)
}

/// The test, with any way to send.
fn test(mail: &Mail, notice: &Notice, dry_run: bool, send: &dyn Fn(&Mail, &Notice) -> Result<Outcome>) -> Result<()> {
    print(&wrap("", &format!("A test message from {}, by {}.", mail.route(), mail.place())))?;
    if dry_run {
        let lines = notice.lines.iter().flat_map(|line| wrap("  | ", line));
        let subject = wrap("  | ", &format!("Subject: {}", notice.subject));
        print(&subject.into_iter().chain(lines).collect::<Vec<_>>())?;
        return print(&["A dry run: nothing was sent.".to_owned()]);
    }
    let outcome = send(mail, notice)?;
    print(&outcome.steps())?;
    outcome.judge()?;
    print(&wrap(
        "",
        "Look whether it has arrived: a server that takes a message may still keep it back, as spam for example.",
    ))
}

#[cfg(test)]
mod tests;
