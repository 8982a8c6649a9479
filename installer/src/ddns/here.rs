//! Where this machine is: the addresses that it uses by itself. The kernel is asked which one it would
//! send from, so that containers, bridges and passing addresses do not count; nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::facts::nics_now;

/// Addresses far away that are nobody's (RFC 5737, RFC 3849).
const FAR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Here {
    /// In its own network.
    pub(super) v4: Option<Ipv4Addr>,
    /// One that leads here from everywhere.
    pub(super) v6: Option<Ipv6Addr>,
}

impl Here {
    pub(super) fn look() -> Self {
        let v4 = match sends_from(Ipv4Addr::UNSPECIFIED.into(), FAR_V4.into()) {
            Some(IpAddr::V4(v4)) => Some(v4),
            _ => first(),
        };
        let v6 = match sends_from(Ipv6Addr::UNSPECIFIED.into(), FAR_V6.into()) {
            Some(IpAddr::V6(v6)) if is_global(v6) => Some(v6),
            _ => None,
        };
        Self { v4, v6 }
    }
}

fn sends_from(any: IpAddr, to: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::from((any, 0))).ok()?;
    socket.connect(SocketAddr::from((to, 9))).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The first address of a card, in a network that leads nowhere else.
fn first() -> Option<Ipv4Addr> {
    let nics = nics_now().ok()?;
    let addresses = nics.iter().flat_map(|nic| &nic.addresses).filter(|address| !address.link_local);
    addresses.map(|address| address.ip).find_map(|ip| if let IpAddr::V4(v4) = ip { Some(v4) } else { None })
}

/// Whether it is one of those that the world gives out, `2000::/3`.
fn is_global(v6: Ipv6Addr) -> bool {
    v6.segments()[0] >> 13 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_here_from_everywhere_is_global() {
        for (text, global) in [("2001:db8::1", true), ("fd00::1", false), ("fe80::1", false), ("::1", false)] {
            assert_eq!(is_global(text.parse().unwrap()), global, "{text}");
        }
    }

    #[test]
    fn the_kernel_says_what_it_sends_from() {
        let loopback = sends_from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into());
        assert_eq!(loopback, Some(Ipv4Addr::LOCALHOST.into()));
    }
}
