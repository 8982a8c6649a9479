//! `hearth user …`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};

use super::list::{New, Person};
use super::{AWAY, Away, Portal, STACKS, require, require_free};
use crate::answers::{DisplayName, EmailAddress, Group, LoginName, Secret, weakness};
use crate::audit;
use crate::exit::{Exit, Kind as _, require_root};
use crate::page::text::print;
use crate::passphrase;

/// What can be done with the portal's people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everybody.
    List {
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Add somebody; the password is asked for, or read as a line.
    Add(AddArgs),
    /// Give somebody a new password; it is asked for, or read as a line.
    Passwd {
        /// The login name.
        name: String,
    },
    /// Let somebody not log in any more.
    Disable {
        /// The login name.
        name: String,
    },
    /// Let somebody log in again.
    Enable {
        /// The login name.
        name: String,
    },
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The login name.
    name: LoginName,
    /// The name that is shown.
    #[arg(long)]
    display_name: DisplayName,
    /// The e-mail address.
    #[arg(long)]
    email: EmailAddress,
    /// May reach everything, not only what is meant for everybody.
    #[arg(long)]
    admin: bool,
}

/// Carries out `command`.
pub fn run(command: &Command) -> Result<()> {
    require_root()?;
    carry_out(command, &Portal::open(Path::new(STACKS), Away::new(AWAY))?, audit::note)
}

/// The same on any portal, which tells `note` of what it changed.
pub(super) fn carry_out(command: &Command, portal: &Portal, note: impl Fn(&str) -> Result<()>) -> Result<()> {
    let did = match command {
        Command::List { json } => return list(portal, *json),
        Command::Add(args) => add(portal, args)?,
        Command::Passwd { name } => {
            // Whether there is such a person is known before anybody has typed a password.
            require(&portal.people()?, name)?;
            let hash = new_password(portal, name)?;
            portal.set_password(name, &hash)?;
            format!("gave {name} a new password at the portal")
        }
        Command::Disable { name } => {
            portal.disable(name)?;
            format!("disabled {name} at the portal")
        }
        Command::Enable { name } => {
            portal.enable(name)?;
            format!("enabled {name} at the portal")
        }
    };
    print(&[format!("Done: {did}. The portal reads its list again when that changes.")])?;
    note(&did).context("the change is made, but not in the audit log")
}

fn add(portal: &Portal, args: &AddArgs) -> Result<String> {
    let AddArgs { name, display_name, email, admin } = args;
    require_free(&portal.people()?, &name.to_string())?;
    let group = if *admin { Group::Admins } else { Group::Users };
    let hash = new_password(portal, &name.to_string())?;
    portal.add(&New { name, display_name, email, groups: &[group], hash: &hash })?;
    Ok(format!("added {name} to the portal, in the group \"{}\"", group.word()))
}

fn new_password(portal: &Portal, name: &str) -> Result<Secret<String>> {
    let password = passphrase::ask(&format!("The password for {name}"), true)?;
    if let Some(why) = weakness(&password) {
        return Err(anyhow!("this password is refused: {why}")).kind(Exit::Input);
    }
    portal.hash(&password)
}

fn list(portal: &Portal, json: bool) -> Result<()> {
    let people = portal.people()?;
    if json {
        return print(&[serde_json::to_string_pretty(&people).context("writing the people as JSON")?]);
    }
    print(&lines(&people))
}

/// A line each, in columns.
pub(super) fn lines(people: &[Person]) -> Vec<String> {
    if people.is_empty() {
        return vec!["Nobody is at the portal yet. `hearth user add` adds somebody.".to_owned()];
    }
    let row = |person: &Person| {
        let state = if person.disabled { "disabled" } else { "active" };
        [
            person.name.clone(),
            state.to_owned(),
            person.groups.join(" "),
            person.email.clone(),
            person.display_name.clone(),
        ]
    };
    let head = ["name", "state", "groups", "e-mail", "shown as"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(people.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let padded = |row: &[String; 5]| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}
