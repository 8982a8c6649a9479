//! What somebody has answered so far. Every reply may be a secret, so none of them shows
//! in a debug print, and all of them are overwritten when they are dropped.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Which question it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Id {
    /// The layout of the keyboard.
    Keyboard,
    /// The language.
    Locale,
    /// The time zone.
    Timezone,
    /// The machine's name.
    Hostname,
    /// Whether a wired card has an address of its own.
    Addressing,
    /// Which card.
    Card,
    /// Its address.
    Address,
    /// The router.
    Gateway,
    /// The DNS servers.
    Dns,
    /// Whether to join a Wi-Fi.
    Wifi,
    /// Its name.
    Ssid,
    /// Its passphrase.
    WifiPassphrase,
    /// The country the radio is in.
    Country,
    /// The stacks.
    Stacks,
    /// The admin's login name.
    Login,
    /// A public SSH key of the admin, counted from 0.
    SshKey(usize),
    /// The admin's password at the console.
    ConsolePassword,
    /// The admin's name at the portal.
    DisplayName,
    /// The admin's e-mail address.
    Email,
    /// The admin's password at the portal.
    PortalPassword,
    /// The login name of somebody else, counted from 0.
    Person(usize),
    /// Their name at the portal.
    PersonName(usize),
    /// Their e-mail address.
    PersonEmail(usize),
    /// What they may reach.
    PersonGroups(usize),
    /// Their password.
    PersonPassword(usize),
    /// Whether there is a public name.
    Domain,
    /// The public name.
    DomainName,
    /// The token that may change it.
    DomainToken,
    /// Where it leads from.
    Reach,
    /// Whether downloads go through a VPN.
    Vpn,
    /// The VPN's provider.
    VpnProvider,
    /// The private key.
    VpnKey,
    /// The addresses inside the tunnel.
    VpnAddresses,
    /// The countries whose servers may be used.
    VpnCountries,
    /// Whether notices go out by mail.
    Mail,
    /// The mail server.
    MailServer,
    /// How the connection to it is encrypted.
    MailSecurity,
    /// Its port.
    MailPort,
    /// Who logs in to it.
    MailUser,
    /// Their password.
    MailPassword,
    /// Who mails are from.
    MailFrom,
    /// Who gets them.
    MailTo,
    /// The disk that Hearth runs from.
    SystemDisk,
    /// What a disk is used for; the disk by its lasting name.
    Use(String),
    /// What is done to it before.
    Prepare(String),
    /// Whether disks are encrypted, and what opens them.
    Encryption,
    /// The passphrase that opens them.
    DiskPassphrase,
    /// The PIN that opens them together with the TPM.
    Pin,
    /// What kind of place backups go to, counted from 0.
    Repository(usize),
    /// What it is called.
    RepositoryName(usize),
    /// Where it is.
    RepositoryUrl(usize),
    /// Who logs in there.
    RepositoryUser(usize),
    /// Their password.
    RepositoryPassword(usize),
    /// Whether backups may only be added there.
    AppendOnly(usize),
    /// Where the recovery kit goes.
    Kit,
}

/// A reply, in the words of the answer file.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply(Zeroizing<String>);

impl Reply {
    /// A reply of these words; none means "none".
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The words.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply")
    }
}

/// All replies. One that no question asks for any more is kept: going back and forth loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies(BTreeMap<Id, Reply>);

/// For the socket between a console and the session's keeper, which is root's alone: never for a file.
impl Serialize for Replies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(id, reply)| (id, reply.text())))
    }
}

impl<'de> Deserialize<'de> for Replies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(Id, String)>::deserialize(deserializer)?;
        Ok(Self(pairs.into_iter().map(|(id, text)| (id, Reply::new(text))).collect()))
    }
}

impl Replies {
    /// The reply to a question, if there is one.
    pub fn get(&self, id: &Id) -> Option<&Reply> {
        self.0.get(id)
    }

    /// Keeps a reply in the place of a former one.
    pub fn put(&mut self, id: Id, reply: Reply) {
        self.0.insert(id, reply);
    }

    /// Whether nothing has been answered yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
