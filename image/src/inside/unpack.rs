//! Unpacks every package at once, on all cores, and notes what dpkg would have
//! noted. dpkg does one file at a time and syncs; a build that is thrown away when
//! it fails needs neither.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, anyhow};

use super::spec::{Damaged, SpecPackage};
use crate::store::{Half, Store};

/// The package whose links (`/bin` -> `usr/bin` …) all others rely on.
const FIRST: &str = "base-files";

/// Unpacks `packages` into `tree`; returns for each the paths it owns, as dpkg lists them.
pub fn unpack_all(store: &Store, packages: &[SpecPackage], tree: &Path) -> Result<Vec<Vec<String>>> {
    let lists: Mutex<Vec<Vec<String>>> = Mutex::new(vec![Vec::new(); packages.len()]);
    let one = |index: usize| -> Result<()> {
        let package = &packages[index];
        let list = unpack(store, package, tree).map_err(|error| blame(store, package, error))?;
        lists.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = list;
        Ok(())
    };
    let first = packages.iter().position(|package| package.name == FIRST);
    if let Some(first) = first {
        one(first)?;
    }
    // The heaviest first, so that no thread is left alone with one at the end.
    let mut order: Vec<usize> = (0..packages.len()).filter(|index| Some(*index) != first).collect();
    order.sort_by_key(|index| std::cmp::Reverse(packages[*index].size));
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one(*index) {
                        failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                        next.store(order.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(lists.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
    }
}

fn unpack(store: &Store, package: &SpecPackage, tree: &Path) -> Result<Vec<String>> {
    let mut archive = tar::Archive::new(store.open_half(&package.sha256, Half::Data)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    let mut list = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        list.push(dpkg_path(&path)?);
        entry.unpack_in(tree).with_context(|| format!("unpacking {} of {}", path.display(), package.name))?;
    }
    // Read to the end: the stream's checksum comes last.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    Ok(list)
}

/// Marks `error` as a damaged package if that is what it is, and not a full disk.
fn blame(store: &Store, package: &SpecPackage, error: anyhow::Error) -> anyhow::Error {
    if store.is_sound(&package.sha256) { error } else { error.context(Damaged(package.sha256)) }
}

/// `./usr/bin/x` as dpkg writes it: `/usr/bin/x`, and `/.` for the root.
fn dpkg_path(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| anyhow!("a path in a package is not UTF-8: {}", path.display()))?;
    let relative = text.trim_start_matches("./").trim_end_matches('/');
    Ok(if relative.is_empty() || relative == "." { "/.".to_owned() } else { format!("/{relative}") })
}

/// Reads all members of a package's control half: name and bytes.
pub fn control_members(store: &Store, package: &SpecPackage) -> Result<Vec<(String, Vec<u8>)>> {
    let read = || -> Result<Vec<(String, Vec<u8>)>> {
        let mut archive = tar::Archive::new(store.open_half(&package.sha256, Half::Control)?);
        let mut members = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path: PathBuf = entry.path()?.into_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut body = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut body)?;
            members.push((name, body));
        }
        // Read to the end: the stream's checksum comes last.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
        Ok(members)
    };
    read().map_err(|error| blame(store, package, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_dpkg_writes_them() {
        for (tar, dpkg) in
            [("./", "/."), (".", "/."), ("./usr/", "/usr"), ("./usr/bin/x", "/usr/bin/x"), ("etc", "/etc")]
        {
            assert_eq!(dpkg_path(Path::new(tar)).unwrap(), dpkg);
        }
    }
}
