//! Notices byte-identical copies. Two disks with the same ids cannot be told apart
//! by GRUB, by the kernel or by udev: which one a start takes is chance, so nobody
//! may write to either of them.

use std::collections::BTreeMap;

use super::{Disk, Duplicate, SameId};
use crate::layout::Part;

/// Members of mirrors are equal on purpose: an array that keeps its own data at the
/// disk's end shows the same partition table on every member.
const MIRRORS: [&str; 4] = ["linux_raid_member", "isw_raid_member", "ddf_raid_member", "mpath_member"];

pub(super) fn find(disks: &[Disk]) -> Vec<Duplicate> {
    let single: Vec<&Disk> = disks.iter().filter(|disk| !mirrored(disk)).collect();
    let mut out = same(&single, SameId::Disk, |disk| disk.table.as_ref()?.id.clone());
    for duplicate in same(&single, SameId::Root, root_guid) {
        // One line for one copy: the root's id matters only where the disk's ids differ.
        if !out.iter().any(|other| other.disks == duplicate.disks) {
            out.push(duplicate);
        }
    }
    out
}

fn mirrored(disk: &Disk) -> bool {
    disk.content.as_ref().is_some_and(|content| MIRRORS.contains(&content.kind.as_str()))
        || disk.holders.iter().any(|holder| holder.kind.starts_with("raid") || holder.kind == "mpath")
}

fn root_guid(disk: &Disk) -> Option<String> {
    let root = disk.partitions.iter().find(|part| part.number == Some(Part::RootA.number()))?;
    root.guid.clone().filter(|_| root.name.as_deref() == Some(Part::RootA.name()))
}

fn same(disks: &[&Disk], what: SameId, id: impl Fn(&Disk) -> Option<String>) -> Vec<Duplicate> {
    let mut by_id: BTreeMap<String, Vec<&Disk>> = BTreeMap::new();
    for &disk in disks {
        // MBR ids have 32 bits, and 0 means "none".
        if let Some(id) = id(disk).filter(|id| id.chars().any(|c| c != '0' && c != '-')) {
            let group = by_id.entry(id.to_lowercase()).or_default();
            // The same world-wide name twice is one disk on two cables.
            if disk.wwn.is_none() || group.iter().all(|other| other.wwn != disk.wwn) {
                group.push(disk);
            }
        }
    }
    let names = |group: Vec<&Disk>| group.iter().map(|disk| disk.name.clone()).collect();
    by_id
        .into_iter()
        .filter(|(_, group)| group.len() > 1)
        .map(|(id, group)| Duplicate { what, id, disks: names(group) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Content, zoo};

    #[test]
    fn a_byte_identical_copy_names_both_disks() {
        let facts = zoo::facts("twins");
        let names: Vec<&[String]> = facts.duplicates.iter().map(|d| d.disks.as_slice()).collect();
        assert_eq!(names, [["sda".to_owned(), "sdb".to_owned()]]);
        assert_eq!(facts.duplicates[0].what, SameId::Disk);
    }

    #[test]
    fn the_same_root_id_alone_is_noticed() {
        let mut disks = zoo::facts("twins").disks;
        disks[1].table.as_mut().unwrap().id = Some("5f0c7d3e-0000-4000-8000-000000000001".to_owned());
        let found = find(&disks);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, SameId::Root);
    }

    #[test]
    fn mirrors_and_second_cables_are_no_copies() {
        let mut disks = zoo::facts("twins").disks;
        for disk in &mut disks {
            disk.wwn = Some("0x5000c500a1b2c3d4".to_owned());
        }
        assert_eq!(find(&disks), []);
        let mut disks = zoo::facts("twins").disks;
        disks[0].content = Some(Content { kind: "linux_raid_member".to_owned(), label: None, id: None });
        assert_eq!(find(&disks), []);
    }
}
