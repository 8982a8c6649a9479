//! A conversation in lines: what is said ends with a newline, what is answered ends
//! with Enter. No colours, no cursor movement: the same words on a screen, a serial
//! cable and a screen reader. Terminals that say that they can move their cursor are offered
//! lists as well, with the same words.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dialoguer::console::Term;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroize as _;

use super::list::{List, Step, can_move};
use super::text::WIDTH;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line, without white space around it and without control characters.
    Line(String),
    /// Nothing, for as long as was waited.
    Nothing,
    /// Ctrl-C: what was typed before it on its line is forgotten.
    Interrupted,
    /// The other end is gone, or somebody ends this program.
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

    /// From now on what is typed shows, or does not.
    fn show_typing(&mut self, shown: bool) -> Result<()>;

    /// Has somebody choose from `list` with the arrow keys, until `over` says that it is too late; nothing
    /// where the terminal cannot show that.
    fn pick(&mut self, _list: &mut List, _over: &mut dyn FnMut() -> bool) -> Result<Option<Input>> {
        Ok(None)
    }

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
    came: VecDeque<Input>,
    /// How the terminal was, if it is one.
    before: Option<Termios>,
    /// Tells that somebody ends this program: it leaves the terminal as it was, and then goes.
    ended: Option<SignalFd>,
    /// Whether the terminal says that it can move its cursor.
    moves: bool,
}

/// What was waited for.
enum Came {
    /// So many bytes.
    Bytes(usize),
    /// Ctrl-D.
    Empty,
    Nothing,
    Closed,
}

/// How often somebody who chooses from a list is looked after.
const GLANCE: Duration = Duration::from_secs(1);

/// What ends a program.
const ENDS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// What a terminal sends for Ctrl-C where it makes no signal of it.
pub(super) const CTRL_C: u8 = 3;

impl Console {
    /// Takes standard input and output. On a terminal Ctrl-C ends a line, Ctrl-\ and Ctrl-Z become
    /// ordinary characters, and Ctrl-S no longer freezes it; dropping undoes that, and so does
    /// a signal that ends this program while somebody is listened to.
    pub fn open() -> Result<Self> {
        let input = std::io::stdin().as_fd().try_clone_to_owned().context("taking standard input")?;
        let output = std::io::stdout().as_fd().try_clone_to_owned().context("taking standard output")?;
        let mut console = Self::on(input, output)?;
        console.moves = std::env::var("TERM").is_ok_and(|term| can_move(&term));
        Ok(console)
    }

    fn on(input: OwnedFd, output: OwnedFd) -> Result<Self> {
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut calm = before.clone();
            calm.local_flags.remove(LocalFlags::ISIG);
            calm.local_flags.insert(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE);
            calm.input_flags.remove(InputFlags::IXON);
            calm.input_flags.insert(InputFlags::ICRNL);
            calm.control_chars[SpecialCharacterIndices::VEOL as usize] = CTRL_C;
            tcsetattr(&input, SetArg::TCSANOW, &calm).context("setting the terminal to lines")?;
        }
        let ended = before.is_some().then(signals).transpose()?;
        let (input, output) = (File::from(input), File::from(output));
        Ok(Self { input, output, partial: Vec::new(), came: VecDeque::new(), before, ended, moves: false })
    }

    /// Waits for bytes, for ever or for `patience`.
    fn wait(&mut self, patience: Option<Duration>, buffer: &mut [u8]) -> Result<Came> {
        let timeout = patience.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from).context("waiting")?;
        loop {
            let mut fds = vec![PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.ended.iter().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(Came::Nothing),
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error).context("waiting for the console"),
            }
            let has = |fd: Option<&PollFd<'_>>, flag| {
                fd.and_then(PollFd::revents).is_some_and(|events| events.contains(flag))
            };
            if has(fds.get(1), PollFlags::POLLIN) {
                return Ok(Came::Closed);
            }
            // A terminal whose other end is gone ends like a file, again and again.
            let hung_up = has(fds.first(), PollFlags::POLLHUP);
            match self.input.read(buffer) {
                // Ctrl-D at the start of a line ends a file, but a console goes on.
                Ok(0) if self.before.is_some() && !hung_up => return Ok(Came::Empty),
                Ok(0) => return Ok(Came::Closed),
                Ok(n) => return Ok(Came::Bytes(n)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // EIO: the line was hung up.
                Err(_) => return Ok(Came::Closed),
            }
        }
    }

    /// Follows the keys until one of them ends the choice.
    fn follow(&mut self, list: &mut List, over: &mut dyn FnMut() -> bool) -> Result<Input> {
        self.ask(&list.draw())?;
        let mut buffer = [0; 64];
        loop {
            let count = match self.wait(Some(GLANCE), &mut buffer)? {
                Came::Bytes(count) => count,
                Came::Closed => return Ok(Input::Closed),
                Came::Nothing if over() => return Ok(Input::Closed),
                Came::Nothing | Came::Empty => 0,
            };
            for (i, byte) in buffer[..count].iter().enumerate() {
                match list.press(*byte) {
                    Step::Nothing => {}
                    Step::Moved => self.ask(&list.draw())?,
                    Step::Interrupted => return Ok(Input::Interrupted),
                    Step::Line(line) => {
                        // What was typed ahead is for the next question.
                        self.take(&buffer[i + 1..count]);
                        return Ok(Input::Line(line));
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                self.came.push_back(Input::Line(clean(&self.partial)));
                self.partial.zeroize();
            } else if byte == CTRL_C {
                self.came.push_back(Input::Interrupted);
                self.partial.zeroize();
            } else {
                self.partial.push(byte);
            }
        }
    }
}

/// From now on these signals wait to be read. Programs that are started do not inherit that.
fn signals() -> Result<SignalFd> {
    let mut ends = SigSet::empty();
    for signal in ENDS {
        ends.add(signal);
    }
    ends.thread_block().context("holding signals back")?;
    SignalFd::new(&ends).context("waiting for signals")
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
            if let Some(input) = self.came.pop_front() {
                return Ok(input);
            }
            let mut buffer = [0; 1024];
            match self.wait(patience, &mut buffer)? {
                Came::Bytes(count) => self.take(&buffer[..count]),
                Came::Empty => return Ok(Input::Line(String::new())),
                Came::Nothing => return Ok(Input::Nothing),
                Came::Closed => return Ok(Input::Closed),
            }
            buffer.zeroize();
        }
    }

    fn pick(&mut self, list: &mut List, over: &mut dyn FnMut() -> bool) -> Result<Option<Input>> {
        // A list that scrolls away could not be drawn again where it was.
        let clone = || self.output.try_clone().context("measuring the terminal");
        let size = Term::read_write_pair(clone()?, clone()?).size_checked();
        let fits = |(rows, columns)| usize::from(columns) > WIDTH && usize::from(rows) > list.height();
        if !self.moves || !self.came.is_empty() || !size.is_some_and(fits) {
            return Ok(None);
        }
        let calm = tcgetattr(&self.input).context("asking the terminal")?;
        let mut keys = calm.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        keys.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        keys.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&self.input, SetArg::TCSANOW, &keys).context("setting the terminal to single keys")?;
        let picked = self.follow(list, over);
        tcsetattr(&self.input, SetArg::TCSANOW, &calm).context("setting the terminal to lines")?;
        picked.map(Some)
    }

    fn show_typing(&mut self, shown: bool) -> Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        let mut now = tcgetattr(&self.input).context("asking the terminal")?;
        now.local_flags.set(LocalFlags::ECHO, shown);
        // The end of a line shows in any case.
        now.local_flags.set(LocalFlags::ECHONL, !shown || before.local_flags.contains(LocalFlags::ECHONL));
        tcsetattr(&self.input, SetArg::TCSANOW, &now).context("hiding what is typed")
    }
}

fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

/// What is typed in the middle of [`pager`]'s lines by whoever wants to see no more of them.
pub(crate) const GOES_BACK: &str = "0";

/// Says `lines` a screenful at a time; gives what somebody typed who did not want to see the rest.
pub(crate) fn pager(talk: &mut impl Talk, lines: &[String]) -> Result<Option<String>> {
    /// One line less than a terminal has, for the question.
    const SCREEN: usize = 22;
    for (i, screen) in lines.chunks(SCREEN).enumerate() {
        if i > 0 {
            talk.ask("-- Enter shows more, 0 and Enter goes back: ")?;
            match talk.hear(None)? {
                Input::Line(line) if line.is_empty() => {}
                Input::Line(line) => return Ok(Some(line)),
                Input::Interrupted => return Ok(Some(GOES_BACK.to_owned())),
                _ => return Ok(None),
            }
        }
        talk.say_all(screen)?;
    }
    Ok(None)
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

        fn show_typing(&mut self, _: bool) -> Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::Winsize;

    use super::script::Script;
    use super::*;

    #[test]
    fn control_characters_are_no_answer() {
        assert_eq!(clean(b" \x03 2\x1b[A\x7f "), "2[A");
        assert_eq!(clean(b"\xff1"), "\u{fffd}1");
    }

    /// A terminal: the side of a person, and the console at the other.
    fn terminal(size: Option<&Winsize>) -> (File, OwnedFd, Console) {
        let pty = nix::pty::openpty(size, None).unwrap();
        let console = Console::on(pty.slave.try_clone().unwrap(), pty.slave.try_clone().unwrap()).unwrap();
        (File::from(pty.master), pty.slave, console)
    }

    #[test]
    fn ctrl_c_ends_a_line_and_hidden_lines_do_not_show() {
        let (mut person, _terminal, mut console) = terminal(None);
        let patience = Some(Duration::from_secs(5));
        person.write_all(b"for\x03open\r").unwrap();
        assert_eq!(console.hear(patience).unwrap(), Input::Interrupted);
        assert_eq!(console.hear(patience).unwrap(), Input::Line("open".to_owned()));
        console.show_typing(false).unwrap();
        person.write_all(b"sesame\r").unwrap();
        assert_eq!(console.hear(patience).unwrap(), Input::Line("sesame".to_owned()));
        console.show_typing(true).unwrap();
        console.say("end").unwrap();
        // What was shown comes in pieces.
        let mut screen = String::new();
        while !screen.contains("end") {
            let mut piece = [0; 256];
            let count = person.read(&mut piece).unwrap();
            screen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        assert!(screen.contains("open") && !screen.contains("sesame"), "{screen:?}");
    }

    #[test]
    fn a_list_is_chosen_from_and_the_terminal_is_one_of_lines_again() {
        let items = ["no", "yes"].map(str::to_owned);
        let pick = |console: &mut Console| console.pick(&mut List::one(&items, Some(0)), &mut || false).unwrap();
        let (_person, _terminal, mut unknown) = terminal(None);
        unknown.moves = true;
        assert_eq!(pick(&mut unknown), None, "nobody knows how large it is");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut person, terminal, mut console) = terminal(Some(&size));
        assert_eq!(pick(&mut console), None, "nobody knows what it can do");
        console.moves = true;
        let calm = tcgetattr(&terminal).unwrap();
        person.write_all(b"\x1b[B\rnext\r").unwrap();
        assert_eq!(pick(&mut console), Some(Input::Line("2".to_owned())));
        assert_eq!(tcgetattr(&terminal).unwrap(), calm);
        assert_eq!(console.hear(Some(Duration::from_secs(5))).unwrap(), Input::Line("next".to_owned()));
        let picked = console.pick(&mut List::one(&items, None), &mut || true).unwrap();
        assert_eq!(picked, Some(Input::Closed));
        assert_eq!(tcgetattr(&terminal).unwrap(), calm);
    }

    #[test]
    fn whatever_ends_it_leaves_the_terminal_as_it_was() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let clone = || pty.slave.try_clone().unwrap();
        for signal in ENDS {
            let mut console = Console::on(clone(), clone()).unwrap();
            console.show_typing(false).unwrap();
            assert_ne!(tcgetattr(&pty.slave).unwrap(), before);
            nix::sys::signal::raise(signal).unwrap();
            assert_eq!(console.hear(Some(Duration::from_secs(5))).unwrap(), Input::Closed, "{signal}");
            drop(console);
            assert_eq!(tcgetattr(&pty.slave).unwrap(), before, "{signal}");
        }
    }

    #[test]
    fn a_lost_line_is_an_end() {
        let (person, _terminal, mut console) = terminal(None);
        console.show_typing(false).unwrap();
        drop(person);
        assert_eq!(console.hear(None).unwrap(), Input::Closed);
    }

    #[test]
    fn the_pager_stops_when_told() {
        let lines: Vec<String> = (0..60).map(|i| i.to_string()).collect();
        let mut talk = Script::new(&["", "0"]);
        assert_eq!(pager(&mut talk, &lines).unwrap().as_deref(), Some(GOES_BACK));
        assert!(talk.said.contains(&"43".to_owned()) && !talk.said.contains(&"44".to_owned()));
        let mut talk = Script::new(&["", ""]);
        assert_eq!(pager(&mut talk, &lines).unwrap(), None);
        assert!(talk.said.contains(&"59".to_owned()));
    }
}
