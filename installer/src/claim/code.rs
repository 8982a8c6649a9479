//! The code that opens SSH before there is any account: 50 random bits in ten characters,
//! drawn anew at each start, or once for a disk that is written for a machine without a
//! screen. What looks alike on a bad screen is read alike.

use std::fmt;

use anyhow::{Context as _, Result, anyhow, ensure};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::answers::STARS;

/// Douglas Crockford's 32 characters: five bits each, without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many characters a code has.
const LENGTH: usize = 10;

/// How many characters stand together where it is shown.
const GROUP: usize = 5;

/// The most memory, in KiB, that checking a hash may take: its file lies on a FAT that anybody may have edited.
const MEMORY_LIMIT: u32 = 128 * 1024;

/// The most passes that checking a hash may take.
const PASSES_LIMIT: u32 = 8;

/// A code; shown by [`Code::shown`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<[u8; LENGTH]>);

impl Code {
    /// Draws one; waits until the kernel has enough randomness, early in a machine's first start.
    pub fn draw() -> Result<Self> {
        let mut random = Zeroizing::new([0; 8]);
        getrandom::fill(&mut random[..]).map_err(|error| anyhow!("drawing a code: {error}"))?;
        Ok(Self::from_bits(u64::from_le_bytes(*random)))
    }

    /// The code of the lowest 50 of `bits`.
    fn from_bits(bits: u64) -> Self {
        let mut characters = Zeroizing::new([0; LENGTH]);
        for (place, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[usize::from((bits >> (5 * place)).to_le_bytes()[0] & 31)];
        }
        Self(characters)
    }

    /// What somebody typed, however they grouped it; `None` if no code looks like that.
    pub fn read(typed: &str) -> Option<Self> {
        let mut characters = Zeroizing::new([0; LENGTH]);
        let mut places = characters.iter_mut();
        for character in typed.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
            let character = match character.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            *places.next()? = ALPHABET.contains(&character).then_some(character)?;
        }
        places.next().is_none().then_some(Self(characters))
    }

    /// The code in its groups, for the one who is to type it.
    pub fn shown(&self) -> Zeroizing<String> {
        let groups: Vec<&[u8]> = self.0.chunks(GROUP).collect();
        Zeroizing::new(String::from_utf8_lossy(&groups.join(&b' ')).into_owned())
    }

    /// Whether `other` is the same; takes as long wherever they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).fold(0, |different, (one, two)| different | (one ^ two)) == 0
    }

    /// Its hash, which may lie where others can read it.
    ///
    /// Argon2id as OWASP recommends it, 19 MiB and two passes: at ten milliseconds a try, half of
    /// 50 bits take 180 000 years of a processor, and the smallest machine checks it in an instant.
    pub fn hash(&self) -> Result<CodeHash> {
        let hash = Argon2::default().hash_password(&self.0[..]);
        Ok(CodeHash(hash.map_err(|error| anyhow!("hashing a code: {error}"))?.to_string()))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::read(&text).ok_or_else(|| serde::de::Error::custom("a code that is none"))
    }
}

/// The hash of a code, as the PHC format writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeHash(String);

impl CodeHash {
    /// Reads the file that holds one; fails unless checking it is possible and takes little.
    pub fn from_file(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("it is no text")?.trim();
        let damaged = || anyhow!("it is damaged or cut off");
        let hash = PasswordHash::new(text).map_err(|_| damaged())?;
        let params = Params::try_from(&hash).map_err(|_| damaged())?;
        ensure!(text.starts_with("$argon2id$") && hash.hash.is_some() && hash.salt.is_some(), damaged());
        ensure!(params.m_cost() <= MEMORY_LIMIT && params.t_cost() <= PASSES_LIMIT, "checking it would take too long");
        Ok(Self(text.to_owned()))
    }

    /// The file that holds it.
    pub fn to_file(&self) -> Vec<u8> {
        format!("{}\n", self.0).into_bytes()
    }

    /// Whether it is the hash of `code`.
    pub fn is_of(&self, code: &Code) -> bool {
        PasswordHash::new(&self.0).is_ok_and(|hash| Argon2::default().verify_password(&code.0[..], &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_a_code_has_fifty_random_bits() {
        assert_eq!(ALPHABET.len().pow(2).pow(5), 1 << 50);
        assert_eq!(*Code::from_bits(u64::MAX).shown(), "ZZZZZ ZZZZZ");
        assert_eq!(*Code::from_bits(1 << 50).shown(), "00000 00000");
        assert_eq!(*Code::from_bits(1 << 49).shown(), "00000 0000G");
        // Every place takes every character.
        let drawn: Vec<Code> = (0..2000).map(|_| Code::draw().unwrap()).collect();
        for place in 0..LENGTH {
            for character in ALPHABET {
                assert!(drawn.iter().any(|code| code.0[place] == *character), "{place}: {character}");
            }
        }
    }

    #[test]
    fn what_looks_alike_is_read_alike() {
        let code = Code::read("10ABC DEFGH").unwrap();
        for typed in ["10abcdefgh", "io-abc-de-fgh", " LOABC\tDEFGH\n"] {
            assert!(Code::read(typed).unwrap().is(&code), "{typed}");
        }
        for wrong in ["", "10ABC DEFG", "10ABC DEFGHJ", "10ABC DEFGU", "10ABC DEFG\u{e9}"] {
            assert_eq!(Code::read(wrong), None, "{wrong}");
        }
        assert!(!Code::read("10ABC DEFGJ").unwrap().is(&code) && !Code::read("00ABC DEFGH").unwrap().is(&code));
    }

    #[test]
    fn a_hash_knows_its_code_and_survives_its_file() {
        let code = Code::draw().unwrap();
        let hash = CodeHash::from_file(&code.hash().unwrap().to_file()).unwrap();
        assert!(hash.is_of(&code) && !hash.is_of(&Code::draw().unwrap()));
        assert_ne!(hash, code.hash().unwrap(), "two hashes share a salt");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
    }

    #[test]
    fn a_file_that_holds_no_hash_or_a_slow_one_is_refused() {
        let good = Code::draw().unwrap().hash().unwrap().0;
        for bad in [
            String::new(),
            "10ABC DEFGH".to_owned(),
            good[..40].to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("m=19456", "m=4194304"),
            good.replace("t=2", "t=1000"),
        ] {
            assert!(CodeHash::from_file(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(CodeHash::from_file(b"\xff\xfe$").is_err());
    }

    #[test]
    fn a_code_shows_only_where_it_is_meant_to() {
        assert_eq!(format!("{:?}", Code::from_bits(7)), STARS);
    }
}
