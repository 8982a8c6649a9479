//! Schema version 1 of `hearth.toml`: every table and key there is, each written once.
//! The comments are what the reference, the example and the JSON Schema say.
//!
//! A key that a later version adds is refused by this one with its line; nothing is ever
//! ignored.

use toml::de::DeValue;

use super::node::{Node, Report};
use super::record::{Answer, Record, Shape, choice, record, wrong_type};
use super::secret::Secret;
use super::types::{
    ArrayName, ById, CardPath, Certificate, ConsoleHash, Country, DiskPassphrase, DiskSize, DisplayName, DomainName,
    EmailAddress, Hostname, IncludePath, IpAddress, KeyboardLayout, KitTarget, KitText, Label, Locale, LoginName,
    MacAddress, Password, Pin, PlainName, Port, PortalHash, RepositoryUrl, Serial, SshPrivateKey, SshPublicKey, Ssid,
    StaticAddress, Timezone, TunnelAddress, Username, VolumeName, WifiPassphrase, WireGuardKey, Wwn,
};

/// The version of the schema that this Hearth reads.
pub const VERSION: i64 = 1;

record! {
    /// What Hearth would otherwise ask when it sets up a machine.
    pub struct Answers {
        /// The version of this file's schema.
        version: Version, eg "1";
        /// The stacks to run. Every other one needs "core". Without any, the machine is prepared and Docker
        /// runs, nothing else.
        stacks: Vec<StackName>, eg r#"["core"]"#;
        /// The disks that may be formatted, by their names under /dev/disk/by-id: your approval, once more and
        /// apart. Every disk that this file has formatted must be listed, and no other.
        erase: Vec<ById>, off r#"["ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0123456"]"#;
        /// Where the recovery kit is written: a file on a role disk, which you then move to a safe place. Or
        /// "declined": you do without. The kit opens the backups, the encrypted disks and, if you give no hash
        /// for it, the console. Needed unless the machine is brought back by [recover].
        recovery_kit: Option<KitTarget>, eg r#""/mnt/media/recovery-kit.txt""#;
        /// The machine itself.
        system: System, eg "";
        /// Encrypts `data` and every role disk that this file has formatted (LUKS2). Without it nothing is
        /// encrypted.
        encryption: Option<Encryption>, off "";
        /// The network. A wired card that is not named here gets its address by DHCP.
        network: Option<Network>, eg "";
        /// The person who looks after the machine. Needed unless the machine is brought back by [recover].
        admin: Option<Admin>, eg "";
        /// The public name, and the certificate for it. Without it the names end with HOSTNAME.home.arpa and
        /// the certificate comes from the machine's own authority.
        domain: Option<Domain>, eg "";
        /// The people who may use the portal. The admin is one of them, in the group "admins".
        users: Vec<User>, eg "";
        /// The VPN that downloads go through. The stack "media" uses it.
        vpn: Option<Vpn>, off "";
        /// The disks for media, downloads and backups. A role that no disk has is a folder on `data`. Several roles
        /// on one disk share its space, so that a download can become media without being copied.
        disks: Vec<RoleDisk>, off "";
        /// The mail server that notices go out by.
        mail: Option<Mail>, off "";
        /// Backups.
        backup: Option<Backup>, off "";
        /// Brings a machine back from its backup instead of setting up a new one: name, people, domain, stacks, mail
        /// and backups then come from there, and the sections for them must be absent.
        recover: Option<Recover>, off "";
    }
}

record! {
    /// The machine itself.
    pub struct System {
        /// The disk that Hearth runs from: "this" for the one it was started from, or a selector, for example
        /// { serial = "S4EWNX0N123456" }.
        disk: DiskChoice, eg r#""this""#;
        /// The machine's name. Needed unless the machine is brought back by [recover].
        hostname: Option<Hostname>, eg r#""hearth""#;
        /// The time zone.
        timezone: Timezone = Timezone("Etc/UTC".to_owned()), eg r#""Europe/Berlin""#;
        /// The language and its conventions.
        locale: Locale = Locale("C.UTF-8".to_owned()), eg r#""en_GB.UTF-8""#;
        /// The keyboard layout of the console.
        keyboard: KeyboardLayout = KeyboardLayout("us".to_owned()), eg r#""de""#;
        /// Certificates, in PEM, of authorities that the machine trusts besides the public ones.
        extra_ca: Vec<Certificate>, off "[\"\"\"\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\"\"\"]";
    }
}

record! {
    /// What tells one disk from all others. All keys given must fit, and they must fit exactly one disk: neither
    /// the first of several nor none is taken. `hearth facts` prints these values.
    pub struct DiskSelector {
        /// Its name under /dev/disk/by-id.
        by_id: Option<ById>, eg r#""ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0123456""#;
        /// Its serial number.
        serial: Option<Serial>, off r#""WD-WCC7K0123456""#;
        /// Its world-wide name.
        wwn: Option<Wwn>, off r#""0x50014ee2b1234567""#;
        /// How it is connected.
        transport: Option<Transport>, off r#""sata""#;
        /// It is at least this large.
        min_size: Option<DiskSize>, off r#""3TiB""#;
        /// It is at most this large.
        max_size: Option<DiskSize>, off r#""5TiB""#;
        /// Not a disk but an array (RAID, md) of several, by its name or its id. Only to adopt it, and with no
        /// other key.
        md: Option<ArrayName>, off r#""nas:0""#;
        /// Not a disk but an LVM volume, as GROUP/VOLUME. Only to adopt it, and with no other key.
        lvm: Option<VolumeName>, off r#""vg0/media""#;
    }
}

record! {
    /// Encrypts `data` and every role disk that this file has formatted.
    pub struct Encryption {
        /// What opens the disks at a start: a passphrase, or the machine's TPM together with a PIN.
        unlock: Unlock, eg r#""passphrase""#;
        /// The passphrase, at least 10 characters. For unlock = "passphrase".
        passphrase: Option<Secret<DiskPassphrase>>, own r#""a passphrase that only you know""#;
        /// The PIN, 6 to 64 characters. For unlock = "tpm2-pin".
        pin: Option<Secret<Pin>>, own r#""a PIN that only you know""#;
    }
}

record! {
    /// The network.
    pub struct Network {
        /// Answer DNS for the machine's own names on port 53, for the LAN.
        lan_dns: bool = false, eg "false";
        /// Wired cards with an address of their own.
        wired: Vec<WiredCard>, off "";
        /// The Wi-Fi to join.
        wifi: Option<Wifi>, off "";
    }
}

record! {
    /// A wired card. Name it by `mac` or by `path`. Without `address` it gets its address by DHCP.
    pub struct WiredCard {
        /// Its hardware address.
        mac: Option<MacAddress>, eg r#""18:c0:4d:11:22:33""#;
        /// Where it is plugged in, as udev's `ID_PATH` names it.
        path: Option<CardPath>, off r#""pci-0000:01:00.0""#;
        /// Its address, and how large the network is.
        address: Option<StaticAddress>, eg r#""192.168.1.10/24""#;
        /// The router of that network.
        gateway: Option<IpAddress>, eg r#""192.168.1.1""#;
        /// The DNS servers to ask. Without any, the router.
        dns: Vec<IpAddress>, eg r#"["192.168.1.1"]"#;
    }
}

record! {
    /// The Wi-Fi to join.
    pub struct Wifi {
        /// Its name.
        ssid: Ssid, eg r#""Home""#;
        /// Its passphrase.
        passphrase: Secret<WifiPassphrase>, own r#""the passphrase of the Wi-Fi""#;
        /// The country the machine stands in, by its two letters: it decides which channels are legal.
        country: Country, eg r#""DE""#;
    }
}

record! {
    /// The person who looks after the machine.
    pub struct Admin {
        /// The login name, at the console, by SSH and at the portal.
        login: LoginName, eg r#""ada""#;
        /// The public SSH keys that may log in. Without any, nobody can by SSH.
        ssh_keys: Vec<SshPublicKey>, eg r#"["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop"]"#;
        /// The hash of the console password, from `hearth answers hash --for console`. Without it a password is
        /// made and written into the recovery kit.
        password_hash: Option<Secret<ConsoleHash>>, own r#""$y$j9T$ZVvdycn1Mfb5rtmnJSjh./$0gx1/XyT5FFkWVDkTzWBqmIw5ctvFKiesPIKxhOThn1""#;
    }
}

record! {
    /// The public name, and the certificate for it.
    pub struct Domain {
        /// Who serves the name.
        dns: DnsProvider, eg r#""duckdns""#;
        /// The name.
        name: DomainName, eg r#""example.duckdns.org""#;
        /// The token that may change it.
        token: Secret<Password>, eg r#""00000000-0000-4000-8000-000000000000""#;
        /// Where the name leads from: "lan" to the address in your network, and the router forwards nothing;
        /// "internet" to your router, which must forward ports 80 and 443 to this machine.
        reach: Reach = Reach::Lan, eg r#""lan""#;
        /// Where certificates come from: "production" for real ones, "staging" for trying it out.
        acme: Acme = Acme::Production, eg r#""production""#;
        /// Who is told if a certificate is about to expire.
        acme_email: Option<EmailAddress>, eg r#""ada@example.org""#;
    }
}

record! {
    /// Somebody who may use the portal.
    pub struct User {
        /// The login name.
        name: LoginName, eg r#""ada""#;
        /// The name that is shown.
        display_name: DisplayName, eg r#""Ada Lovelace""#;
        /// The e-mail address.
        email: EmailAddress, eg r#""ada@example.org""#;
        /// "admins" may reach everything, "users" what is meant for everybody.
        groups: Vec<Group> = vec![Group::Users], eg r#"["admins", "users"]"#;
        /// The hash of the password, from `hearth answers hash --for portal`.
        password_hash: Secret<PortalHash>, eg r#""$argon2id$v=19$m=65536,t=3,p=4$qYZQ3bSSh8NWRfC0bQigIQ$WCWQ3sFGDLbWijsOsw9XYMUZqShpgF+GAE4jr3AOwks""#;
    }
}

record! {
    /// The VPN that downloads go through.
    pub struct Vpn {
        /// The provider, by the name that Gluetun has for it.
        provider: PlainName, eg r#""mullvad""#;
        /// The private WireGuard key: what stands behind `PrivateKey` in the provider's file.
        private_key: Secret<WireGuardKey>, own r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=""#;
        /// The addresses inside the tunnel: what stands behind `Address` in the provider's file.
        addresses: Vec<TunnelAddress>, eg r#"["10.64.222.21/32"]"#;
        /// The countries whose servers may be used. Without any, all.
        countries: Vec<PlainName>, eg r#"["Sweden"]"#;
    }
}

record! {
    /// What one disk is for.
    pub struct RoleDisk {
        /// What it is for: "media", "downloads", "backups", or several of them.
        roles: Vec<Role>, eg r#"["media", "downloads"]"#;
        /// Which disk, by a selector. Not for "directory".
        disk: Option<DiskSelector>, eg r#"{ by-id = "ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0123456" }"#;
        /// "adopt" takes the disk with all that is on it; "erase" formats it, and needs its name under `erase` at the
        /// top; "directory" uses no disk but a folder on `data`.
        prepare: Prepare, eg r#""erase""#;
        /// The file system that "erase" makes. Without it ext4.
        file_system: Option<FileSystem>, eg r#""ext4""#;
    }
}

record! {
    /// The mail server that notices go out by.
    pub struct Mail {
        /// Its name.
        server: DomainName, eg r#""smtp.example.org""#;
        /// How the connection is encrypted: "starttls" or, from its first byte, "tls".
        security: MailSecurity = MailSecurity::Starttls, eg r#""starttls""#;
        /// Its port. Without it 587 for "starttls" and 465 for "tls".
        port: Option<Port>, off "587";
        /// The user name, if the server wants one.
        username: Option<Username>, eg r#""ada@example.org""#;
        /// The password that belongs to it.
        password: Option<Secret<Password>>, own r#""the password of the mail account""#;
        /// Who the mails are from.
        from: EmailAddress, eg r#""hearth@example.org""#;
        /// Who gets them.
        to: Vec<EmailAddress>, eg r#"["ada@example.org"]"#;
    }
}

record! {
    /// Backups.
    pub struct Backup {
        /// Folders of the role disks to back up as well. Without any, media and downloads are not in the backup.
        include: Vec<IncludePath>, eg r#"["/mnt/media/photos"]"#;
        /// Where backups go, one or more.
        repositories: Vec<Repository>, eg "";
    }
}

record! {
    /// A place for backups: a restic repository.
    pub struct Repository {
        /// What you call it.
        name: Label, eg r#""nas""#;
        /// Where it is: a folder below /mnt/backups, sftp:USER@HOST:/PATH or rest:https://HOST/PATH.
        url: RepositoryUrl, eg r#""sftp:backup@nas.example:/srv/hearth""#;
        /// The repository's own password. Without it one is made and written into the recovery kit.
        passphrase: Option<Secret<Password>>, own r#""the password of the repository""#;
        /// The user name of a REST server.
        username: Option<Username>, off r#""hearth""#;
        /// The password of a REST server.
        password: Option<Secret<Password>>, own r#""the password of the server""#;
        /// The private key that logs in by SFTP, without a passphrase.
        ssh_key: Option<Secret<SshPrivateKey>>, eg "\"\"\"\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\"\"\"";
        /// The public key by which the SFTP server proves who it is: `ssh-keyscan HOST` prints it behind the name.
        host_key: Option<SshPublicKey>, eg r#""ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk9rBQ33zHVWmVUdOKwThe+R4aqxDNaAll861rDoIV1""#;
        /// The server lets this machine add backups and never remove any.
        append_only: bool = false, eg "false";
    }
}

record! {
    /// Brings a machine back from its backup.
    pub struct Recover {
        /// The text of the recovery kit, as it was printed.
        kit: Secret<KitText>, eg "\"\"\"\nthe text of the recovery kit\n\"\"\"";
        /// The old machine is off for good. Until that is so, backups, the public name and certificates wait.
        old_machine_off: bool = false, eg "false";
    }
}

choice! {
    /// One of Hearth's stacks.
    pub enum StackName {
        /// Certificates, the portal, names.
        Core = "core",
        /// Management of containers, DNS, logs.
        Infrastructure = "infrastructure",
        /// Films, music, downloads.
        Media = "media",
        /// Files, code, wikis, pages.
        Productivity = "productivity",
        /// Measurements, graphs, alarms.
        Monitoring = "monitoring",
        /// A page for looking into backups.
        Backup = "backup",
    }
}

choice! {
    /// How a disk is connected.
    pub enum Transport {
        /// NVMe.
        Nvme = "nvme",
        /// SATA.
        Sata = "sata",
        /// SAS.
        Sas = "sas",
        /// USB.
        Usb = "usb",
        /// eMMC or a card.
        Mmc = "mmc",
        /// A virtual machine's.
        Virtio = "virtio",
    }
}

choice! {
    /// What opens encrypted disks.
    pub enum Unlock {
        /// A person who types.
        Passphrase = "passphrase",
        /// The machine's TPM and a person who types a PIN.
        TpmPin = "tpm2-pin",
    }
}

choice! {
    /// Who serves a public name.
    pub enum DnsProvider {
        /// duckdns.org.
        DuckDns = "duckdns",
    }
}

choice! {
    /// Where the public name leads from.
    pub enum Reach {
        /// The LAN only.
        Lan = "lan",
        /// Everywhere.
        Internet = "internet",
    }
}

choice! {
    /// Where certificates come from.
    pub enum Acme {
        /// Real ones.
        Production = "production",
        /// For trying it out.
        Staging = "staging",
    }
}

choice! {
    /// What somebody may do.
    pub enum Group {
        /// Everything.
        Admins = "admins",
        /// What is meant for everybody.
        Users = "users",
    }
}

choice! {
    /// What a disk is for.
    pub enum Role {
        /// /mnt/media.
        Media = "media",
        /// /mnt/downloads.
        Downloads = "downloads",
        /// /mnt/backups.
        Backups = "backups",
    }
}

choice! {
    /// What is done to a role's disk.
    pub enum Prepare {
        /// Taken as it is.
        Adopt = "adopt",
        /// Formatted.
        Erase = "erase",
        /// No disk: a folder on `data`.
        Directory = "directory",
    }
}

choice! {
    /// A file system that is made.
    pub enum FileSystem {
        /// ext4.
        Ext4 = "ext4",
        /// XFS.
        Xfs = "xfs",
        /// btrfs.
        Btrfs = "btrfs",
    }
}

choice! {
    /// How mail is encrypted on its way.
    pub enum MailSecurity {
        /// After a greeting.
        Starttls = "starttls",
        /// From the first byte.
        Tls = "tls",
    }
}

/// The version of the schema; always [`VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Version(i64);

impl Answer for Version {
    fn shape() -> Shape {
        Shape::Number(VERSION, VERSION)
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Integer(number) = node.value else {
            wrong_type(node, &Self::shape(), report);
            return None;
        };
        if i64::from_str_radix(number.as_str(), number.radix()) == Ok(VERSION) {
            return Some(Self(VERSION));
        }
        let text = format!(
            "this Hearth reads schema version {VERSION}, the file is written for another; `hearth answers example` \
             shows what this one reads"
        );
        report.at(node.span.start, text);
        None
    }
}

/// The disk that Hearth runs from.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum DiskChoice {
    /// The one it was started from.
    This(ThisDisk),
    /// Another one.
    Selected(DiskSelector),
}

choice! {
    /// The word for the disk that Hearth was started from.
    pub enum ThisDisk {
        /// That disk.
        This = "this",
    }
}

impl Answer for DiskChoice {
    fn shape() -> Shape {
        Shape::Either(Box::new(ThisDisk::shape()), Box::new(Shape::Table(DiskSelector::table())))
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        match node.value {
            DeValue::Table(_) => DiskSelector::read(node, report).map(Self::Selected),
            DeValue::String(text) if text == "this" => Some(Self::This(ThisDisk::This)),
            DeValue::String(_) => {
                let text =
                    format!("`{0}` must be \"this\" or a selector such as `{0} = {{ serial = \"...\" }}`", node.key);
                report.at(node.span.start, text);
                None
            }
            _ => {
                wrong_type(node, &Self::shape(), report);
                None
            }
        }
    }
}
