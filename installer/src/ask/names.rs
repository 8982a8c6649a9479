//! The questions about the public name and about the VPN: what stacks need from elsewhere.

use super::network::{YES, no_or_yes};
use super::people::has;
use super::question::{Item, Question, list, parsed};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{DomainName, Password, PlainName, Reach, StackName, TunnelAddress, WireGuardKey};

/// The word for a name at DuckDNS, as in the answer file.
pub(super) const DUCKDNS: &str = "duckdns";

/// What DuckDNS puts behind a name.
const ENDING: &str = ".duckdns.org";

pub(super) fn ask(walk: &mut Walk<'_>) {
    let stacks = walk.reply(&Id::Stacks).unwrap_or_default().to_owned();
    if has(&stacks, StackName::Core) {
        domain(walk);
    }
    if has(&stacks, StackName::Media) {
        vpn(walk);
    }
}

fn domain(walk: &mut Walk<'_>) {
    let items = vec![
        Item::new("none", "none: names end with home.arpa, certificates are the machine's own"),
        Item::new(DUCKDNS, "one at DuckDNS (duckdns.org), with certificates that every browser knows"),
    ];
    let which = walk.ask(
        Question::one(Id::Domain, "public name", items)
            .say("Has the machine a public name?")
            .help(
                "With a public name the portal has a certificate that browsers trust by themselves, also if nothing is \
                 reachable from the internet. Without one you have each device trust the machine's own authority once.",
            )
            .default("none"),
    );
    if which != DUCKDNS {
        return;
    }
    let name = |text: &str| {
        let whole = if text.contains('.') { text.to_owned() } else { format!("{text}{ENDING}") };
        let name: DomainName = whole.parse()?;
        if name.is_of_duckdns() { Ok(name.to_string()) } else { Err(format!("it must end with {ENDING}")) }
    };
    walk.ask(
        Question::text(Id::DomainName, "name at DuckDNS", name)
            .say("Which name do you have at DuckDNS? What stands before .duckdns.org is enough."),
    );
    walk.ask(
        Question::hidden(Id::DomainToken, "DuckDNS token", parsed::<Password>)
            .say("And the token? It stands on duckdns.org once you are logged in, and does not show here."),
    );
    let items = vec![
        Item::new(Reach::Lan.word(), "in this network only; the router forwards nothing"),
        Item::new(Reach::Internet.word(), "the internet too; the router must forward ports 80 and 443"),
    ];
    walk.ask(
        Question::one(Id::Reach, "reach", items)
            .say("From where shall the name lead to the machine?")
            .default(Reach::Lan.word()),
    );
}

fn vpn(walk: &mut Walk<'_>) {
    let wanted = walk.ask(
        Question::one(Id::Vpn, "VPN", no_or_yes("no", "yes, by WireGuard"))
            .say("Shall downloads go through a VPN?")
            .help(
                "You need the WireGuard file that your provider makes for you: the next questions ask for lines of it.",
            )
            .default("no"),
    );
    if wanted != YES {
        return;
    }
    walk.ask(
        Question::text(Id::VpnProvider, "VPN provider", |text| parsed::<PlainName>(&text.to_lowercase()))
            .say("Which provider, by the name that Gluetun has for it: mullvad, protonvpn, airvpn ..."),
    );
    walk.ask(
        Question::hidden(Id::VpnKey, "VPN key", parsed::<WireGuardKey>)
            .say("What stands behind PrivateKey in the provider's file? It does not show."),
    );
    walk.ask(
        Question::text(Id::VpnAddresses, "VPN addresses", |text| list::<TunnelAddress>(text, &[' ', ',']))
            .say("What stands behind Address there?")
            .or_none("none"),
    );
    walk.ask(
        Question::text(Id::VpnCountries, "VPN countries", |text| list::<PlainName>(text, &[',']))
            .say("Servers of which countries may be used? Several with commas between, such as Sweden, Norway.")
            .or_none("all"),
    );
}
