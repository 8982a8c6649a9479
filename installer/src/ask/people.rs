//! The questions about what runs, and about the person who looks after the machine.

use super::question::{Item, Question, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{DisplayName, EmailAddress, For, LoginName, SshPublicKey, StackName};
use crate::page::text::{capital, cut};

/// What is asked for. "backup" is a page for looking into backups, and an answer file can have it.
const STACKS: [(StackName, &str); 5] = [
    (StackName::Core, "the portal, names and certificates; the others need it"),
    (StackName::Infrastructure, "management of containers, DNS, logs"),
    (StackName::Media, "films, music, downloads"),
    (StackName::Productivity, "files, code, wikis, pages"),
    (StackName::Monitoring, "measurements, graphs, alarms"),
];

/// So many keys are enough for anybody who types them.
const KEYS: usize = 16;

/// So many others, too: more come in by `hearth user add`.
const OTHERS: usize = 15;

/// What somebody may reach, by the groups they are in.
const RIGHTS: [(&str, &str); 2] = [("users", "what is meant for everybody"), ("admins users", "everything")];

/// Whether a stack is among the words of the reply.
pub(super) fn has(stacks: &str, stack: StackName) -> bool {
    stacks.split(' ').any(|word| word == stack.word())
}

pub(super) fn ask(walk: &mut Walk<'_>) {
    let items = STACKS.map(|(stack, told)| Item::new(stack.word(), format!("{}: {told}", stack.word()))).to_vec();
    let core = StackName::Core.word();
    let rule = move |words: &[&str]| match words {
        [] => Ok(()),
        words if words.contains(&core) => Ok(()),
        _ => Err("every stack needs core: choose 1 as well".to_owned()),
    };
    let stacks = walk.ask(
        Question::several(Id::Stacks, "stacks", items, rule)
            .say("Which stacks shall run? This version keeps them in mind and starts none yet.")
            .help("A stack is a set of services that belong together. Without any, the machine is prepared and Docker runs.")
            .default(core),
    );
    let login = walk.ask(
        Question::text(Id::Login, "login name", parsed::<LoginName>)
            .say("Who looks after the machine? The login name, at the console, by SSH and at the portal.")
            .help(
                "Small letters, digits, _ and -, and a letter first. The system's own names, such as root, are taken.",
            ),
    );
    for number in 0..KEYS {
        let (about, say) = match number {
            0 => (
                "SSH key".to_owned(),
                "Which public SSH key may log in? Paste the one line of the file that ends with .pub. Without one \
                 nobody can log in by SSH.",
            ),
            _ => (format!("SSH key {}", number + 1), "Another one?"),
        };
        let key = walk.ask(
            Question::text(Id::SshKey(number), about, parsed::<SshPublicKey>)
                .say(say)
                .help("On your own computer `ssh-keygen -t ed25519` makes a key, and `cat ~/.ssh/id_ed25519.pub` shows its public half.")
                .or_none("none"),
        );
        if key.is_empty() {
            break;
        }
    }
    walk.ask(
        Question::password(Id::ConsolePassword, "console password", For::Console)
            .say("Which password opens the console, and approves what an administrator does? At least 10 characters; they do not show.")
            .help("Four or five words that have nothing to do with each other are good, and easy to type."),
    );
    if has(&stacks, StackName::Core) {
        portal(walk, &login);
        others(walk, login);
    }
}

fn portal(walk: &mut Walk<'_>, login: &str) {
    let question = Question::text(Id::DisplayName, "name at the portal", parsed::<DisplayName>)
        .say("The portal is where people log in with a browser. What is your name there?");
    let name = capital(login);
    walk.ask(if name.is_empty() { question } else { question.default(name) });
    walk.ask(
        Question::text(Id::Email, "e-mail address", parsed::<EmailAddress>)
            .say("And your e-mail address?")
            .help("The portal sends notices there once a mail server is configured."),
    );
    walk.ask(
        Question::password(Id::PortalPassword, "portal password", For::Portal)
            .say("Which password opens the portal? At least 10 characters, and better another one than the console's.")
            .help("It is typed on every device that uses the services, the console's only at this machine."),
    );
}

/// Asks for the other people of the portal, until nobody is left.
fn others(walk: &mut Walk<'_>, login: String) {
    let mut taken = vec![login];
    for number in 0..OTHERS {
        let (about, say) = match number {
            0 => ("person".to_owned(), "Who else shall use the portal? Their login name."),
            _ => (format!("person {}", number + 1), "And who else?"),
        };
        let names = taken.clone();
        let new = move |text: &str| {
            let name = parsed::<LoginName>(text)?;
            if names.contains(&name) { Err("somebody has that name already".to_owned()) } else { Ok(name) }
        };
        let name = walk.ask(
            Question::text(Id::Person(number), about, new)
                .say(say)
                .help(
                    "They have no account at the console and none by SSH. `hearth user` adds and removes people later.",
                )
                .or_none("nobody"),
        );
        if name.is_empty() {
            break;
        }
        other(walk, number, &name);
        taken.push(name);
    }
}

fn other(walk: &mut Walk<'_>, number: usize, login: &str) {
    let short = cut(login, 8);
    walk.ask(
        Question::text(Id::PersonName(number), format!("name of {short}"), parsed::<DisplayName>)
            .say(format!("What is the name of {login} at the portal?"))
            .default(capital(login)),
    );
    walk.ask(
        Question::text(Id::PersonEmail(number), format!("e-mail of {short}"), parsed::<EmailAddress>)
            .say("And the e-mail address?"),
    );
    let rights = RIGHTS.map(|(groups, told)| Item::new(groups, told)).to_vec();
    walk.ask(
        Question::one(Id::PersonGroups(number), format!("rights of {short}"), rights)
            .say(format!("What may {login} reach?"))
            .default(RIGHTS[0].0),
    );
    walk.ask(
        Question::password(Id::PersonPassword(number), format!("password of {short}"), For::Portal)
            .say("And the password at the portal? At least 10 characters.")
            .help("Somebody who is here can type their own. `hearth user passwd` gives a new one later."),
    );
}
