//! First boot without a question: an answer file prepares the whole machine.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, DISKS, PORTAL_HASH, SET_UP, answers, disk_with_data};
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, no_failed_units, runs_from_disk};
use hearth_qemu_tests::visitor::{self, Brings, Visitor};
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(240);

/// What must be told to nobody.
const TOKEN: &str = "0a1b2c3d-0000-4000-8000-00000000beef";

#[test]
fn an_answer_file_prepares_the_whole_machine() {
    scenario("setup-this-disk", SHARE, |lab| {
        let (key, public) = lab.ssh_key("admin")?;
        let photos = disk_with_data(lab, "photos", 64, "the family's\n")?;
        let text = answers(
            "attic",
            &public,
            "stacks = [\"core\"]\nerase = [\"ata-QEMU_HARDDISK_ROLE-B\"]\n",
            &format!(
                "[domain]\ndns = \"duckdns\"\nname = \"attic.duckdns.org\"\ntoken = \"{TOKEN}\"\n\n\
                 [[users]]\nname = \"{ADMIN}\"\ndisplay-name = \"Ada\"\nemail = \"ada@example.org\"\n\
                 groups = [\"admins\"]\npassword-hash = \"{PORTAL_HASH}\"\n\n{DISKS}"
            ),
        );
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let start = |name| {
            let own = Drive::served(&disk).serial(SERIAL).boots(0);
            let vm = lab.vm(name).drive(own).credential("hearth.answers", text.as_str());
            vm.drive(Drive::file(&photos).bus(Bus::Sata).serial("ROLE-A"))
        };
        let blank = Drive::empty(2 << 30).bus(Bus::Sata).serial("ROLE-B");
        let vm = start("main").drive(blank).start()?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(300)))?;
        runs_from_disk(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        let sh = |command: &str| vm.root_sh(command, lab.patience(30))?.ok();
        lab.step("the roles", || {
            ensure!(sh("cat /mnt/backups/marker")? == "the family's", "the adopted disk has lost its marker");
            sh("findmnt -no SOURCE /mnt/backups && findmnt -no FSTYPE /mnt/media | grep -x ext4")?;
            // Media and downloads share a disk, so a hard link between them is possible below their folders.
            sh("cd /var/lib/hearth/disks/media-downloads && echo x >downloads/film && ln downloads/film media/film && cmp media/film /mnt/media/film")
        })?;
        lab.step("the admin", || {
            let who = vm.ssh(ADMIN, &key, "id -nG; cat /etc/hostname", lab.patience(60))?.ok()?;
            ensure!(who.contains("admins") && !who.contains("docker"), "{ADMIN} is in {who}");
            Ok(())
        })?;
        lab.step("what a login tells", || {
            let ssh = visitor::ssh(lab, &vm, ADMIN, Brings::Key(&key), &["-tt"])?;
            let mut ada = Visitor::come(lab, "login", ssh)?;
            ada.type_line("exit")?;
            let told = ada.screen.wait_for("logout", lab.patience(60))?;
            for words in [
                "on attic",
                "data is mounted",
                "  RED     there is no recovery kit",
                "NOT YET core",
                "hearth-report.txt",
            ] {
                ensure!(told.contains(words), "a login does not tell {words:?}:\n{told}");
            }
            Ok(())
        })?;
        lab.step("the page in a browser", || page_in_a_browser(lab, &vm))?;
        lab.step("the name, the portal, the networks", || {
            ensure!(
                sh("hostname")? == "attic" && sh("readlink /etc/localtime")?.ends_with("Europe/Berlin"),
                "another name"
            );
            ensure!(
                sh("stat -c '%u %a' /opt/stacks/core/authelia/users_database.yml")? == "2001 600",
                "the portal cannot read"
            );
            let networks = sh("docker network ls --format '{{.Name}}'")?;
            for name in ["traefik-network", "homelab-network", "media-network"] {
                ensure!(networks.lines().any(|line| line == name), "Docker has the networks {networks}");
            }
            sh("grep -q password_pbkdf2 /boot/hearth/password.cfg").map(drop)
        })?;
        lab.step("the public name", || public_name(lab, &vm))?;
        lab.step("how the machine is", || {
            let status = sh("hearth status")?;
            ensure!(status.contains("RED     recovery kit"), "the status is\n{status}");
            let doctor = vm.root_sh("hearth doctor", lab.patience(60))?;
            ensure!(doctor.code == 7 && doctor.stdout.contains("-> "), "the doctor says\n{doctor:?}");
            let told = sh("hearth status --json")?;
            let told: serde_json::Value = serde_json::from_str(&told)?;
            // The answers declined the kit; all else that could be red is not, but for a token that nobody has.
            let red = told["findings"].as_array().into_iter().flatten().filter(|finding| finding["state"] == "red");
            let red: Vec<_> =
                red.map(|finding| &finding["subject"]).filter(|subject| *subject != "public name").collect();
            ensure!(told["hostname"] == "attic" && red == ["recovery kit"], "as JSON it is {told}");
            Ok(())
        })?;
        lab.step("one more person at the portal", || {
            sh("echo 'correct horse battery' | hearth user add eve --display-name Eve --email eve@example.org")?;
            let file = sh("stat -c '%u %a' /opt/stacks/core/authelia/users_database.yml && cat /opt/stacks/core/authelia/users_database.yml")?;
            ensure!(file.starts_with("2001 600\n") && file.contains("eve:") && file.contains(PORTAL_HASH), "the list is {file}");
            ensure!(!file.contains("correct horse"), "a password lies in it");
            let last = vm.root_sh(&format!("hearth user disable {ADMIN}"), lab.patience(30))?;
            ensure!(last.code == 3, "the last admin was disabled: {}", last.stderr);
            sh("grep -q 'added eve' /var/log/hearth/audit.jsonl && lsattr /var/log/hearth/audit.jsonl | grep -q '^-*a'").map(drop)
        })?;
        lab.step("the history of the stacks", || {
            let kept = sh("git -C /opt/stacks status --porcelain && git -C /opt/stacks ls-files")?;
            ensure!(kept.lines().eq([".gitignore", "core/authelia/configuration.yml"]), "Git keeps {kept}");
            let log = vm.ssh(ADMIN, &key, "git -C /opt/stacks log --format='%an <%ae> %s'", lab.patience(60))?.ok()?;
            ensure!(log.starts_with("Hearth <hearth@attic> Set up by Hearth "), "the history says {log}");
            Ok(())
        })?;
        lab.step("no answers left, but a report", || {
            let hearth = sh("mkdir -p /run/h && mount -o ro -L HEARTH /run/h && ls /run/h/*.toml /run/h/hearth.* && cat /run/h/*.txt /run/h/hearth.done.toml; umount /run/h")?;
            for left in ["/run/h/hearth.toml", "/run/h/hearth.setup", "/run/h/hearth.adopt"] {
                ensure!(!hearth.lines().any(|line| line == left), "HEARTH holds {left}");
            }
            for words in ["this machine is set up", "attic.local", "SHA256:", "/mnt/media and /mnt/downloads", "ERASED", "token = \"********\""] {
                ensure!(hearth.contains(words), "{words} is not said on HEARTH:\n{hearth}");
            }
            ensure!(!hearth.contains(TOKEN), "HEARTH tells the token");
            ensure!(sh(&format!("grep -rl {TOKEN} /etc /var/lib/hearth/setup /var/lib/hearth/ddns.json /var/log /opt/stacks; true"))? == "/etc/hearth/secrets/domain.token", "the token is in other files, too");
            ensure!(sh(&format!("journalctl -b --no-pager | grep -c {TOKEN}; true"))? == "0", "the journal tells the token");
            sh("test ! -e /etc/hearth/setup/answers.toml && test -e /var/lib/hearth/setup/sealed").map(drop)
        })?;
        Ok(())
    });
}

/// Whatever DuckDNS says to a token that nobody has, if it can be asked: the timer's unit keeps that, and is well.
fn public_name(lab: &Lab, vm: &Vm) -> Result<()> {
    let sh = |command: &str| vm.root_sh(command, lab.patience(60))?.ok();
    let dry = sh("hearth ddns --dry-run")?;
    ensure!(dry.contains("have DuckDNS lead attic.duckdns.org to 10."), "a dry run says {dry}");
    sh("systemctl is-enabled hearth-ddns.timer && systemctl start hearth-ddns.service")?;
    ensure!(sh("cat /var/lib/hearth/ddns.json")?.contains("\"why\":\"DuckDNS "), "nothing was kept of it");
    Ok(())
}

fn page_in_a_browser(lab: &Lab, vm: &Vm) -> Result<()> {
    let page = vm.http_get(80, "attic.local", "/", lab.patience(10))?;
    let told = page.body.contains("<h1>attic</h1>") && page.body.contains("It is set up. Its data is there");
    ensure!(page.status == 200 && told, "the page is {page:?}");
    ensure!(![TOKEN, "@example.org"].iter().any(|word| page.body.contains(word)), "it tells {}", page.body);
    Ok(())
}
