//! From facts and what was read from the disks to a plan, or to every reason why not. Nothing
//! here touches the machine.

use super::record::{Record, Unfit};
use super::refusal::{Refusal, Unable};
use super::survey::{Data, Seen, Survey};
use crate::adopt::plan::Target;
use crate::approval::Token;
use crate::digest::Digest;
use crate::facts::{Disk, Facts, Mode};
use crate::flash::{protected, target};
use crate::layout::Part;
use crate::machine::table::{Entry, Table};
use crate::page::{identity, text};
use crate::setup::roles::state;

/// What the image brings, in the order of its table.
const IMAGE: [Part; 4] = [Part::Bios, Part::Esp, Part::Hearth, Part::RootA];

/// What will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepairPlan {
    /// The disk.
    pub disk: Target,
    /// What was on it when the plan was made.
    pub state: Digest,
    /// Its table, which stays.
    pub table: Table,
    /// Whether a copy of the table is damaged.
    pub mend_table: bool,
    /// What its `data` says of the system.
    pub record: Record,
}

/// The disk that is meant, as far as that shows without opening anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Its record can be read.
    Open(Box<RepairPlan>),
    /// Its `data` is locked.
    Locked(String),
}

/// The disk to repair: the one called `wanted`, or the only one that can be, or all that stands against it.
pub(crate) fn choose(facts: &Facts, survey: &Survey, wanted: Option<&str>) -> Result<Chosen, Vec<Refusal>> {
    let source = started_from(facts, survey)?;
    let others: Vec<&Disk> = facts.disks.iter().filter(|disk| !disk.boot_medium).collect();
    let meant: Vec<&Disk> = match wanted {
        Some(name) => others.iter().copied().filter(|disk| target::is_named(disk, name)).collect(),
        None => others,
    };
    if meant.is_empty() {
        return Err(vec![wanted.map_or(Refusal::NoDisk, |name| Refusal::NotThere(name.to_owned()))]);
    }
    let mut able = Vec::new();
    let mut against = Vec::new();
    for disk in meant {
        match judge(facts, disk, source, survey.disks.get(&disk.name)) {
            Ok(chosen) => able.push((disk, chosen)),
            Err(why) => against.extend(why.into_iter().map(|why| Refusal::Disk { disk: told(disk), why })),
        }
    }
    match able.len() {
        0 => Err(against),
        1 => Ok(able.swap_remove(0).1),
        _ => Err(vec![Refusal::Several(able.iter().map(|(disk, _)| target::name(disk)).collect())]),
    }
}

/// The table of the medium that Hearth was started from, if it can be copied.
fn started_from<'a>(facts: &Facts, survey: &'a Survey) -> Result<&'a Table, Vec<Refusal>> {
    let mut against = Vec::new();
    if facts.mode != Some(Mode::Setup) {
        against.push(Refusal::NotSetup);
    }
    let boot = facts.boot_disk();
    match (boot, &survey.source) {
        (Some(disk), Some(table)) if table.part(Part::Data).is_some() => {
            against.push(Refusal::FromItself(disk.path.clone()));
        }
        (Some(_), Some(table)) => {
            against.extend(survey.no_copy.clone().map(Refusal::NoCopy));
            if against.is_empty() {
                return Ok(table);
            }
        }
        _ => against.push(Refusal::NoBootDisk),
    }
    Err(against)
}

/// How a disk is called in a refusal.
fn told(disk: &Disk) -> String {
    format!("{} ({})", disk.name, identity(disk))
}

fn judge(facts: &Facts, disk: &Disk, source: &Table, seen: Option<&Seen>) -> Result<Chosen, Vec<Unable>> {
    let nothing = || vec![Unable::NoTable("it came after the others were looked at".to_owned())];
    let seen = seen.ok_or_else(nothing)?;
    let table = seen.table.as_ref().map_err(|why| vec![Unable::NoTable(why.clone())])?;
    // What is no Hearth needs no further reason.
    is_hearth(table).map_err(|why| vec![Unable::NotHearth(why)])?;
    let mut against: Vec<Unable> = fits(table, source).err().into_iter().collect();
    against.extend(protected(&facts.disks, disk).into_iter().map(Unable::Protected));
    let found = match &seen.data {
        Data::Kept(record) => belongs(record, table).map(|()| Some(record)).map_err(Unable::OtherTable),
        Data::Locked => Ok(None),
        Data::Absent => Err(Unable::NoData("nothing".to_owned())),
        Data::Other(what) => Err(Unable::NoData(what.clone())),
        Data::Unmountable(why) => Err(Unable::Unmountable(why.clone())),
        Data::Bare => Err(Unable::NoRecord),
        Data::Unfit(Unfit::Newer(version)) => Err(Unable::NewerRecord(version.clone())),
        Data::Unfit(Unfit::Damaged(why)) => Err(Unable::DamagedRecord(why.clone())),
    };
    match found {
        Err(why) => against.push(why),
        Ok(_) if !against.is_empty() => {}
        Ok(None) => return Ok(Chosen::Locked(disk.name.clone())),
        Ok(Some(record)) => {
            return Ok(Chosen::Open(Box::new(RepairPlan {
                disk: Target::of(disk),
                state: state(disk),
                table: table.clone(),
                mend_table: !seen.is_whole,
                record: (**record).clone(),
            })));
        }
    }
    Err(against)
}

/// Whether the table is that of a Hearth that runs from its disk.
fn is_hearth(table: &Table) -> Result<(), String> {
    for part in IMAGE.iter().chain(&[Part::Data]) {
        match table.part(*part) {
            Some(entry) if entry.kind == part.type_guid() => {}
            Some(_) => return Err(format!("its partition {} has another type", part.name())),
            None => return Err(format!("there is no partition {} named {}", part.number(), part.name())),
        }
    }
    Ok(())
}

/// Whether what the image brings has its place in the table.
fn fits(table: &Table, source: &Table) -> Result<(), Unable> {
    if table.sector_size != source.sector_size {
        return Err(Unable::SectorSize(table.sector_size.0, source.sector_size.0));
    }
    for part in IMAGE {
        let (Some(slot), Some(brought)) = (table.part(part), source.part(part)) else {
            return Err(Unable::Moved(part.name()));
        };
        let is_root = part == Part::RootA;
        if slot.start != brought.start || (!is_root && slot.sectors != brought.sectors) {
            return Err(Unable::Moved(part.name()));
        }
        // Behind root-a the image has the copy of its own table.
        let need = brought.size(source.sector_size) + crate::layout::ALIGNMENT;
        let has = slot.size(table.sector_size);
        if is_root && has < need {
            return Err(Unable::TooSmall(has));
        }
    }
    Ok(())
}

/// Whether `data` was made with this table.
fn belongs(record: &Record, table: &Table) -> Result<(), &'static str> {
    let places = |table: &Table| -> Vec<(u32, uuid::Uuid, u64, u64)> {
        table.entries.iter().map(|entry: &Entry| (entry.number, entry.id, entry.start.0, entry.sectors)).collect()
    };
    if record.table.id != table.id {
        return Err("the ids differ");
    }
    if places(&record.table) != places(table) {
        return Err("it was changed since");
    }
    Ok(())
}

impl RepairPlan {
    /// What approves it.
    pub fn token(&self) -> Token {
        let table = ("partition table id", self.table.id.to_string());
        Token::for_disk(self.disk.serial.as_deref(), self.disk.wwn.as_deref(), table)
    }

    /// Tells this plan from any other.
    pub fn digest(&self) -> Digest {
        let record = self.record.digest().map(|digest| digest.to_string()).unwrap_or_default();
        let what = (&self.disk.serial, &self.disk.wwn, &self.table, self.mend_table, record);
        Digest::of(serde_json::to_vec(&what).unwrap_or_default())
    }

    /// The name of the machine, where it was set up.
    pub fn hostname(&self) -> Option<String> {
        let setup = self.record.setup.as_ref()?;
        setup.approved.plan.answers.pointer("/system/hostname")?.as_str().map(str::to_owned)
    }

    /// The plan for people, in lines of a console.
    pub fn lines(&self, disk: &Disk) -> Vec<String> {
        let name = self.hostname().map_or_else(|| "the Hearth".to_owned(), |name| format!("the machine \"{name}\""));
        let mut out = text::wrap("Plan: ", &format!("repair {name} on {}, {}.", disk.name, self.disk.size));
        out.extend(text::wrap("      ", &identity(disk)));
        out.push(String::new());
        for entry in &self.table.entries {
            let size = entry.size(self.table.sector_size).to_string();
            out.push(format!("  {} {:<9} {size:>9}  {}", entry.number, entry.name, becomes(entry.number)));
        }
        out.push(String::new());
        let mend = if self.mend_table { "The partition table is damaged, and is mended from its copy. " } else { "" };
        let rest = format!(
            "{mend}Partitions keep their places and ids. What was installed or changed by hand on the system is lost. \
             The disks for media, downloads and backups are not touched. A power cut does no harm: until it is finished \
             nothing starts from {}, and repairing again finishes it.",
            disk.name
        );
        out.extend(text::wrap("", &rest));
        out.extend(text::wrap("", &format!("Plan {}.", &self.digest().to_string()[..16])));
        out
    }
}

fn becomes(number: u32) -> &'static str {
    match Part::ALL.iter().find(|part| part.number() == number) {
        Some(Part::Bios | Part::Esp) => "WRITTEN ANEW: what starts the system",
        Some(Part::Hearth) => "WRITTEN ANEW: notes and reports on it are lost",
        Some(Part::RootA) => "WRITTEN ANEW: the system",
        Some(Part::Data) => "stays: services, files, people, secrets",
        Some(Part::RootB) | None => "stays",
    }
}
