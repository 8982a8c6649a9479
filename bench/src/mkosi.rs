//! The other side: Debian 13's mkosi, from its own tools tree, told to install the
//! packages of our lock at the same versions from the same archive, and to make a
//! disk that starts by UEFI, Secure Boot and BIOS like ours.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::run::Cmd;
use hearth_image::cache::Cache;
use hearth_image::lock::Lock;
use hearth_image::mirrors::Mirrors;
use hearth_image::recipe::Recipe;
use hearth_image::tools::{ToolSet, Tools};
use hearth_image::treecopy;

use crate::measure::{self, Cost};
use crate::ours::{Size, change};

/// mkosi in its tools tree, and the folder it works in.
#[derive(Debug)]
pub struct Mkosi {
    tools: Tools,
    dir: PathBuf,
    packages: PathBuf,
}

impl Mkosi {
    /// Writes mkosi's configuration for `lock`, in `work`.
    pub fn prepare(work: &Path, cache: &Cache, recipe: &Recipe, lock: &Lock) -> Result<Self> {
        let tools = Tools::ensure(cache, ToolSet::Bench, recipe.mirror())?;
        let dir = work.join("mkosi");
        let packages = cache.dir("mkosi")?;
        for name in ["out", "cache"] {
            fs::create_dir_all(dir.join(name)).with_context(|| format!("making {name}"))?;
        }
        // It takes its archives from a file of this very name; else it asks its own default
        // ones, one of which (debug symbols) is often not mirrored.
        let sources = dir.join("mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources");
        fs::create_dir_all(sources.parent().unwrap_or(&dir)).context("making mkosi's apt folder")?;
        let mirrors = Mirrors::for_building(cache, &lock.suite, recipe.mirror())?;
        fs::write(&sources, mirrors.deb822(&lock.suite, &recipe.file.components)).context("writing mkosi's sources")?;
        for overlay in &recipe.file.overlays {
            treecopy::copy(&recipe.overlay_dir(overlay), &dir.join("overlay"), &|_| Ok(true))?;
        }
        fs::write(dir.join("mkosi.conf"), configuration(lock, &recipe.file.components, &packages))
            .context("writing mkosi.conf")?;
        Ok(Self { tools, dir, packages })
    }

    /// Builds once, so that the package cache and the incremental cache are full.
    pub fn fill(&self) -> Result<Cost> {
        self.build("yes")
    }

    /// Builds without the incremental cache.
    pub fn clean(&self) -> Result<Cost> {
        self.build("no")
    }

    /// Changes the overlay and builds with the incremental cache.
    pub fn rebuild(&self, count: usize) -> Result<Cost> {
        change(&self.dir.join("overlay"), count)?;
        self.build("yes")
    }

    fn build(&self, incremental: &str) -> Result<Cost> {
        let sandbox = self.tools.sandbox()?.bind(&self.dir).bind(&self.packages);
        let mut command = sandbox.command("mkosi");
        command.current_dir(&self.dir).args(["--force", &format!("--incremental={incremental}"), "build"]);
        measure::run(command)
    }

    /// How large its image is.
    pub fn image(&self) -> Result<Size> {
        Size::of(&self.dir.join("out/bench.raw"))
    }

    /// Its version.
    pub fn version(&self) -> Result<String> {
        Cmd::from_command("asking mkosi for its version", self.tools.sandbox()?.command("mkosi"))
            .arg("--version")
            .stdout()
    }
}

/// What lies on a tmpfs of the sandbox is /tmp: the tree is made there, as our own builder
/// makes its tree on a tmpfs. Caches and the result are on the disk on both sides.
fn configuration(lock: &Lock, components: &[String], packages: &Path) -> String {
    let wanted: String =
        lock.packages.iter().map(|package| format!("    {}={}\n", package.name, package.version)).collect();
    format!(
        "[Distribution]\nDistribution=debian\nRelease={}\nRepositories={}\n\n\
         [Output]\nFormat=disk\nOutput=bench\nOutputDirectory=out\nCompressOutput=no\n\n\
         [Build]\nWorkspaceDirectory=/tmp\nCacheDirectory=cache\nPackageCacheDirectory={}\nHistory=no\n\n\
         [Content]\nBootable=yes\nBootloader=grub-signed\nShimBootloader=signed\nBiosBootloader=grub\n\
         UnifiedKernelImages=no\nWithRecommends=no\nExtraTrees=overlay\nPackages=\n{wanted}",
        lock.suite,
        components.join(","),
        packages.display(),
    )
}
