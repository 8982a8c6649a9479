//! The questions about disks: which one Hearth runs from, which are for media, downloads and
//! backups, and where the paper goes that opens the machine again. A disk that nothing may be done
//! with is not asked about.

use super::question::{Item, Question};
use super::replies::Id;
use super::walk::Walk;
use super::{backups, encryption};
use crate::answers::{ById, Prepare, Role};
use crate::facts::{Disk, Facts};
use crate::flash::protected;
use crate::layout::{ALIGNMENT, MIN_DATA, Part, ROOT_GROWTH};
use crate::page::{contents, identity};
use crate::setup::roles::{LEAST, What, adopted, place};

/// Every role, with what it is.
const ROLES: [(Role, &str); 3] = [
    (Role::Media, "media: films, music, photos"),
    (Role::Downloads, "downloads"),
    (Role::Backups, "backups of this machine"),
];

/// The name of the recovery kit's file.
const KIT: &str = "recovery-kit.txt";

/// The word for the disk that the machine was started from, as in the answer file.
pub(super) const THIS: &str = "this";

/// A disk that may have a role.
pub(super) struct Candidate<'a> {
    /// The disk.
    disk: &'a Disk,
    /// Its lasting name.
    pub(super) name: &'a str,
    /// Whether it may be formatted.
    erasable: bool,
}

/// The disks that may have a role, in the order of the facts.
pub(super) fn candidates(facts: &Facts) -> Vec<Candidate<'_>> {
    facts.disks.iter().filter_map(|disk| candidate(disk, facts)).collect()
}

fn candidate<'a>(disk: &'a Disk, facts: &Facts) -> Option<Candidate<'a>> {
    let name = disk.by_id.iter().find(|name| name.parse::<ById>().is_ok())?;
    // A machine that was set up lives there: nobody erases that by a question.
    let data = Some(Part::Data.name());
    let lived_in = disk.has_hearth() && disk.partitions.iter().any(|part| part.name.as_deref() == data);
    let erasable = disk.size >= LEAST && !lived_in;
    let usable = protected(&facts.disks, disk).is_empty() && (erasable || adopted(disk, facts, &[Role::Media]).is_ok());
    usable.then_some(Candidate { disk, name, erasable })
}

pub(super) fn ask(walk: &mut Walk<'_>) {
    let facts = walk.ground.facts;
    let system = system(walk);
    let mut free: Vec<Role> = ROLES.map(|(role, _)| role).to_vec();
    // What holds a role that can be written to.
    let mut writable = Vec::new();
    for candidate in candidates(facts).into_iter().filter(|candidate| candidate.name != system) {
        if free.is_empty() {
            break;
        }
        let given = self::use_of(walk, &candidate, &free);
        if given.is_empty() {
            continue;
        }
        free.retain(|role| !given.contains(role));
        let how = prepare(walk, &candidate, &given);
        let only_read = how == Prepare::Adopt.word()
            && matches!(adopted(candidate.disk, facts, &given), Ok(What::Adopt { read_only: true, .. }));
        if !only_read {
            writable.extend(given);
        }
    }
    let encrypted = encryption::ask(walk);
    backups::ask(walk, &writable);
    kit(walk, &writable, encrypted);
}

/// Asks which disk Hearth runs from, if there is a choice; gives its lasting name, or that it stays.
fn system(walk: &mut Walk<'_>) -> String {
    let facts = walk.ground.facts;
    let Some(boot) = facts.boot_disk() else { return THIS.to_owned() };
    let root = boot.partitions.iter().find(|part| part.number == Some(Part::RootA.number()));
    let Some(end) = root.and_then(|root| Some(root.start? + root.size)) else { return THIS.to_owned() };
    // As large as what the plan makes of it; the last is for the second partition table.
    let least = end + ROOT_GROWTH + ALIGNMENT + MIN_DATA + ALIGNMENT;
    let able = |candidate: &Candidate<'_>| {
        let Candidate { disk, erasable, .. } = *candidate;
        erasable && disk.size >= least && disk.logical_sector == boot.logical_sector
    };
    let mut items = vec![Item::new(THIS, format!("this one, which stays in: {}, {}", identity(boot), boot.size))];
    items.extend(candidates(facts).iter().filter(|candidate| able(candidate)).map(
        |Candidate { disk, name, .. }| {
            Item::new(*name, format!("ERASED: {}, {}, now on it: {}", identity(disk), disk.size, contents(disk)))
        },
    ));
    if items.len() == 1 {
        return THIS.to_owned();
    }
    let stick = boot.transport.as_deref() == Some("usb");
    let question = Question::one(Id::SystemDisk, "system disk", items)
        .say("Which disk shall Hearth run from? Another one is erased, and becomes a copy of this one.")
        .help(
            "Hearth, the stacks and what no other disk is for lie there: take a fast one, best an SSD, that stays in \
             the machine. After the copy the machine starts from it, and a stick can be pulled out.",
        );
    // Sticks wear out: nobody runs from one by pressing Enter.
    walk.ask(if stick { question } else { question.default(THIS) })
}

/// The roles in a reply.
pub(super) fn roles(words: &str) -> Vec<Role> {
    let all = ROLES.map(|(role, _)| role);
    all.into_iter().filter(|role| words.split(' ').any(|word| word == role.word())).collect()
}

fn use_of<'a>(walk: &mut Walk<'a>, candidate: &Candidate<'a>, free: &[Role]) -> Vec<Role> {
    let Candidate { disk, name, erasable } = *candidate;
    let facts = walk.ground.facts;
    let items: Vec<Item> = ROLES
        .iter()
        .filter(|(role, _)| free.contains(role))
        .map(|(role, told)| Item::new(role.word(), *told))
        .collect();
    let rule = move |words: &[&str]| {
        let given = roles(&words.join(" "));
        match adopted(disk, facts, &given) {
            Err(why) if !given.is_empty() && !erasable => Err(why),
            _ => Ok(()),
        }
    };
    let words = walk.ask(
        Question::several(Id::Use(name.to_owned()), format!("disk {}", disk.name), items, rule)
            .say(format!("{}, {}", identity(disk), disk.size))
            .say(format!("Now on it: {}.", contents(disk)))
            .say("What shall this disk be for?")
            .help(
                "A role that no disk has is a folder on the system disk. Several roles on one disk share its space, so \
                 that a download becomes media without being copied. A disk without a role is not touched.",
            )
            .default(""),
    );
    roles(&words)
}

/// Asks what is done to the disk; gives the word of it.
fn prepare(walk: &mut Walk<'_>, candidate: &Candidate<'_>, given: &[Role]) -> String {
    let Candidate { disk, name, erasable } = *candidate;
    let kept = adopted(disk, walk.ground.facts, given);
    let mut items = Vec::new();
    let mut say = vec!["What is done with what is on it?".to_owned()];
    match &kept {
        Ok(What::Adopt { file_system, read_only, .. }) => {
            let how = if *read_only { "kept, and only read" } else { "kept, and used as it is" };
            items.push(Item::new(Prepare::Adopt.word(), format!("its {file_system} is {how}")));
        }
        Ok(_) => {}
        Err(why) => say.insert(0, format!("It cannot be kept: {why}.")),
    }
    if erasable {
        items.push(Item::new(Prepare::Erase.word(), "ERASED: all that is on it is lost, and it gets an empty ext4"));
    }
    let mut question = Question::one(Id::Prepare(name.to_owned()), format!("contents of {}", disk.name), items);
    for text in say {
        question = question.say(text);
    }
    // Nobody loses a disk by pressing Enter.
    walk.ask(if kept.is_ok() { question.default(Prepare::Adopt.word()) } else { question })
}

fn kit(walk: &mut Walk<'_>, writable: &[Role], encrypted: bool) {
    let on_disk = |role: &Role| {
        let file = format!("{}/{KIT}", place(*role));
        Item::new(&file, format!("{file}, on the disk for {}", role.word()))
    };
    let mut items: Vec<Item> = writable.iter().map(on_disk).collect();
    if items.is_empty() {
        let file = format!("{}/{KIT}", place(Role::Backups));
        items.push(Item::new(&file, format!("{file}, a folder on the system disk")));
    }
    let first = items[0].word.clone();
    items.push(Item::new("declined", "nowhere: I do without"));
    let mut question = Question::one(Id::Kit, "recovery kit", items).say("Where is the recovery kit written to?").help(
        "The kit is one page: the password of the boot menu, the key that opens encrypted disks, and later what opens \
             backups. Move it to a safe place that is not this machine.",
    );
    if encrypted {
        question = question.say(
            "It tells the key that opens the disks if all else fails. Copy it to another place before the next start: on \
             an encrypted disk it would be locked in with the rest.",
        );
    }
    walk.ask(question.default(first));
}
