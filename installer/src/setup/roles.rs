//! The disks for media, downloads and backups: what each of them is, and what will be
//! done to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{Named, role_key};
use super::refusal::Refusal;
use crate::adopt::plan::Target;
use crate::answers::{Answers, FileSystem, Prepare, Role};
use crate::digest::Digest;
use crate::facts::{Content, Disk};
use crate::flash::{protected, target};
use crate::layout::{ALIGNMENT, derived_id};
use crate::machine::table::{Entry, Table};
use crate::page::contents;
use crate::units::{Bytes, Sector};

/// The smallest disk that is worth a role.
const LEAST: Bytes = Bytes::gib(1);

/// Linux file system data, as GPT calls it.
const LINUX: Uuid = uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

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
    /// What becomes of it, in a sentence.
    pub fn sentence(&self) -> String {
        let places: Vec<String> = self.roles.iter().map(|role| format!("/mnt/{}", word(*role))).collect();
        let places = places.join(" and ");
        match &self.what {
            What::Directory => format!("{places}: on the system disk."),
            What::Adopt { disk, file_system, read_only, .. } => {
                let how = if *read_only { "only read" } else { "with everything that is on it" };
                format!("{places}: {}, {}, its {file_system} {how}.", disk.told(), disk.size)
            }
            What::Erase { disk, file_system, .. } => {
                let kind = serde_json::to_value(file_system).ok();
                let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("file system").to_owned();
                format!("{places}: {}, {}, ERASED and formatted with {kind}.", disk.told(), disk.size)
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

fn content_key(content: &Content) -> (&str, Option<&str>, Option<&str>) {
    (&content.kind, content.label.as_deref(), content.id.as_deref())
}

/// Plans every role disk. A role that no disk has is a folder on `data`.
pub(super) fn plan(answers: &Answers, named: &[Named<'_>], install: Uuid, against: &mut Vec<Refusal>) -> Vec<RoleDisk> {
    let disks: BTreeMap<&str, &Disk> = named.iter().map(|named| (named.key.as_str(), named.disk)).collect();
    let mut out = Vec::new();
    for (i, answer) in answers.disks.iter().enumerate() {
        let key = role_key(i);
        let mut roles = answer.roles.clone();
        roles.sort_unstable();
        let what = match (answer.prepare, disks.get(key.as_str())) {
            (Prepare::Directory, _) => Some(What::Directory),
            (Prepare::Adopt, Some(disk)) => adopt(&key, disk, roles.len(), against),
            (Prepare::Erase, Some(disk)) => {
                erase(&key, disk, &roles, answer.file_system.unwrap_or(FileSystem::Ext4), install, against)
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

fn adopt(key: &str, disk: &Disk, roles: usize, against: &mut Vec<Refusal>) -> Option<What> {
    let refuse = |why: String| Refusal::CannotAdopt { key: key.to_owned(), disk: disk.path.clone(), why };
    if disk.boot_medium {
        against.push(refuse("Hearth was started from it".to_owned()));
        return None;
    }
    let whole = disk.content.iter();
    let found: Vec<&Content> = whole.chain(disk.partitions.iter().filter_map(|part| part.content.as_ref())).collect();
    let fitting: Vec<(&Content, bool)> =
        found.iter().filter_map(|content| Some((*content, adoptable(&content.kind)?))).collect();
    let only = match fitting.as_slice() {
        [one] => one,
        [] => {
            let text = format!(
                "it holds no file system that Hearth can use ({}). Those are ext4, xfs and btrfs, and ntfs and exfat to read from",
                contents(disk)
            );
            against.push(refuse(text));
            return None;
        }
        several => {
            let kinds: Vec<&str> = several.iter().map(|(content, _)| content.kind.as_str()).collect();
            against.push(refuse(format!(
                "it holds several file systems ({}), and only one can be meant",
                kinds.join(", ")
            )));
            return None;
        }
    };
    if only.1 && roles > 1 {
        against.push(refuse(format!(
            "its {} is only read, so no folder for each of several roles can be made on it",
            only.0.kind
        )));
        return None;
    }
    let Some(id) = only.0.id.clone() else {
        against.push(refuse(format!("its {} has no id to find it by", only.0.kind)));
        return None;
    };
    Some(What::Adopt {
        disk: Target::of(disk),
        state: state(disk),
        file_system: only.0.kind.clone(),
        id,
        read_only: only.1,
    })
}

fn erase(
    key: &str,
    disk: &Disk,
    roles: &[Role],
    file_system: FileSystem,
    install: Uuid,
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
        kind: LINUX,
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
    })
}

/// Why a disk of a role must not be touched.
pub(super) fn guarded(disks: &[Disk], named: &Named<'_>) -> Vec<Refusal> {
    let key = || named.key.clone();
    protected(disks, named.disk).into_iter().map(|why| Refusal::Disk { key: key(), why }).collect()
}

/// The name of a disk that is formatted for `roles`: for people who look at it elsewhere.
pub fn label(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| word(*role)).collect();
    format!("hearth-{}", words.join("-"))
}

/// A role's word, which is also its folder below /mnt.
pub fn word(role: Role) -> &'static str {
    match role {
        Role::Media => "media",
        Role::Downloads => "downloads",
        Role::Backups => "backups",
    }
}
