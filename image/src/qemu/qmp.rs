//! QMP, QEMU's control channel: JSON lines over a Unix socket. A reader thread
//! sorts what QEMU says into answers and events, so that nothing is lost while
//! nobody asks.

use std::io::{BufRead, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

/// QEMU answers at once, or is stopped by a machine that is busy.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to a QEMU.
#[derive(Debug)]
pub struct Qmp {
    // One command at a time: whoever holds the lock waits for its own answer.
    channel: Mutex<Channel>,
    socket: UnixStream,
}

#[derive(Debug)]
struct Channel {
    writer: UnixStream,
    answers: Receiver<Value>,
}

/// What one line from QEMU is.
#[derive(Debug, PartialEq)]
enum Message {
    Greeting,
    Event(String),
    Answer(Value),
}

impl Qmp {
    /// Connects to the socket that QEMU listens on and ends the greeting.
    /// `on_event` is called from another thread with the name of each event.
    pub fn connect(path: &Path, on_event: impl FnMut(&str) + Send + 'static) -> Result<Self> {
        let socket = UnixStream::connect(path).with_context(|| format!("connecting to QEMU at {}", path.display()))?;
        Self::over(socket, on_event)
    }

    /// The same over a connected socket.
    pub fn over(socket: UnixStream, on_event: impl FnMut(&str) + Send + 'static) -> Result<Self> {
        let (sender, answers) = mpsc::channel();
        let reader = BufReader::new(socket.try_clone()?);
        std::thread::spawn(move || read(reader, &sender, on_event));
        let qmp = Self { channel: Mutex::new(Channel { writer: socket.try_clone()?, answers }), socket };
        qmp.run("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs `command`; gives what it returns, or QEMU's own words of refusal.
    pub fn run(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({"execute": command});
        if arguments.as_object().is_some_and(|object| !object.is_empty()) {
            line["arguments"] = arguments;
        }
        let mut channel = self.lock();
        writeln!(channel.writer, "{line}").with_context(|| format!("asking QEMU to `{command}`: it has ended"))?;
        let answer = match channel.answers.recv_timeout(ANSWER) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => bail!("QEMU did not answer `{command}` within {} s", ANSWER.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("QEMU ended before it answered `{command}`"),
        };
        match answer.get("error") {
            None => Ok(answer["return"].clone()),
            Some(error) => Err(anyhow!("QEMU refused `{command}`: {}", error["desc"].as_str().unwrap_or("unknown"))),
        }
    }

    /// Runs a command of the monitor made for people; gives what it prints.
    pub fn monitor(&self, line: &str) -> Result<String> {
        let answer = self.run("human-monitor-command", json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// The forwarded TCP ports as (host port on 127.0.0.1, guest port).
    pub fn forwards(&self) -> Result<Vec<(u16, u16)>> {
        Ok(parse_forwards(&self.monitor("info usernet")?))
    }

    /// Saves the screen as a PNG.
    pub fn screenshot(&self, png: &Path) -> Result<()> {
        self.run("screendump", json!({"filename": png, "format": "png"})).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // Ends the reader thread; QEMU having gone first is fine.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn read(reader: impl BufRead, answers: &mpsc::Sender<Value>, mut on_event: impl FnMut(&str)) {
    for line in reader.lines() {
        let Ok(line) = line else { return };
        match parse(&line) {
            Some(Message::Answer(answer)) => {
                if answers.send(answer).is_err() {
                    return;
                }
            }
            Some(Message::Event(name)) => on_event(&name),
            Some(Message::Greeting) | None => {}
        }
    }
}

fn parse(line: &str) -> Option<Message> {
    let value: Value = serde_json::from_str(line).ok()?;
    if let Some(name) = value.get("event").and_then(Value::as_str) {
        return Some(Message::Event(name.to_owned()));
    }
    if value.get("QMP").is_some() {
        return Some(Message::Greeting);
    }
    (value.get("return").is_some() || value.get("error").is_some()).then_some(Message::Answer(value))
}

/// Reads lines such as `  TCP[HOST_FORWARD]  12       127.0.0.1 34567       10.0.2.15    22     0     0`.
fn parse_forwards(text: &str) -> Vec<(u16, u16)> {
    let forward = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let listens = words.first().is_some_and(|word| *word == "TCP[HOST_FORWARD]");
        if !listens || words.len() < 6 {
            return None;
        }
        Some((words[3].parse().ok()?, words[5].parse().ok()?))
    };
    text.lines().filter_map(forward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted() {
        assert_eq!(parse(r#"{"QMP": {"version": {}}}"#), Some(Message::Greeting));
        assert_eq!(parse(r#"{"event": "RESET", "data": {}}"#), Some(Message::Event("RESET".into())));
        assert_eq!(parse(r#"{"return": {}}"#), Some(Message::Answer(json!({"return": {}}))));
        assert_eq!(parse("{}"), None);
        assert_eq!(parse("{\"retu"), None);
    }

    #[test]
    fn forwards_are_read() {
        let text = "Hub -1 (net0):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
             TCP[HOST_FORWARD]  14       127.0.0.1 40123       10.0.2.15    22     0     0\n  \
             TCP[ESTABLISHED]   15       127.0.0.1 40123       10.0.2.15    22     0     0\n  \
             UDP[236 sec]       16       10.0.2.15 68 10.0.2.2 67     0     0\n";
        assert_eq!(parse_forwards(text), [(40123, 22)]);
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sender, events) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let mut theirs = theirs;
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            theirs.write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut said = Vec::new();
            for answer in ["{\"return\": {}}", "{\"event\": \"RESET\"}\n{\"error\": {\"desc\": \"no such thing\"}}"] {
                said.push(lines.next().unwrap().unwrap());
                theirs.write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
            said
        });
        let qmp = Qmp::over(ours, move |name| sender.send(name.to_owned()).unwrap()).unwrap();
        let error = qmp.run("device_del", json!({"id": "x"})).unwrap_err().to_string();
        assert_eq!(error, "QEMU refused `device_del`: no such thing");
        assert_eq!(events.recv().unwrap(), "RESET");
        assert_eq!(
            server.join().unwrap(),
            [r#"{"execute":"qmp_capabilities"}"#, r#"{"arguments":{"id":"x"},"execute":"device_del"}"#]
        );
        let gone = qmp.run("quit", json!({})).unwrap_err().to_string();
        assert!(gone.contains("ended"), "{gone}");
    }
}
