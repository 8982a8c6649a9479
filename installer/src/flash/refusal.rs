//! Every reason not to write to a disk, found before the first byte is written. Looking
//! is pure: the same facts always give the same answer.

use crate::facts::{Disk, Holder, Partition};
use crate::page::contents;
use crate::units::{Bytes, SectorSize};

/// Why Hearth will not write to a disk. Every one that applies is told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path leads to no block device.
    #[error("{path} is not a disk: {why}. `hearth-image disks` lists them.")]
    NotABlockDevice {
        /// What was given.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// A partition, an array, a volume.
    #[error("{path} is {what}, not a whole disk. `hearth-image disks` lists them.")]
    NotAWholeDisk {
        /// What was given.
        path: String,
        /// What it is instead.
        what: String,
    },
    /// A selector that fits no disk, or several.
    #[error("{wanted} fits {}", candidates_text(.candidates, *.none))]
    NotExactlyOne {
        /// The selector.
        wanted: String,
        /// The disks that it fits; where it fits none, all there are.
        candidates: Vec<String>,
        /// Whether it fits none.
        none: bool,
    },
    /// A file system on it is in use.
    #[error("{device} is mounted at {at}. Unmount it first, if you are sure that this is the right disk.")]
    Mounted {
        /// The partition, volume or disk.
        device: String,
        /// Where.
        at: String,
    },
    /// It is swapped to.
    #[error(
        "{device} is used as swap. Stop that first (swapoff {device}), if you are sure that this is the right disk."
    )]
    Swap {
        /// The partition or volume.
        device: String,
    },
    /// Something is built on it.
    #[error(
        "{device} is part of {by} ({kind}), which is active. Stop it first, if you are sure that this is the right disk."
    )]
    Held {
        /// The partition or disk.
        device: String,
        /// The array, volume or container.
        by: String,
        /// What kind of thing that is.
        kind: String,
    },
    /// Another device of the same file system is mounted.
    #[error("{device} is part of a btrfs of several disks that is mounted at {at}.")]
    BtrfsMember {
        /// The partition or disk.
        device: String,
        /// Where the file system is mounted.
        at: String,
    },
    /// This very system runs from it.
    #[error("this computer runs from {disk} ({why}).")]
    BacksRoot {
        /// The disk.
        disk: String,
        /// How that is known.
        why: String,
    },
    /// It refuses writes.
    #[error("{disk} is read-only. Switch its write protection off, or use another disk.")]
    ReadOnly {
        /// The disk.
        disk: String,
    },
    /// The image does not fit.
    #[error("{disk} has {size}, but the image needs {need}. Use a larger disk.")]
    TooSmall {
        /// The disk.
        disk: String,
        /// Its size.
        size: Bytes,
        /// The smallest size that is enough.
        need: Bytes,
    },
    /// It counts in other sectors than the image.
    #[error("{disk} counts in sectors of {} bytes, but the image is made for {}: nothing would start from it. Use another disk.", .disk_sector.0, .image_sector.0)]
    SectorSize {
        /// The disk.
        disk: String,
        /// The disk's.
        disk_sector: SectorSize,
        /// The image's.
        image_sector: SectorSize,
    },
    /// Another disk says that it is the same one.
    #[error(
        "{disk} and {other} have the same serial number {serial}, so nobody can say which of them is meant. Unplug one."
    )]
    DuplicateSerial {
        /// The disk.
        disk: String,
        /// The other one.
        other: String,
        /// What both say.
        serial: String,
    },
    /// Somebody's data, and nobody approved erasing it.
    #[error("{disk} holds data: {what}. Approve by typing on a terminal, or with --erase {by_id}.")]
    HasData {
        /// The disk.
        disk: String,
        /// What it holds.
        what: String,
        /// Its name for --erase.
        by_id: String,
    },
    /// An empty disk, but nobody approved.
    #[error("writing to {disk} is not approved. Approve by typing on a terminal, or with --erase {by_id}.")]
    NotApproved {
        /// The disk.
        disk: String,
        /// Its name for --erase.
        by_id: String,
    },
    /// `--erase` names another disk.
    #[error("--erase names {named}, but the disk to write to is {disk} ({by_id}).")]
    EraseMismatch {
        /// What --erase names.
        named: String,
        /// The disk.
        disk: String,
        /// Its own name.
        by_id: String,
    },
    /// A Hearth lives on it.
    #[error(
        "This disk holds Hearth {name}, last used {last_used}; flashing erases its data. To keep it, boot the stick and choose repair. To erase it all the same, add --erase-hearth {name}."
    )]
    HearthInstalled {
        /// Its host name.
        name: String,
        /// The day it was last used.
        last_used: String,
    },
    /// The image holds stand-ins made for tests.
    #[error("this image holds stand-ins made for tests, so it must not reach a real disk.")]
    TestImage,
    /// Somebody holds it, though no table says so.
    #[error("{disk} is in use: a program, another mount namespace or an imported ZFS pool holds it. Stop that first.")]
    Busy {
        /// The disk.
        disk: String,
    },
    /// Another disk has taken its name since it was approved.
    #[error("{disk} is not the disk any more that was approved. Nothing was written.")]
    Changed {
        /// The disk.
        disk: String,
    },
}

impl Refusal {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotABlockDevice { .. } => "not-a-block-device",
            Self::NotAWholeDisk { .. } => "not-a-whole-disk",
            Self::NotExactlyOne { .. } => "not-exactly-one",
            Self::Mounted { .. } => "mounted",
            Self::Swap { .. } => "swap",
            Self::Held { .. } => "held",
            Self::BtrfsMember { .. } => "btrfs-member",
            Self::BacksRoot { .. } => "backs-root",
            Self::ReadOnly { .. } => "read-only",
            Self::TooSmall { .. } => "too-small",
            Self::SectorSize { .. } => "sector-size",
            Self::DuplicateSerial { .. } => "duplicate-serial",
            Self::HasData { .. } => "has-data",
            Self::NotApproved { .. } => "not-approved",
            Self::EraseMismatch { .. } => "erase-mismatch",
            Self::HearthInstalled { .. } => "hearth-installed",
            Self::TestImage => "test-image",
            Self::Busy { .. } => "busy",
            Self::Changed { .. } => "changed",
        }
    }
}

fn candidates_text(candidates: &[String], none: bool) -> String {
    let head = match (none, candidates.len()) {
        (true, _) => "no disk. These are there:".to_owned(),
        (false, count) => format!("{count} disks. Add what tells them apart:"),
    };
    candidates.iter().fold(head, |text, candidate| format!("{text}\n      {candidate}"))
}

/// Refusals as one text: a line each, with their codes.
pub fn all(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("\n  [{}] {refusal}", refusal.code())).collect()
}

/// What an image needs of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its size.
    pub size: Bytes,
    /// What its table counts in.
    pub sector: SectorSize,
}

/// Why `disk`, one of `disks`, cannot be written to by any image, whoever approves.
pub fn protected(disks: &[Disk], disk: &Disk) -> Vec<Refusal> {
    let mut against = Vec::new();
    let mounts = mounts(disk);
    let root = mounts.iter().find(|(_, at)| ["/", "/usr", "/boot", "/boot/efi"].contains(&at.as_str()));
    if disk.boot_medium || root.is_some() {
        let why =
            root.map_or("it was started from it".to_owned(), |(device, at)| format!("{device} is mounted at {at}"));
        against.push(Refusal::BacksRoot { disk: disk.path.clone(), why });
    }
    for (device, at) in mounts {
        against.push(match at.as_str() {
            "[SWAP]" => Refusal::Swap { device },
            _ => Refusal::Mounted { device, at },
        });
    }
    let whole = disk.holders.iter().map(|holder| (&disk.path, holder)).collect::<Vec<_>>();
    let parts = disk.partitions.iter().flat_map(|part| part.holders.iter().map(move |holder| (&part.device, holder)));
    against.extend(whole.into_iter().chain(parts).map(|(device, holder)| Refusal::Held {
        device: device.clone(),
        by: holder.name.clone(),
        kind: holder.kind.clone(),
    }));
    against.extend(siblings(disks, disk));
    if disk.read_only {
        against.push(Refusal::ReadOnly { disk: disk.path.clone() });
    }
    against.extend(twin(disks, disk));
    against
}

/// Why `disk` cannot be written to by an image that needs `need`, whoever approves.
pub fn judge(disks: &[Disk], disk: &Disk, need: Need) -> Vec<Refusal> {
    let mut against = protected(disks, disk);
    if disk.size < need.size {
        against.push(Refusal::TooSmall { disk: disk.path.clone(), size: disk.size, need: need.size });
    }
    if disk.logical_sector != need.sector {
        against.push(Refusal::SectorSize {
            disk: disk.path.clone(),
            disk_sector: disk.logical_sector,
            image_sector: need.sector,
        });
    }
    against
}

/// Everything mounted from the disk or from what is built on it: device and place.
fn mounts(disk: &Disk) -> Vec<(String, String)> {
    let of = |device: &str, points: &[String]| -> Vec<(String, String)> {
        points.iter().map(|at| (device.to_owned(), at.clone())).collect()
    };
    let built = |holders: &[Holder]| -> Vec<(String, String)> {
        holders.iter().flat_map(|holder| of(&holder.name, &holder.mountpoints)).collect()
    };
    let mut out = of(&disk.path, &disk.mountpoints);
    out.extend(built(&disk.holders));
    for part in &disk.partitions {
        out.extend(of(&part.device, &part.mountpoints));
        out.extend(built(&part.holders));
    }
    out
}

/// lsblk shows the mount of a btrfs with several devices on one of them alone.
fn siblings(disks: &[Disk], disk: &Disk) -> Vec<Refusal> {
    let mounted = |id: &str| {
        disks.iter().filter(|other| other.name != disk.name).find_map(|other| {
            let whole = (other.content.as_ref(), &other.mountpoints);
            let parts = other.partitions.iter().map(|part| (part.content.as_ref(), &part.mountpoints));
            std::iter::once(whole).chain(parts).find_map(|(content, points)| {
                let same = content.is_some_and(|content| content.kind == "btrfs" && content.id.as_deref() == Some(id));
                points.first().filter(|_| same).cloned()
            })
        })
    };
    let whole = disk.content.as_ref().map(|content| (disk.path.clone(), content));
    let part = |part: &Partition| Some((part.device.clone(), part.content.clone()?));
    let parts: Vec<_> = disk.partitions.iter().filter_map(part).collect();
    let contents = whole.into_iter().map(|(device, content)| (device, content.clone())).chain(parts);
    contents
        .filter(|(_, content)| content.kind == "btrfs")
        .filter_map(|(device, content)| Some(Refusal::BtrfsMember { device, at: mounted(content.id.as_deref()?)? }))
        .collect()
}

/// Another disk that gives the same serial number. One disk on two cables has one world-wide
/// name too, and is refused just the same: what is written by one name is read by the other.
fn twin(disks: &[Disk], disk: &Disk) -> Option<Refusal> {
    let serial = disk.serial.as_ref()?;
    let other = disks.iter().find(|other| other.name != disk.name && other.serial.as_ref() == Some(serial))?;
    Some(Refusal::DuplicateSerial { disk: disk.path.clone(), other: other.path.clone(), serial: serial.clone() })
}

/// What would be lost, in one sentence; nothing where nothing is recognised.
pub fn data(disk: &Disk) -> Option<String> {
    let something = disk.table.is_some() || disk.content.is_some() || !disk.partitions.is_empty();
    something.then(|| contents(disk))
}

#[cfg(test)]
mod tests;
