//! One session for all consoles. What was answered lives in one process of its own
//! ([`keeper`](super::keeper)), in memory alone: a console that is hung up loses nothing, and
//! another one goes on. This is the side of a console: it takes the one seat, leaves each answer
//! with the keeper, and learns when somebody else has taken the seat.
//!
//! Both sides speak lines of JSON over a socket that only root may open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::replies::Replies;

/// Where the keeper listens.
pub(super) const SOCKET: &str = "/run/hearth/session.sock";

/// A line is some kilobytes; what is longer is no line of ours.
const LIMIT: u64 = 1 << 20;

/// Room for any line that people cause: a buffer that had to grow would leave secrets behind.
const ROOM: usize = 1 << 16;

/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers the questions at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Holder {
    /// On which console.
    pub place: String,
    /// How far they are.
    pub at: String,
}

/// What a console says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Say {
    /// Who answers?
    Look,
    /// I do, from now on, at this place.
    Take(String),
    /// These are the answers so far, and this is how far they are.
    Keep(Replies, String),
}

/// What the keeper says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Told {
    /// This one answers, or nobody.
    Holder(Option<Holder>),
    /// The seat is yours, with what was answered so far.
    Yours(Replies),
    /// Somebody at this place has taken the seat.
    Taken(String),
}

/// Sends a line.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
    serde_json::to_writer(&mut *line, message).context("writing a message of the session")?;
    line.push(b'\n');
    stream.write_all(&line).context("speaking with the other side of the session")
}

/// Waits for a line; nothing once the other side is gone.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(reader: &mut BufReader<UnixStream>) -> Result<Option<T>> {
    let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
    let count = reader
        .by_ref()
        .take(LIMIT)
        .read_until(b'\n', &mut line)
        .context("listening to the other side of the session")?;
    if count == 0 {
        return Ok(None);
    }
    // An error would quote what it read, which may be a secret.
    serde_json::from_slice(&line).map(Some).map_err(|_| anyhow::anyhow!("the session's other side speaks in riddles"))
}

fn connect(socket: &Path) -> Result<(UnixStream, BufReader<UnixStream>)> {
    let stream = UnixStream::connect(socket).with_context(|| format!("opening {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting a time limit")?;
    stream.set_write_timeout(Some(PATIENCE)).context("setting a time limit")?;
    let reader = BufReader::new(stream.try_clone().context("listening to the session's keeper")?);
    Ok((stream, reader))
}

/// Who answers the questions now.
pub(super) fn look(socket: &Path) -> Result<Option<Holder>> {
    let (mut stream, mut reader) = connect(socket)?;
    send(&mut stream, &Say::Look)?;
    match receive(&mut reader)? {
        Some(Told::Holder(holder)) => Ok(holder),
        _ => bail!("the session's keeper does not say who answers"),
    }
}

/// The one seat, for as long as it is kept and nobody else takes it.
#[derive(Debug)]
pub struct Seat {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Seat {
    /// Takes the seat for the console at `place`; gives what was answered so far as well.
    pub(super) fn take(socket: &Path, place: &str) -> Result<(Self, Replies)> {
        let (mut stream, mut reader) = connect(socket)?;
        send(&mut stream, &Say::Take(place.to_owned()))?;
        match receive(&mut reader)? {
            Some(Told::Yours(replies)) => Ok((Self { stream, reader }, replies)),
            _ => bail!("the session's keeper does not give the seat away"),
        }
    }

    /// Leaves the answers with the keeper.
    pub(super) fn keep(&mut self, replies: &Replies, at: &str) -> Result<()> {
        // Not `&Replies`: both sides share the type of the message.
        send(&mut self.stream, &Say::Keep(replies.clone(), at.to_owned()))
    }

    /// Where somebody has taken the seat, if anybody has.
    pub(super) fn taken(&mut self) -> Option<String> {
        self.stream.set_nonblocking(true).ok()?;
        let told = receive(&mut self.reader);
        // Both ends are one socket: writing must wait again.
        self.stream.set_nonblocking(false).ok()?;
        match told {
            Ok(Some(Told::Taken(by))) => Some(by),
            // Nothing came, or the keeper is gone and cannot give the seat to anybody.
            _ => None,
        }
    }
}
