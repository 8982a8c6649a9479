//! From what is seen of a machine to a plan for starting over, or to every reason why not. Pure: nothing here
//! looks at the machine.

use serde::{Deserialize, Serialize};

use crate::adopt::plan::Target;
use crate::digest::Digest;
use crate::facts::{Disk, Facts, Mode};
use crate::flash::target;
use crate::layout::Part;
use crate::machine::table::Table;
use crate::setup::plan::SetupPlan;
use crate::setup::roles::{RoleDisk, What, places};

/// The version of the [`ResetPlan`] document.
pub const FORMAT: u32 = 1;

/// How much is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The system disk; the role disks are kept.
    KeepDisks,
    /// The role disks as well.
    EraseAll,
}

impl Scope {
    /// The option that says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::KeepDisks => "--keep-disks",
            Self::EraseAll => "--erase-all",
        }
    }
}

/// What becomes of a machine that starts over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ResetPlan {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Hearth that made the plan.
    pub hearth: String,
    /// How much is erased.
    pub scope: Scope,
    /// The machine's name.
    pub hostname: String,
    /// The disk that Hearth runs from.
    pub system: Target,
    /// What becomes of each role's place.
    pub roles: Vec<RoleFate>,
    /// Whether places for backups have passwords that are erased.
    pub repositories: bool,
}

/// What becomes of what carries a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleFate {
    /// Where it is seen.
    pub places: String,
    /// What it is, for people.
    pub what: String,
    /// Its disks; none for a folder on `data`.
    pub disks: Vec<Target>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It stays as it is.
    Kept,
    /// It stays, and only the recovery key opens it.
    Locked,
    /// It is erased.
    Erased,
}

/// What was read from the machine itself.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are answers to unrelated questions, each asked by its own refusal"
)]
pub struct Seen {
    /// Whether Hearth runs from this disk.
    pub adopted: bool,
    /// Whether its setup came to its end.
    pub sealed: bool,
    /// Whether a reset is approved already.
    pub under_way: bool,
    /// Whether there is a copy of what the image brought.
    pub kept: bool,
    /// The machine's name.
    pub hostname: String,
    /// The partition table of the disk that Hearth runs from, or why it cannot be read.
    pub table: Result<Option<Table>, String>,
    /// Whether the recovery kit lies where setup wrote it.
    pub kit_is_there: bool,
    /// What was set up.
    pub setup: Option<SetupPlan>,
}

/// Why a machine is not reset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Started in setup mode.
    #[error(
        "it was started in setup mode, in which nothing on its disk is changed. Restart it, and give this command there."
    )]
    SetupMode,
    /// There is nothing to reset.
    #[error(
        "it is not set up, so there is nothing to take back. If its setup stopped half-way, write the image to its disk anew."
    )]
    NotSetUp,
    /// It was approved before.
    #[error("a reset was approved already. Restart the machine, and it is carried out.")]
    UnderWay,
    /// No disk, or several, below `/`.
    #[error("Hearth cannot tell which disk it runs from.")]
    NoBootDisk,
    /// Two disks cannot be told apart.
    #[error("the disks {} hold the same copy of Hearth and cannot be told apart. Remove one of them.", .0.join(" and "))]
    Duplicate(Vec<String>),
    /// The table is not Hearth's.
    #[error("{disk} is not laid out as Hearth does it: {why}. Write the image to it anew.")]
    Layout {
        /// The disk.
        disk: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing tells what the image brought.
    #[error(
        "the copy of what the image brought is gone (/var/lib/hearth/image), so nobody knows what to go back to. Write the image to the disk anew."
    )]
    NoCopy,
    /// A disk takes no writes.
    #[error("{0} is read-only. Switch its write protection off.")]
    ReadOnly(String),
    /// A disk that is to be erased is not there.
    #[error(
        "{places}: its disk, {disk}, is to be erased and is not there. Plug it in, or use --keep-disks and erase it elsewhere."
    )]
    Absent {
        /// The role's places.
        places: String,
        /// The disk.
        disk: String,
    },
    /// Two disks are the same.
    #[error("{places}: two disks say that they are {disk}. Unplug the one that is not meant.")]
    Ambiguous {
        /// The role's places.
        places: String,
        /// The disk.
        disk: String,
    },
    /// Nobody could open a kept disk.
    #[error(
        "{places}: the disk is encrypted, its key is erased with the system disk, and the recovery kit was declined, so nothing would open it any more. Copy what you need, and use --erase-all."
    )]
    NoKit {
        /// The role's places.
        places: String,
    },
    /// The kit would be locked in, or erased.
    #[error(
        "the recovery kit still lies where setup wrote it, {0}, and would be out of reach afterwards. It alone opens the disks that are kept: copy it off this machine, then remove it there."
    )]
    KitInside(String),
}

impl Refusal {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SetupMode => "setup-mode",
            Self::NotSetUp => "not-set-up",
            Self::UnderWay => "under-way",
            Self::NoBootDisk => "no-boot-disk",
            Self::Duplicate(_) => "duplicate",
            Self::Layout { .. } => "layout",
            Self::NoCopy => "no-copy",
            Self::ReadOnly(_) => "read-only",
            Self::Absent { .. } => "absent",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NoKit { .. } => "no-kit",
            Self::KitInside(_) => "kit-inside",
        }
    }
}

/// Plans, or says everything that stands against it.
pub fn plan(facts: &Facts, seen: &Seen, scope: Scope) -> Result<ResetPlan, Vec<Refusal>> {
    if facts.mode == Some(Mode::Setup) {
        return Err(vec![Refusal::SetupMode]);
    }
    if seen.under_way {
        return Err(vec![Refusal::UnderWay]);
    }
    let Some(setup) = seen.setup.as_ref().filter(|_| seen.adopted && seen.sealed) else {
        return Err(vec![Refusal::NotSetUp]);
    };
    let mut against = Vec::new();
    let boot = facts.boot_disk();
    match boot {
        Some(disk) => against.extend(system(facts, disk, seen)),
        None => against.push(Refusal::NoBootDisk),
    }
    if !seen.kept {
        against.push(Refusal::NoCopy);
    }
    let roles: Vec<RoleFate> = setup.roles.iter().map(|role| fate(role, scope)).collect();
    for role in roles.iter().filter(|role| role.fate == Fate::Erased) {
        against.extend(role.disks.iter().filter_map(|disk| find(role, disk, facts).err()));
    }
    against.extend(kit(setup, seen, &roles));
    match boot {
        Some(disk) if against.is_empty() => Ok(ResetPlan {
            format: FORMAT,
            hearth: facts.version().to_owned(),
            scope,
            hostname: seen.hostname.clone(),
            system: Target::of(disk),
            roles,
            repositories: setup.has_repositories(),
        }),
        _ => Err(against),
    }
}

/// What stands against writing to the disk that Hearth runs from.
fn system(facts: &Facts, disk: &Disk, seen: &Seen) -> Vec<Refusal> {
    let mut out = Vec::new();
    let twins = facts.duplicates.iter().filter(|twin| twin.disks.contains(&disk.name));
    out.extend(twins.map(|twin| Refusal::Duplicate(twin.disks.clone())));
    if disk.read_only {
        out.push(Refusal::ReadOnly(disk.name.clone()));
    }
    let lacks = |table: &Option<Table>| {
        let part = [Part::Hearth, Part::RootA].into_iter();
        let missing = part.filter(|part| table.as_ref().is_none_or(|table| table.part(*part).is_none()));
        missing.map(|part| format!("there is no partition {} named {}", part.number(), part.name())).next()
    };
    let why = seen.table.as_ref().map_or_else(|why| Some(why.clone()), lacks);
    out.extend(why.map(|why| Refusal::Layout { disk: disk.name.clone(), why }));
    out
}

fn fate(role: &RoleDisk, scope: Scope) -> RoleFate {
    let (what, disks, locked) = match &role.what {
        What::Directory => ("a folder on the system disk".to_owned(), Vec::new(), false),
        What::Adopt { disk, .. } => (disk.told(), vec![disk.clone()], false),
        What::Erase { disk, luks, .. } => (disk.told(), vec![disk.clone()], luks.is_some()),
        What::Assemble { volume, .. } => (volume.to_string(), volume.disks.clone(), false),
    };
    let fate = match scope {
        _ if disks.is_empty() => Fate::Erased,
        Scope::EraseAll => Fate::Erased,
        Scope::KeepDisks if locked => Fate::Locked,
        Scope::KeepDisks => Fate::Kept,
    };
    RoleFate { places: places(&role.roles), what, disks, fate }
}

/// The disk that is meant, under whatever name it has now, if it can be erased.
fn find<'a>(role: &RoleFate, target: &Target, facts: &'a Facts) -> Result<&'a Disk, Refusal> {
    let (places, told) = (role.places.clone(), target.told());
    let fits: Vec<&Disk> = facts.disks.iter().filter(|disk| target.is(disk)).collect();
    match fits[..] {
        [disk] if disk.boot_medium => Err(Refusal::Ambiguous { places, disk: told }),
        [disk] if disk.read_only => Err(Refusal::ReadOnly(target::name(disk))),
        [disk] => Ok(disk),
        [] => Err(Refusal::Absent { places, disk: told }),
        _ => Err(Refusal::Ambiguous { places, disk: told }),
    }
}

/// Disks that are kept and encrypted need the recovery kit afterwards.
fn kit(setup: &SetupPlan, seen: &Seen, roles: &[RoleFate]) -> Option<Refusal> {
    let locked = roles.iter().find(|role| role.fate == Fate::Locked)?;
    let Some(file) = setup.kit() else { return Some(Refusal::NoKit { places: locked.places.clone() }) };
    // Where a disk is kept as it is, so is the kit.
    let on = setup.roles.iter().zip(roles).find(|(role, _)| role.holds(file));
    let reached = on.is_some_and(|(_, role)| role.fate == Fate::Kept);
    (seen.kit_is_there && !reached).then(|| Refusal::KitInside(file.to_owned()))
}

impl ResetPlan {
    /// What approval is given for.
    pub fn digest(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Every disk besides the system's that is erased, once each.
    pub fn erased(&self) -> Vec<&Target> {
        let mut out: Vec<&Target> = Vec::new();
        for disk in self.roles.iter().filter(|role| role.fate == Fate::Erased).flat_map(|role| &role.disks) {
            // Two volumes may lie on one disk.
            if !out.contains(&disk) {
                out.push(disk);
            }
        }
        out
    }
}
