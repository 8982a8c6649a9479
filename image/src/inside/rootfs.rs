//! The tree as a tar stream in a fixed order, and the size of a file system that
//! holds it, computed from a list of it: nothing is made twice to find out how big
//! it is. What no maintainer script touches goes first, while they run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::units::Bytes;

use super::configure;
use super::normalise::VOLATILE;
use super::spec::Node;

const BLOCK: Bytes = Bytes::kib(4);

/// What tar fills up to after each file.
const TAR_BLOCK: u64 = 512;

/// From this size on a file goes into a pipe without being copied: `io::copy` lends the
/// kernel's own pages, but has to empty the writer's buffer before.
const WORTH_LENDING: u64 = 1 << 16;

/// The journal's size: enough for a disk the file system grows to later, since it does not grow.
pub const JOURNAL: Bytes = Bytes::mib(64);

/// Where packages have nearly all of their files, and dpkg what it knows of them.
const SETTLED: [&str; 2] = ["usr", "var/lib/dpkg/info"];

/// One path of the tree.
#[derive(Debug)]
pub struct Entry {
    /// Relative to the tree, without a leading slash.
    path: PathBuf,
    found: Metadata,
    target: Option<PathBuf>,
}

/// Lists the tree, parents before children, siblings by name. Other mounts and volatile folders appear empty.
pub fn list(tree: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let device = tree.metadata()?.dev();
    walk(tree, Path::new(""), device, &mut entries)?;
    Ok(entries)
}

fn walk(tree: &Path, relative: &Path, device: u64, entries: &mut Vec<Entry>) -> Result<()> {
    let dir = tree.join(relative);
    let mut names: Vec<_> = fs::read_dir(&dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    for name in names {
        let path = relative.join(name);
        let full = tree.join(&path);
        let found = full.symlink_metadata().with_context(|| format!("reading {}", full.display()))?;
        let target = if found.is_symlink() { Some(fs::read_link(&full)?) } else { None };
        let descend = found.is_dir() && found.dev() == device && !VOLATILE.iter().any(|name| path == Path::new(name));
        entries.push(Entry { path: path.clone(), found, target });
        if descend {
            walk(tree, &path, device, entries)?;
        }
    }
    Ok(())
}

/// What each path is, by absolute path.
pub fn nodes(entries: &[Entry]) -> BTreeMap<String, Node> {
    let node = |entry: &Entry| match &entry.target {
        Some(target) => Node::Link(target.to_string_lossy().into_owned()),
        None if entry.found.is_dir() => Node::Dir,
        None => Node::File,
    };
    entries.iter().map(|entry| (format!("/{}", entry.path.display()), node(entry))).collect()
}

/// The size of an ext4 file system that holds `entries` and `slack` more.
pub fn file_system_size(entries: &[Entry], slack: Bytes) -> Bytes {
    let mut seen = HashSet::new();
    let data: Bytes = entries
        .iter()
        .map(|entry| match entry.found.file_type() {
            kind if kind.is_dir() => BLOCK,
            // A hard link's bytes count once; a short link's target lies in the inode.
            kind if kind.is_file() && seen.insert((entry.found.dev(), entry.found.ino())) => {
                Bytes(entry.found.len()).round_up(BLOCK)
            }
            kind if kind.is_symlink() && entry.found.len() >= 60 => BLOCK,
            _ => Bytes::ZERO,
        })
        .sum();
    // Inode tables take 256 bytes in 16 KiB, bitmaps and descriptors next to nothing: 2 % in all.
    let used = data + slack + JOURNAL;
    (used + Bytes(used.0 / 40)).round_up(Bytes::mib(4))
}

/// The entries that can be packed before the maintainer scripts have run, each after the
/// folders above it: all files and links that scripts are not known to change.
pub fn settled(entries: Vec<Entry>) -> Vec<Entry> {
    let early = |entry: &Entry| {
        SETTLED.iter().any(|dir| entry.path.starts_with(dir))
            && !entry.found.is_dir()
            // A hard link's other names may come later, and would be packed as a second file.
            && entry.found.nlink() == 1
            && !configure::changes(&entry.path)
    };
    let parents: HashSet<PathBuf> = entries
        .iter()
        .filter(|entry| early(entry))
        .flat_map(|entry| entry.path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
        .collect();
    entries.into_iter().filter(|entry| early(entry) || parents.contains(&entry.path)).collect()
}

/// Whether each of `early` is still in `entries` as it was. A file's change time tells of
/// every change; a folder's own properties are compared, since new files in it matter not.
pub fn still_there(early: &[Entry], entries: &[Entry]) -> bool {
    let now: HashMap<&Path, &Metadata> = entries.iter().map(|entry| (entry.path.as_path(), &entry.found)).collect();
    early.iter().all(|entry| {
        let Some(found) = now.get(entry.path.as_path()) else { return false };
        let was = &entry.found;
        (was.mode(), was.uid(), was.gid()) == (found.mode(), found.uid(), found.gid())
            && (was.is_dir()
                || (was.ino(), was.ctime(), was.ctime_nsec()) == (found.ino(), found.ctime(), found.ctime_nsec()))
    })
}

/// Packs a tree into a tar stream, in parts. Ids are as seen here: inside the namespace.
pub struct Packer<'a, W: Write> {
    tree: &'a Path,
    epoch: u64,
    tar: tar::Builder<W>,
    packed: HashSet<PathBuf>,
    links: HashMap<(u64, u64), PathBuf>,
}

impl<'a, W: Write> Packer<'a, W> {
    /// Packs `tree` into `to`; nothing will be younger than `epoch`.
    pub fn new(tree: &'a Path, epoch: u64, to: W) -> Self {
        Self { tree, epoch, tar: tar::Builder::new(to), packed: HashSet::new(), links: HashMap::new() }
    }

    /// Adds those of `entries` that were not added before.
    pub fn add(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if self.packed.insert(entry.path.clone()) {
                self.add_one(entry).with_context(|| format!("packing {}", entry.path.display()))?;
            }
        }
        Ok(())
    }

    fn add_one(&mut self, entry: &Entry) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.found.mode() & 0o7777);
        header.set_uid(entry.found.uid().into());
        header.set_gid(entry.found.gid().into());
        header.set_mtime(u64::try_from(entry.found.mtime()).unwrap_or(0).min(self.epoch));
        header.set_size(0);
        let full = self.tree.join(&entry.path);
        extended_attributes(&full, &mut self.tar)?;
        if let Some(target) = &entry.target {
            header.set_entry_type(tar::EntryType::Symlink);
            self.tar.append_link(&mut header, &entry.path, target)?;
        } else if entry.found.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            // Its own time tells when something was last put into it; a mount point's, of what is mounted on it.
            header.set_mtime(self.epoch);
            if VOLATILE.iter().any(|name| entry.path == Path::new(name)) {
                // What is mounted on it now may belong to somebody this namespace does not know.
                header.set_mode(if entry.path == Path::new("tmp") { 0o1777 } else { 0o755 });
                header.set_uid(0);
                header.set_gid(0);
            }
            self.tar.append_data(&mut header, &entry.path, std::io::empty())?;
        } else if entry.found.is_file() {
            let key = (entry.found.dev(), entry.found.ino());
            if let Some(first) = self.links.get(&key).filter(|_| entry.found.nlink() > 1) {
                header.set_entry_type(tar::EntryType::Link);
                self.tar.append_link(&mut header, &entry.path, first)?;
            } else {
                self.links.insert(key, entry.path.clone());
                self.add_file(&mut header, &entry.path, &full, entry.found.len())?;
            }
        } else {
            return Err(anyhow!("neither file, folder nor link: an image has no devices or sockets"));
        }
        Ok(())
    }

    fn add_file(&mut self, header: &mut tar::Header, path: &Path, from: &Path, length: u64) -> Result<()> {
        header.set_size(length);
        let mut file = File::open(from)?;
        if length < WORTH_LENDING {
            return Ok(self.tar.append_data(header, path, file)?);
        }
        self.tar.append_data(header, path, std::io::empty())?;
        let copied = std::io::copy(&mut file, self.tar.get_mut())?;
        if copied != length {
            return Err(anyhow!("it is {copied} bytes long and was {length}: something changes it"));
        }
        let padding = copied.next_multiple_of(TAR_BLOCK) - copied;
        Ok(std::io::copy(&mut std::io::repeat(0).take(padding), self.tar.get_mut()).map(drop)?)
    }

    /// Ends the stream.
    pub fn finish(self) -> Result<()> {
        self.tar.into_inner().and_then(|mut to| to.flush()).context("ending the tar stream")
    }
}

/// File capabilities are extended attributes; tar carries them in a pax header.
fn extended_attributes<W: Write>(path: &Path, tar: &mut tar::Builder<W>) -> Result<()> {
    let mut found = Vec::new();
    for name in xattr::list(path)? {
        let Some(text) = name.to_str().filter(|name| name.starts_with("security.capability")) else { continue };
        if let Some(value) = xattr::get(path, &name)? {
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    if !found.is_empty() {
        tar.append_pax_extensions(found.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for dir in ["usr/bin", "run/lock", "tmp"] {
            fs::create_dir_all(tree.path().join(dir)).unwrap();
        }
        fs::write(tree.path().join("usr/bin/a"), vec![7; 100_000]).unwrap();
        fs::hard_link(tree.path().join("usr/bin/a"), tree.path().join("usr/bin/b")).unwrap();
        std::os::unix::fs::symlink("usr/bin", tree.path().join("bin")).unwrap();
        tree
    }

    #[test]
    fn the_stream_is_sorted_and_volatile_folders_are_empty() {
        let tree = example();
        let entries = list(tree.path()).unwrap();
        let names: Vec<String> = entries.iter().map(|entry| entry.path.display().to_string()).collect();
        assert_eq!(names, ["bin", "run", "tmp", "usr", "usr/bin", "usr/bin/a", "usr/bin/b"]);
        let mut stream = Vec::new();
        let mut packer = Packer::new(tree.path(), 1000, &mut stream);
        packer.add(&entries).unwrap();
        packer.add(&entries).unwrap();
        packer.finish().unwrap();
        let mut archive = tar::Archive::new(stream.as_slice());
        let kinds: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                assert!(entry.header().mtime().unwrap() <= 1000);
                let kind = entry.header().entry_type();
                if kind.is_file() {
                    let mut body = Vec::new();
                    entry.read_to_end(&mut body).unwrap();
                    assert!(body == vec![7; 100_000]);
                }
                kind
            })
            .collect();
        assert_eq!(kinds.len(), entries.len());
        assert_eq!(kinds.last(), Some(&tar::EntryType::Link));
    }

    #[test]
    fn what_is_packed_early_comes_with_its_folders_and_is_watched() {
        let tree = example();
        let firmware = tree.path().join("usr/lib/firmware");
        fs::create_dir_all(&firmware).unwrap();
        fs::write(firmware.join("x.bin"), "x").unwrap();
        fs::write(tree.path().join("usr/bin/ssh-agent"), "gets a group").unwrap();
        let early = settled(list(tree.path()).unwrap());
        let names: Vec<String> = early.iter().map(|entry| entry.path.display().to_string()).collect();
        assert_eq!(names, ["usr", "usr/lib", "usr/lib/firmware", "usr/lib/firmware/x.bin"]);

        fs::write(firmware.join("another"), "x").unwrap();
        assert!(still_there(&early, &list(tree.path()).unwrap()));
        fs::set_permissions(firmware.join("x.bin"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(!still_there(&early, &list(tree.path()).unwrap()));
        fs::remove_file(firmware.join("x.bin")).unwrap();
        assert!(!still_there(&early, &list(tree.path()).unwrap()));
    }

    #[test]
    fn a_hard_link_counts_once() {
        let tree = example();
        let entries = list(tree.path()).unwrap();
        let with = file_system_size(&entries, Bytes::ZERO);
        fs::remove_file(tree.path().join("usr/bin/b")).unwrap();
        assert_eq!(with, file_system_size(&list(tree.path()).unwrap(), Bytes::ZERO));
    }

    #[test]
    fn nodes_tell_folders_files_and_links_apart() {
        let tree = example();
        let nodes = nodes(&list(tree.path()).unwrap());
        assert_eq!(nodes["/bin"], Node::Link("usr/bin".into()));
        assert_eq!(nodes["/usr/bin"], Node::Dir);
        assert_eq!(nodes["/usr/bin/b"], Node::File);
    }
}
