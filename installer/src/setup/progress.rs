//! How far setup is, for people who look from elsewhere: the page of `http://hearth.local` reads
//! it, as a user who may read next to nothing. It lies in memory and ends with the start.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::render::File;

/// Where it lies.
const PATH: &str = "/run/hearth/setup-progress";

/// How far setup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Progress {
    /// At a step.
    #[serde(rename_all = "kebab-case")]
    Step {
        /// Its number, counted from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// What is done in it.
        what: String,
    },
    /// It stopped, for these reasons, the outermost first.
    Stopped(Vec<String>),
}

impl Progress {
    /// What `error` stopped.
    pub(super) fn stopped(error: &anyhow::Error) -> Self {
        Self::Stopped(error.chain().map(ToString::to_string).collect())
    }

    /// Leaves it for whoever looks. Where that fails the consoles have been told all the same.
    pub(super) fn tell(&self, machine: &mut impl Machine) {
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = machine.put_file(&File::public(PATH, text));
    }

    /// Setup is through.
    pub(super) fn end(machine: &mut impl Machine) {
        let _ = machine.remove_file(PATH);
    }

    /// What was left.
    pub fn look() -> Option<Self> {
        serde_json::from_slice(&std::fs::read(PATH).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ANSWERS, machine, one_start, until_sealed};
    use super::*;
    use crate::machine::fake::Fake;

    fn left(fake: &Fake) -> Option<Progress> {
        fake.now.placed.get(PATH).map(|file| serde_json::from_slice(&file.bytes).unwrap())
    }

    #[test]
    fn whoever_looks_sees_the_step_and_why_it_stopped_and_nothing_in_the_end() {
        let mut fake = machine(ANSWERS);
        one_start(&mut fake).unwrap();
        fake.boot();
        crate::adopt::resume_on(&mut fake).unwrap();
        let others = std::mem::take(&mut fake.others);
        one_start(&mut fake).unwrap_err();
        let Some(Progress::Stopped(why)) = left(&fake) else { panic!("{:?}", left(&fake)) };
        assert_eq!(why[0], "step 4 of 16, preparing the disks for media, downloads and backups");
        assert!(why.len() > 1 && fake.now.placed[PATH].mode == 0o644, "{why:?}");

        // The power goes in the next step.
        fake.others = others;
        fake.boot();
        assert_eq!(left(&fake), None, "what lies in memory ends with the start");
        let mut whole = fake.clone();
        until_sealed(&mut whole);
        assert_eq!(left(&whole), None);
        let at = |effect| {
            let mut fake = fake.clone();
            fake.cut = Some((fake.effects + effect, crate::machine::fake::Loss::All));
            one_start(&mut fake).unwrap_err();
            left(&fake)
        };
        let step = Progress::Step { number: 1, of: 16, what: "taking the answer file off HEARTH".to_owned() };
        assert_eq!((at(0), at(1)), (None, Some(step)));
    }
}
