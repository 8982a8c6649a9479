//! Keeps the public name up to date. With `reach = "lan"` it leads to this machine's address in its own
//! network, with "internet" to the address that the world sees it come from. A timer asks every
//! five minutes; DuckDNS is told only what has changed, once a day, and where nobody but DuckDNS can see
//! a change. What came of it is kept for `hearth status`: the timer itself never fails.

mod here;
mod state;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde::Deserialize;

use crate::answers::Secret;
use crate::audit;
use crate::exit::{Exit, Kind as _, require_root};
use crate::machine::real::Real;
use crate::machine::recording::Recording;
use crate::machine::{Lead, Machine, Verdict};
use crate::page::text::{print, wrap};
use crate::render::secrets::{DIR, DOMAIN};
use crate::truth;
use here::Here;
use state::{Accepted, Failing};
pub(crate) use state::{DAY, State, written};

/// What asks every five minutes, once setup has switched it on.
pub const TIMER: &str = "hearth-ddns.timer";

/// Arguments of `hearth ddns`.
#[derive(Debug, Args)]
pub struct DdnsArgs {
    /// Tell what would be done; tell DuckDNS nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only what is due, and no failure: for the timer.
    #[arg(long, hide = true, conflicts_with = "dry_run")]
    due: bool,
}

/// The name, and where it is to lead.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    Lan,
    Internet,
}

#[derive(Deserialize)]
struct Truth {
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    // Another provider than this one is refused until its client exists.
    #[serde(rename = "dns")]
    _dns: DuckDns,
    name: String,
    reach: Reach,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DuckDns {
    Duckdns,
}

impl Named {
    /// The name that this machine was set up with, if any.
    pub(crate) fn read(machine: &impl Machine) -> Result<Option<Self>> {
        let truth: Truth = truth::read(machine)?;
        Ok(truth.domain.map(|Domain { name, reach, .. }| Self { name, reach }))
    }

    /// Where it should lead, or why that is not known.
    fn leads(&self, here: Here) -> Result<Vec<Lead>, String> {
        match self.reach {
            Reach::Lan => match here.v4 {
                Some(v4) => Ok(vec![Lead::V4(v4)]),
                None => Err("this machine has no IPv4 address in its network".to_owned()),
            },
            // Connections by IPv6 come to this machine itself, not to the router.
            Reach::Internet => Ok(std::iter::once(Lead::Caller).chain(here.v6.map(Lead::V6)).collect()),
        }
    }
}

/// `hearth ddns`.
pub fn run(args: &DdnsArgs) -> Result<()> {
    require_root()?;
    let none = || anyhow!("this machine has no public name: its answers have no [domain]");
    let named = Named::read(&Real)?.ok_or_else(none).kind(Exit::Refused)?;
    let (here, now) = (Here::look(), now());
    if args.dry_run {
        let mut record = Recording::new(&Real);
        keep(&mut record, &named, here, now, false)?;
        let effects = record.effects.iter().flat_map(|effect| wrap("  - ", effect));
        let head = "A dry run: nothing is changed. These would be the effects:".to_owned();
        return print(&std::iter::once(head).chain(effects).collect::<Vec<_>>());
    }
    let name = &named.name;
    match keep(&mut Real, &named, here, now, args.due)? {
        Outcome::NotDue => Ok(()),
        Outcome::Accepted { leads, changed } => {
            print(&wrap("", &format!("{name} leads to {leads} now.")))?;
            if changed && !args.due {
                let did = format!("had DuckDNS lead {name} to {leads}");
                audit::note(&did).context("it is done, but not in the audit log")?;
            }
            Ok(())
        }
        Outcome::Failed(failing) if args.due => print(&wrap("", &format!("{name}: {}.", failing.told()))),
        Outcome::Failed(failing) => {
            let exit = if failing.refused { Exit::Mismatch } else { Exit::Dependency };
            Err(anyhow!("{name} was not changed: {}.\n{}.", failing.told(), failing.remedy())).kind(exit)
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NotDue,
    Accepted { leads: String, changed: bool },
    Failed(Failing),
}

/// Has the name lead where it should; if only what is `due` is done, perhaps nothing.
fn keep(machine: &mut impl Machine, named: &Named, here: Here, now: u64, due: bool) -> Result<Outcome> {
    let mut state = State::read(machine, &named.name)?;
    let leads = named.leads(here);
    let asked: Vec<String> = leads.iter().flatten().map(Lead::to_string).collect();
    let callers = leads.iter().flatten().any(|lead| *lead == Lead::Caller);
    if due && !state.is_due(&asked, callers, now) {
        return Ok(Outcome::NotDue);
    }
    let told = match leads {
        Ok(leads) => tell(machine, &named.name, &leads)?,
        Err(why) => Err((false, why)),
    };
    let outcome = match told {
        Ok(addresses) => {
            let leads = addresses.join(" and ");
            let changed = state.accepted(Accepted { at: now, asked, addresses });
            Outcome::Accepted { leads, changed }
        }
        Err((refused, why)) => Outcome::Failed(state.failed(asked, refused, why, now)),
    };
    state.keep(machine)?;
    Ok(outcome)
}

/// The addresses that the name leads to now, or whether that was refused, and why.
type Told = Result<Vec<String>, (bool, String)>;

fn tell(machine: &mut impl Machine, name: &str, leads: &[Lead]) -> Result<Told> {
    let token: Secret<String> = truth::secret(machine, DOMAIN)?;
    let mut addresses = Vec::new();
    for lead in leads {
        let (verdict, address) = machine.tell_duckdns(name, &token, *lead)?;
        match verdict {
            Verdict::Belong => addresses.push(address.map_or_else(|| lead.to_string(), |address| address.to_string())),
            Verdict::Refused => {
                return Ok(Err((true, format!("DuckDNS refuses the token in {DIR}/{DOMAIN} for this name"))));
            }
            Verdict::Unknown(why) => return Ok(Err((false, format!("DuckDNS could not be told ({why})")))),
        }
    }
    Ok(Ok(addresses))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
