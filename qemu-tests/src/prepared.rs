//! Machines that many tests need, made once: what a recipe did to an image is
//! kept as a qcow2 file over it, and later machines are overlays on that file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hearth::digest::Digest;
use hearth::manifest::Manifest;
use hearth_image::cache::Cache;

use crate::drive::make_overlay;
use crate::lab::Lab;

/// Gives the qcow2 file that `make` left when it last ran for this `image`, `size` and
/// `recipe` (its name and version: change it when `make` changes), or runs `make`
/// on a fresh one. Never write to the file; boot [`crate::Drive::overlay`]s of it.
///
/// ```no_run
/// # fn example(lab: &hearth_qemu_tests::Lab) -> anyhow::Result<()> {
/// use hearth_qemu_tests::{Drive, prepared};
/// let disk = prepared(lab, &lab.image()?, 64 << 30, "adopted-1", |disk| {
///     let vm = lab.vm("prepare").drive(Drive::file(disk).serial("HEARTH0001").boots(0)).start()?;
///     vm.wait_for_text("login:", lab.patience(60))?;
///     vm.power_down(lab.patience(30))
/// })?;
/// let vm = lab.vm("main").drive(Drive::overlay(disk).serial("HEARTH0001").boots(0)).start()?;
/// # Ok(()) }
/// ```
pub fn prepared(
    lab: &Lab,
    image: &Path,
    size: u64,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let image = image.canonicalize().with_context(|| format!("opening {}", image.display()))?;
    let dir = lab.cache().dir("machines")?;
    let _lock = lab.cache().lock(&format!("machine-{recipe}"))?;
    let key = Digest::of(format!("{} {} {size} {recipe}", image.display(), digest(&image)?)).to_string();
    let machine = dir.join(format!("{recipe}-{}.qcow2", &key[..16]));
    if machine.exists() {
        return Ok(machine);
    }
    forget_older(&dir, recipe)?;
    let new = Cache::partial(&dir, recipe).with_extension("qcow2");
    let result = make_overlay(lab, &image, &new, Some(size)).and_then(|()| lab.step(recipe, || make(&new)));
    if let Err(error) = result {
        // The failure matters; the file is in nobody's way.
        let _ = fs::remove_file(&new);
        return Err(error.context(format!("preparing the machine {recipe}")));
    }
    fs::rename(&new, &machine).with_context(|| format!("keeping {}", machine.display()))?;
    Ok(machine)
}

/// Of the image: from the manifest beside it if there is one, else of its bytes.
fn digest(image: &Path) -> Result<Digest> {
    if let Ok(text) = fs::read(image.with_extension("manifest.json")) {
        if let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) {
            return Ok(manifest.image.sha256);
        }
    }
    let file = fs::File::open(image).with_context(|| format!("opening {}", image.display()))?;
    Ok(Digest::of_reader(file).with_context(|| format!("reading {}", image.display()))?.0)
}

/// One machine a recipe is enough: older ones belong to images that are gone.
fn forget_older(dir: &Path, recipe: &str) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = name.strip_prefix(recipe).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".qcow2"));
        let partial = name.starts_with(&format!(".{recipe}."));
        if partial || key.is_some_and(|key| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_machines_of_the_same_recipe_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a-0123456789abcdef.qcow2", "a-b-0123456789abcdef.qcow2", ".a.12.qcow2", "a-0123.qcow2"];
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        forget_older(dir.path(), "a").unwrap();
        let left: Vec<bool> = names.iter().map(|name| dir.path().join(name).exists()).collect();
        assert_eq!(left, [false, true, false, true]);
    }
}
