//! The questions about where backups go.

use super::network::{YES, no_or_yes};
use super::question::{Item, Question, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{Label, Password, RepositoryUrl, Role, Username};
use crate::setup::roles::place;

/// So many are enough for anybody who types them.
const REPOSITORIES: usize = 4;

/// The words for kinds of places.
const NONE: &str = "none";
const FOLDER: &str = "folder";
const REST: &str = "rest";

/// The name of the one in a folder, which needs no other.
const DISK: &str = "disk";

/// A place for backups.
pub(super) struct Repository<'a> {
    /// What it is called.
    pub(super) name: &'a str,
    /// Where it is.
    pub(super) url: String,
    /// Which it is, counted from 0.
    pub(super) number: usize,
}

/// Asks; `writable` are the roles of disks that can be written to.
pub(super) fn ask(walk: &mut Walk<'_>, writable: &[Role]) {
    let mut names = vec![DISK.to_owned()];
    let mut urls = Vec::new();
    let mut folder = writable.contains(&Role::Backups);
    for number in 0..REPOSITORIES {
        let mut items = vec![Item::new(NONE, if number == 0 { "nowhere" } else { "nowhere else" })];
        if folder {
            items.push(Item::new(FOLDER, format!("{}, on the disk for backups", in_folder())));
        }
        items.push(Item::new(REST, "a restic REST server, by https"));
        let (about, say) = match number {
            0 => ("backup".to_owned(), "Where do backups go? This version keeps it in mind and makes none yet."),
            _ => (format!("backup {}", number + 1), "And where else?"),
        };
        let kind = walk.ask(
            Question::one(Id::Repository(number), about, items)
                .say(say)
                .help(
                    "A backup on a disk of this machine is lost with the machine: one elsewhere is better, and both are \
                     best. A place by SFTP, with its long key, and folders of media and downloads that are backed up as \
                     well, can be given in an answer file only. Passwords of repositories are made, and stand in the \
                     recovery kit.",
                )
                .default(NONE),
        );
        match kind.as_str() {
            FOLDER => folder = false,
            REST => rest(walk, number, &mut names, &mut urls),
            _ => break,
        }
    }
}

fn in_folder() -> String {
    format!("{}/hearth", place(Role::Backups))
}

fn rest(walk: &mut Walk<'_>, number: usize, names: &mut Vec<String>, urls: &mut Vec<String>) {
    let of = |what: &str| if number == 0 { format!("backup {what}") } else { format!("backup {} {what}", number + 1) };
    let taken = urls.clone();
    let url = move |text: &str| {
        // restic writes `rest:` before what a browser would take.
        let address = text.strip_prefix("rest:").unwrap_or(text);
        if !address.starts_with("https://") {
            return Err("write it like https://nas.example:8000/hearth".to_owned());
        }
        let url = parsed::<RepositoryUrl>(&format!("rest:{address}"))?;
        if taken.contains(&url) { Err("that one is listed already".to_owned()) } else { Ok(url) }
    };
    urls.push(
        walk.ask(
            Question::text(Id::RepositoryUrl(number), of("address"), url)
                .say("Which address has the server, with the folder in it? Like https://nas.example:8000/hearth"),
        ),
    );
    let taken = names.clone();
    let name = move |text: &str| {
        let name = parsed::<Label>(text)?;
        if taken.contains(&name) { Err("another one has that name".to_owned()) } else { Ok(name) }
    };
    names.push(
        walk.ask(
            Question::text(Id::RepositoryName(number), of("name"), name)
                .say("What do you call that place? Small letters, digits and hyphens."),
        ),
    );
    let user = walk.ask(
        Question::text(Id::RepositoryUser(number), of("user"), parsed::<Username>)
            .say("Which user name does the server want?")
            .or_none("none"),
    );
    if !user.is_empty() {
        walk.ask(
            Question::hidden(Id::RepositoryPassword(number), of("password"), parsed::<Password>)
                .say("And the password? It does not show here."),
        );
    }
    walk.ask(
        Question::one(Id::AppendOnly(number), of("rule"), no_or_yes("no", "yes"))
            .say("Does the server let this machine only add backups, and never remove any?")
            .help("With rest-server that is `--append-only`. Then whoever breaks in here cannot remove old backups.")
            .default("no"),
    );
}

/// Whether the server lets this machine only add backups.
pub(super) fn append_only(walk: &Walk<'_>, number: usize) -> bool {
    walk.reply(&Id::AppendOnly(number)) == Some(YES)
}

/// Every place that was given.
pub(super) fn repositories<'a>(walk: &Walk<'a>) -> Vec<Repository<'a>> {
    let one = |number| match walk.reply(&Id::Repository(number))? {
        FOLDER => Some(Repository { name: DISK, url: in_folder(), number }),
        REST => Some(Repository {
            name: walk.reply(&Id::RepositoryName(number))?,
            url: walk.reply(&Id::RepositoryUrl(number))?.to_owned(),
            number,
        }),
        _ => None,
    };
    (0..REPOSITORIES).map_while(one).collect()
}
