//! "Run from this disk": from setup mode to a machine with Docker on prepared
//! storage, through power cuts, and with an identity of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::facts::Mode;
use hearth::layout::{DATA_DIR, Part, ROOT_B_FROM, ROOT_GROWTH};
use hearth::run::Cmd;
use hearth::units::Bytes;
use hearth_image::tools::{ToolSet, Tools};
use hearth_qemu_tests::appliance::{
    ADOPTED, APPROVAL, SERIAL, adopted, facts, image_on_disk, no_failed_units, runs_from_disk, wait_for_page,
};
use hearth_qemu_tests::nbd::Survivors;
use hearth_qemu_tests::{Bus, Drive, Firmware, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(150);

/// Every id that must differ between machines, a line each.
const IDS: &str = "cat /etc/machine-id; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2";

/// Every id that must differ between disks; the machines here have one disk.
const DISK_IDS: &str = "lsblk -nro PTUUID,PARTUUID,UUID | tr ' ' '\\n' | grep . | sort -u";

#[test]
fn a_machine_runs_from_its_disk() {
    scenario("adopt-normal", SHARE, |lab| {
        let disk = adopted(lab)?;
        let vm = lab.vm("main").drive(Drive::overlay(disk).serial(SERIAL).boots(0)).start()?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        laid_out(lab, &vm, Bytes::gib(64))?;
        ensure!(!vm.serial().text().contains("preparing this disk"), "an adopted disk was prepared once more");
        Ok(())
    });
}

#[test]
fn a_power_cut_in_the_middle_is_made_good() {
    scenario("adopt-power-cuts", 2 * SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let start = |name| {
            let drive = Drive::served(&disk).serial(SERIAL).boots(0);
            lab.vm(name).firmware(Firmware::Bios).drive(drive).credential("hearth.adopt", APPROVAL).start()
        };
        for (step, seed) in [("Hearth: 2/", 1), ("Hearth: 6/", 2)] {
            let vm = start("cut")?;
            lab.step(&format!("power cut at {step}"), || vm.wait_for_text(step, lab.patience(120)))?;
            vm.power_cut(Survivors::Random(seed));
        }
        let vm = start("resumed")?;
        // It says what it does, and that it is not new to it.
        lab.step("resumed", || {
            vm.wait_for_text("was done before", lab.patience(120))?;
            vm.wait_for_text(ADOPTED, lab.patience(120))
        })?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        laid_out(lab, &vm, Bytes::gib(16))
    });
}

#[test]
fn a_large_disk_is_taken_whole() {
    scenario("adopt-4-tib", 2 * SHARE, |lab| {
        let size = Bytes::gib(4096);
        let disk = image_on_disk(lab, size)?;
        let drive = Drive::served(&disk).serial(SERIAL).boots(0);
        let vm = lab.vm("main").drive(drive).credential("hearth.adopt", APPROVAL).start()?;
        lab.step("adopted", || vm.wait_for_text(ADOPTED, lab.patience(180)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        laid_out(lab, &vm, size)
    });
}

#[test]
fn what_lies_in_the_free_space_is_named_and_kept() {
    scenario("adopt-leftover", SHARE, |lab| {
        let at = Bytes::gib(11);
        let photos = file_system(lab, "photos")?;
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        disk.write(at.0, &photos, true)?;
        disk.reset_stats();
        let drive = Drive::served(&disk).serial(SERIAL).boots(0);
        let vm = lab.vm("main").drive(drive).credential("hearth.adopt", APPROVAL).start()?;
        lab.step("refused", || {
            vm.wait_for_text("Hearth: running from this disk by credential failed", lab.patience(90))?;
            vm.wait_for_text("[leftover]", lab.patience(10))?;
            vm.wait_for_text("ext4 \"photos\" at 11.0 GiB", lab.patience(10))
        })?;
        vm.root_sh("sync", lab.patience(20))?.ok()?;
        let at_stake = vm.power_cut(Survivors::None);
        let written = disk.stats().written;
        ensure!(written == 0 && at_stake == 0, "{written} bytes were written to a disk that was refused");
        ensure!(disk.read(at.0, photos.len())? == photos, "what was on the disk has changed");
        Ok(())
    });
}

#[test]
fn recovery_starts_without_docker_and_data() {
    scenario("adopt-recovery", SHARE, |lab| {
        let disk = adopted(lab)?;
        let vm = lab.vm("main").drive(Drive::overlay(disk).serial(SERIAL).boots(0)).start()?;
        lab.step("chosen in the menu", || {
            vm.wait_for_text("Press r for recovery.", lab.patience(60))?;
            vm.wait_for_text("Recovery: without Docker and data", lab.patience(10))?;
            vm.type_text("r")
        })?;
        lab.step("a login", || vm.wait_for_text("login:", lab.patience(90)))?;
        no_failed_units(lab, &vm)?;
        ensure!(facts(lab, &vm)?.mode == Some(Mode::Recovery), "it was not started for recovery");
        // Systemd's own messages, and Hearth's word on what is missing, reach the console.
        for words in ["Reached target", "recovery was chosen"] {
            ensure!(vm.serial().text().contains(words), "the console does not say `{words}`");
        }
        for away in ["systemctl is-active docker.service containerd.service", "findmnt /var/lib/hearth/data"] {
            ensure!(vm.root_sh(away, lab.patience(10))?.code != 0, "`{away}` succeeds");
        }
        vm.root_sh("systemctl is-active ssh.service hearth-firewall.service", lab.patience(10))?.ok()?;
        vm.root_sh("touch /root/root-is-writable", lab.patience(10))?.ok().map(drop)
    });
}

#[test]
fn two_boots_of_one_image_share_no_identity() {
    scenario("adopt-identity", SHARE, |lab| {
        let fresh = |name| -> Result<Ids> {
            let vm = lab.vm(name).firmware(Firmware::Bios).boot_image()?.start()?;
            wait_for_page(lab, &vm)?;
            Ok((lines(lab, &vm, IDS)?, lines(lab, &vm, DISK_IDS)?))
        };
        let ((one, image), (two, _)) = (fresh("one")?, fresh("two")?);
        ensure!(one.len() == 2 && distinct(&one, &two), "two fresh machines share an id: {one:?} {two:?}");

        let disk = adopted(lab)?;
        let vm = lab.vm("adopted").drive(Drive::overlay(disk).serial(SERIAL).boots(0)).start()?;
        let (own, own_disk) = (lines(lab, &vm, IDS)?, lines(lab, &vm, DISK_IDS)?);
        ensure!(distinct(&own, &one) && distinct(&own, &two), "an adopted machine has an id of a fresh one: {own:?}");
        ensure!(own_disk.len() > image.len(), "the adopted disk has fewer ids than the image: {own_disk:?}");
        ensure!(distinct(&own_disk, &image), "the adopted disk has an id of the image: {own_disk:?} {image:?}");
        Ok(())
    });
}

#[test]
fn an_identical_copy_is_noticed_and_named() {
    scenario("adopt-twins", SHARE, |lab| {
        let image = lab.image()?;
        let first = Drive::overlay(&image).serial("TWIN-A").boots(0);
        let second = Drive::overlay(&image).serial("TWIN-B").bus(Bus::Sata);
        let vm = lab.vm("twins").drive(first).drive(second).start()?;
        lab.step("the warning", || {
            vm.wait_for_text("WARNING: Two disks hold the same copy of Hearth", lab.patience(60))?;
            vm.wait_for_text("Remove one", lab.patience(10))
        })?;
        let twins = facts(lab, &vm)?.duplicates;
        ensure!(!twins.is_empty() && twins.iter().all(|twin| twin.disks.len() == 2), "the facts say {twins:?}");
        for serial in ["TWIN-A", "TWIN-B"] {
            ensure!(vm.serial().text().contains(serial), "the page does not name {serial}");
        }
        Ok(())
    });
}

#[test]
fn a_copy_of_the_image_beside_an_adopted_disk_changes_nothing() {
    scenario("adopt-copy-beside", SHARE, |lab| {
        let copy = image_on_disk(lab, Bytes::gib(16))?;
        let own = Drive::overlay(adopted(lab)?).serial(SERIAL).boots(0);
        let vm = lab.vm("main").drive(own).drive(Drive::served(&copy).serial("COPY").bus(Bus::Sata)).start()?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        ensure!(facts(lab, &vm)?.duplicates.is_empty(), "the copy is taken for the disk itself");
        ensure!(copy.stats().written == 0, "{} bytes were written to the copy", copy.stats().written);
        Ok(())
    });
}

/// The disk is laid out as the plan promises: root grown, a second slot from 64 GiB on, and
/// `data` to the end, filled by its file system.
fn laid_out(lab: &Lab, vm: &Vm, size: Bytes) -> Result<()> {
    let facts = facts(lab, vm)?;
    let disk = facts.boot_disk().context("the facts name no boot disk")?;
    ensure!(disk.size == size, "the disk has {}", disk.size);
    let extent = |part: Part| {
        let found = disk.partitions.iter().find(|found| found.number == Some(part.number()));
        found.and_then(|found| Some((found.start?, found.size)))
    };
    let (root_at, root) = extent(Part::RootA).context("there is no root-a")?;
    let (data_at, data) = extent(Part::Data).context("there is no data")?;
    ensure!(root > ROOT_GROWTH && root < ROOT_GROWTH + Bytes::gib(4), "root-a has {root}");
    let second = extent(Part::RootB);
    if size >= ROOT_B_FROM {
        ensure!(second == Some((root_at + root, root)), "root-b is not as large as root-a and behind it: {second:?}");
        ensure!(data_at == root_at + root + root, "data begins at {data_at}");
    } else {
        ensure!(second.is_none() && data_at == root_at + root, "data begins at {data_at}, root-b is {second:?}");
    }
    ensure!(data_at + data + Bytes::mib(2) >= size, "{} at the end belong to nobody", size - (data_at + data));
    for (at, part) in [("/", root), (DATA_DIR, data)] {
        let said = vm.root_sh(&format!("df -B1 --output=size {at} | tail -1"), lab.patience(10))?.ok()?;
        let holds = Bytes(said.trim().parse()?);
        // ext4 keeps its own tables out of the count.
        ensure!(holds <= part && holds.0 / 9 >= part.0 / 10, "the file system of {at} has {holds} of {part}");
    }
    Ok(())
}

/// An ext4 file system with this label, as bytes.
fn file_system(lab: &Lab, label: &str) -> Result<Vec<u8>> {
    let path = lab.dir().join(label);
    let tools = Tools::ensure(lab.cache(), ToolSet::Image, None)?;
    let mke2fs = tools.sandbox()?.bind(lab.dir().path()).command("mke2fs");
    Cmd::from_command("making a file system", mke2fs)
        .args(["-q", "-t", "ext4", "-L", label])
        .arg(&path)
        .arg("32M")
        .run()?;
    std::fs::read(&path).context("reading the file system")
}

/// Ids of a machine, and of its disk.
type Ids = (Vec<String>, Vec<String>);

fn lines(lab: &Lab, vm: &Vm, command: &str) -> Result<Vec<String>> {
    Ok(vm.root_sh(command, lab.patience(90))?.ok()?.lines().map(str::to_owned).collect())
}

fn distinct(one: &[String], two: &[String]) -> bool {
    one.iter().all(|id| !two.contains(id))
}
