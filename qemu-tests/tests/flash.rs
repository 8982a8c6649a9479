//! `hearth-image flash` in a machine that was started from the image on a stick: the disk it
//! writes, through power cuts, is the image, and starts by itself.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use hearth::exit::Exit;
use hearth::flash;
use hearth::layout::ALIGNMENT;
use hearth::units::Bytes;
use hearth_qemu_tests::appliance::{facts, no_failed_units, wait_for_page};
use hearth_qemu_tests::flashed::{compare, has_no_table, make_used};
use hearth_qemu_tests::nbd::{Disk, Survivors, When};
use hearth_qemu_tests::random::Random;
use hearth_qemu_tests::workstation::{IMAGE, PROGRAM, Workstation};
use hearth_qemu_tests::{Bus, Drive, Firmware, Lab, Vm, scenario};

/// The target's serial number, what approves it, and its stable name.
const SERIAL: &str = "S4EWNX0N4711";
const APPROVAL: &str = "4711";
const TARGET: &str = "nvme-QEMU_NVMe_Ctrl_S4EWNX0N4711";

#[test]
fn an_interrupted_flash_goes_on_and_its_disk_starts_by_itself() {
    scenario("flash", Duration::from_secs(360), |lab| {
        let station = lab.step("the workstation's disk", || Workstation::make(lab))?;
        let total = total(&station)?;
        let disk = Disk::empty(Bytes::gib(16).0)?;
        make_used(&disk, &station.manifest)?;
        let start = |name, firmware| {
            let stick = Drive::overlay(&station.image).bus(Bus::Usb).serial("STICK").boots(0);
            let target = Drive::served(&disk).bus(Bus::Nvme).serial(SERIAL);
            let vm = lab.vm(name).firmware(firmware).drive(stick).drive(target).drive(station.drive()).start()?;
            station.mount(lab, &vm)?;
            Ok::<_, anyhow::Error>(vm)
        };

        let vm = lab.step("started from a stick by UEFI", || start("first", Firmware::Uefi))?;
        wait_for_page(lab, &vm)?;
        disk.cut_when(When::Written(total.0 / 3), Survivors::None);
        approve_on_the_console(lab, &vm)?;
        cut(lab, &disk, vm)?;

        let vm = lab.step("started again by BIOS", || start("second", Firmware::Bios))?;
        is_unfinished(lab, &station, &vm, TARGET)?;
        disk.reset_stats();
        disk.cut_when(When::Written(total.0 / 3), Survivors::Random(4));
        spawn(lab, &vm)?;
        cut(lab, &disk, vm)?;

        let vm = lab.step("started again", || start("third", Firmware::Bios))?;
        disk.reset_stats();
        let words = format!("flash {IMAGE} /dev/disk/by-id/{TARGET} --erase {TARGET}");
        let said = lab.step("flashed to the end", || {
            let output = station.run(&vm, &words, lab.patience(120))?;
            vm.keep(output.clone().ok())?;
            Ok(output.stdout + &output.stderr)
        })?;
        ensure!(said.contains("were there already"), "it does not say that it went on: {said}");
        // Two thirds were there, but for what was on its way when the power went.
        let written = Bytes(disk.stats().written);
        ensure!(written < Bytes(total.0 / 3) + Bytes::mib(64), "{written} of {total} were written once more");
        // Done is what lasts: the power goes at once.
        let at_stake = vm.power_cut(Survivors::None);
        ensure!(at_stake == 0, "{at_stake} bytes of a finished flash were not made to last");

        lab.step("compared with the image", || compare(&disk, &station.image, &station.manifest))?;
        disk.reset_stats();
        for (name, firmware) in [("uefi", Firmware::Uefi), ("bios", Firmware::Bios)] {
            let vm = lab.vm(name).firmware(firmware).drive(Drive::served(&disk).bus(Bus::Nvme).boots(0)).start()?;
            wait_for_page(lab, &vm)?;
            no_failed_units(lab, &vm)?;
            let verified = vm.root_sh("sgdisk --verify /dev/nvme0n1", lab.patience(10))?.ok()?;
            ensure!(verified.contains("No problems found"), "the partition table is damaged: {verified}");
        }
        ensure!(disk.stats().written == 0, "setup mode wrote to the flashed disk");
        Ok(())
    });
}

/// Seeds the instants of the cuts below; a failure prints them.
const SEED: u64 = 20_261_124;

const CUTS: u64 = 10;

#[test]
fn cuts_at_any_instant_leave_a_disk_that_is_resumed_to_the_same_bytes() {
    scenario("flash-cuts", Duration::from_secs(900), |lab| {
        let station = lab.step("the workstation's disk", || Workstation::make(lab))?;
        let total = total(&station)?;
        let (reference, disk) = (Disk::empty(Bytes::gib(4).0)?, Disk::empty(Bytes::gib(4).0)?);
        for disk in [&reference, &disk] {
            make_used(disk, &station.manifest)?;
        }
        let vm = lab
            .vm("main")
            .drive(Drive::overlay(&station.image).bus(Bus::Usb).serial("STICK").boots(0))
            .drive(station.drive())
            .drive(Drive::served(&reference).serial("REFERENCE"))
            .drive(Drive::served(&disk).serial("CUT"))
            .start()?;
        lab.step("started from a stick", || station.mount(lab, &vm))?;
        let flash = |serial: &str| {
            let words = format!("flash {IMAGE} /dev/disk/by-id/virtio-{serial} --erase virtio-{serial}");
            station.run(&vm, &words, lab.patience(200))
        };
        let first = lab.step("flashed in one go", || {
            vm.keep(flash("REFERENCE")?.ok())?;
            compare(&reference, &station.image, &station.manifest)
        })?;

        // Each cut takes a random part of what is still to come, so that ten of them fit in.
        let mut random = Random::new(SEED);
        let mut left = total;
        for number in 1..=CUTS {
            let written = Bytes::mib(1) + Bytes(random.below(left.0 * 2 / (CUTS - number + 3)));
            let survivors = if number % 2 == 0 { Survivors::None } else { Survivors::Random(SEED + number) };
            let what = format!("cut {number}: after {written} ({}), {survivors:?}", written.0);
            lab.step(&what, || {
                disk.reset_stats();
                disk.cut_when(When::Written(written.0), survivors);
                let output = flash("CUT")?;
                let at_stake = disk.wait_for_cut(Duration::ZERO);
                disk.restore_power();
                let failed = output.code == i32::from(Exit::Io.code()) && output.stderr.contains("The same command");
                let right = failed && at_stake.is_some();
                vm.keep(right.then_some(()).with_context(|| format!("{at_stake:?} at stake, but {output:?}")))?;
                has_no_table(&disk)
            })?;
            // The first two MiB and the last are written each time.
            left = left.saturating_sub(written.saturating_sub(Bytes::mib(2)));
        }
        // The end has its own order: the table's copy, the table, the first sector.
        for (what, byte) in [("the copy", disk.size() - 1), ("the table", 512), ("the first sector", 0)] {
            lab.step(&format!("cut while {what} is written"), || {
                disk.reset_stats();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        // Once the former table is gone, nothing touches its places before the new one comes.
                        let deadline = Instant::now() + lab.patience(60);
                        while disk.stats().flushes < 2 && Instant::now() < deadline {
                            thread::sleep(Duration::from_millis(2));
                        }
                        disk.cut_when(When::Touched(byte), Survivors::None);
                    });
                    flash("CUT")
                })?;
                let at_stake = disk.wait_for_cut(Duration::ZERO);
                disk.restore_power();
                vm.keep(at_stake.context("the cut did not come"))?;
                // Whatever lies behind it, without a boot signature in it nothing is looked at.
                is_unfinished(lab, &station, &vm, "virtio-CUT")
            })?;
        }
        let second = lab.step("resumed to the end", || {
            disk.reset_stats();
            vm.keep(flash("CUT")?.ok())?;
            compare(&disk, &station.image, &station.manifest)
        })?;
        ensure!(Bytes(disk.stats().written) < Bytes::mib(8), "a disk that was all there was written once more");
        lab.step("compared with each other", || same_but_for_the_tables(&reference, &disk))?;
        lab.step("one wrong byte would be seen", || {
            let place = total.0 / 2;
            let byte = reference.read(place, 1)?;
            reference.write(place, &[!byte[0]], true)?;
            let seen = compare(&reference, &station.image, &station.manifest).err().map(|error| error.to_string());
            reference.write(place, &byte, true)?;
            ensure!(seen.as_ref().is_some_and(|error| error.starts_with(&format!("byte {place} "))), "{seen:?}");
            Ok(())
        })?;
        ensure!(first.iter().all(|id| !second.contains(id)), "two disks share an id: {first:?} {second:?}");
        lab.step("no duplicates", || {
            let duplicates = facts(lab, &vm)?.duplicates;
            ensure!(duplicates.is_empty(), "the facts say {duplicates:?}");
            vm.serial().skip();
            vm.root_sh("systemctl restart hearth-page@ttyS0", lab.patience(20))?.ok()?;
            let page = vm.wait_for_text("1) Set up this machine", lab.patience(60))?;
            ensure!(page.contains("CUT") && !page.contains("WARNING"), "the page says: {page}");
            Ok(())
        })
    });
}

/// Flashes as a person does: reads the plan on the serial console, mistypes once, and approves.
fn approve_on_the_console(lab: &Lab, vm: &Vm) -> Result<()> {
    let unit =
        "--unit=flash -p StandardInput=tty-force -p StandardOutput=tty -p StandardError=tty -p TTYPath=/dev/ttyS0";
    let command =
        format!("systemctl stop hearth-page@ttyS0 && systemd-run {unit} {PROGRAM} flash {IMAGE} /dev/nvme0n1");
    lab.step("approved on the console", || {
        vm.root_sh(&command, lab.patience(20))?.ok()?;
        vm.wait_for_text(TARGET, lab.patience(20)).context("reading the plan")?;
        vm.wait_for_text("Everything on this disk will be erased.", lab.patience(10))?;
        vm.wait_for_text("Approve: ", lab.patience(10))?;
        vm.type_line("1174")?;
        vm.wait_for_text("These are not the last characters of the serial number.", lab.patience(10))?;
        vm.wait_for_text("Approve: ", lab.patience(10))?;
        vm.type_line(APPROVAL)?;
        vm.wait_for_text("writing and reading back", lab.patience(30)).map(drop)
    })
}

/// Flashes in the background.
fn spawn(lab: &Lab, vm: &Vm) -> Result<()> {
    let flash = format!("{PROGRAM} flash {IMAGE} /dev/disk/by-id/{TARGET} --erase {TARGET}");
    let command = format!("systemd-run --unit=flash {flash}");
    vm.root_sh(&command, lab.patience(20))?.ok().map(drop)
}

/// How much a flash writes.
fn total(station: &Workstation) -> Result<Bytes> {
    let pieces = flash::plan(&station.manifest.disk_image()).map_err(|problems| anyhow!("{problems:?}"))?;
    Ok(flash::total(&pieces))
}

/// Two disks of one size, flashed: their tables have different ids, all else is equal.
fn same_but_for_the_tables(one: &Disk, two: &Disk) -> Result<()> {
    let step = ALIGNMENT.0;
    // Both ends were compared with what the image says.
    for at in (step..one.size() - step).step_by(usize::try_from(step)?) {
        let length = usize::try_from(step)?;
        ensure!(one.read(at, length)? == two.read(at, length)?, "they differ somewhere in the MiB from byte {at}");
    }
    Ok(())
}

/// Waits until the disk loses its power, and takes the machine's as well.
fn cut(lab: &Lab, disk: &Disk, vm: Vm) -> Result<()> {
    lab.step("cut off in the middle", || {
        let at_stake = loop {
            if let Some(at_stake) = disk.wait_for_cut(lab.patience(1)) {
                break at_stake;
            }
            let running =
                vm.root_sh("systemctl is-active flash || ! journalctl --no-pager -u flash", lab.patience(20))?;
            vm.keep(running.ok().context("the flash ended before the power cut"))?;
        };
        vm.power_cut(Survivors::None);
        ensure!(at_stake > 0, "nothing was lost: this cut proves nothing");
        has_no_table(disk)
    })
}

/// What `disks` says of a disk whose flash was cut off.
fn is_unfinished(lab: &Lab, station: &Workstation, vm: &Vm, name: &str) -> Result<()> {
    let told = station.run(vm, "disks --json", lab.patience(20))?.ok()?;
    let disks: serde_json::Value = serde_json::from_str(&told)?;
    let disk =
        disks.as_array().into_iter().flatten().find(|disk| disk["name"] == name).context("the target is gone")?;
    let holds = disk["holds"].as_str().unwrap_or_default();
    ensure!(holds.starts_with("an unfinished flash of Hearth "), "it is said to hold {holds}");
    let facts = &disk["facts"];
    ensure!(facts["table"].is_null() && facts["partitions"].is_null(), "it has a partition table: {facts}");
    Ok(())
}
