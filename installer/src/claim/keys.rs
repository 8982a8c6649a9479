//! The `authorized_keys` file on HEARTH: public keys that open SSH before setup. It is
//! checked when the disk is written, and again when it is used, because anybody may have
//! put it there by hand, on any system.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use crate::answers::SshPublicKey;
use crate::exit::{Exit, Kind as _};

/// What such a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys that are right.
    pub good: Vec<SshPublicKey>,
    /// What is wrong with the other lines, a sentence each, with the line's number.
    pub problems: Vec<String>,
}

impl Keys {
    /// Reads a file's bytes. Options in front of a key are wrong: what a key may do here is not up to the file.
    pub fn read(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self { good: Vec::new(), problems: vec!["it is not saved as UTF-8".to_owned()] };
        };
        let mut out = Self::default();
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.parse() {
                Ok(key) => out.good.push(key),
                Err(why) => out.problems.push(format!("line {number}: {why}")),
            }
        }
        out
    }

    /// Reads the file at `path`, in which nothing may be wrong, and which must hold a key.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display())).kind(Exit::Input)?;
        let mut keys = Self::read(&bytes);
        if keys.good.is_empty() && keys.problems.is_empty() {
            keys.problems.push("it holds no key".to_owned());
        }
        if keys.problems.is_empty() {
            return Ok(keys);
        }
        let lines: String = keys.problems.iter().map(|problem| format!("\n  {problem}")).collect();
        Err(anyhow!("{} cannot be taken:{lines}", path.display())).kind(Exit::Input)
    }

    /// The file as `sshd` reads it: a key a line, nothing in front of it.
    pub fn to_file(&self) -> Vec<u8> {
        self.good.iter().map(|key| format!("{key}\n")).collect::<String>().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop";

    #[test]
    fn keys_are_taken_as_windows_writes_them() {
        let keys = Keys::read(format!("\u{feff}# mine\r\n\r\n{KEY}\r\n").as_bytes());
        assert_eq!((keys.good.len(), keys.problems.len()), (1, 0));
        assert_eq!(keys.to_file(), format!("{KEY}\n").into_bytes());
    }

    #[test]
    fn a_line_that_is_no_key_is_named_by_its_number() {
        let keys = Keys::read(format!("{KEY}\n\nno-pty {KEY}\nssh-ed25519 AAAA\n").as_bytes());
        assert_eq!(keys.good.len(), 1);
        assert!(keys.problems[0].starts_with("line 3: it must begin with its kind"), "{:?}", keys.problems);
        assert!(keys.problems[1].starts_with("line 4: ") && keys.problems.len() == 2, "{:?}", keys.problems);
        assert_eq!(Keys::read(b"\xff\xfes\0").problems, ["it is not saved as UTF-8"]);
    }

    #[test]
    fn a_file_that_is_flashed_must_be_right_from_end_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for (text, says) in [("# none\n", "it holds no key"), ("ssh-rsa x\n", "line 1: the part behind")] {
            fs::write(&path, text).unwrap();
            let error = Keys::load(&path).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(crate::exit::code_of(&error), Exit::Input.code());
        }
        fs::write(&path, KEY).unwrap();
        assert_eq!(Keys::load(&path).unwrap().good.len(), 1);
    }
}
