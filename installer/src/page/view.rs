//! What the page says, as lines made from facts. Nothing here reads or writes.

use super::answers::AnswerFile;
use super::text::{WIDTH, count, cut, wrap};
use super::{Place, door};
use crate::claim::Door;
use crate::facts::{Adapter, Disk, Duplicate, Facts, Firmware, Mode, Nic, Partition, Volume, VolumeKind};
use crate::manifest::Bundle;

/// How many lines the page may have, with its prompt, before it sheds what the details show too.
const HEIGHT: usize = 23;

/// What Hearth is doing on this machine: it decides what the page may offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Setup mode: nothing is changed until somebody approves a plan.
    Setup,
    /// The same, beside a disk that a Hearth was set up on.
    Repairable,
    /// The approved plan could not be carried out; the text says why.
    Stopped(String),
    /// Everyday running; the text says how `data` is.
    Running(DataState),
}

/// How `data` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataState {
    /// In use.
    Mounted,
    /// Encrypted, and not open yet; the text says what is typed.
    Locked(&'static str),
    /// Not in use; the text names the cause.
    Missing(String),
}

/// A line of the menu: the number to type is its place, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Ask the questions, and set the machine up as they are answered.
    SetUp,
    /// Go on to the plan for running from this disk.
    RunHere,
    /// Go on to the plan for writing the system of another disk anew.
    Repair,
    /// Show everything that is known about the machine.
    Details,
    /// Start the machine again.
    Restart,
    /// Switch the machine off.
    PowerOff,
}

impl Choice {
    /// What can be chosen in `situation`: only what truly works there.
    pub fn offered(situation: &Situation) -> &'static [Self] {
        match situation {
            Situation::Setup => &[Self::SetUp, Self::RunHere, Self::Details, Self::Restart, Self::PowerOff],
            Situation::Repairable => {
                &[Self::SetUp, Self::RunHere, Self::Repair, Self::Details, Self::Restart, Self::PowerOff]
            }
            Situation::Stopped(_) | Situation::Running(_) => &[Self::Details, Self::Restart, Self::PowerOff],
        }
    }

    /// Its words in the menu.
    pub fn words(self, situation: &Situation) -> &'static str {
        match (self, situation) {
            (Self::SetUp, _) => "Set up this machine",
            (Self::RunHere, _) => "Run from this disk",
            (Self::Repair, _) => "Repair: write the system of another disk anew, keep its data",
            (Self::Details, _) => "Show details",
            (Self::Restart, Situation::Stopped(_)) => "Restart and try again",
            (Self::Restart, _) => "Restart",
            (Self::PowerOff, _) => "Power off",
        }
    }
}

/// The whole page, with how SSH stands before setup, as it is told at that place.
pub fn page(facts: &Facts, situation: &Situation, answers: &AnswerFile, door: Option<(&Door, Place)>) -> Vec<String> {
    let full = compose(facts, situation, answers, door, true);
    if full.len() < HEIGHT {
        return full;
    }
    let mut brief = compose(facts, situation, answers, door, false);
    if brief.len() > HEIGHT {
        brief.retain(|line| !line.starts_with(SERVICES));
    }
    brief
}

/// The line that is missed least: the details have it.
const SERVICES: &str = "  services ";

fn compose(
    facts: &Facts,
    situation: &Situation,
    answers: &AnswerFile,
    door: Option<(&Door, Place)>,
    full: bool,
) -> Vec<String> {
    let mut out = title(facts, situation, answers);
    if let Some((door, place)) = door {
        out.extend(door::lines(door, place, facts, full));
    }
    out.extend(answers.lines(full));
    out.extend(machine(facts, full));
    out.push(format!("Disks ({})", facts.disks.len()));
    for disk in &facts.disks {
        out.extend(disk_lines(disk, full));
    }
    out.push(format!("Network ({})", facts.nics.len()));
    out.extend(facts.nics.iter().flat_map(nic_lines));
    if facts.is_offline() {
        out.extend(offline_lines(facts, full));
    }
    out.extend(facts.duplicates.iter().flat_map(|duplicate| duplicate_lines(facts, duplicate)));
    if full {
        out.extend([String::new(), "How to continue".to_owned()]);
    }
    out.extend(menu(situation));
    out
}

/// The first lines: which Hearth this is and what it is doing.
fn title(facts: &Facts, situation: &Situation, answers: &AnswerFile) -> Vec<String> {
    let mut out = vec![String::new()];
    let head = format!("Hearth {}", facts.version());
    match situation {
        // What follows says which disk was.
        Situation::Setup | Situation::Repairable if answers.has_written() => out.push(format!("{head} - setup.")),
        Situation::Setup | Situation::Repairable => {
            out.extend(wrap("", &format!("{head} - setup. Nothing on any disk has been changed.")));
        }
        Situation::Stopped(why) => {
            out.extend(wrap("", &format!("{head} - stopped while preparing this disk.")));
            out.extend(wrap("  why  ", why));
        }
        Situation::Running(state) => {
            out.extend(wrap("", &format!("{head} - running.")));
            out.extend(data_lines(state));
        }
    }
    out
}

fn data_lines(state: &DataState) -> Vec<String> {
    match state {
        DataState::Mounted => Vec::new(),
        DataState::Locked(typed) => wrap("  data   ", &locked(typed)),
        DataState::Missing(why) => wrap("  data   ", &format!("MISSING, so Docker stays down: {why}")),
    }
}

fn machine(facts: &Facts, full: bool) -> Vec<String> {
    let mut out = Vec::new();
    let names: Vec<&str> =
        [&facts.machine.vendor, &facts.machine.product].into_iter().flatten().map(String::as_str).collect();
    let title = if names.is_empty() { "its maker gave it no name".to_owned() } else { names.join(" ") };
    out.extend(wrap("  machine  ", &format!("{title}, started by {}", firmware(facts.firmware))));
    out.extend(wrap("  CPU      ", &processor(facts, full)));
    if let Some(image) = &facts.image {
        let Bundle::Absent { reason } = &image.bundle;
        let reason = if full { format!(" ({reason})") } else { String::new() };
        let text = format!("none in this image, they come from the internet{reason}");
        out.extend(wrap(SERVICES, &text));
    }
    out
}

fn firmware(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI, Secure Boot off",
        Firmware::UefiSecureBoot => "UEFI, Secure Boot on",
    }
}

/// The processor and the memory; unless `full`, the model is cut so that all of it is one line.
fn processor(facts: &Facts, full: bool) -> String {
    let mut text = String::new();
    if let Some(cores) = facts.cpu.cores {
        text += &format!(", {}", count(cores as usize, "core"));
    }
    text += &format!(", {}", count(facts.cpu.threads as usize, "thread"));
    if let Some(memory) = facts.memory {
        text += &format!("; memory {memory}");
    }
    let room = if full { usize::MAX } else { (WIDTH - "  CPU      ".len()).saturating_sub(text.len()) };
    cut(facts.cpu.model.as_deref().unwrap_or("model not told"), room) + &text
}

fn disk_lines(disk: &Disk, full: bool) -> Vec<String> {
    let size = disk.size.to_string();
    let first = format!("  {:<8} {size:>9}  ", cut(&disk.name, 12));
    if !full {
        let what = if disk.boot_medium { "Hearth runs from it; " } else { "" };
        return vec![cut(&format!("{first}{what}{}", identity(disk)), WIDTH)];
    }
    let mut out = wrap(&first, &identity(disk));
    out.extend(wrap(&" ".repeat(first.len()), &contents(disk)));
    out
}

/// Model, serial number and the way it is connected: what is printed on the disk's own label.
pub fn identity(disk: &Disk) -> String {
    let vendor = disk
        .vendor
        .as_deref()
        .filter(|vendor| !disk.model.as_deref().unwrap_or("").to_lowercase().starts_with(&vendor.to_lowercase()));
    let name: Vec<&str> = [vendor, disk.model.as_deref()].into_iter().flatten().collect();
    let name = if name.is_empty() { "no model told".to_owned() } else { cut(&name.join(" "), 40) };
    let serial = match &disk.serial {
        Some(serial) => format!("serial {}", cut(serial, 24)),
        None => "no serial number".to_owned(),
    };
    let mut out = format!("{name}, {serial}");
    if let Some(transport) = &disk.transport {
        out += &format!(", {transport}");
    }
    if disk.read_only {
        out += ", read-only";
    }
    out
}

/// What is on the disk, in one sentence.
pub fn contents(disk: &Disk) -> String {
    if disk.boot_medium {
        return "Hearth runs from this disk".to_owned();
    }
    if disk.has_hearth() {
        return "another copy of Hearth".to_owned();
    }
    if let Some(content) = &disk.content {
        return format!("{}, on the whole disk", described(&content.kind, content.label.as_deref()));
    }
    let told: Vec<String> = disk.partitions.iter().map(partition).collect();
    match (&disk.table, told.as_slice()) {
        (None, []) => "empty".to_owned(),
        (Some(table), []) => format!("a {} partition table without partitions", table.kind),
        (_, told) if told.len() > 4 => {
            format!("{}, and {} more", told[..4].join(", "), count(told.len() - 4, "partition"))
        }
        (_, told) => told.join(", "),
    }
}

fn partition(part: &Partition) -> String {
    match (&part.content, &part.name) {
        (Some(content), _) => described(&content.kind, content.label.as_deref()),
        (None, Some(name)) => cut(name, 30),
        (None, None) => "something unknown".to_owned(),
    }
}

fn described(kind: &str, label: Option<&str>) -> String {
    let kind = match kind {
        "linux_raid_member" => "part of a RAID array",
        "LVM2_member" => "part of an LVM volume group",
        "zfs_member" => "part of a ZFS pool",
        "crypto_LUKS" => "LUKS (encrypted)",
        "BitLocker" => "BitLocker (Windows, encrypted)",
        other => other,
    };
    match label {
        Some(label) => format!("{kind} \"{}\"", cut(label, 20)),
        None => kind.to_owned(),
    }
}

fn nic_lines(nic: &Nic) -> Vec<String> {
    let first = format!("  {:<8} ", cut(&nic.name, 15));
    let mac = nic.mac.as_deref().unwrap_or("no MAC");
    let link = match (nic.wireless, nic.link) {
        (_, Some(true)) => "no address yet",
        (true, _) => "Wi-Fi, not connected",
        (false, _) => "no link: is the cable plugged in?",
    };
    let addresses: Vec<String> = routable(nic);
    let state = if addresses.is_empty() { link.to_owned() } else { addresses.join(", ") };
    wrap(&first, &format!("{mac}  {state}"))
}

/// What stands in the way of the network; it is told only where there is none.
fn offline_lines(facts: &Facts, full: bool) -> Vec<String> {
    if facts.nics.is_empty() && facts.adapters.is_empty() {
        return wrap("  ", "No network card was found, nor an adapter that could be one. Setup goes on without.");
    }
    let told = facts.adapters.iter().map(Adapter::told);
    told.flat_map(|told| if full { wrap("  ", &told) } else { vec![cut(&format!("  {told}"), WIDTH)] }).collect()
}

fn routable(nic: &Nic) -> Vec<String> {
    nic.addresses.iter().filter(|address| !address.link_local).map(|address| address.ip.to_string()).collect()
}

fn duplicate_lines(facts: &Facts, duplicate: &Duplicate) -> Vec<String> {
    let named: Vec<String> = duplicate
        .disks
        .iter()
        .map(|name| match facts.disks.iter().find(|disk| &disk.name == name) {
            Some(disk) => format!("{name} ({})", identity(disk)),
            None => name.clone(),
        })
        .collect();
    let number = if named.len() == 2 { "Two".to_owned() } else { named.len().to_string() };
    wrap(
        "WARNING: ",
        &format!(
            "{number} disks hold the same copy of Hearth: {}. The machine cannot tell them apart. Remove one copy.",
            named.join(" and ")
        ),
    )
}

fn menu(situation: &Situation) -> Vec<String> {
    let choices = Choice::offered(situation).iter().enumerate();
    choices.map(|(i, choice)| format!("  {}) {}", i + 1, choice.words(situation))).collect()
}

/// What the page ends with; the answer is typed behind it.
pub fn prompt(situation: &Situation, reopens: bool) -> String {
    let last = Choice::offered(situation).len();
    let alone = if reopens { "opens SSH again" } else { "looks again" };
    format!("Type a number from 1 to {last} and press Enter (Enter alone {alone}): ")
}

/// What a wrong answer gets.
pub fn wrong(answer: &str, situation: &Situation) -> String {
    let last = Choice::offered(situation).len();
    format!("\"{}\" is not on the menu: type a number from 1 to {last}.", cut(answer, 16))
}

/// The few lines above a login: which Hearth, where it can be reached, how it is.
pub fn head(facts: &Facts, hostname: &str, situation: &Situation) -> Vec<String> {
    let mut out = wrap("", &format!("Hearth {} on {hostname}", facts.version()));
    let mut addresses: Vec<String> = Vec::new();
    for nic in &facts.nics {
        addresses.extend(routable(nic).iter().map(|address| format!("{address} ({})", nic.name)));
    }
    if addresses.is_empty() {
        out.push("  address none yet".to_owned());
        out.extend(facts.adapters.iter().flat_map(|adapter| wrap("          ", &adapter.told())));
    } else {
        out.extend(wrap("  address ", &addresses.join(", ")));
    }
    match situation {
        Situation::Running(DataState::Mounted) => out.push("  state   running, data is mounted".to_owned()),
        Situation::Running(DataState::Locked(typed)) => {
            out.extend(wrap("  state   ", &format!("data is {}", locked(typed))));
        }
        Situation::Running(DataState::Missing(why)) => {
            out.extend(wrap("  state   ", &format!("data is MISSING, so Docker stays down: {why}")));
        }
        Situation::Setup | Situation::Repairable => {
            out.push("  state   setup: nothing on any disk has been changed".to_owned());
        }
        Situation::Stopped(why) => out.extend(wrap("  state   ", &format!("stopped while preparing this disk: {why}"))),
    }
    out
}

/// What to do about locked disks.
fn locked(typed: &str) -> String {
    format!(
        "LOCKED, so Docker stays down. Type {typed} at the console, or log in, by SSH too, and \
         run `sudo hearth unlock`."
    )
}

/// Everything that is known about the machine, for people.
pub fn details(facts: &Facts) -> Vec<String> {
    let mut out = vec![format!("Hearth {}", facts.version())];
    if let Some(image) = &facts.image {
        out.push(format!("  image id  {}", image.image_id));
    }
    if let Some(mode) = facts.mode {
        let mode = match mode {
            Mode::Setup => "setup",
            Mode::Adopt => "adopt",
            Mode::Normal => "normal",
            Mode::Recovery => "recovery",
            Mode::Reset => "reset",
        };
        out.push(format!("  mode      {mode}"));
    }
    out.extend(machine(facts, true));
    for disk in &facts.disks {
        out.push(String::new());
        out.extend(disk_details(disk));
    }
    for volume in &facts.volumes {
        out.push(String::new());
        out.extend(volume_details(volume));
    }
    for nic in &facts.nics {
        out.push(String::new());
        out.extend(nic_details(nic));
    }
    for adapter in &facts.adapters {
        out.push(String::new());
        out.extend(wrap("Network adapter ", &adapter.told()));
        out.extend(adapter.firmware.iter().flat_map(|file| wrap("  missing     ", file)));
    }
    for duplicate in &facts.duplicates {
        out.push(String::new());
        out.extend(duplicate_lines(facts, duplicate));
    }
    out
}

fn disk_details(disk: &Disk) -> Vec<String> {
    let mut out = wrap("Disk ", &format!("{}: {}, {}", disk.name, disk.size, contents(disk)));
    let mut row = |what: &str, value: Option<&str>| {
        if let Some(value) = value {
            out.extend(wrap(&format!("  {what:<11} "), value));
        }
    };
    row("vendor", disk.vendor.as_deref());
    row("model", disk.model.as_deref());
    row("serial", disk.serial.as_deref());
    row("wwn", disk.wwn.as_deref());
    row("by id", disk.by_id.first().map(String::as_str));
    row("connection", disk.transport.as_deref());
    row("sectors", Some(&format!("{} logical, {} physical", disk.logical_sector.0, disk.physical_sector.0)));
    let traits =
        [(disk.removable, "removable"), (disk.read_only, "read-only"), (disk.rotational == Some(true), "rotating")];
    let traits: Vec<&str> = traits.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    row("kind", (!traits.is_empty()).then(|| traits.join(", ")).as_deref());
    if let Some(table) = &disk.table {
        row("table", Some(&format!("{} {}", table.kind, table.id.as_deref().unwrap_or(""))));
    }
    for part in &disk.partitions {
        let number = part.number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let mut text = format!("{}, {}", part.size, partition(part));
        if let (Some(name), true) = (&part.name, part.content.is_some()) {
            text += &format!(", named \"{name}\"");
        }
        for holder in &part.holders {
            text += &format!(", held by {} ({})", holder.name, holder.kind);
        }
        let mounts = part.mountpoints.iter().chain(part.holders.iter().flat_map(|holder| &holder.mountpoints));
        let mounts: Vec<&str> = mounts.map(String::as_str).collect();
        if !mounts.is_empty() {
            text += &format!(", mounted at {}", mounts.join(" "));
        }
        out.extend(wrap(&format!("  {number:>3}  "), &text));
    }
    out
}

fn volume_details(volume: &Volume) -> Vec<String> {
    let word = match volume.kind {
        VolumeKind::Md => "Array ",
        VolumeKind::Lvm => "Volume ",
    };
    let inside = volume
        .content
        .as_ref()
        .map_or_else(|| "nothing known in it".to_owned(), |content| described(&content.kind, content.label.as_deref()));
    let mut out = wrap(word, &format!("{}: {}, {}, {inside}", volume.name, volume.size, volume.level));
    let mut row = |what: &str, value: &str| out.extend(wrap(&format!("  {what:<11} "), value));
    row("answer file", &format!("disk = {{ {} }}", volume.key()));
    row("id", &volume.id);
    row("on", &volume.members.join(", "));
    if volume.active {
        row("state", "running");
    }
    if let Some(fault) = &volume.fault {
        row("not usable", &fault.to_string());
    }
    out
}

fn nic_details(nic: &Nic) -> Vec<String> {
    let mut out = wrap("Network card ", &nic.name);
    let mut row = |what: &str, value: &str| out.extend(wrap(&format!("  {what:<11} "), value));
    row("MAC", nic.mac.as_deref().unwrap_or("not told"));
    if let Some(driver) = &nic.driver {
        row("driver", driver);
    }
    let link = match nic.link {
        Some(true) => "up",
        Some(false) => "down",
        None => "switched off",
    };
    row("link", link);
    for address in &nic.addresses {
        let scope = if address.link_local { ", on this link only" } else { "" };
        row("address", &format!("{}/{}{scope}", address.ip, address.prefix));
    }
    out
}

#[cfg(test)]
mod tests;
