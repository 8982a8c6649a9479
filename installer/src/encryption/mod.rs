//! Disks that a thief cannot read. When the answers ask for it, `data` lies in a LUKS
//! container: a passphrase, or the machine's TPM together with a PIN, opens it at each start,
//! and so does a recovery key that only the recovery kit tells. Everything that services and
//! people write is on `data`: files, volumes, containers, secrets and logs. The disks that are
//! formatted for roles are encrypted, too, with keys that lie on `data`, so that nobody types
//! more than once. The system itself is not: with `data` locked the console and SSH still work.

mod keys;
mod unlock;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use keys::{Key, Keys, is_recovery_key, recovery_form};
pub use unlock::{absent, at_console, known, locked, unlock};

use crate::answers::Unlock;
use crate::render::File;

/// What `data` is called under `/dev/mapper` while it is open.
pub const DATA_NAME: &str = "hearth-data";

/// How `data` is encrypted on this machine. It holds no secret, and lies on root, where it is read
/// while `data` is locked.
pub const LOCK_FILE: &str = "/var/lib/hearth/encryption.json";

/// Where the keys lie that open other disks: on `data`, and outside `state`, so that no backup
/// holds them.
pub const KEYS_DIR: &str = "/var/lib/hearth/data/keys";

/// How `data` is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Encryption {
    /// What opens it at a start.
    pub unlock: Unlock,
    /// The id of the LUKS container.
    pub luks: Uuid,
}

impl Encryption {
    /// The file that says so on root.
    pub fn file(self) -> Result<File> {
        let text = serde_json::to_string_pretty(&self).context("writing how data is encrypted as JSON")?;
        Ok(File::public(LOCK_FILE, text + "\n"))
    }

    /// What is typed to open it, for people.
    pub fn typed(self) -> &'static str {
        match self.unlock {
            Unlock::Passphrase => "the passphrase",
            Unlock::TpmPin => "the PIN",
        }
    }
}

/// What opens the disks at a start, for people.
pub fn told(unlock: Unlock) -> &'static str {
    match unlock {
        Unlock::Passphrase => "by the passphrase",
        Unlock::TpmPin => "by this machine's TPM and the PIN",
    }
}

/// The file on `data` that keeps the recovery key.
pub fn recovery_path() -> String {
    format!("{KEYS_DIR}/recovery")
}

/// The file on `data` that keeps the key of the disk called `label`.
pub fn key_path(label: &str) -> String {
    format!("{KEYS_DIR}/{label}")
}

/// Where an open container called `name` is found.
pub fn mapped(name: &str) -> String {
    format!("/dev/mapper/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::DATA_DIR;

    #[test]
    fn keys_lie_on_data_and_outside_the_state_that_backups_read() {
        let state = format!("{DATA_DIR}/{}/", crate::adopt::storage::STATE);
        for path in [recovery_path(), key_path("hearth-media")] {
            assert!(path.starts_with(&format!("{DATA_DIR}/")) && !path.starts_with(&state), "{path}");
        }
    }
}
