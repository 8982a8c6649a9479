//! The one table of exit codes, the same for `hearth` and `hearth-image`, so that
//! a script can tell "you typed something wrong" from "the disk broke".

use std::fmt;
use std::process::ExitCode;

/// What kind of failure ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A file or argument the user gave is wrong; nothing was started.
    Input,
    /// Refused: what was asked is understood and would be unsafe or impossible.
    Refused,
    /// This machine lacks something: a tool, a permission, space, a namespace.
    Environment,
    /// Something fetched is missing or wrong: the network, an archive, a package.
    Dependency,
    /// Reading or writing failed, or what was read is damaged.
    Io,
    /// A check ran to its end and found a difference.
    Mismatch,
    /// Stopped by the user (Ctrl-C) or by SIGTERM; what was begun is removed.
    Interrupted,
}

/// Every row of the table: the kind, its code, and what it means.
pub const TABLE: [(Exit, u8, &str); 7] = [
    (Exit::Input, 2, "a file or an argument given is wrong; nothing was started"),
    (Exit::Refused, 3, "refused: understood, but unsafe or impossible here"),
    (Exit::Environment, 4, "this machine lacks a tool, a permission, space or a kernel feature"),
    (Exit::Dependency, 5, "the network, the archive or a package is missing or wrong"),
    (Exit::Io, 6, "reading or writing failed, or what was read is damaged"),
    (Exit::Mismatch, 7, "a check ran to its end and found a difference"),
    (Exit::Interrupted, 130, "stopped by Ctrl-C or SIGTERM; what was begun is removed"),
];

impl Exit {
    /// The number the process exits with.
    pub fn code(self) -> u8 {
        TABLE.iter().find(|row| row.0 == self).map_or(1, |row| row.1)
    }
}

/// Marks an error chain with its kind. Attach it with [`Kind::kind`].
#[derive(Debug)]
struct Marked {
    exit: Exit,
    cause: anyhow::Error,
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Marked {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// Gives a result's error the kind that decides the exit code.
pub trait Kind<T> {
    /// Marks the error as `exit`, unless something nearer its cause has already.
    fn kind(self, exit: Exit) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Kind<T> for Result<T, E> {
    fn kind(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| mark(error, exit))
    }
}

/// `error`, marked as `exit` unless its chain already has a kind.
pub fn mark(error: impl Into<anyhow::Error>, exit: Exit) -> anyhow::Error {
    let cause = error.into();
    if find(&cause).is_some() {
        return cause;
    }
    anyhow::Error::new(Marked { exit, cause })
}

/// What to do about a full disk; the causes say which.
const FULL: &str = "a disk is full: free some space on it and start again";

/// `error`, marked as a full disk's if what a program `said` before it failed tells so.
pub fn mark_if_full(error: anyhow::Error, said: &str) -> anyhow::Error {
    // The second is e2fsprogs' way of saying the first.
    let full = ["No space left on device", "resulted in short write"].iter().any(|words| said.contains(words));
    if full { mark(error, Exit::Environment).context(FULL) } else { error }
}

fn find(error: &anyhow::Error) -> Option<Exit> {
    // `context` hides the marked error inside the chain, `downcast_ref` sees through it.
    error
        .downcast_ref::<Marked>()
        .or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Marked>()))
        .map(|marked| marked.exit)
}

/// The exit code for `error`: its mark, or 4 for a full disk, or 6 for another unmarked
/// I/O error, or 1.
pub fn code_of(error: &anyhow::Error) -> u8 {
    let io = || error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    match find(error) {
        Some(exit) => exit.code(),
        None if io().is_some_and(is_full) => Exit::Environment.code(),
        None if io().is_some() => Exit::Io.code(),
        None => 1,
    }
}

/// Refuses whoever is not root, and says what to type.
pub fn require_root() -> anyhow::Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    Err(anyhow::anyhow!("this needs root: put sudo before it")).kind(Exit::Environment)
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// An error that another process of ours has reported already; only its code is left to give.
#[derive(Debug)]
struct Reported(u8);

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reported already, with code {}", self.0)
    }
}

impl std::error::Error for Reported {}

/// The error for a process of ours that has reported what went wrong and exited with `code`.
pub fn reported(code: u8) -> anyhow::Error {
    anyhow::Error::new(Reported(code))
}

/// Prints a line on stderr. Whoever read it may be gone (`… 2>&1 | head`, or a pipe that Ctrl-C
/// ended with us): that is no reason to fail, let alone to panic.
pub fn say(line: impl fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints `error` with its causes, a line each, and gives its exit code.
pub fn report(program: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(Reported(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    let full = error.chain().find_map(|cause| cause.downcast_ref()).is_some_and(is_full);
    if full {
        say(format_args!("{program}: {FULL}\n  because: {error}"));
    } else {
        say(format_args!("{program}: {error}"));
    }
    for cause in error.chain().skip(1) {
        say(format_args!("  because: {cause}"));
    }
    ExitCode::from(code_of(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn codes_are_distinct() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(TABLE[i + 1..].iter().all(|other| other.1 != row.1));
            assert_eq!(row.0.code(), row.1);
        }
    }

    #[test]
    fn the_mark_nearest_the_cause_wins_and_survives_context() {
        let inner: anyhow::Result<()> = Err(anyhow!("no such package")).kind(Exit::Dependency);
        let outer = inner.context("resolving").kind(Exit::Io).unwrap_err();
        assert_eq!(code_of(&outer), Exit::Dependency.code());
        let chain: Vec<String> = outer.chain().map(ToString::to_string).collect();
        assert_eq!(chain, ["resolving", "no such package"]);
    }

    #[test]
    fn an_unmarked_io_error_is_io() {
        let error = anyhow::Error::from(std::io::Error::other("x")).context("writing");
        assert_eq!(code_of(&error), Exit::Io.code());
        assert_eq!(code_of(&anyhow!("x")), 1);
        let full = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull)).context("writing");
        assert_eq!(code_of(&full), Exit::Environment.code());
    }
}
