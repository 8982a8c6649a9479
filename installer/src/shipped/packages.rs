//! Which paths belong to packages, as dpkg has it written down.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::below;

/// Where dpkg keeps what it knows.
const DPKG: &str = "/var/lib/dpkg";

/// Folders at the top that are links into /usr; packages still name files by them.
const MERGED: [&str; 4] = ["/bin", "/sbin", "/lib", "/lib64"];

/// Every path that a package brought.
#[derive(Debug)]
pub(super) struct Owned(HashSet<PathBuf>);

impl Owned {
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.contains(path)
    }
}

/// What the packages of `root` brought, and what was set aside for it.
pub(super) fn owned(root: &Path) -> Result<Owned> {
    let dpkg = below(root, Path::new(DPKG));
    let info = dpkg.join("info");
    let mut paths = HashSet::new();
    for found in fs::read_dir(&info).with_context(|| format!("reading {}", info.display()))? {
        let path = found.with_context(|| format!("reading {}", info.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "list") {
            paths.extend(lines(&path)?.iter().map(|line| merged(line)));
        }
    }
    // Three lines each: a path, what it is called while it is set aside, and for which package.
    let diversions = dpkg.join("diversions");
    if diversions.exists() {
        paths.extend(lines(&diversions)?.iter().filter(|line| line.starts_with('/')).map(|line| merged(line)));
    }
    Ok(Owned(paths))
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// `path`, where it really lies.
fn merged(path: &str) -> PathBuf {
    let path = Path::new(path);
    if MERGED.iter().any(|top| path.starts_with(top)) { below(Path::new("/usr"), path) } else { path.to_owned() }
}
