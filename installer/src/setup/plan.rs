//! From facts and answers to a plan that a person can read, or to every reason why not.
//! Pure: the same facts and answers always give the same plan, and so the same digest, on
//! whatever console they were given. Secrets are never in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refusal::Refusal;
use super::roles::{self, RoleDisk, What};
use super::volumes;
use crate::adopt::plan::{AdoptPlan, Extent, Target, install_id, lay_out, plan as plan_adoption, plan_for_copy};
use crate::adopt::survey::Survey;
use crate::answers::{Answers, DiskChoice, DiskSelector, Prepare, Unlock};
use crate::digest::Digest;
use crate::encryption::told;
use crate::facts::{Disk, Facts, Mode};
use crate::flash::installed::Installed;
use crate::flash::{Need, judge, target};
use crate::page::contents;
use crate::render;
use crate::render::docker::{Pools, lan, pools};
use crate::selector::Selector;

/// The version of the [`SetupPlan`] document.
pub const FORMAT: u32 = 1;

/// What will be made of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SetupPlan {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Hearth that made the plan.
    pub hearth: String,
    /// The id that all others follow from.
    pub install: Uuid,
    /// The disk that Hearth will run from.
    pub system: SystemDisk,
    /// The disks for media, downloads and backups, and the roles that none has.
    pub roles: Vec<RoleDisk>,
    /// What opens the encrypted disks; absent where none is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Unlock>,
    /// The addresses that containers have.
    pub containers: Pools,
    /// The answers, with stars where secrets are.
    pub answers: serde_json::Value,
}

/// The disk that Hearth will run from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SystemDisk {
    /// How Hearth gets there.
    pub route: Route,
    /// The disk.
    pub disk: Target,
    /// Where root and data will lie.
    pub extents: Vec<Extent>,
}

/// How Hearth gets to its system disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// It is there: this is the disk it was started from.
    Stay,
    /// It is written there from the medium it was started from.
    Write,
}

/// What was read from the disks themselves before planning.
#[derive(Clone, Debug, Default)]
pub struct Surveys {
    /// The disk that Hearth was started from.
    pub boot: Option<Survey>,
    /// Hearths that live on other disks, by the disk's name.
    pub installed: BTreeMap<String, Installed>,
    /// Why the disk that Hearth was started from cannot be copied, if that was asked for and is so.
    pub no_copy: Option<String>,
}

/// A plan, and what it means for the system disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The plan.
    pub plan: SetupPlan,
    /// How the system disk is taken over, with [`Route::Write`] once Hearth is there.
    pub adopt: AdoptPlan,
}

/// A disk that the answers name.
pub(super) struct Named<'a> {
    pub(super) key: String,
    pub(super) disk: &'a Disk,
    pub(super) erased: bool,
}

/// Plans, or says everything that stands against it.
pub fn plan(facts: &Facts, answers: &Answers, surveys: &Surveys) -> Result<Planned, Vec<Refusal>> {
    let mut against = Vec::new();
    if facts.mode != Some(Mode::Setup) {
        against.push(Refusal::NotSetup);
    }
    let named = named(facts, answers, &mut against);
    against.extend(not_twice(&named));
    against.extend(erasing(facts, answers, surveys, &named));
    let network = answers.network.as_ref().map(|network| render::network::render(network, &facts.nics));
    against.extend(network.and_then(Result::err).unwrap_or_default().into_iter().map(Refusal::Network));
    against.extend(not_yet(answers));
    let encryption = answers.encryption.as_ref().map(|encryption| encryption.unlock);
    if encryption == Some(Unlock::TpmPin) && !facts.tpm {
        against.push(Refusal::NoTpm);
    }
    let containers = pools(&lan(&facts.nics, answers.network.as_ref()));
    let containers = containers.map_err(|why| against.push(Refusal::Containers(why))).ok();
    let system = match &answers.system.disk {
        DiskChoice::This(_) => stay(facts, surveys, &mut against),
        DiskChoice::Selected(_) => write(facts, surveys, &named, &mut against),
    };
    let install = system.as_ref().map(|(_, adopt)| adopt.install);
    let disks = named.iter().filter(|named| named.key != SYSTEM);
    against.extend(disks.flat_map(|named| roles::guarded(&facts.disks, named)));
    let volumes = volumes::named(facts, answers, &mut against);
    against.extend(volumes::apart(&volumes, &named));
    let roles = roles::plan(answers, facts, (&named, &volumes), install.unwrap_or_default(), &mut against);
    against.extend(kit(answers, &roles));
    match (system, containers) {
        (Some((system, adopt)), Some(containers)) if against.is_empty() => {
            let answers = serde_json::to_value(answers).unwrap_or_default();
            let (hearth, install) = (facts.version().to_owned(), adopt.install);
            Ok(Planned {
                plan: SetupPlan { format: FORMAT, hearth, install, system, roles, encryption, containers, answers },
                adopt: match encryption {
                    Some(unlock) => adopt.encrypted(unlock),
                    None => adopt,
                },
            })
        }
        _ => Err(against),
    }
}

/// Where the answers name the system disk.
const SYSTEM: &str = "system.disk";

/// The key of the `index`th role disk, counted from 0.
pub(super) fn role_key(index: usize) -> String {
    format!("disks[{}].disk", index + 1)
}

/// A disk that the answers want.
struct Wanted<'a> {
    key: String,
    selector: &'a DiskSelector,
    erased: bool,
}

fn wanted(answers: &Answers) -> Vec<Wanted<'_>> {
    let mut out = Vec::new();
    if let DiskChoice::Selected(selector) = &answers.system.disk {
        out.push(Wanted { key: SYSTEM.to_owned(), selector, erased: true });
    }
    for (i, role) in answers.disks.iter().enumerate() {
        if let Some(selector) = role.disk.as_ref().filter(|selector| volumes::wanted(selector).is_none()) {
            out.push(Wanted { key: role_key(i), selector, erased: role.prepare == Prepare::Erase });
        }
    }
    out
}

/// Every disk that a selector of the answers fits, exactly one each.
fn named<'a>(facts: &'a Facts, answers: &Answers, against: &mut Vec<Refusal>) -> Vec<Named<'a>> {
    let mut out = Vec::new();
    for Wanted { key, selector, erased } in wanted(answers) {
        let selector = Selector::from(selector);
        match target::only_one(&facts.disks, &selector, &selector.to_string()) {
            Ok(disk) => out.push(Named { key, disk, erased }),
            Err(why) => against.push(Refusal::Disk { key, why }),
        }
    }
    out
}

fn not_twice(named: &[Named<'_>]) -> Vec<Refusal> {
    let again = named.iter().enumerate().filter_map(|(i, one)| {
        let first = named[..i].iter().find(|other| other.disk.name == one.disk.name)?;
        let disk = target::name(one.disk);
        Some(Refusal::SameDisk { first: first.key.clone(), second: one.key.clone(), disk })
    });
    again.collect()
}

/// Every disk that is erased is listed, and every listed disk is erased.
fn erasing(facts: &Facts, answers: &Answers, surveys: &Surveys, named: &[Named<'_>]) -> Vec<Refusal> {
    let unresolved = wanted(answers).iter().filter(|wanted| wanted.erased).count()
        > named.iter().filter(|named| named.erased).count();
    let listed: Vec<String> = answers.erase.iter().map(ToString::to_string).collect();
    let is_listed = |disk: &Disk| listed.iter().any(|name| target::is_named(disk, name));
    let mut out = Vec::new();
    for Named { key, disk, .. } in named.iter().filter(|named| named.erased) {
        let (key, by_id) = (key.clone(), disk.by_id.first().cloned());
        if !is_listed(disk) {
            let (key, disk, holds) = (key.clone(), disk.path.clone(), contents(disk));
            out.push(match by_id {
                Some(by_id) => Refusal::NotListed { key, disk, holds, by_id },
                None => Refusal::NoStableName { key, disk, holds },
            });
        }
        if let Some(Installed { name, last_used }) = surveys.installed.get(&disk.name).cloned() {
            out.push(Refusal::HearthInstalled { key, disk: disk.path.clone(), name, last_used });
        }
    }
    for name in &listed {
        let meant = facts.disks.iter().find(|disk| target::is_named(disk, name));
        // Where a selector fits no single disk, this may be the one it was written for.
        let open = meant.is_some() && unresolved;
        if !open && !named.iter().any(|named| named.erased && target::is_named(named.disk, name)) {
            out.push(Refusal::ListedInVain { name: name.clone(), disk: meant.map(|disk| disk.path.clone()) });
        }
    }
    out
}

/// What schema 1 knows and this version does not do. Nothing is ever silently left out.
fn not_yet(answers: &Answers) -> Vec<Refusal> {
    let mut out = Vec::new();
    let mut refuse = |key: &str, why: &str| out.push(Refusal::NotYet { key: key.to_owned(), why: why.to_owned() });
    if answers.recover.is_some() {
        refuse("recover", "this version cannot bring a machine back yet. Nothing was changed.");
    }
    out
}

/// The recovery kit must be written somewhere, and whoever needs it must get at it.
fn kit(answers: &Answers, roles: &[RoleDisk]) -> Option<Refusal> {
    let file = answers.recovery_kit.as_ref()?.file()?;
    // A role whose disk is refused is none here.
    let role = roles.iter().find(|role| role.holds(file))?;
    let why = match &role.what {
        What::Adopt { read_only: true, file_system, .. } | What::Assemble { read_only: true, file_system, .. } => {
            format!(
                "it cannot be written there, because the {file_system} of that disk is only read. Choose another place"
            )
        }
        What::Directory if answers.admin.as_ref()?.password_hash.is_none() => {
            "it is on the system disk, and only with the console password in it could anybody read it there. Give \
             `password-hash` in [admin], or a disk for the kit"
                .to_owned()
        }
        _ => return None,
    };
    Some(Refusal::Kit { file: file.to_owned(), why })
}

type System = (SystemDisk, AdoptPlan);

fn stay(facts: &Facts, surveys: &Surveys, against: &mut Vec<Refusal>) -> Option<System> {
    match plan_adoption(facts, surveys.boot.as_ref()) {
        Ok(adopt) => {
            let extents = facts.boot_disk().and_then(|disk| lay_out(disk, &adopt.before).ok()).unwrap_or_default();
            let system = SystemDisk { route: Route::Stay, disk: adopt.disk.clone(), extents };
            Some((system, adopt))
        }
        Err(refusals) => {
            let told = refusals.into_iter().filter(|refusal| refusal.code() != Refusal::NotSetup.code());
            against.extend(told.map(Refusal::System));
            None
        }
    }
}

fn write(facts: &Facts, surveys: &Surveys, named: &[Named<'_>], against: &mut Vec<Refusal>) -> Option<System> {
    let key = SYSTEM.to_owned();
    let survey = surveys.boot.as_ref();
    let Some((survey, table)) = survey.and_then(|survey| Some((survey, survey.table.as_ref().ok()?))) else {
        against.push(Refusal::System(crate::adopt::Refusal::NoBootDisk));
        return None;
    };
    let disk = named.iter().find(|named| named.key == key)?.disk;
    against.extend(surveys.no_copy.clone().map(Refusal::NoCopy));
    against.extend(twins(facts, disk).map(crate::adopt::Refusal::Duplicate).map(Refusal::System));
    let image = table.entries.last().map_or(crate::units::Bytes::ZERO, |last| {
        last.offset(table.sector_size) + last.size(table.sector_size) + crate::layout::ALIGNMENT
    });
    let mut reasons = judge(&facts.disks, disk, Need { size: image, sector: table.sector_size });
    // What is said next is about all that goes there, not about the image alone.
    reasons.retain(|why| why.code() != "too-small");
    let stopped = !reasons.is_empty();
    against.extend(roles::reasons(reasons).map(|why| Refusal::Disk { key: key.clone(), why }));
    let install = install_id(facts.machine.id, disk.serial.as_deref(), survey.drawn);
    match plan_for_copy(facts, disk, table, install) {
        Ok(adopt) if !stopped => {
            let extents = lay_out(disk, &adopt.before).unwrap_or_default();
            Some((SystemDisk { route: Route::Write, disk: Target::of(disk), extents }, adopt))
        }
        Ok(_) => None,
        Err(why) => {
            against.push(match why {
                crate::adopt::Refusal::TooSmall { size, need, .. } => {
                    Refusal::TooSmall { key, disk: disk.path.clone(), size, need }
                }
                other => Refusal::System(other),
            });
            None
        }
    }
}

/// Copies of the medium that Hearth was started from: which of them a start takes is chance. One
/// that is written over anyway does not count.
fn twins(facts: &Facts, target: &Disk) -> Option<Vec<String>> {
    let boot = facts.boot_disk()?;
    let same = facts.duplicates.iter().find(|same| same.disks.contains(&boot.name))?;
    let left: Vec<String> = same.disks.iter().filter(|name| **name != target.name).cloned().collect();
    (left.len() > 1).then_some(left)
}

impl SetupPlan {
    /// Where the recovery kit is written, if it was not declined.
    pub fn kit(&self) -> Option<&str> {
        let kit = self.answers.pointer("/recovery-kit").and_then(serde_json::Value::as_str);
        kit.filter(|kit| *kit != "declined")
    }

    /// Whether backups go anywhere.
    pub fn has_repositories(&self) -> bool {
        let list = self.answers.pointer("/backup/repositories").and_then(serde_json::Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    }

    /// What it comes to, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let how = match self.system.route {
            Route::Stay => "the disk that Hearth was started from",
            Route::Write => "written from the medium that Hearth was started from",
        };
        let system = format!("Hearth runs from {}, {}: {how}.", self.system.disk.told(), self.system.disk.size);
        let roles = self.roles.iter().map(roles::RoleDisk::sentence);
        std::iter::once(system).chain(self.encryption_told()).chain(roles).collect()
    }

    /// What is encrypted, and what opens it, in a sentence.
    fn encryption_told(&self) -> Option<String> {
        let formatted = self.roles.iter().any(|role| matches!(role.what, What::Erase { .. }));
        let what = if formatted { "data and the disks that are formatted are" } else { "data is" };
        Some(format!("{what} encrypted, and opened at each start {}.", told(self.encryption?)))
    }

    /// What approval is given for. The kernel's names of the hour are left out: the next start
    /// may deal them differently, and it is the same plan.
    pub fn digest(&self) -> Digest {
        let mut plan = self.clone();
        plan.system.disk.name.clear();
        for role in &mut plan.roles {
            match &mut role.what {
                What::Directory => {}
                What::Adopt { disk, .. } | What::Erase { disk, .. } => disk.name.clear(),
                What::Assemble { volume, .. } => volume.disks.iter_mut().for_each(|disk| disk.name.clear()),
            }
        }
        Digest::of(serde_json::to_vec(&plan).unwrap_or_default())
    }
}

mod lines;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod random;
#[cfg(test)]
pub(crate) mod tests;
