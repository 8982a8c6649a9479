//! What the image has beside programs of packages: links between alternatives, Hearth's own files, indexes, and
//! the initramfs, which is told by its digest. Kept as a list, because the files themselves stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::entry::{children, digest};
use super::zones::{Zone, zone};
use super::{below, packages};
use crate::digest::Digest;

/// The list's file.
const FILE: &str = "programs.json";

/// The list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Programs {
    /// Paths that no package brought.
    unowned: BTreeSet<String>,
    /// Initramfs images, and what they hold.
    initramfs: BTreeMap<String, Digest>,
}

impl Programs {
    /// What is there now.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let owned = packages::owned(root)?;
        let mut out = Self::default();
        out.add(root, Path::new("/"), &owned)?;
        Ok(out)
    }

    fn add(&mut self, root: &Path, path: &Path, owned: &packages::Owned) -> Result<()> {
        for (path, entry) in children(root, path)? {
            let is_program = zone(&path) == Zone::Program;
            if is_program && kernel_of(&path).is_some() {
                self.initramfs.insert(text(&path), digest(&below(root, &path))?);
            } else if is_program && !owned.has(&path) {
                self.unowned.insert(text(&path));
            }
            // Above programs there is nothing else at the top.
            if entry.is_dir() && is_program {
                self.add(root, &path, owned)?;
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let bytes = serde_json::to_vec(self).context("writing the list of programs as JSON")?;
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        self.unowned.contains(&text(path))
    }

    /// Whether the initramfs at `path` is the image's.
    pub(super) fn has_initramfs(&self, path: &Path, root: &Path) -> Result<bool> {
        let Some(was) = self.initramfs.get(&text(path)) else { return Ok(false) };
        Ok(digest(&below(root, path))? == *was)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The kernel whose initramfs lies at `path`, if that is one's place.
pub(super) fn kernel_of(path: &Path) -> Option<String> {
    let name = path.strip_prefix("/boot").ok()?.to_str()?;
    name.strip_prefix("initrd.img-").map(str::to_owned)
}

/// Whether this is an index of a kernel's modules: each kernel that is installed gets its own.
pub(super) fn is_index(path: &Path) -> bool {
    let Ok(rest) = path.strip_prefix("/usr/lib/modules") else { return false };
    let parts: Vec<_> = rest.iter().map(|part| part.to_string_lossy()).collect();
    matches!(parts.as_slice(), [_, name] if name.starts_with("modules."))
}
