use super::*;
use crate::facts::{Content, zoo};

const NEED: Need = Need { size: Bytes::gib(2), sector: SectorSize(512) };

fn codes(machine: &str, name: &str) -> Vec<&'static str> {
    let disks = zoo::facts(machine).disks;
    let disk = disks.iter().find(|disk| disk.name == name).unwrap();
    judge(&disks, disk, NEED).iter().map(Refusal::code).collect()
}

#[test]
fn an_idle_disk_with_data_may_be_written_once_that_is_approved() {
    assert_eq!(codes("mini-pc", "nvme0n1"), [""; 0]);
    let disks = zoo::facts("mini-pc").disks;
    assert!(data(&disks[0]).unwrap().contains("BitLocker"));
}

#[test]
fn the_boot_medium_is_never_a_target() {
    assert!(codes("mini-pc", "sda").contains(&"backs-root"));
}

#[test]
fn arrays_and_volumes_hold_their_disks_and_are_named() {
    let disks = zoo::facts("nas").disks;
    let disk = disks.iter().find(|disk| disk.name == "sda").unwrap();
    let refusals = judge(&disks, disk, NEED);
    let text = all(&refusals);
    for part in ["[held]", "md127 (raid1)", "vg0-media (lvm)", "[mounted]", "vg0-media is mounted at /srv/media"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn the_other_half_of_a_mounted_btrfs_is_not_free() {
    let mut disks = zoo::facts("mini-pc").disks;
    let btrfs = Some(Content { kind: "btrfs".into(), label: None, id: Some("b-1".into()) });
    disks[0].content.clone_from(&btrfs);
    disks[0].partitions.clear();
    disks[1].partitions[3].content = btrfs;
    disks[1].partitions[3].mountpoints = vec!["/srv".into()];
    let refusals = protected(&disks, &disks[0]);
    assert_eq!(refusals, [Refusal::BtrfsMember { device: disks[0].path.clone(), at: "/srv".into() }]);
    disks[1].partitions[3].mountpoints.clear();
    assert_eq!(protected(&disks, &disks[0]), []);
}

#[test]
fn everything_is_told_at_once() {
    let mut disks = zoo::facts("mini-pc").disks;
    disks[0].read_only = true;
    disks[0].logical_sector = SectorSize(4096);
    disks[0].size = Bytes::gib(1);
    disks[0].partitions[0].mountpoints = vec!["[SWAP]".into(), "/boot".into()];
    disks[1].serial = disks[0].serial.clone();
    let found: Vec<&str> = judge(&disks, &disks[0], NEED).iter().map(Refusal::code).collect();
    assert_eq!(found, ["backs-root", "swap", "mounted", "read-only", "duplicate-serial", "too-small", "sector-size"]);
}

#[test]
fn an_empty_disk_has_nothing_to_lose() {
    let mut disk = zoo::facts("mini-pc").disks.remove(0);
    disk.table = None;
    disk.content = None;
    disk.partitions.clear();
    assert_eq!(data(&disk), None);
}

#[test]
fn two_disks_that_tell_no_serial_number_are_no_twins() {
    let mut disks = zoo::facts("mini-pc").disks;
    disks[0].serial = None;
    disks[1].serial = None;
    assert_eq!(protected(&disks, &disks[0]), []);
}
