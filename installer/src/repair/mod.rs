//! Repair: the system of a machine is written anew, and everything that its `data` holds stays.
//! For a root that no longer starts, an EFI system partition or boot loader that is damaged, an
//! update that went wrong.
//!
//! While a machine is well it [keeps](keep()) on `data` what is known of it on root alone. Started from a
//! stick, [`survey`] finds that, [`plan`] says what will be done, a person approves, [`apply`] writes
//! the system into the partitions that are there, and the machine starts from its own disk again,
//! where [`finish`] does what setup did there.

mod apply;
mod dialog;
mod finish;
mod keep;
mod plan;
mod record;
mod refusal;
mod survey;

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use apply::PENDING;
#[cfg(test)]
pub(crate) use apply::SYSTEM_DIR;
pub use finish::resume;
pub use keep::{keep, keep_now};
#[cfg(test)]
pub(crate) use survey::LOOK_DIR;

use crate::adopt::plan::Target;
use crate::exit::{Exit, Kind as _};
use crate::facts::{Disk, Facts, Mode};
use crate::flash::installed;
use crate::layout::Part;
use crate::machine::real::{self, Real, say_failure};
use crate::machine::recording::Recording;
use crate::machine::table::Table;
use crate::machine::{Dev, Machine};
use crate::page::Talk;
use crate::page::text::wrap;
use plan::{Chosen, RepairPlan, choose};
use refusal::Refusal;
use survey::survey;

/// The credential that approves without a person, and the one that opens an encrypted `data`.
const CREDENTIAL: &str = "hearth.repair";
const KEY: &str = "hearth.repair.key";

/// What a repair without a person leaves on HEARTH of the stick: were it started once more, it would
/// repair for ever.
const DONE_FILE: &str = "hearth.repaired";

/// [`DONE_FILE`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Done {
    /// The disk that was repaired.
    disk: Target,
}

/// Whether there is a disk beside that of this start on which Hearth was set up: by its partitions
/// alone, as it is asked for each page. Where the beginning of a disk is damaged only the copy of its
/// table tells.
pub fn is_offered(machine: &impl Machine, facts: &Facts) -> bool {
    let by_table = |disk: &Disk| {
        let table = Table::read(machine, &disk.name, disk.size, disk.logical_sector);
        table.is_ok_and(|table| table.part(Part::RootA).is_some() && table.part(Part::Data).is_some())
    };
    let mut others = facts.disks.iter().filter(|disk| !disk.boot_medium);
    facts.mode == Some(Mode::Setup) && others.any(|disk| installed::is_installed(disk) || by_table(disk))
}

/// What is said where it is not offered.
pub fn not_offered() -> Vec<String> {
    let why = "not offered, because no other disk has the partitions of a Hearth that was set up, or it is unplugged.";
    wrap("Repair ", why)
}

/// Shows the plan to a person, asks for approval, and carries it out.
pub fn ask(talk: &mut impl Talk, wanted: Option<&str>) -> Result<()> {
    let only = real::only_one()?;
    if only.is_none() {
        return talk.say("Another console is asking for an approval right now. Answer it there.");
    }
    dialog::ask(talk, &mut Real, wanted)
}

fn refused(refusals: &[Refusal]) -> anyhow::Error {
    let text = format!("Nothing can be repaired here. Nothing was changed.\n{}", refusal::all(refusals));
    crate::exit::mark(anyhow!(text), Exit::Refused)
}

/// Tells the plan and every effect it would have, and has none of them. What is encrypted is opened by
/// a line of standard input.
pub fn dry_run(wanted: Option<&str>, key: impl FnOnce() -> Result<Zeroizing<String>>) -> Result<Vec<String>> {
    tell(&mut Real, wanted, key)
}

fn tell(
    machine: &mut impl Machine,
    wanted: Option<&str>,
    key: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<Vec<String>> {
    let (facts, plan) = planned(machine, wanted, key)?;
    let disk = facts.disks.iter().find(|disk| plan.disk.is(disk)).context("the disk is gone")?;
    let mut out = plan.lines(disk);
    let token = plan.token();
    let mut record = Recording::new(&*machine);
    apply::apply(&mut record, &plan)?;
    out.push(String::new());
    out.extend(wrap("", &format!("{} It is {}.", token.question(), token.whole)));
    out.push("A dry run: nothing is changed. These would be the effects:".to_owned());
    out.extend(record.effects.iter().flat_map(|effect| wrap("  - ", effect)));
    Ok(out)
}

/// The plan, without anybody who could be asked.
fn planned(
    machine: &mut impl Machine,
    wanted: Option<&str>,
    key: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<(Facts, Box<RepairPlan>)> {
    let facts = machine.facts()?;
    let mut survey = survey(machine, &facts)?;
    match choose(&facts, &survey, wanted).map_err(|why| refused(&why))? {
        Chosen::Open(plan) => Ok((facts, plan)),
        Chosen::Locked(name) => {
            let disk = facts.disks.iter().find(|disk| disk.name == name).context("the disk is gone")?;
            if !dialog::opened(machine, &facts, &mut survey, disk, &key()?)? {
                return Err(anyhow!("what was given does not open data on {name}. Nothing was changed"))
                    .kind(Exit::Refused);
            }
            let name = crate::flash::target::name(disk);
            match choose(&facts, &survey, Some(&name)).map_err(|why| refused(&why))? {
                Chosen::Open(plan) => Ok((facts, plan)),
                Chosen::Locked(_) => {
                    Err(anyhow!("data on {name} stays locked. Nothing was changed")).kind(Exit::Refused)
                }
            }
        }
    }
}

/// Approves by a systemd credential instead of a person. A failure is said on every console.
pub fn unattended() -> Result<()> {
    let mut machine = Real;
    let done = by_credential(&mut machine);
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: the repair by credential failed", error);
    }
    done
}

fn by_credential(machine: &mut impl Machine) -> Result<()> {
    let text = |bytes: Zeroizing<Vec<u8>>| Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned());
    let typed = machine.credential(CREDENTIAL)?.map(text);
    let typed = typed.with_context(|| format!("there is no credential {CREDENTIAL}")).kind(Exit::Input)?;
    let key = machine.credential(KEY)?.map(text);
    let missing = || anyhow!("data is encrypted, and there is no credential {KEY}");
    if let Some(done) = repaired(machine)? {
        let text =
            format!("{} was repaired from this stick. Remove it, or choose that disk, and restart.", done.disk.told());
        for line in wrap("Hearth: ", &text) {
            machine.say(&line);
        }
        return Ok(());
    }
    let (_, plan) = planned(machine, None, || key.ok_or_else(missing).kind(Exit::Input))?;
    let token = plan.token();
    if !token.accepts(&typed) {
        let text = format!(
            "the credential {CREDENTIAL} does not hold the last characters of the {} of {}. Nothing was changed.",
            token.of, plan.disk.name
        );
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    machine.say(&format!("Hearth: the repair of {} was approved by credential.", plan.disk.name));
    apply::write(machine, &plan)?;
    if let Some(boot) = machine.facts()?.boot_disk() {
        let bytes = serde_json::to_vec(&Done { disk: plan.disk.clone() }).context("writing the note for the stick")?;
        machine.put_hearth_file(&Dev::hearth(&boot.name), DONE_FILE, &bytes)?;
    }
    apply::restart(machine)
}

/// The disk that was repaired from this stick without a person, if there is one.
fn repaired(machine: &impl Machine) -> Result<Option<Done>> {
    let facts = machine.facts()?;
    let Some(boot) = facts.boot_disk() else { return Ok(None) };
    let bytes = machine.hearth_file(&Dev::hearth(&boot.name), DONE_FILE)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests;
