//! The names of everything a build leaves in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::exit::{Exit, Kind as _};

use crate::cache::{self, Cache};

/// The folder and the common part of the names.
#[derive(Clone, Debug)]
pub struct Outputs {
    dir: PathBuf,
    stem: String,
}

impl Outputs {
    /// Files of `version` for `arch` in `dir`, which is made if it is missing.
    pub fn new(dir: &Path, version: &str, arch: &str) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display())).kind(Exit::Environment)?;
        let dir = dir.canonicalize().with_context(|| format!("opening {}", dir.display()))?;
        cache::sweep(&dir)?;
        Ok(Self { dir, stem: format!("hearth-{version}-{arch}") })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}.{suffix}", self.stem))
    }

    /// The raw image.
    pub fn image(&self) -> PathBuf {
        self.file("img")
    }

    /// The image, compressed.
    pub fn compressed(&self) -> PathBuf {
        self.file("img.zst")
    }

    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.file("manifest.json")
    }

    /// The software bill of materials.
    pub fn sbom(&self) -> PathBuf {
        self.file("spdx.json")
    }

    /// The lock.
    pub fn lock(&self) -> PathBuf {
        self.file("lock.toml")
    }

    /// The digests of all of them.
    pub fn sums(&self) -> PathBuf {
        self.dir.join("SHA256SUMS")
    }

    /// A temporary name for `path`, in the same folder.
    pub fn partial(&self, path: &Path) -> PathBuf {
        Cache::partial(&self.dir, &path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// Removes what was derived from an earlier image of this name.
    pub fn remove_derived(&self) -> Result<()> {
        for path in [self.compressed(), crate::sign::signature_path(&self.manifest())] {
            if path.exists() {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}
