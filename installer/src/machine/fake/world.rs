//! What survives being switched off, and what may go wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::adopt::storage::BINDS;
use crate::answers::FileSystem;
use crate::encryption::Keys;
use crate::layout::{DATA_DIR, Part};
use crate::machine::{Account, Dev};
use crate::render::File;
use crate::shipped::Stray;
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
    /// What the image brought, once it is kept.
    pub(crate) image: Option<Image>,
    /// The files whose journal entries were written back: all that GRUB sees.
    pub(crate) settled: BTreeSet<String>,
    /// The disks from which nothing starts, because what firmware starts is damaged or taken away.
    pub(crate) dead: BTreeSet<String>,
}

/// What lies on root in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) placed: BTreeMap<String, File>,
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) accounts: BTreeMap<String, Account>,
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

    /// What is not as the image brought it. Accounts and keys stand for the files that they lie in.
    pub(super) fn strays(&self) -> Vec<Stray> {
        let Some(image) = &self.image else { return Vec::new() };
        let on_root = |path: &str| !on_data(path) && !on_bind(path) && !on_role(path) && !path.starts_with("/run/");
        let placed = self.placed.keys().filter(|path| on_root(path));
        let foreign = placed.filter(|path| !image.placed.contains_key(*path));
        let links = self.links.keys().filter(|path| !image.links.contains_key(*path));
        let mut out: Vec<Stray> = foreign.chain(links).map(|path| Stray::Foreign(path.into())).collect();
        out.extend(self.keys.then(|| Stray::Foreign(HOST_KEY.into())));
        let changed =
            image.placed.iter().filter(|(path, was)| self.placed.get(*path) != Some(was)).map(|(path, _)| path);
        let relinked =
            image.links.iter().filter(|(path, was)| self.links.get(*path) != Some(was)).map(|(path, _)| path);
        out.extend(changed.chain(relinked).map(|path| Stray::Changed(path.into())));
        out.extend((self.accounts != image.accounts).then(|| Stray::Changed(ACCOUNTS.into())));
        out
    }

    /// One of them is as the image brought it.
    pub(super) fn put_right(&mut self, stray: &Stray) {
        let Some(image) = self.image.clone() else { return };
        let path = match stray {
            Stray::Foreign(path) | Stray::Changed(path) => path.to_string_lossy().into_owned(),
            Stray::Initramfs(_) => return,
        };
        match path.as_str() {
            HOST_KEY => self.keys = false,
            ACCOUNTS => self.accounts = image.accounts,
            _ => {
                self.placed.remove(&path);
                self.links.remove(&path);
                self.immutable.remove(path.trim_end_matches('/'));
                self.placed.extend(image.placed.get(&path).map(|file| (path.clone(), file.clone())));
                self.links.extend(image.links.get(&path).map(|target| (path.clone(), target.clone())));
            }
        }
    }

    /// All that lay on root is gone; what the image brings is `image`, if it is there at all.
    pub(crate) fn lose_root(&mut self, image: &[File]) {
        self.placed.retain(|path, _| !on_root(path));
        self.placed.extend(image.iter().map(|file| (file.path.clone(), file.clone())));
        self.links.clear();
        self.accounts.clear();
        self.immutable.clear();
        self.settled.clear();
        self.keys = false;
        self.image = None;
        self.root_id = Uuid::from_u128(4).to_string();
    }
}

/// Stands for the keys of SSH.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Stands for the accounts.
const ACCOUNTS: &str = "/etc/shadow";

/// Whether a file lies on root, and neither on `data` nor on the disk of a role.
pub(super) fn on_root(path: &str) -> bool {
    !on_data(path) && !on_bind(path) && !path.starts_with("/mnt/")
}

pub(super) fn on_data(path: &str) -> bool {
    path.starts_with(&format!("{DATA_DIR}/"))
}

/// Whether a file lies on `data` and is seen elsewhere.
pub(super) fn on_bind(path: &str) -> bool {
    BINDS.iter().any(|bind| path.starts_with(&format!("{}/", bind.target)))
}

/// Whether a file lies on a role's disk. The folders themselves, whose names end with a slash here, are root's.
pub(super) fn on_role(path: &str) -> bool {
    let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.trim_end_matches('/').contains('/'));
    below("/mnt/") || below("/var/lib/hearth/disks/")
}
