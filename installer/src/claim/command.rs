//! `hearth claim …`: what units, PAM and sshd run. Nobody types these, and without the
//! door they refuse.

use std::net::IpAddr;

use anyhow::Result;
use clap::Subcommand;

use super::{admit, check, open, session};

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
        Command::Check => check(user.as_deref(), address("PAM_RHOST"), std::io::stdin().lock()),
        // On standard output, because that is what pam_exec passes on.
        Command::Admit => admit(user.as_deref()).inspect_err(|error| println!("{error}")),
        Command::Session => session(address("SSH_CONNECTION")),
    }
}

/// The address that the variable begins with. PAM and sshd set it; no client can.
fn address(variable: &str) -> Option<IpAddr> {
    let value = std::env::var(variable).ok()?;
    // A link-local address comes with its card: fe80::1%eth0.
    value.split([' ', '%']).next()?.parse().ok()
}
