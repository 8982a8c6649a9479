//! The index of the kernel's modules. depmod unpacks each of 4000 modules to make it, which
//! takes as long as unpacking all packages; so it is kept beside them in the cache, for the
//! next base layer that has the same kernel.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use hearth::digest::Digest;
use hearth::run::Cmd;

use super::dpkgdb::Unpacked;
use crate::{sums, treecopy};

/// Where an index is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// The folder of all indexes.
    pub dir: &'a Path,
    /// The tools tree whose depmod makes them.
    pub tools: &'a Path,
}

/// The folder of the kernel's modules, in a tree.
fn folder(kernel: &str) -> String {
    format!("usr/lib/modules/{kernel}")
}

/// A name for the index of `kernel`'s modules: it follows from the packages that they are in.
fn key(kernel: &str, packages: &[Unpacked<'_>], tools: &Path) -> Digest {
    let folder = format!("/{}/", folder(kernel));
    let has_modules = |package: &&Unpacked<'_>| package.files.iter().any(|path| path.starts_with(&folder));
    let sources = packages.iter().filter(has_modules).map(|package| format!(" {}", package.package.sha256));
    let tools = tools.file_name().unwrap_or_default().to_string_lossy();
    Digest::of(format!("{kernel} {tools}{}", sources.collect::<String>()))
}

/// Indexes the modules of `kernel` in `tree`, which is at /tree in the tools tree at `root`.
pub fn index(tree: &Path, root: &Path, kernel: &str, packages: &[Unpacked<'_>], kept: Kept<'_>) -> Result<()> {
    let modules = tree.join(folder(kernel));
    let known = kept.dir.join(key(kernel, packages, kept.tools).to_string());
    if sums::are_right(&known, None) {
        return treecopy::copy(&known, &modules, &|entry| Ok(entry.file_name() != sums::NAME));
    }
    let before = names(&modules)?;
    let mut depmod = Command::new("chroot");
    depmod.arg(root).args(["depmod", "-b", "/tree", kernel]);
    Cmd::from_command("indexing the kernel's modules", depmod).run()?;
    keep(&modules, &before, kept.dir, &known)
}

/// Keeps what came to the folder `modules` since it held `before`.
fn keep(modules: &Path, before: &BTreeSet<OsString>, dir: &Path, known: &Path) -> Result<()> {
    let new = tempfile::tempdir_in(dir).context("making a folder for the index of modules")?;
    treecopy::copy(modules, new.path(), &|entry| Ok(!before.contains(&entry.file_name())))?;
    sums::seal(new.path())?;
    // Damaged, as we are here; or another build was faster, with the same index.
    let _ = fs::remove_dir_all(known);
    match fs::rename(new.path(), known) {
        Ok(()) => drop(new.keep()),
        Err(_) if sums::are_right(known, None) => {}
        Err(error) => return Err(error).with_context(|| format!("renaming to {}", known.display())),
    }
    Ok(())
}

fn names(dir: &Path) -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    Ok(entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::spec::SpecPackage;

    fn package(name: &str, content: &str) -> SpecPackage {
        SpecPackage {
            name: name.into(),
            arch: "amd64".into(),
            sha256: Digest::of(content),
            size: hearth::units::Bytes(1),
            manual: false,
        }
    }

    #[test]
    fn only_what_holds_modules_names_the_index() {
        let (linux, newer, bash) = (package("linux", "1"), package("linux", "2"), package("bash", "1"));
        let unpacked = |package| Unpacked { package, control: Vec::new(), files: Vec::new() };
        let with_modules =
            |package| Unpacked { files: vec!["/usr/lib/modules/6.12/kernel/a.ko.xz".into()], ..unpacked(package) };
        let key = |packages: &[Unpacked<'_>]| key("6.12", packages, Path::new("/cache/tools/image-1"));
        let one = key(&[with_modules(&linux)]);
        assert_eq!(one, key(&[with_modules(&linux), unpacked(&bash)]));
        assert_ne!(one, key(&[with_modules(&newer)]));
        assert_ne!(one, super::key("6.13", &[with_modules(&linux)], Path::new("/cache/tools/image-1")));
    }

    #[test]
    fn what_was_made_is_kept_and_what_is_damaged_replaced() {
        let (modules, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(modules.path().join("modules.order"), "shipped").unwrap();
        let before = names(modules.path()).unwrap();
        fs::write(modules.path().join("modules.dep"), "made").unwrap();
        let known = kept.path().join("key");
        keep(modules.path(), &before, kept.path(), &known).unwrap();
        assert!(sums::are_right(&known, None));
        assert!(!known.join("modules.order").exists());
        fs::write(known.join("modules.dep"), "mad").unwrap();
        assert!(!sums::are_right(&known, None));
        keep(modules.path(), &before, kept.path(), &known).unwrap();
        assert!(sums::are_right(&known, None));
        assert_eq!(names(kept.path()).unwrap().len(), 1);
    }
}
