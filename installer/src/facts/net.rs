//! Reads `ip -json address` and what sysfs adds to it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::clean::present;
use super::{Address, Nic, RawNic};

#[derive(Debug, Deserialize)]
struct Link {
    ifname: Option<String>,
    address: Option<String>,
    /// The address burnt in, where the present one is made up.
    permaddr: Option<String>,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Debug, Deserialize)]
struct Info {
    local: Option<String>,
    prefixlen: Option<u8>,
    scope: Option<String>,
    #[serde(default)]
    tentative: bool,
    #[serde(default)]
    dadfailed: bool,
}

/// The cards in `hardware`, with the addresses that `ip` tells.
pub(super) fn nics(json: &str, hardware: &BTreeMap<String, RawNic>) -> Result<Vec<Nic>> {
    let links: Vec<Link> = serde_json::from_str(json).context("reading what ip said about the network")?;
    let mut nics: Vec<Nic> = links
        .iter()
        .filter_map(|link| {
            let name = link.ifname.as_ref()?;
            let raw = hardware.get(name)?;
            let mac = link.permaddr.as_ref().or(link.address.as_ref());
            Some(Nic {
                name: name.clone(),
                mac: mac.and_then(|mac| present(mac)).map(|mac| mac.to_lowercase()),
                driver: raw.driver.as_deref().and_then(present),
                path: raw.place.clone(),
                wireless: raw.wireless,
                link: raw.carrier.as_deref().map(|carrier| carrier.trim() == "1"),
                addresses: link.addr_info.iter().filter_map(Info::address).collect(),
            })
        })
        .collect();
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nics)
}

impl Info {
    /// An address that answers: not one still being checked, nor one that somebody else has.
    fn address(&self) -> Option<Address> {
        let ip: IpAddr = self.local.as_ref()?.parse().ok()?;
        let link_local = self.scope.as_deref() == Some("link");
        (!self.tentative && !self.dadfailed && self.scope.as_deref() != Some("host")).then_some(Address {
            ip,
            prefix: self.prefixlen?,
            link_local,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn only_hardware_and_only_addresses_that_answer() {
        let nics = zoo::facts("mini-pc").nics;
        let names: Vec<&str> = nics.iter().map(|nic| nic.name.as_str()).collect();
        assert_eq!(names, ["enp1s0", "wlp2s0"], "no lo, no docker0");
        let wired: Vec<String> = nics[0].addresses.iter().map(|a| format!("{}/{}", a.ip, a.prefix)).collect();
        assert_eq!(wired, ["192.168.1.23/24", "fe80::1ac0:4dff:fe11:2233/64"]);
        assert_eq!(nics[0].link, Some(true));
        assert_eq!(nics[0].driver.as_deref(), Some("igc"));
        assert_eq!((nics[1].wireless, nics[1].link, nics[1].addresses.len()), (true, None, 0));
        assert_eq!(nics[1].mac.as_deref(), Some("aa:bb:cc:00:11:22"), "the one burnt in");
    }

    #[test]
    fn empty_objects_and_rubbish() {
        // `ip` prints {} for links that a filter removed.
        assert_eq!(nics("[{},{}]", &BTreeMap::new()).unwrap(), []);
        assert!(nics("", &BTreeMap::new()).is_err());
    }
}
