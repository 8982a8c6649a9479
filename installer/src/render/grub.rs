//! The password of the boot menu. Without it whoever holds the keyboard could have the kernel
//! start a shell; with it only the entries that everybody may start are left to them.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;

use super::File;
use crate::answers::Secret;

/// What the menu reads before it draws itself.
pub const PATH: &str = "/boot/hearth/password.cfg";

/// The name that the menu asks for beside the password.
pub const USER: &str = "hearth";

/// As many rounds as `grub-mkpasswd-pbkdf2` makes: GRUB itself has to do them, on any processor.
const ROUNDS: u32 = 10_000;

/// How many random bytes a salt has, as `grub-mkpasswd-pbkdf2` makes them.
pub const SALT: usize = 64;

/// The file for `password`, hashed with `salt`.
pub fn password(password: &Secret<String>, salt: &[u8]) -> Result<File> {
    if salt.len() != SALT {
        return Err(anyhow!("the salt of the boot menu's password has {} bytes instead of {SALT}", salt.len()));
    }
    let mut hash = [0; SALT];
    pbkdf2_hmac::<Sha512>(password.expose().as_bytes(), salt, ROUNDS, &mut hash);
    let (salt, hash) = (hex(salt)?, hex(&hash)?);
    let text = format!("set superusers=\"{USER}\"\npassword_pbkdf2 {USER} grub.pbkdf2.sha512.{ROUNDS}.{salt}.{hash}\n");
    Ok(File { mode: 0o600, ..File::public(PATH, text) })
}

fn hex(bytes: &[u8]) -> Result<String> {
    let mut out = String::new();
    for byte in bytes {
        write!(out, "{byte:02X}")?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_would_make_the_same() {
        // RFC 6070's way of testing, with SHA-512: what Python's hashlib.pbkdf2_hmac says.
        let salt: Vec<u8> = (0..64).collect();
        let file = password(&Secret::new("open sesame".to_owned()), &salt).unwrap();
        let text = String::from_utf8(file.bytes.to_vec()).unwrap();
        assert!(
            text.starts_with("set superusers=\"hearth\"\npassword_pbkdf2 hearth grub.pbkdf2.sha512.10000.00010203")
        );
        assert!(text.trim_end().ends_with("E45BF36C5013B3A28ED4B442D9F71371"), "{text}");
        assert!(password(&Secret::new(String::new()), b"short").is_err());
    }
}
