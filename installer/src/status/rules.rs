//! What is good, worth knowing or red. Pure: what was seen decides.

use super::seen::{Array, Container, Look, PublicName, Seen, Space};
use super::{Finding, State};
use crate::ddns::{DAY, written};
use crate::page::text::count;
use crate::page::{DataState, Situation};

/// How full, in percent, is worth knowing, and how full is red: databases stop when nothing is left.
const FULL: (u64, u64) = (85, 95);

/// Judges everything.
pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    let mut out = vec![system(&seen.situation)];
    out.extend(setup(seen));
    out.extend(roles(seen));
    out.extend(seen.spaces.iter().map(|look| judged("space", look, space)));
    out.push(judged("services", &seen.failed_units, |units| services(units)));
    if matches!(seen.situation, Situation::Running(DataState::Mounted)) {
        out.push(judged("containers", &seen.containers, |containers| running(containers)));
    }
    out.push(judged("kernel", &seen.kernels, |(running, newest)| kernel(running, newest)));
    out.push(judged("clock", &seen.clock_is_right, |right| clock(*right)));
    out.push(names(seen.names_resolve));
    if !matches!(seen.public_name, Ok(None)) {
        out.push(judged("public name", &seen.public_name, |name| public_name(name.as_ref())));
    }
    out.extend(disks(seen));
    if seen.arrays.as_ref().is_ok_and(|arrays| !arrays.is_empty()) || seen.arrays.is_err() {
        out.push(judged("arrays", &seen.arrays, |arrays| self::arrays(arrays)));
    }
    out.push(judged("addresses", &seen.ranges, |ranges| overlap(ranges, &seen.lan)));
    out
}

fn finding(subject: &str, state: State, told: impl Into<String>, remedy: Option<&str>) -> Finding {
    Finding { subject: subject.to_owned(), state, told: told.into(), remedy: remedy.map(str::to_owned) }
}

fn good(subject: &str, told: impl Into<String>) -> Finding {
    finding(subject, State::Good, told, None)
}

/// What nobody could look at is no good news.
fn judged<T>(subject: &str, look: &Look<T>, judge: impl FnOnce(&T) -> Finding) -> Finding {
    match look {
        Ok(seen) => judge(seen),
        Err(why) => finding(subject, State::Note, format!("cannot be told: {why}"), None),
    }
}

fn system(situation: &Situation) -> Finding {
    match situation {
        Situation::Running(DataState::Mounted) => good("system", "running, data is mounted"),
        Situation::Running(DataState::Locked(typed)) => finding(
            "system",
            State::Red,
            format!("the disks are locked until somebody types {typed}, so Docker stays down"),
            Some("Run `sudo hearth unlock`"),
        ),
        Situation::Running(DataState::Missing(why)) => finding(
            "system",
            State::Red,
            format!("data is missing, so Docker stays down: {why}"),
            Some("Check the disk's cables, then restart. Nothing is lost as long as the disk itself is whole"),
        ),
        Situation::Setup | Situation::Repairable => {
            finding("system", State::Note, "setup mode: nothing on any disk has been changed", None)
        }
        Situation::Stopped(why) => finding(
            "system",
            State::Red,
            format!("stopped while preparing this disk: {why}"),
            Some("See to the cause, then restart: it goes on where it stopped"),
        ),
    }
}

fn setup(seen: &Seen) -> Vec<Finding> {
    match &seen.remains {
        Err(why) => vec![finding("setup", State::Note, format!("what it left to do cannot be told: {why}"), None)],
        Ok(None) => Vec::new(),
        Ok(Some(remains)) => {
            let red = remains.red_text().map(|text| {
                let remedy = "Write the passwords in /etc/hearth/secrets down, off this machine";
                finding("recovery kit", State::Red, text, Some(remedy))
            });
            let rest = remains.rest().iter().filter(|(word, _)| *word != "report");
            red.into_iter()
                .chain(rest.map(|(word, text)| {
                    let state = if matches!(*word, "SETUP" | "REPAIR") { State::Red } else { State::Note };
                    finding("setup", state, text.clone(), None)
                }))
                .collect()
        }
    }
}

fn roles(seen: &Seen) -> Vec<Finding> {
    let roles = match &seen.roles {
        Err(why) => return vec![finding("disks", State::Note, format!("cannot be told: {why}"), None)],
        Ok(roles) => roles,
    };
    let absent = roles.iter().filter(|role| !role.is_mounted).map(|role| {
        finding(
            &role.place,
            State::Red,
            format!("its disk, {}, is not there. Nothing can be written there meanwhile", role.disk),
            Some("Plug the disk in: it is taken up at once. Else look at its cables and power"),
        )
    });
    let mut out: Vec<Finding> = absent.collect();
    if out.is_empty() && !roles.is_empty() {
        out.push(good("disks", "every disk for media, downloads and backups is there"));
    }
    out
}

fn space(space: &Space) -> Finding {
    let Space { place, size, free } = space;
    // A tenth of a percent is nobody's concern, and an empty file system is not full.
    let used = (size.0.saturating_sub(free.0) * 100).checked_div(size.0).unwrap_or(0);
    let told = format!("{used} % full, {free} of {size} free");
    let remedy = "Remove what is not needed. `sudo du -xh --max-depth=2 PLACE | sort -h` shows what is large, `docker system df` what containers take";
    match used {
        full if full >= FULL.1 => finding(place, State::Red, told, Some(remedy)),
        full if full >= FULL.0 => finding(place, State::Note, told, Some(remedy)),
        _ => good(place, told),
    }
}

fn services(units: &[String]) -> Finding {
    if units.is_empty() {
        return good("services", "none failed");
    }
    let remedy = format!("`journalctl -b -u {}` says why", units[0]);
    finding("services", State::Red, format!("failed: {}", units.join(", ")), Some(&remedy))
}

fn running(containers: &[Container]) -> Finding {
    let is_ill = |one: &&Container| {
        one.status.contains("(unhealthy)")
            || matches!(one.state.as_str(), "restarting" | "dead")
            || (one.state == "exited" && !one.status.starts_with("Exited (0)"))
    };
    let ill: Vec<&Container> = containers.iter().filter(is_ill).collect();
    let Some(first) = ill.first() else {
        let up = containers.iter().filter(|one| one.state == "running").count();
        return good("containers", format!("{} running", count(up, "container")));
    };
    let told: Vec<String> = ill.iter().map(|one| format!("{} ({})", one.name, one.status)).collect();
    let remedy = format!("`docker logs --tail 50 {}` says why", first.name);
    finding("containers", State::Red, told.join(", "), Some(&remedy))
}

fn kernel(running: &str, newest: &str) -> Finding {
    if running == newest {
        return good("kernel", format!("{running}, the newest"));
    }
    let told = format!("{running} runs, and {newest} is installed: a restart is due");
    finding(
        "kernel",
        State::Note,
        told,
        Some("`sudo systemctl reboot` when it suits you. The former kernel stays in the menu"),
    )
}

fn clock(is_right: bool) -> Finding {
    if is_right {
        return good("clock", "set by the network");
    }
    let remedy = "Check the way to the internet. Until the clock is right, certificates are refused and codes for logins are wrong";
    finding("clock", State::Note, "not set by the network", Some(remedy))
}

fn names(resolve: bool) -> Finding {
    if resolve {
        return good("names", "looked up");
    }
    let remedy = "`resolvectl status` shows who is asked. Check the router, or name servers in the answers' [network]";
    finding("names", State::Note, "no name of the internet can be looked up", Some(remedy))
}

/// What is told here is what DuckDNS said last: whether the name is looked up right is the router's affair.
fn public_name(name: Option<&PublicName>) -> Finding {
    const SUBJECT: &str = "public name";
    let Some(PublicName { name, state, now }) = name else { return good(SUBJECT, "there is none") };
    let last = state.accepted.as_ref().map(|accepted| {
        format!("{name} leads to {}, as DuckDNS accepted at {}", accepted.addresses.join(" and "), written(accepted.at))
    });
    let Some(failing) = &state.failing else {
        let waits = || {
            finding(
                SUBJECT,
                State::Note,
                format!("DuckDNS was not told yet where {name} leads"),
                Some("It is within five minutes. `sudo hearth ddns` does it now"),
            )
        };
        return last.map_or_else(waits, |last| good(SUBJECT, last));
    };
    let last = last.unwrap_or_else(|| format!("{name} was never accepted"));
    let told = format!("{}, since {}. {last}", failing.told(), written(failing.since));
    let long = now.saturating_sub(failing.since) >= DAY;
    let state = if failing.refused || long { State::Red } else { State::Note };
    finding(SUBJECT, state, told, Some(&failing.remedy()))
}

fn disks(seen: &Seen) -> Vec<Finding> {
    const FAILING: &str = "Save what is on it now, and replace it";
    let mut out = Vec::new();
    let mut well = 0;
    for (disk, look) in &seen.disks {
        match look {
            Ok(Some(health)) if !health.passed => {
                out.push(finding("disk health", State::Red, format!("{disk} says that it is failing"), Some(FAILING)));
            }
            Ok(Some(health)) if health.pending > 0 => {
                let told = format!(
                    "{disk} cannot read {}",
                    count(usize::try_from(health.pending).unwrap_or(usize::MAX), "sector")
                );
                out.push(finding("disk health", State::Red, told, Some(FAILING)));
            }
            Ok(Some(_)) => well += 1,
            // It says nothing of itself.
            Ok(None) => {}
            Err(why) => out.push(finding("disk health", State::Note, format!("{disk}: {why}"), None)),
        }
    }
    for (place, look) in &seen.counters {
        match look {
            Ok(0) => {}
            Ok(errors) => {
                let told = format!(
                    "btrfs counted {} on {place}",
                    count(usize::try_from(*errors).unwrap_or(usize::MAX), "error")
                );
                let remedy = format!(
                    "`sudo btrfs device stats {place}` says which; `sudo btrfs scrub start {place}` reads everything once"
                );
                out.push(finding("disk health", State::Red, told, Some(&remedy)));
            }
            Err(why) => out.push(finding("disk health", State::Note, format!("{place}: {why}"), None)),
        }
    }
    if out.is_empty() {
        let told = if well == 0 {
            "no disk says anything of itself".to_owned()
        } else {
            format!("{} well", count(well, "disk"))
        };
        out.push(good("disk health", told));
    }
    out
}

fn arrays(arrays: &[Array]) -> Finding {
    if let Some(Array { name, disks, missing, action, .. }) = arrays.iter().find(|array| array.missing > 0) {
        let rebuilt = if action == "recover" { ". It is being rebuilt" } else { "" };
        let told = format!(
            "{name} lacks {missing} of its {}, so another failure may lose what is on it{rebuilt}",
            count(*disks as usize, "disk")
        );
        let remedy = format!(
            "`cat /proc/mdstat` shows which. Check its cable; a new disk joins by `sudo mdadm /dev/md/{name} --add /dev/DISK`"
        );
        let remedy = rebuilt.is_empty().then_some(remedy.as_str());
        return finding("arrays", State::Red, told, remedy);
    }
    if let Some(array) = arrays.iter().find(|array| array.mismatches > 0) {
        let told = format!("the disks of {} differed in {} sectors at the last check", array.name, array.mismatches);
        let remedy = format!(
            "After a power cut that is harmless. Else look at the disks' health; `echo repair | sudo tee /sys/block/$(basename $(readlink -f /dev/md/{}))/md/sync_action` makes them alike",
            array.name
        );
        return finding("arrays", State::Note, told, Some(&remedy));
    }
    good("arrays", format!("{} complete", count(arrays.len(), "array")))
}

fn overlap(ranges: &[ipnet::IpNet], lan: &[ipnet::IpNet]) -> Finding {
    let meet = |one: &ipnet::IpNet, other: &ipnet::IpNet| one.contains(other) || other.contains(one);
    let pairs = ranges.iter().flat_map(|range| lan.iter().filter(|net| meet(range, net)).map(move |net| (range, net)));
    let Some((range, net)) = pairs.into_iter().next() else {
        return good("addresses", "containers and your network have their own");
    };
    let told = format!(
        "containers have addresses from {range}, and this machine is on {net}: neighbours there cannot be reached"
    );
    let remedy = "Give your network other addresses in the router, or containers others in /etc/docker/daemon.json";
    finding("addresses", State::Red, told, Some(remedy))
}
