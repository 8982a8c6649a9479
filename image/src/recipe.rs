//! The recipe: what image to build. A small TOML file that names a target (a
//! folder in firmware/), overlays (folders in overlays/) and a Debian suite;
//! the folders bring their own package lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use serde::{Deserialize, Serialize};

use crate::mirrors::Mirrors;
use crate::tomlfile;

/// The recipe's file name, at the root of a Hearth checkout.
pub const FILE: &str = "recipe.toml";

/// What `recipe.toml` holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeFile {
    /// The Debian suite.
    pub suite: String,
    /// Debian's components to take packages from.
    pub components: Vec<String>,
    /// The folder in firmware/ that knows the hardware.
    pub target: String,
    /// Which of the target's firmware profiles to include.
    pub firmware_profiles: Vec<String>,
    /// The folders in overlays/ to lay over the packages, in this order.
    pub overlays: Vec<String>,
    /// Packages beyond those the target and the overlays list.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The archive to build from; default: the host's, else the bootstrap tool's.
    pub mirror: Option<String>,
    /// The security archive to build from; needed with `mirror`.
    pub security_mirror: Option<String>,
    /// The archive the appliance updates from; default: the bootstrap tool's.
    pub runtime_mirror: Option<String>,
    /// The security archive the appliance updates from; needed with `runtime-mirror`.
    pub runtime_security_mirror: Option<String>,
}

/// What `firmware/<target>/packages.toml` holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TargetPackages {
    boot: Vec<String>,
    hardware: Vec<String>,
    #[serde(default)]
    firmware_profiles: BTreeMap<String, Vec<String>>,
}

/// What `overlays/<name>/packages.toml` holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OverlayPackages {
    packages: Vec<String>,
}

/// A recipe with everything it refers to found.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The file as written.
    pub file: RecipeFile,
    /// The checkout it lies in.
    pub root: PathBuf,
    /// All packages asked for, sorted.
    pub packages: BTreeSet<String>,
}

impl Recipe {
    /// Reads the recipe at `path`, or the one of the checkout we stand in.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => find()?,
        };
        let file: RecipeFile = tomlfile::read(&path)?;
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        let root = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::resolve(file, root, &name)
    }

    fn resolve(file: RecipeFile, root: PathBuf, name: &str) -> Result<Self> {
        let mut wrong = Vec::new();
        let mut packages: BTreeSet<String> = file.packages.iter().cloned().collect();
        if let Some(found) = folder(&root.join("firmware"), &file.target, "target", &mut wrong) {
            let mut target: TargetPackages = tomlfile::read(&found.join("packages.toml"))?;
            packages.extend(target.boot.into_iter().chain(target.hardware));
            for profile in &file.firmware_profiles {
                match target.firmware_profiles.remove(profile) {
                    Some(list) => packages.extend(list),
                    None => wrong.push(format!(
                        "firmware profile `{profile}` is not in {}",
                        found.join("packages.toml").display()
                    )),
                }
            }
        }
        for overlay in &file.overlays {
            if let Some(found) = folder(&root.join("overlays"), overlay, "overlay", &mut wrong) {
                let list = found.join("packages.toml");
                if list.exists() {
                    packages.extend(tomlfile::read::<OverlayPackages>(&list)?.packages);
                }
            }
        }
        for (mirror, security, key) in [
            (&file.mirror, &file.security_mirror, "mirror"),
            (&file.runtime_mirror, &file.runtime_security_mirror, "runtime-mirror"),
        ] {
            if mirror.is_some() != security.is_some() {
                wrong.push(format!("`{key}` and its security mirror belong together: give both or neither"));
            }
        }
        if wrong.is_empty() {
            return Ok(Self { file, root, packages });
        }
        Err(anyhow!("{name}: {}", wrong.join("\n  and: "))).kind(Exit::Input)
    }

    /// The archive the recipe chooses for building, if it does.
    pub fn mirror(&self) -> Option<Mirrors> {
        pair(self.file.mirror.as_ref(), self.file.security_mirror.as_ref())
    }

    /// The archive the recipe chooses for the appliance, if it does.
    pub fn runtime_mirror(&self) -> Option<Mirrors> {
        pair(self.file.runtime_mirror.as_ref(), self.file.runtime_security_mirror.as_ref())
    }

    /// The target's folder.
    pub fn target_dir(&self) -> PathBuf {
        self.root.join("firmware").join(&self.file.target)
    }

    /// The folder of an overlay.
    pub fn overlay_dir(&self, name: &str) -> PathBuf {
        self.root.join("overlays").join(name)
    }

    /// Debian's name of the target's architecture.
    pub fn arch(&self) -> &str {
        &self.file.target
    }
}

fn pair(debian: Option<&String>, security: Option<&String>) -> Option<Mirrors> {
    let clean = |url: &String| url.trim_end_matches('/').to_owned();
    Some(Mirrors { debian: debian.map(clean)?, security: security.map(clean)? })
}

fn folder(parent: &Path, name: &str, kind: &str, wrong: &mut Vec<String>) -> Option<PathBuf> {
    let path = parent.join(name);
    if path.is_dir() {
        return Some(path);
    }
    let known: Vec<String> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    wrong.push(format!("{kind} `{name}` is missing: {} has {}", parent.display(), known.join(", ")));
    None
}

fn find() -> Result<PathBuf> {
    let here = std::env::current_dir().context("finding the current folder")?;
    here.ancestors()
        .map(|dir| dir.join(FILE))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            anyhow!("no {FILE} here or above {}: go to the Hearth checkout or give --recipe", here.display())
        })
        .kind(Exit::Input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(recipe: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (FILE, recipe),
            (
                "firmware/amd64/packages.toml",
                "boot = [\"grub\"]\nhardware = [\"linux\"]\n[firmware-profiles]\ncommon = [\"fw\"]\n",
            ),
            ("overlays/base/packages.toml", "packages = [\"ufw\"]\n"),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    const GOOD: &str = "suite = \"trixie\"\ncomponents = [\"main\"]\ntarget = \"amd64\"\nfirmware-profiles = [\"common\"]\noverlays = [\"base\"]\n";

    #[test]
    fn a_recipe_collects_the_packages_of_all_it_names() {
        let dir = checkout(GOOD);
        let recipe = Recipe::load(Some(&dir.path().join(FILE))).unwrap();
        assert_eq!(recipe.packages.iter().map(String::as_str).collect::<Vec<_>>(), ["fw", "grub", "linux", "ufw"]);
        assert_eq!(recipe.mirror(), None);
    }

    #[test]
    fn everything_missing_is_named_at_once() {
        let bad =
            GOOD.replace("amd64", "mips").replace("\"base\"", "\"bsae\"") + "mirror = \"http://a.example/debian\"\n";
        let dir = checkout(&bad);
        let said = Recipe::load(Some(&dir.path().join(FILE))).unwrap_err().to_string();
        for word in ["target `mips` is missing", "overlay `bsae` is missing", "has base", "belong together"] {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    }
}
