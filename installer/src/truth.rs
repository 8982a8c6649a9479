//! What setup wrote down, for the commands that act on it later: the answers in one file, and each
//! secret in one of its own.

use anyhow::{Context as _, Result, anyhow};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::answers::Secret;
use crate::exit::{Exit, Kind as _};
use crate::machine::Machine;
use crate::render::present::PATH;
use crate::render::secrets::DIR;

/// As much of the answers as `T` has room for.
pub fn read<T: DeserializeOwned>(machine: &impl Machine) -> Result<T> {
    let bytes = machine.read_file(PATH)?;
    let none = || anyhow!("{PATH} is missing: this machine is not set up, or its data is locked or missing");
    let bytes = bytes.ok_or_else(none).kind(Exit::Refused)?;
    toml::from_str(&String::from_utf8_lossy(&bytes)).with_context(|| format!("reading {PATH}")).kind(Exit::Input)
}

/// The secret that is kept under this name.
pub fn secret(machine: &impl Machine, name: &str) -> Result<Secret<String>> {
    let path = format!("{DIR}/{name}");
    let bytes = machine.read_file(&path)?.map(Zeroizing::new);
    let bytes = bytes.ok_or_else(|| anyhow!("{path} is gone, and the secret in it")).kind(Exit::Io)?;
    Ok(Secret::new(String::from_utf8_lossy(&bytes).into_owned()))
}
