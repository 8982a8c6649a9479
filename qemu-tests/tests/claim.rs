//! SSH before setup: a code on the console opens one session, which shows the page and
//! nothing else; five wrong codes close it until somebody at the machine presses Enter. And
//! the code and the keys that `flash` leaves for a machine without a screen.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::exit::Exit;
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{ADOPTED, APPROVAL, SERIAL, adopted, no_failed_units};
use hearth_qemu_tests::nbd::{Disk, Survivors};
use hearth_qemu_tests::visitor::{self, Brings, Visitor, knock, known_hosts, ssh};
use hearth_qemu_tests::workstation::{IMAGE, Workstation};
use hearth_qemu_tests::{Bus, Drive, Lab, Output, Vm, scenario};

/// Where QEMU's own network says that everything from outside comes from.
const GATEWAY: &str = "10.0.2.2";

/// What the page begins with.
const TITLE: &str = "- setup. Nothing on any disk has been changed.";

/// What the processes of a session were given as environment.
const ENVIRONMENTS: &str =
    r"for p in $(pgrep -u setup; pgrep -f 'hearth claim session'); do tr '\0' '\n' </proc/$p/environ; done";

/// Every process of a session, and every one that belongs to the account for setup.
const PROCESSES: &str = "pgrep -a -u setup; pgrep -a -f 'hearth claim session'";

#[test]
fn s9_a_code_opens_one_session_and_five_wrong_ones_close_it() {
    scenario("claim", Duration::from_secs(150), |lab| {
        let vm = lab.vm("main").boot_image()?.start()?;
        let page = page(lab, &vm)?;
        let code = visitor::code(&page)?;
        no_failed_units(lab, &vm)?;
        lab.step("the page in a browser", || in_a_browser(lab, &vm, &code))?;
        let try_codes = |codes: &[&str], options: &[&str]| {
            knock(lab, ssh(lab, &vm, "setup", Brings::Codes(codes), options)?, lab.patience(30))
        };

        let mut visitor = lab.step("let in by the code", || {
            let visitor = come(lab, &vm, "first", Brings::Codes(&[&code]))?;
            vm.keep(visitor.screen.wait_for(TITLE, lab.patience(30)))?;
            Ok(visitor)
        })?;
        lab.step("the fingerprint on the page is the one that ssh saw", || same_key(lab, &page))?;
        lab.step("the page works there", || {
            visitor.screen.wait_for("press Enter", lab.patience(20))?;
            visitor.type_line("3")?;
            visitor.screen.wait_for("image id", lab.patience(30))?;
            vm.wait_for_text(&format!("in use from {GATEWAY}"), lab.patience(60)).map(drop)
        })?;
        lab.step("no shell by any channel", || vm.keep(no_other_way(lab, &vm, &code)))?;
        lab.step("one session", || {
            let second = come(lab, &vm, "second", Brings::Codes(&[&code]))?;
            let said = format!("Somebody from {GATEWAY} is using SSH here already");
            vm.keep(second.screen.wait_for(&said, lab.patience(30)))?;
            vm.keep(second.screen.wait_for("closed", lab.patience(10))).map(drop)
        })?;
        lab.step("hung up, and nothing stays", || {
            drop(visitor);
            vm.root_sh(&nobody_is_in(), lab.patience(70))?.ok()?;
            vm.wait_for_text(&format!("code {code}"), lab.patience(60)).map(drop)
        })?;

        lab.step("five wrong codes from several connections at once", || {
            let wrong = ["00000 00000", "password", "K7QXM 3FHTP"];
            thread::scope(|scope| {
                let others: Vec<_> = (0..2).map(|_| scope.spawn(|| try_codes(&wrong, &[]))).collect();
                others.into_iter().try_for_each(|other| match other.join() {
                    Ok(answer) => refused(&answer?),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
            })
        })?;
        lab.step("the right code on the next try", || {
            let answer = try_codes(&[&code], &["-tt"])?;
            refused(&answer)?;
            ensure!(answer.stderr.contains("SSH is closed: 5 wrong codes came."), "nobody says why: {answer:?}");
            Ok(())
        })?;
        let fresh = lab.step("opened at the console, with another code", || {
            vm.wait_for_text("CLOSED after 5 wrong codes. Press Enter", lab.patience(60))?;
            vm.wait_for_text(&format!("They came from {GATEWAY} (5)."), lab.patience(10))?;
            vm.wait_for_text("Enter alone opens SSH again", lab.patience(10))?;
            vm.screenshot("closed")?;
            vm.type_line("")?;
            vm.wait_for_text(TITLE, lab.patience(30))?;
            visitor::code(&vm.wait_for_text("1) Set up this machine", lab.patience(10))?)
        })?;
        ensure!(fresh != code, "the code is the same as before");
        lab.step("the former code, then the new one", || {
            refused(&try_codes(&[&code], &["-tt"])?)?;
            let visitor = come(lab, &vm, "last", Brings::Codes(&[&fresh.to_lowercase().replace(' ', "-")]))?;
            vm.keep(visitor.screen.wait_for(TITLE, lab.patience(30))).map(drop)
        })?;
        lab.step("no code in the journal", || {
            let seen =
                vm.root_sh(&format!("journalctl -b | grep -e '{code}' -e '{fresh}' -e password,"), lab.patience(30))?;
            ensure!(seen.code == 1, "the journal holds what was typed: {}", seen.stdout);
            Ok(())
        })
    });
}

/// `http://hearth.local` tells how to come in, and not the code; what answers there may next to nothing.
fn in_a_browser(lab: &Lab, vm: &Vm, code: &str) -> Result<()> {
    let get = |path: &str| vm.http_get(80, "hearth.local", path, lab.patience(10));
    let page = get("/")?;
    let told =
        ["It waits for somebody to set it up.", "ssh setup@hearth.local"].iter().all(|words| page.body.contains(words));
    ensure!(page.status == 200 && told && !page.body.contains(code), "the page is {page:?}");
    let policy = page.header("content-security-policy").unwrap_or_default();
    ensure!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "the policy is {policy}");
    ensure!(get("/authorized_keys")?.status == 404, "there is more than one page");
    let may =
        "pid=$(systemctl show -P MainPID hearth-web.service); stat -c %u /proc/$pid; nsenter -t $pid -n ip -br link";
    let may = vm.root_sh(may, lab.patience(20))?.ok()?;
    let (user, links) = may.split_once('\n').unwrap_or_default();
    ensure!(user != "0" && links.starts_with("lo ") && links.lines().count() == 1, "it is {user}, with {links}");
    Ok(())
}

/// The first page, from its title to its menu.
fn page(lab: &Lab, vm: &Vm) -> Result<String> {
    lab.step("the page with a code", || {
        vm.wait_for_text(TITLE, lab.patience(60))?;
        let page = vm.wait_for_text("1) Set up this machine", lab.patience(10))?;
        vm.wait_for_text("press Enter", lab.patience(10))?;
        Ok(page)
    })
}

fn come(lab: &Lab, vm: &Vm, name: &str, brings: Brings<'_>) -> Result<Visitor> {
    Visitor::come(lab, name, ssh(lab, vm, "setup", brings, &["-tt", "-o", "SetEnv=LC_ALL=evil BASH_ENV=evil"])?)
}

fn refused(answer: &Output) -> Result<()> {
    ensure!(answer.code == 255 && answer.stderr.contains("Permission denied"), "SSH let somebody in: {answer:?}");
    Ok(())
}

/// Fails unless the host key that clients saw has the fingerprint that the page shows.
fn same_key(lab: &Lab, page: &str) -> Result<()> {
    let known = known_hosts(lab);
    let seen = lab.run("ssh-keygen", &["-l", "-f", &known.to_string_lossy()], lab.patience(10))?.ok()?;
    let seen = seen.split_whitespace().find(|word| word.starts_with("SHA256:")).context("no host key was seen")?;
    ensure!(page.contains(&format!("host key {seen}\n")), "the page does not show {seen}: {page}");
    Ok(())
}

/// Fails if somebody with the right code gets more than the page.
fn no_other_way(lab: &Lab, vm: &Vm, code: &str) -> Result<()> {
    let ask = |options: &[&str], words: &[&str]| {
        let mut ssh = ssh(lab, vm, "setup", Brings::Codes(&[code]), options)?;
        ssh.args(words);
        knock(lab, ssh, lab.patience(20))
    };
    let harmless = |what: &str, answer: &Output, says: &str| {
        let nothing = answer.code != 0 && answer.code != 124 && answer.stdout.is_empty();
        ensure!(nothing && answer.stderr.contains(says), "{what} got something: {answer:?}");
        Ok(())
    };
    let no_commands = "Hearth takes no commands here.";
    for command in ["cat /etc/shadow", "scp -f /etc/shadow"] {
        harmless(command, &ask(&["-T"], &[command])?, no_commands)?;
    }
    harmless("a session without a terminal", &ask(&["-T"], &[])?, no_commands)?;
    harmless("sftp", &ask(&["-s"], &["sftp"])?, "subsystem request failed")?;
    harmless("a way through", &ask(&["-W", "127.0.0.1:22"], &[])?, "prohibited")?;
    let back = ["-N", "-R", "2222:127.0.0.1:22", "-o", "ExitOnForwardFailure=yes"];
    harmless("a way back", &ask(&back, &[])?, "remote port forwarding failed")?;
    // A terminal does not make a command of it.
    let answer = ask(&["-tt"], &["sh -i"])?;
    ensure!(answer.code == 1 && answer.stdout.contains(no_commands), "a command with a terminal: {answer:?}");

    // What the session in the background runs: nothing but the page, in an environment of the machine's own.
    let tree = vm.root_sh(PROCESSES, lab.patience(10))?.stdout;
    let known = |line: &str| ["sshd-session: setup", "hearth claim session"].iter().any(|word| line.contains(word));
    ensure!(tree.lines().all(known) && tree.lines().count() >= 2, "the session runs something else:\n{tree}");
    let brought = vm.root_sh(ENVIRONMENTS, lab.patience(10))?.stdout;
    ensure!(
        brought.contains("SSH_CONNECTION") && !brought.contains("evil"),
        "the environment is the client's: {brought}"
    );
    let shell = vm.root_sh("getent passwd setup | cut -d: -f3,7", lab.patience(10))?.ok()?;
    ensure!(!shell.starts_with("0:") && shell.ends_with(":/usr/share/hearth/setup/session"), "the account is {shell}");
    Ok(())
}

#[test]
fn a_flashed_disk_opens_by_its_code_and_by_a_key_until_it_is_set_up() {
    scenario("claim-flashed", Duration::from_secs(420), |lab| {
        let station = lab.step("the workstation's disk", || Workstation::make(lab))?;
        let disk = Disk::empty(Bytes::gib(16).0)?;
        let (key, public) = lab.ssh_key("admin")?;
        let (stranger, _) = lab.ssh_key("stranger")?;
        let target = || Drive::served(&disk).serial(SERIAL);
        let flashed = {
            let stick = Drive::overlay(&station.image).bus(Bus::Usb).serial("STICK").boots(0);
            let vm = lab.vm("flashing").drive(stick).drive(station.drive()).drive(target()).start()?;
            lab.step("started from a stick", || station.mount(lab, &vm))?;
            lab.step("flashed", || vm.keep(flash(lab, &station, &vm, &public)))?
        };

        let vm = lab.vm("flashed").drive(target().boots(0)).start()?;
        let shown = visitor::code(&page(lab, &vm)?)?;
        ensure!(vm.serial().text().contains("1 key on HEARTH may come in, too"), "the page does not tell of the key");
        lab.step("let in by the code of the flash, by the key, and by the code on the page", || {
            let codes = [&*flashed, &shown];
            let all = codes.iter().map(std::slice::from_ref).map(Brings::Codes).chain([Brings::Key(&key)]);
            for (number, brings) in all.enumerate() {
                let visitor = come(lab, &vm, &format!("visitor{number}"), brings)?;
                vm.keep(visitor.screen.wait_for(TITLE, lab.patience(30)))?;
                drop(visitor);
                vm.root_sh(&nobody_is_in(), lab.patience(70))?.ok()?;
            }
            let knock = |key| knock(lab, ssh(lab, &vm, "setup", Brings::Key(key), &["-tt"])?, lab.patience(30));
            refused(&knock(&stranger)?)?;
            let answer = self::knock(lab, ssh(lab, &vm, "root", Brings::Key(&key), &["-tt"])?, lab.patience(30))?;
            refused(&answer)
        })?;
        lab.step("closed to all of them after five wrong codes", || {
            let wrong = ["wrong"; 5];
            refused(&knock(lab, ssh(lab, &vm, "setup", Brings::Codes(&wrong), &["-tt"])?, lab.patience(30))?)?;
            for brings in [Brings::Codes(&[&flashed]), Brings::Codes(&[&shown]), Brings::Key(&key)] {
                let answer = knock(lab, ssh(lab, &vm, "setup", brings, &["-tt"])?, lab.patience(30))?;
                ensure!(answer.code == 255 && !answer.stdout.contains(TITLE), "SSH let somebody in: {answer:?}");
                ensure!(answer.stderr.contains("SSH is closed"), "nobody says why: {answer:?}");
            }
            Ok(())
        })?;
        vm.root_sh("sync", lab.patience(20))?.ok()?;
        ensure!(vm.power_cut(Survivors::None) == 0, "setup mode wrote to its disk");

        let vm = lab.vm("set-up").drive(target().boots(0)).credential("hearth.adopt", APPROVAL).start()?;
        lab.step("set up", || vm.wait_for_text(ADOPTED, lab.patience(180)))?;
        no_failed_units(lab, &vm)?;
        lab.step("nothing of it is left", || {
            vm.root_sh("systemctl is-active ssh.service", lab.patience(10))?.ok()?;
            for left in [
                "systemctl is-active hearth-claim.service hearth-setup-ssh.service",
                "getent passwd setup",
                "ls /run/hearth/claim /run/hearth/setup /etc/sudoers.d/hearth-setup /etc/pam.d/hearth-setup",
                "hearth claim open",
            ] {
                let answer = vm.root_sh(left, lab.patience(10))?;
                ensure!(answer.code != 0 && answer.stdout.replace("inactive\n", "").is_empty(), "{left}: {answer:?}");
            }
            vm.root_sh(
                "mount -o ro -L HEARTH /mnt && ls /mnt/hearth.setup-code /mnt/authorized_keys; umount /mnt",
                lab.patience(20),
            )?
            .ok()?;
            for brings in [Brings::Codes(&[&flashed]), Brings::Key(&key)] {
                refused(&knock(lab, ssh(lab, &vm, "setup", brings, &["-tt"])?, lab.patience(30))?)?;
            }
            Ok(())
        })
    });
}

/// Flashes with a code and a key; gives the code.
fn flash(lab: &Lab, station: &Workstation, vm: &Vm, public: &str) -> Result<String> {
    let keys = "/run/keys.pub";
    let words = format!(
        "--log-format json flash {IMAGE} /dev/disk/by-id/virtio-{SERIAL} --erase virtio-{SERIAL} \
         --setup-code --authorized-keys {keys}"
    );
    vm.root_sh(&format!("echo nonsense >{keys}"), lab.patience(10))?.ok()?;
    let answer = station.run(vm, &words, lab.patience(30))?;
    let named = answer.stderr.contains("/run/keys.pub cannot be taken:\n  line 1: it must begin with its kind");
    ensure!(answer.code == i32::from(Exit::Input.code()) && named, "a file without keys was taken: {answer:?}");
    vm.root_sh(&format!("echo '{public}' >{keys}"), lab.patience(10))?.ok()?;
    let dry = station.run(vm, &format!("{words} --dry-run"), lab.patience(30))?.ok()?;
    ensure!(dry.contains("1 public key may come in") && !dry.contains("Its setup code is"), "a dry run says: {dry}");
    let said = station.run(vm, &words, lab.patience(120))?.ok()?;
    let code = said.split_once("Its setup code is ").and_then(|(_, rest)| rest.split_once('.'));
    Ok(code.with_context(|| format!("flash prints no code: {said}"))?.0.to_owned())
}

/// Waits until the last session is gone.
fn nobody_is_in() -> String {
    format!("for i in $(seq 60); do [ -n \"$({PROCESSES})\" ] || exit 0; sleep 1; done; {PROCESSES}; exit 1")
}

#[test]
fn a_machine_that_is_set_up_opens_nothing_in_setup_mode_either() {
    scenario("claim-adopted", Duration::from_secs(100), |lab| {
        let disk = adopted(lab)?;
        let (key, public) = lab.ssh_key("admin")?;
        let vm = lab.vm("main").drive(Drive::overlay(disk).serial(SERIAL).boots(0)).start()?;
        lab.step("chosen in the menu", || {
            vm.wait_for_text("Hearth setup, changing nothing on this disk", lab.patience(60))?;
            vm.type_text("s")
        })?;
        let page = page(lab, &vm)?;
        ensure!(!page.contains("SSH "), "the page offers a way in: {page}");
        no_failed_units(lab, &vm)?;
        // Its own sshd has the port, and takes an account's key, had it been given one.
        let listens =
            vm.root_sh("systemctl is-active ssh.service && ! ls /run/hearth/claim", lab.patience(10))?.ok()?;
        ensure!(listens == "active", "ssh.service is {listens}");
        let account = format!(
            "useradd -m ada && install -m 0644 /dev/null /etc/ssh/authorized_keys.d/ada && \
             echo '{public}' >/etc/ssh/authorized_keys.d/ada"
        );
        vm.root_sh(&account, lab.patience(20))?.ok()?;
        let came = |user| knock(lab, ssh(lab, &vm, user, Brings::Key(&key), &["-tt"])?, lab.patience(30));
        refused(&came("setup")?)?;
        refused(&knock(lab, ssh(lab, &vm, "setup", Brings::Codes(&["00000 00000"]), &["-tt"])?, lab.patience(30))?)?;
        let answer = vm.ssh("ada", &key, "id -un", lab.patience(30))?;
        ensure!(answer.clone().ok()? == "ada", "an account's own key is refused: {answer:?}");
        Ok(())
    });
}
