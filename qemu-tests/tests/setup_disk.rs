//! Setting a machine up from a stick on its internal disk: the stick is copied, the machine goes
//! on from the copy, and the stick that stays plugged in does no harm.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{SET_UP, answers, answers_without_hash, disk_with_data, hearth_holds, medium_with};
use hearth_qemu_tests::appliance::{facts, no_failed_units, runs_from_disk};
use hearth_qemu_tests::flashed::has_no_table;
use hearth_qemu_tests::nbd::{Disk, Survivors, find};
use hearth_qemu_tests::{Bus, Drive, Firmware, Lab, Vm, scenario};

/// What must be told to nobody.
const PASSWORD: &str = "nobody else may read this";

/// What opens the encrypted disk.
const PASSPHRASE: &str = "correct horse battery staple";

/// What only its owner may read.
const MARKER: &str = "the diary of a lighthouse keeper";

/// The serial number of the internal disk.
const FAST: &str = "FAST0001";

/// What is said when the copy is finished, and by a stick that has served.
const RESTARTING: &str = "Hearth: restarting. Setting up goes on from the new disk.";
const WAITS: &str = "started from the stick again";

/// A stick with the image and an answer file on it, and a disk for Hearth.
fn stick_and_disk(lab: &Lab) -> Result<(Disk, Disk)> {
    let (_, public) = lab.ssh_key("admin")?;
    let text = answers(
        "attic",
        &public,
        &erase(),
        &format!(
            "[mail]\nserver = \"smtp.example.org\"\nfrom = \"hearth@example.org\"\nto = [\"ada@example.org\"]\n\
             security = \"tls\"\nport = 465\nusername = \"ada\"\npassword = \"{PASSWORD}\"\n"
        ),
    );
    let text = on_the_disk(&text);
    let stick = Disk::over(&medium_with(lab, &text)?, Bytes::gib(4).0)?;
    ensure!(hearth_holds(lab, &stick, PASSWORD)?, "the password cannot be found where it is");
    Ok((stick, Disk::empty(Bytes::gib(16).0)?))
}

/// The approval to erase the internal disk.
fn erase() -> String {
    format!("erase = [\"nvme-QEMU_NVMe_Ctrl_{FAST}\"]\n")
}

/// The same answers for a system on the internal disk.
fn on_the_disk(text: &str) -> String {
    text.replace("disk = \"this\"", &format!("disk = {{ serial = \"{FAST}\" }}"))
}

fn in_usb(stick: &Disk) -> Drive {
    Drive::served(stick).bus(Bus::Usb).serial("STICK0001")
}

fn in_nvme(disk: &Disk) -> Drive {
    Drive::served(disk).bus(Bus::Nvme).serial(FAST)
}

/// What a stick that has served does: it says where Hearth went, and neither restarts nor writes.
fn stick_waits(lab: &Lab, vm: Vm, disks: [&Disk; 2]) -> Result<()> {
    lab.step("the stick waits", || {
        vm.wait_for_text(WAITS, lab.patience(120))?;
        vm.wait_for_text("remove it, or choose", lab.patience(10))?;
        // The page says it, too, instead of that nothing was changed.
        vm.wait_for_text(WAITS, lab.patience(60))?;
        vm.wait_for_text("press Enter", lab.patience(20)).map(drop)
    })?;
    no_failed_units(lab, &vm)?;
    vm.power_cut(Survivors::None);
    for disk in disks {
        ensure!(disk.stats().written == 0, "{} bytes were written by a stick that waits", disk.stats().written);
    }
    Ok(())
}

#[test]
fn a_stick_sets_the_machine_up_on_its_internal_disk() {
    scenario("setup-disk", Duration::from_secs(300), |lab| {
        let (stick, disk) = stick_and_disk(lab)?;
        // Nobody says here what is to be started first: the firmware has its own list, and keeps it.
        let vm = lab.vm("main").drive(in_usb(&stick)).drive(in_nvme(&disk)).start()?;
        lab.step("the plan", || {
            vm.wait_for_text("ERASED: all that is on it is lost. Hearth is written to it", lab.patience(120))
        })?;
        lab.step("written", || {
            vm.wait_for_text("Hearth: writing to nvme0n1: 50 %", lab.patience(120))?;
            vm.wait_for_text("Hearth: writing to nvme0n1: 100 %", lab.patience(120))?;
            vm.wait_for_text(RESTARTING, lab.patience(60))
        })?;
        lab.step("set up on the disk", || vm.wait_for_text(SET_UP, lab.patience(300)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(30))?.ok();
        lab.step("root, firmware and ids", || {
            ensure!(sh("findmnt -no SOURCE /")? == "/dev/nvme0n1p4", "root is elsewhere");
            let list = sh("efibootmgr")?;
            let order = list.lines().find_map(|line| line.strip_prefix("BootOrder: ")).unwrap_or_default();
            let first = format!("Boot{}* Hearth", order.split(',').next().unwrap_or_default());
            ensure!(list.lines().any(|line| line.starts_with(&first)), "the firmware's list is: {list}");
            ensure!(list.matches("* Hearth").count() == 1, "there are several entries: {list}");
            let facts = facts(lab, &vm)?;
            ensure!(facts.duplicates.is_empty(), "the disk and the stick are taken for copies: {:?}", facts.duplicates);
            // Beside those of the stick no id is there twice.
            let twice = sh("lsblk -nro PTUUID,PARTUUID,UUID | tr ' ' '\\n' | grep . | sort >/run/ids; lsblk -nro PARTUUID,UUID | tr ' ' '\\n' | grep . | sort | uniq -d")?;
            ensure!(twice.is_empty(), "these ids are there twice: {twice}");
            ensure!(sh("hostname")? == "attic", "another name");
            sh("test -e /var/lib/hearth/setup/sealed").map(drop)
        })?;
        lab.step("what the stick holds", || {
            let files = sh("mkdir -p /run/h && mount -o ro /dev/sda3 /run/h && ls /run/h && cat /run/h/*.txt /run/h/hearth.done.toml; umount /run/h")?;
            for words in ["hearth.moved", "this machine is set up", "attic.local", "SHA256:", "password = \"********\""] {
                ensure!(files.contains(words), "{words} is not on the stick:\n{files}");
            }
            ensure!(!files.lines().any(|line| line == "hearth.toml"), "the answers are on the stick");
            Ok(())
        })?;
        vm.power_down(lab.patience(90))?;
        for (name, of) in [("stick", &stick), ("disk", &disk)] {
            ensure!(!hearth_holds(lab, of, PASSWORD)?, "HEARTH of the {name} still holds the password");
            of.reset_stats();
        }
        let again = lab.vm("again").drive(in_usb(&stick).boots(0)).drive(in_nvme(&disk)).start()?;
        stick_waits(lab, again, [&stick, &disk])
    });
}

#[test]
fn a_bios_that_starts_the_stick_again_is_told_and_a_power_cut_is_made_good() {
    scenario("setup-disk-bios", Duration::from_secs(420), |lab| {
        let (stick, disk) = stick_and_disk(lab)?;
        let start = |name| {
            let vm = lab.vm(name).firmware(Firmware::Bios).drive(in_usb(&stick).boots(0));
            vm.drive(in_nvme(&disk).boots(1)).start()
        };
        let vm = start("cut")?;
        lab.step("cut off while it is written", || vm.wait_for_text("writing to nvme0n1: 60 %", lab.patience(240)))?;
        vm.power_cut(Survivors::Random(1));
        has_no_table(&disk)?;
        let vm = start("main")?;
        lab.step("written", || vm.wait_for_text(RESTARTING, lab.patience(240)))?;
        ensure!(vm.serial().text().contains("was started by BIOS"), "nobody is told what to do");
        // The BIOS starts the stick once more.
        lab.step("the stick again", || vm.wait_for_text(WAITS, lab.patience(120)))?;
        no_failed_units(lab, &vm)?;
        ensure!(vm.serial().text().matches(RESTARTING).count() == 1, "the machine restarts again and again");
        vm.power_cut(Survivors::None);
        ensure!(!hearth_holds(lab, &stick, PASSWORD)?, "the stick still holds the password");
        let vm = lab.vm("without").firmware(Firmware::Bios).drive(in_nvme(&disk).boots(0)).start()?;
        lab.step("set up on the disk", || vm.wait_for_text(SET_UP, lab.patience(300)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)
    });
}

#[test]
fn s6_an_encrypted_disk_is_set_up_from_a_stick_that_keeps_no_key() {
    scenario("setup-disk-encrypted", Duration::from_secs(420), |lab| {
        let (_, public) = lab.ssh_key("admin")?;
        let text = answers_without_hash(
            "attic",
            &public,
            &erase(),
            "/mnt/backups/kit.txt",
            &format!(
                "[encryption]\nunlock = \"passphrase\"\npassphrase = \"{PASSPHRASE}\"\n\n\
                 [[disks]]\nroles = [\"backups\"]\ndisk = {{ serial = \"ROLE-A\" }}\nprepare = \"adopt\"\n"
            ),
        );
        let stick = Disk::over(&medium_with(lab, &on_the_disk(&text))?, Bytes::gib(4).0)?;
        ensure!(hearth_holds(lab, &stick, PASSPHRASE)?, "the passphrase cannot be found where it is");
        let (disk, photos) = (Disk::empty(Bytes::gib(16).0)?, disk_with_data(lab, "photos", 64, "the family's\n")?);
        let role = || Drive::file(&photos).bus(Bus::Sata).serial("ROLE-A");

        let vm = lab.vm("main").drive(in_usb(&stick)).drive(in_nvme(&disk)).drive(role()).start()?;
        lab.step("written", || vm.wait_for_text(RESTARTING, lab.patience(240)))?;
        lab.step("set up on the disk", || vm.wait_for_text(SET_UP, lab.patience(300)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
        let types = sh("lsblk -nro TYPE,MOUNTPOINTS")?;
        let is_encrypted = |line: &str| line.starts_with("crypt ") && line.contains("/var/lib/hearth/data");
        ensure!(types.lines().any(is_encrypted), "data is not encrypted:\n{types}");
        let kit = sh("cat /mnt/backups/kit.txt")?;
        let recovery = kit.lines().map(str::trim).find(|line| line.split('-').count() == 8);
        let recovery = recovery.with_context(|| format!("the kit holds no recovery key:\n{kit}"))?.to_owned();
        sh(&format!("echo '{MARKER}' >/opt/stacks/marker; sync"))?;
        vm.power_down(lab.patience(90))?;

        lab.step("no key is on the stick or the disk", || {
            let needles = [("the marker", MARKER), ("the passphrase", PASSPHRASE), ("the recovery key", &recovery)];
            let found = (find(&stick, &needles)?, find(&disk, &needles)?);
            ensure!(found.0.is_empty() && found.1.is_empty(), "the raw stick and disk tell {found:?}");
            let plain = find(&disk, &[("the name", "attic")])?;
            ensure!(!plain.is_empty(), "this search finds nothing at all");
            Ok(())
        })?;

        let vm = lab.vm("without").drive(in_nvme(&disk).boots(0)).drive(role()).start()?;
        lab.step("without the stick the passphrase opens it", || {
            vm.wait_for_text("Unlock: ", lab.patience(120))?;
            vm.type_line(PASSPHRASE)?;
            vm.wait_for_text("The disks are open", lab.patience(60)).map(drop)
        })?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let marker = vm.root_sh("cat /opt/stacks/marker", lab.patience(30))?.ok()?;
        ensure!(marker == MARKER, "the marker is {marker:?}");
        Ok(())
    });
}
