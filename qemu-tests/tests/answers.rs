//! An answer file that comes to HEARTH after setup has looked: found by the first page, judged
//! there, and left for the next start.

use std::time::Duration;

use anyhow::{Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, wait_for_page};
use hearth_qemu_tests::{Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(80);

/// Makes what `command` prints the only answer file on HEARTH, as a computer with the stick in
/// it would, and has the page look again.
fn put(lab: &Lab, vm: &Vm, name: &str, command: &str) -> Result<()> {
    let command = format!(
        "mkdir -p /run/stick && mount -L HEARTH /run/stick && rm -f /run/stick/HEARTH.TOML.txt && \
         {command} > /run/stick/{name} && umount /run/stick"
    );
    vm.root_sh(&command, lab.patience(30))?.ok()?;
    vm.serial().skip();
    vm.type_line("")
}

#[test]
fn the_page_tells_of_an_answer_file_that_came_late() {
    scenario("answers-told", SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab.vm("main").drive(Drive::served(&disk).serial(SERIAL).boots(0)).start()?;
        wait_for_page(lab, &vm)?;
        ensure!(!vm.serial().text().contains("answers  "), "the page tells of answers where there are none");

        let wrong =
            r#"printf 'version = 1\r\n[system]\r\ndisk = "sda"\r\n[admin]\r\npassword = "open sesame please"\r\n'"#;
        put(lab, &vm, "HEARTH.TOML.txt", wrong)?;
        lab.step("a wrong file", || {
            vm.wait_for_text("HEARTH.TOML.txt has 5 errors, so setup does not follow it.", lab.patience(20))?;
            vm.wait_for_text("press Enter", lab.patience(10))?;
            vm.type_line("3")?;
            vm.wait_for_text("line 3, column 8: `disk` must be", lab.patience(20))?;
            vm.wait_for_text("no answer file may hold a password", lab.patience(20)).map(drop)
        })?;
        // Out of the details, wherever they stand.
        vm.type_line("0")?;
        put(lab, &vm, "hearth.toml", "hearth answers example")?;
        lab.step("a clean file", || {
            let text = "hearth.toml checks clean. Setup follows it at the next start.";
            vm.wait_for_text(text, lab.patience(20)).map(drop)
        })?;
        ensure!(!vm.serial().text().contains("open sesame"), "the page shows a password");
        let state = vm.root_sh("test ! -e /boot/hearth/adopted && ls /home", lab.patience(10))?.ok()?;
        ensure!(state.is_empty(), "somebody has a home already: {state}");
        Ok(())
    });
}
