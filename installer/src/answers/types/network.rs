//! Cards and addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::text;
use crate::answers::record::Text;

text! {
    /// The hardware address of a network card.
    MacAddress(String), "a MAC address", "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", mac_address;
    /// Where a network card is plugged in, as udev's `ID_PATH` names it.
    CardPath(String), "the path of a network card", "^(pci|platform|usb|acpi)-[A-Za-z0-9:._-]+$", card_path;
    /// An address and the size of its network.
    StaticAddress(IpNet), "an address with its network", "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", static_address;
    /// An address inside a tunnel, where a network may be a single machine.
    TunnelAddress(IpNet), "an address inside a tunnel", "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", tunnel_address;
    /// The name of a Wi-Fi.
    Ssid(String), "the name of a Wi-Fi", "^.{1,32}$", ssid;
    /// Opens a Wi-Fi.
    WifiPassphrase(String), "a Wi-Fi passphrase", "", wifi_passphrase;
    /// A country by its two letters: it decides which Wi-Fi channels are legal.
    Country(String), "a country", "^[A-Z]{2}$", country;
}

impl StaticAddress {
    /// The address, and the network around it.
    pub fn net(&self) -> IpNet {
        self.0
    }
}

impl WifiPassphrase {
    /// Whether it is the key itself, of 64 hexadecimal digits.
    pub fn is_raw_key(&self) -> bool {
        is_raw_key(&self.0)
    }
}

fn is_raw_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The rules of an address without a network.
pub(super) const IP_RULES: Text =
    Text { what: "an IP address", pattern: Some("^[0-9A-Fa-f.:]+$"), made_by: None, secret: false };

fn mac_address(text: &str) -> Result<String, String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if bytes.len() != 6 || !bytes.iter().all(hex) {
        return Err("write six pairs of digits, like 18:c0:4d:11:22:33".to_owned());
    }
    let first = u8::from_str_radix(bytes[0], 16).unwrap_or_default();
    let all_zero = bytes.iter().all(|pair| *pair == "00");
    if first & 1 == 1 || all_zero {
        return Err("no single card has that address".to_owned());
    }
    Ok(bytes.join(":").to_ascii_lowercase())
}

fn card_path(text: &str) -> Result<String, String> {
    let known =
        ["pci-", "platform-", "usb-", "acpi-"].iter().any(|bus| text.starts_with(bus) && text.len() > bus.len());
    if known && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b)) {
        return Ok(text.to_owned());
    }
    Err("write it like pci-0000:01:00.0".to_owned())
}

fn static_address(text: &str) -> Result<IpNet, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err("say how large the network is, most often by /24 behind the address".to_owned());
    }
    let net: IpNet = text.parse().map_err(|_| "write it like 192.168.1.10/24".to_owned())?;
    let single = net.prefix_len() == net.max_prefix_len();
    if net.prefix_len() == 0 || single {
        return Err("the number behind the / is how many bits of the address belong to the network".to_owned());
    }
    usable(net.addr())?;
    // The last two sizes of an IPv4 network have neither of the two.
    if let (IpNet::V4(v4), true) = (net, net.prefix_len() < 31) {
        if v4.addr() == v4.network() || v4.addr() == v4.broadcast() {
            return Err("it names the whole network, not one machine in it".to_owned());
        }
    }
    Ok(net)
}

fn tunnel_address(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| "write it like 10.64.222.21/32".to_owned())?;
    usable(net.addr())?;
    Ok(net)
}

/// Parses the address of one machine.
pub(super) fn ip_address(text: &str) -> Result<IpAddr, String> {
    let ip = text.parse().map_err(|_| "write it like 192.168.1.1".to_owned())?;
    usable(ip)?;
    Ok(ip)
}

fn usable(ip: IpAddr) -> Result<(), String> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast {
        return Err("no machine on a network can have that address".to_owned());
    }
    Ok(())
}

fn ssid(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 32 || text.chars().any(char::is_control) {
        return Err("it must have 1 to 32 bytes".to_owned());
    }
    Ok(text.to_owned())
}

fn wifi_passphrase(text: &str) -> Result<String, String> {
    let phrase = (8..=63).contains(&text.len()) && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if is_raw_key(text) || phrase {
        return Ok(text.to_owned());
    }
    Err("it must have 8 to 63 plain characters (or be a key of 64 hexadecimal digits)".to_owned())
}

fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    Err("write its two capital letters, such as DE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_made_alike() {
        assert_eq!(mac_address("18-C0-4D-11-22-33").unwrap(), "18:c0:4d:11:22:33");
        for bad in ["18:c0:4d:11:22", "01:00:5e:00:00:01", "00:00:00:00:00:00", "18:c0:4d:11:22:3g", "18c04d112233"] {
            assert!(mac_address(bad).is_err(), "{bad}");
        }
        assert!(card_path("pci-0000:01:00.0").is_ok() && card_path("enp1s0").is_err());
    }

    #[test]
    fn an_address_is_one_machine_in_a_network() {
        assert!(static_address("192.168.1.10/24").is_ok() && static_address("fd00::5/64").is_ok());
        assert!(static_address("10.0.0.0/31").is_ok());
        for bad in ["192.168.1.10", "192.168.1.0/24", "192.168.1.255/24", "10.0.0.1/0", "10.0.0.1/32", "x/24", "::1/64"]
        {
            assert!(static_address(bad).is_err(), "{bad}");
        }
        for bad in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.168.1", "::"] {
            assert!(ip_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wifi_passphrases_are_what_wpa_takes() {
        assert!(wifi_passphrase("8 plain.").is_ok() && wifi_passphrase(&"ab".repeat(32)).is_ok());
        assert!(wifi_passphrase("short").is_err() && wifi_passphrase(&"x".repeat(64)).is_err());
    }
}
