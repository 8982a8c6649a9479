//! One digest for a folder's contents: names, bytes, links, who may execute.
//! Never times: touching a file changes nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use hearth::digest::Digest;

/// The digest of the folder `dir`, or of nothing if it does not exist.
pub fn of(dir: &Path) -> Result<Digest> {
    let mut text = String::new();
    if dir.exists() {
        describe(dir, "", &mut text)?;
    }
    Ok(Digest::of(text))
}

fn describe(dir: &Path, prefix: &str, text: &mut String) -> Result<()> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let found = path.symlink_metadata().with_context(|| format!("reading {}", path.display()))?;
        if found.is_symlink() {
            *text += &format!("link {name} {}\n", fs::read_link(&path)?.display());
        } else if found.is_dir() {
            *text += &format!("dir {name}\n");
            describe(&path, &name, text)?;
        } else {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let executable = found.permissions().mode() & 0o111 != 0;
            *text += &format!("file {name} {executable} {}\n", Digest::of_reader(file)?.0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_count_and_times_do_not() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [a.path(), b.path()] {
            fs::create_dir(dir.join("etc")).unwrap();
            fs::write(dir.join("etc/x"), "1").unwrap();
        }
        assert_eq!(of(a.path()).unwrap(), of(b.path()).unwrap());
        fs::write(b.path().join("etc/x"), "2").unwrap();
        assert_ne!(of(a.path()).unwrap(), of(b.path()).unwrap());
        assert_eq!(of(&a.path().join("missing")).unwrap(), Digest::of(""));
    }
}
