//! What a serial port said, readable: escape sequences taken out, each cursor
//! movement a new line, and every byte also in a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How many lines a failure shows.
const LAST_LINES: usize = 40;

/// Collects text from a thread of its own. Clones share it.
#[derive(Clone, Debug)]
pub struct Transcript(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// Up to here everything has been waited for already.
    seen: usize,
    ended: bool,
    filter: Filter,
}

impl Transcript {
    /// Reads `source` to its end, copying every byte to `copy`.
    pub fn follow(mut source: impl Read + Send + 'static, mut copy: File) -> Self {
        let transcript = Self(Arc::default());
        let writer = transcript.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match source.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(n) => {
                        // The file is for people to look at later; a full disk must not end the test.
                        let _ = copy.write_all(&buffer[..n]);
                        writer.push(&buffer[..n]);
                    }
                }
            }
            writer.lock().ended = true;
            writer.0.news.notify_all();
        });
        transcript
    }

    fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { text, filter, .. } = &mut *state;
        for byte in bytes {
            filter.push(*byte, text);
        }
        drop(state);
        self.0.news.notify_all();
    }

    /// Waits until one of `patterns` (plain text) appears after what was waited
    /// for before; gives its index and what came before it. Fails at once when the
    /// port closes or, unless it is waited for, the guest's kernel panics.
    pub fn wait_for_any(&self, patterns: &[&str], timeout: Duration) -> Result<(usize, String)> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let new = &state.text[state.seen..];
            let found =
                patterns.iter().enumerate().filter_map(|(i, p)| find(new, p.as_bytes()).map(|at| (at, i))).min();
            if let Some((at, index)) = found {
                let before = String::from_utf8_lossy(&new[..at]).into_owned();
                state.seen += at + patterns[index].len();
                return Ok((index, before));
            }
            let wanted = patterns.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" or ");
            let why = if find(new, b"Kernel panic").is_some() {
                "the guest's kernel panicked".to_owned()
            } else if state.ended {
                "the machine has ended".to_owned()
            } else if Instant::now() >= deadline {
                format!("nothing of it within {} s", timeout.as_secs())
            } else {
                let left = deadline.saturating_duration_since(Instant::now());
                state = self.0.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            let last = last_lines(&String::from_utf8_lossy(&state.text));
            bail!("waiting for {wanted} on the serial console: {why}; its last lines:{last}");
        }
    }

    /// Like [`Transcript::wait_for_any`] with one pattern; gives what came before it.
    pub fn wait_for(&self, pattern: &str, timeout: Duration) -> Result<String> {
        Ok(self.wait_for_any(&[pattern], timeout)?.1)
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    /// What is waited for next must come after now.
    pub fn skip(&self) {
        let mut state = self.lock();
        state.seen = state.text.len();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len().max(1)).position(|window| window == pattern)
}

fn last_lines(text: &str) -> String {
    // The frame of GRUB's menu is no news.
    let says = |line: &&str| line.contains(char::is_alphanumeric);
    let lines: Vec<&str> = text.lines().filter(says).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("\n    {line}")).collect()
}

/// Where in an escape sequence we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Filter {
    #[default]
    Text,
    Escape,
    /// `ESC [ … letter`
    Csi,
    /// `ESC ] …`, `ESC P …` up to BEL or `ESC \`
    String,
    StringEscape,
    /// One more byte, as after `ESC (`
    One,
}

impl Filter {
    fn push(&mut self, byte: u8, text: &mut Vec<u8>) {
        let new_line = |text: &mut Vec<u8>| {
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
        };
        *self = match (*self, byte) {
            (Self::Text, 0x1b) => Self::Escape,
            (Self::Text, _) => {
                if byte == b'\n' || byte == b'\t' || byte >= b' ' && byte != 0x7f {
                    text.push(byte);
                }
                Self::Text
            }
            (Self::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Self::String,
            (Self::Escape, b'(' | b')' | b'#' | b'%') => Self::One,
            (Self::Csi, 0x40..=0x7e) => {
                // The cursor goes elsewhere: what follows is no continuation of the line.
                if matches!(byte, b'H' | b'f' | b'd' | b'J') {
                    new_line(text);
                }
                Self::Text
            }
            (Self::Csi, _) | (Self::Escape, b'[') => Self::Csi,
            (Self::String, 0x1b) => Self::StringEscape,
            (Self::String, 0x07) | (Self::StringEscape, b'\\') | (Self::Escape | Self::One, _) => Self::Text,
            (Self::String | Self::StringEscape, _) => Self::String,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const SHORT: Duration = Duration::from_millis(50);

    fn transcript() -> (UnixStream, Transcript) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (theirs, Transcript::follow(ours, tempfile::tempfile().unwrap()))
    }

    #[test]
    fn text_is_waited_for_in_order() {
        let (mut port, transcript) = transcript();
        port.write_all(b"one two one").unwrap();
        assert_eq!(transcript.wait_for("one", SHORT).unwrap(), "");
        assert_eq!(transcript.wait_for("one", SHORT).unwrap(), " two ");
        assert!(transcript.wait_for("one", SHORT).is_err());
        port.write_all(b" three two").unwrap();
        assert_eq!(transcript.wait_for_any(&["two", "three"], SHORT).unwrap().0, 1);
        transcript.skip();
        assert!(transcript.wait_for("two", SHORT).is_err());
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let (mut port, transcript) = transcript();
        for line in 0..60 {
            writeln!(port, "line {line}").unwrap();
        }
        let error = transcript.wait_for("login:", SHORT).unwrap_err().to_string();
        assert!(error.contains("`login:`") && error.ends_with("line 59"), "{error}");
        assert!(error.contains("line 20\n") && !error.contains("line 19\n"), "{error}");
    }

    #[test]
    fn an_end_or_a_panic_is_not_waited_out() {
        let (mut port, transcript) = transcript();
        port.write_all(b"[    1.0] Kernel panic - not syncing\n").unwrap();
        let error = transcript.wait_for("login:", Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("kernel panicked"), "{error}");
        transcript.wait_for("not syncing", SHORT).unwrap();
        drop(port);
        let error = transcript.wait_for("login:", Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("machine has ended"), "{error}");
    }

    #[test]
    fn escapes_are_taken_out() {
        let mut filter = Filter::default();
        let mut text = Vec::new();
        let bytes =
            b"\x1b[0;1;39mssh\x1b[0m\r\n\x1bP+q436f\x1b\\a\x1b]0;title\x07b\x1b(Bc\x1b[12;3HGRUB\x1b[2J\x1b[1;1Hd";
        for byte in bytes {
            filter.push(*byte, &mut text);
        }
        assert_eq!(String::from_utf8(text).unwrap(), "ssh\nabc\nGRUB\nd");
    }
}
