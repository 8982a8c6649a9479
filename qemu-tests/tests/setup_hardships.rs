//! What goes wrong around a machine that an answer file sets up: the router that is not
//! there, the disk that is absent one day, the disk that a thief reads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::layout::Part;
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{
    ADMIN, PORTAL_HASH, SET_UP, SETTLED, answers_without_hash, disk_with_data, medium_with,
};
use hearth_qemu_tests::appliance::{SERIAL, facts, no_failed_units, runs_from_disk};
use hearth_qemu_tests::nbd::{Disk, find};
use hearth_qemu_tests::wire::Wire;
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(420);

/// Secrets that the answer file brings, each for a service that is told of it later.
const SECRETS: [(&str, &str); 3] = [
    ("the domain's token", "0a1b2c3d-0000-4000-8000-00000000beef"),
    ("the tunnel's key", "mPyeIxlq5Ydc2Dfqw8Jb4n6mVXQ3uKc0rT1sZ9aLgWE="),
    ("the mail server's password", "a-letter-box-of-brass"),
];

/// When what setup made was last written.
const TIMES: &str = "stat -c '%n %Y' /etc/hearth/hearth.toml /etc/hearth/secrets/* /boot/hearth/password.cfg /var/lib/hearth/setup/sealed";

#[test]
fn an_absent_router_an_absent_disk_and_a_reader_of_disks() {
    scenario("setup-hardships", SHARE, |lab| {
        let (key, public) = lab.ssh_key("admin")?;
        let (token, tunnel, mail) = (SECRETS[0].1, SECRETS[1].1, SECRETS[2].1);
        // Nobody else is on this wire, so no router answers.
        let wire = Wire::new()?;
        let text = answers_without_hash(
            "attic",
            &public,
            "stacks = [\"core\", \"media\"]\nerase = [\"ata-QEMU_HARDDISK_ROLE-B\"]\n",
            "/mnt/media/recovery-kit.txt",
            &format!(
                "[[network.wired]]\nmac = \"52:54:00:77:00:01\"\naddress = \"10.77.0.10/24\"\ngateway = \"10.77.0.1\"\n\n\
                 [domain]\ndns = \"duckdns\"\nname = \"attic.duckdns.org\"\ntoken = \"{token}\"\n\n\
                 [vpn]\nprovider = \"mullvad\"\nprivate-key = \"{tunnel}\"\naddresses = [\"10.64.0.2/32\"]\n\n\
                 [mail]\nserver = \"mail.example.org\"\nfrom = \"attic@example.org\"\nto = [\"ada@example.org\"]\n\
                 username = \"ada\"\npassword = \"{mail}\"\n\n\
                 [[users]]\nname = \"{ADMIN}\"\ndisplay-name = \"Ada\"\nemail = \"ada@example.org\"\n\
                 groups = [\"admins\"]\npassword-hash = \"{PORTAL_HASH}\"\n\n\
                 [[disks]]\nroles = [\"backups\"]\ndisk = {{ serial = \"ROLE-A\" }}\nprepare = \"adopt\"\n\n\
                 [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = {{ serial = \"ROLE-B\" }}\nprepare = \"erase\"\n"
            ),
        );
        let system = Disk::over(&medium_with(lab, &text)?, Bytes::gib(16).0)?;
        let photos = disk_with_data(lab, "photos", 64, "the family's\n")?;
        let media = Disk::empty(Bytes::gib(2).0)?;
        let machine = |name: &str| {
            let vm = lab.vm(name).wire(&wire, 1).drive(Drive::served(&system).serial(SERIAL).boots(0));
            vm.drive(Drive::file(&photos).bus(Bus::Sata).serial("ROLE-A"))
        };
        let vm = machine("setting-up").drive(Drive::served(&media).bus(Bus::Sata).serial("ROLE-B")).start()?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        lab.step("an address without a router is given up", || no_router(lab, &vm))?;
        let console = lab.step("the kit opens the console", || console_password(lab, &vm))?;
        lab.step("a second setup changes nothing", || again(lab, &vm))?;
        let layout = facts(lab, &vm)?;
        vm.root_sh("sync", lab.patience(30))?.ok()?;
        vm.power_down(lab.patience(90))?;

        lab.step("no secret outside data", || {
            let disk = layout.boot_disk().context("the facts name no boot disk")?;
            let data = disk.partitions.iter().find(|found| found.number == Some(Part::Data.number()));
            let data = data.and_then(|found| Some((found.start?, found.size))).context("there is no data")?;
            let data = data.0.0..(data.0 + data.1).0;
            let mut needles: Vec<(&str, &str)> = SECRETS.to_vec();
            needles.push(("the console's password", &console));
            let found = find(&system, &needles)?;
            for (what, _) in &needles {
                let places: Vec<u64> = found.iter().filter(|(which, _)| which == what).map(|(_, at)| *at).collect();
                ensure!(!places.is_empty(), "{what} is nowhere on the disk, so this search finds nothing");
                let outside: Vec<&u64> = places.iter().filter(|at| !data.contains(at)).collect();
                ensure!(outside.is_empty(), "{what} lies at bytes {outside:?}, outside data ({data:?})");
            }
            // The erased disk carries the kit, and what is in no kit is not on it.
            let on_media = find(&media, &SECRETS)?;
            ensure!(on_media.is_empty(), "a disk for media holds {on_media:?}");
            Ok(())
        })?;

        let vm = machine("without-a-disk").start()?;
        runs_from_disk(lab, &vm)?;
        lab.step("an absent disk's folder takes nothing", || absent(lab, &vm))?;
        let who = vm.ssh(ADMIN, &key, "id -un", lab.patience(60))?.ok()?;
        ensure!(who == ADMIN, "{who} was logged in");
        vm.plug(&Drive::served(&media).bus(Bus::Usb).serial("ROLE-B"))?;
        lab.step("the disk is plugged in and mounted, and nothing was written below it", || {
            let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
            sh("until mountpoint -q /mnt/media; do sleep 1; done; test -s /mnt/media/recovery-kit.txt")?;
            sh("mkdir -p /run/below && mount --bind / /run/below")?;
            let below = sh("ls -A /run/below/mnt/media /run/below/mnt/downloads | grep -v ':$' | grep . || true")?;
            ensure!(below.is_empty(), "below the mount point lies {below}");
            Ok(())
        })
    });
}

/// The wired cards went back to DHCP, and whoever comes later reads why.
fn no_router(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let left = sh("ls /etc/systemd/network | grep -- -wired- || true")?;
    ensure!(left.is_empty(), "the address that was given up is still configured: {left}");
    let addresses = sh("ip -4 -o addr show | grep 10.77.0.10 || true")?;
    ensure!(addresses.is_empty(), "the machine still has it: {addresses}");
    let report = sh("mkdir -p /run/h && mount -o ro -L HEARTH /run/h && cat /run/h/hearth-report.txt; umount /run/h")?;
    let words: Vec<&str> = report.split_whitespace().collect();
    let told = "WARNING: no router answered at 10.77.0.1 from 10.77.0.10/24, so the wired cards went back to DHCP.";
    ensure!(words.join(" ").contains(told), "the report does not tell it:\n{report}");
    Ok(())
}

/// The password that the kit tells for the console; the machine takes it.
fn console_password(lab: &Lab, vm: &Vm) -> Result<String> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let kept = sh("cat /etc/hearth/secrets/admin.password")?;
    let kit = sh("stat -c '%u %a' /mnt/media/recovery-kit.txt && cat /mnt/media/recovery-kit.txt")?;
    ensure!(kit.starts_with("0 600\n"), "others can read the kit: {kit}");
    ensure!(!kept.is_empty() && kit.contains(&kept), "the kit does not tell the console's password");
    vm.serial().skip();
    vm.type_line("")?;
    vm.wait_for_text("login:", lab.patience(30))?;
    vm.type_line(ADMIN)?;
    vm.wait_for_text("Password:", lab.patience(30))?;
    vm.type_line(&kept)?;
    vm.wait_for_text(&format!("{ADMIN}@attic"), lab.patience(30))?;
    vm.type_line("exit")?;
    Ok(kept)
}

/// Setup on a machine that is set up, by every way that there is.
fn again(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(90))?.ok();
    let state = || sh(&format!("{SETTLED}{TIMES}"));
    let before = state()?;
    sh("hearth setup --resume")?;
    sh("hearth setup --unattended")?;
    let after = state()?;
    let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    ensure!(before == after, "it changed something:\n{}", new.join("\n"));
    Ok(())
}

/// A role's disk is not there: nothing fills the folder, and the rest of the machine runs.
fn absent(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(120))?.ok();
    sh(
        "docker info >/dev/null && until mountpoint -q /mnt/backups; do sleep 1; done; test \"$(cat /mnt/backups/marker)\" = \"the family's\"",
    )?;
    for folder in ["/mnt/media", "/mnt/downloads"] {
        let state = vm.root_sh(&format!("! mountpoint -q {folder} && touch {folder}/film"), lab.patience(30))?;
        ensure!(state.code != 0 && state.stderr.contains("not permitted"), "{folder} takes files: {state:?}");
    }
    Ok(())
}
