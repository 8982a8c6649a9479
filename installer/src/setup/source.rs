//! Where the answers come from: HEARTH on the disk that setup was started from, any stick
//! with a file system called HEARTH, or a systemd credential. Two of them are refused:
//! which one was meant cannot be known.

use anyhow::{Result, anyhow};
use zeroize::Zeroizing;

use super::approved::SETUP_FILE;
use crate::answers::{self, Answers, FILE_NAME};
use crate::exit::{Exit, Kind as _};
use crate::facts::{Content, Facts};
use crate::layout::HEARTH_LABEL;
use crate::machine::{Dev, Machine};
use crate::page::text::count;

/// The credential that holds an answer file.
pub const CREDENTIAL: &str = "hearth.answers";

/// An answer file.
#[derive(Debug)]
pub struct Found {
    /// Its name where it lies.
    pub name: String,
    /// The partition it lies on; none for a credential.
    pub on: Option<Dev>,
    /// What is in it.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Found {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        match &self.on {
            Some(dev) => format!("{} on {}", self.name, dev.path()),
            None => format!("the credential {CREDENTIAL}"),
        }
    }

    /// The answers, or everything that is wrong with them.
    pub fn read(&self) -> Result<Answers> {
        answers::read_bytes(&self.bytes, &self.name)
            .map_err(|problems| anyhow!("{} in {}:\n{problems}", count(problems.list.len(), "error"), self.place()))
            .kind(Exit::Input)
    }
}

/// The answer file of this machine, if there is one.
pub fn find(machine: &impl Machine, facts: &Facts) -> Result<Option<Found>> {
    let mut found = Vec::new();
    let boot = facts.boot_disk().map(|disk| Dev::hearth(&disk.name));
    for dev in candidates(facts) {
        // Answers beside an approved setup are those of that disk: it takes them once it is started.
        if Some(&dev) != boot.as_ref() && machine.hearth_file(&dev, SETUP_FILE)?.is_some() {
            continue;
        }
        // What cannot be read is no reason to ignore it: somebody may have put answers there.
        if let Some((name, bytes)) = machine.answer_file(&dev)? {
            found.push(Found { name, on: Some(dev), bytes });
        }
    }
    if let Some(bytes) = machine.credential(CREDENTIAL)? {
        found.push(Found { name: FILE_NAME.to_owned(), on: None, bytes });
    }
    if found.len() > 1 {
        let places: Vec<String> = found.iter().map(Found::place).collect();
        let text =
            format!("there are {} answer files: {}. Which one counts? Keep one.", found.len(), places.join(", "));
        return Err(anyhow!(text)).kind(Exit::Input);
    }
    Ok(found.pop())
}

/// Every partition that answers may lie on, that of the disk Hearth was started from first.
pub fn candidates(facts: &Facts) -> Vec<Dev> {
    let is = |content: &Option<Content>| {
        content.as_ref().is_some_and(|content| {
            content.kind == "vfat"
                && content.label.as_deref().is_some_and(|label| label.eq_ignore_ascii_case(HEARTH_LABEL))
        })
    };
    let boot = facts.boot_disk();
    let mut out: Vec<Dev> = boot.iter().map(|disk| Dev::hearth(&disk.name)).collect();
    for disk in &facts.disks {
        if is(&disk.content) {
            out.push(Dev::disk(&disk.name));
        }
        let parts = disk.partitions.iter().filter(|part| is(&part.content)).filter_map(|part| part.number);
        out.extend(parts.map(|number| Dev::part(&disk.name, number)));
    }
    let mut seen = Vec::new();
    out.retain(|dev| {
        !seen.contains(dev) && {
            seen.push(dev.clone());
            true
        }
    });
    out
}
