//! The `hearth` program for the image: compiled in a Debian 13 tree, from the
//! locked crates, with the checkout always at the same path, so that neither the
//! host nor the user nor the folder changes a byte of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;

use crate::cache::Cache;
use crate::recipe::Recipe;
use crate::tools::{ToolSet, Tools};
use crate::{progress, sums, treehash};

/// Raise when programs made before must not be used any more.
const GENERATION: u32 = 2;

/// The program's file name.
const NAME: &str = "hearth";

/// Where the compiler finds the checkout, the crates and its output.
const SOURCE: &str = "/hearth";
const CARGO_HOME: &str = "/cargo";
const TARGET: &str = "/target";

/// The compiled program, from the cache if its sources have not changed.
pub fn ensure(cache: &Cache, recipe: &Recipe) -> Result<PathBuf> {
    let sources = treehash::of(&recipe.root.join("installer"))?;
    let manifests: String = ["Cargo.toml", "Cargo.lock"]
        .iter()
        .map(|name| {
            let path = recipe.root.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display())).kind(Exit::Input)
        })
        .collect::<Result<_>>()?;
    let tools = Tools::ensure(cache, ToolSet::Compiler, recipe.mirror())?;
    let key = Digest::of(format!("{GENERATION} {sources} {} {}", Digest::of(manifests), tools.name()));
    let dir = cache.dir("program")?.join(key.to_string());
    let _lock = cache.lock("program")?;
    if dir.exists() && !sums::are_right(&dir, None) {
        progress::note("the cached hearth program is damaged on this disk; making it again");
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    if !dir.exists() {
        let step = progress::step("compiling the appliance's hearth program");
        let target = cache.dir("program-target")?;
        let sandbox = tools
            .sandbox()?
            .bind_at(&recipe.root, SOURCE)
            .bind_at(cache.dir("cargo")?, CARGO_HOME)
            .bind_at(&target, TARGET);
        forget_former(&target)?;
        let mut cargo = sandbox.command("cargo");
        cargo.args(["build", "--release", "--locked", "--package", "hearth", "--bin", NAME]);
        cargo.args(["--manifest-path", &format!("{SOURCE}/Cargo.toml")]);
        // Only what the sources say may decide, nothing of the caller's shell.
        for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"]
        {
            cargo.env_remove(name);
        }
        cargo.env("CARGO_HOME", CARGO_HOME).env("CARGO_TARGET_DIR", TARGET);
        cargo.env("CARGO_HTTP_CAINFO", "/etc/ssl/certs/ca-certificates.crt");
        cargo
            .env("RUSTFLAGS", format!("--remap-path-prefix={CARGO_HOME}=/crates --remap-path-prefix={SOURCE}=/hearth"));
        Cmd::from_command("compiling hearth", cargo).run().kind(Exit::Dependency)?;
        // One name for one program: what a killed run leaves, the next for it completes.
        let new = dir.with_extension("new");
        fs::create_dir_all(&new).with_context(|| format!("making {}", new.display()))?;
        fs::copy(target.join("release").join(NAME), new.join(NAME)).context("taking the compiled program")?;
        sums::seal(&new)?;
        fs::rename(&new, &dir).with_context(|| format!("renaming to {}", dir.display()))?;
        step.done("");
    }
    Ok(dir.join(NAME))
}

/// Makes cargo compile `hearth` itself, whatever it compiled last. It goes by the times of files, and those
/// of another checkout may be older: then it would take the former checkout's program for this one's.
/// The crates that it depends on are told apart by their versions.
fn forget_former(target: &Path) -> Result<()> {
    let marks = target.join("release/.fingerprint");
    let Ok(entries) = fs::read_dir(&marks) else { return Ok(()) };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", marks.display()))?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{NAME}-")) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hearth_is_compiled_again() {
        let dir = tempfile::tempdir().unwrap();
        forget_former(dir.path()).unwrap();
        let marks = dir.path().join("release/.fingerprint");
        for name in ["hearth-0a1b2c3d", "hearth-9f8e7d6c", "heck-0a1b2c3d"] {
            fs::create_dir_all(marks.join(name).join("x")).unwrap();
        }
        forget_former(dir.path()).unwrap();
        let left: Vec<_> = fs::read_dir(marks).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["heck-0a1b2c3d"]);
    }
}
