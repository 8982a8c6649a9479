//! Ctrl-C and SIGTERM: end every program we started, remove what we began, say
//! so, and leave with the code from the table. Programs in a sandbox are alone in
//! a process-id namespace, so ending its first process ends them all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hearth::exit::Exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Installs the handler. Call once, first thing.
pub fn install(program: &'static str) -> Result<()> {
    ctrlc::set_handler(move || {
        end_children();
        for path in unfinished().iter() {
            let _ = fs::remove_file(path);
        }
        eprintln!("\n{program}: interrupted; what was begun is removed");
        std::process::exit(i32::from(Exit::Interrupted.code()));
    })
    .context("installing the Ctrl-C handler")
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
    pub fn finish(mut self, name: &Path) -> Result<()> {
        fs::rename(&self.path, name).with_context(|| format!("renaming to {}", name.display()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().retain(|path| *path != self.path);
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unfinished() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How long a program has to tidy up after itself (mmdebstrap unmounts) before it is killed.
const GRACE: Duration = Duration::from_secs(10);

fn end_children() {
    signal_children(Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while !children().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    signal_children(Signal::SIGKILL);
}

fn signal_children(signal: Signal) {
    for child in children() {
        // It may have ended by itself meanwhile.
        let _ = kill(child, signal);
    }
}

/// Our children that still run; those that ended wait for a parent that is leaving.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let text: String = lists.collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter(|pid| !ended(pid)).filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_seen_until_they_end() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
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
}
