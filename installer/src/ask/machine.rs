//! The questions about the machine itself: its keyboard, its language, its time, its name.

use super::question::{Question, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{Hostname, KeyboardLayout, Locale, Timezone};

pub(super) fn ask(walk: &mut Walk<'_>) {
    let known = walk.ground.known;
    let layout = walk.ask(
        Question::text(Id::Keyboard, "keyboard", |text| parsed::<KeyboardLayout>(text).and_then(|it| known.layout(it)))
            .say("Which layout does the keyboard at this machine have? Its short name: us, gb, de, fr, es ...")
            .help(if known.layouts.is_empty() {
                "It is most often the country's name in the addresses of its web sites, without the dot.".to_owned()
            } else {
                format!("These are known: {}.", known.layouts.join(" "))
            })
            .default("us"),
    );
    walk.ask(
        Question::text(Id::Locale, "language", |text| parsed::<Locale>(text).and_then(|it| known.locale(it)))
            .say("Which language do programs on the machine speak, with which conventions?")
            .help(
                "Write the language, the country and .UTF-8: en_GB.UTF-8, de_DE.UTF-8, fr_CA.UTF-8. C.UTF-8 is \
                 English without any country's conventions. Hearth itself speaks English.",
            )
            .default(known.locale_for(&layout)),
    );
    walk.ask(
        Question::text(Id::Timezone, "time zone", parsed::<Timezone>)
            .say("In which time zone is the machine?")
            .help("Write a part of the world and a city, like Europe/Berlin or America/New_York. A city alone finds most.")
            .default(known.zone_for(&layout)),
    );
    walk.ask(
        Question::text(Id::Hostname, "name", parsed::<Hostname>)
            .say("What is the machine called on the network? It will be reached as NAME.local.")
            .help("Small letters, digits and hyphens. No other machine in your network may have the same name.")
            .default("hearth"),
    );
}
