//! The one way Hearth runs other programs. A command has a description for
//! people, prints its argv only when asked to be verbose, keeps its output to
//! itself unless it fails, and then shows the last lines of what it said.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow};

use crate::exit::{Exit, mark, mark_if_full, say};

/// How many of a failed command's last lines its error carries.
const LAST_LINES: usize = 12;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// From now on every command line is printed to stderr before it runs.
pub fn set_verbose(on: bool) {
    VERBOSE.store(on, Ordering::Relaxed);
}

/// A program to run, and in a few words what for.
#[derive(Debug)]
pub struct Cmd {
    what: String,
    command: Command,
    input: Option<Vec<u8>>,
}

impl Cmd {
    /// `what` completes the sentence "… failed", for example "making the file system".
    pub fn new(what: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        Self::from_command(what, Command::new(program))
    }

    /// Wraps a command that somebody else prepared.
    pub fn from_command(what: impl Into<String>, command: Command) -> Self {
        Self { what: what.into(), command, input: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable. Never for secrets: any process can read it.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Gives the program `input` on its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs it; fails if it cannot start or does not exit with 0.
    pub fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs it and returns what it printed, without the white space at the end.
    pub fn stdout(self) -> Result<String> {
        let what = self.what.clone();
        let out = self.output()?;
        let text = String::from_utf8(out.stdout).with_context(|| format!("{what}: output is not UTF-8"))?;
        Ok(text.trim_end().to_owned())
    }

    /// Runs it and returns all it printed; fails like [`Cmd::run`].
    pub fn output(self) -> Result<Output> {
        let what = self.what.clone();
        let (argv, out) = self.try_output()?;
        if out.status.success() {
            return Ok(out);
        }
        let said = if out.stderr.is_empty() { &out.stdout } else { &out.stderr };
        let tail = last_lines(said);
        let error = anyhow!("{what} failed: `{argv}` ended with {}{tail}", out.status);
        Err(mark_if_full(error, &tail))
    }

    /// Runs it and tells only whether it exited with 0: for questions.
    pub fn succeeds(self) -> Result<bool> {
        Ok(self.try_output()?.1.status.success())
    }

    /// Runs it and returns its exit code, if it had one, and what it printed: for
    /// programs that answer with the code.
    pub fn answer(self) -> Result<(Option<i32>, String)> {
        let out = self.try_output()?.1;
        Ok((out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned()))
    }

    fn try_output(mut self) -> Result<(String, Output)> {
        let argv = brief(&self.command);
        if VERBOSE.load(Ordering::Relaxed) {
            say(format_args!("+ {}", show(&self.command)));
        }
        self.command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|error| {
            let program = self.command.get_program().to_string_lossy().into_owned();
            mark(error, Exit::Environment).context(format!("{}: starting `{program}`", self.what))
        })?;
        let writer = self.input.take().zip(child.stdin.take()).map(|(input, mut pipe)| {
            // A thread, so that a program that answers before it has read all cannot block us.
            std::thread::spawn(move || pipe.write_all(&input))
        });
        let out = child.wait_with_output().with_context(|| format!("{}: waiting for `{argv}`", self.what))?;
        if let Some(writer) = writer {
            // A program may stop reading early; its exit status says whether that was a failure.
            let _ = writer.join();
        }
        Ok((argv, out))
    }
}

/// The command line as a person would type it.
pub fn show(command: &Command) -> String {
    std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect::<Vec<_>>().join(" ")
}

/// The same for an error: of a command line that builds a sandbox with `setpriv … --`, what runs in it.
fn brief(command: &Command) -> String {
    let args: Vec<&OsStr> = command.get_args().collect();
    match args.iter().rposition(|arg| *arg == "--") {
        Some(at) if command.get_program() == "setpriv" => {
            args[at + 1..].iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
        }
        _ => show(command),
    }
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn last_lines(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    lines[from..].iter().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_how_and_the_last_lines() {
        let error = Cmd::new("counting", "sh").args(["-c", "seq 1 50 >&2; exit 3"]).run().unwrap_err().to_string();
        assert!(error.starts_with("counting failed: `sh -c 'seq 1 50 >&2; exit 3'`"), "{error}");
        assert!(error.contains("exit status: 3") && error.ends_with("\n    50"), "{error}");
        assert!(!error.contains("\n    38\n"), "{error}");
    }

    #[test]
    fn an_error_shows_what_ran_in_a_sandbox_not_how_it_was_built() {
        let mut command = Command::new("setpriv");
        command.args(["unshare", "--", "enter", "--", "apt-get", "-q", "update"]);
        assert_eq!(brief(&command), "apt-get -q update");
        let mut command = Command::new("rm");
        command.args(["--", "x"]);
        assert_eq!(brief(&command), "rm -- x");
    }

    #[test]
    fn a_missing_program_is_an_environment_failure() {
        let error = Cmd::new("looking", "no-such-program-here").run().unwrap_err();
        assert_eq!(crate::exit::code_of(&error), Exit::Environment.code());
    }

    #[test]
    fn a_program_that_fills_the_disk_is_an_environment_failure() {
        let error = Cmd::new("filling", "sh").args(["-c", "seq 1 9 >/dev/full"]).run().unwrap_err();
        assert_eq!(crate::exit::code_of(&error), Exit::Environment.code(), "{error}");
    }

    #[test]
    fn an_exit_code_can_be_the_answer() {
        let answer = Cmd::new("asking", "sh").args(["-c", "echo maybe; exit 2"]).answer().unwrap();
        assert_eq!(answer, (Some(2), "maybe\n".to_owned()));
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(Cmd::new("copying", "cat").input("hello\n").stdout().unwrap(), "hello");
    }
}
