//! Arrays (md) and volumes (LVM): what pieces of several disks make together. All of it is read from
//! the pieces. Nothing is started to find out, because starting an array can write to its disks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Content, Disk, Holder, Raw, lvm, md};
use crate::units::Bytes;

/// A block device made of pieces of disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// What makes it.
    pub kind: VolumeKind,
    /// What people call it: `nas:0`, `vg0/media`.
    pub name: String,
    /// Its own id, as its kind writes it.
    pub id: String,
    /// `raid1`, `linear` …
    pub level: String,
    /// Its size.
    pub size: Bytes,
    /// The kernel's names of the disks and partitions it lies on, as far as they are there.
    pub members: Vec<String>,
    /// Why it cannot be used as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Whether it runs.
    pub active: bool,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What makes a volume of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeKind {
    /// Linux's software RAID.
    Md,
    /// LVM.
    Lvm,
}

/// Why a volume cannot be used as it is. Completes "cannot be adopted: ".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Disks are absent.
    #[error("it has {there} of its {of} members. Plug the others in, or rebuild it where it ran before")]
    Missing {
        /// How many are there and up to date.
        there: u32,
        /// How many belong to it.
        of: u32,
    },
    /// A disk was left out when it was written to last.
    #[error("{device} dropped out of it and holds old data. Rebuild it where it ran before")]
    Lags {
        /// That member.
        device: String,
    },
    /// Two disks hold the same part.
    #[error("{device} is a copy of another member. Unplug one of them")]
    Twice {
        /// One of the two.
        device: String,
    },
    /// Its data is on the move.
    #[error("it is being rebuilt or reshaped. Let that end where it ran before")]
    Unsettled,
    /// Something that Hearth does not use.
    #[error("it is {0}, which Hearth cannot adopt")]
    Kind(String),
}

/// Where the first bytes of a volume lie on one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) device: String,
    pub(super) offset: Bytes,
    /// How far they go on there.
    pub(super) len: Bytes,
}

impl Look {
    /// Its name among the answers.
    pub(super) fn key(&self) -> String {
        format!("{}@{}", self.device, self.offset.0)
    }
}

impl Volume {
    /// How an answer file names it.
    pub fn key(&self) -> String {
        let word = match self.kind {
            VolumeKind::Md => "md",
            VolumeKind::Lvm => "lvm",
        };
        format!("{word} = \"{}\"", self.name)
    }

    /// The disks that it lies on.
    pub fn disks<'a>(&self, all: &'a [Disk]) -> Vec<&'a Disk> {
        all.iter().filter(|disk| self.on(disk)).collect()
    }

    /// Whether a part of it lies on `disk`.
    pub fn on(&self, disk: &Disk) -> bool {
        pieces(disk).any(|(device, ..)| self.members.iter().any(|member| member == device))
    }
}

/// For people.
impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(self.kind, &self.name))
    }
}

/// What people are told of a volume.
pub fn told(kind: VolumeKind, name: &str) -> String {
    match kind {
        VolumeKind::Md => format!("the RAID array \"{name}\""),
        VolumeKind::Lvm => format!("the LVM volume {name}"),
    }
}

/// The whole disk and its partitions: the kernel's name of each, what is on it and what holds it.
pub fn pieces(disk: &Disk) -> impl Iterator<Item = (&str, Option<&Content>, &[Holder])> {
    let whole = (disk.name.as_str(), disk.content.as_ref(), disk.holders.as_slice());
    let parts =
        disk.partitions.iter().map(|part| (part.device.as_str(), part.content.as_ref(), part.holders.as_slice()));
    std::iter::once(whole).chain(parts)
}

/// The pieces that hold something of this kind, by the kernel's names.
pub(super) fn pieces_of<'a>(disks: &'a [Disk], kind: &'a str) -> impl Iterator<Item = &'a str> {
    let all = disks.iter().flat_map(pieces);
    all.filter(move |(_, content, _)| content.is_some_and(|content| content.kind == kind)).map(|(device, ..)| device)
}

/// Where to look for what is in the volumes.
pub(super) fn looks(raw: &Raw) -> Vec<Look> {
    all(raw).into_iter().filter_map(|(_, look)| look).collect()
}

/// Every array and volume of which a piece is there, in the order of their names.
pub(super) fn find(raw: &Raw, disks: &[Disk]) -> Vec<Volume> {
    let mut out: Vec<Volume> = all(raw)
        .into_iter()
        .map(|(volume, look)| {
            let content = look.and_then(|look| raw.looks.get(&look.key()).cloned());
            Volume { active: is_active(&volume, disks), content, ..volume }
        })
        .collect();
    out.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
    out
}

fn all(raw: &Raw) -> Vec<(Volume, Option<Look>)> {
    let mut out = md::arrays(&raw.md);
    out.extend(lvm::volumes(&raw.lvs, &raw.pvs));
    out
}

fn is_active(volume: &Volume, disks: &[Disk]) -> bool {
    // The kernel's name of a volume: each hyphen in its two halves is doubled.
    let mapped = volume.name.replace('-', "--").replacen('/', "-", 1);
    let is_it = |holder: &Holder| match volume.kind {
        VolumeKind::Md => holder.name.starts_with("md"),
        VolumeKind::Lvm => holder.kind == "lvm" && holder.name == mapped,
    };
    let mut held = disks.iter().flat_map(pieces).filter(|(device, ..)| volume.members.iter().any(|m| m == device));
    held.any(|(.., holders)| holders.iter().any(is_it))
}

#[cfg(test)]
mod tests;
