//! Approval: the last four characters of a disk's serial number, typed by a person or
//! handed in as a credential. Whoever types them has looked at the disk that is meant.

/// How many characters are typed.
const LENGTH: usize = 4;

/// What has to be typed, and where a person finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is the end of: "serial number" …
    pub of: &'static str,
    /// All of it.
    pub whole: String,
}

impl Token {
    /// For a disk: its serial number, or its world-wide name, or what `else_of` says.
    pub fn for_disk(serial: Option<&str>, wwn: Option<&str>, else_of: (&'static str, String)) -> Self {
        let (of, whole) = match (serial, wwn) {
            (Some(serial), _) => ("serial number", serial.to_owned()),
            (None, Some(wwn)) => ("world-wide name", wwn.to_owned()),
            (None, None) => else_of,
        };
        Self { of, whole }
    }

    /// The characters to type.
    pub fn expected(&self) -> String {
        let chars: Vec<char> = self.whole.chars().collect();
        chars[chars.len().saturating_sub(LENGTH)..].iter().collect()
    }

    /// Whether `typed` is it. Capitals do not matter: on many labels they cannot be told apart.
    pub fn accepts(&self, typed: &str) -> bool {
        typed.trim().eq_ignore_ascii_case(self.expected().trim())
    }

    /// The question for it.
    pub fn question(&self) -> String {
        format!("To approve, type the last {LENGTH} characters of the {}.", self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(serial: Option<&str>, wwn: Option<&str>) -> Token {
        Token::for_disk(serial, wwn, ("partition table id", "0c5a-77f1".to_owned()))
    }

    #[test]
    fn the_serial_comes_first_and_capitals_do_not_matter() {
        let long = token(Some("WD-WCC7K0AAxYz9"), Some("0x5"));
        assert!(long.accepts(" XYZ9 ") && long.accepts("xyz9"));
        assert!(!long.accepts("") && !long.accepts("yz9") && !long.accepts("WD-WCC7K0AAxYz9"));
        let short = token(Some("7"), None);
        assert!(short.accepts("7") && !short.accepts(""));
    }

    #[test]
    fn a_disk_that_tells_no_serial_has_something_else_to_type() {
        assert_eq!(token(None, Some("0x5000c500e0a1b2c3")).expected(), "b2c3");
        assert_eq!(token(None, None).question(), "To approve, type the last 4 characters of the partition table id.");
    }
}
