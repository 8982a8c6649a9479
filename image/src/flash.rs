//! `hearth-image flash`: the image, its manifest and its signature on one side, a disk that
//! somebody means on the other. Everything that can be refused is refused here, before
//! [`hearth::flash`] writes the first byte.

mod files;
mod source;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::approval::Token;
use hearth::exit::{Exit, Kind as _};
use hearth::facts::{Disk, disks_now};
use hearth::flash::{
    self, BlockDevice, FinalTable, Job, Medium as _, Need, Outcome, Piece, Refusal, Watch, capacity, hearth_files,
    installed, is_claimed, target,
};
use hearth::layout::{Part, drawn_id};
use hearth::manifest::DiskImage;
use hearth::page::{identity, text};
use hearth::units::Bytes;

use crate::disks::holds;
use crate::progress::{self, Step};
use crate::sign::{self, Trust};
use crate::{interrupt, verify};
use files::{FileArgs, HearthFiles};
pub use source::Source;

/// What `flash` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The image: a .img or a .img.zst, or - for standard input
    image: PathBuf,
    /// The disk: a path of any kind, or a selector such as serial=S4EWNX0N123456
    disk: String,
    /// The image's manifest [default: the one beside the image]
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// The public key that must have signed it [default: your own, if you made one]
    #[arg(long)]
    key: Option<PathBuf>,
    /// Approve without a question: the disk's name under /dev/disk/by-id
    #[arg(long, value_name = "BY-ID")]
    erase: Option<String>,
    /// Erase a disk that a Hearth was set up on, too: its name
    #[arg(long, value_name = "NAME")]
    erase_hearth: Option<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Before the long write, find out whether the disk is as large as it says
    #[arg(long)]
    check_capacity: bool,
    /// Do not read back what was written
    #[arg(long)]
    no_verify: bool,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// How often somebody may mistype.
const TRIES: usize = 3;

/// What a person reads who stops it half way.
const LAST_WORDS: &str = "interrupted; the disk has no partition table, so nothing starts from it. The same command goes on where it stopped";

/// Writes the image to the disk.
pub fn run(args: &Args) -> Result<()> {
    let plan = Plan::make(args)?;
    println!("{}", plan.lines().join("\n"));
    if args.dry_run {
        println!("A dry run: nothing was written.");
        return Ok(());
    }
    if args.erase.is_none() && !approved(&plan.disk)? {
        return Err(anyhow!("not approved; nothing was written")).kind(Exit::Refused);
    }
    plan.carry_out(args)
}

/// What will be written where.
struct Plan {
    image: DiskImage,
    pieces: Vec<Piece>,
    trust: Trust,
    disk: Disk,
    /// What is on the disk now, in one sentence.
    holds: String,
    /// What goes to the `HEARTH` partition besides what the image has there.
    files: HearthFiles,
}

impl Plan {
    /// Looks at both sides; refuses with every reason at once.
    fn make(args: &Args) -> Result<Self> {
        let path = match &args.manifest {
            Some(path) => path.clone(),
            None if is_stdin(&args.image) => {
                return Err(anyhow!("an image from standard input needs its manifest named: --manifest FILE"))
                    .kind(Exit::Input);
            }
            None => verify::manifest_path(&args.image),
        };
        let trust = sign::check(&path, args.key.as_deref())?;
        let manifest = verify::read_manifest(&path)?;
        let image = manifest.disk_image();
        let pieces = flash::plan(&image).map_err(|problems| {
            let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            anyhow!("{} cannot be followed:{lines}", path.display())
        });
        let pieces = pieces.kind(Exit::Input)?;
        let files = HearthFiles::make(&args.files)?;
        let disks = disks_now()?;
        let disk = target::resolve(&disks, &args.disk).map_err(|refusal| refused(&args.disk, &[refusal]))?;
        let mut against = flash::judge(&disks, disk, Need { size: image.size, sector: image.sector_size });
        against.extend(consent(args, manifest.test_doubles, disk));
        if against.is_empty() && is_claimed(&disk.path) {
            against.push(Refusal::Busy { disk: disk.path.clone() });
        }
        if !against.is_empty() {
            return Err(refused(&target::name(disk), &against));
        }
        Ok(Self { image, pieces, trust, holds: holds(disk), disk: disk.clone(), files })
    }

    /// The plan for a person.
    fn lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        let (version, arch) = (&self.image.version, &self.image.arch);
        let image = format!("Hearth {version} for {arch}, {} to write; {}", flash::total(&self.pieces), self.trust);
        out.extend(text::wrap("Image  ", &image));
        out.extend(text::wrap("Disk   ", &format!("{} (now {})", target::name(&self.disk), self.disk.path)));
        out.extend(text::wrap("       ", &format!("{}, {}", identity(&self.disk), self.disk.size)));
        out.extend(text::wrap("Holds  ", &self.holds));
        out.extend(self.files.lines.iter().cloned());
        out.push("Everything on this disk will be erased.".to_owned());
        out
    }

    /// Claims the disk, makes sure that it is still the same, and writes.
    fn carry_out(&self, args: &Args) -> Result<()> {
        let source = Source::open(&args.image)?;
        let medium = BlockDevice::claim(&self.disk.path, self.disk.size, self.disk.logical_sector)?;
        self.require_same()?;
        let drawn = drawn_id()?;
        interrupt::set_last_words(LAST_WORDS);
        let job = Job {
            image: &self.image,
            pieces: &self.pieces,
            table: FinalTable::new(&self.image, medium.size(), drawn)?,
            traces: flash::traces(&self.disk),
            verify: !args.no_verify,
        };
        if args.check_capacity {
            let step = progress::step("checking that the disk is as large as it says");
            // The check writes all over the disk: nothing may start from it any more.
            flash::make_unbootable(&job, &medium)?;
            capacity::check(&medium, &drawn.to_string())?;
            step.done(&medium.size().to_string());
        }
        let doing = if job.verify { "writing and reading back" } else { "writing" };
        let shown = Shown(progress::bytes_step(doing, flash::total(&self.pieces)));
        let outcome =
            flash::write(&job, source, &medium, &shown, |medium| self.put_files(medium)).map_err(|error| {
                // What does not match stays so, however often it is tried.
                let again = hearth::exit::code_of(&error) != Exit::Mismatch.code();
                let advice = if again { ". The same command goes on where it stopped" } else { "" };
                let name = target::name(&self.disk);
                error.context(format!(
                    "flashing {name} stopped; the disk has no partition table, so nothing starts from it{advice}"
                ))
            })?;
        shown.0.done(&sentence(&outcome));
        if let Err(error) = medium.reread_table() {
            progress::note(&format!(
                "the kernel does not see the new partitions yet ({error}): unplug the disk and plug it in again"
            ));
        }
        println!("{} is ready. Start the machine from it, and the first page appears.", target::name(&self.disk));
        text::print(&self.files.way_in())
    }

    fn put_files(&self, medium: &dyn flash::Medium) -> Result<()> {
        match self.image.find(Part::Hearth) {
            Some(hearth) => hearth_files::put(medium, hearth, self.image.sector_size, &self.files.list),
            None if self.files.list.is_empty() => Ok(()),
            None => Err(anyhow!("the image has no partition {}", Part::Hearth.name())).kind(Exit::Input),
        }
    }

    /// The name in `/dev` may have gone to another disk since it was approved; now that the
    /// disk is claimed it cannot any more.
    fn require_same(&self) -> Result<()> {
        let disks = disks_now()?;
        let now = disks.iter().find(|disk| disk.path == self.disk.path);
        let told =
            |disk: &Disk| (disk.serial.clone(), disk.wwn.clone(), disk.model.clone(), disk.size, disk.table.clone());
        if now.is_some_and(|now| told(now) == told(&self.disk)) {
            return Ok(());
        }
        Err(refused(&target::name(&self.disk), &[Refusal::Changed { disk: self.disk.path.clone() }]))
    }
}

/// Refusals that somebody's word lifts.
fn consent(args: &Args, test_doubles: bool, disk: &Disk) -> Vec<Refusal> {
    let mut against = Vec::new();
    let by_id = target::name(disk);
    match &args.erase {
        Some(named) if !target::is_named(disk, named) => {
            against.push(Refusal::EraseMismatch { named: named.clone(), disk: disk.path.clone(), by_id });
        }
        Some(_) => {}
        None if args.dry_run || can_ask(args) => {}
        None => against.push(match flash::data(disk) {
            Some(what) => Refusal::HasData { disk: disk.path.clone(), what, by_id },
            None => Refusal::NotApproved { disk: disk.path.clone(), by_id },
        }),
    }
    if let Some(found) = installed::find(disk) {
        if args.erase_hearth.as_ref() != Some(&found.name) {
            against.push(Refusal::HearthInstalled { name: found.name, last_used: found.last_used });
        }
    }
    if test_doubles {
        against.push(Refusal::TestImage);
    }
    against
}

fn refused(what: &str, against: &[Refusal]) -> anyhow::Error {
    hearth::exit::mark(
        anyhow!("{what} cannot be written to. Nothing was changed.{}", flash::all(against)),
        Exit::Refused,
    )
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn can_ask(args: &Args) -> bool {
    std::io::stdin().is_terminal() && !is_stdin(&args.image)
}

/// Has a person type the end of the disk's serial number.
fn approved(disk: &Disk) -> Result<bool> {
    let token = Token::for_disk(disk.serial.as_deref(), disk.wwn.as_deref(), ("disk's name", target::name(disk)));
    println!("{} Enter alone goes back.", token.question());
    for _ in 0..TRIES {
        print!("Approve: ");
        std::io::stdout().flush().context("asking for approval")?;
        let mut typed = String::new();
        let count = std::io::stdin().read_line(&mut typed).context("reading the approval")?;
        if token.accepts(&typed) {
            return Ok(true);
        }
        if count == 0 || typed.trim().is_empty() {
            return Ok(false);
        }
        println!("These are not the last characters of the {}.", token.of);
    }
    Ok(false)
}

fn sentence(outcome: &Outcome) -> String {
    let mut out = format!("{} written", outcome.written);
    if outcome.kept > Bytes::ZERO {
        out += &format!(", {} were there already", outcome.kept);
    }
    if outcome.verified > Bytes::ZERO {
        out += &format!(", {} read back and right", outcome.verified);
    }
    out
}

struct Shown(Step);

impl Watch for Shown {
    fn advance(&self, count: Bytes) {
        self.0.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::tests::disk;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn codes(words: &[&str], test_doubles: bool, disk: &Disk) -> Vec<&'static str> {
        // From standard input, so that nobody can be asked, whoever runs the tests.
        let all = ["flash", "-", "sdz"].iter().chain(words);
        let args = Cli::try_parse_from(all).unwrap().args;
        consent(&args, test_doubles, disk).iter().map(Refusal::code).collect()
    }

    #[test]
    fn nothing_is_written_without_somebodys_word() {
        let empty = disk();
        assert_eq!(codes(&[], false, &empty), ["not-approved"]);
        assert_eq!(codes(&["--dry-run"], false, &empty), [""; 0]);
        assert_eq!(codes(&["--erase", "usb-Stick_1"], false, &empty), [""; 0]);
        assert_eq!(codes(&["--erase", "/dev/disk/by-id/usb-Stick_1"], false, &empty), [""; 0]);
        assert_eq!(codes(&["--erase", "/dev/sdz"], false, &empty), ["erase-mismatch"], "names of the hour can move");
        let mut used = disk();
        used.table = Some(hearth::facts::Table { kind: "gpt".into(), id: None });
        assert_eq!(codes(&[], false, &used), ["has-data"]);
    }

    #[test]
    fn s20_an_image_made_for_tests_is_refused_whoever_approves() {
        assert_eq!(codes(&["--erase", "usb-Stick_1"], true, &disk()), ["test-image"]);
    }

    #[test]
    fn a_result_is_one_sentence() {
        let outcome = Outcome { written: Bytes::mib(8), kept: Bytes::mib(4), verified: Bytes::mib(12) };
        assert_eq!(sentence(&outcome), "8.0 MiB written, 4.0 MiB were there already, 12.0 MiB read back and right");
        assert_eq!(sentence(&Outcome { written: Bytes::mib(8), ..Outcome::default() }), "8.0 MiB written");
    }
}
