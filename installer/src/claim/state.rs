//! What is known of the door at one moment, and how it changes: codes are tried, five
//! wrong ones close it, a key pressed on a console opens it with another code. Pure; the
//! file it is kept in is [`super::store`]'s.

use serde::{Deserialize, Serialize};

use super::code::{Code, CodeHash};
use super::origin::Origin;

/// So many wrong codes, from wherever they come, close the door.
pub const LIMIT: u32 = 5;

/// The door as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct State {
    /// The code that the consoles show.
    pub code: Code,
    /// The hash of the code that `flash --setup-code` printed, if there is one.
    pub flashed: Option<CodeHash>,
    /// How many public keys on HEARTH open the door, too.
    pub keys: usize,
    /// The fingerprint of the host key: who connects compares it.
    pub host_key: String,
    /// What is wrong with the files on HEARTH, a sentence each.
    pub remarks: Vec<String>,
    /// The wrong codes since the present code was drawn.
    pub wrong: Vec<Wrong>,
}

/// Wrong codes from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wrong {
    /// Where they came from.
    pub from: Origin,
    /// How many.
    pub count: u32,
}

impl State {
    /// How many wrong codes came.
    pub fn failures(&self) -> u32 {
        self.wrong.iter().map(|wrong| wrong.count).sum()
    }

    /// Whether nobody is let in, whatever they bring.
    pub fn is_closed(&self) -> bool {
        self.failures() >= LIMIT
    }

    /// Tries what somebody at `from` typed. A wrong one counts; once closed, none is right.
    pub fn admits(&mut self, typed: &str, from: Origin) -> bool {
        if self.is_closed() {
            return false;
        }
        let right = Code::read(typed)
            .is_some_and(|code| self.code.is(&code) || self.flashed.as_ref().is_some_and(|hash| hash.is_of(&code)));
        if !right {
            match self.wrong.iter_mut().find(|wrong| wrong.from == from) {
                Some(wrong) => wrong.count += 1,
                None => self.wrong.push(Wrong { from, count: 1 }),
            }
        }
        right
    }

    /// Opens a closed door with the code `fresh`; an open one stays as it is.
    pub fn reopen(&mut self, fresh: Code) {
        if self.is_closed() {
            self.code = fresh;
            self.wrong.clear();
        }
    }

    /// Where the wrong codes came from: `192.168.1.66 (4), 10.0.0.9 (1)`.
    pub fn sources(&self) -> String {
        let told = |wrong: &Wrong| format!("{} ({})", wrong.from, wrong.count);
        self.wrong.iter().map(told).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const RIGHT: &str = "K7QXM 3FHTP";

    pub(crate) fn state() -> State {
        State {
            code: Code::read(RIGHT).unwrap(),
            flashed: None,
            keys: 0,
            host_key: "SHA256:8D5Bga2YiTUjGRIxC6wUqfmXvKj0cJhSa/Jz2sCjNMk".to_owned(),
            remarks: Vec::new(),
            wrong: Vec::new(),
        }
    }

    const SOMEWHERE: Origin = Origin(None);

    #[test]
    fn s9_the_right_code_on_try_six_is_refused() {
        let mut state = state();
        for from in [
            Origin::read("192.168.1.66"),
            Origin::read("10.0.0.9"),
            SOMEWHERE,
            Origin::read("192.168.1.66"),
            Origin::read("fe80::1"),
        ] {
            assert!(state.admits(RIGHT, from), "right codes do not close it");
            assert!(!state.admits("K7QXM 3FHTQ", from));
        }
        assert!(state.is_closed() && !state.admits(RIGHT, Origin::read("10.0.0.1")));
        assert_eq!(state.failures(), LIMIT, "what comes to a closed door is not counted");
        assert_eq!(state.sources(), "192.168.1.66 (2), 10.0.0.9 (1), an unknown address (1), fe80::1 (1)");
    }

    #[test]
    fn what_is_no_code_at_all_counts_too() {
        let mut state = state();
        for typed in ["", "password", "K7QXM 3FHT", "\0", "U"] {
            assert!(!state.admits(typed, SOMEWHERE));
        }
        assert!(state.is_closed());
    }

    #[test]
    fn the_code_of_the_flash_opens_it_and_counts_with_the_other() {
        let flashed = Code::draw().unwrap();
        let mut state = State { flashed: Some(flashed.hash().unwrap()), ..state() };
        assert!(state.admits(&flashed.shown(), SOMEWHERE) && state.admits(RIGHT, SOMEWHERE));
        for _ in 0..LIMIT {
            assert!(!state.admits("00000 00000", SOMEWHERE));
        }
        assert!(!state.admits(&flashed.shown(), SOMEWHERE) && !state.admits(RIGHT, SOMEWHERE));
    }

    #[test]
    fn a_key_pressed_opens_it_with_another_code() {
        let mut state = state();
        let fresh = Code::draw().unwrap();
        state.reopen(fresh.clone());
        assert!(state.admits(RIGHT, SOMEWHERE), "an open door keeps its code");
        for _ in 0..LIMIT {
            state.admits("x", SOMEWHERE);
        }
        state.reopen(fresh.clone());
        assert!(!state.admits(RIGHT, SOMEWHERE) && state.admits(&fresh.shown(), SOMEWHERE));
        assert_eq!(state.failures(), 1);
    }
}
