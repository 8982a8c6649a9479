//! Copies a folder as it is: folders, files with their modes, links as links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Copies what `wanted` says yes to from `from` into `to`, which is made if it is missing.
pub fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&fs::DirEntry) -> Result<bool>) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        if !wanted(&entry)? {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target, wanted)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target).with_context(|| format!("copying {}", source.display()))?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_files_and_links_arrive_and_what_is_not_wanted_does_not() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("dir")).unwrap();
        fs::write(from.path().join("dir/file"), "x").unwrap();
        fs::write(from.path().join("no"), "x").unwrap();
        symlink("dir/file", from.path().join("link")).unwrap();
        copy(from.path(), to.path(), &|entry| Ok(entry.file_name() != "no")).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("dir/file")).unwrap(), "x");
        assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("dir/file"));
        assert!(!to.path().join("no").exists());
    }
}
