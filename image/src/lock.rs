//! The lock: exactly which packages go into an image, by size and SHA-256, and
//! the time its files are stamped with. It names no host, so it can be given to
//! a build anywhere, and the same lock gives the same bytes.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::units::Bytes;
use serde::{Deserialize, Serialize};

use crate::tomlfile;

/// The version of this format.
const FORMAT: u32 = 1;

/// What a lock file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// The version of this format.
    pub format: u32,
    /// The Debian suite.
    pub suite: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// Seconds since 1970: the date of the newest Release file it was made from.
    pub source_date_epoch: u64,
    /// Digest of the package names asked for: a lock fits only the recipe it was made for.
    pub wanted: Digest,
    /// The packages, by name.
    #[serde(rename = "package")]
    pub packages: Vec<Locked>,
}

/// Which of the two archives a package lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The main archive.
    Debian,
    /// The security archive.
    Security,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Locked {
    /// Its binary name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: the image's, or `all`.
    pub arch: String,
    /// Where it lies.
    pub archive: Archive,
    /// Its path below the archive's address.
    pub path: String,
    /// The size of the `.deb`.
    pub size: Bytes,
    /// The digest of the `.deb`.
    pub sha256: Digest,
}

impl Lock {
    /// A lock on `packages`.
    pub fn new(suite: &str, arch: &str, epoch: u64, wanted: Digest, mut packages: Vec<Locked>) -> Self {
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Self { format: FORMAT, suite: suite.into(), arch: arch.into(), source_date_epoch: epoch, wanted, packages }
    }

    /// Reads a lock file.
    pub fn read(path: &Path) -> Result<Self> {
        let lock: Self = tomlfile::read(path)?;
        if lock.format != FORMAT {
            return Err(anyhow!(
                "{}: lock format {} is not known here (this hearth-image writes {FORMAT}); make a new one with `hearth-image lock`",
                path.display(),
                lock.format
            ))
            .kind(Exit::Input);
        }
        Ok(lock)
    }

    /// The lock as the text of a file; the same lock always gives the same text.
    pub fn to_text(&self) -> Result<String> {
        let body = toml::to_string(self).context("writing the lock")?;
        Ok(format!("# Made by `hearth-image lock`. Give it to `hearth-image build --lock` for the same image.\n{body}"))
    }

    /// How much all packages weigh.
    pub fn download_size(&self) -> Bytes {
        self.packages.iter().map(|package| package.size).sum()
    }

    /// Refuses a lock that was made for other packages than `wanted`.
    pub fn require_fits(&self, wanted: Digest, suite: &str, arch: &str) -> Result<()> {
        if self.wanted == wanted && self.suite == suite && self.arch == arch {
            return Ok(());
        }
        Err(anyhow!("the lock was made for another recipe or package list; make a new one with `hearth-image lock`"))
            .kind(Exit::Input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn example() -> Lock {
        let package = |name: &str| Locked {
            name: name.into(),
            version: "1:2.0-1".into(),
            arch: "amd64".into(),
            archive: Archive::Debian,
            path: format!("pool/main/{name}_2.0-1_amd64.deb"),
            size: Bytes(1000),
            sha256: Digest::of(name),
        };
        Lock::new("trixie", "amd64", 1_700_000_000, Digest::of("wanted"), vec![package("b"), package("a")])
    }

    #[test]
    fn a_lock_round_trips_sorted_and_without_a_host() {
        let text = example().to_text().unwrap();
        assert_eq!(tomlfile::parse::<Lock>(&text, "lock").unwrap(), example());
        assert!(!text.contains("://"));
        assert!(text.find("name = \"a\"") < text.find("name = \"b\""));
        assert_eq!(example().download_size(), Bytes(2000));
    }

    #[test]
    fn a_lock_for_another_recipe_is_refused() {
        assert!(example().require_fits(Digest::of("wanted"), "trixie", "amd64").is_ok());
        assert!(example().require_fits(Digest::of("other"), "trixie", "amd64").is_err());
    }
}
