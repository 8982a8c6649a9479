//! What a machine keeps on `data` about its root, so that root can be made again from nothing but
//! the image: who it is, how its disk is laid out, and what was approved. It is a file of root's,
//! outside of what backups read, and holds what root itself holds in files that only root reads.
//! So it tells a thief no more than root does, which is never encrypted.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use crate::answers::{self, Answers, Secret};
use crate::digest::Digest;
use crate::encryption::Encryption;
use crate::machine::table::Table;
use crate::render::{File, Owner, grub};
use crate::setup::Approved;

/// The version of [`Record`].
pub const FORMAT: u32 = 1;

/// The folder on `data`.
pub const FOLDER: &str = "repair";

/// The record in it.
pub const NAME: &str = "setup.json";

/// The files of root that are kept as they are, and their modes. No other path is ever taken from a record.
const KEPT: [(&str, u32); 8] = [
    ("/etc/machine-id", 0o444),
    ("/etc/ssh/ssh_host_ecdsa_key", 0o600),
    ("/etc/ssh/ssh_host_ecdsa_key.pub", 0o644),
    ("/etc/ssh/ssh_host_ed25519_key", 0o600),
    ("/etc/ssh/ssh_host_ed25519_key.pub", 0o644),
    ("/etc/ssh/ssh_host_rsa_key", 0o600),
    ("/etc/ssh/ssh_host_rsa_key.pub", 0o644),
    (grub::PATH, 0o600),
];

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Hearth that wrote it.
    pub hearth: String,
    /// The id that all others follow from.
    pub install: Uuid,
    /// The partition table of the disk.
    pub table: Table,
    /// The id of the btrfs in `data`.
    pub data: Uuid,
    /// How `data` is encrypted; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Files of root as they are.
    pub files: Vec<Kept>,
    /// What was set up; absent where Hearth merely runs from the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
}

/// A file of root.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kept {
    /// Where it lies.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What was set up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Setup {
    /// The plan that was approved.
    pub approved: Approved,
    /// The answers that are about root, with the secrets it needs.
    pub answers: String,
    /// The hash of the admin's password, as it is in /etc/shadow.
    pub password: String,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.path, self.text.len())
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the setup {}", self.approved.digest)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.answers.zeroize();
        self.password.zeroize();
    }
}

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A later Hearth wrote it; the text is that one's version.
    Newer(String),
    /// It is damaged; the text says how.
    Damaged(String),
}

impl Setup {
    /// The answers that are about root.
    pub fn read(&self) -> Result<Answers> {
        answers::read_bytes(self.answers.as_bytes(), NAME)
            .map_err(|problems| anyhow!("the answers in it are damaged:\n{problems}"))
    }

    /// The hash of the admin's password.
    pub fn password(&self) -> Secret<String> {
        Secret::new(self.password.clone())
    }
}

impl Record {
    /// The files of root that are kept, as far as `read` finds them.
    pub fn kept(read: impl Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Vec<Kept>> {
        let mut out = Vec::new();
        for (path, _) in KEPT {
            if let Some(bytes) = read(path)?.map(Zeroizing::new) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                out.push(Kept { path: path.to_owned(), text });
            }
        }
        Ok(out)
    }

    /// The same files, to be put in place.
    pub fn files(&self) -> Result<Vec<File>> {
        let file = |kept: &Kept| {
            let known = KEPT.iter().find(|(path, _)| *path == kept.path);
            let (path, mode) = known.with_context(|| format!("{} is no file that a record keeps", kept.path))?;
            Ok(File::new(*path, *mode, Owner::ROOT, kept.text.as_bytes().to_vec()))
        };
        self.files.iter().map(file).collect()
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(self).context("writing the record as JSON")?);
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Tells this record from any other.
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(&*self.to_bytes()?))
    }

    /// Reads the file back, and believes it only if all of it can be used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unfit> {
        let damaged = |error: anyhow::Error| Unfit::Damaged(format!("{error:#}"));
        let value: Value = serde_json::from_slice(bytes).map_err(|error| damaged(error.into()))?;
        let format = value.get("format").and_then(Value::as_u64).unwrap_or_default();
        if format > u64::from(FORMAT) {
            let version = value.get("hearth").and_then(Value::as_str).unwrap_or("a later version");
            return Err(Unfit::Newer(version.chars().filter(char::is_ascii_graphic).take(20).collect()));
        }
        let record: Self = serde_json::from_value(value).map_err(|error| damaged(error.into()))?;
        record.check().map_err(damaged)?;
        Ok(record)
    }

    fn check(&self) -> Result<()> {
        self.files()?;
        if let Some(setup) = &self.setup {
            Approved::from_bytes(&setup.approved.to_bytes()?)?;
            setup.read()?;
        }
        Ok(())
    }
}
