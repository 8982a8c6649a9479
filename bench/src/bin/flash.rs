//! How fast `flash` is beside `bmaptool copy` and `zstdcat | dd`, in one run, with the same
//! image and the same target: a loop device, so root is needed. `flash` itself refuses loop
//! devices; here its library is called, with everything but the questions.
//!
//!     just bench-flash [FOLDER WITH AN IMAGE]

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hearth::exit::{Exit, Kind as _};
use hearth::flash::{BlockDevice, FinalTable, Job, Watch, plan, total, write};
use hearth::manifest::ChunkClass;
use hearth::run::Cmd;
use hearth::units::{Bytes, SectorSize};
use hearth_image::flash::Source;
use hearth_image::verify::read_manifest;
use uuid::Uuid;

/// Every way is run so often, in turns; the best run counts.
const ROUNDS: usize = 3;

/// A USB stick: so many bytes a second are written, and read.
const STICK: (Bytes, Bytes) = (Bytes(30_000_000), Bytes(120_000_000));

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["one", manifest, image, device, verify] => one(manifest, image, device, *verify == "verify"),
        [folder] => all(Path::new(folder)),
        _ => Err(anyhow::anyhow!("usage: flash FOLDER (that holds an image.zst and its manifest)")).kind(Exit::Input),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => hearth::exit::report("bench", &error),
    }
}

/// One flash, in a process of its own, so that its memory is its own. Prints seconds and peak bytes.
fn one(manifest: &str, image: &str, device: &str, verify: bool) -> Result<()> {
    struct Silent;
    impl Watch for Silent {
        fn advance(&self, _: Bytes) {}
    }
    let started = Instant::now();
    let image_of = read_manifest(Path::new(manifest))?.disk_image();
    let pieces = plan(&image_of).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let size = Cmd::new("asking for the size", "blockdev").args(["--getsize64", device]).stdout()?;
    let size = Bytes(size.parse().context("reading the size")?);
    let medium = BlockDevice::claim(device, size, SectorSize::IMAGE)?;
    let drawn = Uuid::from_u128(u128::from(std::process::id()));
    let table = FinalTable::new(&image_of, size, drawn)?;
    let job = Job { image: &image_of, pieces: &pieces, table, traces: Vec::new(), verify };
    write(&job, Source::open(Path::new(image))?, &medium, &Silent, |_| Ok(()))?;
    let seconds = started.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    println!("{seconds} {}", Bytes::kib(peak.unwrap_or(0)).0);
    Ok(())
}

/// What everything is measured with.
struct Bench {
    dir: tempfile::TempDir,
    image: PathBuf,
    manifest: PathBuf,
    device: String,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left of it goes with the machine's next start.
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

fn all(folder: &Path) -> Result<()> {
    let bench = prepare(folder)?;
    let raw = bench.dir.path().join("image.img");
    let bmap = bench.dir.path().join("image.bmap");
    let compressed = bench.image.display().to_string();
    Cmd::new("unpacking the image", "sh")
        .args(["-c", &format!("zstd -q -dc {compressed} | cp --sparse=always /dev/stdin {}", raw.display())])
        .run()?;
    Cmd::new("making the block map", "bmaptool").args(["create", "-o"]).arg(&bmap).arg(&raw).run()?;
    let device = bench.device.clone();
    let copy = ["copy", "--bmap", bmap.to_str().unwrap_or_default(), &compressed, &device].map(str::to_owned);
    let pipe =
        format!("zstdcat {compressed} | dd of={device} oflag=direct bs=4M iflag=fullblock conv=fsync status=none");
    let mut best: Vec<(&str, Duration, Option<Bytes>)> =
        ["zstdcat | dd oflag=direct", "bmaptool copy", "flash --no-verify", "flash (reads back)"]
            .map(|name| (name, Duration::MAX, None))
            .into();
    for _ in 0..ROUNDS {
        for (index, row) in best.iter_mut().enumerate() {
            // Every run meets another disk's contents, as on a stick that held something else.
            bench.scribble()?;
            let (took, peak) = match index {
                0 => (timed(Command::new("sh").args(["-c", &pipe]))?, None),
                1 => (timed(Command::new("bmaptool").args(&copy))?, None),
                _ => bench.flash(&bench.manifest, &bench.image, index == 3, None)?,
            };
            if took < row.1 {
                (row.1, row.2) = (took, peak);
            }
        }
    }
    let reference = best[1].1.as_secs_f64();
    println!("| way | seconds | of bmaptool's | peak memory |\n|---|---|---|---|");
    for (name, took, peak) in &best {
        let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
        println!("| {name} | {:.1} | {:.2} | {peak} |", took.as_secs_f64(), took.as_secs_f64() / reference);
    }
    again(&bench, &raw)
}

/// A full flash of a stick, and then of an image in which one chunk in twenty is another.
fn again(bench: &Bench, raw: &Path) -> Result<()> {
    bench.scribble()?;
    let (full, _) = bench.flash(&bench.manifest, &bench.image, true, Some(STICK))?;
    let mut manifest = read_manifest(&bench.manifest)?;
    let file = File::options().read(true).write(true).open(raw).context("opening the image")?;
    let size = manifest.chunk_size;
    let data: Vec<usize> =
        (1..manifest.chunks.len() - 1).filter(|i| manifest.chunks[*i].class == ChunkClass::Data).collect();
    for index in data.iter().step_by(20) {
        let mut chunk = vec![0; usize::try_from(size.0)?];
        file.read_exact_at(&mut chunk, (size * *index as u64).0)?;
        for byte in &mut chunk {
            *byte ^= 0x55;
        }
        file.write_all_at(&chunk, (size * *index as u64).0)?;
        manifest.chunks[*index].sha256 = hearth::digest::Digest::of(&chunk);
    }
    let changed = bench.dir.path().join("changed.manifest.json");
    fs::write(&changed, serde_json::to_vec(&manifest)?).context("writing the changed manifest")?;
    let (delta, _) = bench.flash(&changed, raw, true, Some(STICK))?;
    println!(
        "\n| on a stick (writes 30 MB/s, reads 120 MB/s), reading back | seconds | of the full flash |\n|---|---|---|"
    );
    println!("| full flash | {:.1} | 1.00 |", full.as_secs_f64());
    println!(
        "| again, 5 % of the chunks changed | {:.1} | {:.2} |",
        delta.as_secs_f64(),
        delta.as_secs_f64() / full.as_secs_f64()
    );
    println!("\nThe image: {} to write.", total(&plan(&manifest.disk_image()).unwrap_or_default()));
    Ok(())
}

fn prepare(folder: &Path) -> Result<Bench> {
    let found = |end: &str| -> Result<PathBuf> {
        let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let path = paths.find(|path| path.to_string_lossy().ends_with(end));
        let path =
            path.with_context(|| format!("{} holds no *{end}: run ./bootstrap image first", folder.display()))?;
        path.canonicalize().context("opening the image")
    };
    for program in ["bmaptool", "zstd", "losetup", "blockdev"] {
        let there =
            Cmd::new("looking for a program", "sh").args(["-c", &format!("command -v {program}")]).succeeds()?;
        ensure!(there, "{program} is missing: apt-get install bmap-tools zstd util-linux");
    }
    let dir = tempfile::Builder::new()
        .prefix("bench-flash")
        .tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
        .context("making a folder")?;
    let target = dir.path().join("target");
    File::create(&target)?.set_len(Bytes::gib(4).0)?;
    let device = Cmd::new("making the loop device", "losetup")
        .args(["--find", "--show", "--direct-io=on"])
        .arg(&target)
        .stdout()?;
    Ok(Bench { image: found(".img.zst")?, manifest: found(".manifest.json")?, dir, device })
}

impl Bench {
    /// Fills the target with what is no image.
    fn scribble(&self) -> Result<()> {
        let mut file = File::options().write(true).open(&self.device).context("opening the target")?;
        let block = b"scribble".repeat(1 << 17);
        let size = fs::metadata(self.dir.path().join("target"))?.len();
        for _ in 0..size / 2 / block.len() as u64 {
            file.write_all(&block)?;
        }
        file.sync_all().context("filling the target")
    }

    /// Flashes, as fast as it goes or within `limits` (bytes a second written, and read).
    fn flash(
        &self,
        manifest: &Path,
        image: &Path,
        verify: bool,
        limits: Option<(Bytes, Bytes)>,
    ) -> Result<(Duration, Option<Bytes>)> {
        let mut command = Command::new("sh");
        let limit = limits.map_or(String::new(), |(write, read)| self.limit(write, read));
        command.args(["-c", &format!("set -e; {limit} exec \"$@\""), "sh"]);
        command.arg(std::env::current_exe()?).arg("one").arg(manifest).arg(image).arg(&self.device);
        let out = Cmd::from_command("flashing", command).arg(if verify { "verify" } else { "plain" }).stdout()?;
        let (seconds, peak) = out.split_once(' ').context("reading what the flash printed")?;
        Ok((Duration::from_secs_f64(seconds.parse()?), Some(Bytes(peak.parse()?))))
    }

    /// The shell's words that put it into a control group with these limits on the target.
    fn limit(&self, write: Bytes, read: Bytes) -> String {
        let group = "/sys/fs/cgroup/blkio/hearth-bench";
        let number = format!("$(cat /sys/class/block/{}/dev)", self.device.trim_start_matches("/dev/"));
        format!(
            "mkdir -p {group}; echo \"{number} {}\" > {group}/blkio.throttle.write_bps_device; \
             echo \"{number} {}\" > {group}/blkio.throttle.read_bps_device; echo $$ > {group}/cgroup.procs;",
            write.0, read.0
        )
    }
}

fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let mut out = Vec::new();
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn()?;
    child.stdout.take().context("its output")?.read_to_end(&mut out)?;
    ensure!(child.wait()?.success(), "{command:?} failed");
    Ok(started.elapsed())
}
