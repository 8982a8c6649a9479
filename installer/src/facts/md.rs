//! Reads what `mdadm --examine` says of one member of an array, and judges all members of one
//! together. The plain text is read, because the terse form leaves out where the data begins.

use std::collections::BTreeMap;

use super::clean::present;
use super::volumes::{Fault, Look, Volume, VolumeKind};
use crate::units::Bytes;

/// The levels that are adopted.
const LEVELS: [&str; 6] = ["raid0", "raid1", "raid4", "raid5", "raid6", "raid10"];

/// What a member says of itself and of its array.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    array: String,
    version: String,
    name: Option<String>,
    level: String,
    layout: Option<String>,
    /// How many members are expected.
    devices: u32,
    /// How many it last saw at work.
    alive: Option<u32>,
    size: Option<Bytes>,
    own_size: Bytes,
    chunk: Option<Bytes>,
    data_offset: Bytes,
    events: u64,
    role: Role,
    /// False while something is moved about in it.
    settled: bool,
}

impl Member {
    /// What it adds to an array without redundancy.
    fn whole_chunks(&self) -> Bytes {
        self.chunk.map_or(self.own_size, |chunk| self.own_size.round_down(chunk))
    }
}

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It holds this part of the data.
    Active(u32),
    /// It waits to be needed.
    Spare,
    /// Anything else: a journal, a replacement.
    Other,
}

/// Every array of which a member is there. `told` are the answers by the kernel's names.
pub(super) fn arrays(told: &BTreeMap<String, String>) -> Vec<(Volume, Option<Look>)> {
    let mut groups: BTreeMap<String, Vec<(&str, Member)>> = BTreeMap::new();
    for (device, text) in told {
        if let Some(member) = member(text) {
            groups.entry(member.array.clone()).or_default().push((device, member));
        }
    }
    groups.into_values().filter_map(|members| array(&members)).collect()
}

fn array(members: &[(&str, Member)]) -> Option<(Volume, Option<Look>)> {
    // Who was written to last knows best.
    let newest = &members.iter().max_by_key(|(_, member)| member.events)?.1;
    let fault = fault(newest, members);
    let look = look(newest, members).filter(|_| fault.is_none());
    let volume = Volume {
        kind: VolumeKind::Md,
        name: newest.name.clone().unwrap_or_else(|| newest.array.clone()),
        id: newest.array.clone(),
        level: newest.level.clone(),
        size: newest.size.unwrap_or_else(|| members.iter().map(|(_, member)| member.whole_chunks()).sum()),
        members: members.iter().map(|(device, _)| (*device).to_owned()).collect(),
        fault,
        active: false,
        content: None,
    };
    Some((volume, look))
}

fn fault(newest: &Member, members: &[(&str, Member)]) -> Option<Fault> {
    if !newest.version.starts_with("1.") {
        return Some(Fault::Kind(format!("an array of the old form {}", newest.version)));
    }
    if !LEVELS.contains(&newest.level.as_str()) {
        return Some(Fault::Kind(format!("an array of the level {}", newest.level)));
    }
    if members.iter().any(|(_, member)| member.role == Role::Other) {
        return Some(Fault::Kind("an array with a journal or a replacement disk".to_owned()));
    }
    if members.iter().any(|(_, member)| !member.settled) {
        return Some(Fault::Unsettled);
    }
    // The kernel takes a member that is one event behind: the power went between two writes.
    let is_old = |member: &Member| member.events + 1 < newest.events;
    let mut roles = BTreeMap::new();
    for (device, member) in members {
        let Role::Active(role) = member.role else { continue };
        if is_old(member) {
            continue;
        }
        if roles.insert(role, *device).is_some() {
            return Some(Fault::Twice { device: (*device).to_owned() });
        }
    }
    let there = u32::try_from(roles.keys().filter(|role| **role < newest.devices).count()).unwrap_or(u32::MAX);
    let there = newest.alive.map_or(there, |alive| alive.min(there));
    if there >= newest.devices {
        return None;
    }
    let old = members.iter().find(|(_, member)| matches!(member.role, Role::Active(_)) && is_old(member));
    Some(match old {
        Some((device, _)) => Fault::Lags { device: (*device).to_owned() },
        None => Fault::Missing { there, of: newest.devices },
    })
}

/// Where the array's first bytes lie.
fn look(newest: &Member, members: &[(&str, Member)]) -> Option<Look> {
    let first = first_member(&newest.level, newest.layout.as_deref())?;
    let (device, member) = members.iter().find(|(_, member)| member.role == Role::Active(first))?;
    let len = member.chunk.filter(|_| newest.level != "raid1").unwrap_or(member.own_size);
    Some(Look { device: (*device).to_owned(), offset: member.data_offset, len })
}

/// Which member holds the first chunk: with parity in the first place it is a later one.
fn first_member(level: &str, layout: Option<&str>) -> Option<u32> {
    Some(match (level, layout) {
        ("raid5", Some("left-symmetric" | "left-asymmetric" | "parity-last")) => 0,
        ("raid5", Some("right-symmetric" | "right-asymmetric" | "parity-first"))
        | ("raid6", Some("left-symmetric" | "left-asymmetric")) => 1,
        ("raid6", Some("right-symmetric" | "right-asymmetric")) => 2,
        ("raid5" | "raid6", _) => return None,
        _ => 0,
    })
}

fn member(text: &str) -> Option<Member> {
    let values: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(" : ")).map(|(key, value)| (key.trim(), value.trim())).collect();
    let value = |key: &str| values.get(key).copied();
    let number = |key: &str| value(key)?.split(' ').next()?.parse::<u64>().ok();
    let sectors = |key: &str| number(key).map(|count| Bytes(count * 512));
    let role = match value("Device Role") {
        Some("spare") => Role::Spare,
        Some(told) => {
            told.strip_prefix("Active device ").and_then(|n| n.parse().ok()).map_or(Role::Other, Role::Active)
        }
        None => Role::Other,
    };
    let array = value("Array UUID").or_else(|| value("UUID"))?.split(' ').next()?.to_owned();
    let is_alive = |mark: &char| *mark == 'A' || *mark == 'R';
    let state = value("Array State").and_then(|told| told.split(' ').next());
    Some(Member {
        array,
        version: value("Version")?.to_owned(),
        name: value("Name").and_then(|told| present(told.split("  (").next().unwrap_or(told))),
        level: value("Raid Level")?.to_owned(),
        layout: value("Layout").map(str::to_owned),
        devices: u32::try_from(number("Raid Devices")?).ok()?,
        alive: state.and_then(|marks| u32::try_from(marks.chars().filter(is_alive).count()).ok()),
        size: number("Array Size").map(|kib| Bytes(kib << 10)),
        own_size: sectors("Avail Dev Size").unwrap_or_default(),
        chunk: value("Chunk Size")
            .and_then(|told| told.strip_suffix('K')?.parse().ok())
            .map(|kib: u64| Bytes(kib << 10)),
        data_offset: sectors("Data Offset").unwrap_or_default(),
        events: number("Events").unwrap_or_default(),
        role,
        settled: !["Reshape pos'n", "Recovery Offset", "Delta Devices"].iter().any(|key| values.contains_key(key)),
    })
}
