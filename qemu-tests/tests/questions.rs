//! First boot by questions: somebody at the serial console answers, mistypes, goes back, looks at
//! the plan and approves it; the machine is then set up as an answer file would have it.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, HASH, PORTAL_HASH, SET_UP, disk_with_data};
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, no_failed_units, runs_from_disk, wait_for_page};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};
use uuid::{Uuid, uuid};

const SHARE: Duration = Duration::from_secs(300);

/// What the person types that must show nowhere.
const PASSWORD: &str = "open sesame please";

/// What the page asks for the roles of a disk with.
const ROLES: &str = "Numbers, or - for none [none]: ";

/// The prompts from the first question to the last before the disks, and what is typed there.
const ANSWERS: [(&str, &str); 17] = [
    ("Keyboard [us]: ", "\u{3}"),
    ("0 leaves, Enter goes on: ", ""),
    ("Keyboard [us]: ", "gb"),
    ("Language [", "C.UTF-8"),
    ("Time zone [", "berlin"),
    ("did you mean \"Europe/Berlin\"?", "Europe/Berlin"),
    ("Name [hearth]: ", "My Attic"),
    ("Not taken: use small letters", "attic"),
    ("Number [1]: ", "<"),
    ("Name [attic]: ", ""),
    ("Number [1]: ", ""),
    ("Numbers, or - for none [1]: ", "1"),
    ("Login name: ", ADMIN),
    ("SSH key [none]: ", "KEY"),
    ("SSH key 2 [none]: ", ""),
    ("Console password: ", "PASSWORD"),
    ("Once more: ", "something else"),
];

/// The rest of them.
const MORE: [(&str, &str); 16] = [
    ("Console password: ", "PASSWORD"),
    ("Once more: ", "PASSWORD"),
    ("Name at the portal [Ada]: ", ""),
    ("E-mail address: ", "ada@example.org"),
    ("Portal password: ", "PASSWORD"),
    ("Once more: ", "PASSWORD"),
    ("Person [nobody]: ", ADMIN),
    ("Not taken: somebody has that name already", "grace"),
    ("Name of grace [Grace]: ", ""),
    ("E-mail of grace: ", "grace@example.org"),
    ("Number [1]: ", ""),
    ("Password of grace: ", "PASSWORD"),
    ("Once more: ", "PASSWORD"),
    ("Person 2 [nobody]: ", ""),
    ("Number [1]: ", ""),
    ("Number [1]: ", ""),
];

/// What SMBIOS says which machine this is.
const MACHINE: Uuid = uuid!("4a1f0b52-9c1d-4e0e-8a39-6f5d2a7be002");

#[test]
fn questions_on_the_serial_console_prepare_the_whole_machine() {
    scenario("setup-by-questions", SHARE, |lab| {
        let (key, public) = lab.ssh_key("admin")?;
        let photos = disk_with_data(lab, "photos", 64, "the family's\n")?;
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab
            .vm("main")
            // Without it, ids are drawn, and each plan is another one.
            .product_uuid(MACHINE)
            .drive(Drive::served(&disk).serial(SERIAL).boots(0))
            .drive(Drive::file(&photos).bus(Bus::Sata).serial("ROLE-A"))
            .drive(Drive::empty(2 << 30).bus(Bus::Sata).serial("ROLE-B"))
            .start()?;
        wait_for_page(lab, &vm)?;
        vm.type_line("1")?;
        lab.step("the questions", || {
            for (prompt, answer) in ANSWERS.iter().chain(&MORE) {
                vm.wait_for_text(prompt, lab.patience(60))?;
                match *answer {
                    "\u{3}" => vm.type_text("\u{3}")?,
                    "KEY" => vm.type_line(&public)?,
                    "PASSWORD" => vm.type_line(PASSWORD)?,
                    answer => vm.type_line(answer)?,
                }
            }
            disks(lab, &vm)
        })?;
        let shown = lab.step("the review and the plan", || {
            vm.wait_for_text("Your answers:", lab.patience(20))?;
            while vm.wait_for_any(&["Enter shows more", "Review [p]: "], lab.patience(20))? == 0 {
                vm.type_line("")?;
            }
            vm.type_line("s")?;
            vm.wait_for_text("Saved on HEARTH", lab.patience(30))?;
            vm.type_line("p")?;
            plan(lab, &vm)
        })?;
        lab.step("the same answers as a file are the same plan", || {
            let told = vm.root_sh(&as_file(), lab.patience(60))?.ok()?;
            ensure!(told.contains(&format!("Plan {shown}.")), "the file's plan is another one than {shown}: {told}");
            Ok(())
        })?;
        ensure!(disk.stats().written < 1 << 20, "{} bytes were written before the approval", disk.stats().written);
        lab.step("approved", || {
            vm.type_line("LE-A")?;
            vm.wait_for_text("These are not the last characters", lab.patience(10))?;
            vm.type_line("LE-B")?;
            vm.wait_for_text("Hearth stays on this disk", lab.patience(10))?;
            vm.wait_for_text("Approve: ", lab.patience(10))?;
            vm.type_line("0001")?;
            vm.wait_for_text("Approved. Writing the plan and restarting", lab.patience(20)).map(drop)
        })?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(300)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(30))?.ok();
        let sealed = sh("cat /var/lib/hearth/setup/sealed")?;
        ensure!(sealed.starts_with(&shown), "another plan was carried out than {shown}: {sealed}");
        let who = vm.ssh(ADMIN, &key, "id -nG; hostname", lab.patience(60))?.ok()?;
        ensure!(who.contains("admins") && who.ends_with("attic"), "{ADMIN} is {who}");
        ensure!(sh("cat /mnt/backups/marker")? == "the family's", "the adopted disk has lost its marker");
        // The questions are over, and nobody keeps them any more.
        sh("! systemctl is-active --quiet hearth-session.service && ! test -e /run/hearth/session.sock")?;
        sh("findmnt -no FSTYPE /mnt/media | grep -x ext4; grep XKBLAYOUT=.gb /etc/default/keyboard")?;
        ensure!(sh(&format!("journalctl -b --no-pager | grep -c '{PASSWORD}'; true"))? == "0", "the journal tells");
        ensure!(!vm.serial().text().contains(PASSWORD), "the console shows a password");
        Ok(())
    });
}

/// Gives each disk its roles, in whatever order they are asked about, and takes the first place for the kit.
fn disks(lab: &Lab, vm: &Vm) -> Result<()> {
    for _ in 0..2 {
        let asked = vm.wait_for_text(ROLES, lab.patience(60))?;
        if asked.contains("serial ROLE-A") {
            vm.type_line("backups")?;
            vm.wait_for_text("Number [1]: ", lab.patience(20))?;
            vm.type_line("")?;
        } else {
            vm.type_line("media, downloads")?;
            vm.wait_for_text("Number: ", lab.patience(20))?;
            vm.type_line("1")?;
        }
    }
    // Encryption, backups, and the kit.
    for _ in 0..3 {
        vm.wait_for_text("Number [1]: ", lab.patience(20))?;
        vm.type_line("")?;
    }
    Ok(())
}

/// Reads the plan to its end; gives its number.
fn plan(lab: &Lab, vm: &Vm) -> Result<String> {
    vm.wait_for_text("Plan: set up this machine as \"attic\"", lab.patience(90))?;
    while vm.wait_for_any(&["Enter shows more", "1 disk is ERASED. Plan "], lab.patience(20))? == 0 {
        vm.type_line("")?;
    }
    let number = vm.wait_for_text(".", lab.patience(10))?;
    vm.wait_for_text("This disk is ERASED", lab.patience(10))?;
    vm.wait_for_text("Approve: ", lab.patience(10))?;
    Ok(number)
}

/// A script that tells the plan for the answers that were saved, with hashes where the stars are.
fn as_file() -> String {
    let stars = r#""\*\*\*\*\*\*\*\*""#;
    format!(
        "mkdir -p /run/saved && mount -o ro -L HEARTH /run/saved && \
         sed -e '/^\\[\\[users/,$s|{stars}|\"{PORTAL_HASH}\"|' -e 's|{stars}|\"{HASH}\"|' \
         /run/saved/hearth.saved.toml >/run/same.toml; umount /run/saved; hearth setup --dry-run --answers /run/same.toml"
    )
}
