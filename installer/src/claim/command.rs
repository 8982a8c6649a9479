//! `hearth claim …`: what units, PAM and sshd run. Nobody types these, and without the
//! door they refuse.

use anyhow::Result;
use clap::Subcommand;

use super::{Origin, admit, check, open, session};

/// What can be asked at the door.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Draw a code and read what HEARTH holds
    Open,
    /// Tell PAM whether standard input holds a code that is right
    Check,
    /// Tell PAM whether anybody is let in now
    Admit,
    /// Show the page to whoever came in by SSH
    Session,
}

/// Carries out `command`.
pub fn run(command: Command) -> Result<()> {
    let user = std::env::var("PAM_USER").ok();
    match command {
        Command::Open => open(),
        Command::Check => check(user.as_deref(), origin("PAM_RHOST"), std::io::stdin().lock()),
        // On standard output, because that is what pam_exec passes on.
        Command::Admit => admit(user.as_deref()).inspect_err(|error| println!("{error}")),
        Command::Session => session(origin("SSH_CONNECTION")),
    }
}

/// What the variable says. PAM and sshd set it; no client can.
fn origin(variable: &str) -> Origin {
    Origin::read(&std::env::var(variable).unwrap_or_default())
}
