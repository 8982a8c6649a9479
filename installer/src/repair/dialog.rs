//! Asking for a repair: which disk if there are several, what opens its `data`, and the approval.

use anyhow::Result;
use zeroize::Zeroizing;

use super::plan::{Chosen, RepairPlan, choose};
use super::refusal::Refusal;
use super::survey::{Survey, survey, unlock};
use super::{apply, refused};
use crate::answers::Secret;
use crate::encryption::{Key, is_recovery_key};
use crate::facts::{Disk, Facts};
use crate::flash::target;
use crate::machine::Machine;
use crate::page::text::wrap;
use crate::page::{Input, Talk, identity};

/// How often somebody may mistype before the page comes back.
const TRIES: usize = 3;

/// What is said when somebody goes back.
const NOTHING: &str = "Nothing was changed.";

/// Shows the plan to a person, asks for approval, and carries it out; `wanted` is a disk's lasting name.
pub(super) fn ask(talk: &mut impl Talk, machine: &mut impl Machine, wanted: Option<&str>) -> Result<()> {
    talk.say("Looking at the disks ...")?;
    let facts = machine.facts()?;
    let mut survey = survey(machine, &facts)?;
    let chosen = match choose(&facts, &survey, wanted) {
        Err(why) => match &why[..] {
            [Refusal::Several(names)] => {
                let Some(name) = which(talk, &facts, names)? else { return talk.say(NOTHING) };
                choose(&facts, &survey, Some(&name)).map_err(|why| refused(&why))?
            }
            _ => return Err(refused(&why)),
        },
        Ok(chosen) => chosen,
    };
    let plan = match chosen {
        Chosen::Open(plan) => plan,
        Chosen::Locked(name) => {
            let Some(disk) = facts.disks.iter().find(|disk| disk.name == name) else { return talk.say(NOTHING) };
            if !open(talk, machine, &facts, &mut survey, disk)? {
                return talk.say(NOTHING);
            }
            match choose(&facts, &survey, Some(&target::name(disk))).map_err(|why| refused(&why))? {
                Chosen::Open(plan) => plan,
                Chosen::Locked(_) => return talk.say(NOTHING),
            }
        }
    };
    let Some(disk) = facts.disks.iter().find(|disk| plan.disk.is(disk)) else { return talk.say(NOTHING) };
    talk.say("")?;
    talk.say_all(&plan.lines(disk))?;
    if !approved(talk, &plan)? {
        return talk.say(NOTHING);
    }
    talk.say("Approved.")?;
    apply::apply(machine, &plan)?;
    // systemd ends this process in its own time; until then nothing more is offered.
    while talk.hear(None)? != Input::Closed {}
    Ok(())
}

/// Which of several disks is meant.
fn which(talk: &mut impl Talk, facts: &Facts, names: &[String]) -> Result<Option<String>> {
    talk.say("Several disks could be repaired:")?;
    for (i, name) in names.iter().enumerate() {
        let disk = facts.disks.iter().find(|disk| target::is_named(disk, name));
        let identity = disk.map(identity).unwrap_or_default();
        talk.say_all(&wrap(&format!("  {}) ", i + 1), &format!("{name}: {identity}")))?;
    }
    for _ in 0..TRIES {
        talk.ask(&format!("Type a number from 1 to {} (Enter alone goes back): ", names.len()))?;
        let Some(typed) = line(talk)? else { return Ok(None) };
        let number = typed.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?));
        if number.is_some() {
            return Ok(number.cloned());
        }
        talk.say("That is not in the list.")?;
    }
    Ok(None)
}

/// Has somebody type what opens `data` of `disk`, and looks into it; false if nothing fitted.
fn open(
    talk: &mut impl Talk,
    machine: &mut impl Machine,
    facts: &Facts,
    survey: &mut Survey,
    disk: &Disk,
) -> Result<bool> {
    let text = format!(
        "Data on {} ({}) is encrypted. Type the passphrase, the PIN or the recovery key, which are not shown. Enter \
         alone goes back.",
        disk.name,
        identity(disk)
    );
    talk.say_all(&wrap("", &text))?;
    for _ in 0..TRIES {
        talk.ask("Unlock: ")?;
        talk.show_typing(false)?;
        let typed = line(talk);
        talk.show_typing(true)?;
        let Some(typed) = typed? else { return Ok(false) };
        talk.say("\nOpening ...")?;
        if opened(machine, facts, survey, disk, &typed)? {
            return Ok(true);
        }
        talk.say("That does not open it.")?;
    }
    Ok(false)
}

/// Looks into the locked `data` of `disk`, if `typed` opens it.
pub(super) fn opened(
    machine: &mut impl Machine,
    facts: &Facts,
    survey: &mut Survey,
    disk: &Disk,
    typed: &str,
) -> Result<bool> {
    let found = unlock(machine, disk, &keys(facts, typed))?;
    let (Some(data), Some(seen)) = (found, survey.disks.get_mut(&disk.name)) else { return Ok(false) };
    seen.data = data;
    Ok(true)
}

/// What was typed may be. A PIN is tried last: the TPM counts wrong ones.
fn keys(facts: &Facts, typed: &str) -> Vec<Key> {
    if let Some(recovery) = is_recovery_key(typed) {
        return vec![Key::Drawn(recovery)];
    }
    let secret = || Secret::new(typed.to_owned());
    let mut keys = vec![Key::Passphrase(secret())];
    if facts.tpm {
        keys.push(Key::Pin(secret()));
    }
    keys
}

fn approved(talk: &mut impl Talk, plan: &RepairPlan) -> Result<bool> {
    let token = plan.token();
    talk.say_all(&wrap("", &format!("{} Enter alone goes back.", token.question())))?;
    for _ in 0..TRIES {
        talk.ask("Approve: ")?;
        match line(talk)? {
            None => return Ok(false),
            Some(typed) if token.accepts(&typed) => return Ok(true),
            Some(_) => {
                talk.say_all(&wrap("", &format!("These are not the last characters of the {}.", token.of)))?;
            }
        }
    }
    Ok(false)
}

/// A line that was typed; nothing if somebody goes back.
fn line(talk: &mut impl Talk) -> Result<Option<Zeroizing<String>>> {
    Ok(match talk.hear(None)? {
        Input::Line(line) if !line.is_empty() => Some(Zeroizing::new(line)),
        _ => None,
    })
}
