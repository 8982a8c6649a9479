//! A path as it is compared and copied: its kind, its permissions, its owner, and where a link leads. Times
//! do not count. Links are never followed.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::below;
use crate::digest::Digest;

/// What is compared of a path, but for a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    kind: Kind,
    /// A link's permissions mean nothing, and are none here.
    mode: u32,
    owner: (u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    File(u64),
    Link(PathBuf),
    /// A pipe, a socket or a device: no image has one.
    Other,
}

impl Entry {
    /// What is at `path`, if anything is.
    pub(super) fn of(path: &Path) -> Result<Option<Self>> {
        match path.symlink_metadata() {
            Ok(meta) => Self::from_meta(path, &meta).map(Some),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("looking at {}", path.display())),
        }
    }

    fn from_meta(path: &Path, meta: &Metadata) -> Result<Self> {
        let kind = match meta.file_type() {
            kind if kind.is_dir() => Kind::Dir,
            kind if kind.is_file() => Kind::File(meta.len()),
            kind if kind.is_symlink() => {
                Kind::Link(fs::read_link(path).with_context(|| format!("reading the link {}", path.display()))?)
            }
            _ => Kind::Other,
        };
        let mode = if matches!(kind, Kind::Link(_)) { 0 } else { meta.mode() & 0o7777 };
        Ok(Self { kind, mode, owner: (meta.uid(), meta.gid()) })
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Whether two paths that are equal otherwise hold the same bytes.
    pub(super) fn has_same_bytes(&self, one: &Path, other: &Path) -> Result<bool> {
        if !matches!(self.kind, Kind::File(_)) {
            return Ok(true);
        }
        Ok(digest(one)? == digest(other)?)
    }

    /// Makes at `to`, where nothing is, what is at `from`: a folder without what is in it. It is not durable yet.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let what = || format!("copying {}", from.display());
        match &self.kind {
            Kind::Dir => fs::create_dir(to).with_context(what)?,
            Kind::Link(target) => symlink(target, to).with_context(what)?,
            Kind::File(_) => {
                let mut new = File::options().write(true).create_new(true).open(to).with_context(what)?;
                io::copy(&mut File::open(from).with_context(what)?, &mut new).with_context(what)?;
            }
            Kind::Other => bail!("{} is neither file, folder nor link", from.display()),
        }
        self.settle(to)
    }

    /// Gives `path` its owner and its permissions.
    pub(super) fn settle(&self, path: &Path) -> Result<()> {
        let what = || format!("giving {} its owner and permissions", path.display());
        lchown(path, Some(self.owner.0), Some(self.owner.1)).with_context(what)?;
        if !matches!(self.kind, Kind::Link(_)) {
            fs::set_permissions(path, Permissions::from_mode(self.mode)).with_context(what)?;
        }
        Ok(())
    }
}

/// The digest of the file at `path`.
pub(super) fn digest(path: &Path) -> Result<Digest> {
    let what = || format!("reading {}", path.display());
    Ok(Digest::of_reader(File::open(path).with_context(what)?).with_context(what)?.0)
}

/// What is in the folder `path` of `root`, by absolute path and in the order of names.
pub(super) fn children(root: &Path, path: &Path) -> Result<Vec<(PathBuf, Entry)>> {
    let dir = below(root, path);
    let list = match fs::read_dir(&dir) {
        Ok(list) => list,
        // A machine that runs removes things while it is looked at.
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", dir.display())),
    };
    let mut out = Vec::new();
    for found in list {
        let name = found.with_context(|| format!("reading {}", dir.display()))?.file_name();
        if let Some(entry) = Entry::of(&dir.join(&name))? {
            out.push((path.join(&name), entry));
        }
    }
    out.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(out)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
