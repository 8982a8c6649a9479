//! What this machine is: the one document that every plan is made from. Gathering
//! only looks; it never changes a thing. A value the machine does not tell is
//! absent here, because a later `serial == ""` would match every disk without one.
//!
//! [`gather`] runs the commands, and everything after that is a pure function of
//! their output ([`Raw`]), so any machine can be replayed from text.

mod adapters;
mod clean;
mod duplicates;
mod gather;
mod lsblk;
mod lvm;
mod md;
mod net;
mod probe;
mod root;
mod system;
pub mod volumes;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use adapters::{Adapter, RawAdapter};
pub use gather::{disks_now, gather, hostname_now, mode_now, nics_now, read_raw};
pub use probe::probe;
pub use volumes::{Fault, Volume, VolumeKind};

use crate::layout::Part;
use crate::manifest::Bundle;
use crate::units::{Bytes, SectorSize};

/// The version of the [`Facts`] document.
pub const FORMAT: u32 = 1;

/// Where the builder tells what it put into this image.
pub const IMAGE_FILE: &str = "/usr/share/hearth/image.json";

/// Everything Hearth knows about the machine it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// [`FORMAT`].
    pub format: u32,
    /// How Hearth was started; absent where the kernel command line does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What started the machine.
    pub firmware: Firmware,
    /// Maker, model and id of the machine.
    pub machine: Machine,
    /// The processor.
    pub cpu: Cpu,
    /// Memory the kernel can use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Whether it has a TPM 2.0 that Linux can use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// Every disk, in the order of their names.
    pub disks: Vec<Disk>,
    /// Every array and volume that lies on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Every network card, in the order of their names.
    pub nics: Vec<Nic>,
    /// Network adapters that do not work, or may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<Adapter>,
    /// Disks that cannot be told apart.
    pub duplicates: Vec<Duplicate>,
    /// What the builder says about the running image; absent on any other system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInfo>,
}

/// `hearth.mode` on the kernel command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Root lies under a tmpfs overlay; no disk is changed.
    Setup,
    /// The start that carries out an approved plan on the disk it started from.
    Adopt,
    /// Everyday running.
    Normal,
    /// Started for repairs.
    Recovery,
    /// The start that carries out an approved reset.
    Reset,
}

/// The firmware that started this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// BIOS, or UEFI's imitation of one.
    Bios,
    /// UEFI; Secure Boot is off or not offered.
    Uefi,
    /// UEFI with Secure Boot enforced.
    UefiSecureBoot,
}

/// The machine as its firmware names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// Its maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Its SMBIOS id, unless it is one of those that many machines share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

/// The processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cpu {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many cores it has, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// How many threads run at once.
    pub threads: u32,
}

/// A disk: something that can hold a partition table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// The kernel's name of the hour, for example `sda`. It can change at every start.
    pub name: String,
    /// Its device node.
    pub path: String,
    /// The names under `/dev/disk/by-id`, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_id: Vec<String>,
    /// Its maker, where the disk tells it apart from the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its world-wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Its size.
    pub size: Bytes,
    /// What its addresses count in.
    pub logical_sector: SectorSize,
    /// What it writes at once.
    pub physical_sector: SectorSize,
    /// How it is connected: `nvme`, `sata`, `usb` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// True for what can be pulled out while running.
    pub removable: bool,
    /// True for spinning platters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// True if the disk refuses writes.
    pub read_only: bool,
    /// True if Hearth's root lies on it.
    pub boot_medium: bool,
    /// Its partition table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// What covers the whole disk without a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where the whole disk is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mountpoints: Vec<String>,
    /// What holds the whole disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Its partitions, in the order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Table {
    /// `gpt`, `dos` …
    pub kind: String,
    /// Its own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// The kernel's name of the hour.
    pub device: String,
    /// Its number in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Bytes>,
    /// How long it is.
    pub size: Bytes,
    /// Its name in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its type in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its own id in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where it is mounted; `[SWAP]` if it is swapped to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mountpoints: Vec<String>,
    /// What holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// A recognised signature: a file system, or a part of something larger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// As libblkid names it: `ext4`, `ntfs`, `linux_raid_member` …
    pub kind: String,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Something built on a disk or a partition: md, LVM, dm-crypt …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// The kernel's name of the hour.
    pub name: String,
    /// `raid1`, `lvm`, `crypt` …
    pub kind: String,
    /// Its size.
    pub size: Bytes,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mountpoints: Vec<String>,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nic {
    /// The kernel's name of the hour.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Where it is plugged in, as udev's `ID_PATH` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The kernel driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// True for Wi-Fi.
    pub wireless: bool,
    /// Whether a cable or an access point answers; absent while the card is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<bool>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// An address of a network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Address {
    /// The address.
    pub ip: std::net::IpAddr,
    /// How many of its bits are the network's.
    pub prefix: u8,
    /// True if it is good on this link only.
    pub link_local: bool,
}

/// Two or more disks that carry the same id, as a byte-for-byte copy does. Which
/// of them a start by id takes is chance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Duplicate {
    /// Which id it is.
    pub what: SameId,
    /// The id.
    pub id: String,
    /// The names of the disks.
    pub disks: Vec<String>,
}

/// The id that several disks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SameId {
    /// That of the partition table.
    Disk,
    /// That of Hearth's root partition.
    Root,
}

/// What the builder wrote to [`IMAGE_FILE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageInfo {
    /// Hearth's version.
    pub version: String,
    /// The build id.
    pub image_id: Uuid,
    /// The container bundle.
    pub bundle: Bundle,
}

impl Facts {
    /// The disk that Hearth runs from, where exactly one can be named.
    pub fn boot_disk(&self) -> Option<&Disk> {
        let mut found = self.disks.iter().filter(|disk| disk.boot_medium);
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether no network card has an address that others can reach.
    pub fn is_offline(&self) -> bool {
        self.nics.iter().flat_map(|nic| &nic.addresses).all(|address| address.link_local)
    }

    /// Hearth's version: that of the image, or of this program elsewhere.
    pub fn version(&self) -> &str {
        self.image.as_ref().map_or(env!("CARGO_PKG_VERSION"), |image| &image.version)
    }

    /// Makes the document from what the machine said. Fails only where the disks
    /// or the network cards cannot be listed at all; what is merely not told is absent.
    pub fn from_raw(raw: &Raw) -> Result<Self> {
        let mut disks = lsblk::disks(&raw.lsblk, &raw.by_id)?;
        root::mark_boot_medium(&mut disks, &raw.lsblk, &raw.mountinfo, &raw.cmdline)?;
        let duplicates = duplicates::find(&disks);
        Ok(Self {
            format: FORMAT,
            mode: system::mode(&raw.cmdline),
            firmware: system::firmware(raw.efi, raw.secure_boot.as_deref()),
            machine: system::machine(&raw.dmi),
            cpu: system::cpu(&raw.cpuinfo),
            memory: system::memory(&raw.meminfo),
            tpm: raw.tpm.as_deref().is_some_and(|version| version.trim() == "2"),
            volumes: volumes::find(raw, &disks),
            disks,
            nics: net::nics(&raw.ip, &raw.nics)?,
            adapters: adapters::adapters(&raw.adapters, &raw.firmware_log),
            duplicates,
            image: raw.image.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        })
    }
}

impl Disk {
    /// Whether a Hearth lies on it, set up or as it came.
    pub fn has_hearth(&self) -> bool {
        self.partitions.iter().any(|part| part.name.as_deref() == Some(Part::RootA.name()))
    }
}

/// What the machine said, word for word: the input of [`Facts::from_raw`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Raw {
    /// `lsblk --json --bytes --output-all`.
    pub lsblk: String,
    /// `ip -json address`.
    pub ip: String,
    /// `/proc/cpuinfo`.
    pub cpuinfo: String,
    /// `/proc/meminfo`.
    pub meminfo: String,
    /// `/proc/cmdline`.
    pub cmdline: String,
    /// `/proc/self/mountinfo`.
    pub mountinfo: String,
    /// The links under `/dev/disk/by-id`: name, and the kernel's name it points to.
    pub by_id: Vec<(String, String)>,
    /// `mdadm --examine` of every member of an array, by the kernel's names.
    pub md: BTreeMap<String, String>,
    /// LVM's volumes, a row for each of their segments, as JSON; empty without LVM.
    pub lvs: String,
    /// LVM's disks and partitions, as JSON.
    pub pvs: String,
    /// What is recognised where volumes begin: by DEVICE@OFFSET.
    pub looks: BTreeMap<String, Content>,
    /// The files of `/sys/class/dmi/id` that matter, by name.
    pub dmi: BTreeMap<String, String>,
    /// Whether `/sys/firmware/efi` exists.
    pub efi: bool,
    /// The UEFI variable `SecureBoot`, with its four bytes of attributes.
    pub secure_boot: Option<Vec<u8>>,
    /// The version of the first TPM.
    pub tpm: Option<String>,
    /// What sysfs says of each network card that is hardware.
    pub nics: BTreeMap<String, RawNic>,
    /// The adapters that may be for networks, by their place on the bus.
    pub adapters: BTreeMap<String, RawAdapter>,
    /// The lines of the kernel's log about firmware.
    pub firmware_log: String,
    /// [`IMAGE_FILE`].
    pub image: Option<String>,
}

/// What sysfs says of one network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RawNic {
    /// The name of its driver.
    pub driver: Option<String>,
    /// `carrier`; unreadable while the card is down.
    pub carrier: Option<String>,
    /// Whether it is a radio.
    pub wireless: bool,
    /// udev's `ID_PATH`.
    pub place: Option<String>,
}

#[cfg(test)]
pub(crate) mod zoo;
