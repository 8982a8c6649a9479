//! Answer files for the tests, and disks with something on them for the answers to name.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use hearth::run::Cmd;
use hearth_image::tools::{ToolSet, Tools};

use crate::lab::Lab;

/// The admin's login name in every answer file here.
pub const ADMIN: &str = "ada";

/// The hash of the console password `open sesame please`.
pub const HASH: &str = "$y$j9T$qFUEwDxI6IAferEE/yree0$TMfsy3pMeUifHB6Zi/Z4NPtxBBE32WHxPxUW0gHcmx7";

/// The same password's hash for the portal.
pub const PORTAL_HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$i2RIurmJ0ogFb4ssgoeMXQ$zUk46LvIWuEtD6U9beNceBEO6yZ2L12H8pOc2DRo15I";

/// An answer file for the machine `name` that stays on its disk: the lines of `more` are
/// part of the top level, `tables` follow.
pub fn answers(name: &str, key: &str, more: &str, tables: &str) -> String {
    format!(
        "version = 1\nrecovery-kit = \"declined\"\n{more}\n[system]\ndisk = \"this\"\nhostname = \"{name}\"\n\
         timezone = \"Europe/Berlin\"\n\n\
         [admin]\nlogin = \"{ADMIN}\"\nssh-keys = [\"{key}\"]\npassword-hash = \"{HASH}\"\n\n{tables}"
    )
}

/// A file with an ext4 of `mib` MiB called `label`, in which `marker` says who it belongs to.
pub fn disk_with_data(lab: &Lab, label: &str, mib: u64, marker: &str) -> Result<PathBuf> {
    let folder = lab.dir().join(format!("{label}-files"));
    fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(folder.join("marker"), marker).context("writing the marker")?;
    let path = lab.dir().join(format!("{label}.img"));
    let tools = Tools::ensure(lab.cache(), ToolSet::Image, None)?;
    let mke2fs = tools.sandbox()?.bind(lab.dir().path()).command("mke2fs");
    Cmd::from_command("making a file system", mke2fs)
        .args(["-q", "-t", "ext4", "-L", label, "-d"])
        .arg(&folder)
        .arg(&path)
        .arg(format!("{mib}M"))
        .run()?;
    Ok(path)
}
