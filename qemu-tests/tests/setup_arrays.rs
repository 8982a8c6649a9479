//! Arrays and LVM volumes that an answer file adopts: nothing is assembled or written before that is
//! approved, they come back by themselves at later starts, and a disk that is missing is told.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::digest::Digest;
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{SET_UP, answers, medium_with};
use hearth_qemu_tests::appliance::{SERIAL, no_failed_units, runs_from_disk};
use hearth_qemu_tests::nbd::Disk;
use hearth_qemu_tests::{Builder, Bus, Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(540);

/// The disks, by their serial numbers: a mirror, and a volume group.
const DISKS: [&str; 3] = ["MIRROR-A", "MIRROR-B", "GROUP-C"];

/// Makes the mirror `nas:pictures` with an ext4 and the volume `vg-1/films` with an xfs, each with a
/// marker, and stops both.
const MAKE: &str = "set -e
disk() { echo /dev/disk/by-id/ata-QEMU_HARDDISK_$1; }
mdadm --create /dev/md/made --run --homehost=nas --name=pictures --level=1 --raid-devices=2 --assume-clean \
    $(disk MIRROR-A) $(disk MIRROR-B)
udevadm settle
mkfs.ext4 -q /dev/md/made
pvcreate -q $(disk GROUP-C)
vgcreate -q vg-1 $(disk GROUP-C)
lvcreate -q -y -L 350M -n films vg-1
mkfs.xfs -q /dev/vg-1/films
mkdir -p /run/a/album /run/b/films
for pair in /dev/md/made:/run/a:album /dev/vg-1/films:/run/b:films; do
    device=${pair%%:*}; rest=${pair#*:}; at=${rest%%:*}
    mount $device $at
    mkdir -p $at/${rest#*:}
    echo \"the family's ${rest#*:}\" >$at/${rest#*:}/marker
    umount $at
done
vgchange -q -an vg-1
mdadm --stop /dev/md/made
sync";

#[test]
fn an_array_and_a_volume_are_adopted_and_come_back() {
    scenario("setup-arrays", SHARE, |lab| {
        let (_, public) = lab.ssh_key("admin")?;
        let disks: Vec<PathBuf> = DISKS.iter().map(|serial| lab.dir().join(format!("{serial}.img"))).collect();
        for disk in &disks {
            let file = File::create(disk).with_context(|| format!("making {}", disk.display()))?;
            file.set_len(Bytes::mib(400).0)?;
        }

        let plain = Disk::over(&lab.image()?, Bytes::gib(4).0)?;
        let vm = with(lab.vm("make").drive(Drive::served(&plain).serial(SERIAL).boots(0)), &disks, &[0, 1, 2])?;
        lab.step("make an array and a volume", || vm.root_sh(MAKE, lab.patience(120))?.ok())?;
        vm.power_down(lab.patience(90))?;
        let made = hashes(&disks)?;

        // A mistyped name is refused, and the machine waits in setup mode.
        let text = |array: &str| {
            let tables = format!(
                "[[disks]]\nroles = [\"backups\"]\ndisk = {{ md = \"{array}\" }}\nprepare = \"adopt\"\n\n\
                 [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = {{ lvm = \"vg-1/films\" }}\nprepare = \"adopt\"\n"
            );
            answers("attic", &public, "", &tables)
        };
        let system = Disk::over(&medium_with(lab, &text("nas:picture"))?, Bytes::gib(16).0)?;
        let vm = with(lab.vm("refused").drive(Drive::served(&system).serial(SERIAL).boots(0)), &disks, &[0, 1, 2])?;
        lab.step("a mistyped name is refused, and nothing is started", || refused(lab, &vm))?;
        vm.power_down(lab.patience(90))?;
        ensure!(hashes(&disks)? == made, "a disk was written to before its use was approved");

        let system = Disk::over(&medium_with(lab, &text("nas:pictures"))?, Bytes::gib(16).0)?;
        let machine = |name: &str| lab.vm(name).drive(Drive::served(&system).serial(SERIAL).boots(0));
        let vm = with(machine("setting-up"), &disks, &[0, 1, 2])?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        lab.step("both are mounted with what was on them", || mounted(lab, &vm))?;
        no_failed_units(lab, &vm)?;
        vm.root_sh("echo new >/mnt/backups/new && echo new >/mnt/media/new && sync", lab.patience(30))?.ok()?;
        vm.power_down(lab.patience(90))?;

        let vm = with(machine("again"), &disks, &[0, 1, 2])?;
        runs_from_disk(lab, &vm)?;
        lab.step("they come back by themselves", || {
            mounted(lab, &vm)?;
            let told = vm.root_sh("cat /mnt/backups/new /mnt/media/new; hearth status", lab.patience(120))?.stdout;
            ensure!(told.starts_with("new\nnew\n") && told.contains("arrays"), "{told}");
            no_failed_units(lab, &vm)
        })?;
        vm.power_down(lab.patience(90))?;

        let vm = with(machine("one-disk-left"), &disks, &[0])?;
        runs_from_disk(lab, &vm)?;
        lab.step("half a mirror serves and is told, an absent group's folder takes nothing", || broken(lab, &vm))
    });
}

/// The machine with these of the disks.
fn with<'a>(machine: Builder<'a>, disks: &[PathBuf], which: &[usize]) -> Result<Vm<'a>> {
    let drive = |i: &usize| Drive::file(&disks[*i]).bus(Bus::Sata).serial(DISKS[*i]);
    which.iter().map(drive).fold(machine, Builder::drive).start()
}

fn hashes(disks: &[PathBuf]) -> Result<Vec<Digest>> {
    let hash = |path: &Path| {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Digest::of_reader(file).with_context(|| format!("reading {}", path.display()))?.0)
    };
    disks.iter().map(|path| hash(path)).collect()
}

fn refused(lab: &Lab, vm: &Vm) -> Result<()> {
    vm.wait_for_text("[no-such-volume]", lab.patience(120))?;
    // The name that was meant is offered.
    vm.wait_for_text("\"nas:pictures\"", lab.patience(10))?;
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let running = sh("grep -l . /sys/block/md*/md/array_state; dmsetup ls --target linear; true")?;
    ensure!(!running.contains("array_state") && !running.contains("vg--1"), "something was started: {running}");
    let facts = sh("hearth facts")?;
    for words in ["{ md = \"nas:pictures\" }", "{ lvm = \"vg-1/films\" }", "raid1, ext4", "linear, xfs"] {
        ensure!(facts.contains(words), "the facts do not tell {words}:\n{facts}");
    }
    Ok(())
}

fn mounted(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(120))?.ok();
    sh("for at in /mnt/backups /mnt/media /mnt/downloads; do until mountpoint -q $at; do sleep 1; done; done")?;
    let told = sh("cat /mnt/backups/album/marker /var/lib/hearth/disks/*/films/marker")?;
    ensure!(told == "the family's album\nthe family's films", "{told}");
    let state = sh(
        "cat /sys/block/md*/md/degraded; findmnt -no OPTIONS /mnt/backups; systemctl is-enabled mdcheck_start.timer",
    )?;
    ensure!(state.starts_with("0\nrw,") && state.ends_with("enabled"), "{state}");
    Ok(())
}

fn broken(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(120))?.ok();
    let told = sh("until mountpoint -q /mnt/backups; do sleep 1; done; cat /mnt/backups/album/marker")?;
    ensure!(told == "the family's album", "{told}");
    let status = vm.root_sh("hearth status", lab.patience(120))?.stdout;
    for words in ["arrays: hearth-backups lacks 1 of its 2 disks", "/mnt/media: its disk, the LVM volume vg-1/films"] {
        let flat: Vec<&str> = status.split_whitespace().collect();
        ensure!(flat.join(" ").contains(words), "the status does not tell \"{words}\":\n{status}");
    }
    let state = vm.root_sh("! mountpoint -q /mnt/media && touch /mnt/media/film", lab.patience(30))?;
    ensure!(state.code != 0 && state.stderr.contains("not permitted"), "/mnt/media takes files: {state:?}");
    Ok(())
}
