//! What tests know of Hearth itself: what its consoles say, how to ask it, and a
//! machine that already runs from its disk.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use hearth::facts::Facts;
use hearth::units::Bytes;

use crate::drive::Drive;
use crate::lab::Lab;
use crate::nbd::Disk;
use crate::prepared::prepared;
use crate::vm::Vm;

/// The last thing adoption says.
pub const ADOPTED: &str = "Hearth: done. Hearth runs from this disk now.";

/// The serial number of the disks in these tests.
pub const SERIAL: &str = "HEARTH0001";

/// Its last four characters, which approve running from it.
pub const APPROVAL: &str = "0001";

/// Waits until everything has started, then asks Docker for its version and where its store
/// is; tells why if it does not answer.
const DOCKER: &str = "systemctl is-system-running --wait >/dev/null
docker version --format '{{.Server.Version}}' && docker info --format '{{.DockerRootDir}}' | grep -x /var/lib/docker || {
    systemctl --no-pager status docker.service containerd.service
    journalctl -b --no-pager -n 40 -u docker.service -u containerd.service
    exit 1
}";

/// Waits for the first page of setup on the serial console.
pub fn wait_for_page(lab: &Lab, vm: &Vm) -> Result<()> {
    let title = format!("Hearth {} - setup. Nothing on any disk has been changed.", env!("CARGO_PKG_VERSION"));
    lab.step("the first page", || {
        vm.wait_for_text(&title, lab.patience(60))?;
        vm.wait_for_text("1) Set up this machine", lab.patience(10))?;
        vm.wait_for_text("press Enter", lab.patience(10)).map(drop)
    })
}

/// What `hearth facts` says in the guest.
pub fn facts(lab: &Lab, vm: &Vm) -> Result<Facts> {
    let json = vm.root_sh("hearth facts --json", lab.patience(20))?.ok()?;
    serde_json::from_str(&json).with_context(|| format!("reading the facts: {json}"))
}

/// Waits until everything has started and fails, with names and logs, if some unit has not.
pub fn no_failed_units(lab: &Lab, vm: &Vm) -> Result<()> {
    lab.step("no failed units", || {
        // `wait`: jobs of the start are done. Its exit code says the same as the list.
        let command =
            "systemctl is-system-running --wait >/dev/null; systemctl --failed --plain --no-legend --no-pager";
        let failed = vm.root_sh(command, lab.patience(90))?.ok()?;
        if failed.is_empty() {
            return Ok(());
        }
        let units: Vec<&str> = failed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let log = format!("journalctl -b --no-pager -n 30 $(printf ' -u %s' {})", units.join(" "));
        let log = vm.root_sh(&log, lab.patience(20))?.stdout;
        vm.keep(Err(anyhow!("units failed: {}\n{log}", units.join(" "))))
    })
}

/// The image on a disk of `size` bytes whose power can be cut; the image file is only read.
pub fn image_on_disk(lab: &Lab, size: Bytes) -> Result<Disk> {
    Disk::over(&lab.image()?, size.0).context("laying a disk over the image")
}

/// Everyday running: Docker answers, `data` is mounted and its binds are in place.
pub fn runs_from_disk(lab: &Lab, vm: &Vm) -> Result<()> {
    let answers = || {
        let sh = |command: &str, timeout: Duration| vm.root_sh(command, timeout)?.ok();
        sh(DOCKER, lab.patience(90)).context("asking Docker")?;
        let source = sh("findmnt -no FSTYPE /var/lib/hearth/data", lab.patience(10)).context("looking for data")?;
        ensure!(source == "btrfs", "data is {source}");
        for (folder, options) in [
            ("/opt/stacks", "nosuid nodev"),
            ("/etc/hearth", "nosuid nodev"),
            ("/home", "nosuid nodev"),
            ("/var/lib/docker/volumes", "nosuid nodev"),
            ("/var/lib/docker", ""),
            ("/var/lib/containerd", ""),
            ("/var/log", ""),
        ] {
            let mount = sh(&format!("findmnt -no SOURCE,OPTIONS {folder}"), lab.patience(10));
            let mount = mount.with_context(|| format!("{folder} is no mount point"))?;
            let missing = options.split_whitespace().find(|option| !mount.contains(option));
            ensure!(missing.is_none(), "{folder} is mounted without {}: {mount}", missing.unwrap_or_default());
        }
        sh("test -e /boot/hearth/adopted", lab.patience(10)).context("looking for the marker of adoption").map(drop)
    };
    lab.step("docker and data", || vm.keep(answers()))
}

/// A disk of 64 GiB that Hearth runs from, adopted once and kept. Boot overlays of it
/// with the serial number [`SERIAL`].
pub fn adopted(lab: &Lab) -> Result<PathBuf> {
    prepared(lab, &lab.image()?, Bytes::gib(64).0, "adopted-1", |disk| {
        let drive = Drive::file(disk).serial(SERIAL).boots(0);
        let vm = lab.vm("adopting").drive(drive).credential("hearth.adopt", APPROVAL).start()?;
        vm.wait_for_text(ADOPTED, lab.patience(180))?;
        runs_from_disk(lab, &vm)?;
        vm.power_down(lab.patience(60))
    })
}
