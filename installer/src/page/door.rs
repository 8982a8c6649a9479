//! SSH before setup as the page tells of it: where to come, with which code, and by which
//! fingerprint the machine is known.

use std::net::IpAddr;

use super::Place;
use super::text::{WIDTH, count, cut, wrap};
use crate::claim::{Door, USER};
use crate::facts::Facts;

/// The beginning of what is said of SSH, and of the lines below.
const FIRST: &str = "  SSH      ";
const INDENT: &str = "           ";

/// What the page says at `place`; with `full` more than the least.
pub(super) fn lines(door: &Door, place: Place, facts: &Facts, full: bool) -> Vec<String> {
    let mut out = match (door.state.is_closed(), place) {
        (true, _) => closed(door, place, full),
        (false, Place::Console) => open(door, facts),
        // Whoever reads this is in, and the code is nobody else's business.
        (false, Place::Ssh) => Vec::new(),
    };
    if full && place == Place::Console {
        if door.state.keys > 0 {
            out.push(format!("{INDENT}{} on HEARTH may come in, too", count(door.state.keys, "key")));
        }
        out.extend(door.state.remarks.iter().take(2).map(|remark| cut(&format!("{INDENT}{remark}"), WIDTH)));
    }
    out
}

fn open(door: &Door, facts: &Facts) -> Vec<String> {
    if let Some(from) = door.session {
        return wrap(FIRST, &format!("in use from {from}. One session at a time."));
    }
    let address = address(facts).map(|address| format!(" (or {USER}@{address})")).unwrap_or_default();
    let mut out = wrap(FIRST, &format!("ssh {USER}@hearth.local{address}, code {}", *door.state.code.shown()));
    out.push(format!("{INDENT}host key {}", door.state.host_key));
    out
}

fn closed(door: &Door, place: Place, full: bool) -> Vec<String> {
    let failures = count(door.state.failures() as usize, "wrong code");
    let how = match place {
        Place::Console => "Press Enter to open it with a new code.",
        Place::Ssh => "Enter at the machine opens it again.",
    };
    let mut out = wrap(FIRST, &format!("CLOSED after {failures}. {how}"));
    let sources = format!("They came from {}.", door.state.sources());
    out.extend(if full { wrap(INDENT, &sources) } else { vec![cut(&format!("{INDENT}{sources}"), WIDTH)] });
    out
}

/// What the details say of it: all that the page leaves out.
pub(super) fn details(door: &Door) -> Vec<String> {
    let mut out = Vec::new();
    if door.state.is_closed() {
        out.extend(wrap("SSH is closed after wrong codes from ", &door.state.sources()));
    }
    out.extend(door.state.remarks.iter().flat_map(|remark| wrap("SSH ", remark)));
    out
}

/// The address that is easiest to type.
fn address(facts: &Facts) -> Option<IpAddr> {
    let mut all = facts.nics.iter().flat_map(|nic| &nic.addresses).filter(|address| !address.link_local);
    all.clone().find(|address| address.ip.is_ipv4()).or_else(|| all.next()).map(|address| address.ip)
}
