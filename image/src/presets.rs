//! Which units are enabled. Presets decide, and on a first boot systemd only
//! enables, it never disables what packages enabled when they were configured. So
//! `systemctl preset-all` runs at build time, on a small root that holds the
//! units alone, and what it changes becomes part of the overlay layer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};
use hearth::run::Cmd;

use crate::base::Base;
use crate::interrupt::Scratch;
use crate::layer::{Body, Item, Layer};
use crate::tools::Tools;
use crate::treecopy;

/// The folders of a tree that decide about units: the base layer keeps a copy of them.
pub const UNIT_DIRS: [&str; 3] = ["usr/lib/systemd", "etc/systemd", "etc/init.d"];

/// What in those folders is no unit and no preset; big, and of no use here.
const NO_UNITS: [&str; 4] = ["catalog", "boot", "ntp-units.d", "system-generators"];

/// No unit or preset is as large; the programs beside them are.
const LARGEST_UNIT: u64 = 1 << 16;

/// Where links that enable units lie.
const ENABLED: [&str; 2] = ["etc/systemd/system", "etc/systemd/user"];

/// Applies the presets of `base` and `layer` together; the changes go into `layer`.
pub fn apply(tools: &Tools, base: &Base, layer: &mut Layer) -> Result<()> {
    let scratch = Scratch::new()?;
    let root = scratch.path();
    treecopy::copy(&base.dir.join("units"), root, &|_| Ok(true))?;
    for (path, item) in layer.below(&UNIT_DIRS) {
        let to = root.join(path.trim_start_matches('/'));
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        let _ = fs::remove_file(&to);
        match &item.body {
            Body::File(from) => fs::copy(from, &to).map(drop),
            Body::Bytes(bytes) => fs::write(&to, bytes),
            Body::Link(target) => symlink(target, &to),
            Body::Absent => Ok(()),
        }
        .with_context(|| format!("staging {path}"))?;
    }
    let before = links(root)?;
    let sandbox = tools.sandbox()?.bind(root);
    for scope in ["--system", "--global"] {
        Cmd::from_command("applying the unit presets", sandbox.command("systemctl"))
            .arg(scope)
            .arg(format!("--root={}", root.display()))
            .args(["--no-pager", "preset-all"])
            .run()?;
    }
    let after = links(root)?;
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        layer.put(path.clone(), Item { body: Body::Absent, mode: 0 });
    }
    for (path, target) in after.iter().filter(|(path, target)| before.get(*path) != Some(target)) {
        layer.put(path.clone(), Item { body: Body::Link(target.clone()), mode: 0o777 });
    }
    Ok(())
}

/// Whether something in a unit folder says anything about units: programs lie there too.
pub fn is_about_units(entry: &fs::DirEntry) -> Result<bool> {
    if entry.file_type()?.is_dir() {
        return Ok(!NO_UNITS.iter().any(|name| entry.file_name() == *name));
    }
    Ok(entry.metadata()?.len() < LARGEST_UNIT)
}

/// Every link that enables a unit: absolute path and target.
fn links(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for dir in ENABLED {
        collect(root, &root.join(dir), &mut found)?;
    }
    Ok(found)
}

fn collect(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_symlink() {
            let name = format!("/{}", path.strip_prefix(root)?.display());
            found.insert(name, fs::read_link(&path)?.to_string_lossy().into_owned());
        } else if entry.file_type()?.is_dir() {
            collect(root, &path, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enabling_links_are_found_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let wants = root.path().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink("/usr/lib/systemd/system/a.service", wants.join("a.service")).unwrap();
        fs::write(root.path().join("etc/systemd/system/b.service"), "").unwrap();
        let links = links(root.path()).unwrap();
        assert_eq!(links.len(), 1);
        assert_eq!(links["/etc/systemd/system/multi-user.target.wants/a.service"], "/usr/lib/systemd/system/a.service");
    }
}
