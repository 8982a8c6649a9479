//! Taking over what was approved: from HEARTH, where it came in, to the disk that was just
//! prepared. The answers hold secrets, so they go to `data`, which may be encrypted, and
//! what is on HEARTH is overwritten as soon as they are there.

use anyhow::{Context as _, Result, anyhow, ensure};
use zeroize::Zeroizing;

use super::apply::changed;
use super::approved::{Approved, SETUP_FILE};
use super::plan::SetupPlan;
use crate::answers::{self, FILE_NAME};
use crate::digest::Digest;
use crate::encryption::Key;
use crate::exit::{Exit, Kind as _};
use crate::machine::{Dev, Machine};
use crate::render::{File, Owner};

/// What was approved, on the prepared disk. It holds no secret.
pub const APPROVED: &str = "/var/lib/hearth/setup/approved.json";

/// The answers as they came, until the machine is set up: on `data`.
pub const ANSWERS: &str = "/etc/hearth/setup/answers.toml";

/// Exists once the machine is set up. From then on answer files are not looked at.
pub const SEALED: &str = "/var/lib/hearth/setup/sealed";

/// The file that ends a setup by `plan`.
pub fn seal(plan: &SetupPlan) -> File {
    File::public(SEALED, format!("{}\n", plan.digest()))
}

/// An approved setup that is to be taken over.
pub struct Taken {
    approved: Approved,
    answers: Zeroizing<Vec<u8>>,
}

/// Looks whether a setup was approved for the disk whose HEARTH this is, before anything is
/// changed: answers that were edited since are not what was approved.
pub fn look(machine: &impl Machine, hearth: &Dev) -> Result<Option<Taken>> {
    let Some(bytes) = machine.hearth_file(hearth, SETUP_FILE)? else { return Ok(None) };
    let approved = Approved::from_bytes(&bytes)?;
    let found = machine.answer_file(hearth)?;
    let (_, answers) =
        found.context("a setup was approved, but its answer file is gone from HEARTH").kind(Exit::Input)?;
    if Digest::of(&*answers) != approved.answers {
        let text = "the answer file on HEARTH was changed after the setup was approved. Restart in setup mode to approve it anew";
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    Ok(Some(Taken { approved, answers }))
}

impl Taken {
    /// What is typed at each start to open the disks, as the answers say.
    pub fn key(&self) -> Result<Option<Key>> {
        let answers = answers::read_bytes(&self.answers, FILE_NAME)
            .map_err(|problems| anyhow!("the answers that were approved are damaged:\n{problems}"))
            .kind(Exit::Mismatch)?;
        Ok(answers.encryption.as_ref().and_then(Key::of))
    }
}

/// Puts it where the next steps find it, `data` being mounted.
pub fn take(machine: &mut impl Machine, taken: &Taken) -> Result<()> {
    let files = [
        File::private(ANSWERS, Owner::ROOT, taken.answers.to_vec()),
        File::private(APPROVED, Owner::ROOT, taken.approved.to_bytes()?),
    ];
    changed(machine, &files)?;
    for file in &files {
        ensure!(machine.has_file(file)?, "{} does not give back what was written to it", file.path);
    }
    Ok(())
}

/// What was taken over, if anything was and it is not finished.
pub fn pending(machine: &impl Machine) -> Result<Option<(Approved, Zeroizing<Vec<u8>>)>> {
    if machine.exists(SEALED) {
        return Ok(None);
    }
    let Some(bytes) = machine.read_file(APPROVED)? else { return Ok(None) };
    let approved = Approved::from_bytes(&bytes)?;
    let answers = machine.read_file(ANSWERS)?;
    let answers = answers.with_context(|| format!("the answers of the approved setup are gone from {ANSWERS}"))?;
    Ok(Some((approved, Zeroizing::new(answers))))
}
