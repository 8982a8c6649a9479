//! At a television with a keyboard: questions that were begun on the serial port go on there once that
//! line is lost, and come to their end. Somebody logs in and looks how the machine is, looks after
//! the portal's people while the portal writes their list, and meets a boot menu that asks for its password.
//! Every page is kept as a picture, in `target/screens/television`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, SET_UP};
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, no_failed_units, runs_from_disk, wait_for_page};
use hearth_qemu_tests::portal::{self, PEOPLE};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(400);

const PASSWORD: &str = "open sesame please";

/// On the serial port, before its line is lost.
const BEGUN: [(&str, &str); 3] = [("Keyboard [us]: ", ""), ("Language [", "C.UTF-8"), ("Time zone [", "Europe/Berlin")];

/// At the screen: what it shows, the prompt on its last line, and what is typed.
const PAGES: [(&str, &str, &str); 22] = [
    ("Question 4 of ", "Name [hearth]: ", "attic"),
    ("Question 5 of ", "Number [1]: ", "?"),
    ("? Enter alone", "Number [1]: ", ""),
    ("Question 6 of ", "Numbers, or - for none [1]: ", ""),
    ("Question 7 of ", "Login name: ", "Ada"),
    ("! Not taken", "Login name: ", ADMIN),
    ("Question 8 of ", "SSH key [none]: ", ""),
    ("Question 9 of ", "Console password: ", PASSWORD),
    ("Question 9 of ", "Once more: ", PASSWORD),
    ("Question 10 of ", "Name at the portal [Ada]: ", ""),
    ("Question 11 of ", "E-mail address: ", "<"),
    ("Question 10 of ", "Name at the portal [Ada]: ", ""),
    ("Question 11 of ", "E-mail address: ", "ada@example.org"),
    ("Question 12 of ", "Portal password: ", PASSWORD),
    ("Question 12 of ", "Once more: ", PASSWORD),
    ("Question 13 of ", "Person [nobody]: ", ""),
    ("Question 14 of ", "Number [1]: ", ""),
    ("Question 15 of ", "Number [1]: ", ""),
    ("Question 16 of ", "Numbers, or - for none [none]: ", "1 2 3"),
    ("Question 17 of ", "Number: ", "1"),
    ("Question 18 of ", "Number [1]: ", ""),
    ("Question 19 of ", "Number [1]: ", ""),
];

/// From the last question to the approval: the same, and the picture's name.
const TO_THE_END: [(&str, &str, &str, &str); 6] = [
    ("Question 20 of ", "Number [1]: ", "", "kit"),
    ("Your answers:", "-- Enter shows more", "", "review"),
    ("20) ", "Review [p]: ", "p", "review-end"),
    ("Plan: set up this machine as", "-- Enter shows more", "", "plan"),
    ("This disk is ERASED", "Approve: ", "le-b", "approval"),
    ("Hearth stays on this disk", "Approve: ", "0001", "approval-of-the-system"),
];

#[test]
fn begun_on_the_serial_port_and_finished_at_the_television() {
    scenario("television", SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab
            .vm("main")
            .screen(1920, 1080)
            .drive(Drive::served(&disk).serial(SERIAL).boots(0))
            .drive(Drive::empty(2 << 30).bus(Bus::Sata).serial("ROLE-B"))
            .start()?;
        wait_for_page(lab, &vm)?;
        let shows = |text: &str, prompt: &str| vm.wait_for_prompt(text, prompt, lab.patience(30));
        lab.step("begun on the serial port", || {
            shows("1) Set up this machine", "")?;
            vm.picture("first-page")?;
            vm.type_line("1")?;
            for (prompt, answer) in BEGUN {
                vm.wait_for_text(prompt, lab.patience(60))?;
                vm.type_line(answer)?;
            }
            vm.wait_for_text("Name [hearth]: ", lab.patience(30)).map(drop)
        })?;
        lab.step("the line is lost", || {
            vm.root_sh("systemctl kill --signal=KILL hearth-page@ttyS0.service", lab.patience(20))?.ok().map(drop)
        })?;
        lab.step("the questions at the screen", || {
            shows("The questions are being answered on", "")?;
            vm.picture("somebody-answers-elsewhere")?;
            vm.type_on_screen("1")?;
            shows("Going on where the questions were left.", "")?;
            for (text, prompt, typed) in PAGES {
                shows(text, prompt)?;
                vm.picture(&name(text, prompt))?;
                vm.type_on_screen(typed)?;
            }
            Ok(())
        })?;
        lab.step("review, plan and approval", || {
            for (text, prompt, typed, picture) in TO_THE_END {
                shows(text, prompt)?;
                vm.picture(picture)?;
                vm.type_on_screen(typed)?;
            }
            Ok(())
        })?;
        lab.step("set up", || {
            vm.wait_for_text("Hearth: 8/", lab.patience(300))?;
            vm.picture("progress")?;
            vm.wait_for_text(SET_UP, lab.patience(300))?;
            shows(" on attic", "attic login: ")?;
            vm.picture("end")
        })?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        lab.step("a login, and how the machine is", || {
            for (text, prompt, typed, picture) in [
                ("", "attic login: ", ADMIN, None),
                ("", "Password: ", PASSWORD, None),
                ("", "ada@attic:", "clear", Some("login")),
                ("", "ada@attic:", "sudo hearth status", None),
                ("", "[sudo] password", PASSWORD, None),
                ("`sudo hearth doctor` says", "ada@attic:", "clear", Some("status")),
                ("", "ada@attic:", "sudo hearth doctor", None),
                ("recovery-kit.txt", "ada@attic:", "sudo hearth user list", Some("doctor")),
                ("ada@example.org", "ada@attic:", "exit", Some("people")),
            ] {
                shows(text, prompt)?;
                picture.map_or(Ok(()), |picture| vm.picture(picture))?;
                vm.type_on_screen(typed)?;
            }
            Ok(())
        })?;
        lab.step("the portal's people, while the portal writes", || vm.keep(people(lab, &vm)))?;
        lab.step("links that somebody in the portal has laid", || vm.keep(links(lab, &vm)))?;
        lab.step("nobody edits the boot menu", || menu(lab, &vm))
    });
}

/// What a question's picture is called: its number and its prompt.
fn name(text: &str, prompt: &str) -> String {
    let words = format!("{text}{prompt}").replace(|c: char| !c.is_ascii_alphanumeric(), " ").to_lowercase();
    words.split_whitespace().filter(|word| *word != "of").collect::<Vec<_>>().join("-")
}

/// Looks after people while the portal writes the same list; fails if a change of either side is lost.
fn people(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    for person in ["bob", "carl", "dora", "eve"] {
        sh(&format!(
            "echo 'correct horse battery' | hearth user add {person} --display-name {person} --email {person}@example.org"
        ))?;
    }
    let hash_of = |person: &str| sh(&format!("sed -n '/^  {person}:/,/^    password:/s/^    password: //p' {PEOPLE}"));
    let eve = hash_of("eve")?;
    portal::start(lab, vm)?;
    for command in [
        "hearth user disable carl",
        "hearth user disable dora",
        "echo 'purple bicycle rain' | hearth user passwd eve",
        "hearth user enable dora",
        "echo 'correct horse battery' | hearth user add fay --display-name Fay --email fay@example.org",
    ] {
        sh(command)?;
    }
    let (times, bob) = portal::stop(lab, vm)?;
    ensure!(times > 3, "the portal wrote {times} times only");
    ensure!(hash_of("bob")? == bob, "of {times} passwords that bob chose at the portal the last is lost");
    let now = hash_of("eve")?;
    ensure!(now != eve && now.starts_with("$argon2id$v=19$"), "eve's new password is lost: {now}");
    let list: Vec<serde_json::Value> =
        serde_json::from_str(&sh("hearth user list --json")?).context("reading the people as JSON")?;
    let disabled: BTreeMap<&str, bool> =
        list.iter().filter_map(|one| Some((one["name"].as_str()?, one["disabled"].as_bool()?))).collect();
    let wanted = [("ada", false), ("bob", false), ("carl", true), ("dora", false), ("eve", false), ("fay", false)];
    ensure!(disabled == BTreeMap::from(wanted), "the people are {disabled:?}");
    // Whom Authelia does not know it cannot let in.
    ensure!(hash_of("carl")?.is_empty(), "carl is in the portal's list");
    let file = sh(&format!("stat -c '%u %a' {PEOPLE}; ls -A $(dirname {PEOPLE})"))?;
    ensure!(file == "2001 600\nconfiguration.yml\nusers_database.yml", "the portal's folder has {file}");
    Ok(())
}

/// Lays links where root expects files; fails if root follows one.
fn links(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let inside = |command: &str| portal::from_inside(vm, command, lab.patience(20));
    let shadow = || sh("stat -c '%a %u %i' /etc/shadow; sha256sum /etc/shadow");
    let before = shadow()?;
    inside("ln -s /etc/shadow .users_database.yml.hearth")?;
    sh("hearth user disable fay")?;
    inside("mv users_database.yml aside && ln -s /etc/shadow users_database.yml")?;
    let refused = vm.root_sh("hearth user enable fay", lab.patience(60))?;
    ensure!(refused.code != 0 && refused.stderr.contains("a link lies where a file belongs"), "{refused:?}");
    ensure!(shadow()? == before, "a link led root to /etc/shadow");
    inside("mv aside users_database.yml")?;
    sh("hearth user enable fay").map(drop)
}

/// Tries to edit what the menu starts, and its shell.
fn menu(lab: &Lab, vm: &Vm) -> Result<()> {
    vm.serial().skip();
    vm.root_sh("systemctl --no-block reboot", lab.patience(20))?.ok()?;
    vm.wait_for_text("Press s for setup mode", lab.patience(120))?;
    for key in ["e", "c"] {
        vm.type_text(key)?;
        vm.wait_for_text("Enter username:", lab.patience(30))?;
        vm.picture(&format!("menu-{key}"))?;
        vm.type_line("hearth")?;
        vm.wait_for_text("Enter password:", lab.patience(30))?;
        vm.type_line("open sesame")?;
        let shown = vm.wait_for_text("access denied", lab.patience(60))?;
        ensure!(!shown.contains("grub>") && !shown.contains("setparams"), "{key} was not refused: {shown}");
        vm.type_text("\r")?;
    }
    vm.type_text("\r")?;
    vm.wait_for_text("attic login:", lab.patience(120)).map(drop)
}
