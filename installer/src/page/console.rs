//! A conversation in lines: what is said ends with a newline, what is answered ends
//! with Enter. No colours, no cursor movement: the same words on a screen, a serial
//! cable and a screen reader.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line, without white space around it and without control characters.
    Line(String),
    /// Nothing, for as long as was waited.
    Nothing,
    /// The other end is gone.
    Closed,
}

/// Somebody to talk with.
pub trait Talk {
    /// Says `line`.
    fn say(&mut self, line: &str) -> Result<()>;

    /// Says `question` and leaves the answer on the same line.
    fn ask(&mut self, question: &str) -> Result<()>;

    /// Waits for a line, for ever or for `patience`.
    fn hear(&mut self, patience: Option<Duration>) -> Result<Input>;

    /// Says every line.
    fn say_all(&mut self, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|line| self.say(line))
    }
}

/// Standard input and output: a terminal, or a pipe in a test.
#[derive(Debug)]
pub struct Console {
    input: File,
    output: File,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    before: Option<Termios>,
}

impl Console {
    /// Takes standard input and output. On a terminal Ctrl-C, Ctrl-\ and Ctrl-Z become
    /// ordinary characters, and Ctrl-S no longer freezes it; dropping undoes that.
    pub fn open() -> Result<Self> {
        let input = std::io::stdin().as_fd().try_clone_to_owned().context("taking standard input")?;
        let output = std::io::stdout().as_fd().try_clone_to_owned().context("taking standard output")?;
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut calm = before.clone();
            calm.local_flags.remove(LocalFlags::ISIG);
            calm.local_flags.insert(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE);
            calm.input_flags.remove(InputFlags::IXON);
            calm.input_flags.insert(InputFlags::ICRNL);
            tcsetattr(&input, SetArg::TCSANOW, &calm).context("setting the terminal to lines")?;
        }
        let (input, output) = (File::from(input), File::from(output));
        Ok(Self { input, output, partial: Vec::new(), lines: VecDeque::new(), before })
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                self.lines.push_back(clean(&self.partial));
                self.partial.clear();
            } else {
                self.partial.push(byte);
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone already, and then there is nothing to put back.
            let _ = tcsetattr(&self.input, SetArg::TCSANOW, before);
        }
    }
}

impl Talk for Console {
    fn say(&mut self, line: &str) -> Result<()> {
        self.output.write_all(format!("{line}\n").as_bytes()).context("writing to the console")
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        self.output.write_all(question.as_bytes()).context("writing to the console")
    }

    fn hear(&mut self, patience: Option<Duration>) -> Result<Input> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Input::Line(line));
            }
            let timeout = patience.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from).context("waiting")?;
            let mut fds = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(Input::Nothing),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for the console"),
            }
            // A terminal whose other end is gone ends like a file, again and again.
            let hung_up = fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
            let mut buffer = [0; 1024];
            match self.input.read(&mut buffer) {
                // Ctrl-D at the start of a line ends a file, but a console goes on.
                Ok(0) if self.before.is_some() && !hung_up => return Ok(Input::Line(String::new())),
                Ok(0) => return Ok(Input::Closed),
                Ok(n) => self.take(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // EIO: the line was hung up.
                Err(_) => return Ok(Input::Closed),
            }
        }
    }
}

fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

/// Says `lines` a screenful at a time.
pub fn pager(talk: &mut impl Talk, lines: &[String]) -> Result<()> {
    /// One line less than a terminal has, for the question.
    const SCREEN: usize = 22;
    for (i, screen) in lines.chunks(SCREEN).enumerate() {
        if i > 0 {
            talk.ask("-- Enter shows more, 0 and Enter goes back: ")?;
            match talk.hear(None)? {
                Input::Line(line) if line.is_empty() => {}
                _ => return Ok(()),
            }
        }
        talk.say_all(screen)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod script {
    //! Somebody whose answers are known beforehand.

    use super::{Duration, Input, Result, Talk, VecDeque};

    /// Answers in order, then hangs up; keeps what was said.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        pub(crate) answers: VecDeque<String>,
        pub(crate) said: Vec<String>,
    }

    impl Script {
        pub(crate) fn new(answers: &[&str]) -> Self {
            Self { answers: answers.iter().map(|&a| a.to_owned()).collect(), said: Vec::new() }
        }
    }

    impl Talk for Script {
        fn say(&mut self, line: &str) -> Result<()> {
            self.said.push(line.to_owned());
            Ok(())
        }

        fn ask(&mut self, question: &str) -> Result<()> {
            self.said.push(question.to_owned());
            Ok(())
        }

        fn hear(&mut self, _: Option<Duration>) -> Result<Input> {
            Ok(self.answers.pop_front().map_or(Input::Closed, Input::Line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::script::Script;
    use super::*;

    #[test]
    fn control_characters_are_no_answer() {
        assert_eq!(clean(b" \x03 2\x1b[A\x7f "), "2[A");
        assert_eq!(clean(b"\xff1"), "\u{fffd}1");
    }

    #[test]
    fn the_pager_stops_when_told() {
        let lines: Vec<String> = (0..60).map(|i| i.to_string()).collect();
        let mut talk = Script::new(&["", "0"]);
        pager(&mut talk, &lines).unwrap();
        assert!(talk.said.contains(&"43".to_owned()) && !talk.said.contains(&"44".to_owned()));
        let mut talk = Script::new(&["", ""]);
        pager(&mut talk, &lines).unwrap();
        assert!(talk.said.contains(&"59".to_owned()));
    }
}
