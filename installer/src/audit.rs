//! What was changed on this machine, when and by whom: a line each, only ever added. It is for the
//! owner who asks months later; the values themselves are never in it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::run::Cmd;

/// Where it lies.
pub const PATH: &str = "/var/log/hearth/audit.jsonl";

/// A line.
#[derive(Serialize)]
struct Entry<'a> {
    /// When, in UTC.
    at: String,
    /// The account that gave the command.
    by: String,
    /// What was done.
    did: &'a str,
}

/// Adds that `did` was done just now by whoever runs this program.
pub fn note(did: &str) -> Result<()> {
    note_in(Path::new(PATH), did)?;
    // So that nobody takes a line out by mistake. Where the file system cannot, it is as it is.
    Cmd::new("keeping the audit log from being changed", "chattr").args(["+a", PATH]).succeeds().map(drop)
}

fn note_in(path: &Path, did: &str) -> Result<()> {
    let entry = Entry { at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(), by: who(), did };
    let line = serde_json::to_string(&entry).context("writing a line for the audit log")? + "\n";
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("adding to {}", path.display()))
}

/// The account behind sudo, or the one that runs this.
fn who() -> String {
    let account = |uid| nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let behind = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok()).map(nix::unistd::Uid::from_raw);
    let uid = behind.unwrap_or_else(nix::unistd::Uid::current);
    account(uid).unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_say_who_and_when() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hearth/audit.jsonl");
        note_in(&path, "added ada to the portal").unwrap();
        note_in(&path, "disabled ada").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["did"], "added ada to the portal");
        assert!(lines[1]["at"].as_str().unwrap().ends_with('Z') && !lines[1]["by"].as_str().unwrap().is_empty());
    }
}
