//! What DuckDNS was told, and what it said: kept over restarts, so that it is not asked again and again,
//! and so that `hearth status` can tell how the name is.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::page::text::moment;
use crate::render::File;
use crate::render::secrets::{DIR, DOMAIN};

/// Where it lies: on root, because it is worth nothing in a backup.
const PATH: &str = "/var/lib/hearth/ddns.json";

/// The version of the document.
const FORMAT: u32 = 1;

/// How long an accepted address holds without being told again.
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// How long is waited after a first failure; twice as long after each further one, up to the others.
const PAUSE: u64 = 5 * 60;
const LONGEST: u64 = 30 * 60;
const LONGEST_REFUSED: u64 = 6 * 60 * 60;

/// Timers are not to the second.
const SLACK: u64 = 90;

/// All that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct State {
    format: u32,
    name: String,
    pub(crate) accepted: Option<Accepted>,
    pub(crate) failing: Option<Failing>,
}

/// What DuckDNS accepted last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Accepted {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// What was asked for.
    pub(crate) asked: Vec<String>,
    /// Where the name leads.
    pub(crate) addresses: Vec<String>,
}

/// What has gone wrong since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Failing {
    /// When it began, and when it was tried last, in seconds since 1970.
    pub(crate) since: u64,
    last: u64,
    count: u32,
    asked: Vec<String>,
    /// Whether DuckDNS said no; else nobody could be asked.
    pub(crate) refused: bool,
    why: String,
}

impl Failing {
    /// Why, for people.
    pub(crate) fn told(&self) -> &str {
        &self.why
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        if self.refused {
            return format!(
                "Compare name and token with your page at duckdns.org. The right token goes into {DIR}/{DOMAIN}; then \
                 `sudo hearth ddns` tries at once"
            );
        }
        "It is tried again by itself. `sudo hearth ddns` tries at once; `sudo hearth doctor` looks at names and clock"
            .to_owned()
    }

    fn pause(&self) -> u64 {
        let longest = if self.refused { LONGEST_REFUSED } else { LONGEST };
        (PAUSE << self.count.saturating_sub(1).min(16)).min(longest)
    }
}

impl State {
    /// What is kept of `name`. Of another name nothing counts, nor what cannot be read.
    pub(crate) fn read(machine: &impl Machine, name: &str) -> Result<Self> {
        let bytes = machine.read_file(PATH)?.unwrap_or_default();
        let kept =
            serde_json::from_slice(&bytes).ok().filter(|state: &Self| state.format == FORMAT && state.name == name);
        Ok(kept.unwrap_or_else(|| Self { format: FORMAT, name: name.to_owned(), ..Self::default() }))
    }

    pub(super) fn keep(&self, machine: &mut impl Machine) -> Result<()> {
        let text = serde_json::to_string(self).context("writing down what DuckDNS said")?;
        machine.put_file(&File::public(PATH, text + "\n"))
    }

    /// Whether it is time to tell DuckDNS this. `callers`: only DuckDNS sees which address it is.
    pub(super) fn is_due(&self, asked: &[String], callers: bool, now: u64) -> bool {
        // A clock that was set back says nothing.
        let over = |then: u64, wait: u64| now.checked_sub(then).is_none_or(|since| since + SLACK >= wait);
        match (&self.failing, &self.accepted) {
            (Some(failing), _) if failing.asked == asked => over(failing.last, failing.pause()),
            (None, Some(accepted)) if accepted.asked == asked && !callers => over(accepted.at, DAY),
            _ => true,
        }
    }

    /// DuckDNS took it; true if the name leads elsewhere than before.
    pub(super) fn accepted(&mut self, accepted: Accepted) -> bool {
        let changed = self.accepted.as_ref().is_none_or(|before| before.addresses != accepted.addresses);
        (self.accepted, self.failing) = (Some(accepted), None);
        changed
    }

    pub(super) fn failed(&mut self, asked: Vec<String>, refused: bool, why: String, now: u64) -> Failing {
        let before = self.failing.take();
        let count = before.as_ref().filter(|before| before.asked == asked).map_or(0, |before| before.count) + 1;
        let since = before.map_or(now, |before| before.since);
        let failing = Failing { since, last: now, count, asked, refused, why };
        self.failing = Some(failing.clone());
        failing
    }
}

/// A time as people write it.
pub(crate) fn written(at: u64) -> String {
    moment(UNIX_EPOCH + Duration::from_secs(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Vec<String> {
        vec!["192.168.1.10".to_owned()]
    }

    fn accepted(at: u64) -> State {
        let mut state = State::default();
        state.accepted(Accepted { at, asked: asked(), addresses: asked() });
        state
    }

    #[test]
    fn only_a_change_or_a_day_is_a_reason_to_tell_it_again() {
        let state = accepted(1000);
        assert!(State::default().is_due(&asked(), false, 0));
        assert!(!state.is_due(&asked(), false, 1000) && !state.is_due(&asked(), false, 1000 + DAY - 2 * SLACK));
        assert!(state.is_due(&asked(), false, 1000 + DAY) && state.is_due(&["10.0.0.1".to_owned()], false, 1000));
        // Only DuckDNS sees it, or the clock was set back.
        assert!(state.is_due(&asked(), true, 1000) && state.is_due(&asked(), false, 999));
    }

    #[test]
    fn failures_are_tried_again_ever_more_rarely_and_a_change_at_once() {
        let mut state = accepted(0);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            pauses.push(state.failed(asked(), false, String::new(), 5000).pause() / 60);
        }
        assert_eq!(pauses, [5, 10, 20, 30, 30]);
        assert!(!state.is_due(&asked(), true, 5000 + 300) && state.is_due(&asked(), true, 5000 + 1800));
        assert!(state.is_due(&["10.0.0.1".to_owned()], false, 5001));
        assert_eq!(state.failed(vec!["10.0.0.1".to_owned()], true, String::new(), 6000).since, 5000);
        for _ in 0..99 {
            state.failed(asked(), true, String::new(), 6000);
        }
        assert_eq!(state.failing.as_ref().unwrap().pause(), LONGEST_REFUSED);
        state.accepted(Accepted { at: 7000, asked: asked(), addresses: asked() });
        assert_eq!(state.failing, None);
    }

    #[test]
    fn a_time_is_written_as_everywhere() {
        assert_eq!(written(1_795_631_611), "2026-11-25 18:33 UTC");
    }
}
