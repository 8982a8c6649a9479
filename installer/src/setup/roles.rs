//! The disks for media, downloads and backups: what each of them is, and what will be
//! done to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{Named, role_key};
use super::refusal::Refusal;
use super::volumes::{self, NamedVolume, VolumeTarget};
use crate::adopt::plan::Target;
use crate::answers::{Answers, FileSystem, Prepare, Role};
use crate::digest::Digest;
use crate::facts::{Content, Disk, Facts, Volume};
use crate::flash::{self, protected, target};
use crate::layout::{ALIGNMENT, Part, derived_id};
use crate::machine::table::{Entry, Table};
use crate::page::contents;
use crate::units::{Bytes, Sector};

/// The smallest disk that is worth a role.
pub(crate) const LEAST: Bytes = Bytes::gib(1);

/// A disk and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleDisk {
    /// What it is for.
    pub roles: Vec<Role>,
    /// What it is, and what becomes of it.
    pub what: What,
}

impl RoleDisk {
    /// Whether the file at `path` lies in one of its places.
    pub fn holds(&self, path: &str) -> bool {
        self.roles.iter().any(|role| path.starts_with(&format!("{}/", place(*role))))
    }

    /// What becomes of it, in a sentence.
    pub fn sentence(&self) -> String {
        let places = places(&self.roles);
        match &self.what {
            What::Directory => format!("{places}: on the system disk."),
            What::Adopt { disk, file_system, read_only, .. } => {
                let how = if *read_only { "only read" } else { "with everything that is on it" };
                format!("{places}: {}, {}, its {file_system} {how}.", disk.told(), disk.size)
            }
            What::Assemble { volume, file_system, read_only, .. } => {
                let how = if *read_only { "only read" } else { "with everything that is on it" };
                format!("{places}: {volume}, {}, its {file_system} {how}.", volume.size)
            }
            What::Erase { disk, file_system, luks, .. } => {
                let encrypted = if luks.is_some() { ", encrypted" } else { "" };
                let kind = file_system.word();
                format!("{places}: {}, {}, ERASED and formatted with {kind}{encrypted}.", disk.told(), disk.size)
            }
        }
    }
}

/// What carries a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "prepare")]
pub enum What {
    /// A folder on `data`.
    Directory,
    /// A disk, with everything that is on it.
    Adopt {
        /// The disk.
        disk: Target,
        /// What was on it when the plan was made: [`state`].
        state: Digest,
        /// Its file system, as libblkid names it.
        file_system: String,
        /// The file system's id.
        id: String,
        /// Windows' file systems are only read.
        read_only: bool,
    },
    /// An array or an LVM volume, with everything that is on it.
    Assemble {
        /// The volume.
        volume: VolumeTarget,
        /// What it was when the plan was made: [`volumes::state`].
        state: Digest,
        /// Its file system, as libblkid names it.
        file_system: String,
        /// The file system's id.
        id: String,
        /// Windows' file systems are only read.
        read_only: bool,
    },
    /// A disk that is formatted.
    Erase {
        /// The disk.
        disk: Target,
        /// What was on it when the plan was made: [`state`].
        state: Digest,
        /// The table it gets.
        table: Table,
        /// The file system it gets.
        file_system: FileSystem,
        /// Its id.
        id: Uuid,
        /// The id of the LUKS container that it lies in; absent where it is not encrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        luks: Option<Uuid>,
    },
}

/// How a file system that can be adopted is used.
fn adoptable(kind: &str) -> Option<bool> {
    match kind {
        "ext4" | "xfs" | "btrfs" => Some(false),
        "ntfs" | "exfat" => Some(true),
        _ => None,
    }
}

/// How a file system is used, and its id; nothing where it is none that Hearth uses.
pub(super) fn usable(content: &Content, roles: &[Role]) -> Option<Result<(bool, String), String>> {
    let read_only = adoptable(&content.kind)?;
    if read_only && roles != [Role::Media] {
        return Some(Err(format!("its {} is only read, so it is good for media alone", content.kind)));
    }
    let id = content.id.clone().ok_or_else(|| format!("its {} has no id to find it by", content.kind));
    Some(id.map(|id| (read_only, id)))
}

/// What is on a disk, as a digest: a plan is only carried out on what it was made for. Names
/// of the hour and what is mounted do not count.
pub fn state(disk: &Disk) -> Digest {
    let parts: Vec<_> = disk
        .partitions
        .iter()
        .map(|part| (part.number, part.start, part.size, &part.guid, part.content.as_ref().map(content_key)))
        .collect();
    let whole = (
        (&disk.serial, &disk.wwn, disk.size, disk.logical_sector),
        &disk.table,
        disk.content.as_ref().map(content_key),
        parts,
    );
    Digest::of(serde_json::to_vec(&whole).unwrap_or_default())
}

/// What counts of what is on a piece of a disk.
pub(super) fn content_key(content: &Content) -> (&str, Option<&str>, Option<&str>) {
    (&content.kind, content.label.as_deref(), content.id.as_deref())
}

/// Plans every role disk. A role that no disk has is a folder on `data`.
pub(super) fn plan(
    answers: &Answers,
    facts: &Facts,
    (named, volumes): (&[Named<'_>], &[NamedVolume<'_>]),
    install: Uuid,
    against: &mut Vec<Refusal>,
) -> Vec<RoleDisk> {
    let disks: BTreeMap<&str, &Disk> = named.iter().map(|named| (named.key.as_str(), named.disk)).collect();
    let mut out = Vec::new();
    for (i, answer) in answers.disks.iter().enumerate() {
        let key = role_key(i);
        let mut roles = answer.roles.clone();
        roles.sort_unstable();
        let volume = volumes.iter().find(|volume| volume.key == key);
        let what = match (answer.prepare, disks.get(key.as_str())) {
            (Prepare::Directory, _) => Some(What::Directory),
            (Prepare::Adopt, Some(disk)) => adopt(&key, disk, facts, &roles, against),
            (Prepare::Adopt, None) => volume.and_then(|volume| volumes::adopt(volume, facts, &roles, against)),
            (Prepare::Erase, Some(disk)) => {
                let file_system = answer.file_system.unwrap_or(FileSystem::Ext4);
                erase(&key, disk, &roles, file_system, (install, answers.encryption.is_some()), against)
            }
            // A selector that fits no disk was refused before.
            (_, None) => None,
        };
        out.extend(what.map(|what| RoleDisk { roles, what }));
    }
    let given: Vec<Role> = answers.disks.iter().flat_map(|disk| disk.roles.iter().copied()).collect();
    let mut rest: Vec<Role> = [Role::Media, Role::Downloads, Role::Backups].into();
    rest.retain(|role| !given.contains(role));
    if !rest.is_empty() {
        out.push(RoleDisk { roles: rest, what: What::Directory });
    }
    out
}

fn adopt(key: &str, disk: &Disk, facts: &Facts, roles: &[Role], against: &mut Vec<Refusal>) -> Option<What> {
    match adopted(disk, facts, roles) {
        Ok(what) => Some(what),
        Err(why) => {
            against.push(Refusal::CannotAdopt { key: key.to_owned(), disk: disk.path.clone(), why });
            None
        }
    }
}

/// The file system of `disk`, or why it is not taken.
pub(crate) fn adopted(disk: &Disk, facts: &Facts, roles: &[Role]) -> Result<What, String> {
    if disk.boot_medium {
        return Err("Hearth was started from it".to_owned());
    }
    if disk.has_hearth() {
        return Err("it holds another copy of Hearth".to_owned());
    }
    let on: Vec<&Volume> = facts.volumes.iter().filter(|volume| volume.on(disk)).collect();
    if let Some(first) = on.first() {
        let names: Vec<String> = on.iter().map(ToString::to_string).collect();
        let that = if on.len() == 1 { "that" } else { "the first" };
        let all = names.join(" and ");
        return Err(format!("it is part of {all}. To adopt {that}, write disk = {{ {} }}", first.key()));
    }
    // A mirror that keeps its own data at its end shows the file system on each half.
    if disk.content.as_ref().is_some_and(|whole| adoptable(&whole.kind).is_none()) {
        return Err(none_fits(disk));
    }
    // Every system puts a small FAT beside what matters, and swap holds nothing.
    let found: Vec<&Content> =
        contents_of(disk).into_iter().filter(|content| !["vfat", "swap"].contains(&content.kind.as_str())).collect();
    let content = match found.as_slice() {
        [one] => *one,
        [] => return Err(none_fits(disk)),
        _ => return Err(format!("it holds several things ({}), and only one can be meant", contents(disk))),
    };
    let (read_only, id) = usable(content, roles).ok_or_else(|| none_fits(disk))??;
    // Mounted by its id, either of the two might be meant.
    let same = |other: &&Disk| {
        other.name != disk.name && contents_of(other).iter().any(|content| content.id.as_ref() == Some(&id))
    };
    if let Some(other) = facts.disks.iter().find(same) {
        let other = target::name(other);
        return Err(if content.kind == "btrfs" {
            format!("its btrfs is on {other} too, and a btrfs of several disks cannot be adopted yet")
        } else {
            format!("{other} holds a copy of its {} with the same id. Unplug one of them", content.kind)
        });
    }
    let is_same = |other: &&Volume| other.content.as_ref().is_some_and(|content| content.id.as_ref() == Some(&id));
    if let Some(other) = facts.volumes.iter().find(is_same) {
        return Err(format!("{other} holds a copy of its {} with the same id. Unplug one of them", content.kind));
    }
    Ok(What::Adopt { disk: Target::of(disk), state: state(disk), file_system: content.kind.clone(), id, read_only })
}

fn none_fits(disk: &Disk) -> String {
    format!(
        "it holds no file system that Hearth can use ({}). Those are ext4, xfs and btrfs, and ntfs and exfat to read from",
        contents(disk)
    )
}

/// Everything that is recognised on a disk.
fn contents_of(disk: &Disk) -> Vec<&Content> {
    let parts = disk.partitions.iter().filter_map(|part| part.content.as_ref());
    disk.content.iter().chain(parts).collect()
}

fn erase(
    key: &str,
    disk: &Disk,
    roles: &[Role],
    file_system: FileSystem,
    (install, encrypted): (Uuid, bool),
    against: &mut Vec<Refusal>,
) -> Option<What> {
    if disk.size < LEAST {
        let key = key.to_owned();
        against.push(Refusal::TooSmall { key, disk: disk.path.clone(), size: disk.size, need: LEAST });
        return None;
    }
    let label = label(roles);
    let seed = derived_id(install, &target::name(disk));
    let sector = disk.logical_sector;
    let end = Table::usable_end(disk.size, sector).round_down(ALIGNMENT);
    let entry = Entry {
        number: 1,
        name: label,
        kind: Part::Data.type_guid(),
        id: derived_id(seed, "partition"),
        start: Sector::at(ALIGNMENT, sector),
        sectors: end.saturating_sub(ALIGNMENT).0 / u64::from(sector.0),
        attributes: 0,
    };
    let table = Table { id: derived_id(seed, "disk"), sector_size: sector, entries: vec![entry] };
    Some(What::Erase {
        disk: Target::of(disk),
        state: state(disk),
        table,
        file_system,
        id: derived_id(seed, "file system"),
        luks: encrypted.then(|| derived_id(seed, "encrypted")),
    })
}

/// Why a disk of a role must not be touched.
pub(super) fn guarded(disks: &[Disk], named: &Named<'_>) -> Vec<Refusal> {
    let key = || named.key.clone();
    reasons(protected(disks, named.disk)).map(|why| Refusal::Disk { key: key(), why }).collect()
}

/// What is told of everything that protects a disk. What Hearth runs from is mounted, of course.
pub(super) fn reasons(all: Vec<flash::Refusal>) -> impl Iterator<Item = flash::Refusal> {
    let root = all.iter().any(|why| matches!(why, flash::Refusal::BacksRoot { .. }));
    all.into_iter().filter(move |why| !root || !matches!(why, flash::Refusal::Mounted { .. }))
}

/// The name of a disk that is formatted for `roles`: for people who look at it elsewhere.
pub fn label(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.word()).collect();
    format!("hearth-{}", words.join("-"))
}

/// Where `role` is found.
pub fn place(role: Role) -> String {
    format!("/mnt/{}", role.word())
}

/// Where the roles are found.
pub(crate) fn places(roles: &[Role]) -> String {
    let Some((last, rest)) = roles.split_last() else { return String::new() };
    let rest: Vec<String> = rest.iter().map(|role| place(*role)).collect();
    let last = place(*last);
    if rest.is_empty() { last } else { format!("{} and {last}", rest.join(", ")) }
}
