//! What was found, for people: 80 columns, words and no colour.

use super::{Finding, State, Status};
use crate::page::text::{count, wrap};

/// One screen: what is not good, in words, and what is, by name.
pub(super) fn screen(status: &Status) -> Vec<String> {
    let mut out = head(status);
    out.extend(status.findings.iter().filter(|finding| finding.state != State::Good).flat_map(row));
    let mut good: Vec<&str> = Vec::new();
    for finding in status.findings.iter().filter(|finding| finding.state == State::Good) {
        if !good.contains(&finding.subject.as_str()) {
            good.push(&finding.subject);
        }
    }
    if !good.is_empty() {
        out.extend(wrap("  ok      ", &good.join(", ")));
    }
    if status.findings.iter().any(|finding| finding.state != State::Good && finding.remedy.is_some()) {
        out.push("`sudo hearth doctor` says what to do.".to_owned());
    }
    out
}

/// Everything, each with what to do.
pub(super) fn all(status: &Status) -> Vec<String> {
    let mut out = head(status);
    for finding in &status.findings {
        out.extend(row(finding));
        if let Some(remedy) = &finding.remedy {
            out.extend(wrap("          -> ", &format!("{remedy}.")));
        }
    }
    out
}

fn head(status: &Status) -> Vec<String> {
    let (red, notes) = (status.number(State::Red), status.number(State::Note));
    let sum = match (red, notes) {
        (0, 0) => "all is well".to_owned(),
        (0, notes) => count(notes, "note"),
        (red, 0) => format!("{red} red"),
        (red, notes) => format!("{red} red, {}", count(notes, "note")),
    };
    let mut out = wrap("", &format!("Hearth {} on {}: {sum}", status.hearth, status.hostname));
    let addresses = if status.addresses.is_empty() { "none yet".to_owned() } else { status.addresses.join(", ") };
    out.extend(wrap("  address ", &addresses));
    out
}

fn row(finding: &Finding) -> Vec<String> {
    let Finding { subject, state, told, .. } = finding;
    wrap(&format!("  {:<7} ", state.word()), &format!("{subject}: {}.", told.trim_end_matches('.').replace('\n', " ")))
}
