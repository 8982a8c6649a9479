//! Years of upgrades in one start: packages are whole and install again, a second
//! kernel comes and the first one stays, and a new GRUB or shim reaches the parts
//! of the disk that firmware reads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::facts;
use hearth_qemu_tests::appliance::{self, SERIAL, adopted, no_failed_units};
use hearth_qemu_tests::archive::{self, Archive};
use hearth_qemu_tests::{Drive, Firmware, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(240);

/// What the boot loaders are made of.
const BOOT_CHAIN: [&str; 4] = ["shim-signed", "shim-helpers-amd64-signed", "grub-efi-amd64-signed", "grub-pc-bin"];

/// A conffile of Hearth's own over the package's; services; a program.
const OTHERS: [&str; 4] = ["ufw", "openssh-server", "avahi-daemon", "sudo"];

/// Prints what firmware starts, by its digests: the files of the ESP as they lie on the disk, the
/// boot sector's code, and GRUB's core, the half of its partition that the boot sector names.
const ON_DISK: &str = "echo 3 >/proc/sys/vm/drop_caches
mkdir -p /run/esp; mount -o ro /dev/disk/by-partlabel/esp /run/esp
(cd /run/esp; find . -type f | sort | xargs sha256sum); umount /run/esp
disk=/dev/disk/by-id/virtio-HEARTH0001; head -c 440 $disk | sha256sum
at=$(od -An -tu8 -j 92 -N 8 $disk | tr -d ' '); dd if=$disk bs=512 skip=$at count=128 status=none | sha256sum";

/// Makes all of that stale: none of it starts any more.
const SPOIL: &str = "set -e
mkdir -p /run/esp; mount /dev/disk/by-partlabel/esp /run/esp
for file in EFI/debian/grub.cfg EFI/BOOT/grubx64.efi EFI/BOOT/mmx64.efi EFI/BOOT/BOOTX64.EFI; do
    test -s /run/esp/$file; echo stale >/run/esp/$file
done
umount /run/esp
disk=/dev/disk/by-id/virtio-HEARTH0001; at=$(od -An -tu8 -j 92 -N 8 $disk | tr -d ' ')
dd if=/dev/zero of=$disk bs=512 seek=$at count=1024 conv=fsync,notrunc status=none
dd if=/dev/zero of=$disk bs=440 count=1 conv=fsync,notrunc status=none";

#[test]
fn packages_kernels_and_boot_loaders_are_renewed() {
    scenario("packages", SHARE, |lab| {
        let disk = lab.disk_over(&adopted(lab)?, "system")?;
        let start = |name, firmware| lab.vm(name).isolated().firmware(firmware).drive(system(&disk));
        let mut archive = Archive::new(lab)?;
        archive.add_of_image(&BOOT_CHAIN)?;
        archive.add_of_image(&OTHERS)?;
        let other = archive.add_other_kernel()?;
        let vm = start("upgrading", Firmware::Uefi).drive(archive.disk()?).start()?;
        let kernels = upgrade(lab, &vm, &other)?;
        vm.power_down(lab.patience(60))?;

        let vm = start("newest", Firmware::SecureBoot).start()?;
        let runs = |vm: &Vm, kernel: &str, told: facts::Firmware| {
            let running = vm.root_sh("uname -r", lab.patience(90))?.ok()?;
            ensure!(running == kernel, "{running} was started, not {kernel}");
            ensure!(appliance::facts(lab, vm)?.firmware == told, "the machine was not started by {told:?}");
            Ok(())
        };
        lab.step("the newest kernel, by Secure Boot", || runs(&vm, &kernels[0], facts::Firmware::UefiSecureBoot))?;
        no_failed_units(lab, &vm)?;
        drop(vm);

        let vm = start("previous", Firmware::Bios).start()?;
        lab.step("the previous kernel, by BIOS", || {
            vm.wait_for_text(&format!("Press p for the previous kernel, Linux {}.", kernels[1]), lab.patience(30))?;
            vm.wait_for_text(&format!("Hearth, previous kernel {}", kernels[1]), lab.patience(10))?;
            vm.type_text("p")?;
            runs(&vm, &kernels[1], facts::Firmware::Bios)
        })
    });
}

fn system(disk: &std::path::Path) -> Drive {
    Drive::file(disk).serial(SERIAL).boots(0)
}

/// Upgrades what can be upgraded. Gives the kernels that are there then, the newest first.
fn upgrade(lab: &Lab, vm: &Vm, other: &str) -> Result<[String; 2]> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let apt = |words: &str| {
        let command = format!("DEBIAN_FRONTEND=noninteractive apt-get -q -y {words} 2>&1");
        sh(&command).with_context(|| format!("apt-get {words}"))
    };
    let own = lab.step("an archive", || {
        let own = sh("uname -r")?;
        // Meanwhile; nothing below changes a file that it looks at before it is waited for.
        sh("systemd-run --quiet --unit verify --remain-after-exit sh -c 'dpkg --verify >/run/verify 2>&1'")?;
        sh(&archive::unpack())?;
        apt("update")?;
        Ok(own)
    })?;
    let before = sh(ON_DISK)?;
    lab.step("another kernel", || apt(&format!("install linux-image-{other}")))?;
    lab.step("dpkg --verify and --audit", || {
        sh("while [ \"$(systemctl show -P SubState verify)\" = running ]; do sleep 0.5; done")?;
        let complaints = sh("dpkg --audit; cat /run/verify")?;
        // Hearth brings files of its own in place of conffiles, which is what conffiles are for.
        let complaints: Vec<&str> = complaints.lines().filter(|line| !line.contains(" c /etc/")).collect();
        ensure!(complaints.is_empty(), "dpkg complains: {complaints:?}");
        Ok(())
    })?;
    // At each start, and not later, the boot chain is looked after without a package.
    no_failed_units(lab, vm)?;
    sh(SPOIL)?;
    ensure!(sh(ON_DISK)? != before, "the boot loaders were not made stale");
    lab.step("packages once more", || {
        let conf = sh("sha256sum /etc/ufw/ufw.conf")?;
        let said = apt(&format!("install --reinstall {} {}", BOOT_CHAIN.join(" "), OTHERS.join(" ")))?;
        ensure!(said.contains("8 reinstalled, 0 to remove"), "apt did something else: {said}");
        ensure!(sh("sha256sum /etc/ufw/ufw.conf")? == conf, "a file of Hearth's was replaced by the package's");
        let complaints =
            sh("dpkg --audit; dpkg --verify ufw sudo shim-signed grub-pc-bin | grep -v ' c /etc/' || true")?;
        ensure!(complaints.is_empty(), "dpkg complains: {complaints}");
        for part in ["BOOTX64.EFI", "grubx64.efi", "GRUB for BIOS"] {
            ensure!(
                said.lines().any(|line| line.contains(part) && line.contains("is being renewed")),
                "{part}: {said}"
            );
        }
        let after = sh(ON_DISK)?;
        ensure!(after == before, "the boot loaders were not renewed; before:\n{before}\nafter:\n{after}\n{said}");
        sh("fsck.fat -n /dev/disk/by-partlabel/esp").map(drop)
    })?;
    // Debian's own judgement, the same whichever of the two is newer today.
    let sorted = sh(&format!("printf '%s\\n' {own} {other} | linux-version sort --reverse"))?;
    let kernels: Vec<String> = sorted.lines().map(str::to_owned).collect();
    kernels.try_into().ok().context("there are two kernels")
}
