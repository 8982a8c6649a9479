//! Reads `lsblk --json`: the one program that joins sysfs, udev and the mount table
//! the same way every other Linux tool does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::clean::{present, serial};
use super::{Content, Disk, Holder, Partition, Table};
use crate::units::{Bytes, SectorSize};

/// A row of lsblk, with what is built on it. Older versions leave columns out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    name: String,
    kname: Option<String>,
    path: Option<String>,
    #[serde(rename = "maj:min")]
    pub(super) number: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    size: Option<u64>,
    #[serde(rename = "log-sec")]
    logical_sector: Option<u32>,
    #[serde(rename = "phy-sec")]
    physical_sector: Option<u32>,
    vendor: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
    tran: Option<String>,
    rm: bool,
    hotplug: bool,
    ro: bool,
    rota: Option<bool>,
    pttype: Option<String>,
    ptuuid: Option<String>,
    partn: Option<u32>,
    parttype: Option<String>,
    partuuid: Option<String>,
    partlabel: Option<String>,
    start: Option<u64>,
    fstype: Option<String>,
    label: Option<String>,
    uuid: Option<String>,
    mountpoints: Vec<Option<String>>,
    pub(super) children: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Listing {
    blockdevices: Vec<Row>,
}

/// The rows of lsblk's answer.
pub(super) fn rows(json: &str) -> Result<Vec<Row>> {
    let listing: Listing = serde_json::from_str(json).context("reading what lsblk said about the disks")?;
    Ok(listing.blockdevices)
}

/// Every disk in lsblk's answer. `by_id` are the links under `/dev/disk/by-id`.
pub(super) fn disks(json: &str, by_id: &[(String, String)]) -> Result<Vec<Disk>> {
    let mut disks: Vec<Disk> = rows(json)?.iter().filter(|row| row.is_disk()).map(|row| row.disk(by_id)).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(disks)
}

impl Row {
    /// The kernel's name.
    pub(super) fn kernel_name(&self) -> &str {
        self.kname.as_deref().unwrap_or(&self.name)
    }

    /// Hardware with a medium in it. An eMMC's boot areas are no disks, though they look alike.
    pub(super) fn is_disk(&self) -> bool {
        let name = self.kernel_name();
        let pretends = ["zram", "ram", "loop", "nbd", "fd"]
            .iter()
            .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())));
        let boot_area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
        self.kind == "disk" && !pretends && !boot_area && self.size.unwrap_or(0) > 0
    }

    /// This row and all that is built on it.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Row)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }

    fn disk(&self, by_id: &[(String, String)]) -> Disk {
        let name = self.kernel_name().to_owned();
        let (parts, others): (Vec<&Row>, Vec<&Row>) = self.children.iter().partition(|row| row.kind == "part");
        let mut partitions: Vec<Partition> = parts.into_iter().map(|row| row.partition(&name)).collect();
        partitions.sort_by_key(|part| (part.start, part.number));
        let logical = self.logical_sector.unwrap_or(512);
        Disk {
            path: self.path.clone().unwrap_or_else(|| format!("/dev/{name}")),
            by_id: links(by_id, &name),
            vendor: self
                .vendor
                .as_deref()
                .and_then(present)
                .filter(|vendor| vendor != "ATA" && !vendor.starts_with("0x")),
            model: self.model.as_deref().and_then(present),
            serial: self.serial.as_deref().and_then(serial),
            wwn: self.wwn.as_deref().and_then(present),
            size: Bytes(self.size.unwrap_or(0)),
            logical_sector: SectorSize(logical),
            physical_sector: SectorSize(self.physical_sector.unwrap_or(logical)),
            transport: self.tran.as_deref().and_then(present),
            removable: self.rm || self.hotplug,
            rotational: self.rota,
            read_only: self.ro,
            boot_medium: false,
            table: self.table(),
            content: self.content(),
            mountpoints: self.mounts(),
            holders: holders(others),
            partitions,
            name,
        }
    }

    fn table(&self) -> Option<Table> {
        let kind = self.pttype.as_deref().and_then(present)?;
        Some(Table { kind, id: self.ptuuid.as_deref().and_then(present) })
    }

    fn content(&self) -> Option<Content> {
        let kind = self.fstype.as_deref().and_then(present)?;
        Some(Content {
            kind,
            label: self.label.as_deref().and_then(present),
            id: self.uuid.as_deref().and_then(present),
        })
    }

    fn mounts(&self) -> Vec<String> {
        self.mountpoints.iter().flatten().cloned().collect()
    }

    fn partition(&self, disk: &str) -> Partition {
        let device = self.kernel_name().to_owned();
        Partition {
            number: self.partn.or_else(|| number_in(&device, disk)),
            // sysfs counts places in 512-byte units on every disk, whatever its sectors are.
            start: self.start.map(|start| Bytes(start * 512)),
            size: Bytes(self.size.unwrap_or(0)),
            name: self.partlabel.as_deref().and_then(present),
            kind: self.parttype.as_deref().and_then(present),
            guid: self.partuuid.as_deref().and_then(present),
            content: self.content(),
            mountpoints: self.mounts(),
            holders: holders(self.children.iter()),
            device,
        }
    }

    fn holder(&self) -> Holder {
        Holder {
            name: self.name.clone(),
            kind: self.kind.clone(),
            size: Bytes(self.size.unwrap_or(0)),
            content: self.content(),
            mountpoints: self.mounts(),
        }
    }
}

/// All that is built on `rows`, from the bottom up.
fn holders<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Holder> {
    let mut out: Vec<Holder> = Vec::new();
    for row in rows {
        row.walk(&mut |row| out.push(row.holder()));
    }
    out
}

/// The partition's number from its name: versions of lsblk before 2.39 do not tell it.
fn number_in(device: &str, disk: &str) -> Option<u32> {
    let rest = device.strip_prefix(disk)?;
    rest.strip_prefix('p').unwrap_or(rest).parse().ok()
}

/// The links to `kname`, names with a model and a serial before bare numbers.
fn links(by_id: &[(String, String)], kname: &str) -> Vec<String> {
    let rank = |name: &str| ["wwn-", "nvme-eui.", "nvme-nvme.", "lvm-", "md-"].iter().any(|p| name.starts_with(p));
    let mut names: Vec<String> =
        by_id.iter().filter(|(_, target)| target == kname).map(|(name, _)| name.clone()).collect();
    names.sort_by_key(|name| (rank(name), name.len(), name.clone()));
    names
}

/// The names of partitions and holders of every disk, to find a device's disk by its number.
pub(super) fn owners(json: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = rows(json)?;
    for disk in all.iter().filter(|row| row.is_disk()) {
        disk.walk(&mut |row| {
            if let Some(number) = &row.number {
                let names = out.entry(number.clone()).or_default();
                names.push(disk.kernel_name().to_owned());
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn a_mini_pc_with_nvme_and_the_stick_it_started_from() {
        let facts = zoo::facts("mini-pc");
        let names: Vec<&str> = facts.disks.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["nvme0n1", "sda"], "no zram, no empty card reader");
        let nvme = &facts.disks[0];
        assert_eq!(nvme.model.as_deref(), Some("Samsung SSD 970 EVO Plus 1TB"));
        assert_eq!(nvme.by_id[0], "nvme-Samsung_SSD_970_EVO_Plus_1TB_S4EWNX0N123456");
        assert_eq!(nvme.transport.as_deref(), Some("nvme"));
        assert!(!nvme.removable && !nvme.boot_medium);
        assert_eq!(nvme.partitions[2].content.as_ref().unwrap().kind, "BitLocker");
        let stick = &facts.disks[1];
        assert!(stick.removable && stick.boot_medium);
        assert_eq!(stick.partitions[3].number, Some(4));
        assert_eq!(stick.partitions[3].start, Some(Bytes::mib(130)));
        assert_eq!(stick.partitions[3].name.as_deref(), Some("root-a"));
    }

    #[test]
    fn a_nas_shows_arrays_and_volumes_as_holders() {
        let facts = zoo::facts("nas");
        let sda = facts.disks.iter().find(|disk| disk.name == "sda").unwrap();
        let kinds: Vec<(&str, &str)> =
            sda.partitions[0].holders.iter().map(|h| (h.kind.as_str(), h.name.as_str())).collect();
        assert_eq!(kinds, [("raid1", "md127"), ("lvm", "vg0-media"), ("lvm", "vg0-backup")]);
        assert_eq!(sda.partitions[0].holders[1].mountpoints, ["/srv/media"]);
        let whole = facts.disks.iter().find(|disk| disk.name == "sdc").unwrap();
        assert!(whole.table.is_none());
        assert_eq!(whole.content.as_ref().unwrap().kind, "zfs_member");
    }

    #[test]
    fn sectors_of_4096_bytes_and_disks_that_tell_nothing() {
        let facts = zoo::facts("odd");
        let big = facts.disks.iter().find(|disk| disk.name == "sda").unwrap();
        assert_eq!((big.logical_sector, big.physical_sector), (SectorSize(4096), SectorSize(4096)));
        assert_eq!(big.partitions[0].start, Some(Bytes::mib(1)), "lsblk counts 512-byte units here too");
        let mute = facts.disks.iter().find(|disk| disk.name == "vda").unwrap();
        assert_eq!((&mute.serial, &mute.model, &mute.wwn), (&None, &None, &None));
        let json = serde_json::to_value(mute).unwrap();
        assert!(json.get("serial").is_none() && json.get("model").is_none(), "absent, not null: {json}");
        assert!(!facts.disks.iter().any(|disk| disk.name.contains("boot")), "eMMC boot areas are no disks");
    }

    #[test]
    fn numbers_come_from_names_where_lsblk_is_old() {
        assert_eq!(number_in("sda12", "sda"), Some(12));
        assert_eq!(number_in("nvme0n1p3", "nvme0n1"), Some(3));
        assert_eq!(number_in("sdb1", "sda"), None);
    }

    #[test]
    fn rubbish_is_an_error() {
        assert!(disks("lsblk: not a JSON", &[]).is_err());
    }
}
