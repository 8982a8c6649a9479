//! What the tests of faults share: a checkout, a cache and a result folder of their own, the
//! real program on them, and a search for what it must not leave behind.
#![allow(dead_code, reason = "every test file uses its part of it")]

pub mod archive;
pub mod key;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hearth::exit::Exit;
use hearth_image::cache::Cache;
use hearth_image::tools::{ToolSet, Tools};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

pub const RECIPE: &str =
    "suite = \"trixie\"\ncomponents = [\"main\"]\ntarget = \"amd64\"\nfirmware-profiles = []\noverlays = [\"base\"]\n";

/// Long enough for a busy machine; whoever waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The checkout these tests belong to.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The program under test: the one just built, or the optimised one if the caller names it.
pub fn program() -> PathBuf {
    let named = std::env::var_os(hearth_image::sandbox::LAUNCHER);
    named.map_or_else(|| env!("CARGO_BIN_EXE_hearth-image").into(), PathBuf::from)
}

/// Why a test that only root can run did nothing, said aloud; false if it can run.
pub fn only_root(why: &str) -> bool {
    let other = !geteuid().is_root();
    if other {
        eprintln!("skipped: {why}, and only root can do that");
    }
    other
}

/// A folder with everything that one run of the program touches.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A place whose checkout builds `recipe`, in the folder for temporary files.
    pub fn new(recipe: &str) -> Self {
        Self::filled(tempfile::tempdir().unwrap(), recipe)
    }

    /// The same on the file system the checkout is on: for what is large.
    pub fn roomy(recipe: &str) -> Self {
        Self::filled(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), recipe)
    }

    fn filled(dir: tempfile::TempDir, recipe: &str) -> Self {
        let place = Self { dir };
        for folder in ["checkout/overlays/base", "checkout/firmware", "cache/hearth", "config", "tmp"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        place.write("checkout/recipe.toml", recipe);
        run(Command::new("cp").arg("-R").arg(checkout().join("firmware/amd64")).arg(place.path("checkout/firmware")));
        place.write("checkout/firmware/amd64/packages.toml", "boot = []\nhardware = []\n");
        place.write("checkout/overlays/base/packages.toml", "packages = []\n");
        place
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Gives this place's cache a tools tree, a copy of the one this machine has, so that
    /// making it need not be waited for; returns where it lies.
    pub fn add_tools(&self, set: ToolSet) -> PathBuf {
        let made = Tools::ensure(&Cache::open().unwrap(), set, None).unwrap();
        fs::create_dir_all(self.path("cache/hearth/tools")).unwrap();
        let tree = self.path("cache/hearth/tools").join(made.name());
        copy_tree(made.tree(), &tree);
        tree
    }

    /// Gives this place's cache what this machine's has under `name`.
    pub fn add_cached(&self, name: &str) {
        let from = Cache::open().unwrap().dir(name).unwrap();
        copy_tree(&from, &self.path("cache/hearth").join(name));
    }

    /// Lets this place's cache use what this machine's has under `name`, and change it.
    pub fn share_cached(&self, name: &str) {
        let from = Cache::open().unwrap().dir(name).unwrap();
        std::os::unix::fs::symlink(from, self.path("cache/hearth").join(name)).unwrap();
    }

    /// The program, about to run in this place's checkout.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args);
        self.surround(&mut command);
        command
    }

    /// A shell as root of namespaces of its own, which does what `script` says before it
    /// becomes the program. What it mounts, nobody else sees.
    pub fn command_after(&self, script: &str, unshare: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--mount").args(unshare).args(["--", "sh", "-euc"]).arg(format!("{script}\nexec \"$@\"")).arg("sh");
        command.arg(program()).args(args);
        self.surround(&mut command);
        command
    }

    /// Sets the folder and the variables that keep `command` in this place.
    pub fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.path("checkout"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("TMPDIR", self.path("tmp"))
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // As a shell does, so that Ctrl-C reaches all of them and not the test.
            .process_group(0);
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    /// The names in the result folder, but for the lock that keeps two builds apart.
    pub fn results(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("checkout/out")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != ".building").collect()
    }

    /// No result, no partial file, no mount and no process is left of what ran here.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.results(), [""; 0], "results of a failed run");
        self.assert_only_results_left();
    }

    /// No partial file, no mount and no process is left of what ran here.
    pub fn assert_only_results_left(&self) {
        let here = self.dir.path().display().to_string();
        let partial = as_owner("find").arg(self.dir.path()).args(["-name", "*.partial"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&partial.stdout), "", "partial files");
        let temporary: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(temporary, [""; 0].map(PathBuf::from), "temporary files");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(&here)).collect();
        assert_eq!(mounts, [""; 0], "mounts");
        // What is killed with its namespace needs a moment to be gone.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !processes_of(&here).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(processes_of(&here), [""; 0], "processes");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Trees hold files of owners that only a namespace may remove.
        let _ = as_owner("rm").arg("-rf").arg(self.dir.path()).output();
    }
}

/// Copies a folder of the cache, whose files nobody changes in place: so hard links do, which
/// are quick, but possible only on one file system.
fn copy_tree(from: &Path, to: &Path) {
    if !as_owner("cp").arg("-al").arg(from).arg(to).output().unwrap().status.success() {
        run(as_owner("rm").arg("-rf").arg(to));
        run(as_owner("cp").arg("-a").arg(from).arg(to));
    }
}

/// Processes that have `here` among their words or in their surroundings.
fn processes_of(here: &str) -> Vec<String> {
    let contains = |bytes: &[u8]| bytes.windows(here.len()).any(|window| window == here.as_bytes());
    let read = |entry: &fs::DirEntry, name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| contains(&read(entry, "environ")) || contains(&read(entry, "cmdline")))
        .map(|entry| String::from_utf8_lossy(&read(&entry, "cmdline")).replace('\0', " "))
        .collect()
}

/// `program` with the rights over files that a build has.
fn as_owner(program: &str) -> Command {
    if geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--map-auto", "--", program]);
    command
}

/// Runs `command`, which must succeed.
pub fn run(command: &mut Command) -> Output {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

/// How the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub said: String,
    pub printed: String,
}

impl Outcome {
    pub fn of(out: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: out.status.code(), said: text(out.stderr), printed: text(out.stdout) }
    }

    /// It failed with the table's code for `exit` and one error, which holds all of `words`.
    #[track_caller]
    pub fn assert_fails(&self, exit: Exit, words: &[&str]) {
        assert_eq!(self.code, Some(i32::from(exit.code())), "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "`{word}` is not in: {}", self.said);
        }
        let errors = self.said.lines().filter(|line| line.starts_with("hearth-image: ")).count();
        assert_eq!(errors, 1, "not one error: {}", self.said);
        assert!(!self.said.contains("panicked"), "{}", self.said);
    }

    #[track_caller]
    pub fn assert_succeeds(&self) {
        assert_eq!(self.code, Some(0), "{}", self.said);
    }
}

/// How a person or a system asks a program to stop.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// The terminal tells every program in the foreground.
    CtrlC,
    /// A service manager tells the one it started.
    Sigterm,
}

impl Stop {
    pub const ALL: [Self; 2] = [Self::CtrlC, Self::Sigterm];

    /// Stops `child`, which leads its process group, and waits for its end.
    pub fn send(self, child: Child) -> Outcome {
        let leader = i32::try_from(child.id()).unwrap();
        match self {
            Self::CtrlC => kill(Pid::from_raw(-leader), Signal::SIGINT),
            Self::Sigterm => kill(Pid::from_raw(leader), Signal::SIGTERM),
        }
        .unwrap();
        Outcome::of(child.wait_with_output().unwrap())
    }
}

/// Waits until `done`.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
