//! Makes the password hashes that an answer file holds in place of passwords.

use anyhow::{Result, anyhow};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use yescrypt::Yescrypt;

use super::types::{PORTAL_LANES, PORTAL_MEMORY, PORTAL_PASSES};
use crate::exit::{Exit, Kind as _};

/// The fewest characters of a password.
const LENGTH: usize = 10;

/// How many of them must differ.
const DIFFERENT: usize = 5;

/// What a guesser tries first, besides what is next to each other on keyboards.
const COMMON: [&str; 8] =
    ["password", "passwort", "changeme", "letmein", "iloveyou", "hearth", "homelab", "administrator"];

/// The rows that fingers run along.
const ROWS: [&str; 6] =
    ["abcdefghijklmnopqrstuvwxyz", "0123456789", "1234567890", "qwertyuiop", "qwertzuiop", "asdfghjklzxcvbnm"];

/// Who checks the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum For {
    /// The login at the machine's own screen and serial port
    Console,
    /// The portal in the browser
    Portal,
}

/// The hash of `password`, if that is worth hashing.
pub fn hash(password: &str, whom: For) -> Result<String> {
    if let Some(why) = weakness(password) {
        return Err(anyhow!("this password is refused: {why}")).kind(Exit::Input);
    }
    match whom {
        For::Console => console_hash(password),
        // What Authelia makes unless told otherwise.
        For::Portal => portal_hash(password, PORTAL_MEMORY, PORTAL_PASSES, PORTAL_LANES),
    }
}

/// The hash of a password for the portal: argon2id with so many KiB of `memory`, `passes` and `lanes`.
pub fn portal_hash(password: &str, memory: u32, passes: u32, lanes: u32) -> Result<String> {
    let params = Params::new(memory, passes, lanes, None).map_err(|error| anyhow!("hashing the password: {error}"))?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(hasher.hash_password(password.as_bytes()).map_err(failed)?.to_string())
}

fn failed(error: argon2::password_hash::Error) -> anyhow::Error {
    anyhow!("hashing the password: {error}")
}

/// The hash of a console password, as Debian 13's own `passwd` makes it.
pub fn console_hash(password: &str) -> Result<String> {
    Ok(Yescrypt::default().hash_password(password.as_bytes()).map_err(failed)?.to_string())
}

/// Why a password is too easy to guess, if it is.
pub fn weakness(password: &str) -> Option<String> {
    if password.chars().count() < LENGTH {
        return Some(format!("it has fewer than {LENGTH} characters"));
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT {
        return Some(format!("it has fewer than {DIFFERENT} different characters"));
    }
    let plain = password.to_lowercase();
    let core = plain.trim_matches(|c: char| !c.is_alphabetic());
    if COMMON.contains(&core) {
        return Some("it is one of the first that are tried".to_owned());
    }
    ROWS.iter()
        .any(|row| runs_along(&plain, row))
        .then(|| "its characters follow each other on the keyboard".to_owned())
}

/// Whether all of `text` runs along `row`, again and again, in either direction.
fn runs_along(text: &str, row: &str) -> bool {
    let again = row.repeat(text.len() / row.len() + 2);
    let back: String = again.chars().rev().collect();
    again.contains(text) || back.contains(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_accepted_and_true() {
        use argon2::PasswordVerifier as _;
        let password = "correct horse battery";
        let (console, portal) = (hash(password, For::Console).unwrap(), hash(password, For::Portal).unwrap());
        assert!(Yescrypt::default().verify_password(password.as_bytes(), console.as_str()).is_ok());
        let parsed = argon2::password_hash::phc::PasswordHash::new(&portal).unwrap();
        assert!(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
        assert!(portal.starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{portal}");
        assert!(console.starts_with("$y$j9T$"), "{console}");
        assert_ne!(console, hash(password, For::Console).unwrap());
        let text = format!("console = '{console}'\nportal = '{portal}'\n");
        let table = toml::de::DeValue::Table(toml::de::DeTable::parse(&text).unwrap().into_inner());
        let root = crate::answers::node::Node::root(&table);
        assert!(root.get("console").unwrap().quiet::<crate::answers::ConsoleHash>().is_some());
        assert!(root.get("portal").unwrap().quiet::<crate::answers::PortalHash>().is_some());
    }

    #[test]
    fn easy_passwords_are_refused_without_being_repeated() {
        for easy in
            ["hunter2", "aaaaaaaaaaaa", "abababababab", "1234567890", "Qwertyuiop", "poiuytrewq", "Password1234"]
        {
            let error = hash(easy, For::Console).unwrap_err();
            assert!(!error.to_string().contains(easy), "{error}");
            assert_eq!(crate::exit::code_of(&error), Exit::Input.code());
        }
        assert_eq!(weakness("correct horse"), None);
    }
}
