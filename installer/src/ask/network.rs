//! The questions about the network. A card that gets its address from the router needs none.

use std::net::IpAddr;

use super::question::{Item, Question, list, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{Country, IpAddress, Ssid, StaticAddress, WifiPassphrase};
use crate::facts::{Facts, Nic};
use crate::page::text::cut;

/// The word for an address that the answers give.
pub(super) const FIXED: &str = "fixed";

/// The word for what is wanted.
pub(super) const YES: &str = "yes";

/// No, and yes; no comes first.
pub(super) fn no_or_yes(no: &str, yes: &str) -> Vec<Item> {
    vec![Item::new("no", no), Item::new(YES, yes)]
}

/// The cards that may have an address of their own.
fn cards(facts: &Facts) -> Vec<&Nic> {
    facts.nics.iter().filter(|card| !card.wireless && card.mac.is_some()).collect()
}

/// The card that has it: the one that was chosen, or else the first.
pub(super) fn card<'a>(walk: &Walk<'a>) -> Option<&'a Nic> {
    let (cards, chosen) = (cards(walk.ground.facts), walk.reply(&Id::Card));
    cards.iter().find(|card| card.mac.as_deref() == chosen).or(cards.first()).copied()
}

pub(super) fn ask(walk: &mut Walk<'_>) {
    let wired = cards(walk.ground.facts);
    if !wired.is_empty() {
        self::wired(walk, &wired);
    }
    // Of two radios nobody could say which one is meant.
    let radios: Vec<&Nic> = walk.ground.facts.nics.iter().filter(|card| card.wireless).collect();
    if let [radio] = radios.as_slice() {
        wifi(walk, radio, wired.is_empty());
    }
}

fn wired(walk: &mut Walk<'_>, cards: &[&Nic]) {
    let items = vec![
        Item::new("dhcp", "from the router (DHCP), as most machines do"),
        Item::new(FIXED, "a fixed one, that I type now"),
    ];
    let how = walk.ask(
        Question::one(Id::Addressing, "address", items)
            .say("Where does the machine get its address from?")
            .help(
                "With DHCP, have the router give this machine the same address each time: what other devices know it \
                 by should not change. If a fixed address does not work, the machine goes back to DHCP by itself.",
            )
            .default("dhcp"),
    );
    if how != FIXED {
        return;
    }
    let items: Vec<Item> = cards.iter().filter_map(|card| Some(Item::new(card.mac.clone()?, told(card)))).collect();
    let first = items.first().map(|item| item.word.clone()).unwrap_or_default();
    if items.len() > 1 {
        walk.ask(
            Question::one(Id::Card, "network card", items)
                .say("Which network card has the fixed address? The others ask the router.")
                .default(first),
        );
    }
    let now =
        card(walk).and_then(|card| card.addresses.iter().find(|address| !address.link_local && address.ip.is_ipv4()));
    let question = Question::text(Id::Address, "fixed address", parsed::<StaticAddress>)
        .say("Which address, and how large is the network? Most often that is /24, as in 192.168.1.10/24.")
        .help(
            "Take one that the router gives to nobody else: outside the range of its DHCP, or reserved there for this \
             machine. The number behind the / is how many bits of the address belong to the network.",
        );
    let address = walk.ask(match now {
        Some(now) => question.default(format!("{}/{}", now.ip, now.prefix)),
        None => question,
    });
    let net = address.parse::<StaticAddress>().ok().map(|address| address.net());
    let gateway = move |text: &str| {
        let router: IpAddress = text.parse()?;
        match net {
            Some(net) if net.addr() == router.0 => Err("that is the machine's own address".to_owned()),
            Some(net) if !net.contains(&router.0) => {
                Err("it is not in the network of the machine's address".to_owned())
            }
            _ => Ok(router.to_string()),
        }
    };
    walk.ask(
        Question::text(Id::Gateway, "router", gateway)
            .say("Which address does the router have in that network?")
            .help("The one you type into a browser to see the router's own pages. Often it ends with .1 or .254."),
    );
    walk.ask(
        Question::text(Id::Dns, "DNS servers", |text| list::<IpAddress>(text, &[' ', ',']))
            .say("Which DNS servers does the machine ask? Several with blanks between.")
            .or_none("the router"),
    );
}

fn told(card: &Nic) -> String {
    let address = |ip: IpAddr| format!(", has {ip} now");
    let now = card.addresses.iter().find(|address| !address.link_local).map(|found| address(found.ip));
    let link = if card.link == Some(true) { "" } else { ", no cable" };
    format!("{}, {}{}", cut(&card.name, 15), card.mac.as_deref().unwrap_or_default(), now.as_deref().unwrap_or(link))
}

fn wifi(walk: &mut Walk<'_>, radio: &Nic, only: bool) {
    let wanted = walk.ask(
        Question::one(Id::Wifi, "Wi-Fi", no_or_yes("no", "yes"))
            .say(format!("Shall {} join a Wi-Fi?", cut(&radio.name, 15)))
            .help("A cable is faster and more reliable; a server that others depend on should have one.")
            .default(if only { YES } else { "no" }),
    );
    if wanted != YES {
        return;
    }
    walk.ask(Question::text(Id::Ssid, "Wi-Fi name", parsed::<Ssid>).say("What is the Wi-Fi called? Capitals matter."));
    walk.ask(
        Question::hidden(Id::WifiPassphrase, "Wi-Fi passphrase", parsed::<WifiPassphrase>)
            .say("What is its passphrase? It does not show while you type."),
    );
    walk.ask(Question::text(Id::Country, "country", |text| parsed::<Country>(&text.to_ascii_uppercase())).say(
        "In which country does the machine stand? Its two letters decide which channels are legal: DE, FR, US ...",
    ));
}
