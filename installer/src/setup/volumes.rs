//! Arrays (md) and LVM volumes as role disks: which one an answer means, whether it can be taken as
//! it is, and what the plan keeps of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::{Named, role_key};
use super::refusal::Refusal;
use super::roles::{What, content_key, reasons, usable};
use crate::adopt::plan::Target;
use crate::answers::{Answers, DiskSelector, Role};
use crate::digest::Digest;
use crate::facts::volumes::{pieces, told};
use crate::facts::{Content, Disk, Facts, Volume, VolumeKind};
use crate::flash::{self, protected, target};
use crate::machine::Dev;
use crate::nearest::nearest;
use crate::page::identity;
use crate::units::Bytes;

/// A volume, by everything that stays the same when its disks get other names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VolumeTarget {
    /// What makes it.
    pub kind: VolumeKind,
    /// What people call it.
    pub name: String,
    /// Its own id.
    pub id: String,
    /// `raid1`, `linear` …
    pub level: String,
    /// Its size.
    pub size: Bytes,
    /// The disks it lies on.
    pub disks: Vec<Target>,
    /// LVM's ids of the pieces that must be there before it is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<String>,
}

/// For people.
impl fmt::Display for VolumeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(self.kind, &self.name))
    }
}

impl VolumeTarget {
    fn of(volume: &Volume, disks: &[Disk]) -> Self {
        let ids = disks.iter().flat_map(pieces).filter(|(device, ..)| volume.members.iter().any(|own| own == device));
        let mut ids: Vec<String> = ids.filter_map(|(_, content, _)| content?.id.clone()).collect();
        ids.sort();
        let mut on = volume.disks(disks);
        on.sort_by_key(|disk| (&disk.serial, &disk.wwn));
        Self {
            kind: volume.kind,
            name: volume.name.clone(),
            id: volume.id.clone(),
            level: volume.level.clone(),
            size: volume.size,
            disks: on.into_iter().map(Target::of).collect(),
            pieces: if volume.kind == VolumeKind::Lvm { ids } else { Vec::new() },
        }
    }

    /// The volume among what is there now.
    pub fn find<'a>(&self, facts: &'a Facts) -> Option<&'a Volume> {
        facts.volumes.iter().find(|volume| volume.kind == self.kind && volume.id == self.id)
    }

    /// Its device once it runs; `label` is what an array is called here.
    pub fn dev(&self, label: &str) -> Dev {
        match self.kind {
            VolumeKind::Md => Dev::disk(&format!("md/{label}")),
            VolumeKind::Lvm => Dev::disk(&self.name),
        }
    }
}

/// What a volume is, and what is in it, as a digest. Names of the hour do not count, nor whether it runs.
pub fn state(volume: &Volume, disks: &[Disk]) -> Digest {
    let mut parts: Vec<_> = disks
        .iter()
        .flat_map(|disk| pieces(disk).map(move |piece| (disk, piece)))
        .filter(|(_, (device, ..))| volume.members.iter().any(|own| own == device))
        .map(|(disk, (device, content, _))| {
            let part = disk.partitions.iter().find(|part| part.device == device);
            let place = part.map(|part| (part.number, part.start, part.size, &part.guid));
            ((&disk.serial, &disk.wwn, disk.size), place, content.map(content_key))
        })
        .collect();
    parts.sort();
    let whole = (volume.kind, &volume.id, &volume.level, volume.size, volume.content.as_ref().map(content_key), parts);
    Digest::of(serde_json::to_vec(&whole).unwrap_or_default())
}

/// A volume that an answer names.
pub(super) struct NamedVolume<'a> {
    pub(super) key: String,
    pub(super) volume: &'a Volume,
}

/// Every volume that the answers name, exactly one each.
pub(super) fn named<'a>(facts: &'a Facts, answers: &Answers, against: &mut Vec<Refusal>) -> Vec<NamedVolume<'a>> {
    let mut out: Vec<NamedVolume<'_>> = Vec::new();
    for (i, role) in answers.disks.iter().enumerate() {
        let Some(wanted) = role.disk.as_ref().and_then(wanted) else { continue };
        let key = role_key(i);
        match only_one(&facts.volumes, &wanted) {
            Ok(volume) => {
                if let Some(first) = out.iter().find(|other| other.volume.id == volume.id) {
                    let (first, disk) = (first.key.clone(), volume.to_string());
                    against.push(Refusal::SameDisk { first, second: key, disk });
                } else {
                    out.push(NamedVolume { key, volume });
                }
            }
            Err(there) => against.push(Refusal::NoVolume { key, wanted: told(wanted.0, &wanted.1), there }),
        }
    }
    out
}

/// The volume that a selector names, if it names one and no disk.
pub(super) fn wanted(selector: &DiskSelector) -> Option<(VolumeKind, String)> {
    let md = selector.md.as_ref().map(|name| (VolumeKind::Md, name.to_string()));
    md.or_else(|| Some((VolumeKind::Lvm, selector.lvm.as_ref()?.to_string())))
}

/// The one that is meant, or what to say of those that are there.
fn only_one<'a>(all: &'a [Volume], (kind, name): &(VolumeKind, String)) -> Result<&'a Volume, String> {
    let of_kind: Vec<&Volume> = all.iter().filter(|volume| volume.kind == *kind).collect();
    // An id is written with colons by mdadm, and with hyphens by lsblk.
    let bare = |text: &str| text.to_lowercase().replace([':', '-'], "");
    let is_meant = |volume: &&&Volume| volume.name == *name || bare(&volume.id) == bare(name);
    let meant: Vec<&&Volume> = of_kind.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let ids: Vec<&str> = several.iter().map(|volume| volume.id.as_str()).collect();
            return Err(format!("Several have that name. Unplug the disks of the others ({})", ids.join(", ")));
        }
    }
    let names: Vec<&str> = of_kind.iter().map(|volume| volume.name.as_str()).collect();
    Err(match (nearest(name, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => format!("Is it \"{near}\" that you mean? There {}", list(&names)),
        (None, false) => format!("There {}", list(&names)),
        (None, true) => "There is none at all: are its disks plugged in?".to_owned(),
    })
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{} {}", if names.len() == 1 { "is" } else { "are" }, quoted.join(", "))
}

/// What is made of the volume, or why it is not taken.
pub(super) fn adopt(
    named: &NamedVolume<'_>,
    facts: &Facts,
    roles: &[Role],
    against: &mut Vec<Refusal>,
) -> Option<What> {
    let NamedVolume { key, volume } = named;
    let disks = volume.disks(&facts.disks);
    let mut why: Vec<_> = disks.iter().flat_map(|disk| reasons(protected(&facts.disks, disk))).collect();
    // That an array runs already is said of the array. The order must not follow the names of the hour.
    why.retain(|why| why.code() != "held");
    why.sort_by_key(flash::Refusal::code);
    against.extend(why.into_iter().map(|why| Refusal::Disk { key: key.clone(), why }));
    match adopted(volume, facts, roles) {
        Ok(what) => Some(what),
        Err(why) => {
            against.push(Refusal::CannotAdopt { key: key.clone(), disk: volume.to_string(), why });
            None
        }
    }
}

fn adopted(volume: &Volume, facts: &Facts, roles: &[Role]) -> Result<What, String> {
    if let Some(fault) = &volume.fault {
        return Err(fault.to_string());
    }
    if volume.active {
        return Err("it runs already, so somebody uses it. Stop it first, or start the machine again".to_owned());
    }
    let Some(content) = &volume.content else {
        return Err("no file system can be told on it".to_owned());
    };
    let is_copy = |other: &Content| other.id.is_some() && other.id == content.id;
    let (read_only, id) = usable(content, roles)
        .ok_or_else(|| format!("it holds {}, and only ext4, xfs and btrfs can be used", described(content)))??;
    let disk = facts.disks.iter().find(|disk| pieces(disk).filter_map(|(_, found, _)| found).any(is_copy));
    let other = facts.volumes.iter().filter(|other| other.id != volume.id);
    let other = other.filter(|other| other.content.as_ref().is_some_and(is_copy)).map(ToString::to_string).next();
    if let Some(other) = disk.map(target::name).or(other) {
        return Err(format!("{other} holds its {} too, with the same id. Unplug one of them", content.kind));
    }
    Ok(What::Assemble {
        volume: VolumeTarget::of(volume, &facts.disks),
        state: state(volume, &facts.disks),
        file_system: content.kind.clone(),
        id,
        read_only,
    })
}

fn described(content: &Content) -> &str {
    match content.kind.as_str() {
        "LVM2_member" => "an LVM volume group",
        "crypto_LUKS" => "LUKS (encrypted)",
        "linux_raid_member" => "part of another RAID array",
        other => other,
    }
}

/// A disk of a volume that is adopted has no second use.
pub(super) fn apart(volumes: &[NamedVolume<'_>], disks: &[Named<'_>]) -> Vec<Refusal> {
    let used = |disk: &Named<'_>| {
        let by = volumes.iter().find(|named| named.volume.on(disk.disk))?;
        Some(Refusal::Member {
            key: disk.key.clone(),
            disk: target::name(disk.disk),
            of: by.volume.to_string(),
            adopted: by.key.clone(),
        })
    };
    disks.iter().filter_map(used).collect()
}

/// The disks of a volume for people, each in a line.
pub(super) fn disk_lines(target: &VolumeTarget, facts: &Facts) -> Vec<String> {
    let now = |target: &Target| facts.disks.iter().find(|disk| disk.name == target.name);
    let line = |target: &Target| match now(target) {
        Some(disk) => format!("{}, {} (now {})", identity(disk), disk.size, disk.path),
        None => format!("{}, {}", target.told(), target.size),
    };
    target.disks.iter().map(line).collect()
}
