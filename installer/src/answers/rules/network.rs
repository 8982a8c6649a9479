//! Cards, addresses, and the name that leads to them.

use crate::answers::node::{Node, Report};
use crate::answers::types::{CardPath, DomainName, IpAddress, MacAddress, StaticAddress};

use super::{needs, unique};

pub(super) fn check(root: &Node<'_>, report: &mut Report<'_>) {
    let cards = root.get("network").map(|network| network.list("wired")).unwrap_or_default();
    for card in &cards {
        wired(card, report);
    }
    let macs =
        cards.iter().filter_map(|card| card.get("mac")).filter_map(|node| Some((node.quiet::<MacAddress>()?, node)));
    unique(macs, report, |_| "two [[network.wired]] have the same `mac`".to_owned());
    let paths =
        cards.iter().filter_map(|card| card.get("path")).filter_map(|node| Some((node.quiet::<CardPath>()?, node)));
    unique(paths, report, |_| "two [[network.wired]] have the same `path`".to_owned());
    if let Some(domain) = root.get("domain") {
        duckdns(&domain, report);
    }
}

fn wired(card: &Node<'_>, report: &mut Report<'_>) {
    if card.table().is_none() {
        return;
    }
    match (card.get("mac"), card.get("path")) {
        (None, None) => report.key(card, "[[network.wired]] does not say which card: give `mac` or `path`"),
        (Some(mac), Some(path)) => {
            report.both(&path, "a card is named by `mac` or by `path`, not by both", &mac, "`mac`");
        }
        _ => {}
    }
    needs(card, "address", "gateway", "without it nothing outside the LAN is reached", report);
    needs(card, "gateway", "address", "by DHCP the router names itself", report);
    needs(card, "dns", "address", "by DHCP the router names them", report);
    let (Some(address), Some(gateway)) = (card.get("address"), card.get("gateway")) else { return };
    let (Some(net), Some(router)) = (address.quiet::<StaticAddress>(), gateway.quiet::<IpAddress>()) else { return };
    if net.0.addr() == router.0 {
        report.both(&gateway, "`gateway` is the machine's own address", &address, "`address`");
    } else if !net.0.contains(&router.0) {
        report.both(&gateway, "`gateway` is not in the network of `address`", &address, "`address`");
    }
}

fn duckdns(domain: &Node<'_>, report: &mut Report<'_>) {
    let Some(name) = domain.get("name").filter(|_| domain.get("dns").is_some_and(|dns| dns.text() == Some("duckdns")))
    else {
        return;
    };
    if name.quiet::<DomainName>().is_some_and(|name| !name.is_of_duckdns()) {
        let text = "`name` in [domain] must be the name you have at DuckDNS, like example.duckdns.org";
        report.at(name.span.start, text);
    }
}
