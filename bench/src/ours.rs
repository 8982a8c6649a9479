//! Our side: builds of a copy of this checkout, with caches that share everything
//! with the user's own but the base layers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hearth::units::Bytes;
use hearth_image::build::{self, VERSION};
use hearth_image::cache::Cache;
use hearth_image::lock::Lock;
use hearth_image::outputs::Outputs;
use hearth_image::qemu::Accel;
use hearth_image::recipe::Recipe;
use hearth_image::treecopy;
use hearth_qemu_tests::appliance::wait_for_page;
use hearth_qemu_tests::nbd::Disk;
use hearth_qemu_tests::{Drive, Firmware, Lab};

use crate::measure::{self, Cost};

/// What a build reads of a checkout.
const CHECKOUT: [&str; 3] = ["firmware", "installer", "overlays"];
const CHECKOUT_FILES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "recipe.toml"];

/// What a warm cache holds: everything but base layers.
const WARM: [&str; 12] = [
    "apt",
    "cargo",
    "defaults",
    "host-apt",
    "locks",
    "mnt",
    "modules",
    "packages",
    "program",
    "program-target",
    "resolved",
    "tools",
];

/// The file of the overlay whose change is followed by a rebuild.
const CHANGED: &str = "etc/motd";

/// How large a file is, and how much of it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its length.
    pub length: Bytes,
    /// What it takes on the disk.
    pub stored: Bytes,
}

impl Size {
    /// The size of the file at `path`.
    pub fn of(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { length: Bytes(found.len()), stored: Bytes(found.blocks() * 512) })
    }
}

/// Everything on our side.
#[derive(Debug)]
pub struct Ours {
    checkout: PathBuf,
    cache: PathBuf,
    cold: PathBuf,
    outputs: Outputs,
    builder: PathBuf,
}

impl Ours {
    /// Copies the checkout at `root` into `work` and warms the caches with one ordinary build.
    pub fn prepare(root: &Path, work: &Path, cache: &Cache) -> Result<Self> {
        let checkout = work.join("checkout");
        for name in CHECKOUT {
            treecopy::copy(&root.join(name), &checkout.join(name), &|_| Ok(true))?;
        }
        for name in CHECKOUT_FILES {
            fs::copy(root.join(name), checkout.join(name)).with_context(|| format!("copying {name}"))?;
        }
        let own = work.join("cache");
        fs::create_dir_all(own.join("hearth")).context("making a cache")?;
        for name in WARM {
            symlink(cache.dir(name)?, own.join("hearth").join(name)).with_context(|| format!("sharing {name}"))?;
        }
        let outputs =
            Outputs::new(&work.join("out"), VERSION, Recipe::load(Some(&checkout.join("recipe.toml")))?.arch())?;
        let builder = std::env::current_exe().context("finding ourselves")?.with_file_name("hearth-image");
        let ours = Self { checkout, cache: own, cold: work.join("cold"), outputs, builder };
        // In the true checkout, which is whole: the appliance's program may have to be compiled.
        let mut warm = Command::new(&ours.builder);
        warm.current_dir(root).arg("build").arg("--out").arg(ours.outputs.dir()).env("XDG_CACHE_HOME", &ours.cache);
        measure::run(warm).context("warming the caches")?;
        Ok(ours)
    }

    /// The recipe that is built.
    pub fn recipe(&self) -> PathBuf {
        self.checkout.join("recipe.toml")
    }

    /// What was built.
    pub fn lock(&self) -> Result<Lock> {
        Lock::read(&self.outputs.lock())
    }

    /// Builds with everything warm but the base layer.
    pub fn clean(&self) -> Result<Cost> {
        fs::remove_dir_all(self.cache.join("hearth/base")).context("removing the base layer")?;
        self.build(&self.checkout, &self.cache)
    }

    /// Changes the overlay and builds.
    pub fn rebuild(&self, count: usize) -> Result<Cost> {
        change(&self.checkout.join("overlays/base"), count)?;
        self.build(&self.checkout, &self.cache)
    }

    /// Builds with no caches at all: tools, packages, the appliance's program.
    pub fn cold(&self, root: &Path) -> Result<Cost> {
        self.build(root, &self.cold)
    }

    /// The clock stops when the last file has its final name, which is when the builder ends.
    fn build(&self, checkout: &Path, cache: &Path) -> Result<Cost> {
        let mut command = Command::new(&self.builder);
        command.current_dir(checkout).arg("build").arg("--out").arg(self.outputs.dir()).env("XDG_CACHE_HOME", cache);
        measure::run(command)
    }

    /// How large the image is.
    pub fn image(&self) -> Result<Size> {
        Size::of(&self.outputs.image())
    }

    /// How large the image is when compressed.
    pub fn compressed(&self) -> Result<Bytes> {
        build::compress(&self.outputs)?;
        Ok(Size::of(&self.outputs.compressed())?.length)
    }

    /// How long a machine takes from power-on to the first page, and what emulates it.
    pub fn first_page(&self) -> Result<(Duration, Accel)> {
        let lab = Lab::new("bench")?;
        let disk = Disk::over(&self.outputs.image(), Bytes::gib(16).0).context("laying a disk over the image")?;
        let started = Instant::now();
        let vm = lab.vm("main").firmware(Firmware::Uefi).drive(Drive::served(&disk).boots(0)).start()?;
        wait_for_page(&lab, &vm)?;
        Ok((started.elapsed(), lab.accel()))
    }
}

/// Changes one file of the overlay at `dir`, each time otherwise.
pub fn change(dir: &Path, count: usize) -> Result<()> {
    let path = dir.join(CHANGED);
    fs::write(&path, format!("Change number {count}.\n")).with_context(|| format!("changing {}", path.display()))
}
