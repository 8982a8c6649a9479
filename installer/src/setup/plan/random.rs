//! Plans for machines that nobody has: disks of the whole zoo, thrown together, renamed and
//! spoilt, and answers that mean them well or badly. Whatever comes, no plan erases what is
//! protected, and the kernel's names decide nothing. What is protected is said here once more,
//! in other words than the planner's.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::tests::{answers_of, surveys};
use super::*;
use crate::facts::volumes::pieces;
use crate::facts::{Content, Fault, Holder, Volume, VolumeKind, zoo};
use crate::page::text::WIDTH;
use crate::setup::roles::What;
use crate::units::Bytes;

/// What is done to a disk of the zoo before it goes into a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoilt {
    No,
    Mounted,
    Swapped,
    Held,
    ReadOnly,
    /// It says the serial number of the disk before it.
    Twin,
    /// It says nothing of itself.
    Mute,
    /// Its contents are a copy of the disk before it.
    Copy,
}

/// How a disk is told from others in the answers.
#[derive(Clone, Copy, Debug)]
enum By {
    Serial,
    StableName,
    Wwn,
    Size,
    Transport,
    /// By the array or the volume that it is part of, if it is.
    Volume,
}

/// What becomes of a role.
#[derive(Clone, Debug)]
struct Wish {
    disk: Index,
    by: By,
    prepare: &'static str,
}

/// A machine and what is asked of it.
#[derive(Clone, Debug)]
struct Case {
    /// The first is the stick that all is started from, with the image on it.
    disks: Vec<(Index, Spoilt)>,
    names: Vec<String>,
    others: Vec<String>,
    setup_mode: bool,
    system: Option<(Index, By)>,
    roles: Vec<Option<Wish>>,
    /// For each formatted disk: its own name, or that of whichever.
    listed: Vec<Option<Index>>,
    more: &'static str,
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![4 => Just(By::Serial), 2 => Just(By::StableName), 1 => Just(By::Wwn), 1 => Just(By::Size), 1 => Just(By::Transport), 5 => Just(By::Volume)]
}

fn case() -> impl Strategy<Value = Case> {
    use Spoilt::{Copy, Held, Mounted, Mute, No, ReadOnly, Swapped, Twin};
    let spoilt = prop_oneof![
        14 => Just(No), 1 => Just(Copy), 1 => Just(Mounted), 1 => Just(Swapped), 1 => Just(Held), 1 => Just(ReadOnly), 1 => Just(Twin), 1 => Just(Mute)
    ];
    let names: Vec<String> =
        ["sda", "sdb", "sdc", "sdd", "sde", "nvme0n1", "nvme1n1", "mmcblk0"].map(str::to_owned).to_vec();
    let prepare = prop_oneof![Just("adopt"), Just("erase"), Just("erase"), Just("directory")];
    let wish = (any::<Index>(), by(), prepare).prop_map(|(disk, by, prepare)| Wish { disk, by, prepare });
    let more = prop_oneof![
        18 => Just(""),
        1 => Just("[encryption]\nunlock = \"passphrase\"\npassphrase = \"not a real passphrase\"\n"),
        1 => Just("[[network.wired]]\nmac = \"02:00:00:00:00:99\"\naddress = \"192.168.1.9/24\"\ngateway = \"192.168.1.1\"\n"),
    ];
    (
        prop::collection::vec((any::<Index>(), spoilt), 1..8),
        (Just(names.clone()).prop_shuffle(), Just(names).prop_shuffle()),
        prop::bool::weighted(0.98),
        prop::option::of((any::<Index>(), by())),
        prop::collection::vec(prop::option::of(wish), 3),
        prop::collection::vec(prop::option::weighted(0.15, any::<Index>()), 4),
        more,
    )
        .prop_map(|(disks, (names, others), setup_mode, system, roles, listed, more)| Case {
            disks,
            names,
            others,
            setup_mode,
            system,
            roles,
            listed,
            more,
        })
}

/// Every disk of the zoo, as if nothing had been started from it.
fn pool() -> Vec<Disk> {
    let mut disks: Vec<Disk> = zoo::names().iter().flat_map(|name| zoo::facts(name).disks).collect();
    // Nearly every machine of the zoo was started from the same image, and copies of it are refused.
    let mut images = 0;
    disks.retain(|disk| {
        images += usize::from(disk.boot_medium);
        !disk.boot_medium || images < 3
    });
    // Pieces of arrays and volume groups are few, and only meet their own kind now and then.
    let pieces: Vec<Disk> = disks.iter().filter(|disk| is_piece(disk)).cloned().collect();
    for _ in 0..6 {
        disks.extend(pieces.iter().cloned());
    }
    for disk in &mut disks {
        disk.boot_medium = false;
        for part in &mut disk.partitions {
            part.mountpoints.retain(|at| at != "/run/hearth/lower" && at != "/");
        }
    }
    disks
}

/// What volumes are made of.
const PIECES: [&str; 2] = ["linux_raid_member", "LVM2_member"];

fn is_piece(disk: &Disk) -> bool {
    let mut found = pieces(disk).filter_map(|(_, content, _)| content);
    found.any(|content| PIECES.contains(&content.kind.as_str()))
}

/// The arrays and volumes that these disks make: pieces with the same id are one, and mirrors have pairs.
fn volumes(disks: &[Disk]) -> Vec<Volume> {
    let mut out: BTreeMap<(VolumeKind, String), Volume> = BTreeMap::new();
    for (device, content, holders) in disks.iter().flat_map(pieces) {
        let Some(Content { kind, id: Some(id), .. }) = content else { continue };
        let Some(which) = PIECES.iter().position(|known| known == kind) else { continue };
        let kind = [VolumeKind::Md, VolumeKind::Lvm][which];
        let word = ["md", "vg/"][which];
        let volume = out.entry((kind, id.clone())).or_insert_with(|| Volume {
            kind,
            name: format!("{word}{}", id.replace('-', "")),
            id: id.clone(),
            level: ["raid1", "linear"][which].to_owned(),
            size: Bytes::gib(10),
            members: Vec::new(),
            fault: None,
            active: false,
            content: Some(Content { kind: "ext4".to_owned(), label: None, id: Some(format!("in {id}")) }),
        });
        volume.members.push(device.to_owned());
        volume.active |= !holders.is_empty();
    }
    for volume in out.values_mut() {
        let there = u32::try_from(volume.members.len()).unwrap();
        let is_whole = volume.kind == VolumeKind::Lvm || there % 2 == 0;
        volume.fault = (!is_whole).then_some(Fault::Missing { there, of: there + 1 });
    }
    out.into_values().collect()
}

/// The disk under another name.
fn called(mut disk: Disk, name: &str) -> Disk {
    let between = if name.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    for part in &mut disk.partitions {
        part.device = format!("{name}{between}{}", part.number.unwrap_or(1));
    }
    disk.path = format!("/dev/{name}");
    name.clone_into(&mut disk.name);
    disk
}

fn spoil(disk: &mut Disk, how: Spoilt, before: Option<&Disk>) {
    let at = |place: &str| vec![place.to_owned()];
    match how {
        Spoilt::No => {}
        Spoilt::Mounted => disk.mountpoints = at("/mnt/x"),
        Spoilt::Swapped => match disk.partitions.first_mut() {
            Some(part) => part.mountpoints = at("[SWAP]"),
            None => disk.mountpoints = at("[SWAP]"),
        },
        Spoilt::Held => {
            disk.holders = vec![Holder {
                name: "md9".to_owned(),
                kind: "raid1".to_owned(),
                size: disk.size,
                content: None,
                mountpoints: Vec::new(),
            }];
        }
        Spoilt::ReadOnly => disk.read_only = true,
        Spoilt::Twin => disk.serial = before.and_then(|disk| disk.serial.clone()).or(disk.serial.take()),
        Spoilt::Copy => {
            if let Some(before) = before {
                let copy = called(before.clone(), &disk.name);
                (disk.table, disk.content, disk.partitions) = (copy.table, copy.content, copy.partitions);
            }
        }
        Spoilt::Mute => {
            (disk.serial, disk.wwn) = (None, None);
            disk.by_id.clear();
        }
    }
}

impl Case {
    /// The machine, its disks called by `names`.
    fn facts(&self, pool: &[Disk], names: &[String]) -> Facts {
        let mut disks: Vec<Disk> = Vec::new();
        let stick = pool.iter().find(|disk| disk.has_hearth()).unwrap();
        for (i, (which, how)) in self.disks.iter().enumerate() {
            let disk = if i == 0 { stick } else { which.get(pool) };
            let mut disk = called(disk.clone(), &names[i]);
            // The same disk is in a machine once; its equal has its own name and number.
            if disks.iter().any(|other| !other.by_id.is_empty() && other.by_id == disk.by_id) {
                disk.serial = disk.serial.map(|serial| format!("{serial}-{i}"));
                disk.by_id = disk.by_id.iter().map(|name| format!("{name}-{i}")).collect();
                disk.wwn = disk.wwn.map(|wwn| format!("{wwn}{i}"));
            }
            spoil(&mut disk, if i == 0 { Spoilt::No } else { *how }, disks.last());
            disk.boot_medium = i == 0;
            disks.push(disk);
        }
        let mut facts = zoo::machine(disks);
        facts.volumes = volumes(&facts.disks);
        facts.mode = Some(if self.setup_mode { Mode::Setup } else { Mode::Normal });
        facts
    }

    /// The answers, as text: they mean the disks by what the machine tells of them.
    fn answers(&self, facts: &Facts, names: &[String]) -> String {
        let disk = |index: &Index| {
            // The stick is meant now and then.
            let count = self.disks.len();
            let at = index.index(4 * count);
            let name = &names[if at == 0 { 0 } else { (at % count).max(1).min(count - 1) }];
            facts.disks.iter().find(|disk| &disk.name == name).unwrap()
        };
        let mut formatted: Vec<&Disk> = Vec::new();
        let system = self.system.as_ref().map_or("\"this\"".to_owned(), |(index, by)| {
            formatted.push(disk(index));
            selector(facts, disk(index), if let By::Volume = by { By::Serial } else { *by })
        });
        let mut roles = String::new();
        for (role, wish) in ["media", "downloads", "backups"].into_iter().zip(&self.roles) {
            let Some(wish) = wish else { continue };
            let disk = disk(&wish.disk);
            // A volume cannot be erased, which the file alone shows.
            let is_volume = matches!(wish.by, By::Volume) && facts.volumes.iter().any(|volume| volume.on(disk));
            let prepare = if is_volume && wish.prepare == "erase" { "adopt" } else { wish.prepare };
            let selector = match prepare {
                "directory" => String::new(),
                _ => format!("disk = {}\n", selector(facts, disk, wish.by)),
            };
            if prepare == "erase" {
                formatted.push(disk);
            }
            roles += &format!("[[disks]]\nroles = [\"{role}\"]\n{selector}prepare = \"{prepare}\"\n");
        }
        // A disk has several names, and two of them are one disk.
        let listed = formatted.iter().enumerate().filter_map(|(i, disk)| {
            let other = self.listed[i].map(|index| &facts.disks[index.index(facts.disks.len())]);
            let name = other.map_or(disk.by_id.first(), |other| other.by_id.last());
            name.map(|name| format!("\"{name}\""))
        });
        let listed: BTreeSet<String> = listed.collect();
        let listed = listed.into_iter().collect::<Vec<_>>().join(", ");
        format!("erase = [{listed}]\n[system]\nhostname = \"hearth\"\ndisk = {system}\n{roles}{}", self.more)
    }
}

fn selector(facts: &Facts, disk: &Disk, by: By) -> String {
    let size = format!("{{ min-size = \"{0}B\", max-size = \"{0}B\" }}", disk.size.0);
    let serial = disk.serial.as_ref().map(|serial| format!("{{ serial = \"{serial}\" }}"));
    let told = match by {
        By::Serial => serial,
        By::StableName => disk.by_id.first().map(|name| format!("{{ by-id = \"{name}\" }}")),
        By::Wwn => disk.wwn.as_ref().map(|wwn| format!("{{ wwn = \"{wwn}\" }}")),
        By::Size => None,
        By::Volume => match facts.volumes.iter().find(|volume| volume.on(disk)) {
            Some(volume) => Some(format!("{{ {} }}", volume.key())),
            None => serial,
        },
        By::Transport => disk.transport.as_ref().map(|word| format!("{{ transport = \"{word}\" }}")),
    };
    told.unwrap_or(size)
}

/// Whether nobody may erase the disk, whatever the answers say.
fn is_protected(facts: &Facts, disk: &Disk) -> bool {
    let others = || facts.disks.iter().filter(|other| other.name != disk.name);
    let used = |disk: &Disk| {
        let parts = &disk.partitions;
        !disk.mountpoints.is_empty()
            || !disk.holders.is_empty()
            || parts.iter().any(|part| !part.mountpoints.is_empty() || !part.holders.is_empty())
    };
    let set_up = disk.partitions.iter().any(|part| part.name.as_deref() == Some("data") && disk.has_hearth());
    let twin = disk.serial.is_some() && others().any(|other| other.serial == disk.serial);
    disk.boot_medium || disk.read_only || used(disk) || set_up || twin || disk.by_id.is_empty()
}

/// Every id of a file system on a disk.
fn ids(disk: &Disk) -> Vec<&str> {
    let parts = disk.partitions.iter().filter_map(|part| part.content.as_ref());
    disk.content.iter().chain(parts).filter_map(|content| content.id.as_deref()).collect()
}

fn check_plan(facts: &Facts, answers: &Answers, plan: &SetupPlan) -> Result<(), TestCaseError> {
    let disk = |target: &Target| facts.disks.iter().find(|disk| disk.name == target.name).unwrap();
    let listed: Vec<String> = answers.erase.iter().map(ToString::to_string).collect();
    for target in plan.erased() {
        let disk = disk(target);
        prop_assert!(!is_protected(facts, disk), "{} is erased", disk.name);
        prop_assert!(disk.by_id.iter().any(|name| listed.contains(name)), "{} is not listed", disk.name);
    }
    prop_assert_eq!(plan.erased().count(), listed.len(), "each listed name is one erased disk");
    let (mut used, mut members) = (vec![&plan.system.disk.name], BTreeSet::new());
    for role in &plan.roles {
        match &role.what {
            What::Directory => {}
            What::Erase { disk, .. } => used.push(&disk.name),
            What::Adopt { disk: target, id, .. } => {
                used.push(&target.name);
                let holders = facts.disks.iter().filter(|disk| ids(disk).contains(&id.as_str()));
                let names: Vec<&String> = holders.map(|disk| &disk.name).collect();
                prop_assert_eq!(names, [&target.name], "only one disk can be meant by {}", id);
                prop_assert!(!disk(target).boot_medium && !disk(target).read_only && !disk(target).has_hearth());
            }
            What::Assemble { volume, .. } => {
                let found = volume.find(facts).unwrap();
                prop_assert!(found.fault.is_none() && !found.active, "{} is adopted", found);
                prop_assert_eq!(volume.disks.len(), found.disks(&facts.disks).len());
                for target in &volume.disks {
                    prop_assert!(!disk(target).read_only && !disk(target).boot_medium, "{} is used", &target.name);
                    members.insert(&target.name);
                }
            }
        }
    }
    prop_assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len(), "a disk is used twice: {:?}", &used);
    prop_assert!(!used.iter().any(|name| members.contains(name)), "a member has a second use: {:?}", &used);
    let lines = plan.lines(facts);
    prop_assert!(lines.iter().all(|line| line.len() <= WIDTH && line.is_ascii()), "{:?}", &lines);
    let told = lines.iter().filter(|line| line.contains("ERASED: ")).count();
    prop_assert_eq!(told, plan.erased().count());
    Ok(())
}

/// A refusal says which answer it is about, by a key that is in the file.
fn check_refusal(answers: &Answers, refusal: &Refusal) -> Result<(), TestCaseError> {
    let text = refusal.to_string();
    let mut keys = vec![SYSTEM.to_owned(), "erase".to_owned(), "encryption".to_owned()];
    keys.extend((0..answers.disks.len()).map(role_key));
    let named = match refusal {
        // These are about the machine.
        Refusal::NotSetup | Refusal::Containers(_) => true,
        Refusal::Network(_) => text.contains("[[network.wired]]"),
        _ => keys.iter().any(|key| text.starts_with(&format!("`{key}`"))),
    };
    prop_assert!(named, "{}", text);
    Ok(())
}

#[test]
fn no_plan_erases_what_is_protected_and_names_of_the_hour_decide_nothing() {
    let pool = pool();
    let (plans, erased, refused, adopted) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let done = runner.run(&case(), |case| {
        let facts = case.facts(&pool, &case.names);
        // What the file alone shows to be wrong is refused before any plan.
        let Ok(answers) = answers_of(&case.answers(&facts, &case.names)) else { return Ok(()) };
        let found = plan(&facts, &answers, &surveys(&facts));
        prop_assert_eq!(&found, &plan(&facts, &answers, &surveys(&facts)), "planning is pure");
        let other = case.facts(&pool, &case.others);
        let renamed = plan(&other, &answers, &surveys(&other));
        match (&found, &renamed) {
            (Ok(found), Ok(renamed)) => {
                check_plan(&facts, &answers, &found.plan)?;
                prop_assert_eq!(found.plan.digest(), renamed.plan.digest());
                plans.set(plans.get() + 1);
                erased.set(erased.get() + found.plan.erased().count());
                let is_volume = |role: &&RoleDisk| matches!(role.what, What::Assemble { .. });
                adopted.set(adopted.get() + found.plan.roles.iter().filter(is_volume).count());
            }
            (Err(found), Err(renamed)) => {
                let codes = |all: &[Refusal]| all.iter().map(Refusal::code).collect::<Vec<_>>();
                prop_assert_eq!(codes(found), codes(renamed));
                for refusal in found {
                    check_refusal(&answers, refusal)?;
                }
                refused.set(refused.get() + 1);
            }
            _ => prop_assert!(false, "other names, another verdict: {:?} and {:?}", found, renamed),
        }
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("{failure}"));
    let counted = (plans.get(), erased.get(), refused.get(), adopted.get());
    assert!(
        counted.0 > 200 && counted.1 > 100 && counted.2 > 500 && counted.3 > 10,
        "too few of a kind (plans, erased, refused, volumes): {counted:?}"
    );
}
