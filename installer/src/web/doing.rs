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

/// What can be seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    mode: Option<Mode>,
    /// Hearth runs from this disk.
    adopted: bool,
    /// A setup was approved for it, and was finished.
    approved: bool,
    sealed: bool,
    encrypted: bool,
    mounted: bool,
    /// Setup went on elsewhere.
    moved: bool,
    /// Why the answer file was not followed.
    not_followed: Option<String>,
    /// Why preparing the disk stopped.
    not_adopted: Option<String>,
    progress: Option<Progress>,
}

impl Seen {
    fn look() -> Self {
        let there = |path: &str| Path::new(path).exists();
        Self {
            mode: mode_now(),
            adopted: there(ADOPTED),
            approved: there(APPROVED),
            sealed: there(SEALED),
            encrypted: there(LOCK_FILE),
            mounted: is_mounted(DATA_DIR).unwrap_or(false),
            moved: there(MOVED),
            not_followed: fs::read_to_string(FAILED).ok(),
            not_adopted: fs::read_to_string(adopt::FAILED).ok(),
            progress: Progress::look(),
        }
    }

    fn judge(self) -> Doing {
        match self.mode {
            Some(Mode::Setup) if self.adopted => Doing::Looking,
            Some(Mode::Setup) => match self.not_followed {
                Some(why) => Doing::Refused(codes(&why)),
                None if self.moved => Doing::Moved,
                None => Doing::Waiting,
            },
            Some(Mode::Recovery) => Doing::Recovery,
            _ => self.at_home(),
        }
    }

    /// On the disk that Hearth runs from, or will.
    fn at_home(self) -> Doing {
        if let Some(why) = self.not_adopted {
            return Doing::Stopped(lines(&[why]));
        }
        match self.progress {
            Some(Progress::Stopped(why)) => return Doing::Stopped(lines(&why)),
            Some(Progress::Step { number, of, what }) => return Doing::SettingUp(Some(Step { number, of, what })),
            None => {}
        }
        let data = match (self.mounted, self.encrypted) {
            (true, _) => Data::Mounted,
            (false, true) => Data::Locked,
            (false, false) => Data::Missing,
        };
        match (self.adopted, self.sealed, self.approved) {
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

    fn home() -> Seen {
        Seen { mode: Some(Mode::Normal), adopted: true, mounted: true, ..Seen::default() }
    }

    #[test]
    fn before_setup() {
        let setup = || Seen { mode: Some(Mode::Setup), ..Seen::default() };
        assert_eq!(setup().judge(), Doing::Waiting);
        assert_eq!(Seen { moved: true, ..setup() }.judge(), Doing::Moved);
        assert_eq!(Seen { adopted: true, ..setup() }.judge(), Doing::Looking);
        let why =
            "[same-disk] `disks[1].disk`: ada's\n[not-listed] x\n[not-listed] y\n[Oh] no\nnothing was done".to_owned();
        let refused = Seen { not_followed: Some(why), moved: true, ..setup() }.judge();
        assert_eq!(refused, Doing::Refused(vec!["not-listed".to_owned(), "same-disk".to_owned()]));
    }

    #[test]
    fn on_the_way() {
        let approved = || Seen { mode: Some(Mode::Adopt), approved: true, ..Seen::default() };
        assert_eq!(approved().judge(), Doing::SettingUp(None));
        assert_eq!(Seen { mode: Some(Mode::Adopt), ..Seen::default() }.judge(), Doing::SettingUp(None));
        let step = Progress::Step { number: 3, of: 16, what: "the network".to_owned() };
        let Doing::SettingUp(Some(Step { number: 3, of: 16, what })) =
            (Seen { approved: true, progress: Some(step), ..home() }).judge()
        else {
            panic!("another step")
        };
        assert_eq!(what, "the network");
        let stopped = Progress::Stopped(vec!["step 3 of 16, the network".to_owned(), "two\n\nlines".to_owned()]);
        let stopped = Seen { approved: true, progress: Some(stopped), ..home() }.judge();
        assert_eq!(stopped, Doing::Stopped(["step 3 of 16, the network", "two", "lines"].map(str::to_owned).to_vec()));
        let stopped = Seen { not_adopted: Some("the disk is full\n".to_owned()), ..approved() }.judge();
        assert_eq!(stopped, Doing::Stopped(vec!["the disk is full".to_owned()]));
    }

    #[test]
    fn afterwards() {
        let sealed = || Seen { approved: true, sealed: true, ..home() };
        assert_eq!(sealed().judge(), Doing::SetUp(Data::Mounted));
        assert_eq!(Seen { mounted: false, encrypted: true, ..sealed() }.judge(), Doing::SetUp(Data::Locked));
        assert_eq!(Seen { mounted: false, ..sealed() }.judge(), Doing::SetUp(Data::Missing));
        assert_eq!(home().judge(), Doing::RunsHere(Data::Mounted));
        assert_eq!(Seen { mode: Some(Mode::Recovery), ..sealed() }.judge(), Doing::Recovery);
        // Approved, and the power went.
        assert_eq!(Seen { approved: true, ..home() }.judge(), Doing::SettingUp(None));
    }
}
