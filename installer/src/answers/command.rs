//! `hearth answers …`, and the same words behind `hearth-image`: both programs are on
//! the desk of somebody who writes an answer file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::hash::{For, hash};
use super::{example, find, json_schema, load};
use crate::exit::{Exit, Kind as _};
use crate::page::text::print;
use crate::passphrase;

/// What can be done with answer files.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check an answer file: every error at once, with its place
    Check(CheckArgs),
    /// Print the JSON Schema of answer files, for editors
    Schema,
    /// Print an example with every key explained
    Example,
    /// Make the hash of a password, asked for on the terminal or read as a line
    Hash(HashArgs),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file, or the folder (a stick) that holds it as hearth.toml
    file: PathBuf,
    /// Print what Hearth understood as JSON, secrets as stars
    #[arg(long)]
    json: bool,
}

/// Arguments of `hash`.
#[derive(Debug, Args)]
pub struct HashArgs {
    /// Who will check the password
    #[arg(long = "for", value_enum)]
    whom: For,
}

/// Carries out `command`.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check(args) => check(args),
        Command::Schema => {
            print(&[serde_json::to_string_pretty(&json_schema()).context("writing the schema as JSON")?])
        }
        Command::Example => print(&[example().trim_end().to_owned()]),
        Command::Hash(args) => {
            let password = passphrase::ask("The password", true)?;
            print(&[hash(&password, args.whom)?])
        }
    }
}

fn check(args: &CheckArgs) -> Result<()> {
    let path = if args.file.is_dir() { in_folder(&args.file)? } else { args.file.clone() };
    let answers = load(&path)?;
    if args.json {
        return print(&[serde_json::to_string_pretty(&answers).context("writing the answers as JSON")?]);
    }
    let rest = "Whether the disks and the network are as it says shows on the machine, before anything is changed.";
    print(&[format!("{} checks clean.", path.display()), rest.to_owned()])
}

fn in_folder(dir: &Path) -> Result<PathBuf> {
    find(dir)?.with_context(|| format!("there is no hearth.toml in {}", dir.display())).kind(Exit::Input)
}
