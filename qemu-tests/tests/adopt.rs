//! "Run from this disk": from setup mode to a machine with Docker on prepared
//! storage, through power cuts, and with an identity of its own.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::units::Bytes;
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
        let root: u64 = vm.root_sh("df -B1 --output=size / | tail -1", lab.patience(10))?.ok()?.trim().parse()?;
        ensure!(root > Bytes::gib(8).0, "root was not grown: it has {}", Bytes(root));
        // 64 GiB: room for the second root slot.
        vm.root_sh("test -b /dev/disk/by-partlabel/root-b", lab.patience(10))?.ok()?;
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
        no_failed_units(lab, &vm)
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

/// Ids of a machine, and of its disk.
type Ids = (Vec<String>, Vec<String>);

fn lines(lab: &Lab, vm: &Vm, command: &str) -> Result<Vec<String>> {
    Ok(vm.root_sh(command, lab.patience(90))?.ok()?.lines().map(str::to_owned).collect())
}

fn distinct(one: &[String], two: &[String]) -> bool {
    one.iter().all(|id| !two.contains(id))
}
