//! First boot by questions: somebody at the serial console answers, mistypes, goes back, looks at
//! the plan and approves it; the machine is then what the same answers in a file make of another one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, HASH, PORTAL_HASH, SET_UP, SETTLED, disk_with_data, medium_with};
use hearth_qemu_tests::appliance::{SERIAL, no_failed_units, runs_from_disk, wait_for_page};
use hearth_qemu_tests::nbd::Disk;
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, golden, scenario};
use uuid::{Uuid, uuid};

const SHARE: Duration = Duration::from_secs(450);

/// What the questions begin with.
const BEGINNING: &str = "These questions make a plan for this machine.";

/// What they end with.
const END: &str = "Approved. Writing the plan and restarting";

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
        let same_photos = lab.dir().join("same-photos.img");
        std::fs::copy(&photos, &same_photos).context("copying the photos")?;
        let disk = Disk::over(&lab.image()?, Bytes::gib(16).0)?;
        let vm = start(lab, "main", &disk, &photos)?;
        wait_for_page(lab, &vm)?;
        vm.type_line("1")?;
        lab.step("the questions", || {
            for (prompt, answer) in ANSWERS.iter().chain(&MORE) {
                golden::fits(&vm.wait_for_text(prompt, lab.patience(60))?)?;
                // What is typed shows where it is asked for.
                if !prompt.ends_with(": ") {
                    vm.wait_for_text("]: ", lab.patience(20))?;
                }
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
            read_to(lab, &vm, "Review [p]: ")?;
            vm.type_line("s")?;
            vm.wait_for_text("Saved on HEARTH", lab.patience(30))?;
            vm.wait_for_text("Review [p]: ", lab.patience(20))?;
            vm.type_line("p")?;
            plan(lab, &vm)
        })?;
        let same = lab.step("the same answers as a file are the same plan", || {
            let told = vm.root_sh(&as_file(), lab.patience(60))?.ok()?;
            ensure!(told.contains(&format!("Plan {shown}.")), "the file's plan is another one than {shown}: {told}");
            vm.root_sh("cat /run/same.toml", lab.patience(20))?.ok()
        })?;
        ensure!(disk.stats().written < 1 << 20, "{} bytes were written before the approval", disk.stats().written);
        lab.step("approved", || {
            vm.type_line("LE-A")?;
            vm.wait_for_text("These are not the last characters", lab.patience(10))?;
            vm.wait_for_text("Approve: ", lab.patience(10))?;
            vm.type_line("LE-B")?;
            vm.wait_for_text("Hearth stays on this disk", lab.patience(10))?;
            vm.wait_for_text("Approve: ", lab.patience(10))?;
            vm.type_line("0001")?;
            vm.wait_for_text(END, lab.patience(20)).map(drop)
        })?;
        lab.step("it reads as people saw it last", || {
            golden::text_only(lab, "main", BEGINNING, END)?;
            reads(&vm, &public, &shown)
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
        sh(
            "mkdir -p /run/saved && mount -L HEARTH /run/saved && rm /run/saved/hearth.saved.toml && umount /run/saved",
        )?;
        let asked = settled(lab, &vm)?;
        drop(vm);

        let disk = Disk::over(&medium_with(lab, &same)?, Bytes::gib(16).0)?;
        let vm = start(lab, "followed", &disk, &same_photos)?;
        lab.step("set up by the file", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        let followed = settled(lab, &vm)?;
        golden::same("the machine that asked", &asked, "the one that followed a file", &followed)
    });
}

/// The machine: ids follow from what SMBIOS says, and from the disks' serial numbers.
fn start<'a>(lab: &'a Lab, name: &str, disk: &Disk, photos: &Path) -> Result<Vm<'a>> {
    lab.vm(name)
        .product_uuid(MACHINE)
        .drive(Drive::served(disk).serial(SERIAL).boots(0))
        .drive(Drive::file(photos).bus(Bus::Sata).serial("ROLE-A"))
        .drive(Drive::empty(2 << 30).bus(Bus::Nvme).serial("ROLE-B"))
        .start()
}

/// All that setup made, and what is in the files below /etc/hearth but for the secrets.
fn settled(lab: &Lab, vm: &Vm) -> Result<String> {
    let script = format!(
        "{SETTLED}\ncut -c1-16 /var/lib/hearth/setup/sealed\n\
         find /etc/hearth -type f ! -path '*/secrets/*' -exec sha256sum {{}} + | sort -k 2"
    );
    vm.root_sh(&script, lab.patience(120))?.ok().context("reading what setup made")
}

/// Compares all that the console showed with what is kept of it.
fn reads(vm: &Vm, public: &str, plan: &str) -> Result<()> {
    let text = vm.serial().text();
    let begins = text.find(BEGINNING).context("the questions begin nowhere")?;
    let ends = text.find(END).context("the questions end nowhere")?;
    let shown = &text[begins..ends + END.len()];
    // The review shows as much of the key as has room.
    let cut = (10..public.len()).rev().map(|end| &public[..end]).find(|start| shown.contains(&format!("{start}...")));
    // The image's own size decides what is left for data.
    let (_, sizes) = shown.split_once("behind it: ").context("the plan does not say what the system gets")?;
    let (sizes, _) = sizes.split_once(". Nothing is erased").context("the plan does not say what the system loses")?;
    let varies = [
        (public, "KEY"),
        (cut.unwrap_or(public), "KEY"),
        (plan, "PLAN"),
        (sizes, "SIZES"),
        (env!("CARGO_PKG_VERSION"), "VERSION"),
    ];
    golden::compare("questions.txt", shown, &varies)
}

/// Reads a page that comes in pieces to its end, `prompt`.
fn read_to(lab: &Lab, vm: &Vm, prompt: &str) -> Result<()> {
    loop {
        let (which, shown) = vm.keep(vm.serial().wait_for_any(&["Enter shows more", prompt], lab.patience(90)))?;
        golden::fits(&shown)?;
        if which == 1 {
            return Ok(());
        }
        vm.type_line("")?;
    }
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
    read_to(lab, vm, "Approve: ")?;
    let text = vm.serial().text();
    ensure!(text.contains("This disk is ERASED"), "the plan does not tell what is erased");
    let number = text.rsplit_once("1 disk is ERASED. Plan ").and_then(|(_, rest)| rest.split_once('.'));
    Ok(number.context("the plan has no number")?.0.to_owned())
}

/// A script that tells the plan for the answers that were saved, without what introduces them and with hashes
/// where the stars are.
fn as_file() -> String {
    let stars = r#""\*\*\*\*\*\*\*\*""#;
    format!(
        "mkdir -p /run/saved && mount -o ro -L HEARTH /run/saved && \
         sed -e '1,/^$/d' -e '/^\\[\\[users/,$s|{stars}|\"{PORTAL_HASH}\"|' -e 's|{stars}|\"{HASH}\"|' \
         /run/saved/hearth.saved.toml >/run/same.toml; umount /run/saved; hearth setup --dry-run --answers /run/same.toml"
    )
}
