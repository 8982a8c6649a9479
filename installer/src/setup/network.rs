//! Whether the network that the answers ask for can exist on this machine.

use super::refusal::Refusal;
use crate::answers::Answers;
use crate::facts::{Facts, Nic};

/// Everything that stands against it.
pub(super) fn against(facts: &Facts, answers: &Answers) -> Vec<Refusal> {
    let Some(network) = &answers.network else { return Vec::new() };
    let mut out = Vec::new();
    for (i, card) in network.wired.iter().enumerate() {
        let (what, found) = match (&card.mac, &card.path) {
            (Some(mac), _) => (format!("address {mac}"), has(facts, |nic| same(nic.mac.as_deref(), &mac.to_string()))),
            (None, Some(path)) => {
                (format!("place {path}"), has(facts, |nic| same(nic.path.as_deref(), &path.to_string())))
            }
            (None, None) => continue,
        };
        if !found {
            out.push(Refusal::NoSuchCard { key: format!("network.wired[{}]", i + 1), what, cards: cards(facts) });
        }
    }
    if network.wifi.is_some() && !has(facts, |nic| nic.wireless) {
        out.push(Refusal::NoRadio);
    }
    out
}

fn has(facts: &Facts, is: impl Fn(&Nic) -> bool) -> bool {
    facts.nics.iter().any(is)
}

fn same(told: Option<&str>, wanted: &str) -> bool {
    told.is_some_and(|told| told.eq_ignore_ascii_case(wanted))
}

fn cards(facts: &Facts) -> String {
    let tell = |nic: &Nic| format!("{} ({})", nic.name, nic.mac.as_deref().unwrap_or("no MAC"));
    let told: Vec<String> = facts.nics.iter().map(tell).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}
