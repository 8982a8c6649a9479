//! The questions about encrypted disks. What opens them is typed twice: nobody could tell
//! a mistyped one later.

use super::question::{Item, Question, parsed, strong};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{DiskPassphrase, Pin, Unlock};

/// The word for disks that anybody can read.
pub(super) const NONE: &str = "none";

/// Asks; whether disks are encrypted.
pub(super) fn ask(walk: &mut Walk<'_>) -> bool {
    let mut items = vec![
        Item::new(NONE, "no: whoever has the disks can read them"),
        Item::new(Unlock::Passphrase.word(), "yes, and a passphrase opens them at each start"),
    ];
    if walk.ground.facts.tpm {
        items.push(Item::new(
            Unlock::TpmPin.word(),
            "yes, and a PIN opens them at each start, in this machine alone (by its TPM)",
        ));
    }
    let how = walk.ask(
        Question::one(Id::Encryption, "encryption", items)
            .say("Shall data, and the disks that are formatted, be encrypted?")
            .help(
                "It protects what a thief carries away. The price: after each start, also after a power cut, somebody \
                 must open the disks, at the console or by SSH, before any service runs. Nothing can be encrypted \
                 later. The system itself is not: accounts and network stay reachable.",
            )
            .default(NONE),
    );
    if how == Unlock::Passphrase.word() {
        let check = |text: &str| strong(text).and_then(|text| parsed::<DiskPassphrase>(&text));
        walk.ask(
            Question::twice(Id::DiskPassphrase, "disk passphrase", check)
                .say("Which passphrase opens the disks? At least 10 characters; they do not show.")
                .help("Only the recovery key on the recovery kit opens them besides. Four or five words are good."),
        );
    } else if how == Unlock::TpmPin.word() {
        walk.ask(
            Question::twice(Id::Pin, "disk PIN", parsed::<Pin>)
                .say("Which PIN opens the disks? 6 to 64 characters, letters as well; they do not show.")
                .help(
                    "The TPM takes only a few wrong ones before it takes none for a while, so a short one is enough. \
                     Without this machine only the recovery key on the recovery kit opens the disks.",
                ),
        );
    }
    how != NONE
}
