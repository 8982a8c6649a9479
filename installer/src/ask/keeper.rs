//! The process that the answers live in while consoles come and go (`hearth session`). It
//! knows nothing of questions: it keeps what the console with the seat leaves here, and gives
//! seat and answers to whoever asks for them. All of it is gone when the machine is switched off.

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::replies::Replies;
use super::session::{Holder, SOCKET, Say, Told, receive, send};

/// How long a console may take to read a line: one that hangs must not stop the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept.
#[derive(Default)]
struct Kept {
    replies: Replies,
    /// Who has the seat, by the number of their connection, and how to tell them that it is gone.
    holder: Option<(u64, Holder, UnixStream)>,
}

/// Keeps the answers of this machine's session, for as long as setup mode lasts.
pub fn run() -> Result<()> {
    serve(&listen(Path::new(SOCKET))?)
}

/// Listens at `socket`, which root alone may open.
pub(super) fn listen(socket: &Path) -> Result<UnixListener> {
    let what = || format!("listening at {}", socket.display());
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(what),
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(what)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).with_context(what)?;
    Ok(listener)
}

/// Answers consoles, for ever.
pub(super) fn serve(listener: &UnixListener) -> Result<()> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    for (number, stream) in (0..).zip(listener.incoming()) {
        let (stream, kept) = (stream.context("waiting for a console")?, Arc::clone(&kept));
        thread::spawn(move || {
            // Whatever went wrong with one console, the others go on.
            let _ = converse(number, &stream, &kept);
            let mut kept = lock(&kept);
            if kept.holder.as_ref().is_some_and(|holder| holder.0 == number) {
                kept.holder = None;
            }
        });
    }
    Ok(())
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(number: u64, stream: &UnixStream, kept: &Mutex<Kept>) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE)).context("setting a time limit")?;
    let clone = || stream.try_clone().context("speaking with a console");
    let mut reader = BufReader::new(clone()?);
    while let Some(said) = receive(&mut reader)? {
        let mut kept = lock(kept);
        match said {
            Say::Look => {
                let holder = kept.holder.as_ref().map(|(_, holder, _)| holder.clone());
                send(&mut clone()?, &Told::Holder(holder))?;
            }
            Say::Take(place) => {
                if let Some((_, _, mut former)) = kept.holder.take() {
                    // Whoever cannot be told any more has hung up.
                    let _ = send(&mut former, &Told::Taken(place.clone()));
                }
                kept.holder = Some((number, Holder { place, at: "the first question".to_owned() }, clone()?));
                send(&mut clone()?, &Told::Yours(kept.replies.clone()))?;
            }
            Say::Keep(replies, at) => {
                // What comes late from a console that has lost the seat does not count.
                if let Some((_, holder, _)) = kept.holder.as_mut().filter(|holder| holder.0 == number) {
                    holder.at = at;
                    kept.replies = replies;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::replies::{Id, Reply};
    use super::super::session::{Seat, look};
    use super::*;

    #[test]
    fn one_seat_goes_from_console_to_console_with_the_answers() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("session.sock");
        let listener = listen(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        thread::spawn(move || serve(&listener));
        assert_eq!(look(&socket).unwrap(), None);
        let (mut serial, replies) = Seat::take(&socket, "the serial console").unwrap();
        assert!(replies.is_empty() && serial.taken().is_none());
        let mut replies = Replies::default();
        replies.put(Id::Hostname, Reply::new("attic"));
        replies.put(Id::Use("ata-BLANK_1".to_owned()), Reply::new(""));
        serial.keep(&replies, "question 5 of 16: address").unwrap();
        let holder = || look(&socket).unwrap();
        let until = |done: &dyn Fn() -> bool| {
            (0..500).any(|_| {
                done() || {
                    thread::sleep(Duration::from_millis(10));
                    false
                }
            })
        };
        assert!(until(&|| holder().is_some_and(|holder| holder.at == "question 5 of 16: address")));
        // Somebody goes on at the screen; what the serial console still says comes too late.
        let (screen, given) = Seat::take(&socket, "the screen").unwrap();
        assert_eq!(given, replies);
        assert_eq!(serial.taken().as_deref(), Some("the screen"));
        serial.keep(&Replies::default(), "nowhere").unwrap();
        assert_eq!(holder().unwrap().place, "the screen");
        drop(serial);
        // A line that is lost leaves the seat free, and the answers.
        drop(screen);
        assert!(until(&|| holder().is_none()));
        assert_eq!(Seat::take(&socket, "SSH").unwrap().1, replies);
    }
}
