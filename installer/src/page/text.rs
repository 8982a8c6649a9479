//! Plain text for any console: at most 79 columns, printable ASCII, no escapes. A
//! disk's label is written by whoever had the disk before, so it may hold anything.

use std::io::{ErrorKind, Write as _};
use std::time::SystemTime;

use anyhow::{Context as _, Result};

/// The longest line. One less than 80, because some terminals wrap at the 80th character already.
pub const WIDTH: usize = 79;

/// `text` with every character a console might not show, or might obey, as `?`.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// A time in UTC, as people write it.
pub fn moment(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    format!("{} UTC", text[..16].replace('T', " "))
}

/// What stands before every line about something in a plan.
pub const INDENT: &str = "  ";

/// What a part of a plan is about, below an empty line.
pub fn heading(text: &str) -> Vec<String> {
    std::iter::once(String::new()).chain(wrap("", text)).collect()
}

/// A line of a plan, with its word in a column of its own.
pub fn row(first: &str, text: &str) -> Vec<String> {
    wrap(&format!("{INDENT}{first:<6}"), text)
}

/// `text`, made [`plain`] and cut to `limit` characters; a cut shows as `...`.
pub fn cut(text: &str, limit: usize) -> String {
    let text = plain(text);
    if text.len() <= limit {
        return text;
    }
    format!("{}...", text[..limit.saturating_sub(3)].trim_end())
}

/// `text` made [`plain`] and broken into lines of [`WIDTH`]: the first begins with
/// `first`, the others with as many spaces. A word longer than a line is broken.
pub fn wrap(first: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(first.len());
    let room = WIDTH.saturating_sub(first.len()).max(1);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in plain(text).split(' ').filter(|word| !word.is_empty()) {
        let mut rest = word;
        while line.len() + usize::from(!line.is_empty()) + rest.len() > room {
            if line.is_empty() {
                let (head, tail) = rest.split_at(room);
                line.push_str(head);
                rest = tail;
            }
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(rest);
    }
    lines.push(line);
    let prefix = |i: usize| if i == 0 { first } else { indent.as_str() };
    lines.iter().enumerate().map(|(i, line)| format!("{}{line}", prefix(i)).trim_end().to_owned()).collect()
}

/// Prints `lines` to standard output. A reader who has seen enough (`| head`) is no failure.
pub fn print(lines: &[String]) -> Result<()> {
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to standard output"),
    }
}

/// The same with a capital letter in front.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// `1 disk`, `2 disks`.
pub fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wrapping_keeps_the_indent() {
        let lines = wrap("CPU     ", &"word ".repeat(20));
        assert_eq!(lines[0], format!("CPU     {}", ["word"; 14].join(" ")));
        assert_eq!(lines[1], format!("        {}", ["word"; 6].join(" ")));
        assert_eq!(wrap("empty", ""), ["empty"]);
    }

    #[test]
    fn cutting_shows() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("rather long text", 10), "rather...");
        assert_eq!(cut("\u{1b}[31mred\u{e9}", 20), "?[31mred?");
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_no_character_escapes(text in ".{0,400}", first in "[a-z ]{0,30}") {
            for line in wrap(&first, &text) {
                prop_assert!(line.len() <= WIDTH, "{line:?}");
                prop_assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            }
        }
    }
}
