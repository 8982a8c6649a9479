//! What survives being switched off, and what may go wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::adopt::storage::BINDS;
use crate::answers::FileSystem;
use crate::encryption::Keys;
use crate::layout::{DATA_DIR, Part};
use crate::machine::{Account, Dev};
use crate::render::File;
use crate::units::Bytes;

/// What survives being switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) sectors: BTreeMap<u64, Vec<u8>>,
    pub(crate) root_size: Bytes,
    pub(crate) root_id: String,
    pub(crate) data: Option<DataFs>,
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) keys: bool,
    pub(crate) hearth: BTreeMap<String, Vec<u8>>,
    /// What lies on HEARTH of other disks, by their names.
    pub(crate) hearths: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The disk that Hearth was written to: all that is said of root here is said of that one.
    pub(crate) home: Option<String>,
    /// What the firmware starts first.
    pub(crate) first: Option<String>,
    /// Files with their mode and owner.
    pub(crate) placed: BTreeMap<String, File>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) immutable: BTreeSet<String>,
    pub(crate) formatted: BTreeMap<String, Formatted>,
    /// LUKS containers, by their devices.
    pub(crate) luks: BTreeMap<String, Luks>,
    /// The files whose journal entries were written back: all that GRUB sees.
    pub(crate) settled: BTreeSet<String>,
    /// The disks from which nothing starts, because what firmware starts is damaged or taken away.
    pub(crate) dead: BTreeSet<String>,
}

/// A file system on a role's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formatted {
    pub(crate) kind: FileSystem,
    pub(crate) id: Uuid,
    pub(crate) torn: bool,
}

/// A LUKS container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Luks {
    pub(crate) id: Uuid,
    pub(crate) keys: Keys,
    pub(crate) torn: bool,
}

/// A btrfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFs {
    pub(crate) id: Uuid,
    pub(crate) torn: bool,
    pub(crate) paths: BTreeSet<String>,
}

/// What is lost when the power goes, besides what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Every write that was not flushed.
    All,
    /// No write: the disk was quick.
    None,
    /// Some sectors of them, by a pattern.
    Some(u64),
}

/// What becomes of the wish to start from another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// UEFI that does what it is told.
    Obeys,
    /// UEFI that takes no entry.
    Refuses,
    /// BIOS, with the stick before all disks.
    Bios,
}

/// What comes of the firewall's rules that setup makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Neighbours come in.
    Good,
    /// They shut neighbours out.
    ShutOut,
    /// The kernel refuses them.
    Refused,
}

impl World {
    /// What was in the partition for `data` is gone.
    pub(super) fn lose_data(&mut self, dev: &Dev) {
        if dev.part == Some(Part::Data.number()) {
            self.data = None;
            self.placed.retain(|path, _| !on_data(path));
        }
    }
}

impl World {
    /// All that lay on root is gone; what the image brings is `image`, if it is there at all.
    pub(crate) fn lose_root(&mut self, image: &[File]) {
        self.placed.retain(|path, _| !on_root(path));
        self.placed.extend(image.iter().map(|file| (file.path.clone(), file.clone())));
        self.links.clear();
        self.accounts.clear();
        self.immutable.clear();
        self.settled.clear();
        self.keys = false;
        self.root_id = Uuid::from_u128(4).to_string();
    }
}

/// Whether a file lies on root, and neither on `data` nor on the disk of a role.
fn on_root(path: &str) -> bool {
    let below = |folder: &str| path.starts_with(&format!("{folder}/"));
    !below(DATA_DIR) && !below("/mnt") && !BINDS.iter().any(|bind| below(bind.target))
}

pub(super) fn on_data(path: &str) -> bool {
    path.starts_with(&format!("{DATA_DIR}/"))
}
