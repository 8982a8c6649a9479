//! The first starts of a root that was written anew: what setup did to the former one is done to
//! it as well, then the machine is what it was. What remains to be done lies on root, so that a
//! machine whose `data` is locked has its account and its network, and its owner can open it.

use anyhow::{Context as _, Result, anyhow};

use super::apply::PENDING;
use super::record::{Record, Unfit};
use crate::audit;
use crate::exit::{Exit, Kind as _};
use crate::facts::Mode;
use crate::machine::real::{Real, say_failure};
use crate::machine::{Dev, Machine};
use crate::page::text::wrap;
use crate::render::report::FILE_NAME as REPORT;
use crate::setup::again::Again;
use crate::setup::now;

/// Goes on with a repair on the root that was written anew.
pub fn resume() -> Result<()> {
    let mut machine = Real;
    if machine.facts()?.mode != Some(Mode::Normal) {
        let text = "a repair is finished on the disk it was done to, when that is started as usual";
        return Err(anyhow!(text)).kind(Exit::Refused);
    }
    let done = resume_on(&mut machine, &now(), || audit::note("the system was repaired: it was written anew"));
    if let Err(error) = &done {
        say_failure(&mut machine, "Hearth: the repair stopped. The next start goes on where it stopped", error);
    }
    done
}

/// The same on any machine; `noted` writes the line for the audit log.
pub(super) fn resume_on(machine: &mut impl Machine, now: &str, noted: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(bytes) = machine.read_file(PENDING)?.map(zeroize::Zeroizing::new) else { return Ok(()) };
    let record = Record::from_bytes(&bytes).map_err(told).kind(Exit::Mismatch)?;
    let facts = machine.facts()?;
    let disk = facts.boot_disk().context("Hearth cannot tell which disk it runs from").kind(Exit::Refused)?;
    let hearth = Dev::hearth(&disk.name);
    machine.say("Hearth: this system was written anew. Making it what it was.");
    if let Some(setup) = &record.setup {
        let again = Again::new(setup.approved.clone(), setup.read()?, setup.password(), hearth.clone(), now);
        let Some(report) = again.run(machine)? else {
            for line in wrap("Hearth: ", "the rest of the repair waits until data is open.") {
                machine.say(&line);
            }
            return Ok(());
        };
        machine.put_hearth_file(&hearth, REPORT, report.as_bytes()).context("writing the report to HEARTH")?;
    }
    noted()?;
    machine.remove_file(PENDING)?;
    machine.say("Hearth: this machine is repaired.");
    Ok(())
}

fn told(unfit: Unfit) -> anyhow::Error {
    match unfit {
        Unfit::Newer(version) => anyhow!("{PENDING} was written by Hearth {version}, a later one"),
        Unfit::Damaged(why) => anyhow!("{PENDING} is damaged: {why}"),
    }
}
