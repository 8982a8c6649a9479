//! A way to run commands as root in a guest without changing its image: systemd
//! takes a unit from the machine's SMBIOS (credentials `systemd.extra-unit.*`
//! and `systemd.unit-dropin.*`), and that unit answers on a virtio port. The same
//! shell loop over a pipe runs commands in a [`crate::wire::Station`].

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context as _, Result, bail};
use hearth_image::qemu::base64;

/// The loop; the caller sets `$d` and opens descriptors 3 and 4.
pub(crate) const SCRIPT: &str = include_str!("agent.sh");

/// The name of the guest's virtio port.
pub const PORT: &str = "hearth.test";

/// The credentials that start the agent in a guest.
pub fn credentials() -> Vec<(String, Vec<u8>)> {
    let open = format!(
        "d=/run/hearth-test; p=/dev/virtio-ports/{PORT}; while [ ! -e $p ]; do sleep 0.2; done; exec 3<>$p 4>&3\n"
    );
    let script = base64::encode((open + SCRIPT).as_bytes());
    let unit = format!(
        "[Unit]\nDescription=Commands from the test outside\nDefaultDependencies=no\n\
         [Service]\nRestart=always\nRestartSec=1\nExecStart=/bin/sh -c 'eval \"$$(echo {script} | base64 -d)\"'\n"
    );
    let wants = "[Unit]\nWants=hearth-test-agent.service\n";
    vec![
        ("systemd.extra-unit.hearth-test-agent.service".to_owned(), unit.into_bytes()),
        ("systemd.unit-dropin.sysinit.target".to_owned(), wants.as_bytes().to_vec()),
    ]
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 124 if it took too long.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed, without white space at the end; a failure if it did not exit with 0.
    pub fn ok(self) -> Result<String> {
        if self.code == 0 {
            return Ok(self.stdout.trim_end().to_owned());
        }
        bail!("the command ended with {}; it printed:\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// One end of the line to an agent.
pub struct Agent {
    writer: Mutex<Box<dyn Write + Send>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts the agent's starts; zero: not up.
    starts: u32,
    up: bool,
    ended: bool,
    last_id: u32,
    answer: Option<(u32, Output)>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("up", &self.shared.lock().up).finish_non_exhaustive()
    }
}

impl Agent {
    /// Talks to the agent that reads what goes to `writer`.
    pub fn new(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let reading = Arc::clone(&shared);
        thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                let Ok(line) = line else { break };
                reading.take(&line);
            }
            reading.change(|state| state.ended = true);
        });
        Self { writer: Mutex::new(Box::new(writer)), shared }
    }

    /// The guest was reset: until its agent is up again, nobody listens.
    pub fn went_down(&self) -> impl FnMut() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.change(|state| state.up = false)
    }

    /// Whether somebody listens.
    pub fn is_up(&self) -> bool {
        let state = self.shared.lock();
        state.up && !state.ended
    }

    /// Waits until the agent is up.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        self.wait_for(Instant::now() + timeout, "its agent to start", |state| state.up.then_some(()))
    }

    /// Runs `command` with `/bin/sh`, once the agent is up; `timeout` is for both.
    pub fn run(&self, command: &str, timeout: Duration) -> Result<Output> {
        let deadline = Instant::now() + timeout;
        // One command at a time.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let what = format!("`{command}`");
        let (id, start) = self.wait_for(deadline, &what, |state| {
            state.up.then(|| {
                state.last_id += 1;
                state.answer = None;
                (state.last_id, state.starts)
            })
        })?;
        let limit = timeout.as_secs().max(1);
        let line = format!("{id} {limit} {}\n", base64::encode(command.as_bytes()));
        writer
            .write_all(line.as_bytes())
            .with_context(|| format!("asking the guest to run {what}: the machine has ended"))?;
        // `timeout` in the guest should end it first.
        let output = self.wait_for(deadline + Duration::from_secs(10), &what, |state| {
            let restarted = state.starts != start || !state.up;
            match &state.answer {
                Some((answered, output)) if *answered == id => Some(Some(output.clone())),
                _ => restarted.then_some(None),
            }
        })?;
        output.with_context(|| format!("the guest restarted while it ran {what}"))
    }

    fn wait_for<T>(&self, deadline: Instant, what: &str, mut ready: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = ready(&mut state) {
                return Ok(value);
            }
            if state.ended {
                bail!("waiting for {what} in the guest: the machine has ended");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let starts = if state.starts == 0 { " (its agent never started)" } else { "" };
                bail!("waiting for {what} in the guest: it took too long{starts}");
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.news.notify_all();
    }

    fn take(&self, line: &str) {
        // A guest that was reset in the middle of a line begins the next one behind it.
        if line.ends_with("ready") {
            self.change(|state| {
                state.starts += 1;
                state.up = true;
            });
        } else if let Some(answer) = parse(line) {
            self.change(|state| state.answer = Some(answer));
        }
    }
}

fn parse(line: &str) -> Option<(u32, Output)> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["done", id, code, out, err, "."] = words[..] else { return None };
    let text = |word: &str| base64::decode(word).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let output = Output { code: code.parse().ok()?, stdout: text(out)?, stderr: text(err)? };
    Some((id.parse().ok()?, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const LONG: Duration = Duration::from_secs(20);

    /// The real script over pipes.
    fn agent() -> (tempfile::TempDir, std::process::Child, Agent) {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("d={}/work; exec 3<&0 4>&1\n{SCRIPT}", dir.path().display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let agent = Agent::new(child.stdout.take().unwrap(), child.stdin.take().unwrap());
        (dir, child, agent)
    }

    #[test]
    fn commands_run_and_answer() {
        let (_dir, mut child, agent) = agent();
        let output = agent.run("echo out; echo 'err \"x' >&2; exit 3", LONG).unwrap();
        assert_eq!(output, Output { code: 3, stdout: "out\n".into(), stderr: "err \"x\n".into() });
        assert!(output.ok().is_err());
        assert_eq!(agent.run("cat; seq 100000 | wc -l", LONG).unwrap().ok().unwrap(), "100000");
        assert_eq!(agent.run("printf ''", LONG).unwrap().stdout, "");
        assert_eq!(agent.run("sleep 60", Duration::from_secs(1)).unwrap().code, 124);
        assert_eq!(agent.run("echo still here", LONG).unwrap().stdout, "still here\n");
        child.kill().unwrap();
        child.wait().unwrap();
        let error = agent.run("true", LONG).unwrap_err().to_string();
        assert!(error.contains("ended"), "{error}");
    }

    #[test]
    fn a_restart_ends_what_was_running() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let agent = Agent::new(ours.try_clone().unwrap(), ours);
        assert!(agent.wait(Duration::from_millis(20)).unwrap_err().to_string().contains("never started"));
        theirs.write_all(b"ready\n").unwrap();
        let guest = thread::spawn(move || {
            let mut asked = String::new();
            BufReader::new(theirs.try_clone().unwrap()).read_line(&mut asked).unwrap();
            theirs.write_all(b"done 1 0 ready\n").unwrap();
            (asked, theirs)
        });
        let error = agent.run("reboot", LONG).unwrap_err().to_string();
        assert!(error.contains("restarted"), "{error}");
        assert_eq!(guest.join().unwrap().0, "1 20 cmVib290\n");
    }
}
