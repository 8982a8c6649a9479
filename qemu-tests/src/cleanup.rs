//! Nothing stays behind: not a process, not a folder. A machine is ended and its
//! folder removed when its [`Running`] and [`WorkDir`] are dropped, also by a
//! panic; Ctrl-C and SIGTERM do the same from a handler; SIGKILL takes the
//! processes along (parent-death signal) and the next run sweeps the folders.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PREFIX: &str = "hearth-vm-";

#[derive(Default)]
struct Begun {
    pids: Vec<u32>,
    dirs: Vec<PathBuf>,
}

static BEGUN: Mutex<Begun> = Mutex::new(Begun { pids: Vec::new(), dirs: Vec::new() });

fn begun() -> MutexGuard<'static, Begun> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches for Ctrl-C and SIGTERM and removes what killed runs left. Called by whatever needs it.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused only if the program around us has a handler; then that one decides.
        let _ = ctrlc::set_handler(|| {
            let begun = begun();
            for pid in &begun.pids {
                end(*pid);
            }
            for dir in &begun.dirs {
                let _ = fs::remove_dir_all(dir);
            }
            std::process::exit(130);
        });
        sweep(&std::env::temp_dir());
    });
}

/// Removes folders of processes that are gone.
fn sweep(temp: &Path) {
    let Ok(entries) = fs::read_dir(temp) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            // Another user's folder stays: it is theirs to sweep.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn end(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// A folder for sockets, overlays and keys; only its owner may enter. Removed when dropped.
#[derive(Debug)]
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// Makes one in the temporary folder.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        install();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        // The name of a Unix socket has at most 107 bytes.
        anyhow::ensure!(path.as_os_str().len() < 80, "TMPDIR is too long for sockets below {}", path.display());
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("making {}", path.display()))?;
        begun().dirs.push(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A name inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        begun().dirs.retain(|dir| *dir != self.0);
        // What cannot be removed now, the next run sweeps.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process that is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`. It dies with this process, not with this thread: the
    /// kernel's parent-death signal watches the thread that started it, so one
    /// thread that lives as long as the process starts them all.
    pub fn start(command: Command) -> io::Result<Self> {
        type Job = (Command, Sender<io::Result<Child>>);
        static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
        install();
        let starter = STARTER.get_or_init(|| {
            let (sender, jobs) = channel::<Job>();
            thread::spawn(move || {
                for (mut command, answer) in jobs {
                    let _ = answer.send(command.spawn());
                }
            });
            sender
        });
        let (sender, answer) = channel();
        let gone = || io::Error::other("the thread that starts programs has ended");
        starter.send((command, sender)).map_err(|_| gone())?;
        let child = answer.recv().map_err(|_| gone())??;
        begun().pids.push(child.id());
        Ok(Self { child, ended: None })
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                self.forget();
            }
        }
        self.ended
    }

    /// Waits for its end; none if it goes on after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        self.ended()
    }

    /// Ends it now.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            end(self.child.id());
            self.ended = self.child.wait().ok();
            self.forget();
        }
    }

    // A process id may be somebody else's once its process was waited for.
    fn forget(&self) {
        begun().pids.retain(|pid| *pid != self.child.id());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let mut running = Running::start(command).unwrap();
        let proc = Path::new("/proc").join(running.child().id().to_string());
        assert!(proc.exists() && running.wait(Duration::from_millis(50)).is_none());
        drop(running);
        assert!(!proc.exists());
    }

    #[test]
    fn a_program_outlives_the_thread_that_asked_for_it() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sleep", "1000"]);
        let mut running = thread::spawn(|| Running::start(command).unwrap()).join().unwrap();
        assert!(running.wait(Duration::from_millis(200)).is_none());
    }

    #[test]
    fn folders_go_when_dropped_and_orphans_are_swept() {
        let dir = WorkDir::new().unwrap();
        let path = dir.path().to_owned();
        fs::write(dir.join("x"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());

        let temp = tempfile::tempdir().unwrap();
        let orphan = temp.path().join(format!("{PREFIX}999999999-0"));
        let ours = temp.path().join(format!("{PREFIX}{}-0", std::process::id()));
        fs::create_dir(&orphan).unwrap();
        fs::create_dir(&ours).unwrap();
        sweep(temp.path());
        assert!(!orphan.exists() && ours.exists());
    }
}
