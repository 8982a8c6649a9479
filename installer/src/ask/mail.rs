//! The questions about the mail server that notices go out by.

use super::network::{YES, no_or_yes};
use super::question::{Item, Question, list, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{DomainName, EmailAddress, MailSecurity, Password, Username};

pub(super) fn ask(walk: &mut Walk<'_>) {
    let wanted = walk.ask(
        Question::one(Id::Mail, "mail", no_or_yes("no", "yes, by a mail server"))
            .say("Shall the machine send notices by mail? This version keeps the server in mind and sends none yet.")
            .help("You need an account at a mail server: your provider's pages call it SMTP, or outgoing mail.")
            .default("no"),
    );
    if wanted != YES {
        return;
    }
    walk.ask(Question::text(Id::MailServer, "mail server", parsed::<DomainName>).say("What is the server called?"));
    let items = vec![
        Item::new(MailSecurity::Starttls.word(), "STARTTLS, most often port 587"),
        Item::new(MailSecurity::Tls.word(), "TLS from the first byte, most often port 465"),
    ];
    walk.ask(
        Question::one(Id::MailSecurity, "mail's encryption", items)
            .say("How is the connection encrypted?")
            .default(MailSecurity::Starttls.word()),
    );
    walk.ask(
        Question::text(Id::MailPort, "mail port", port)
            .say("Has it another port than the one that is usual for that?")
            .or_none("the usual one"),
    );
    let admin = walk.reply(&Id::Email);
    let user = Question::text(Id::MailUser, "mail user", parsed::<Username>)
        .say("Which user name does it want? Type - if it wants none.");
    let user = walk.ask(admin.into_iter().fold(user, Question::default).or_none("none"));
    if !user.is_empty() {
        walk.ask(
            Question::hidden(Id::MailPassword, "mail password", parsed::<Password>)
                .say("And the password? It does not show here.")
                .help("Some providers want a password of its own for each program, made on their pages."),
        );
    }
    let own = user.parse::<EmailAddress>().ok().map(|_| user);
    let from = Question::text(Id::MailFrom, "sender", parsed::<EmailAddress>)
        .say("Which address do the mails come from? Most servers take only the account's own.");
    let from = walk.ask(own.or(admin.map(str::to_owned)).into_iter().fold(from, Question::default));
    let to = Question::text(Id::MailTo, "recipients", |text| list::<EmailAddress>(text, &[' ', ',']))
        .say("Who gets them? Several with blanks between.");
    let first = admin.unwrap_or(&from);
    walk.ask(if first.is_empty() { to } else { to.default(first) });
}

fn port(text: &str) -> Result<String, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port.to_string()),
        _ => Err("type a number from 1 to 65535".to_owned()),
    }
}
