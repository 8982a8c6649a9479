//! The overlay layer: Hearth's own files over the packages. It is a list of edits
//! in sorted order, applied to a copy of the base layer's file system by debugfs;
//! a first build and a rebuild do the very same, so they give the same bytes, and
//! a change in overlays/ costs a second.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use serde::Deserialize;

use crate::inside::spec::Node;
use crate::recipe::Recipe;
use crate::tomlfile;

/// Files at the top of an overlay folder that describe it and do not land in the image.
const ABOUT: [&str; 2] = ["packages.toml", "modes.toml"];

/// What `overlays/<name>/modes.toml` holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Modes {
    /// Path to octal mode, where it is neither 0755 for what is executable nor 0644.
    #[serde(default)]
    modes: BTreeMap<String, String>,
}

/// One path Hearth adds or replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What to put there.
    pub body: Body,
    /// Its permissions.
    pub mode: u32,
}

/// What an [`Item`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A copy of this file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// Nothing: what the packages put there goes.
    Absent,
}

/// All of Hearth's own files, by absolute path in the image.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    items: BTreeMap<String, Item>,
}

impl Layer {
    /// Collects what the recipe's overlays hold.
    pub fn from_recipe(recipe: &Recipe) -> Result<Self> {
        let mut layer = Self::default();
        for name in &recipe.file.overlays {
            layer.add_overlay(&recipe.overlay_dir(name))?;
        }
        Ok(layer)
    }

    fn add_overlay(&mut self, dir: &Path) -> Result<()> {
        let modes_file = dir.join(ABOUT[1]);
        let mut modes = if modes_file.exists() { tomlfile::read::<Modes>(&modes_file)? } else { Modes::default() };
        self.add_folder(dir, "", &mut modes.modes)?;
        match modes.modes.keys().next() {
            None => Ok(()),
            Some(path) => {
                Err(anyhow!("{}: `{path}` names no file of this overlay", modes_file.display())).kind(Exit::Input)
            }
        }
    }

    fn add_folder(&mut self, dir: &Path, prefix: &str, modes: &mut BTreeMap<String, String>) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display())).kind(Exit::Input)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .filter(|name| !name.chars().any(|c| c.is_control() || c == '"'))
                .ok_or_else(|| anyhow!("{}: a name in an overlay must be plain text", entry.path().display()))
                .kind(Exit::Input)?;
            if prefix.is_empty() && ABOUT.contains(&name) {
                continue;
            }
            let path = format!("{prefix}/{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_folder(&entry.path(), &path, modes)?;
                continue;
            }
            let body = if kind.is_symlink() {
                Body::Link(fs::read_link(entry.path())?.to_string_lossy().into_owned())
            } else {
                Body::File(entry.path())
            };
            let executable = !kind.is_symlink() && entry.metadata()?.permissions().mode() & 0o111 != 0;
            let mode = match modes.remove(path.trim_start_matches('/')) {
                Some(text) => parse_mode(&text, &path)?,
                None if executable => 0o755,
                None => 0o644,
            };
            self.put(path, Item { body, mode });
        }
        Ok(())
    }

    /// Adds or replaces one path.
    pub fn put(&mut self, path: impl Into<String>, item: Item) {
        self.items.insert(path.into(), item);
    }

    /// What lies below any of the folders `dirs` (without leading slash).
    pub fn below<'a>(&'a self, dirs: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a Item)> {
        self.items.iter().filter(|(path, _)| {
            let path = path.trim_start_matches('/');
            dirs.iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')))
        })
    }

    /// Adds a file made of `bytes`.
    pub fn put_bytes(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        self.put(path, Item { body: Body::Bytes(bytes.into()), mode });
    }

    /// Every path's digest: of a file's bytes, or of a link's target.
    pub fn digests(&self) -> Result<BTreeMap<String, Digest>> {
        self.items
            .iter()
            .map(|(path, item)| {
                let digest = match &item.body {
                    Body::File(from) => {
                        let file = fs::File::open(from).with_context(|| format!("opening {}", from.display()))?;
                        Digest::of_reader(file)?.0
                    }
                    Body::Bytes(bytes) => Digest::of(bytes),
                    Body::Link(target) => Digest::of(target),
                    Body::Absent => Digest::of(""),
                };
                Ok((path.clone(), digest))
            })
            .collect()
    }

    /// One digest for all of it: paths, modes, contents.
    pub fn digest(&self) -> Result<Digest> {
        let digests = self.digests()?;
        let text: String =
            self.items.iter().map(|(path, item)| format!("{path} {:o} {}\n", item.mode, digests[path])).collect();
        Ok(Digest::of(text))
    }

    /// The debugfs script that lays this over a file system with `base`'s paths. Bytes
    /// are put into files in `scratch`, which debugfs sees as `seen`.
    pub fn script(&self, base: &BTreeMap<String, Node>, scratch: &Path, seen: &Path) -> Result<String> {
        let mut known: BTreeMap<String, Node> = base.clone();
        let mut script = String::new();
        for (index, (path, item)) in self.items.iter().enumerate() {
            make_parents(path, &mut known, &mut script)?;
            match (known.get(path), &item.body) {
                (None, Body::Absent) => continue,
                (Some(Node::Dir), _) => {
                    return Err(anyhow!("{path} is a folder in the packages and something else in an overlay"))
                        .kind(Exit::Input);
                }
                (Some(_), _) => script += &format!("rm {}\n", quoted(path)),
                (None, _) => {}
            }
            let (kind, node) = match &item.body {
                Body::Absent => {
                    known.remove(path);
                    continue;
                }
                Body::File(_) | Body::Bytes(_) => {
                    let name = format!("{index}");
                    let staged = scratch.join(&name);
                    match &item.body {
                        Body::File(from) => fs::copy(from, &staged).map(drop),
                        Body::Bytes(bytes) => fs::write(&staged, bytes),
                        _ => Ok(()),
                    }
                    .with_context(|| format!("staging {path}"))?;
                    script += &format!("write {} {}\n", seen.join(&name).display(), quoted(path));
                    ("0100", Node::File)
                }
                Body::Link(target) => {
                    script += &format!("symlink {} {}\n", quoted(path), quoted(target));
                    ("", Node::Link(target.clone()))
                }
            };
            if !kind.is_empty() {
                script += &format!("sif {} mode {kind}{:03o}\n", quoted(path), item.mode);
            }
            known.insert(path.clone(), node);
        }
        Ok(script)
    }
}

fn make_parents(path: &str, known: &mut BTreeMap<String, Node>, script: &mut String) -> Result<()> {
    let parents: Vec<&str> = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]).collect();
    for parent in parents {
        match known.get(parent) {
            Some(Node::Dir) => {}
            Some(Node::Link(target)) => {
                return Err(anyhow!("{path}: {parent} is a link to {target} in the image; put the file there instead"))
                    .kind(Exit::Input);
            }
            Some(Node::File) => {
                return Err(anyhow!("{path}: {parent} is a file in the image, not a folder")).kind(Exit::Input);
            }
            None => {
                *script += &format!("mkdir {0}\nsif {0} mode 040755\n", quoted(parent));
                known.insert(parent.to_owned(), Node::Dir);
            }
        }
    }
    Ok(())
}

/// debugfs splits at blanks unless quoted; control characters and quotes were refused before.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn parse_mode(text: &str, path: &str) -> Result<u32> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| anyhow!("{path}: `{text}` is not an octal mode such as \"0440\""))
        .kind(Exit::Input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> BTreeMap<String, Node> {
        [("/etc", Node::Dir), ("/etc/issue", Node::File), ("/lib", Node::Link("usr/lib".into())), ("/usr", Node::Dir)]
            .map(|(path, node)| (path.to_owned(), node))
            .into()
    }

    fn layer(items: &[(&str, &str)]) -> Layer {
        let mut layer = Layer::default();
        for (path, text) in items {
            layer.put_bytes(path, *text, 0o644);
        }
        layer
    }

    fn script(items: &[(&str, &str)]) -> Result<String> {
        let scratch = tempfile::tempdir().unwrap();
        layer(items).script(&base(), scratch.path(), Path::new("/s"))
    }

    #[test]
    fn files_replace_and_folders_appear() {
        assert_eq!(
            script(&[("/etc/issue", "x"), ("/usr/share/hearth/a b", "y")]).unwrap(),
            "rm \"/etc/issue\"\nwrite /s/0 \"/etc/issue\"\nsif \"/etc/issue\" mode 0100644\n\
             mkdir \"/usr/share\"\nsif \"/usr/share\" mode 040755\n\
             mkdir \"/usr/share/hearth\"\nsif \"/usr/share/hearth\" mode 040755\n\
             write /s/1 \"/usr/share/hearth/a b\"\nsif \"/usr/share/hearth/a b\" mode 0100644\n"
        );
    }

    #[test]
    fn a_path_through_a_link_or_over_a_folder_is_refused() {
        assert!(script(&[("/lib/x", "")]).unwrap_err().to_string().contains("is a link to usr/lib"));
        assert!(script(&[("/usr", "")]).unwrap_err().to_string().contains("is a folder"));
        assert!(script(&[("/etc/issue/x", "")]).unwrap_err().to_string().contains("is a file"));
    }

    #[test]
    fn an_overlay_is_read_with_its_modes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/sudoers.d")).unwrap();
        fs::write(dir.path().join("etc/sudoers.d/x"), "x").unwrap();
        fs::write(dir.path().join("packages.toml"), "").unwrap();
        fs::write(dir.path().join("modes.toml"), "[modes]\n\"etc/sudoers.d/x\" = \"0440\"\n").unwrap();
        let mut layer = Layer::default();
        layer.add_overlay(dir.path()).unwrap();
        assert_eq!(layer.items.keys().collect::<Vec<_>>(), ["/etc/sudoers.d/x"]);
        assert_eq!(layer.items["/etc/sudoers.d/x"].mode, 0o440);
        fs::write(dir.path().join("modes.toml"), "[modes]\n\"etc/missing\" = \"0440\"\n").unwrap();
        assert!(layer.add_overlay(dir.path()).is_err());
    }
}
