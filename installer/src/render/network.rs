//! Cards with an address of their own, and the Wi-Fi. Every other wired card asks by DHCP,
//! which the image's `80-hearth-wired.network` says; the files here sort before it.

use std::fmt::Write as _;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{File, Owner};
use crate::answers::{Network, Wifi, WiredCard};
use crate::facts::Nic;

/// What the files for networkd begin with. One that is there and is not rendered any more is to go.
pub const PREFIX: &str = "/etc/systemd/network/20-hearth-";

/// What the network needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The files.
    pub files: Vec<File>,
    /// The units that have to run, besides those that always do.
    pub units: Vec<String>,
}

/// Why the network cannot be set up as asked. Every reason that applies is told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A card that is not there.
    #[error("no wired card has the `{key}` {wanted} that [[network.wired]] names; there are {}. Correct it.", list(.there))]
    NoSuchCard {
        /// What identifies it: `mac` or `path`.
        key: &'static str,
        /// Its value in the answers.
        wanted: String,
        /// The wired cards that are there.
        there: Vec<String>,
    },
    /// No Wi-Fi.
    #[error("[network.wifi] names a Wi-Fi, and this machine has no Wi-Fi card that works. Remove the section.")]
    NoWifiCard,
    /// More than one card could join.
    #[error("[network.wifi] is for one card, and this machine has {}. Unplug or switch off the others.", .0.join(" and "))]
    SeveralWifiCards(Vec<String>),
}

impl Refusal {
    /// A word for scripts and tests that stays the same when the sentence changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchCard { .. } => "no-such-card",
            Self::NoWifiCard => "no-wifi-card",
            Self::SeveralWifiCards(_) => "several-wifi-cards",
        }
    }
}

fn list(cards: &[String]) -> String {
    if cards.is_empty() { "none".to_owned() } else { cards.join(", ") }
}

/// The files and units for `network` on a machine with the cards `nics`.
pub fn render(network: &Network, nics: &[Nic]) -> Result<Rendered, Vec<Refusal>> {
    let mut rendered = Rendered::default();
    let mut refusals = Vec::new();
    for card in &network.wired {
        refusals.extend(missing(card, nics));
        if let Some(text) = fixed(card) {
            let number = rendered.files.len() + 1;
            rendered.files.push(File::public(format!("{PREFIX}wired-{number}.network"), text));
        }
    }
    if let Some(wifi) = &network.wifi {
        match radio(nics) {
            Ok(card) => join(wifi, card, &mut rendered),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(rendered) } else { Err(refusals) }
}

/// Neither by its address nor by its place is the card there.
fn missing(card: &WiredCard, nics: &[Nic]) -> Option<Refusal> {
    let (key, wanted) = match (&card.mac, &card.path) {
        (Some(mac), _) => ("mac", mac.to_string()),
        (None, path) => ("path", path.as_ref()?.to_string()),
    };
    let wired = nics.iter().filter(|nic| !nic.wireless);
    let told = |nic: &Nic| if key == "mac" { nic.mac.clone() } else { nic.path.clone() };
    if wired.clone().any(|nic| told(nic).as_deref() == Some(&wanted)) {
        return None;
    }
    let there = wired.filter_map(|nic| Some(format!("{} ({})", told(nic)?, nic.name))).collect();
    Some(Refusal::NoSuchCard { key, wanted, there })
}

/// The settings of a card with an address of its own.
fn fixed(card: &WiredCard) -> Option<String> {
    let (address, gateway) = (card.address.as_ref()?.net(), card.gateway?.0);
    let mut out =
        String::from("[Match]\nType=ether\n# Physical cards only, not what Docker builds on them.\nKind=!*\n");
    if let Some(mac) = &card.mac {
        out.push_str(&format!("MACAddress={mac}\n"));
    }
    if let Some(path) = &card.path {
        out.push_str(&format!("Path={path}\n"));
    }
    // The other family goes on as on any card.
    let others = match address {
        IpNet::V4(_) => "DHCP=no\nIPv6AcceptRA=yes\n",
        IpNet::V6(_) => "DHCP=ipv4\nIPv6AcceptRA=no\n",
    };
    out.push_str(&format!("\n[Network]\nAddress={address}\nGateway={gateway}\n"));
    if card.dns.is_empty() {
        out.push_str(&format!("DNS={gateway}\n"));
    }
    for server in &card.dns {
        out.push_str(&format!("DNS={}\n", server.0));
    }
    out.push_str(others);
    out.push_str(COMMON);
    out.push_str(match address {
        IpNet::V4(_) => "\n[DHCPv6]\nUseDomains=yes\n\n[IPv6AcceptRA]\nUseDomains=yes\n",
        IpNet::V6(_) => "\n[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\n",
    });
    Some(out)
}

/// What holds for every card.
const COMMON: &str = "IPv6PrivacyExtensions=no\nLLDP=no\nEmitLLDP=no\n";

/// The one card that can join a Wi-Fi.
fn radio(nics: &[Nic]) -> Result<&str, Refusal> {
    // The name becomes part of a file's and a unit's name; udev gives none with other characters.
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let radios: Vec<&str> =
        nics.iter().filter(|nic| nic.wireless && plain(&nic.name)).map(|nic| nic.name.as_str()).collect();
    match radios.as_slice() {
        [] => Err(Refusal::NoWifiCard),
        [one] => Ok(one),
        several => Err(Refusal::SeveralWifiCards(several.iter().map(|name| (*name).to_owned()).collect())),
    }
}

fn join(wifi: &Wifi, card: &str, rendered: &mut Rendered) {
    // A cable is better: routes by Wi-Fi count only where no other is there.
    let network = format!(
        "[Match]\nType=wlan\nName={card}\n\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n{COMMON}# Changing to another \
         access point takes a moment.\nIgnoreCarrierLoss=3s\n\n[DHCPv4]\nClientIdentifier=mac\nUseDomains=yes\n\
         RouteMetric=2048\n\n[DHCPv6]\nUseDomains=yes\n\n[IPv6AcceptRA]\nUseDomains=yes\nRouteMetric=2048\n"
    );
    rendered.files.push(File::public(format!("{PREFIX}wifi.network"), network));
    rendered.files.push(File::private(
        format!("/etc/wpa_supplicant/wpa_supplicant-{card}.conf"),
        Owner::ROOT,
        std::mem::take(&mut *supplicant(wifi)).into_bytes(),
    ));
    rendered.units.push(format!("wpa_supplicant@{card}.service"));
}

/// What `wpa_supplicant` reads. The name, the passphrase for WPA3 and the key for WPA2 that follows
/// from both go in as hexadecimal digits: it reads a quoted passphrase with `"` and `#` in it wrongly.
fn supplicant(wifi: &Wifi) -> Zeroizing<String> {
    let ssid = wifi.ssid.to_string();
    let passphrase = Zeroizing::new(wifi.passphrase.expose().to_string());
    // As large as it can become, so that no copy is left behind in memory.
    let mut out = Zeroizing::new(String::with_capacity(1024));
    out.push_str(&format!(
        "# For `wpa_cli`, by root.\nctrl_interface=/run/wpa_supplicant\n# Which channels are legal.\ncountry={}\n\
         p2p_disabled=1\n# WPA3 in the way that the access point knows.\nsae_pwe=2\n\nnetwork={{\n\tscan_ssid=1\n\tssid=",
        wifi.country
    ));
    hex(ssid.as_bytes(), &mut out);
    if wifi.passphrase.expose().is_raw_key() {
        // WPA3 would need the passphrase, which is not there.
        out.push_str("\n\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\tpsk=");
        out.push_str(&passphrase);
    } else {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<sha1::Sha1>(passphrase.as_bytes(), ssid.as_bytes(), WPA_ROUNDS, &mut *key);
        out.push_str("\n\tkey_mgmt=SAE WPA-PSK WPA-PSK-SHA256\n\tsae_password=");
        hex(passphrase.as_bytes(), &mut out);
        out.push_str("\n\tpsk=");
        hex(&*key, &mut out);
    }
    // Protected management frames, where the access point has them: WPA3 needs them.
    out.push_str("\n\tieee80211w=1\n}\n");
    out
}

/// How often IEEE 802.11i hashes a passphrase to make the key of WPA2.
const WPA_ROUNDS: u32 = 4096;

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;
    use crate::render::golden;

    fn nic(name: &str, mac: &str, wireless: bool) -> Nic {
        Nic {
            name: name.into(),
            mac: Some(mac.into()),
            driver: None,
            path: None,
            wireless,
            link: None,
            addresses: Vec::new(),
        }
    }

    fn network(text: &str) -> Network {
        golden::answers_with("", &format!("[admin]\nlogin = \"ada\"\n{text}")).network.unwrap()
    }

    fn codes(network: &Network, nics: &[Nic]) -> Vec<&'static str> {
        render(network, nics).unwrap_err().iter().map(Refusal::code).collect()
    }

    #[test]
    fn addresses_of_their_own() {
        let network = golden::answers("05-static-address").network.unwrap();
        let mut nics = zoo::facts("mini-pc").nics;
        assert!(codes(&network, &nics).contains(&"no-such-card"), "a card that is named by its place is not there");
        nics.push(Nic { path: Some("pci-0000:02:00.0".into()), ..nic("enp2s0", "18:c0:4d:11:22:44", false) });
        let rendered = render(&network, &nics).unwrap();
        golden::check("network-static", &rendered.files);
        assert_eq!(rendered.units, [""; 0]);
    }

    #[test]
    fn a_wifi() {
        let network = golden::answers("06-wifi").network.unwrap();
        let rendered = render(&network, &zoo::facts("mini-pc").nics).unwrap();
        golden::check("network-wifi", &rendered.files);
        assert_eq!(rendered.units, ["wpa_supplicant@wlp2s0.service"]);
        assert_eq!(rendered.files.iter().map(|file| file.mode).collect::<Vec<_>>(), [0o644, 0o600]);
    }

    #[test]
    fn the_key_is_that_of_wpa_passphrase() {
        let wifi = "[network.wifi]\nssid = \"Home\"\npassphrase = \"open sesame please\"\ncountry = \"DE\"";
        let text = supplicant(&network(wifi).wifi.unwrap());
        let key = "f6c0af76af2b34d17cdc6ead276153cb8b20bf89992883fc5795d7131c54c716";
        assert!(text.contains(&format!("\tpsk={key}\n")), "{}", *text);
    }

    #[test]
    fn a_card_by_dhcp_needs_no_file() {
        let network = network("[[network.wired]]\nmac = \"18:c0:4d:11:22:33\"");
        assert_eq!(render(&network, &zoo::facts("mini-pc").nics), Ok(Rendered::default()));
    }

    #[test]
    fn what_a_wifi_is_called_cannot_write_a_line_of_its_own() {
        let raw = "ab".repeat(32);
        for (passphrase, line) in [(r#"a"b #c\d"e"#, "sae_password=6122622023635c642265"), (raw.as_str(), "psk=abab")] {
            let wifi = format!("[network.wifi]\nssid = '\"}}#'\npassphrase = '{passphrase}'\ncountry = \"DE\"\n");
            let text = supplicant(&network(&wifi).wifi.unwrap());
            assert!(text.contains("\tssid=227d23\n"), "{}", *text);
            assert!(text.contains(&format!("\t{line}")), "{}", *text);
            assert_eq!(text.contains("SAE"), passphrase != raw, "{}", *text);
            assert!(!text.contains('"'), "{}", *text);
        }
    }

    #[test]
    fn all_that_does_not_fit_is_told_at_once() {
        let network = network(
            "[network.wifi]\nssid = \"x\"\npassphrase = \"open sesame\"\ncountry = \"DE\"\n\
             [[network.wired]]\nmac = \"aa:bb:cc:00:11:22\"",
        );
        let radio = nic("wlan0", "aa:bb:cc:00:11:22", true);
        assert_eq!(codes(&network, &[]), ["no-such-card", "no-wifi-card"]);
        assert_eq!(codes(&network, std::slice::from_ref(&radio)), ["no-such-card"], "a radio is no wired card");
        let second = nic("wlan1", "aa:bb:cc:00:11:23", true);
        let refusals = render(&network, &[radio, second, nic("enp1s0", "18:c0:4d:11:22:33", false)]).unwrap_err();
        assert_eq!(refusals.iter().map(Refusal::code).collect::<Vec<_>>(), ["no-such-card", "several-wifi-cards"]);
        assert!(refusals[0].to_string().contains("18:c0:4d:11:22:33 (enp1s0)"), "{}", refusals[0]);
        assert_eq!(codes(&network, &[nic("../x", "aa:bb:cc:00:11:22", true)]), ["no-such-card", "no-wifi-card"]);
    }
}
