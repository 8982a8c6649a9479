//! `firmware/<target>/qemu.toml`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::Firmware;
use crate::tomlfile;

/// What a target's virtual machine is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// The QEMU program.
    pub program: String,
    /// QEMU's name of the board.
    pub machine: String,
    /// Memory in MiB, unless asked otherwise.
    pub memory_mib: u64,
    /// Processors, unless asked otherwise.
    pub cpus: u32,
    /// QEMU's name of the display card.
    pub display: String,
    /// QEMU's name of the network card.
    pub network: String,
    firmware: FirmwareTable,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FirmwareTable {
    uefi: FirmwareFiles,
    secure_boot: FirmwareFiles,
}

/// A UEFI firmware's two files; paths are inside the tools chroot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirmwareFiles {
    /// The program, read only.
    pub code: PathBuf,
    /// The variables a new machine starts with; each machine writes to its own copy.
    pub variables: PathBuf,
}

impl Target {
    /// Reads a `qemu.toml`; unknown keys are refused.
    pub fn read(path: &Path) -> Result<Self> {
        tomlfile::read(path)
    }

    /// Reads the text of a `qemu.toml` that is called `name` in errors.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        tomlfile::parse(text, name)
    }

    /// The files of `firmware`; none for BIOS, which QEMU brings along.
    pub fn files(&self, firmware: Firmware) -> Option<&FirmwareFiles> {
        match firmware {
            Firmware::Uefi => Some(&self.firmware.uefi),
            Firmware::SecureBoot => Some(&self.firmware.secure_boot),
            Firmware::Bios => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD64: &str = include_str!("../../../firmware/amd64/qemu.toml");

    #[test]
    fn the_shipped_file_is_read() {
        let target = Target::parse(AMD64, "qemu.toml").unwrap();
        assert!(target.files(Firmware::Bios).is_none());
        assert_ne!(target.files(Firmware::Uefi), target.files(Firmware::SecureBoot));
    }

    #[test]
    fn a_mistyped_key_is_refused_by_name() {
        let error = Target::parse(&AMD64.replace("cpus", "cpu"), "qemu.toml").unwrap_err().to_string();
        assert!(error.contains("unknown field `cpu`") && error.contains("did you mean `cpus`?"), "{error}");
    }
}
