//! Making `data` encrypted. What opens it every day comes from the answers, which somebody
//! wrote; the recovery key is drawn here and lies on `data` before anything else does. Until
//! then nothing of anybody's is on it, so whatever a power cut leaves is simply made anew: at
//! no time is there something on it that only lost keys would open.

use anyhow::{Context as _, Result, ensure};
use uuid::Uuid;

use super::apply::foreign;
use crate::encryption::{DATA_NAME, Encryption, KEYS_DIR, Key, Keys, mapped, recovery_form, recovery_path};
use crate::exit::{Exit, Kind as _};
use crate::facts::Content;
use crate::layout::DATA_DIR;
use crate::machine::{Dev, Machine};
use crate::render::{File, Owner};
use crate::setup::take::Taken;

/// How many random bytes make a recovery key.
const RECOVERY: usize = 32;

/// What locks `data`.
pub(super) struct Lock {
    encryption: Encryption,
    everyday: Key,
}

/// The lock that was approved, with the key that the answers give.
pub(super) fn of(encryption: Option<Encryption>, setup: Option<&Taken>) -> Result<Option<Lock>> {
    let Some(encryption) = encryption else { return Ok(None) };
    let key = setup.map(Taken::key).transpose()?.flatten();
    let missing = "the plan encrypts data, and no answer file on HEARTH says what opens it";
    let everyday = key.context(missing).kind(Exit::Input)?;
    Ok(Some(Lock { encryption, everyday }))
}

impl Lock {
    /// Makes `data` in the partition `part`, where `there` was found, and mounts it; false if an
    /// earlier start did.
    pub(super) fn make(
        &self,
        machine: &mut impl Machine,
        part: &Dev,
        there: Option<&Content>,
        id: Uuid,
    ) -> Result<bool> {
        let luks = self.encryption.luks;
        if let Some(content) = there {
            if content.id.as_deref() != Some(&luks.to_string()) {
                return Err(foreign(content));
            }
            if self.is_whole(machine, part)? {
                return Ok(false);
            }
        }
        machine.close_luks(DATA_NAME, DATA_DIR)?;
        let recovery = recovery_form(&machine.draw(RECOVERY)?);
        let keys = Keys { recovery, everyday: self.everyday.clone() };
        machine.make_luks(part, luks, &keys)?;
        // With the key that is typed: that it opens what was just made is seen now, not at the next start.
        ensure!(machine.open_luks(part, DATA_NAME, &self.everyday)?, "what was just encrypted does not open");
        let open = Dev::mapped(DATA_NAME);
        machine.make_data(&open, id)?;
        machine.mount(&open, DATA_DIR)?;
        machine.ensure_dir(KEYS_DIR, 0o700, Owner::ROOT)?;
        machine.put_file(&File::private(recovery_path(), Owner::ROOT, keys.recovery.expose().as_bytes()))?;
        Ok(true)
    }

    /// Opens and mounts what is there; false if it was not made to its end.
    fn is_whole(&self, machine: &mut impl Machine, part: &Dev) -> Result<bool> {
        if !machine.is_mounted(DATA_DIR)? {
            // A header that was torn is an error to cryptsetup, and here only a reason to make it anew.
            let is_open = machine.exists(&mapped(DATA_NAME))
                || machine.open_luks(part, DATA_NAME, &self.everyday).unwrap_or(false);
            if !is_open {
                return Ok(false);
            }
            // systemd has the unit that mounts it, if an earlier start came that far, and may be quicker.
            if machine.mount(&Dev::mapped(DATA_NAME), DATA_DIR).is_err() && !machine.is_mounted(DATA_DIR)? {
                return Ok(false);
            }
        }
        Ok(machine.exists(&recovery_path()))
    }

    /// What is known of it while it is locked.
    pub(super) fn file(&self) -> Result<File> {
        self.encryption.file()
    }
}
