//! The power goes while an answer file sets a machine up: at every step that it tells, and at
//! instants that nobody chose. What comes of it is what comes of a setup that nobody disturbed.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{ADMIN, PORTAL_HASH, SET_UP, SETTLED, answers, disk_with_data, medium_with};
use hearth_qemu_tests::appliance::{SERIAL, no_failed_units, runs_from_disk};
use hearth_qemu_tests::nbd::{Disk, Survivors};
use hearth_qemu_tests::random::Random;
use hearth_qemu_tests::{Bus, Drive, Lab, Vm, golden, scenario};
use uuid::{Uuid, uuid};

const SHARE: Duration = Duration::from_secs(30 * 60);

/// The same machine each time: its ids follow from this and from its disk's serial number.
const MACHINE: Uuid = uuid!("4a1f0b52-9c1d-4e0e-8a39-6f5d2a7be001");

/// How often the power goes at instants that nobody chose.
const CUTS: usize = 20;

/// The longest that setup is left to work before such a cut.
const LONGEST: u64 = 15_000;

/// What begins a line about a step.
const STEP: &str = "Hearth: ";

#[test]
fn a_power_cut_at_any_step_changes_nothing() {
    scenario("setup-cuts-at-steps", SHARE, |lab| {
        let story = Story::new(lab)?;
        let machine = story.machine()?;
        for (i, step) in story.steps.iter().enumerate() {
            lab.step(&format!("cut at {step}"), || {
                let vm = machine.start("cut-at-step")?;
                // Where the cut before came too late, the next step may be the first that is left.
                let later: Vec<&str> = story.steps[i..].iter().map(String::as_str).collect();
                vm.wait_for_any(&later, lab.patience(400))?;
                vm.power_cut(Survivors::Random(i as u64));
                Ok(())
            })?;
        }
        lab.step("as if undisturbed", || machine.finish(&story.undisturbed))
    });
}

#[test]
fn a_power_cut_at_any_instant_changes_nothing() {
    scenario("setup-cuts-at-instants", SHARE, |lab| {
        let story = Story::new(lab)?;
        let mut random = Random::new(20);
        let mut machine = story.machine()?;
        for cut in 0..CUTS {
            let wait = Duration::from_millis(random.below(LONGEST));
            let is_set_up = lab.step(&format!("cut {} ms after the first step", wait.as_millis()), || {
                let vm = machine.start("cut-at-random")?;
                let mut first: Vec<&str> = story.steps.iter().map(String::as_str).collect();
                first.push("login:");
                vm.wait_for_any(&first, lab.patience(400))?;
                thread::sleep(wait);
                let is_set_up = vm.serial().text().contains(SET_UP) || vm.serial().text().contains("login:");
                vm.power_cut(Survivors::Random(random.next_u64()));
                Ok(is_set_up)
            })?;
            if is_set_up || cut + 1 == CUTS {
                lab.step("as if undisturbed", || machine.finish(&story.undisturbed))?;
                machine = story.machine()?;
            }
        }
        Ok(())
    });
}

/// What every machine of a test begins with, and what becomes of the one that nobody disturbs.
struct Story<'a> {
    lab: &'a Lab,
    medium: PathBuf,
    photos: Vec<u8>,
    /// The steps that its consoles told of.
    steps: Vec<String>,
    undisturbed: String,
}

impl<'a> Story<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (_, public) = lab.ssh_key("admin")?;
        let text = answers(
            "attic",
            &public,
            "stacks = [\"core\"]\nerase = [\"ata-QEMU_HARDDISK_ROLE-B\"]\n",
            &format!(
                "[domain]\ndns = \"duckdns\"\nname = \"attic.duckdns.org\"\ntoken = \"0a1b2c3d-0000-4000-8000-00000000beef\"\n\n\
                 [[users]]\nname = \"{ADMIN}\"\ndisplay-name = \"Ada\"\nemail = \"ada@example.org\"\n\
                 groups = [\"admins\"]\npassword-hash = \"{PORTAL_HASH}\"\n\n\
                 [[disks]]\nroles = [\"backups\"]\ndisk = {{ serial = \"ROLE-A\" }}\nprepare = \"adopt\"\n\n\
                 [[disks]]\nroles = [\"media\", \"downloads\"]\ndisk = {{ serial = \"ROLE-B\" }}\nprepare = \"erase\"\n"
            ),
        );
        let medium = medium_with(lab, &text)?;
        let photos = std::fs::read(disk_with_data(lab, "photos", 64, "the family's\n")?)?;
        let mut story = Self { lab, medium, photos, steps: Vec::new(), undisturbed: String::new() };
        lab.step("undisturbed", || {
            let machine = story.machine()?;
            let vm = machine.start("undisturbed")?;
            vm.wait_for_text(SET_UP, lab.patience(400))?;
            (story.steps, story.undisturbed) = (told_steps(&vm.serial().text()), machine.judge(&vm)?);
            Ok(())
        })?;
        ensure!(story.steps.len() > 15, "the consoles told only {:?}", story.steps);
        Ok(story)
    }

    /// One that nothing happened to yet.
    fn machine(&self) -> Result<Machine<'a>> {
        Machine::new(self.lab, &self.medium, &self.photos)
    }
}

/// The lines that told of a step, without what follows the first word behind the number: `Hearth: 3/14 the`.
fn told_steps(console: &str) -> Vec<String> {
    let step = |line: &str| {
        let (count, what) = line.split_once(STEP)?.1.split_once(' ')?;
        let (number, of) = count.split_once('/')?;
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        (is_number(number) && is_number(of))
            .then(|| format!("{STEP}{count} {}", what.split(' ').next().unwrap_or(what)))
    };
    console.lines().filter_map(step).collect()
}

/// A machine whose disks outlive their power.
struct Machine<'a> {
    lab: &'a Lab,
    system: Disk,
    adopted: Disk,
    erased: Disk,
}

impl<'a> Machine<'a> {
    fn new(lab: &'a Lab, medium: &std::path::Path, photos: &[u8]) -> Result<Self> {
        let adopted = Disk::empty(photos.len() as u64)?;
        adopted.write(0, photos, true)?;
        let (system, erased) = (Disk::over(medium, Bytes::gib(16).0)?, Disk::empty(Bytes::gib(2).0)?);
        Ok(Self { lab, system, adopted, erased })
    }

    fn start(&self, name: &str) -> Result<Vm<'a>> {
        let role = |disk: &Disk, serial: &str| Drive::served(disk).bus(Bus::Sata).serial(serial);
        let vm = self.lab.vm(name).product_uuid(MACHINE);
        let vm = vm.drive(Drive::served(&self.system).serial(SERIAL).boots(0));
        vm.drive(role(&self.adopted, "ROLE-A")).drive(role(&self.erased, "ROLE-B")).start()
    }

    /// Starts once more, undisturbed, to the end, which is what it was without a disturbance.
    fn finish(&self, undisturbed: &str) -> Result<()> {
        let vm = self.start("finished")?;
        vm.wait_for_any(&[SET_UP, "login:"], self.lab.patience(400))?;
        let found = self.judge(&vm)?;
        golden::same("what is there after the cuts", &found, "what undisturbed setup makes", undisturbed)
    }

    /// All that setup made, as text, once everything runs.
    fn judge(&self, vm: &Vm<'_>) -> Result<String> {
        runs_from_disk(self.lab, vm)?;
        no_failed_units(self.lab, vm)?;
        let state = vm.root_sh(SETTLED, self.lab.patience(120))?.ok().context("reading what setup made")?;
        ensure!(state.contains("the family's"), "the adopted disk has lost its marker:\n{state}");
        Ok(state)
    }
}
