//! Starting over: a machine that is set up becomes a fresh one, with its other disks kept or erased, through
//! power cuts; and the boot menu's recovery, which asks for its password and then gives a root shell.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::facts::Mode;
use hearth::layout::{Part, ROOT_GROWTH};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, HASH, PORTAL_HASH, SET_UP, answers, disk_with_data, medium_with};
use hearth_qemu_tests::appliance::{SERIAL, facts, no_failed_units, runs_from_disk, wait_for_page};
use hearth_qemu_tests::nbd::{Disk, Survivors, find};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, golden, scenario};

const SHARE: Duration = Duration::from_secs(600);

/// The console's password.
const PASSWORD: &str = "open sesame please";

/// What opens the disks that are encrypted.
const PASSPHRASE: &str = "winter garden lamp";

/// A secret on `data`.
const TOKEN: &str = "0a1b2c3d-0000-4000-8000-00000000beef";

/// What is on the disk that is adopted.
const MARKER: &str = "the family's";

/// What begins the last step but the making last.
const DONE: &str = "Hearth: done. Restarting into setup mode.";

/// A script that tells all of root as it lies on the disk, but for what packages and Hearth keep themselves: kind,
/// permissions, owner, where a link leads, and what is in a file. Of programs the names and permissions.
const ROOT: &str = r"
cd /run/hearth/lower
find . -xdev \( -path ./usr -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/lib/hearth -o -path ./lost+found \) -prune \
    -o -printf '%p %y %m %U %G %l\n' | sort
find . -xdev \( -path ./usr -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/lib/hearth \) -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum
find usr -xdev -printf '%p %y %m %U %G %l\n' | sort
";

/// What somebody leaves on a system who works on it by hand, one of it locked against changes.
const BY_HAND: &str = r"
set -e
useradd --create-home --shell /bin/bash mallory && echo mallory:letmein | chpasswd
echo 'mallory ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/mallory
mkdir -p /srv/mine /usr/local/sbin && echo mine >/srv/mine/notes && echo mine >/usr/local/sbin/mine
printf '[Service]\nExecStart=/bin/true\n' >/usr/lib/systemd/system/mine.service
printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/yours.service
systemctl enable yours.service
echo changed >/etc/motd && chattr +i /etc/motd
rm /etc/gitconfig && chmod 777 /etc/ssh/sshd_config.d/10-hearth.conf
mkdir -p /run/h && mount -L HEARTH /run/h && mkdir /run/h/photos && echo x >/run/h/photos/one.txt && echo key >/run/h/authorized_keys && umount /run/h
echo film >/mnt/media/film
sync
";

const DOMAIN: &str = "[domain]\ndns = \"duckdns\"\nname = \"attic.duckdns.org\"\nreach = \"lan\"\n";

/// The answers of the first owner.
fn first_owner(key: &str, more: &str) -> String {
    answers(
        "attic",
        key,
        "stacks = [\"core\"]\nerase = [\"ata-QEMU_HARDDISK_ROLE-B\"]\n",
        &format!(
            "{DOMAIN}token = \"{TOKEN}\"\n\n\
             [[users]]\nname = \"{ADMIN}\"\ndisplay-name = \"Ada\"\nemail = \"ada@example.org\"\n\
             groups = [\"admins\"]\npassword-hash = \"{PORTAL_HASH}\"\n\n\
             [[disks]]\nroles = [\"backups\"]\ndisk = {{ serial = \"ROLE-A\" }}\nprepare = \"adopt\"\n\n\
             [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = {{ serial = \"ROLE-B\" }}\nprepare = \"erase\"\n{more}"
        ),
    )
}

/// The answers of the second one, who erases nothing.
fn second_owner(key: &str) -> String {
    let disks = "[[disks]]\nroles = [\"backups\"]\ndisk = { serial = \"ROLE-A\" }\nprepare = \"adopt\"\n\n\
                 [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = { serial = \"ROLE-B\" }\nprepare = \"adopt\"\n";
    answers("loft", key, "", disks)
}

/// A machine with three disks that outlive its power.
struct Machine<'a> {
    lab: &'a Lab,
    system: Disk,
    adopted: Disk,
    erased: Disk,
}

impl<'a> Machine<'a> {
    fn new(lab: &'a Lab, answers: &str) -> Result<Self> {
        let system = Disk::over(&medium_with(lab, answers)?, Bytes::gib(16).0)?;
        let photos = std::fs::read(disk_with_data(lab, "photos", 64, &format!("{MARKER}\n"))?)?;
        let adopted = Disk::empty(photos.len() as u64)?;
        adopted.write(0, &photos, true)?;
        Ok(Self { lab, system, adopted, erased: Disk::empty(Bytes::gib(2).0)? })
    }

    fn start_with(&self, name: &str, answers: Option<&str>) -> Result<Vm<'a>> {
        let role = |disk: &Disk, serial: &str| Drive::served(disk).bus(Bus::Sata).serial(serial);
        let vm = self.lab.vm(name).drive(Drive::served(&self.system).serial(SERIAL).boots(0));
        let vm = vm.drive(role(&self.adopted, "ROLE-A")).drive(role(&self.erased, "ROLE-B"));
        let vm = if let Some(text) = answers { vm.credential("hearth.answers", text) } else { vm };
        vm.start()
    }

    fn start(&self, name: &str) -> Result<Vm<'a>> {
        self.start_with(name, None)
    }

    /// Starts with the answers on HEARTH, to the end of setup.
    fn set_up(&self) -> Result<Vm<'a>> {
        let vm = self.start("setting-up")?;
        self.lab.step("set up", || vm.wait_for_text(SET_UP, self.lab.patience(400)))?;
        runs_from_disk(self.lab, &vm)?;
        Ok(vm)
    }
}

#[test]
fn recovery_gives_a_root_shell_and_a_reset_from_there_keeps_the_disks() {
    scenario("reset-keep-disks", SHARE, |lab| {
        let fresh = lab.step("what a fresh image has", || {
            let vm = lab.vm("fresh").boot_image()?.start()?;
            wait_for_page(lab, &vm)?;
            vm.root_sh(ROOT, lab.patience(120))?.ok()
        })?;
        let (old_key, public) = lab.ssh_key("first")?;
        let machine = Machine::new(lab, &first_owner(&public, ""))?;
        let vm = machine.set_up()?;
        let sh = |vm: &Vm<'_>, command: &str| vm.root_sh(command, lab.patience(60))?.ok();
        let old = identity(lab, &vm)?;
        let menu = sh(&vm, "cat /etc/hearth/secrets/boot-menu.password")?;
        sh(&vm, BY_HAND)?;
        lab.step("a dry run tells all and does nothing", || {
            let told = sh(&vm, "hearth reset --keep-disks --dry-run")?;
            for words in ["kept as it is", "erase /srv/mine", "put back /etc/motd", "erase all of /dev/vda6", "restart"]
            {
                ensure!(told.contains(words), "it does not tell {words:?}:\n{told}");
            }
            sh(
                &vm,
                "test -e /srv/mine/notes && test ! -e /boot/hearth/reset && test -e /etc/hearth/secrets/domain.token",
            )
            .map(drop)
        })?;
        vm.power_down(lab.patience(90))?;

        let vm = machine.start("recovery")?;
        lab.step("s19: the boot menu is locked", || locked(lab, &vm))?;
        lab.step("s19: the right password gives a root shell on both consoles", || shells(lab, &vm, &menu))?;
        lab.step("reset from there", || {
            vm.type_line("hearth reset --keep-disks")?;
            let plan = vm.wait_for_text("Approve: ", lab.patience(60))?;
            for words in ["start over with \"attic\"", "kept as it is", "No other disk is touched."] {
                ensure!(plan.contains(words), "the plan does not say {words:?}:\n{plan}");
            }
            vm.type_line("loft")?;
            vm.wait_for_text("That is not it.", lab.patience(20))?;
            vm.wait_for_text("Approve: ", lab.patience(20))?;
            vm.type_line("attic")?;
            vm.wait_for_text("no way back", lab.patience(20))?;
            vm.wait_for_text("Hearth: starting reset with Linux", lab.patience(120))?;
            vm.wait_for_text("Hearth: 1/6", lab.patience(120))?;
            vm.wait_for_text(DONE, lab.patience(300)).map(drop)
        })?;
        wait_for_page(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        lab.step("it is a fresh machine", || {
            is_fresh(lab, &vm)?;
            let now = vm.root_sh(ROOT, lab.patience(120))?.ok()?;
            golden::same("root", &now, "that of a fresh machine", &fresh)?;
            for user in [ADMIN, "mallory", "root", "setup"] {
                let answer = vm.ssh(user, &old_key, "true", lab.patience(30))?;
                ensure!(answer.code == 255, "the former key let {user} in: {answer:?}");
            }
            let report = on_hearth(lab, &vm)?;
            for words in ["this machine was reset; it was attic", "ROLE-A, kept as it was.", "ROLE-B, kept as it was."]
            {
                ensure!(report.contains(words), "the report does not say {words:?}: {report}");
            }
            Ok(())
        })?;
        vm.power_down(lab.patience(90))?;
        lab.step("nothing of it is on the disk", || nowhere(&machine.system))?;

        let (key, public) = lab.ssh_key("second")?;
        let vm = machine.start_with("second-owner", Some(&second_owner(&public)))?;
        lab.step("set up once more", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        lab.step("another machine with the same disks", || {
            let now = identity(lab, &vm)?;
            ensure!(now.iter().zip(&old).all(|(now, old)| now != old), "an identity stayed: {now:?} {old:?}");
            sh(
                &vm,
                &format!(
                    "test \"$(cat /mnt/backups/marker)\" = \"{MARKER}\" && test \"$(cat /mnt/media/film)\" = film"
                ),
            )?;
            let who = vm.ssh(ADMIN, &key, "hostname", lab.patience(60))?.ok()?;
            ensure!(who == "loft", "it is {who}");
            ensure!(vm.ssh(ADMIN, &old_key, "true", lab.patience(30))?.code == 255, "the former key opens it");
            let root = facts(lab, &vm)?.boot_disk().and_then(|disk| {
                disk.partitions.iter().find(|found| found.number == Some(Part::RootA.number())).map(|found| found.size)
            });
            ensure!(root.is_some_and(|root| root < ROOT_GROWTH + Bytes::gib(4)), "root-a has grown twice: {root:?}");
            Ok(())
        })
    });
}

#[test]
fn everything_is_erased_through_power_cuts() {
    scenario("reset-erase-all", SHARE, |lab| {
        let (_, public) = lab.ssh_key("first")?;
        let encryption = format!("\n[encryption]\nunlock = \"passphrase\"\npassphrase = \"{PASSPHRASE}\"\n");
        let machine = Machine::new(lab, &first_owner(&public, &encryption))?;
        let vm = machine.set_up()?;
        vm.root_sh("echo film >/mnt/media/film && sync", lab.patience(60))?.ok()?;
        lab.step("approved disk by disk, by the admin", || {
            log_in(lab, &vm)?;
            vm.type_line("sudo hearth reset --erase-all")?;
            vm.wait_for_text("password for", lab.patience(60))?;
            vm.type_line(PASSWORD)?;
            let plan = vm.wait_for_text("Approve: ", lab.patience(60))?;
            ensure!(plan.contains("2 other disks are ERASED."), "the plan is\n{plan}");
            vm.type_line("attic")?;
            for (disk, end) in [("ROLE-A", "LE-A"), ("ROLE-B", "LE-B")] {
                let asked = vm.wait_for_text("Approve: ", lab.patience(20))?;
                ensure!(asked.contains(disk), "it asks for {asked}");
                vm.type_line(end)?;
            }
            vm.wait_for_text("Hearth: starting reset with Linux", lab.patience(180)).map(drop)
        })?;
        lab.step("power cut while it erases", || vm.wait_for_text("Hearth: 1/6", lab.patience(120)))?;
        vm.power_cut(Survivors::Random(1));
        for (step, seed) in [("Hearth: 3/6", 2), ("Hearth: 4/6", 3)] {
            let vm = machine.start("cut")?;
            lab.step(&format!("power cut at {step}"), || vm.wait_for_text(step, lab.patience(300)))?;
            vm.power_cut(Survivors::Random(seed));
        }
        let vm = machine.start("resumed")?;
        lab.step("resumed to its end", || vm.wait_for_text(DONE, lab.patience(400)))?;
        wait_for_page(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        is_fresh(lab, &vm)?;
        lab.step("the other disks are blank", || {
            let report = on_hearth(lab, &vm)?;
            ensure!(report.contains("ROLE-A, ERASED.") && report.contains("ROLE-B, ERASED."), "the report is {report}");
            for serial in ["ROLE-A", "ROLE-B"] {
                let facts = facts(lab, &vm)?;
                let disk = facts.disks.iter().find(|disk| disk.serial.as_deref() == Some(serial));
                let blank = disk
                    .is_some_and(|disk| disk.table.is_none() && disk.content.is_none() && disk.partitions.is_empty());
                ensure!(blank, "{serial} is {disk:?}");
            }
            for disk in [&machine.adopted, &machine.erased] {
                let found = find(disk, &[("the marker", MARKER), ("a film", "film\n"), ("a LUKS header", "LUKS")])?;
                ensure!(found.is_empty(), "an erased disk holds {found:?}");
            }
            Ok(())
        })?;
        vm.power_down(lab.patience(90))?;
        lab.step("nothing of it is on the disk", || nowhere(&machine.system))
    });
}

/// Machine-id, and the fingerprint of SSH's key.
fn identity(lab: &Lab, vm: &Vm<'_>) -> Result<Vec<String>> {
    let told = vm.root_sh(
        "cat /etc/machine-id; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2",
        lab.patience(60),
    );
    Ok(told?.ok()?.lines().map(str::to_owned).collect())
}

/// The menu takes no key that would change what is started, and no wrong password.
fn locked(lab: &Lab, vm: &Vm<'_>) -> Result<()> {
    vm.wait_for_text("Press r for recovery.", lab.patience(60))?;
    vm.wait_for_text("Recovery: without Docker and data", lab.patience(20))?;
    for key in ["e", "c", "r"] {
        vm.type_text(key)?;
        vm.wait_for_text("Enter username:", lab.patience(20))?;
        vm.type_text("hearth\r")?;
        vm.wait_for_text("Enter password:", lab.patience(20))?;
        vm.type_text("open sesame\r")?;
        // Whoever mistypes waits, longer each time; then the menu is back.
        vm.wait_for_text("Recovery: without Docker and data", lab.patience(60))?;
    }
    let text = vm.serial().text();
    ensure!(!text.contains("grub>") && !text.contains("Minimum Emacs-like"), "the menu gave a shell or an editor");
    Ok(())
}

fn shells(lab: &Lab, vm: &Vm<'_>, password: &str) -> Result<()> {
    vm.type_text("r")?;
    vm.wait_for_text("Enter username:", lab.patience(20))?;
    vm.type_text("hearth\r")?;
    vm.wait_for_text("Enter password:", lab.patience(20))?;
    vm.type_text(&format!("{password}\r"))?;
    vm.wait_for_text("Hearth recovery: a root shell.", lab.patience(180))?;
    no_failed_units(lab, vm)?;
    ensure!(facts(lab, vm)?.mode == Some(Mode::Recovery), "it was not started for recovery");
    vm.wait_for_text("root@attic", lab.patience(30))?;
    vm.type_line("echo \"I am $(id -u)\" on $(tty)")?;
    vm.wait_for_text("I am 0 on /dev/ttyS0", lab.patience(30))?;
    vm.type_on_screen("id")?;
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    sh("until grep -q 'root@attic.*# id' /dev/vcs1 && grep -q 'uid=0(root)' /dev/vcs1; do sleep 1; done")?;
    for away in
        ["systemctl is-active docker.service containerd.service", "findmnt /var/lib/hearth/data", "findmnt /mnt/media"]
    {
        ensure!(vm.root_sh(away, lab.patience(20))?.code != 0, "`{away}` succeeds");
    }
    sh("systemctl is-active ssh.service hearth-firewall.service")?;
    vm.screenshot("recovery")?;
    // Whoever leaves gets the next one.
    vm.type_line("exit")?;
    vm.wait_for_text("root@attic", lab.patience(60)).map(drop)
}

fn log_in(lab: &Lab, vm: &Vm<'_>) -> Result<()> {
    vm.serial().skip();
    vm.type_line("")?;
    vm.wait_for_text("login:", lab.patience(60))?;
    vm.type_line(ADMIN)?;
    vm.wait_for_text("Password:", lab.patience(30))?;
    vm.type_line(PASSWORD)?;
    vm.wait_for_text(&format!("{ADMIN}@attic"), lab.patience(60)).map(drop)
}

/// Setup mode, with the partitions that the image brings.
fn is_fresh(lab: &Lab, vm: &Vm<'_>) -> Result<()> {
    let facts = facts(lab, vm)?;
    ensure!(facts.mode == Some(Mode::Setup), "it was started in {:?}", facts.mode);
    let names: Vec<Option<&str>> =
        facts.boot_disk().into_iter().flat_map(|disk| &disk.partitions).map(|part| part.name.as_deref()).collect();
    ensure!(names == [Some("bios"), Some("esp"), Some("hearth"), Some("root-a")], "its disk has {names:?}");
    Ok(())
}

/// The report, in one line, once it is sure that HEARTH has nothing of the owner's.
fn on_hearth(lab: &Lab, vm: &Vm<'_>) -> Result<String> {
    let script = "mkdir -p /run/h && mount -o ro -L HEARTH /run/h && ls -A /run/h && echo --- && cat /run/h/hearth-report.txt; umount /run/h";
    let told = vm.root_sh(script, lab.patience(60))?.ok()?;
    let (names, report) = told.split_once("---").unwrap_or_default();
    let names: Vec<&str> = names.split_whitespace().collect();
    let brought = ["README.txt", "hearth-report.txt", "hearth.example.toml", "hearth.manifest.json"];
    ensure!(names.iter().all(|name| brought.contains(name)), "HEARTH holds {names:?}");
    Ok(report.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The disk of these machines forgets what it is told to, so nothing of the owner may be on it, in files or between them.
fn nowhere(disk: &Disk) -> Result<()> {
    let hash = HASH.rsplit('$').next().unwrap_or(HASH);
    let portal = PORTAL_HASH.rsplit('$').next().unwrap_or(PORTAL_HASH);
    let found = find(disk, &[("the token", TOKEN), ("the console's hash", hash), ("the portal's hash", portal)])?;
    ensure!(found.is_empty(), "the disk still holds {found:?}");
    Ok(())
}
