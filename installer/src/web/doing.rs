//! What this machine is doing, from what everybody may read: which start this is, which files are
//! there, what setup says of itself. The reasons why something stopped are told, but for those that
//! are about an answer file: they quote it, and it may name people.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::adopt;
use crate::encryption::LOCK_FILE;
use crate::facts::{Mode, mode_now};
use crate::layout::{ADOPTED, DATA_DIR};
use crate::machine::real::is_mounted;
use crate::setup::{APPROVED, FAILED, MOVED, Progress, SEALED};

/// What it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Setup mode: it waits for somebody to set it up.
    Waiting,
    /// The same, and there was an answer file that it did not follow, for reasons with these codes.
    Refused(Vec<String>),
    /// Setup goes on on another disk.
    Moved,
    /// Setup mode of a machine that runs from its disk.
    Looking,
    /// It is being set up: at this step, or about to begin.
    SettingUp(Option<Step>),
    /// It stopped on the way, for these reasons.
    Stopped(Vec<String>),
    /// It is set up.
    SetUp(Data),
    /// It runs from its disk without having been set up.
    RunsHere(Data),
    /// It was started for repairs.
    Recovery,
}

/// A step of setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) what: String,
}

/// How `data` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Mounted,
    Locked,
    Missing,
}

impl Doing {
    pub(super) fn look() -> Self {
        Seen::look().judge()
    }
}

/// Files that say something by being there: Hearth runs from this disk, a setup was approved for it and
/// is through, the disks are encrypted, setup went on elsewhere.
const MARKS: [&str; 5] = [ADOPTED, APPROVED, SEALED, LOCK_FILE, MOVED];

/// What can be seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    mode: Option<Mode>,
    marks: BTreeSet<&'static str>,
    /// Whether `data` is mounted.
    mounted: bool,
    /// Why the answer file was not followed.
    not_followed: Option<String>,
    /// Why preparing the disk stopped.
    not_adopted: Option<String>,
    progress: Option<Progress>,
}

impl Seen {
    fn look() -> Self {
        Self {
            mode: mode_now(),
            marks: MARKS.into_iter().filter(|path| Path::new(path).exists()).collect(),
            mounted: is_mounted(DATA_DIR).unwrap_or(false),
            not_followed: fs::read_to_string(FAILED).ok(),
            not_adopted: fs::read_to_string(adopt::FAILED).ok(),
            progress: Progress::look(),
        }
    }

    fn has(&self, mark: &str) -> bool {
        self.marks.contains(mark)
    }

    fn judge(self) -> Doing {
        match self.mode {
            Some(Mode::Setup) if self.has(ADOPTED) => Doing::Looking,
            Some(Mode::Setup) => match &self.not_followed {
                Some(why) => Doing::Refused(codes(why)),
                None if self.has(MOVED) => Doing::Moved,
                None => Doing::Waiting,
            },
            Some(Mode::Recovery) => Doing::Recovery,
            _ => self.at_home(),
        }
    }

    /// On the disk that Hearth runs from, or will.
    fn at_home(self) -> Doing {
        let data = match (self.mounted, self.has(LOCK_FILE)) {
            (true, _) => Data::Mounted,
            (false, true) => Data::Locked,
            (false, false) => Data::Missing,
        };
        let marks = (self.has(ADOPTED), self.has(SEALED), self.has(APPROVED));
        if let Some(why) = self.not_adopted {
            return Doing::Stopped(lines(&[why]));
        }
        match self.progress {
            Some(Progress::Stopped(why)) => return Doing::Stopped(lines(&why)),
            Some(Progress::Step { number, of, what }) => return Doing::SettingUp(Some(Step { number, of, what })),
            None => {}
        }
        match marks {
            (true, true, _) => Doing::SetUp(data),
            (true, false, false) => Doing::RunsHere(data),
            _ => Doing::SettingUp(None),
        }
    }
}

/// The codes that stand in brackets before the reasons of a refusal.
fn codes(why: &str) -> Vec<String> {
    let code = |line: &str| {
        let (code, _) = line.trim().strip_prefix('[')?.split_once(']')?;
        code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-').then(|| code.to_owned())
    };
    let codes: BTreeSet<String> = why.lines().filter_map(code).collect();
    codes.into_iter().collect()
}

/// The lines of all reasons.
fn lines(why: &[String]) -> Vec<String> {
    why.iter().flat_map(|why| why.lines()).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mode: Mode, marks: &[&'static str]) -> Seen {
        Seen { mode: Some(mode), marks: marks.iter().copied().collect(), mounted: true, ..Seen::default() }
    }

    #[test]
    fn before_setup() {
        let setup = |marks: &[&'static str]| seen(Mode::Setup, marks);
        assert_eq!(setup(&[]).judge(), Doing::Waiting);
        assert_eq!(setup(&[MOVED]).judge(), Doing::Moved);
        assert_eq!(setup(&[ADOPTED]).judge(), Doing::Looking);
        let why =
            "[same-disk] `disks[1].disk`: ada's\n[not-listed] x\n[not-listed] y\n[Oh] no\nnothing was done".to_owned();
        let refused = Seen { not_followed: Some(why), ..setup(&[MOVED]) }.judge();
        assert_eq!(refused, Doing::Refused(vec!["not-listed".to_owned(), "same-disk".to_owned()]));
    }

    #[test]
    fn on_the_way() {
        assert_eq!(seen(Mode::Adopt, &[APPROVED]).judge(), Doing::SettingUp(None));
        assert_eq!(seen(Mode::Adopt, &[]).judge(), Doing::SettingUp(None));
        // Approved, and the power went.
        let home = || seen(Mode::Normal, &[ADOPTED, APPROVED]);
        assert_eq!(home().judge(), Doing::SettingUp(None));
        let step = Progress::Step { number: 3, of: 16, what: "the network".to_owned() };
        let setting_up = Doing::SettingUp(Some(Step { number: 3, of: 16, what: "the network".to_owned() }));
        assert_eq!(Seen { progress: Some(step), ..home() }.judge(), setting_up);
        let stopped = Progress::Stopped(vec!["step 3 of 16, the network".to_owned(), "two\n\nlines".to_owned()]);
        let stopped = Seen { progress: Some(stopped), ..home() }.judge();
        assert_eq!(stopped, Doing::Stopped(["step 3 of 16, the network", "two", "lines"].map(str::to_owned).to_vec()));
        let stopped = Seen { not_adopted: Some("the disk is full\n".to_owned()), ..seen(Mode::Adopt, &[]) }.judge();
        assert_eq!(stopped, Doing::Stopped(vec!["the disk is full".to_owned()]));
    }

    #[test]
    fn afterwards() {
        let sealed = |more: &[&'static str]| seen(Mode::Normal, &[&[ADOPTED, APPROVED, SEALED], more].concat());
        assert_eq!(sealed(&[]).judge(), Doing::SetUp(Data::Mounted));
        assert_eq!(Seen { mounted: false, ..sealed(&[LOCK_FILE]) }.judge(), Doing::SetUp(Data::Locked));
        assert_eq!(Seen { mounted: false, ..sealed(&[]) }.judge(), Doing::SetUp(Data::Missing));
        assert_eq!(seen(Mode::Normal, &[ADOPTED]).judge(), Doing::RunsHere(Data::Mounted));
        assert_eq!(seen(Mode::Recovery, &[ADOPTED, SEALED]).judge(), Doing::Recovery);
    }
}
