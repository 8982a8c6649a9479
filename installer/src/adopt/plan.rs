//! From facts to a plan that a person can read, or to every reason why not. Nothing
//! here touches the machine: the same facts always give the same answer.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fat;
use super::survey::{Leftover, Survey};
use crate::answers::Unlock;
use crate::digest::Digest;
use crate::encryption::Encryption;
use crate::facts::{Disk, Facts, Mode};
use crate::layout::{
    ALIGNMENT, DATA_LABEL, ESP_LABEL, GROWN, HEARTH_LABEL, MIN_DATA, Part, ROOT_B_FROM, ROOT_GROWTH, ROOT_LABEL,
    derived_id,
};
use crate::machine::table::{Entry, Table};
use crate::page::{identity, text};
use crate::units::{Bytes, Sector, SectorSize};

/// The version of the [`AdoptPlan`] document.
pub const FORMAT: u32 = 1;

/// What will be done to the disk that Hearth started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdoptPlan {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Hearth that made the plan.
    pub hearth: String,
    /// The id that all others follow from.
    pub install: Uuid,
    /// The disk it is for.
    pub disk: Target,
    /// The table as the image brought it.
    pub before: Table,
    /// The table as it will be.
    pub table: Table,
    /// The file systems' new ids.
    pub ids: Ids,
    /// How `data` is encrypted; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// A disk, by everything that stays the same when it gets another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// Its name when the plan was made, for people.
    pub name: String,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its world-wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Its size.
    pub size: Bytes,
    /// Its logical sector size.
    pub sector: SectorSize,
}

impl Target {
    /// What tells `disk` from others.
    pub fn of(disk: &Disk) -> Self {
        Self {
            name: disk.name.clone(),
            model: disk.model.clone(),
            serial: disk.serial.clone(),
            wwn: disk.wwn.clone(),
            size: disk.size,
            sector: disk.logical_sector,
        }
    }

    /// Its model and serial number, for people.
    pub fn told(&self) -> String {
        let model = self.model.as_deref().unwrap_or("a disk");
        self.serial
            .as_ref()
            .map_or_else(|| format!("{model} ({})", self.name), |serial| format!("{model}, serial {serial}"))
    }

    /// Whether `disk` is the same one, whatever its name is now.
    pub fn is(&self, disk: &Disk) -> bool {
        (&self.serial, &self.wwn, self.size, self.sector) == (&disk.serial, &disk.wwn, disk.size, disk.logical_sector)
    }
}

/// Ids of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ids {
    /// Of the ext4 in `root-a`.
    pub root: Uuid,
    /// Of the btrfs in `data`.
    pub data: Uuid,
    /// Of the FAT in `esp`.
    pub esp: u32,
    /// Of the FAT in `hearth`.
    pub hearth: u32,
}

/// Why Hearth will not run from this disk. Every one that applies is told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in setup mode.
    #[error(
        "Hearth was not started in setup mode, and only there is the disk untouched. Restart and choose setup in the menu."
    )]
    NotSetup,
    /// No disk, or several, below `/`.
    #[error(
        "Hearth cannot tell which disk it runs from: its root lies on no disk, or on several. Start it from the disk that it was written to."
    )]
    NoBootDisk,
    /// Two disks cannot be told apart.
    #[error("the disks {} hold the same copy of Hearth and cannot be told apart. Remove one copy.", .0.join(" and "))]
    Duplicate(Vec<String>),
    /// The disk refuses writes.
    #[error("{0} is read-only. Switch its write protection off, or write the image to another disk.")]
    ReadOnly(String),
    /// Something else uses the disk.
    #[error("{disk} is in use: {by}. Stop what uses it, then look again.")]
    InUse {
        /// The disk.
        disk: String,
        /// What uses it.
        by: String,
    },
    /// The table is not the image's.
    #[error("{disk} is not laid out as the image is: {why}. Write the image to the disk again.")]
    Layout {
        /// The disk.
        disk: String,
        /// What differs.
        why: String,
    },
    /// Partitions of an adopted disk are there.
    #[error("{0} has partitions behind root-a, so it was adopted before. Restart without setup mode.")]
    AlreadyAdopted(String),
    /// The disk counts in other sectors than its table.
    #[error(
        "{disk} has sectors of {disk_sector} bytes, but its table counts in {table_sector}. Write the image to the disk again."
    )]
    SectorSize {
        /// The disk.
        disk: String,
        /// The disk's.
        disk_sector: u32,
        /// The table's.
        table_sector: u32,
    },
    /// It does not fit.
    #[error(
        "{disk} has {size}, but {need} are needed: {root} for the system and at least {data} for data. Use a larger disk."
    )]
    TooSmall {
        /// The disk.
        disk: String,
        /// Its size.
        size: Bytes,
        /// The smallest that is enough.
        need: Bytes,
        /// What the system takes.
        root: Bytes,
        /// What data needs at least.
        data: Bytes,
    },
    /// Somebody's data.
    #[error(
        "{disk} still holds {what} at {at}, in the space that Hearth would take. Save what you need of it and erase it (wipefs), or use another disk."
    )]
    Leftover {
        /// The disk.
        disk: String,
        /// What it is.
        what: String,
        /// Where it begins.
        at: Bytes,
    },
}

impl Refusal {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSetup => "not-setup",
            Self::NoBootDisk => "no-boot-disk",
            Self::Duplicate(_) => "duplicate",
            Self::ReadOnly(_) => "read-only",
            Self::InUse { .. } => "in-use",
            Self::Layout { .. } => "layout",
            Self::AlreadyAdopted(_) => "already-adopted",
            Self::SectorSize { .. } => "sector-size",
            Self::TooSmall { .. } => "too-small",
            Self::Leftover { .. } => "leftover",
        }
    }
}

/// Plans, or says everything that stands against it. `survey` is what was read from the
/// disk that [`Facts::boot_disk`] names; without such a disk there is none.
pub fn plan(facts: &Facts, survey: Option<&Survey>) -> Result<AdoptPlan, Vec<Refusal>> {
    let mut against = Vec::new();
    if facts.mode != Some(Mode::Setup) {
        against.push(Refusal::NotSetup);
    }
    let (Some(disk), Some(survey)) = (facts.boot_disk(), survey) else {
        against.push(Refusal::NoBootDisk);
        return Err(against);
    };
    let install = install_id(facts.machine.id, disk.serial.as_deref(), survey.drawn);
    match plan_for(facts, disk, survey, install) {
        Ok(plan) if against.is_empty() => Ok(plan),
        Ok(_) => Err(against),
        Err(more) => {
            against.extend(more);
            Err(against)
        }
    }
}

/// Plans for `disk`, which holds the image as it was written, or says everything that stands
/// against it. All ids follow from `install`.
pub fn plan_for(facts: &Facts, disk: &Disk, survey: &Survey, install: Uuid) -> Result<AdoptPlan, Vec<Refusal>> {
    let mut against = Vec::new();
    against.extend(
        facts
            .duplicates
            .iter()
            .filter(|twin| twin.disks.contains(&disk.name))
            .map(|twin| Refusal::Duplicate(twin.disks.clone())),
    );
    if disk.read_only {
        against.push(Refusal::ReadOnly(disk.name.clone()));
    }
    against.extend(uses(disk).map(|by| Refusal::InUse { disk: disk.name.clone(), by }));
    against.extend(survey.leftovers.iter().map(|leftover| leftover_refusal(disk, leftover)));
    let table = match &survey.table {
        Ok(table) => fresh(disk, table, &mut against).then_some(table),
        Err(why) => {
            against.push(Refusal::Layout { disk: disk.name.clone(), why: why.clone() });
            None
        }
    };
    let extents = table.and_then(|table| lay_out(disk, table).map_err(|refusal| against.push(refusal)).ok());
    match (table, extents) {
        (Some(before), Some(extents)) if against.is_empty() => Ok(compose(facts, disk, install, before, &extents)),
        _ => Err(against),
    }
}

/// Plans for `disk`, to which Hearth will be copied from a disk with the table `source`. The copy
/// has the planned ids in its table from the first moment; all of them follow from `install`.
pub fn plan_for_copy(facts: &Facts, disk: &Disk, source: &Table, install: Uuid) -> Result<AdoptPlan, Refusal> {
    // As flash writes it: without attributes, whatever another computer gave those of the source.
    let own = |entry: &Entry| {
        let id = derived_id(install, &format!("partition {}", entry.name));
        Entry { id, attributes: 0, ..entry.clone() }
    };
    let entries = source.entries.iter().map(own).collect();
    let before = Table { id: derived_id(install, "disk"), sector_size: source.sector_size, entries };
    let extents = lay_out(disk, &before)?;
    Ok(compose(facts, disk, install, &before, &extents))
}

fn leftover_refusal(disk: &Disk, leftover: &Leftover) -> Refusal {
    let label = leftover.content.label.as_deref().map(|label| format!(" \"{}\"", text::cut(label, 20)));
    let what = format!("{}{}", leftover.content.kind, label.unwrap_or_default());
    Refusal::Leftover { disk: disk.name.clone(), what, at: leftover.at }
}

/// What uses the disk besides Hearth's own root.
fn uses(disk: &Disk) -> Option<String> {
    let whole = disk.content.as_ref().map(|content| format!("the whole disk is a {}", content.kind));
    let holder = disk.holders.iter().chain(disk.partitions.iter().flat_map(|part| &part.holders)).next();
    let holder = holder.map(|holder| format!("{} ({}) is built on it", holder.name, holder.kind));
    let mounted = disk.partitions.iter().filter(|part| part.number != Some(Part::RootA.number())).find_map(|part| {
        let at = part.mountpoints.first()?;
        Some(format!("{} is mounted at {at}", part.device))
    });
    whole.or(holder).or(mounted)
}

/// Whether the table is the image's, as it was written.
fn fresh(disk: &Disk, table: &Table, against: &mut Vec<Refusal>) -> bool {
    const IMAGE: [Part; 4] = [Part::Bios, Part::Esp, Part::Hearth, Part::RootA];
    let before = against.len();
    if table.sector_size != disk.logical_sector {
        against.push(Refusal::SectorSize {
            disk: disk.name.clone(),
            disk_sector: disk.logical_sector.0,
            table_sector: table.sector_size.0,
        });
    }
    let layout = |why: String| Refusal::Layout { disk: disk.name.clone(), why };
    for part in IMAGE {
        match table.part(part) {
            None => against.push(layout(format!("there is no partition {} named {}", part.number(), part.name()))),
            Some(entry) if entry.kind != part.type_guid() => {
                against.push(layout(format!("partition {} has another type", part.name())));
            }
            Some(_) => {}
        }
    }
    let later = [Part::RootB, Part::Data];
    if later.iter().any(|&part| table.part(part).is_some()) {
        against.push(Refusal::AlreadyAdopted(disk.name.clone()));
    } else if table.entries.len() > IMAGE.len() {
        against.push(layout("it has more partitions than the image".to_owned()));
    } else if table.part(Part::RootA).is_some_and(|root| {
        table
            .entries
            .iter()
            .any(|entry| entry.start > root.start || entry.number != root.number && entry.end() > root.start)
    }) {
        against.push(layout("root-a is not the last partition".to_owned()));
    }
    against.len() == before
}

/// A partition's place in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Extent {
    /// Which partition.
    pub part: Part,
    /// Its first byte.
    pub start: Bytes,
    /// Its length.
    pub size: Bytes,
}

/// Where root-a, root-b (on large disks) and data will lie.
pub fn lay_out(disk: &Disk, before: &Table) -> Result<Vec<Extent>, Refusal> {
    let sector = before.sector_size;
    let missing = || Refusal::Layout { disk: disk.name.clone(), why: "there is no root-a".to_owned() };
    let root = before.part(Part::RootA).ok_or_else(missing)?;
    let start = root.offset(sector);
    let growth = if root.attributes & GROWN == 0 { ROOT_GROWTH } else { Bytes::ZERO };
    let end = (start + root.size(sector) + growth).round_up(ALIGNMENT);
    let mut extents = vec![Extent { part: Part::RootA, start, size: end - start }];
    if disk.size >= ROOT_B_FROM {
        extents.push(Extent { part: Part::RootB, start: end, size: (end - start).round_up(ALIGNMENT) });
    }
    let data = extents.last().map_or(end, |last| last.start + last.size);
    let usable = Table::usable_end(disk.size, sector);
    if data + MIN_DATA > usable {
        let need = data + MIN_DATA + ALIGNMENT;
        let (root, data) = (data - start, MIN_DATA);
        return Err(Refusal::TooSmall { disk: disk.name.clone(), size: disk.size, need, root, data });
    }
    extents.push(Extent { part: Part::Data, start: data, size: usable - data });
    Ok(extents)
}

fn compose(facts: &Facts, disk: &Disk, install: Uuid, before: &Table, extents: &[Extent]) -> AdoptPlan {
    let id = |part: Part| derived_id(install, &format!("partition {}", part.name()));
    let sector = before.sector_size;
    let mut entries: Vec<Entry> = before.entries.iter().filter(|e| e.number < Part::RootA.number()).cloned().collect();
    let attributes = |number: u32| before.entries.iter().find(|e| e.number == number).map_or(0, |e| e.attributes);
    for extent in extents {
        entries.push(Entry {
            number: extent.part.number(),
            name: extent.part.name().to_owned(),
            kind: extent.part.type_guid(),
            id: Uuid::nil(),
            start: Sector::at(extent.start, sector),
            sectors: extent.size.0 / u64::from(sector.0),
            attributes: attributes(extent.part.number()),
        });
    }
    for entry in &mut entries {
        if let Some(part) = Part::ALL.iter().find(|part| part.number() == entry.number) {
            entry.id = id(*part);
        }
    }
    AdoptPlan {
        format: FORMAT,
        hearth: facts.version().to_owned(),
        install,
        disk: Target::of(disk),
        before: before.clone(),
        table: Table { id: derived_id(install, "disk"), sector_size: sector, entries },
        ids: Ids {
            root: derived_id(install, ROOT_LABEL),
            data: derived_id(install, DATA_LABEL),
            esp: fat::planned(install, ESP_LABEL),
            hearth: fat::planned(install, HEARTH_LABEL),
        },
        encryption: None,
    }
}

/// The install id follows from the machine and its disk. Where one of them does not
/// tell who it is, two machines would get the same ids: then `drawn` decides, and the
/// approved plan carries it through every restart.
pub fn install_id(machine: Option<Uuid>, serial: Option<&str>, drawn: Uuid) -> Uuid {
    match (machine, serial) {
        (Some(machine), Some(serial)) => derived_id(machine, serial),
        _ => derived_id(drawn, "install"),
    }
}

impl AdoptPlan {
    /// The same plan, with `data` encrypted and opened like this at each start.
    #[must_use]
    pub fn encrypted(self, unlock: Unlock) -> Self {
        let luks = derived_id(self.install, "encrypted data");
        Self { encryption: Some(Encryption { unlock, luks }), ..self }
    }

    /// What approval is given for.
    pub fn digest(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The entry of a part that every plan has.
    pub fn entry(&self, part: Part) -> Option<&Entry> {
        self.table.part(part)
    }

    /// The plan for people, in lines of a console.
    pub fn lines(&self, disk: &Disk) -> Vec<String> {
        let mut out = text::wrap("Plan: ", &format!("run Hearth from {}, {}.", disk.name, self.disk.size));
        out.extend(text::wrap("      ", &identity(disk)));
        out.push(String::new());
        out.push("  partition     now         then".to_owned());
        for entry in &self.table.entries {
            let now = self.before.entries.iter().find(|e| e.number == entry.number);
            let now = now.map_or("-".to_owned(), |e| e.size(self.disk.sector).to_string());
            let then = entry.size(self.disk.sector).to_string();
            out.push(format!("  {} {:<9} {now:>9}   {then:>9}  {}", entry.number, entry.name, purpose(entry.number)));
        }
        out.push(String::new());
        let rest = "Nothing that is on the disk now is erased: Hearth takes the free space behind its own partitions. \
                    The disk and everything on it get new ids. After a restart Hearth prepares the disk and starts \
                    normally; a power cut does no harm, the next start goes on where it stopped.";
        out.extend(text::wrap("", rest));
        out.extend(text::wrap("", &format!("Plan {}.", &self.digest().to_string()[..16])));
        out
    }
}

fn purpose(number: u32) -> &'static str {
    match Part::ALL.iter().find(|part| part.number() == number) {
        Some(Part::RootA) => "the system, grown",
        Some(Part::RootB) => "kept free for updates",
        Some(Part::Data) => "services, files, logs (new)",
        _ => "stays",
    }
}

#[cfg(test)]
mod tests;
