//! One session for all consoles: questions that were begun on the serial console go on at the
//! screen once that line is lost, then by SSH, and come to their end on the serial console again.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::ADMIN;
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, no_failed_units};
use hearth_qemu_tests::visitor::{Brings, Visitor, code, ssh};
use hearth_qemu_tests::{Drive, Lab, Vm, golden, scenario};

const SHARE: Duration = Duration::from_secs(240);

/// What must show nowhere, and be nowhere.
const PASSWORD: &str = "open sesame please";

/// What opens the disks: the same.
const PASSPHRASE: &str = "winter garden lamp";

/// The page of the serial port, told that its terminal is an old one that could move its cursor.
const VT100: &str = "[Service]\nEnvironment=TERM=vt100\n";

/// On the serial console, as far as the question at which the line is lost.
const BEGUN: [(&str, &str); 12] = [
    ("Keyboard [us]: ", "nonsense"),
    ("Not taken: there is no such layout", "gb"),
    ("Language [", "C.UTF-8"),
    ("Time zone [", "Europe/Berlin"),
    ("Name [hearth]: ", "attic"),
    ("Number [1]: ", ""),
    ("Numbers, or - for none [1]: ", "-"),
    ("Login name: ", ADMIN),
    ("SSH key [none]: ", "no key"),
    ("Not taken: ", ""),
    ("Console password: ", "short"),
    ("Not taken: ", PASSWORD),
];

/// What a page says while somebody answers at the screen.
const AT_SCREEN: &str = "The questions are being answered on the screen (tty1)";

/// What a console says that goes on.
const GOES_ON: &str = "Going on where the questions were left.";

#[test]
fn a_lost_line_loses_no_answer_and_any_console_goes_on() {
    scenario("one-session", SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab.vm("main").drive(Drive::served(&disk).serial(SERIAL).boots(0));
        let vm = vm.credential("systemd.unit-dropin.hearth-page@ttyS0.service", VT100).start()?;
        let code = lab.step("the first page", || {
            vm.wait_for_text("Nothing on any disk has been changed.", lab.patience(60))?;
            let page = vm.wait_for_text("1) Set up this machine", lab.patience(10))?;
            vm.wait_for_text("press Enter", lab.patience(10))?;
            code(&page)
        })?;
        no_failed_units(lab, &vm)?;
        lab.step("begun on the serial console", || {
            let term = "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID hearth-page@ttyS0.service)/environ";
            ensure!(vm.root_sh(term, lab.patience(20))?.ok()?.contains("TERM=vt100"), "the terminal is another one");
            vm.type_line("1")?;
            for (prompt, answer) in BEGUN {
                golden::fits(&vm.wait_for_text(prompt, lab.patience(60))?)?;
                vm.type_line(answer)?;
            }
            vm.wait_for_text("Once more: ", lab.patience(20))?;
            golden::text_only(lab, "main", "These questions make a plan", "Once more: ")
        })?;
        lab.step("the line is lost", || lose_the_line(lab, &vm))?;
        lab.step("the screen goes on", || {
            let shows = |text| vm.wait_for_screen(text, lab.patience(20));
            shows("1) Set up this machine")?;
            vm.type_on_screen("1")?;
            shows(GOES_ON)?;
            shows("console password")?;
            vm.screenshot("going-on")?;
            vm.type_on_screen("short")?;
            shows("! Not taken")?;
            vm.wait_for_text(AT_SCREEN, lab.patience(60)).map(drop)
        })?;
        let visitor = lab.step("SSH looks, and takes over", || take_over(lab, &vm, &code))?;
        lab.step("answered to the review by SSH", || vm.keep(to_the_review(lab, visitor)))?;
        lab.step("the review on the serial console", || review(lab, &vm))?;
        lab.step("nothing of it is anywhere else", || nowhere(lab, &vm))?;
        let written = disk.stats().written;
        ensure!(written == 0, "{written} bytes were written without an approval");
        Ok(())
    });
}

/// Kills the page in the middle of a password: no program could tidy up after itself.
fn lose_the_line(lab: &Lab, vm: &Vm) -> Result<()> {
    vm.root_sh("systemctl kill --signal=KILL hearth-page@ttyS0.service", lab.patience(20))?.ok()?;
    vm.wait_for_text("1) Set up this machine", lab.patience(60))?;
    vm.wait_for_text("press Enter", lab.patience(10))?;
    // What is typed shows again.
    vm.root_sh("stty -F /dev/ttyS0 -a | tr ' ;' '\\n\\n' | grep -qx echo", lab.patience(20))?.ok().map(drop)
}

/// Comes by SSH, sees who answers, goes back, and then goes on.
fn take_over(lab: &Lab, vm: &Vm, code: &str) -> Result<Visitor> {
    let mut ssh = ssh(lab, vm, "setup", Brings::Codes(&[code]), &["-tt"])?;
    ssh.env("TERM", "xterm-256color");
    let mut visitor = Visitor::come(lab, "visitor", ssh)?;
    let told = |visitor: &Visitor, text: &str| vm.keep(visitor.screen.wait_for(text, lab.patience(30)));
    told(&visitor, AT_SCREEN)?;
    for answer in ["0", ""] {
        told(&visitor, "press Enter")?;
        visitor.type_line("1")?;
        let at = format!("{AT_SCREEN}: question 9 of ");
        told(&visitor, &at)?;
        told(&visitor, "Enter goes on with them here, 0 goes back: ")?;
        visitor.type_line(answer)?;
    }
    told(&visitor, GOES_ON)?;
    vm.wait_for_screen("The questions go on at SSH.", lab.patience(20))?;
    vm.screenshot("taken-over")?;
    Ok(visitor)
}

/// Answers the rest, sees what was answered elsewhere, and hangs up.
fn to_the_review(lab: &Lab, mut visitor: Visitor) -> Result<()> {
    for (prompt, answer) in [
        ("Console password: ", PASSWORD),
        ("Once more: ", "something else"),
        ("the two differ", PASSWORD),
        ("Once more: ", PASSWORD),
        // This terminal moves its cursor, and so has lists.
        ("notices by mail?", ""),
        ("be encrypted?", "\u{1b}[B"),
        ("Disk passphrase: ", PASSPHRASE),
        ("Once more: ", PASSPHRASE),
        ("Where do backups go?", "2\u{1b}[A"),
        ("Where is the recovery kit written to?", ""),
    ] {
        visitor.screen.wait_for(prompt, lab.patience(30))?;
        if prompt.ends_with('?') {
            visitor.screen.wait_for("Arrows move, Enter takes", lab.patience(10))?;
        }
        visitor.type_line(answer)?;
    }
    visitor.screen.wait_for("Your answers:", lab.patience(30))?;
    visitor.screen.wait_for("Review [p]: ", lab.patience(20))?;
    let text = visitor.screen.text();
    ensure!(!text.contains(PASSWORD) && !text.contains(PASSPHRASE), "a password shows");
    Ok(())
}

/// Goes on where the visitor hung up: nothing is left to be asked.
fn review(lab: &Lab, vm: &Vm) -> Result<()> {
    let gone = "for i in $(seq 60); do pgrep -f 'hearth claim session' >/dev/null || exit 0; sleep 1; done; exit 1";
    vm.root_sh(gone, lab.patience(70))?.ok()?;
    vm.serial().skip();
    vm.type_line("1")?;
    vm.wait_for_text(GOES_ON, lab.patience(30))?;
    vm.wait_for_text("Your answers:", lab.patience(30))?;
    let rows = vm.wait_for_text("Review [p]: ", lab.patience(20))?;
    for answer in ["gb", "Europe/Berlin", "attic", ADMIN, "********"] {
        ensure!(rows.contains(answer), "{answer} is not among the answers: {rows}");
    }
    vm.type_line("77")?;
    vm.wait_for_text("Type the number of an answer", lab.patience(20))?;
    vm.type_line("p")?;
    vm.wait_for_text("Plan: set up this machine as \"attic\"", lab.patience(90))?;
    let mut plan = String::new();
    loop {
        let found = vm.serial().wait_for_any(&["Enter shows more", "Approve: "], lab.patience(30));
        let (which, before) = vm.keep(found)?;
        plan += &before;
        if which == 1 {
            break;
        }
        vm.type_line("")?;
    }
    ensure!(plan.contains("data is encrypted"), "the plan encrypts nothing: {plan}");
    vm.type_line("")?;
    vm.wait_for_text("Nothing was changed.", lab.patience(20)).map(drop)
}

/// Fails if the answers are to be had by anybody but root, or if a password lies somewhere.
fn nowhere(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(30))?.ok();
    let socket = sh("stat -c '%a %U' /run/hearth/session.sock")?;
    ensure!(socket == "600 root", "the session's socket is open to others: {socket}");
    let both = format!("-e '{PASSWORD}' -e '{PASSPHRASE}'");
    let hits = sh(&format!("journalctl -b --no-pager | grep -c {both}; grep -rl {both} /run/hearth /var/log; true"))?;
    ensure!(hits == "0", "a password is somewhere: {hits}");
    let text = vm.serial().text();
    ensure!(!text.contains(PASSWORD) && !text.contains(PASSPHRASE), "the console shows a password");
    Ok(())
}
