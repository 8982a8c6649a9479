//! What a test stands on: the tools, the accelerator that was proved to work, a
//! folder for the time being, and a stopwatch.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hearth::run::Cmd;
use hearth_image::cache::Cache;
use hearth_image::qemu::accel::{self, Proof};
use hearth_image::qemu::{Accel, Target};
use hearth_image::tools::{ToolSet, Tools};

use crate::agent::Output;
use crate::cleanup::{Running, WorkDir};
use crate::drive::make_overlay;
use crate::vm::Builder;

/// The variable that names the raw image under test.
pub const IMAGE: &str = "HEARTH_TEST_IMAGE";

/// Under TCG everything takes several times as long, and computers are shared: a
/// boot of half a minute was seen to take six.
const PATIENCE: u32 = 10;

/// The surroundings of one test.
#[derive(Debug)]
pub struct Lab {
    name: String,
    cache: Cache,
    tools: Tools,
    target: Target,
    proof: Proof,
    dir: WorkDir,
    artifacts: PathBuf,
    steps: Mutex<Vec<(String, Duration)>>,
    pictures: AtomicUsize,
}

/// Runs the test `name`. Prints what each step took and warns if all of them took
/// longer than `share`; keeps transcripts and screenshots in
/// `target/qemu-artifacts/NAME` if it fails.
///
/// ```no_run
/// use std::time::Duration;
/// use hearth_qemu_tests::{Firmware, scenario};
///
/// // In tests/example.rs, as the body of a #[test] function:
/// scenario("example", Duration::from_secs(60), |lab| {
///     let vm = lab.vm("main").boot_image()?.firmware(Firmware::Bios).start()?;
///     lab.step("the page", || vm.wait_for_text("Hearth", lab.patience(20)))?;
///     assert_eq!(vm.root_sh("id -u", lab.patience(20))?.ok()?, "0");
///     Ok(())
/// });
/// ```
///
/// # Panics
/// If the test fails: that is how a test says so.
pub fn scenario(name: &str, share: Duration, body: impl FnOnce(&Lab) -> Result<()>) {
    let started = Instant::now();
    let lab = Lab::new(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let result = body(&lab);
    lab.print_table(started.elapsed(), share);
    if let Err(error) = result {
        panic!("{name}: {error:#}\nTranscripts and screenshots: {}", lab.artifacts.display());
    }
    // They are for failures only; what cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(&lab.artifacts);
}

impl Lab {
    /// Surroundings for the test `name`.
    pub fn new(name: &str) -> Result<Self> {
        let cache = Cache::open()?;
        let tools = Tools::ensure(&cache, ToolSet::Vm, None)?;
        let target = Target::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/amd64/qemu.toml"))?;
        let proof = accel::prove(&cache, &tools, &target)?;
        let artifacts = target_dir()?.join("qemu-artifacts").join(name);
        if artifacts.exists() {
            std::fs::remove_dir_all(&artifacts).with_context(|| format!("removing {}", artifacts.display()))?;
        }
        std::fs::create_dir_all(&artifacts).with_context(|| format!("making {}", artifacts.display()))?;
        say(&format!("\n{name} ({proof})"));
        let (name, dir) = (name.to_owned(), WorkDir::new()?);
        Ok(Self {
            name,
            cache,
            tools,
            target,
            proof,
            dir,
            artifacts,
            steps: Mutex::default(),
            pictures: AtomicUsize::new(0),
        })
    }

    /// A machine called `name`, which also names its artifacts.
    pub fn vm(&self, name: &str) -> Builder<'_> {
        Builder::new(self, name)
    }

    /// The raw image under test.
    pub fn image(&self) -> Result<PathBuf> {
        let path = std::env::var_os(IMAGE).map(PathBuf::from).ok_or_else(|| {
            anyhow!(
                "{IMAGE} names no image to test. Build one and name it: `./bootstrap image`, then \
                 `{IMAGE}=$PWD/out/hearth-VERSION-amd64.img cargo test -p hearth-qemu-tests -- --test-threads=1`"
            )
        })?;
        path.canonicalize().with_context(|| format!("{IMAGE}: opening {}", path.display()))
    }

    /// A disk file called `name` that begins like `base` (raw, or qcow2 if so named) and keeps what
    /// is written, for several machines one after the other: give it to [`crate::Drive::file`].
    pub fn disk_over(&self, base: &Path, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.qcow2"));
        make_overlay(self, base, &path, None)?;
        Ok(path)
    }

    /// Runs a part of the test, says what it took, and names it if it fails.
    pub fn step<T>(&self, what: &str, part: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = part();
        let took = started.elapsed();
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), took));
        say(&format!("  {:6.1} s  {what}{}", took.as_secs_f64(), if result.is_ok() { "" } else { " FAILED" }));
        result.with_context(|| what.to_owned())
    }

    /// A time limit for what takes a real machine `seconds`.
    pub fn patience(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * if self.accel() == Accel::Tcg { PATIENCE } else { 1 }
    }

    /// What runs the machines.
    pub fn accel(&self) -> Accel {
        self.proof.accel
    }

    /// What the machines are made of.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The tools tree on the host.
    pub fn tree(&self) -> &Path {
        self.tools.tree()
    }

    /// A folder that lasts as long as the test.
    pub fn dir(&self) -> &WorkDir {
        &self.dir
    }

    /// Where transcripts and screenshots go.
    pub fn artifacts(&self) -> &Path {
        &self.artifacts
    }

    /// Where the next picture of this test's album goes: `target/screens/TEST/NUMBER-NAME.png`. A new album
    /// takes the place of the one before.
    pub(crate) fn album_page(&self, name: &str) -> Result<PathBuf> {
        let album = target_dir()?.join("screens").join(&self.name);
        let number = self.pictures.fetch_add(1, Ordering::Relaxed) + 1;
        if number == 1 && album.exists() {
            std::fs::remove_dir_all(&album).with_context(|| format!("removing {}", album.display()))?;
        }
        std::fs::create_dir_all(&album).with_context(|| format!("making {}", album.display()))?;
        Ok(album.join(format!("{number:02}-{name}.png")))
    }

    /// A program of the tools tree, which sees `folders` of the host and its network.
    pub fn tool(&self, program: &str, folders: &[&Path]) -> Result<Command> {
        let mut sandbox = self.tools.sandbox()?;
        let mut shown: Vec<&Path> = folders.to_vec();
        shown.sort_unstable();
        shown.dedup();
        for folder in shown {
            sandbox = sandbox.bind(folder);
        }
        Ok(sandbox.command(program))
    }

    /// Runs a program of the tools tree to its end, or for `timeout`; the lab's own folder is shown to it.
    pub fn run(&self, program: &str, args: &[&str], timeout: Duration) -> Result<Output> {
        let mut command = self.tool(program, &[self.dir.path()])?;
        command.args(args);
        self.run_command(command, timeout).with_context(|| format!("running {program}"))
    }

    /// Runs `command` to its end, or for `timeout`, without anything on its standard input.
    pub fn run_command(&self, mut command: Command, timeout: Duration) -> Result<Output> {
        let dir = WorkDir::new()?;
        let (out, err) = (dir.join("out"), dir.join("err"));
        command.stdin(std::process::Stdio::null());
        command.stdout(std::fs::File::create(&out)?).stderr(std::fs::File::create(&err)?);
        let mut running = Running::start(command)?;
        let status = running.wait(timeout);
        running.kill();
        let text = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // As `timeout` does: 124 if it took too long.
        let code = status.map_or(124, |status| status.code().unwrap_or(-1));
        Ok(Output { code, stdout: text(&out)?, stderr: text(&err)? })
    }

    /// A new SSH key: the private key's file, and the line for `authorized_keys`.
    pub fn ssh_key(&self, name: &str) -> Result<(PathBuf, String)> {
        let path = self.dir.join(name);
        let tool = self.tool("ssh-keygen", &[self.dir.path()])?;
        Cmd::from_command("making an SSH key", tool)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
            .arg(&path)
            .run()?;
        let public = std::fs::read_to_string(path.with_extension("pub")).context("reading the public key")?;
        Ok((path, public.trim_end().to_owned()))
    }

    fn print_table(&self, took: Duration, share: Duration) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = took.as_secs_f64();
        let parts: f64 = steps.iter().map(|(_, took)| took.as_secs_f64()).sum();
        let rest = (seconds - parts).max(0.0);
        say(&format!("  {seconds:6.1} s  in all, {rest:.1} s of it between the steps ({})", self.name));
        if took > share {
            say(&format!("  warning: {} took {seconds:.0} s, its share is {} s", self.name, share.as_secs()));
        }
    }
}

/// Prints past the capture of the test runner, so that times are seen when all is well.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Cargo's `target`: a test's program lies in `target/PROFILE/deps`, any other in `target/PROFILE`.
fn target_dir() -> Result<PathBuf> {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let program = std::env::current_exe().ok()?;
        let dir = program.parent()?;
        let profile = if dir.ends_with("deps") { dir.parent()? } else { dir };
        profile.parent().map(Path::to_owned)
    };
    DIR.get_or_init(find).clone().context("finding Cargo's target folder above this program")
}
