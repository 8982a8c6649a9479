//! The index of the kernel's modules. depmod unpacks every one of them to make it, an eighth of
//! what a base layer takes of the processor; so it is kept in the cache, beside the packages, for
//! the next base layer that has the same kernel.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use hearth::digest::Digest;
use hearth::run::Cmd;
use nix::fcntl::{Flock, FlockArg};

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
    // Another build may be making the same one.
    let lock = File::open(kept.dir).with_context(|| format!("opening {}", kept.dir.display()))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("waiting for {}", kept.dir.display()))?;
    let known = kept.dir.join(key(kernel, packages, kept.tools).to_string());
    if sums::are_right(&known, None) {
        return treecopy::copy(&known, &modules, &|entry| Ok(entry.file_name() != sums::NAME));
    }
    let before = names(&modules)?;
    let mut depmod = Command::new("chroot");
    depmod.arg(root).args(["depmod", "-b", "/tree", kernel]);
    Cmd::from_command("indexing the kernel's modules", depmod).run()?;
    keep(&modules, &before, &known)
}

/// Keeps what came to the folder `modules` since it held `before`, in the folder `known`.
fn keep(modules: &Path, before: &BTreeSet<OsString>, known: &Path) -> Result<()> {
    // One name for one index: what a killed run leaves, the next for it replaces. So it does with a damaged one.
    let new = known.with_extension("new");
    for old in [&new, known] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
        }
    }
    treecopy::copy(modules, &new, &|entry| Ok(!before.contains(&entry.file_name())))?;
    sums::seal(&new)?;
    fs::rename(&new, known).with_context(|| format!("renaming to {}", known.display()))
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
        // A killed run was here.
        fs::create_dir(known.with_extension("new")).unwrap();
        fs::write(known.with_extension("new").join("half"), "").unwrap();
        keep(modules.path(), &before, &known).unwrap();
        assert!(sums::are_right(&known, None));
        assert!(!known.join("half").exists());
        assert!(!known.join("modules.order").exists());
        fs::write(known.join("modules.dep"), "mad").unwrap();
        assert!(!sums::are_right(&known, None));
        keep(modules.path(), &before, &known).unwrap();
        assert!(sums::are_right(&known, None));
        assert_eq!(names(kept.path()).unwrap().len(), 1);
    }
}
