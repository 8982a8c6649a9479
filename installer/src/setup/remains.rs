//! What setup left for a person to do, told at each login until it is done. All of it comes
//! from root, so that it is there with `data` missing, and nothing of it is secret.

use anyhow::Result;
use serde_json::Value;

use super::approved::Approved;
use super::journal::Journal;
use super::plan::SetupPlan;
use super::roles::{What, place};
use super::take::{APPROVED, SEALED};
use crate::machine::Machine;
use crate::page::text::wrap;
use crate::render::report::FILE_NAME as REPORT;
use crate::repair::PENDING;

/// How many warnings a login shows; the report has all of them.
const SHOWN: usize = 3;

/// What is left of a setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// What is dangerous as long as it is so.
    red: Option<String>,
    /// The rest, each with the word that stands before it.
    rest: Vec<(&'static str, String)>,
}

impl Remains {
    /// What is left on this machine; nothing where no answer file set it up.
    pub fn look(machine: &impl Machine) -> Result<Option<Self>> {
        let Some(plan) = approved_plan(machine)? else { return Ok(None) };
        let journal = Journal::read(machine, plan.digest())?;
        let mut rest = Vec::new();
        if !machine.exists(SEALED) {
            let why = journal.failure().map(|why| format!("stopped: {}", why.trim_end_matches('.')));
            rest.push((
                "SETUP",
                format!("{}. It goes on at the next start", why.as_deref().unwrap_or("is not finished")),
            ));
            return Ok(Some(Self { red: None, rest }));
        }
        if machine.exists(PENDING) {
            let why = journal.failure().map(|why| format!("stopped: {}", why.trim_end_matches('.')));
            let why = why.as_deref().unwrap_or("is not finished");
            rest.push(("REPAIR", format!("{why}. It goes on at the next start, or once data is open")));
        }
        let warnings = journal.warnings();
        rest.extend(warnings.iter().take(SHOWN).map(|warning| ("WARNING", warning.clone())));
        if warnings.len() > SHOWN {
            rest.push(("WARNING", format!("and {} more, in the report", warnings.len() - SHOWN)));
        }
        rest.extend(plan.left_out().iter().map(|left| ("NOT YET", left.told())));
        let kit = plan.answers.pointer("/recovery-kit").and_then(Value::as_str);
        let declined = kit == Some("declined");
        if let Some(file) = kit.filter(|file| machine.exists(file)) {
            rest.push(("next", format!("move the recovery kit, {file}, to a safe place off this machine")));
        }
        rest.push(("report", format!("{REPORT} on the partition HEARTH: what was done")));
        let red = "there is no recovery kit, it was declined: what opens this machine is lost with it";
        Ok(Some(Self { red: declined.then(|| red.to_owned()), rest }))
    }

    /// What is dangerous, in words.
    pub fn red_text(&self) -> Option<&str> {
        self.red.as_deref()
    }

    /// The rest, in words, each with the word that stands before it.
    pub fn rest(&self) -> &[(&'static str, String)] {
        &self.rest
    }

    /// What is dangerous, for everybody who comes to the console.
    pub fn red(&self) -> Vec<String> {
        self.red.iter().flat_map(|text| row("RED", text)).collect()
    }

    /// The rest, for whoever has logged in.
    pub fn lines(&self) -> Vec<String> {
        self.rest.iter().flat_map(|(word, text)| row(word, text)).collect()
    }
}

/// What this machine was set up to be; nothing where no setup was approved.
pub fn approved_plan(machine: &impl Machine) -> Result<Option<SetupPlan>> {
    let Some(bytes) = machine.read_file(APPROVED)? else { return Ok(None) };
    Ok(Some(Approved::from_bytes(&bytes)?.plan))
}

/// The places that setup gave a disk of their own, each with what that disk is called.
pub fn roles_of(machine: &impl Machine) -> Result<Vec<(String, String)>> {
    let roles = approved_plan(machine)?.map(|plan| plan.roles).unwrap_or_default();
    let places = roles.iter().filter_map(|role| match &role.what {
        What::Directory => None,
        What::Adopt { disk, .. } | What::Erase { disk, .. } => Some((role, disk.told())),
        What::Assemble { volume, .. } => Some((role, volume.to_string())),
    });
    Ok(places.flat_map(|(role, disk)| role.roles.iter().map(move |role| (place(*role), disk.clone()))).collect())
}

fn row(word: &str, text: &str) -> Vec<String> {
    // An error may have several lines.
    wrap(&format!("  {word:<7} "), &text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::super::journal::Event;
    use super::super::tests::{ANSWERS, machine, one_start, until_sealed};
    use super::*;
    use crate::machine::Verdict;
    use crate::machine::fake::Fake;

    fn told(fake: &Fake) -> String {
        let remains = Remains::look(fake).unwrap().unwrap();
        let lines = [remains.red(), remains.lines()].concat();
        assert!(lines.iter().all(|line| line.len() < 80 && line.is_ascii()), "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn a_login_tells_what_is_left_to_do() {
        let mut fake = machine(ANSWERS);
        fake.duckdns = Verdict::Unknown("its name could not be looked up".to_owned());
        until_sealed(&mut fake);
        let wanted = "  WARNING whether `domain.token` is right for attic.duckdns.org could not be
          checked (its name could not be looked up). Setting up went on without
  NOT YET core: noted, not started by this version
  NOT YET certificates for the public name: kept, not acted on by this version
  next    move the recovery kit, /mnt/backups/kit.txt, to a safe place off this
          machine
  report  hearth-report.txt on the partition HEARTH: what was done";
        assert_eq!(told(&fake), wanted);
        // Once the kit is in a safe place it is not asked for any more.
        fake.now.placed.remove("/mnt/backups/kit.txt");
        assert!(!told(&fake).contains("next "));
    }

    #[test]
    fn a_declined_kit_stays_red() {
        let mut fake = machine(&ANSWERS.replace("\"/mnt/backups/kit.txt\"", "\"declined\""));
        until_sealed(&mut fake);
        assert!(told(&fake).starts_with("  RED     there is no recovery kit, it was declined"), "{}", told(&fake));
    }

    #[test]
    fn many_warnings_are_not_all_told() {
        let mut fake = machine(ANSWERS);
        until_sealed(&mut fake);
        let plan = Approved::from_bytes(&fake.read_file(APPROVED).unwrap().unwrap()).unwrap().plan;
        let mut journal = Journal::read(&fake, plan.digest()).unwrap();
        for i in 1..=5 {
            journal.note(&mut fake, "scrub", Event::Warned, Some(format!("stick {i}"))).unwrap();
        }
        let told = told(&fake);
        assert!(told.contains("stick 3\n  WARNING and 2 more, in the report\n") && !told.contains("stick 4"), "{told}");
    }

    #[test]
    fn a_setup_that_stopped_says_why() {
        let mut fake = machine(ANSWERS);
        assert_eq!(Remains::look(&fake).unwrap(), None);
        one_start(&mut fake).unwrap();
        fake.boot();
        crate::adopt::resume_on(&mut fake).unwrap();
        assert!(told(&fake).contains("  SETUP   is not finished. It goes on"));
        fake.others.clear();
        one_start(&mut fake).unwrap_err();
        let told = told(&fake);
        assert!(told.starts_with("  SETUP   stopped: ") && told.contains("is not there"), "{told}");
    }
}
