//! A fresh image starts by UEFI, with Secure Boot, and by BIOS, to the first page
//! on screen and serial console, and changes nothing on its disk.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::facts;
use hearth::layout::Part;
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, no_failed_units, wait_for_page};
use hearth_qemu_tests::nbd::{Disk, Survivors};
use hearth_qemu_tests::{Drive, Firmware, appliance, scenario};

const SHARE: Duration = Duration::from_secs(70);

fn reaches_the_page(name: &str, firmware: Firmware, told: facts::Firmware) {
    scenario(name, SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab.vm("main").firmware(firmware).drive(Drive::served(&disk).serial(SERIAL).boots(0)).start()?;
        wait_for_page(lab, &vm)?;
        no_failed_units(lab, &vm)?;
        ensure!(appliance::facts(lab, &vm)?.firmware == told, "the machine was not started by {told:?}");

        let screen = vm.screenshot("page")?;
        // A page of text covers some percent of the screen; a cursor alone does not make one in a thousand.
        ensure!(screen.drawn() >= 10, "the screen is blank: {} of 1000 pixels are drawn", screen.drawn());

        let (key, _) = lab.ssh_key("stranger")?;
        for user in ["root", "setup"] {
            let answer = vm.ssh(user, &key, "true", lab.patience(20))?;
            ensure!(answer.code == 255, "a fresh image let {user} in by SSH: {answer:?}");
        }

        vm.root_sh("sync", lab.patience(20))?.ok()?;
        let at_stake = vm.power_cut(Survivors::None);
        // All of the machine's writes go through the disk's server, so none is a disk unchanged.
        let written = disk.stats().written;
        ensure!(written == 0 && at_stake == 0, "setup mode wrote {written} bytes to its disk");
        Ok(())
    });
}

#[test]
fn uefi() {
    reaches_the_page("boots-uefi", Firmware::Uefi, facts::Firmware::Uefi);
}

#[test]
fn secure_boot() {
    reaches_the_page("boots-secure-boot", Firmware::SecureBoot, facts::Firmware::UefiSecureBoot);
}

#[test]
fn bios() {
    reaches_the_page("boots-bios", Firmware::Bios, facts::Firmware::Bios);
}

/// The same loader, but for its signature: it starts without Secure Boot, so that
/// it is Secure Boot that refuses it, and nothing that was broken on the way.
#[test]
fn an_unsigned_loader_is_refused_under_secure_boot() {
    scenario("boots-unsigned", SHARE, |lab| {
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let stripped = strip_signatures(&disk)?;
        ensure!(stripped >= 2, "only {stripped} signed programs were found on the ESP");
        let vm = |name, firmware| lab.vm(name).firmware(firmware).drive(Drive::served(&disk).boots(0)).start();
        let refused = vm("refused", Firmware::SecureBoot)?;
        lab.step("refused", || refused.wait_for_text("Access Denied", lab.patience(20)))?;
        refused.screenshot("refused")?;
        ensure!(!refused.serial().text().contains("Hearth"), "it was started all the same");
        drop(refused);
        let started = vm("started", Firmware::Uefi)?;
        lab.step("started without Secure Boot", || started.wait_for_text("Hearth", lab.patience(30)))?;
        Ok(())
    });
}

/// Makes every signed program on the ESP an unsigned one: in a PE header, the entry
/// of the certificate table becomes empty. Gives how many there were.
fn strip_signatures(disk: &Disk) -> Result<usize> {
    // The GPT's entries begin at sector 2, 128 bytes each; at 32 and 40 are first and last sector.
    let entry = disk.read(1024 + 128 * u64::from(Part::Esp.number() - 1), 128)?;
    let word = |at: usize| entry[at..at + 8].try_into().map(u64::from_le_bytes).context("eight bytes");
    let (first, last) = (word(32)?, word(40)?);
    let mut stripped = 0;
    for sector in first..=last {
        let bytes = disk.read(sector * 512, 512)?;
        if let Some(at) = certificate_entry(&bytes) {
            disk.write(sector * 512 + at as u64, &[0; 8], true)?;
            stripped += 1;
        }
    }
    Ok(stripped)
}

/// Where in a PE file's first sector its certificate table is named, if it is one and is signed.
fn certificate_entry(sector: &[u8]) -> Option<usize> {
    let header = usize::try_from(u32::from_le_bytes(sector.get(0x3c..0x40)?.try_into().ok()?)).ok()?;
    // After the signature and the COFF header, the optional header (64 bits); its fifth directory.
    let optional = header.checked_add(24)?;
    let at = optional.checked_add(112 + 4 * 8)?;
    let is_pe = sector.starts_with(b"MZ")
        && sector.get(header..header + 4)? == b"PE\0\0"
        && sector.get(optional..optional + 2)? == [0x0b, 0x02];
    (is_pe && sector.get(at..at + 8)? != [0; 8]).then_some(at)
}
