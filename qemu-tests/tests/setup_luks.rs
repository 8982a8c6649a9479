//! Encrypted disks: what opens them and what does not, what a thief reads, and how a machine is
//! whose disks are locked or destroyed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::layout::Part;
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, SET_UP, answers_without_hash, disk_with_data, medium_with};
use hearth_qemu_tests::appliance::{SERIAL, facts, no_failed_units, runs_from_disk};
use hearth_qemu_tests::nbd::{Disk, find};
use hearth_qemu_tests::tpm::Tpm;
use hearth_qemu_tests::{Builder, Bus, Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(600);

const PASSPHRASE: &str = "correct horse battery staple";

const PIN: &str = "pin-Xq7-40";

/// What only its owner may read.
const MARKER: &str = "the diary of a lighthouse keeper";

/// What a console asks while the disks are locked.
const QUESTION: &str = "Unlock: ";

/// What it says once they are open.
const OPEN: &str = "The disks are open";

/// Where the kit is: on a disk that stays as it is.
const KIT: &str = "/mnt/backups/kit.txt";

#[test]
fn s6_a_passphrase_opens_what_a_thief_cannot_read() {
    scenario("luks-passphrase", SHARE, |lab| {
        let (key, public) = lab.ssh_key("admin")?;
        let unlock = format!("unlock = \"passphrase\"\npassphrase = \"{PASSPHRASE}\"\n");
        let machine = Machine::new(lab, &public, &unlock)?;
        let (recovery, data) = lab.step("set up, encrypted", || machine.set_up(machine.vm("setting-up")))?;

        lab.step("a thief reads nothing", || {
            let needles = [("the marker", MARKER), ("the passphrase", PASSPHRASE), ("the recovery key", &recovery)];
            let (system, media) = (find(&machine.system, &needles)?, find(&machine.media, &needles)?);
            ensure!(system.is_empty() && media.is_empty(), "the raw disks tell {system:?}, {media:?}");
            let plain = find(&machine.system, &[("the name", "attic")])?;
            ensure!(!plain.is_empty(), "this search finds nothing at all");
            Ok(())
        })?;

        let vm = machine.vm("locked").start()?;
        lab.step("locked: the console asks, SSH works, Docker is down", || {
            vm.wait_for_text(QUESTION, lab.patience(120))?;
            locked(lab, &vm, &key, "data is LOCKED")
        })?;
        lab.step("a wrong passphrase, then the right one", || {
            vm.type_line("correct horse battery maple")?;
            vm.wait_for_text("That does not open the disks.", lab.patience(60))?;
            vm.type_line(PASSPHRASE)?;
            vm.wait_for_text(OPEN, lab.patience(60)).map(drop)
        })?;
        machine.all_there(&vm)?;
        ensure!(!vm.serial().text().contains(PASSPHRASE), "the console shows what is typed");
        vm.power_down(lab.patience(90))?;

        let vm = machine.vm("recovery-key").start()?;
        lab.step("Enter alone leads to the login, and the recovery key opens", || {
            vm.wait_for_text(QUESTION, lab.patience(120))?;
            vm.type_line("")?;
            vm.wait_for_text("login:", lab.patience(60))?;
            let said = vm.root_sh(&format!("echo '{recovery}' | hearth unlock"), lab.patience(90))?.ok()?;
            ensure!(said.contains(OPEN), "it says {said}");
            Ok(())
        })?;
        machine.all_there(&vm)?;
        vm.power_down(lab.patience(90))?;

        // Both headers of LUKS lie in the first megabytes.
        machine.system.zero(data..data + Bytes::mib(16).0, true)?;
        let vm = machine.vm("destroyed").start()?;
        lab.step("destroyed: console and SSH work and name the cause", || {
            vm.wait_for_text("login:", lab.patience(180))?;
            locked(lab, &vm, &key, "no disk holds the encrypted container")
        })
    });
}

#[test]
fn s6_a_pin_is_worth_nothing_without_the_machines_own_tpm() {
    scenario("luks-tpm", SHARE, |lab| {
        let (_, public) = lab.ssh_key("admin")?;
        let machine = Machine::new(lab, &public, &format!("unlock = \"tpm2-pin\"\npin = \"{PIN}\"\n"))?;
        let (own, other) = (Tpm::new()?, Tpm::new()?);
        let (recovery, _) = lab.step("set up, encrypted", || machine.set_up(machine.vm("setting-up").tpm(&own)))?;
        lab.step("the PIN is nowhere", || {
            let found = find(&machine.system, &[("the PIN", PIN), ("the marker", MARKER)])?;
            ensure!(found.is_empty(), "the raw disk tells {found:?}");
            Ok(())
        })?;

        let vm = machine.vm("own").tpm(&own).start()?;
        lab.step("a wrong PIN, then the right one", || {
            vm.wait_for_text(QUESTION, lab.patience(120))?;
            vm.type_line("pin-Xq7-41")?;
            vm.wait_for_text("That does not open the disks.", lab.patience(60))?;
            vm.type_line(PIN)?;
            vm.wait_for_text(OPEN, lab.patience(60)).map(drop)
        })?;
        machine.all_there(&vm)?;
        vm.power_down(lab.patience(90))?;

        let vm = machine.vm("other").tpm(&other).start()?;
        lab.step("another TPM stays locked, and the recovery key opens", || {
            vm.wait_for_text(QUESTION, lab.patience(120))?;
            vm.type_line(PIN)?;
            vm.wait_for_text("That does not open the disks.", lab.patience(60))?;
            vm.type_line(&recovery.to_uppercase().replace('-', " "))?;
            vm.wait_for_text(OPEN, lab.patience(60)).map(drop)
        })?;
        machine.all_there(&vm)
    });
}

/// A machine with its disks, which outlive its starts.
struct Machine<'a> {
    lab: &'a Lab,
    system: Disk,
    photos: PathBuf,
    media: Disk,
}

impl<'a> Machine<'a> {
    /// With an answer file that encrypts: one role's disk is formatted, another stays as it is.
    fn new(lab: &'a Lab, key: &str, unlock: &str) -> Result<Self> {
        let text = answers_without_hash(
            "attic",
            key,
            "erase = [\"ata-QEMU_HARDDISK_ROLE-B\"]\n",
            KIT,
            &format!(
                "[encryption]\n{unlock}\n\
                 [[disks]]\nroles = [\"backups\"]\ndisk = {{ serial = \"ROLE-A\" }}\nprepare = \"adopt\"\n\n\
                 [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = {{ serial = \"ROLE-B\" }}\nprepare = \"erase\"\n"
            ),
        );
        let system = Disk::over(&medium_with(lab, &text)?, Bytes::gib(16).0)?;
        let photos = disk_with_data(lab, "photos", 64, "the family's\n")?;
        Ok(Self { lab, system, photos, media: Disk::empty(Bytes::gib(2).0)? })
    }

    fn vm(&self, name: &str) -> Builder<'a> {
        let vm = self.lab.vm(name).drive(Drive::served(&self.system).serial(SERIAL).boots(0));
        let vm = vm.drive(Drive::file(&self.photos).bus(Bus::Sata).serial("ROLE-A"));
        vm.drive(Drive::served(&self.media).bus(Bus::Sata).serial("ROLE-B"))
    }

    /// Sets it up, leaves markers and switches it off; gives the kit's recovery key, and where
    /// `data` begins.
    fn set_up(&self, vm: Builder<'_>) -> Result<(String, u64)> {
        let lab = self.lab;
        let vm = vm.start()?;
        vm.wait_for_text(SET_UP, lab.patience(400))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
        let kit = sh(&format!("cat {KIT}"))?;
        let recovery = kit.lines().map(str::trim).find(|line| line.split('-').count() == 8).map(str::to_owned);
        let recovery = recovery.with_context(|| format!("the kit holds no recovery key:\n{kit}"))?;
        let types = sh("lsblk -nro TYPE,MOUNTPOINTS")?;
        for mount in ["/var/lib/hearth/data", "/var/lib/hearth/disks/media-downloads"] {
            let there = types.lines().any(|line| line.starts_with("crypt ") && line.contains(mount));
            ensure!(there, "{mount} is not encrypted:\n{types}");
        }
        sh(&format!(
            "for d in /home/{ADMIN} /mnt/media /etc/hearth /var/lib/docker; do echo '{MARKER}' >$d/marker; done"
        ))?;
        sh(&format!("logger '{MARKER}'; journalctl --sync; swapon --noheadings --show | grep . && exit 1; sync"))?;
        let layout = facts(lab, &vm)?;
        let disk = layout.boot_disk().context("the facts name no boot disk")?;
        let data = disk.partitions.iter().find(|found| found.number == Some(Part::Data.number()));
        let data = data.and_then(|found| found.start).context("there is no data")?;
        vm.power_down(lab.patience(90))?;
        Ok((recovery, data.0))
    }

    /// Everything runs, and what was left is there: files on every encrypted disk, and the log.
    fn all_there(&self, vm: &Vm) -> Result<()> {
        let lab = self.lab;
        runs_from_disk(lab, vm)?;
        no_failed_units(lab, vm)?;
        lab.step("all is there", || {
            let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
            for folder in [&format!("/home/{ADMIN}"), "/mnt/media", "/etc/hearth", "/var/lib/docker"] {
                let marker = sh(&format!("cat {folder}/marker"))?;
                ensure!(marker == MARKER, "{folder} holds {marker:?}");
            }
            sh(&format!("journalctl --no-pager | grep -q '{MARKER}'"))?;
            sh("test -d /var/log/journal/$(cat /etc/machine-id) && test ! -d /run/log/journal/$(cat /etc/machine-id)")
                .context("the journal of this start is not on data")?;
            Ok(())
        })
    }
}

/// The start is through, SSH lets the admin in, the head names the cause, and Docker is down.
fn locked(lab: &Lab, vm: &Vm, key: &std::path::Path, cause: &str) -> Result<()> {
    let said = vm.ssh(ADMIN, key, "hearth head; systemctl is-active docker.service; id -un", lab.patience(60))?.ok()?;
    let words: Vec<&str> = said.split_whitespace().collect();
    ensure!(words.join(" ").contains(cause) && said.contains("Docker stays down"), "the head says {said}");
    ensure!(said.contains("\ninactive\n") && said.ends_with(ADMIN), "Docker is up, or nobody is logged in: {said}");
    let failed = vm.root_sh("systemctl --failed --plain --no-legend --no-pager", lab.patience(30))?.ok()?;
    ensure!(failed.is_empty(), "units failed while the disks are locked:\n{failed}");
    let seen = "findmnt -rno TARGET | grep -xE '/home|/var/log|/etc/hearth|/opt/stacks|/var/lib/(docker|containerd).*|/mnt/(media|downloads)'; \
                ls -d /var/lib/hearth/data/* /var/log/journal/* 2>/dev/null; true";
    let seen = vm.root_sh(seen, lab.patience(30))?.ok()?;
    ensure!(seen.is_empty(), "with the disks locked there is, on root:\n{seen}");
    Ok(())
}
