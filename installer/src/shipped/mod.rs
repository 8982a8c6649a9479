//! What the image brought. Before anything of its owner's gets onto root, adoption keeps a copy of all
//! that is not a program: settings, accounts, the state of services. `hearth reset` compares
//! root with that copy, path by path, so that nothing has to be remembered by whoever wrote it: what is
//! there and was not in the image goes, and what differs or is gone comes back.
//!
//! Programs are another matter. They come from packages, which are upgraded, and an old one would be worse than a
//! new one: so they stay as they are, and only what no package brought and the image had not goes.
//!
//! Every function takes the folder below which root is seen: all of it is tried on trees of tests.

mod entry;
mod packages;
mod programs;
mod repair;
mod zones;

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::durable;
use entry::{Entry, children};
use programs::Programs;
pub(crate) use repair::put_right;
use zones::{Zone, is_above_left, zone};

/// Where it all lies.
const DIR: &str = "/var/lib/hearth/image";

/// Where the copy lies once it is whole.
pub const KEPT: &str = "/var/lib/hearth/image/kept";

/// The copied files, in it.
const TREE: &str = "tree";

/// Something on root that is not as the image brought it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// The image had no such file, folder or link, and no package brought it.
    Foreign(PathBuf),
    /// It was another one in the image, or it is gone.
    Changed(PathBuf),
    /// The initramfs of this kernel is not the image's: it was made here, from what was set then.
    Initramfs(String),
}

/// For people.
impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(path) => write!(f, "erase {}", path.display()),
            Self::Changed(path) => write!(f, "put back {}", path.display()),
            Self::Initramfs(kernel) => write!(f, "make the initramfs of Linux {kernel} anew"),
        }
    }
}

/// Where `path`, an absolute one, is found below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Where the copy of `path` is found below `root`.
fn copied(root: &Path, path: &Path) -> PathBuf {
    below(root, &below(&Path::new(KEPT).join(TREE), path))
}

/// Keeps a copy of what the image brought, whole or not at all. One that is there is kept.
pub fn keep(root: &Path) -> Result<()> {
    let whole = below(root, Path::new(KEPT));
    if whole.exists() {
        return Ok(());
    }
    let partial = whole.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    let programs = Programs::of(root)?;
    let tree = partial.join(TREE);
    fs::create_dir_all(&tree).with_context(|| format!("making {}", tree.display()))?;
    // Hashes of passwords would be in it, if an image had any.
    fs::set_permissions(&partial, Permissions::from_mode(0o700)).with_context(|| partial.display().to_string())?;
    copy_states(root, Path::new("/"), &tree)?;
    programs.write(&partial)?;
    durable::sync_file_system(&partial)?;
    fs::rename(&partial, &whole).with_context(|| format!("renaming to {}", whole.display()))?;
    durable::sync_dir(whole.parent().unwrap_or(root))
}

/// Copies what is no program in the folder `path`, and below it.
fn copy_states(root: &Path, path: &Path, tree: &Path) -> Result<()> {
    for (path, entry) in children(root, path)? {
        match zone(&path) {
            Zone::Left => continue,
            Zone::Program => {}
            Zone::State => {
                let to = below(tree, &path);
                // The folder of a program that has this in it is not copied itself.
                let above = to.parent().unwrap_or(tree);
                fs::create_dir_all(above).with_context(|| format!("making {}", above.display()))?;
                entry.copy(&below(root, &path), &to)?;
            }
        }
        if entry.is_dir() {
            copy_states(root, &path, tree)?;
        }
    }
    Ok(())
}

/// All that is not as the image brought it, a folder that goes as a whole once, and parents before
/// what is in them.
pub fn strays(root: &Path) -> Result<Vec<Stray>> {
    let look = Look { root, programs: Programs::read(&below(root, Path::new(KEPT)))?, owned: packages::owned(root)? };
    let mut out = Vec::new();
    look.there(Path::new("/"), &mut out)?;
    look.gone(Path::new("/"), &mut out)?;
    out.sort();
    Ok(out)
}

/// What is compared with what.
struct Look<'a> {
    root: &'a Path,
    programs: Programs,
    owned: packages::Owned,
}

impl Look<'_> {
    /// What is there, in the folder `path` and below it.
    fn there(&self, path: &Path, out: &mut Vec<Stray>) -> Result<()> {
        for (path, entry) in children(self.root, path)? {
            let stray = match zone(&path) {
                Zone::Left => continue,
                Zone::Program => self.program(&path)?,
                Zone::State => self.state(&path, &entry)?,
            };
            match stray {
                Some(stray) => {
                    let goes = matches!(stray, Stray::Foreign(_));
                    out.push(stray);
                    if goes {
                        continue;
                    }
                }
                None if !entry.is_dir() => continue,
                None => {}
            }
            if entry.is_dir() {
                self.there(&path, out)?;
            }
        }
        Ok(())
    }

    fn program(&self, path: &Path) -> Result<Option<Stray>> {
        if let Some(kernel) = programs::kernel_of(path) {
            let is_there = below(self.root, &Path::new("/boot").join(format!("vmlinuz-{kernel}"))).exists();
            return Ok(match is_there {
                true if self.programs.has_initramfs(path, self.root)? => None,
                true => Some(Stray::Initramfs(kernel)),
                false => Some(Stray::Foreign(path.to_owned())),
            });
        }
        let known = self.owned.has(path) || self.programs.has(path) || programs::is_index(path);
        Ok((!known).then(|| Stray::Foreign(path.to_owned())))
    }

    fn state(&self, path: &Path, entry: &Entry) -> Result<Option<Stray>> {
        let copy = copied(self.root, path);
        Ok(match Entry::of(&copy)? {
            Some(was) if was == *entry && was.has_same_bytes(&copy, &below(self.root, path))? => None,
            Some(_) => Some(Stray::Changed(path.to_owned())),
            None if is_above_left(path) => None,
            None => Some(Stray::Foreign(path.to_owned())),
        })
    }

    /// What the image had in the folder `path` and below it, and is not there.
    fn gone(&self, path: &Path, out: &mut Vec<Stray>) -> Result<()> {
        let top = Path::new(KEPT).join(TREE);
        for (copy, entry) in children(self.root, &below(&top, path))? {
            let path = Path::new("/").join(copy.strip_prefix(&top).unwrap_or(&copy));
            if Entry::of(&below(self.root, &path))?.is_none() {
                out.push(Stray::Changed(path.clone()));
            }
            if entry.is_dir() {
                self.gone(&path, out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
