//! What single answers are: one type a concept, made only from a text that passed its
//! check. Each parser takes the text and gives the value, or says in words that complete
//! "… is not a host name: " what is wrong. None of them repeats the text.

mod backup;
mod disks;
mod hashes;
mod keys;
mod names;
mod network;
mod region;

pub use backup::{IncludePath, KitTarget, RepositoryKind, RepositoryUrl};
pub use disks::{ArrayName, ById, DiskSize, ExactSize, Serial, VolumeName, Wwn};
pub use hashes::{ConsoleHash, PortalHash};
pub(super) use hashes::{PORTAL_LANES, PORTAL_MEMORY, PORTAL_PASSES};
pub use keys::{Certificate, SshPrivateKey, SshPublicKey, WireGuardKey};
pub use names::{DisplayName, DomainName, EmailAddress, Hostname, Label, LoginName};
pub use network::{CardPath, Country, MacAddress, Ssid, StaticAddress, TunnelAddress, WifiPassphrase};
pub use region::{KeyboardLayout, Locale, Timezone};

use zeroize::Zeroize;

use super::record::{Answer, Shape, read_text, text, wrong_type};
use crate::answers::node::{Node, Report};
use toml::de::DeValue;

text! {
    /// A secret without a form of its own: a token or a password that somebody else checks.
    Password(String), "a token or a password", "", password;
    /// Opens encrypted disks.
    DiskPassphrase(String), "a passphrase for disks", "^.{10,512}$", disk_passphrase;
    /// Opens encrypted disks together with the TPM, which locks after a few wrong ones.
    Pin(String), "a PIN", "^.{6,64}$", pin;
    /// The name of a country or of a service, as the VPN client knows it.
    PlainName(String), "a name", "^[A-Za-z0-9][A-Za-z0-9 ._-]*$", plain_name;
    /// Who logs in to a server of somebody else.
    Username(String), "a user name", "", password;
    /// The text of a recovery kit.
    KitText(String), "the text of a recovery kit", "", kit_text;
}

/// Gives secrets the means to be overwritten.
macro_rules! overwritten {
    ($($name:ident),+) => { $(
        impl Zeroize for $name {
            fn zeroize(&mut self) {
                self.0.zeroize();
            }
        }
    )+ };
}
overwritten!(
    Password,
    DiskPassphrase,
    Pin,
    WifiPassphrase,
    WireGuardKey,
    SshPrivateKey,
    ConsoleHash,
    PortalHash,
    KitText
);

fn password(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    // A copied token often brings a blank or a line end along, and then no server takes it.
    if text.trim() != text {
        return Err("it begins or ends with white space".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a character that cannot be typed".to_owned());
    }
    Ok(text.to_owned())
}

fn disk_passphrase(text: &str) -> Result<String, String> {
    let text = password(text)?;
    match text.chars().count() {
        0..10 => Err("it has fewer than 10 characters".to_owned()),
        // What LUKS takes.
        10..=512 => Ok(text),
        _ => Err("it has more than 512 characters".to_owned()),
    }
}

fn pin(text: &str) -> Result<String, String> {
    let text = password(text)?;
    match text.chars().count() {
        6..=64 => Ok(text),
        _ => Err("it must have 6 to 64 characters".to_owned()),
    }
}

fn plain_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._-".contains(c);
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(plain) {
        return Err("use letters, digits, blanks, dots and hyphens".to_owned());
    }
    Ok(text.to_owned())
}

fn kit_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The port of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Port(pub u16);

impl Answer for Port {
    fn shape() -> Shape {
        Shape::Number(1, 65535)
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let number = match node.value {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if number.is_none_or(|number| number == 0) {
            if matches!(node.value, DeValue::Integer(_)) {
                report.at(node.span.start, format!("`{}` must be a number from 1 to 65535", node.key));
            } else {
                wrong_type(node, &Self::shape(), report);
            }
            return None;
        }
        number.map(Self)
    }
}

/// An address of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct IpAddress(pub std::net::IpAddr);

impl std::fmt::Display for IpAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for IpAddress {
    type Err = String;

    /// Judges a text; the error says in words what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        network::ip_address(text).map(Self)
    }
}

impl Answer for IpAddress {
    fn shape() -> Shape {
        Shape::Text(network::IP_RULES)
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        read_text(node, report, &network::IP_RULES, |text| network::ip_address(text).map(Self))
    }
}
