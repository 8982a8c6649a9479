//! What opens a LUKS container, and the form that a recovery key has for people: that of
//! systemd, eight groups of eight letters which are the same on every keyboard.

use crate::answers::{Encryption, Secret};

/// Letters that every keyboard layout of the Latin alphabet has in the same places.
const MODHEX: &str = "cbdefghijklnrtuv";

/// How many letters a recovery key has: four bits each, 256 in all.
const LETTERS: usize = 64;

/// How many of them stand together.
const GROUP: usize = 8;

/// Something that opens a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// What a person chose: trying one must cost whoever guesses it dearly.
    Passphrase(Secret<String>),
    /// What chance gave, too long to be guessed.
    Drawn(Secret<String>),
    /// A PIN, good only together with this machine's TPM, which allows few wrong ones.
    Pin(Secret<String>),
}

impl Key {
    /// What opens the disks at every start, as the answers say. None where the answers name an
    /// unlocking and not what is typed for it; such answers are refused when they are read.
    pub fn of(answers: &Encryption) -> Option<Self> {
        let passphrase = answers.passphrase.as_ref().map(|text| Self::Passphrase(owned(text)));
        passphrase.or_else(|| answers.pin.as_ref().map(|text| Self::Pin(owned(text))))
    }
}

fn owned<T: std::fmt::Display + zeroize::Zeroize>(secret: &Secret<T>) -> Secret<String> {
    Secret::new(secret.expose().to_string())
}

/// The two keys of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The recovery key.
    pub recovery: Secret<String>,
    /// What opens it otherwise.
    pub everyday: Key,
}

/// A recovery key made of 32 random bytes.
pub fn recovery_form(random: &[u8]) -> Secret<String> {
    let letters = MODHEX.as_bytes();
    let nibbles = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let text: zeroize::Zeroizing<String> =
        zeroize::Zeroizing::new(nibbles.map(|nibble| char::from(letters[usize::from(nibble)])).collect());
    grouped(&text)
}

fn grouped(letters: &str) -> Secret<String> {
    let mut out = String::with_capacity(LETTERS + LETTERS / GROUP);
    for (i, letter) in letters.chars().enumerate() {
        if i > 0 && i % GROUP == 0 {
            out.push('-');
        }
        out.push(letter);
    }
    Secret::new(out)
}

/// The recovery key that `typed` stands for, if it has the form of one: with or without hyphens
/// and blanks, in small or capital letters.
pub fn is_recovery_key(typed: &str) -> Option<Secret<String>> {
    let letters: zeroize::Zeroizing<String> = zeroize::Zeroizing::new(
        typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect(),
    );
    let fits = letters.len() == LETTERS && letters.chars().all(|c| MODHEX.contains(c));
    fits.then(|| grouped(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_is_256_bits_in_letters() {
        let random: Vec<u8> = (0..32).map(|i| i * 8 + 7).collect();
        let key = recovery_form(&random);
        assert_eq!(key.expose().len(), 71);
        assert!(key.expose().split('-').all(|group| group.len() == GROUP), "{}", key.expose());
        assert_ne!(recovery_form(&[0; 32]).expose(), recovery_form(&[1; 32]).expose());
        let other = recovery_form(&{
            let mut random = random.clone();
            random[31] ^= 1;
            random
        });
        assert_ne!(key.expose(), other.expose(), "the last bit counts");
    }

    #[test]
    fn it_is_known_however_it_is_typed() {
        let key = recovery_form(&[0xd1; 32]);
        let typed =
            [key.expose().clone(), key.expose().replace('-', ""), key.expose().replace('-', " ").to_uppercase()];
        for typed in typed {
            assert_eq!(is_recovery_key(&typed).as_ref(), Some(&key), "{typed}");
        }
        for other in ["", "correct horse battery staple", &"a".repeat(64), &key.expose()[..70]] {
            assert_eq!(is_recovery_key(other), None, "{other}");
        }
    }
}
