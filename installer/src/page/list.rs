//! A list that is chosen from with the arrow keys, for terminals that can move their cursor.
//! What is chosen becomes the line that somebody at a plainer terminal would have typed, so
//! that nothing else differs.
//!
//! dialoguer has such lists, too. It waits for keys on standard input alone, and for ever: it
//! would notice neither that another console takes over nor that somebody ends this program.

use super::console::CTRL_C;
use super::text::wrap;

/// What each key does, below the list.
const HINT: &str = "  Arrows move, Enter takes, < goes back, ? says more.";
const HINT_SEVERAL: &str = "  Arrows move, Space marks, Enter takes, < goes back, ? says more.";

/// A list, and where somebody is in it.
#[derive(Debug)]
pub struct List {
    items: Vec<String>,
    /// Which are marked, where several may be.
    marks: Option<Vec<bool>>,
    /// Where the arrow stands; nowhere if Enter alone must not take anything.
    at: Option<usize>,
    keys: Keys,
    /// How many lines it takes on the screen; none before it is drawn.
    drawn: usize,
}

/// What came of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The list looks otherwise now.
    Moved,
    /// The key does nothing.
    Nothing,
    /// It is the same as this line.
    Line(String),
    /// Ctrl-C.
    Interrupted,
}

/// How much of an arrow key has come: `ESC [ A` is three bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Plain,
    Escape,
    Bracket,
}

impl List {
    /// One of `items` is chosen; the arrow stands at `at`.
    pub fn one(items: &[String], at: Option<usize>) -> Self {
        Self { items: items.to_vec(), marks: None, at, keys: Keys::Plain, drawn: 0 }
    }

    /// Any number of `items` is chosen; those in `marked` are already.
    pub fn several(items: &[String], marked: &[usize]) -> Self {
        let marks = (0..items.len()).map(|i| marked.contains(&i)).collect();
        Self { items: items.to_vec(), marks: Some(marks), at: Some(0), keys: Keys::Plain, drawn: 0 }
    }

    fn lines(&self) -> Vec<String> {
        let item = |(i, text): (usize, &String)| {
            let arrow = if self.at == Some(i) { '>' } else { ' ' };
            let mark = match self.marks.as_ref().map(|marks| marks[i]) {
                None => "",
                Some(true) => "[x] ",
                Some(false) => "[ ] ",
            };
            wrap(&format!("{arrow} {mark}{}) ", i + 1), text)
        };
        let hint = if self.marks.is_some() { HINT_SEVERAL } else { HINT };
        let mut lines: Vec<String> = self.items.iter().enumerate().flat_map(item).collect();
        lines.push(hint.to_owned());
        lines
    }

    /// How many lines it takes.
    pub fn height(&self) -> usize {
        self.lines().len()
    }

    /// What a terminal has to be sent to show it, in the place where it was before.
    pub fn draw(&mut self) -> String {
        let lines = self.lines();
        let up = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A", self.drawn) };
        self.drawn = lines.len();
        up + &lines.iter().map(|line| format!("\r\x1b[K{line}\n")).collect::<String>()
    }

    /// Takes a byte that a key sent.
    pub fn press(&mut self, byte: u8) -> Step {
        let before = std::mem::replace(&mut self.keys, Keys::Plain);
        match (before, byte) {
            (_, b'\x1b') => self.keys = Keys::Escape,
            // Numbers are in longer sequences, as for function keys.
            (Keys::Escape, b'[' | b'O') | (Keys::Bracket, b'0'..=b'9' | b';') => self.keys = Keys::Bracket,
            (Keys::Bracket, b'A') => return self.go(-1),
            (Keys::Bracket, b'B') => return self.go(1),
            (Keys::Bracket, _) => {}
            (_, b'\r' | b'\n') => return self.enter(),
            (_, CTRL_C) => return Step::Interrupted,
            (_, b'<' | b'?') => return Step::Line(char::from(byte).to_string()),
            (_, b' ') => return self.mark(),
            (_, b'1'..=b'9') if usize::from(byte - b'1') < self.items.len() => {
                self.at = Some(usize::from(byte - b'1'));
                return Step::Moved;
            }
            _ => {}
        }
        Step::Nothing
    }

    fn go(&mut self, by: isize) -> Step {
        let last = self.items.len().saturating_sub(1);
        self.at = Some(match self.at {
            None if by > 0 => 0,
            None => last,
            Some(at) => at.saturating_add_signed(by).min(last),
        });
        Step::Moved
    }

    fn mark(&mut self) -> Step {
        let (Some(marks), Some(at)) = (&mut self.marks, self.at) else { return Step::Nothing };
        marks[at] = !marks[at];
        Step::Moved
    }

    fn enter(&self) -> Step {
        match (&self.marks, self.at) {
            (None, None) => Step::Nothing,
            (None, Some(at)) => Step::Line((at + 1).to_string()),
            (Some(marks), _) => {
                let numbers: Vec<String> =
                    (1..).zip(marks).filter(|(_, on)| **on).map(|(i, _)| i.to_string()).collect();
                Step::Line(if numbers.is_empty() { "-".to_owned() } else { numbers.join(" ") })
            }
        }
    }
}

/// Whether terminals that call themselves `term` can move their cursor as this needs it.
pub fn can_move(term: &str) -> bool {
    term == "linux" || ["xterm", "screen", "tmux"].iter().any(|known| term.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<String> {
        ["from the router", "a fixed one", &"long ".repeat(30)].map(str::to_owned).to_vec()
    }

    /// What each of `keys` did, up to the line it made.
    fn press(list: &mut List, keys: &str) -> Step {
        keys.bytes().map(|byte| list.press(byte)).last().unwrap()
    }

    #[test]
    fn arrows_lead_to_the_line_that_would_be_typed() {
        assert_eq!(press(&mut List::one(&items(), Some(0)), "\r"), Step::Line("1".to_owned()));
        assert_eq!(press(&mut List::one(&items(), Some(0)), "\x1b[B\x1bOB\x1b[B\x1b[A\r"), Step::Line("2".to_owned()));
        assert_eq!(press(&mut List::one(&items(), Some(0)), "3\r"), Step::Line("3".to_owned()));
        assert_eq!(press(&mut List::one(&items(), Some(0)), "9"), Step::Nothing);
        // F5 and a letter that an arrow key ends with.
        assert_eq!(press(&mut List::one(&items(), Some(1)), "\x1b[15~B\r"), Step::Line("2".to_owned()));
        assert_eq!(press(&mut List::one(&items(), Some(1)), "<"), Step::Line("<".to_owned()));
        assert_eq!(press(&mut List::one(&items(), Some(1)), "\x03"), Step::Interrupted);
    }

    #[test]
    fn where_nothing_is_meant_enter_takes_nothing() {
        let mut list = List::one(&items(), None);
        assert_eq!(press(&mut list, "\r"), Step::Nothing);
        assert_eq!(press(&mut list, "\x1b[A\r"), Step::Line("3".to_owned()));
    }

    #[test]
    fn several_are_marked() {
        let mut list = List::several(&items(), &[0]);
        assert_eq!(press(&mut list, "\x1b[B\x1b[B \r"), Step::Line("1 3".to_owned()));
        assert_eq!(press(&mut list, "1 3 \r"), Step::Line("-".to_owned()));
    }

    #[test]
    fn it_is_drawn_where_it_was() {
        let mut list = List::several(&items(), &[0]);
        let first = list.draw();
        assert!(first.starts_with("\r\x1b[K> [x] 1) from the router\n\r\x1b[K  [ ] 2) a fixed one\n"), "{first:?}");
        assert!(first.lines().all(|line| line.trim_start_matches("\r\x1b[K").len() < 80));
        assert_eq!(list.press(b'2'), Step::Moved);
        let again = list.draw();
        assert!(again.starts_with(&format!("\x1b[{}A\r\x1b[K  [x] 1)", first.lines().count())), "{again:?}");
        assert_eq!(first.lines().count(), list.height());
    }

    #[test]
    fn plain_terminals_get_lines() {
        for (term, can) in
            [("linux", true), ("xterm-256color", true), ("tmux", true), ("dumb", false), ("vt100", false), ("", false)]
        {
            assert_eq!(can_move(term), can, "{term}");
        }
    }
}
