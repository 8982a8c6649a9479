//! Docker's addresses: ranges that none of this machine's own networks uses, so that neither a
//! neighbour nor a container becomes unreachable. Half of the range is for networks with a fixed
//! place, the other for those that Docker makes as it likes.

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::File;
use crate::answers::Network;
use crate::facts::Nic;

/// Docker's configuration.
pub const PATH: &str = "/etc/docker/daemon.json";

/// The ranges that containers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pools {
    /// 65536 addresses.
    pub v4: Ipv4Net,
    /// 256 networks.
    pub v6: Ipv6Net,
}

/// A network of the stacks that has its own place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// `docker0`.
    Bridge,
    /// Between Traefik and what it leads to.
    Traefik,
    /// Between services, with no way out.
    Homelab,
    /// Between the services for media.
    Media,
}

/// Why there are no ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are no addresses left for containers: every private range is in use on the networks of this machine, {}. \
     Make one of these networks smaller.", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
)]
pub struct NoRange(pub Vec<IpNet>);

impl NoRange {
    /// A word for scripts and tests that stays the same when the sentence changes.
    pub fn code(&self) -> &'static str {
        "no-container-range"
    }
}

/// The networks that this machine is on: those of its cards, and those that the answers put them on.
/// Every card in the facts is hardware, so none of Docker's networks is among them.
pub fn lan(nics: &[Nic], network: Option<&Network>) -> Vec<IpNet> {
    let measured = nics
        .iter()
        .flat_map(|nic| &nic.addresses)
        .filter(|address| !address.link_local)
        .filter_map(|address| IpNet::new(address.ip, address.prefix).ok());
    let wired = network.iter().flat_map(|network| &network.wired);
    let fixed = wired.filter_map(|card| card.address.as_ref()).map(crate::answers::StaticAddress::net);
    let mut lan: Vec<IpNet> = measured.chain(fixed).map(|net| net.trunc()).collect();
    lan.sort_unstable();
    lan.dedup();
    lan
}

/// The first ranges that do not meet any network of `lan`.
pub fn pools(lan: &[IpNet]) -> Result<Pools, NoRange> {
    let v4 = candidates_v4().find(|net| is_free(&IpNet::V4(*net), lan));
    let v6 = candidates_v6().find(|net| is_free(&IpNet::V6(*net), lan));
    match (v4, v6) {
        (Some(v4), Some(v6)) => Ok(Pools { v4, v6 }),
        _ => Err(NoRange(lan.to_vec())),
    }
}

fn is_free(net: &IpNet, lan: &[IpNet]) -> bool {
    !lan.iter().any(|other| net.contains(other) || other.contains(net))
}

/// The upper end of 172.16.0.0/12 first: few networks are there. Then the upper end of 10.0.0.0/8.
fn candidates_v4() -> impl Iterator<Item = Ipv4Net> {
    let net = |a, b| Ipv4Net::new_assert([a, b, 0, 0].into(), 16);
    (16..=30).rev().map(move |b| net(172, b)).chain((128..=254).rev().map(move |b| net(10, b)))
}

/// A prefix that was drawn for Hearth, and the three next to it.
fn candidates_v6() -> impl Iterator<Item = Ipv6Net> {
    (0x7400..0x7404).map(|third| Ipv6Net::new_assert([0xfd4e, 0x8ea7, third, 0, 0, 0, 0, 0].into(), 56))
}

/// A network that the stacks' own files take for granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    /// Its name.
    pub name: &'static str,
    /// Its addresses.
    pub v4: Ipv4Net,
    /// Its addresses by IPv6.
    pub v6: Ipv6Net,
    /// Whether nothing leads out of it.
    pub internal: bool,
}

/// The networks that exist before any stack does.
pub fn networks(pools: &Pools) -> Vec<NamedNetwork> {
    let named = |name, which, internal| {
        let (v4, v6) = pools.fixed(which);
        NamedNetwork { name, v4, v6, internal }
    };
    vec![
        named("traefik-network", Fixed::Traefik, false),
        named("homelab-network", Fixed::Homelab, true),
        named("media-network", Fixed::Media, false),
    ]
}

impl Pools {
    /// The place of `network`: 256 addresses, and one network of IPv6.
    pub fn fixed(&self, network: Fixed) -> (Ipv4Net, Ipv6Net) {
        let number = match network {
            Fixed::Bridge => 0,
            Fixed::Traefik => 1,
            Fixed::Homelab => 2,
            Fixed::Media => 3,
        };
        let [a, b, ..] = self.v4.network().octets();
        let mut v6 = self.v6.network().segments();
        v6[3] |= u16::from(number);
        (Ipv4Net::new_assert([a, b, number, 0].into(), 24), Ipv6Net::new_assert(v6.into(), 64))
    }

    /// What Docker may divide among networks without a fixed place: the upper halves.
    pub fn free(&self) -> (Ipv4Net, Ipv6Net) {
        let [a, b, ..] = self.v4.network().octets();
        let mut v6 = self.v6.network().segments();
        v6[3] |= 0x80;
        (Ipv4Net::new_assert([a, b, 128, 0].into(), 17), Ipv6Net::new_assert(v6.into(), 57))
    }
}

/// Docker's configuration `base`, with these ranges. What else is in it stays.
pub fn daemon(base: &str, pools: &Pools) -> Result<File> {
    let mut settings: Map<String, Value> = serde_json::from_str(base).with_context(|| format!("reading {PATH}"))?;
    let (bridge, bridge_v6) = pools.fixed(Fixed::Bridge);
    let first = bridge.hosts().next().context("finding the first address of docker0")?;
    let (free, free_v6) = pools.free();
    settings.insert("bip".to_owned(), json!(format!("{first}/{}", bridge.prefix_len())));
    settings.insert("fixed-cidr-v6".to_owned(), json!(bridge_v6.to_string()));
    settings.insert(
        "default-address-pools".to_owned(),
        json!([{ "base": free.to_string(), "size": 24 }, { "base": free_v6.to_string(), "size": 64 }]),
    );
    Ok(File::public(PATH, serde_json::to_string_pretty(&settings)? + "\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::zoo;
    use crate::render::golden;

    const BASE: &str = include_str!("../../../overlays/base/etc/docker/daemon.json");

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn the_image_has_what_a_machine_with_an_ordinary_lan_gets() {
        let file = daemon(BASE, &pools(&nets(&["192.168.1.0/24"])).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&file.bytes).unwrap(), serde_json::from_str::<Value>(BASE).unwrap());
    }

    #[test]
    fn a_lan_in_the_way_moves_all_of_it() {
        let pools = pools(&nets(&["172.16.0.0/12", "10.254.7.0/24", "fd4e:8ea7:7400:1::/64"])).unwrap();
        golden::check("docker-moved", &[daemon(BASE, &pools).unwrap()]);
        let (v4, v6) = pools.fixed(Fixed::Media);
        assert_eq!((v4.to_string(), v6.to_string()), ("10.253.3.0/24".to_owned(), "fd4e:8ea7:7401:3::/64".to_owned()));
    }

    #[test]
    fn where_everything_is_taken_it_is_refused() {
        let refusal = pools(&nets(&["10.0.0.0/8", "172.16.0.0/12"])).unwrap_err();
        assert!(refusal.to_string().contains("10.0.0.0/8 and 172.16.0.0/12"), "{refusal}");
        assert!(pools(&nets(&["::/1", "f000::/4"])).is_err());
    }

    #[test]
    fn the_lan_is_measured_and_answered() {
        let network = golden::answers("05-static-address").network;
        let lan = lan(&zoo::facts("mini-pc").nics, network.as_ref());
        assert_eq!(lan, nets(&["192.168.1.0/24", "fd00:1::/64"]), "no link-local, no docker0, each once");
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        let near = prop::sample::select(vec![[172, 16], [172, 30], [172, 29], [10, 254], [10, 200], [192, 168]]);
        prop_oneof![
            (near, any::<[u8; 2]>(), 8..=30u8)
                .prop_map(|([a, b], [c, d], len)| { IpNet::V4(Ipv4Net::new_assert([a, b, c, d].into(), len)) }),
            (any::<u32>(), 1..=32u8).prop_map(|(ip, len)| IpNet::V4(Ipv4Net::new_assert(ip.into(), len))),
            (0x7400..0x7406u16, any::<u16>(), 16..=64u8).prop_map(|(third, fourth, len)| {
                IpNet::V6(Ipv6Net::new_assert([0xfd4e, 0x8ea7, third, fourth, 0, 0, 0, 1].into(), len))
            }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_meets(lan in prop::collection::vec(any_net(), 0..8)) {
            let Ok(pools) = pools(&lan) else {
                // Others meet one candidate at most.
                let large = |net: &IpNet| net.prefix_len() < if net.addr().is_ipv4() { 16 } else { 48 };
                prop_assert!(lan.iter().any(large) || lan.len() >= 4, "there was room beside {lan:?}");
                return Ok(());
            };
            let (free, free_v6) = pools.free();
            let mut all = vec![IpNet::V4(free), IpNet::V6(free_v6)];
            for network in [Fixed::Bridge, Fixed::Traefik, Fixed::Homelab, Fixed::Media] {
                let (v4, v6) = pools.fixed(network);
                all.extend([IpNet::V4(v4), IpNet::V6(v6)]);
            }
            for (i, net) in all.iter().enumerate() {
                prop_assert!(is_free(net, &lan), "{net} meets the LAN");
                prop_assert!(is_free(net, &all[..i]), "{net} meets another");
                prop_assert!(IpNet::V4(pools.v4).contains(net) || IpNet::V6(pools.v6).contains(net));
            }
        }
    }
}
