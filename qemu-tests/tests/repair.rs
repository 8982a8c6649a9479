//! Repair: the system of a machine is destroyed, and written anew from a stick. What its owner cares
//! for stays, through a power cut in the middle, too, and with everything encrypted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::layout::Part;
use hearth::units::Bytes;
use hearth_image::verify;
use hearth_qemu_tests::answered::{ADMIN, DISKS, PORTAL_HASH, SET_UP, answers, disk_with_data, medium_with};
use hearth_qemu_tests::appliance::{no_failed_units, runs_from_disk};
use hearth_qemu_tests::nbd::{Disk, Survivors};
use hearth_qemu_tests::{Bus, Drive, Firmware, Lab, Vm, scenario};

/// The serial number of the internal disk, and what of it approves.
const FAST: &str = "FAST0001";
const APPROVAL: &str = "0001";

/// What opens the encrypted disks.
const PASSPHRASE: &str = "correct horse battery staple";

const RESTARTING: &str = "Hearth: the system is whole. Restarting; remove the stick.";
const REPAIRED: &str = "Hearth: this machine is repaired.";

/// What its owner puts on the machine.
const MARK: &str = "set -e
echo home >/home/ada/marker; chown ada: /home/ada/marker
docker volume create films >/dev/null; echo volume >/var/lib/docker/volumes/films/_data/marker
echo film >/mnt/media/marker; echo stack >/opt/stacks/marker
echo 'correct horse battery' | hearth user add eve --display-name Eve --email eve@example.org
sync
";

/// All that makes the machine what it is.
const OWN: &str = r"
stat -c '%n %U %a' /home/ada /home/ada/marker
cat /home/ada/marker /var/lib/docker/volumes/films/_data/marker /mnt/media/marker /mnt/backups/marker /opt/stacks/marker
cat /etc/machine-id; sha256sum /etc/ssh/ssh_host_* /etc/ssh/authorized_keys.d/* /boot/hearth/password.cfg
find /etc/hearth /opt/stacks /boot/hearth /etc/systemd/system /etc/systemd/network /var/lib/hearth/disks /mnt \
    -xdev ! -name grubenv ! -path '*/.git/*' -printf '%p %y %m %U %G %l\n' | sort
find /etc/hearth -type f | sort | xargs sha256sum
sha256sum /opt/stacks/core/authelia/* /etc/docker/daemon.json /etc/ufw/*.rules /etc/fstab /etc/hostname /etc/locale.conf
git -C /opt/stacks log --format=%H
getent passwd | sort; getent group | sort; getent shadow ada | cut -d: -f2
lsblk -nro TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,PARTLABEL,SERIAL | sort
findmnt -nro UUID,TARGET --real | sort
lsattr -d /mnt/*; readlink /etc/localtime; hostname
iptables -S ufw-user-input; nft list chain inet hearth neighbours_only | grep -v counter
docker network ls --format '{{.Name}} {{.ID}}' | grep -v '^bridge ' | sort; docker volume ls -q
";

/// A machine: the stick, the internal disk, and those for media and backups.
struct Machine {
    stick: Disk,
    disk: Disk,
    films: Disk,
    photos: PathBuf,
    firmware: Firmware,
    key: PathBuf,
}

impl Machine {
    fn new(lab: &Lab, firmware: Firmware, more: &str) -> Result<Self> {
        let (key, public) = lab.ssh_key("admin")?;
        let erase = format!("erase = [\"nvme-QEMU_NVMe_Ctrl_{FAST}\", \"ata-QEMU_HARDDISK_ROLE-B\"]");
        let text = answers(
            "attic",
            &public,
            &format!("stacks = [\"core\"]\n{erase}\n"),
            &format!(
                "{more}[[users]]\nname = \"{ADMIN}\"\ndisplay-name = \"Ada\"\nemail = \"ada@example.org\"\n\
                 groups = [\"admins\"]\npassword-hash = \"{PORTAL_HASH}\"\n\n{DISKS}"
            ),
        );
        let text = text.replace("disk = \"this\"", &format!("disk = {{ serial = \"{FAST}\" }}"));
        Ok(Self {
            stick: Disk::over(&medium_with(lab, &text)?, Bytes::gib(4).0)?,
            disk: Disk::empty(Bytes::gib(16).0)?,
            films: Disk::empty(Bytes::gib(2).0)?,
            photos: disk_with_data(lab, "photos", 64, "the family's\n")?,
            firmware,
            key,
        })
    }

    /// Starts it with the stick or without.
    fn start<'a>(&self, lab: &'a Lab, name: &str, stick: bool) -> Result<Vm<'a>> {
        let mut vm = lab.vm(name).firmware(self.firmware);
        let own = Drive::served(&self.disk).bus(Bus::Nvme).serial(FAST);
        let bios = matches!(self.firmware, Firmware::Bios);
        if stick {
            let stick = Drive::served(&self.stick).bus(Bus::Usb).serial("STICK0001");
            // UEFI decides by its own list, which a repair changes; a BIOS starts what it is told to.
            vm = vm.drive(if bios { stick.boots(0) } else { stick });
            vm = vm.drive(if bios { own.boots(1) } else { own });
        } else {
            vm = vm.drive(own.boots(0));
        }
        let vm = vm.drive(Drive::file(&self.photos).bus(Bus::Sata).serial("ROLE-A"));
        vm.drive(Drive::served(&self.films).bus(Bus::Sata).serial("ROLE-B")).start()
    }

    /// Overwrites what firmware starts and the root file system; with a BIOS the table, too.
    fn destroy(&self, lab: &Lab) -> Result<()> {
        let image = verify::read_manifest(&verify::manifest_path(&lab.image()?))?.disk_image();
        let place = |part: Part| -> Result<u64> {
            Ok(image.find(part).context("a partition is missing")?.start.offset(image.sector_size).0)
        };
        let rubbish = vec![0xa5; 1 << 20];
        let (esp, root) = (place(Part::Esp)?, place(Part::RootA)?);
        let esp = (0..64).map(|mib| esp + (mib << 20));
        let root = (0..2048).step_by(3).map(|mib| root + (mib << 20));
        let table = matches!(self.firmware, Firmware::Bios).then_some(0);
        for at in esp.chain(root).chain(table) {
            self.disk.write(at, &rubbish, true)?;
        }
        Ok(())
    }

    /// Fails unless nothing starts from the disk.
    fn is_dead(&self, lab: &Lab) -> Result<()> {
        let image = verify::read_manifest(&verify::manifest_path(&lab.image()?))?.disk_image();
        let esp = image.find(Part::Esp).context("no ESP")?.start.offset(image.sector_size).0;
        ensure!(self.disk.read(0, 3)? == [0xcd, 0x18, 0xf4], "a BIOS would start something");
        ensure!(self.disk.read(esp, 4096)?.iter().all(|byte| *byte == 0), "UEFI would find a file system");
        ensure!(self.disk.read(510, 2)? == [0x55, 0xaa], "the table is gone");
        Ok(())
    }

    fn ssh(&self, lab: &Lab, vm: &Vm, command: &str) -> Result<String> {
        ssh(lab, vm, &self.key, command)
    }
}

fn ssh(lab: &Lab, vm: &Vm, key: &Path, command: &str) -> Result<String> {
    vm.ssh(ADMIN, key, command, lab.patience(60))?.ok()
}

/// What [`OWN`] tells, once everything has started.
fn own(lab: &Lab, vm: &Vm) -> Result<String> {
    runs_from_disk(lab, vm)?;
    no_failed_units(lab, vm)?;
    vm.root_sh(OWN, lab.patience(60))?.ok()
}

/// Chooses repair on the page and approves it.
fn ask_for_repair(lab: &Lab, vm: &Vm, passphrase: Option<&str>) -> Result<()> {
    lab.step("the page offers a repair", || {
        vm.wait_for_text("3) Repair", lab.patience(120))?;
        vm.wait_for_text("press Enter", lab.patience(20))?;
        vm.type_line("3").map(drop)
    })?;
    if let Some(passphrase) = passphrase {
        lab.step("what opens data", || {
            for typed in ["not that one", passphrase] {
                vm.wait_for_text("Unlock: ", lab.patience(60))?;
                vm.type_line(typed)?;
            }
            Ok(())
        })?;
    }
    lab.step("the plan, approved", || {
        vm.wait_for_text("Plan: repair the machine \"attic\" on nvme0n1", lab.patience(60))?;
        vm.wait_for_text("stays: services, files, people, secrets", lab.patience(10))?;
        vm.wait_for_text("Approve: ", lab.patience(20))?;
        vm.type_line("nope")?;
        vm.wait_for_text("These are not the last characters", lab.patience(20))?;
        vm.wait_for_text("Approve: ", lab.patience(20))?;
        vm.type_line(APPROVAL)
    })
}

/// Fails with the lines that differ, in whatever order they come.
fn same(before: &str, after: &str) -> Result<()> {
    let missing: Vec<&str> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
    let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|other| other == *line)).collect();
    ensure!(
        missing.is_empty() && new.is_empty(),
        "the machine is not what it was.\nIt lacks {missing:#?}\nand has {new:#?}"
    );
    Ok(())
}

#[test]
fn a_destroyed_system_is_written_anew_and_all_else_stays() {
    scenario("repair", Duration::from_secs(600), |lab| {
        let machine = Machine::new(lab, Firmware::default(), "")?;
        let vm = machine.start(lab, "setup", true)?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(500)))?;
        runs_from_disk(lab, &vm)?;
        vm.root_sh(MARK, lab.patience(60))?.ok()?;
        let before = own(lab, &vm)?;
        lab.step("what is kept for this day", || {
            let kept = vm.root_sh("stat -c '%U %a' /var/lib/hearth/data/repair /var/lib/hearth/data/repair/setup.json", lab.patience(20))?;
            ensure!(kept.ok()? == "root 700\nroot 600", "the record can be read by others");
            // A password that is changed later is kept as well.
            vm.root_sh("echo 'ada:another long password' | chpasswd; for i in $(seq 30); do sleep 1; grep -qF \"$(getent shadow ada | cut -d: -f2)\" /var/lib/hearth/data/repair/setup.json && exit; done; exit 1", lab.patience(60))?.ok()
        })?;
        let before = before.lines().filter(|line| !line.starts_with("$y$")).collect::<Vec<_>>().join("\n");
        let hash = vm.root_sh("getent shadow ada | cut -d: -f2", lab.patience(20))?.ok()?;
        let before = format!("{before}\n{hash}");
        vm.power_down(lab.patience(90))?;

        machine.destroy(lab)?;
        let vm = machine.start(lab, "main", true)?;
        ask_for_repair(lab, &vm, None)?;
        lab.step("written", || {
            vm.wait_for_text("Hearth: writing to nvme0n1: 100 %", lab.patience(300))?;
            vm.wait_for_text(RESTARTING, lab.patience(120))
        })?;
        lab.step("repaired", || vm.wait_for_text(REPAIRED, lab.patience(300)))?;
        let after = own(lab, &vm)?;
        vm.keep(same(&before, &after))?;
        lab.step("who may log in, and what is told", || {
            ensure!(machine.ssh(lab, &vm, "id -nG; cat marker")?.ends_with("home"), "another home");
            let told = vm.root_sh("grep -c 'the system was repaired' /var/log/hearth/audit.jsonl; mkdir -p /run/h && mount -o ro /dev/nvme0n1p3 /run/h && cat /run/h/hearth-report.txt; umount /run/h; hearth status", lab.patience(60))?;
            let told = told.ok()?;
            ensure!(told.starts_with("1\n") && told.contains("this machine is repaired") && !told.contains("REPAIR "), "{told}");
            ensure!(vm.serial().text().matches(REPAIRED).count() == 1, "it was repaired more than once");
            vm.root_sh("test ! -e /var/lib/hearth/repair.json", lab.patience(20))?.ok().map(drop)
        })?;
        vm.power_down(lab.patience(90))?;
        let vm = machine.start(lab, "without", false)?;
        lab.step("without the stick", || {
            ensure!(machine.ssh(lab, &vm, "cat /mnt/media/marker")? == "film", "another film");
            Ok(())
        })?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)
    });
}

#[test]
fn a_power_cut_in_the_middle_leaves_nothing_that_starts_and_the_next_repair_finishes_it() {
    scenario("repair-cut", Duration::from_secs(600), |lab| {
        let encryption = format!("[encryption]\nunlock = \"passphrase\"\npassphrase = \"{PASSPHRASE}\"\n\n");
        let machine = Machine::new(lab, Firmware::Bios, &encryption)?;
        let vm = machine.start(lab, "stick", true)?;
        lab.step("written to the disk", || vm.wait_for_text("started from the stick again", lab.patience(500)))?;
        vm.power_cut(Survivors::None);
        let vm = machine.start(lab, "setup", false)?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        vm.root_sh(MARK, lab.patience(60))?.ok()?;
        let before = own(lab, &vm)?;
        vm.power_down(lab.patience(90))?;

        // With the table, of which only the copy is left.
        machine.destroy(lab)?;
        let vm = machine.start(lab, "cut", true)?;
        ask_for_repair(lab, &vm, Some(PASSPHRASE))?;
        lab.step("cut off in the middle", || vm.wait_for_text("writing to nvme0n1: 50 %", lab.patience(300)))?;
        vm.power_cut(Survivors::Random(1));
        machine.is_dead(lab)?;
        let vm = machine.start(lab, "again", true)?;
        ask_for_repair(lab, &vm, Some(PASSPHRASE))?;
        lab.step("written", || vm.wait_for_text(RESTARTING, lab.patience(400)))?;
        ensure!(vm.serial().text().contains("was started by BIOS"), "nobody is told what to do");
        vm.power_cut(Survivors::None);

        let vm = machine.start(lab, "without", false)?;
        lab.step("locked, and its owner may come in", || {
            vm.wait_for_text("Unlock: ", lab.patience(200))?;
            let state = machine.ssh(lab, &vm, "cat /etc/hostname; test ! -e /home/ada/marker && echo locked")?;
            ensure!(state == "attic\nlocked", "it is {state}");
            vm.type_line(PASSPHRASE)?;
            vm.wait_for_text("The disks are open", lab.patience(60))
        })?;
        lab.step("repaired", || vm.wait_for_text(REPAIRED, lab.patience(200)))?;
        let after = own(lab, &vm)?;
        // The stick is not plugged in, before and now.
        vm.keep(same(&before, &after))?;
        ensure!(!vm.serial().text().contains(PASSPHRASE), "a console shows the passphrase");
        Ok(())
    });
}
