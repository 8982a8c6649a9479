//! What is wrong with an answer file: every error of it, in the order of the file.
//!
//! A message names places and keys and never repeats a value. So whatever somebody
//! writes into the wrong line, no secret can reach a screen or a log through an error.

use std::fmt;

/// A place in a file, counted from 1 as editors do; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; absent if it concerns the whole file.
    pub place: Option<Place>,
    /// What is wrong and what to do about it.
    pub text: String,
    /// The other place, where two do not fit together, and what is there.
    pub other: Option<(Place, String)>,
}

/// Every error of one file. Shows one on each line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// What the file is called.
    pub name: String,
    /// The errors, in the order of the file. Never empty.
    pub list: Vec<Problem>,
}

impl Problems {
    /// The one error that the whole file has.
    pub(super) fn whole(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), list: vec![Problem { place: None, text: text.into(), other: None }] }
    }

    /// The errors as lines, without the file's name.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(ToString::to_string)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)?;
        match &self.other {
            Some((place, what)) => write!(f, " (see {place}: {what})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            let (newline, separator) =
                (if i == 0 { "" } else { "\n" }, if problem.place.is_some() { ", " } else { ": " });
            write!(f, "{newline}{}{separator}{problem}", self.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a = 1\n\u{e9} = 2\r\nc";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, text.find('2').unwrap()), Place { line: 2, column: 5 });
        assert_eq!(Place::of(text, text.len()), Place { line: 3, column: 2 });
    }
}
