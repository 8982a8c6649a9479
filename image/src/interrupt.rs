//! Ctrl-C and SIGTERM: end every program we started, remove what we began, say
//! so, and leave with the code from the table. Programs in a sandbox are alone in
//! a process-id namespace, so ending its first process ends them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hearth::exit::{Exit, say};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What is said at the end.
static LAST_WORDS: Mutex<&str> = Mutex::new("interrupted; what was begun is removed");

/// Says something else from now on, where something stays behind.
pub fn set_last_words(words: &'static str) {
    *LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = words;
}

/// Installs the handler. Call once, first thing.
pub fn install(program: &'static str) -> Result<()> {
    ctrlc::set_handler(move || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        end_programs();
        // Held until the end, so that nothing gets its final name or begins meanwhile.
        let unfinished = unfinished();
        remove(&unfinished);
        let words = *LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        say(format_args!("\n{program}: {words}"));
        std::process::exit(i32::from(Exit::Interrupted.code()));
    })
    .context("installing the Ctrl-C handler")
}

/// How long what other threads still do is given to end.
const STILL_WRITING: Duration = Duration::from_millis(10);

/// How often what comes again is removed again.
const REMOVALS: usize = 100;

/// Removes files and folders. Other threads do not know yet that this is the end: what they put
/// into a folder meanwhile keeps it from going, or makes it anew, so it is looked at again.
fn remove(paths: &[PathBuf]) {
    for _ in 0..REMOVALS {
        for path in paths {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        }
        std::thread::sleep(STILL_WRITING);
        if !paths.iter().any(|path| path.exists()) {
            return;
        }
    }
}

/// For the half of us that runs inside a sandbox: a signal from the terminal reaches it too,
/// and it leaves the last word to the outer half.
pub fn install_quietly() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        std::process::exit(i32::from(Exit::Interrupted.code()));
    })
    .context("installing the Ctrl-C handler")
}

/// How soon the handler runs after a signal.
const NOTICE: Duration = Duration::from_millis(100);

/// Call before an error is reported: a program that Ctrl-C ended looks like one that failed.
/// If we are being interrupted this does not return, the handler has the last word.
pub fn settle() {
    std::thread::sleep(NOTICE);
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// A file that must not stay if we are interrupted, fail or panic.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Watches over `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        unfinished().push(path.clone());
        Self { path, finished: false }
    }

    /// Where the file is while it is unfinished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name.
    pub fn finish(self, name: &Path) -> Result<()> {
        finish_all(vec![(self, name.to_owned())])
    }
}

/// Gives files their final names; an interruption comes before the first of them or after the last.
pub fn finish_all(mut files: Vec<(Unfinished, PathBuf)>) -> Result<()> {
    let uninterrupted = loop {
        let uninterrupted = unfinished();
        if !INTERRUPTED.load(Ordering::SeqCst) {
            break uninterrupted;
        }
        drop(uninterrupted);
        std::thread::park();
    };
    let renamed = files.iter_mut().try_for_each(|(file, name)| {
        fs::rename(&file.path, &*name).with_context(|| format!("renaming to {}", name.display()))?;
        file.finished = true;
        Ok(())
    });
    // Dropping the files needs it.
    drop(uninterrupted);
    renamed
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Held until it is gone: an interruption that came between would leave it.
        let mut unfinished = unfinished();
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
        unfinished.retain(|path| *path != self.path);
    }
}

/// A folder for the time being, which does not stay if we are interrupted either.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty one.
    pub fn new() -> Result<Self> {
        // Taken first: at an interruption it waits here, instead of making what nobody removes.
        let mut unfinished = unfinished();
        let dir = tempfile::tempdir().context("making a scratch folder")?;
        unfinished.push(dir.path().to_owned());
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // As for a file. It may have thousands in it.
        let mut unfinished = unfinished();
        let _ = fs::remove_dir_all(self.0.path());
        unfinished.retain(|path| path != self.0.path());
    }
}

fn unfinished() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How long a program has to tidy up after itself (mmdebstrap unmounts) before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Ends our children and theirs. All are asked, not only the first: mmdebstrap, for one, waits
/// for the program it has started, however long that takes, before it tidies up.
fn end_programs() {
    let mut running = descendants();
    signal_all(&running, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while !running.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        // What began meanwhile, and what has lost its parent since.
        running.extend(descendants());
        running.retain(Process::is_running);
    }
    signal_all(&running, Signal::SIGKILL);
}

fn signal_all(processes: &BTreeSet<Process>, signal: Signal) {
    for process in processes {
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// A process; its number alone may be another's later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    /// The process with this number and its parent's, unless it has ended and waits to be collected.
    fn read(pid: i32) -> Option<(Self, i32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
        (*state != "Z").then_some(())?;
        Some((Self { pid, started: started.parse().ok()? }, parent.parse().ok()?))
    }

    fn is_running(&self) -> bool {
        Self::read(self.pid).is_some_and(|(process, _)| process == *self)
    }
}

/// Every process that we started, or that one of those started.
fn descendants() -> BTreeSet<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<(Process, i32)> =
        entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect();
    let mut found = BTreeSet::new();
    let mut parents = vec![Pid::this().as_raw()];
    while let Some(wanted) = parents.pop() {
        for (process, _) in all.iter().filter(|(_, parent)| *parent == wanted) {
            if found.insert(*process) {
                parents.push(process.pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_seen_until_they_end_and_so_are_theirs() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (shell, parent) = Process::read(pid).unwrap();
        assert_eq!(parent, Pid::this().as_raw());
        let of_shell = || {
            descendants()
                .into_iter()
                .filter(|process| Process::read(process.pid).is_some_and(|(_, parent)| parent == pid))
                .collect::<BTreeSet<_>>()
        };
        while of_shell().is_empty() {
            std::thread::yield_now();
        }
        let sleep = of_shell();
        assert!(descendants().contains(&shell));
        signal_all(&sleep, Signal::SIGKILL);
        child.wait().unwrap();
        assert!(!shell.is_running() && sleep.iter().all(|process| !process.is_running()));
    }

    #[test]
    fn an_unfinished_file_goes_and_a_finished_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (part, done) = (dir.path().join("part"), dir.path().join("done"));
        let file = Unfinished::new(&part);
        fs::write(&part, "x").unwrap();
        drop(file);
        assert!(!part.exists());

        let file = Unfinished::new(&part);
        fs::write(&part, "x").unwrap();
        file.finish(&done).unwrap();
        assert!(done.exists() && !part.exists());
    }

    #[test]
    fn a_folder_that_is_still_written_to_goes_too() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("scratch");
        fs::create_dir(&dir).unwrap();
        let writer = std::thread::spawn({
            let dir = dir.clone();
            move || {
                let mut count = 0;
                // Until the folder is gone.
                while fs::write(dir.join(count.to_string()), "x").is_ok() {
                    count += 1;
                }
                count
            }
        });
        while fs::read_dir(&dir).unwrap().next().is_none() {
            std::thread::yield_now();
        }
        remove(std::slice::from_ref(&dir));
        assert!(!dir.exists());
        assert!(writer.join().unwrap() > 0);
    }
}
