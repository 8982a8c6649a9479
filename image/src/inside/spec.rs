//! What the outer half tells the inner half to make a base layer of, and what the
//! inner half tells back: both as JSON files, because a namespace lies between.

use std::path::PathBuf;

use hearth::digest::Digest;
use hearth::units::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One package to unpack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpecPackage {
    /// Its binary name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Its key in the store.
    pub sha256: Digest,
    /// The size of the `.deb`.
    pub size: Bytes,
    /// Asked for by name, not pulled in by another.
    pub manual: bool,
}

/// The work order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseSpec {
    /// The packages, by name.
    pub packages: Vec<SpecPackage>,
    /// The package store.
    pub store: PathBuf,
    /// The tools tree.
    pub tools: PathBuf,
    /// Where indexes of kernel modules are kept.
    pub module_indexes: PathBuf,
    /// An empty folder to mount things on.
    pub mount_point: PathBuf,
    /// Where to work if memory is short; else a tmpfs is used.
    pub work_dir: Option<PathBuf>,
    /// Files to add before the initramfs is made.
    pub rootfs: PathBuf,
    /// Files that register Hearth's own triggers with dpkg.
    pub dpkg_info: PathBuf,
    /// Hearth's version, for dpkg.
    pub version: String,
    /// The architecture.
    pub arch: String,
    /// The time no file may be younger than, in seconds since 1970.
    pub epoch: u64,
    /// The root file system's id.
    pub root_uuid: Uuid,
    /// Room to leave in the root file system.
    pub slack: Bytes,
    /// Where the results go.
    pub out: PathBuf,
}

/// What was made, as `base.json` in the output folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseFacts {
    /// The kernel's version, as in /lib/modules.
    pub kernel: String,
    /// The size of root.ext4.
    pub root_size: Bytes,
    /// The digests of the whole chunks of root.ext4.
    pub chunks: Vec<Digest>,
    /// Every path in the tree: what it is.
    pub paths: std::collections::BTreeMap<String, Node>,
}

/// What a path in the tree is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A folder.
    Dir,
    /// A file, or a hard link to one.
    File,
    /// A symbolic link and its target.
    Link(String),
}

/// Marks an error as a damaged entry of the package store: forget it, fetch it again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the cached package {0} is damaged")]
pub struct Damaged(pub Digest);
