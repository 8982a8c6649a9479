//! `hearth-image flash` beside other people's data: it writes to the disk that was named and
//! to no other, and whoever names a disk that is in use, or is no disk, is refused with the
//! reason, before a byte is written anywhere.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::exit::Exit;
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{SERIAL, adopted, image_on_disk};
use hearth_qemu_tests::flashed::compare;
use hearth_qemu_tests::nbd::Disk;
use hearth_qemu_tests::workstation::{IMAGE, Workstation};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};
use serde_json::{Value, json};

/// The stick that the machine was started from.
const STICK: &str = "usb-QEMU_QEMU_HARDDISK_STICK-0:0";

/// The serial numbers of the disks that are not meant. Two of them have the same.
const DECOYS: [&str; 14] = [
    "PV",
    "MD",
    "LUKS",
    "BTRFS1",
    "BTRFS2",
    "NTFS",
    "ZFS",
    "TWIN",
    "TWIN",
    "READONLY",
    "MOUNTED",
    "SWAP",
    "BIGSECTORS",
    "SMALL",
];

/// Makes of the decoys what they are named after, with the guest's own tools. What is mounted is
/// mounted read-only: nobody but flash could write to it now. On a busy host udev may not even
/// answer for a while; the appliance itself asks five times, too.
const PREPARE: &str = "set -e
settle() { for _ in 1 2 3 4; do udevadm settle && return; done; udevadm settle; }
cd /dev/disk/by-id
settle
pvcreate -q -y $PWD/virtio-PV
vgcreate -q decoy $PWD/virtio-PV
lvcreate -q -y -Wn -L 64M -n volume decoy
yes | mdadm --create /dev/md/decoy --run --level=1 --raid-devices=2 virtio-MD missing
printf secret | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 virtio-LUKS -
printf secret | cryptsetup open --key-file - virtio-LUKS decoy-luks
mkfs.btrfs -q -d raid1 -m raid1 virtio-BTRFS1 virtio-BTRFS2
mkfs.ext4 -q virtio-MOUNTED
mkswap -q virtio-SWAP
sysctl -q vm.swappiness=0
swapon virtio-SWAP
mkdir -p /run/decoys/btrfs /run/decoys/ext4
mount -o ro virtio-BTRFS1 /run/decoys/btrfs
mount -o ro virtio-MOUNTED /run/decoys/ext4
blockdev --setro virtio-READONLY
echo file > /run/decoys/file
settle
sync
";

/// What is aimed at, and the code of the refusal. Each is approved by its own name, so that
/// it is never for want of approval.
const AIMS: [(&str, &str); 18] = [
    ("virtio-PV", "held"),
    ("virtio-MD", "held"),
    ("virtio-LUKS", "held"),
    ("virtio-BTRFS1", "btrfs"),
    ("virtio-BTRFS2", "btrfs"),
    ("virtio-TWIN", "duplicate-serial"),
    ("virtio-READONLY", "read-only"),
    ("virtio-MOUNTED", "mounted"),
    ("virtio-SWAP", "swap"),
    ("virtio-BIGSECTORS", "sector-size"),
    ("virtio-SMALL", "too-small"),
    ("virtio-HEARTH0001", "hearth-installed"),
    (STICK, "backs-root"),
    ("usb-QEMU_QEMU_HARDDISK_STICK-0:0-part4", "not-a-whole-disk"),
    ("/dev/mapper/decoy-volume", "not-a-whole-disk"),
    ("/dev/md/decoy", "not-a-whole-disk"),
    ("/dev/vdzz", "not-a-block-device"),
    ("/run/decoys/file", "not-a-block-device"),
];

#[test]
fn only_the_disk_that_was_named_is_written_to() {
    scenario("flash-refusals", Duration::from_secs(400), |lab| {
        let station = lab.step("the workstation's disk", || Workstation::make(lab))?;
        let hearth = adopted(lab)?;
        let (target, stick) = (Disk::empty(Bytes::gib(4).0)?, image_on_disk(lab, Bytes::gib(4))?);
        let decoys: Vec<Disk> = DECOYS.iter().map(|&serial| decoy(serial)).collect::<Result<_>>()?;
        let mut builder = lab
            .vm("main")
            .memory_mib(4096)
            .drive(Drive::served(&stick).bus(Bus::Usb).serial("STICK").boots(0))
            .drive(station.drive())
            .drive(Drive::overlay(hearth).serial(SERIAL).id("installed"))
            .drive(Drive::served(&target).serial("TARGET"));
        for (serial, disk) in DECOYS.iter().zip(&decoys) {
            let sector = if *serial == "BIGSECTORS" { 4096 } else { 512 };
            builder = builder.drive(Drive::served(disk).serial(*serial).sector_size(sector));
        }
        let vm = builder.start()?;
        lab.step("started from a stick", || station.mount(lab, &vm))?;
        lab.step("decoys made", || vm.keep(vm.root_sh(PREPARE, lab.patience(120))?.ok()))?;
        lab.step("decoys at rest", || at_rest(lab, &vm, &decoys))?;
        let untouched = || {
            let of = DECOYS.iter().zip(&decoys).chain([(&STICK, &stick)]);
            for (name, disk) in of {
                ensure!(disk.stats().written == 0, "{} bytes were written to {name}", disk.stats().written);
            }
            ensure!(written(&vm, "installed")? == 0, "something was written to the disk that a Hearth lives on");
            Ok(())
        };

        lab.step("refused one by one", || {
            AIMS.iter().try_for_each(|(aim, code)| refused(lab, &station, &vm, aim, code))
        })?;
        lab.step("told beforehand", || listed(lab, &station, &vm))?;
        lab.step("refused for want of approval", || {
            let cases = [
                ("virtio-TARGET", "not-approved"),
                ("virtio-NTFS", "has-data"),
                ("virtio-ZFS", "has-data"),
                ("virtio-TARGET --erase virtio-PV", "erase-mismatch"),
                ("virtio-TARGET --erase /dev/vda", "erase-mismatch"),
                ("serial=TWIN", "not-exactly-one"),
            ];
            cases.iter().try_for_each(|(words, code)| {
                let words = if words.contains('=') { (*words).to_owned() } else { format!("/dev/disk/by-id/{words}") };
                says(lab, &station, &vm, &words, code).map(drop)
            })
        })?;
        vm.root_sh("test ! -e /dev/vdzz && test \"$(cat /run/decoys/file)\" = file", lab.patience(10))?
            .ok()
            .context("a name that is no disk became a file, or a file was written to")?;
        untouched()?;
        ensure!(target.stats().written == 0, "a refusal wrote to the target");

        lab.step("the target flashed", || {
            let words = format!("flash {IMAGE} /dev/disk/by-id/virtio-TARGET --erase virtio-TARGET");
            vm.keep(station.run(&vm, &words, lab.patience(200))?.ok())
        })?;
        untouched()?;
        compare(&target, &station.image, &station.manifest).map(drop)
    });
}

/// A disk with what the guest's tools do not make on it.
fn decoy(serial: &str) -> Result<Disk> {
    let disk = Disk::empty(if serial == "SMALL" { Bytes::gib(1) } else { Bytes::gib(4) }.0)?;
    match serial {
        "NTFS" => ntfs(&disk)?,
        "ZFS" => zfs(&disk)?,
        _ => {}
    }
    Ok(disk)
}

/// As much of an NTFS as libblkid wants to see: the boot sector, and records 0 and 3 of its file table.
fn ntfs(disk: &Disk) -> Result<()> {
    let mut boot = [0; 512];
    boot[3..11].copy_from_slice(b"NTFS    ");
    boot[11..14].copy_from_slice(&[0x00, 0x02, 8]);
    boot[40..48].copy_from_slice(&(disk.size() / 512 - 1).to_le_bytes());
    // The file table begins at cluster 4, its copy at 2; a record has 2 to the 10th bytes.
    (boot[48], boot[56], boot[64], boot[68]) = (4, 2, 0xf6, 1);
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write(0, &boot, true)?;
    let mut record = [0; 1024];
    record[..4].copy_from_slice(b"FILE");
    // No attributes: the list at 56 ends at once.
    record[20] = 56;
    record[56..60].fill(0xff);
    for number in [0, 3] {
        disk.write(4 * 4096 + number * 1024, &record, true)?;
    }
    Ok(())
}

/// As much of a ZFS label as libblkid wants to see: a list of three numbers, as XDR writes it.
fn zfs(disk: &Disk) -> Result<()> {
    let mut label = vec![1, 1];
    label.resize(12, 0);
    for (name, value) in [("guid", 4711_u64), ("state", 0), ("txg", 4)] {
        let padded = name.len().next_multiple_of(4);
        for word in [28 + padded, 0, name.len()] {
            label.extend(u32::try_from(word)?.to_be_bytes());
        }
        label.extend(name.as_bytes());
        label.resize(label.len() + padded - name.len(), 0);
        // Type 8 is a number of 64 bits; there is one.
        label.extend([8_u32, 1].map(u32::to_be_bytes).concat());
        label.extend(value.to_be_bytes());
    }
    label.resize(512, 0);
    Ok(disk.write(Bytes::kib(16).0, &label, true)?)
}

/// Waits until no decoy is written to any more; counts from zero from then on.
fn at_rest(lab: &Lab, vm: &Vm, decoys: &[Disk]) -> Result<()> {
    let deadline = std::time::Instant::now() + lab.patience(12);
    loop {
        decoys.iter().for_each(Disk::reset_stats);
        vm.root_sh("sync; sleep 5", lab.patience(10))?.ok()?;
        if decoys.iter().all(|disk| disk.stats().written == 0) {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "the decoys do not come to rest");
    }
}

/// Aims at a disk, approved by its own name.
fn refused(lab: &Lab, station: &Workstation, vm: &Vm, aim: &str, code: &str) -> Result<()> {
    let path = if aim.starts_with('/') { aim.to_owned() } else { format!("/dev/disk/by-id/{aim}") };
    if code == "btrfs" {
        // lsblk tells the mount of one of its disks only.
        let words = format!("{path} --erase {aim}");
        return says(lab, station, vm, &words, "mounted").or_else(|_| says(lab, station, vm, &words, "btrfs-member"));
    }
    says(lab, station, vm, &format!("{path} --erase {aim}"), code)
}

/// Runs flash with `words`, which must be refused with `code`.
fn says(lab: &Lab, station: &Workstation, vm: &Vm, words: &str, code: &str) -> Result<()> {
    let output = station.run(vm, &format!("flash {IMAGE} {words}"), lab.patience(30))?;
    let right = output.code == i32::from(Exit::Refused.code()) && output.stderr.contains(&format!("[{code}]"));
    vm.keep(
        right.then_some(()).with_context(|| format!("flash to {words} should be refused with {code}: {output:?}")),
    )?;
    if code == "hearth-installed" {
        ensure!(output.stderr.contains("holds Hearth hearth, last used 20"), "it is not named: {}", output.stderr);
    }
    Ok(())
}

/// `disks` tells the same reasons before anybody aims.
fn listed(lab: &Lab, station: &Workstation, vm: &Vm) -> Result<()> {
    let disks: Vec<Value> = serde_json::from_str(&station.run(vm, "disks --json", lab.patience(30))?.ok()?)?;
    for (name, code) in
        AIMS.iter().filter(|(_, code)| ["held", "read-only", "mounted", "swap", "backs-root"].contains(code))
    {
        let disk = disks.iter().find(|disk| disk["name"] == *name).with_context(|| format!("{name} is not listed"))?;
        let refusals = disk["refusals"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(refusals.iter().any(|refusal| refusal["code"] == *code), "{name} is not listed with {code}: {disk}");
    }
    Ok(())
}

/// How many bytes QEMU wrote to a disk.
fn written(vm: &Vm, id: &str) -> Result<u64> {
    let all = vm.qmp().run("query-blockstats", json!({}))?;
    let disk =
        all.as_array().into_iter().flatten().find(|disk| disk["qdev"].as_str().is_some_and(|qdev| qdev.contains(id)));
    disk.and_then(|disk| disk["stats"]["wr_bytes"].as_u64()).with_context(|| format!("QEMU knows no disk {id}: {all}"))
}
