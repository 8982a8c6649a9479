//! The base layer: all packages, configured, as one ext4 file system. It depends
//! on the lock and a few files only, so it is kept in the cache under their
//! digest, and a change in overlays/ never makes it again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::layout::derived_id;
use hearth::units::Bytes;
use uuid::{Uuid, uuid};

use crate::cache::Cache;
use crate::inside::spec::{BaseFacts, BaseSpec, SpecPackage};
use crate::lock::{Lock, Locked};
use crate::mirrors::Mirrors;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tools::Tools;
use crate::{fetch, progress, sandbox, sums, treehash};

/// Raise when the same inputs give another base layer than before.
const GENERATION: u32 = 8;

/// The seed of every id that follows from a build's contents.
pub const SEED: Uuid = uuid!("6f4f6d0a-2f53-5d0c-9a39-3a6d8f0f7f11");

/// Room left in the root file system for what the first boots write before it is grown.
const SLACK: Bytes = Bytes::mib(192);

/// A tmpfs is used for the work tree only if this many times its size is free.
const MEMORY_FACTOR: u64 = 2;

/// How often a damaged package is fetched again before we give up.
const REPAIRS: usize = 3;

/// A base layer in the cache.
#[derive(Debug)]
pub struct Base {
    /// The folder that holds `root.ext4`, `boot/`, `units/` and `base.json`.
    pub dir: PathBuf,
    /// What it was made from.
    pub key: Digest,
    /// What it is.
    pub facts: BaseFacts,
    /// Whether it was made just now.
    is_new: bool,
}

/// The ext4 file system's name.
const ROOT: &str = "root.ext4";

impl Base {
    /// The ext4 file system.
    pub fn root_image(&self) -> PathBuf {
        self.dir.join(ROOT)
    }

    /// Whether the ext4 file system is what it was when it was made. All else was looked over
    /// before; this takes its time, and other work can be done meanwhile.
    pub fn root_is_right(&self) -> bool {
        self.is_new || sums::is_right(&self.dir, ROOT)
    }

    /// Takes it out of the cache, because it is damaged.
    pub fn discard(self, cache: &Cache) -> Result<()> {
        let _lock = cache.lock(&lock_name(&self.key))?;
        discard(&self.dir)
    }
}

fn lock_name(key: &Digest) -> String {
    format!("base-{}", &key.to_string()[..16])
}

fn discard(dir: &Path) -> Result<()> {
    progress::note("the cached base layer is damaged on this disk; making it again");
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

/// Finds the base layer for `lock` in the cache, or makes it. Ask [`Base::root_is_right`] before
/// relying on a found one.
pub fn ensure(cache: &Cache, tools: &Tools, recipe: &Recipe, lock: &Lock) -> Result<Base> {
    let rootfs = recipe.target_dir().join("rootfs");
    let dpkg_info = recipe.target_dir().join("dpkg");
    let key = Digest::of(format!(
        "{GENERATION} {} {} {} {} {}",
        env!("CARGO_PKG_VERSION"),
        Digest::of(lock.to_text()?),
        treehash::of(&rootfs)?,
        treehash::of(&dpkg_info)?,
        tools.name(),
    ));
    let parent = cache.dir("base")?;
    let dir = parent.join(key.to_string());
    let _lock = cache.lock(&lock_name(&key))?;
    if dir.exists() && !sums::are_right(&dir, Some(ROOT)) {
        discard(&dir)?;
    }
    let is_new = !dir.exists();
    if is_new {
        let store = Store::open(cache)?;
        let new = parent.join(format!("{key}.new"));
        let spec = BaseSpec {
            packages: lock.packages.iter().map(|package| spec_package(package, recipe)).collect(),
            store: store.dir().to_owned(),
            tools: tools.tree().to_owned(),
            module_indexes: cache.dir("modules")?,
            mount_point: cache.dir("mnt")?,
            work_dir: work_dir(cache, &key, lock.download_size())?,
            rootfs,
            dpkg_info,
            version: env!("CARGO_PKG_VERSION").into(),
            arch: lock.arch.clone(),
            epoch: lock.source_date_epoch,
            root_uuid: derived_id(SEED, &format!("root {key}")),
            slack: SLACK,
            out: new.clone(),
        };
        make(cache, recipe, lock, &store, &spec)?;
        sums::seal(&new)?;
        fs::rename(&new, &dir).with_context(|| format!("renaming to {}", dir.display()))?;
    }
    let facts = fs::read(dir.join("base.json")).context("reading base.json")?;
    let facts = serde_json::from_slice(&facts).context("reading base.json")?;
    Ok(Base { dir, key, facts, is_new })
}

fn spec_package(package: &Locked, recipe: &Recipe) -> SpecPackage {
    SpecPackage {
        name: package.name.clone(),
        arch: package.arch.clone(),
        sha256: package.sha256,
        size: package.size,
        manual: recipe.packages.contains(&package.name),
    }
}

/// Carries out `spec` in a sandbox; packages that turn out damaged are fetched again.
fn make(cache: &Cache, recipe: &Recipe, lock: &Lock, store: &Store, spec: &BaseSpec) -> Result<()> {
    let new = spec.out.as_path();
    for _ in 0..REPAIRS {
        fetch::fill(store, lock, || Mirrors::for_building(cache, &lock.suite, recipe.mirror()))?;
        if new.exists() {
            fs::remove_dir_all(new).with_context(|| format!("removing {}", new.display()))?;
        }
        fs::create_dir_all(new).with_context(|| format!("making {}", new.display()))?;
        let order = new.join("spec.json");
        fs::write(&order, serde_json::to_vec(spec)?).with_context(|| format!("writing {}", order.display()))?;
        let mut command = sandbox::internal(&["base"])?;
        command.arg(&order).args(["--log-format", progress::chosen()]);
        // It shows its own progress, so its stderr is ours.
        let status =
            command.stdin(std::process::Stdio::null()).status().context("starting the base layer's sandbox")?;
        let damaged = new.join(DAMAGED);
        if status.success() {
            return fs::remove_file(&order).context("removing the work order");
        }
        let Ok(text) = fs::read_to_string(&damaged) else {
            let _ = fs::remove_dir_all(new);
            return Err(sandbox::failed("making the base layer", status));
        };
        let digest: Digest = text.trim().parse().context("reading which package is damaged")?;
        let name = lock.packages.iter().find(|package| package.sha256 == digest).map_or("?", |package| &package.name);
        progress::note(&format!("the cached package {name} is damaged on this disk; fetching it again"));
        store.forget(&digest);
    }
    Err(anyhow!("cached packages keep getting damaged: check the disk that holds {}", store.dir().display()))
}

/// The file in which the inner half names a damaged package.
pub const DAMAGED: &str = "damaged";

/// None if memory is plentiful (the work tree then lies there), else a folder in the cache.
fn work_dir(cache: &Cache, key: &Digest, download: Bytes) -> Result<Option<PathBuf>> {
    // Unpacked packages take about 3.5 times their download.
    let need = download * 4 * MEMORY_FACTOR;
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    if available_memory(&text) >= need {
        return Ok(None);
    }
    // One name for one base layer: what a killed run leaves, the next for it removes.
    Ok(Some(cache.dir("work")?.join(key.to_string())))
}

fn available_memory(meminfo: &str) -> Bytes {
    let kib =
        meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    Bytes::kib(kib.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available_memory("MemTotal:  100 kB\nMemAvailable:   2048 kB\n"), Bytes::mib(2));
        assert_eq!(available_memory(""), Bytes::ZERO);
    }
}
