//! Password hashes: what the console's login and the portal accept, and nothing weaker.

use argon2::password_hash::phc::PasswordHash;

use super::text;

text! {
    /// For the console: yescrypt or SHA-512, as crypt(5) writes them.
    ConsoleHash(String), "a password hash for the console", "^\\$(y|6)\\$.+$", console_hash,
        "`hearth answers hash --for console` makes one";
    /// For the portal: argon2id, as the PHC format writes it.
    PortalHash(String), "a password hash for the portal", "^\\$argon2id\\$v=19\\$.+$", portal_hash,
        "`hearth answers hash --for portal` makes one";
}

/// What the portal's hashes cost, and the first two of it at least: passes, KiB of memory, and lanes.
pub(in crate::answers) const PORTAL_PASSES: u32 = 3;
pub(in crate::answers) const PORTAL_MEMORY: u32 = 64 * 1024;
pub(in crate::answers) const PORTAL_LANES: u32 = 4;

/// The most memory, in KiB: a login must not take a small machine's.
const PORTAL_MEMORY_LIMIT: u32 = 1024 * 1024;

/// The characters of crypt(5).
fn is_crypt64(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

fn not_a_hash(text: &str) -> Option<String> {
    (!text.starts_with('$')).then(|| "it looks like the password itself, which no answer file may hold".to_owned())
}

fn console_hash(text: &str) -> Result<String, String> {
    if let Some(why) = not_a_hash(text) {
        return Err(why);
    }
    let damaged = || Err("it is damaged or cut off".to_owned());
    let parts: Vec<&str> = text.split('$').skip(1).collect();
    match parts.as_slice() {
        ["y", settings, salt, hash] => {
            let whole = !settings.is_empty() && is_crypt64(settings) && is_crypt64(salt) && is_crypt64(hash);
            if whole && hash.len() == 43 { Ok(text.to_owned()) } else { damaged() }
        }
        ["6", rest @ ..] => {
            let (rounds, rest) = match rest {
                [first, rest @ ..] if first.starts_with("rounds=") => (first.strip_prefix("rounds="), rest),
                rest => (None, rest),
            };
            if rounds.is_some_and(|rounds| rounds.parse::<u32>().is_ok_and(|rounds| rounds < 5000)) {
                return Err("it is made with fewer than 5000 rounds".to_owned());
            }
            let [salt, hash] = rest else { return damaged() };
            let whole = (1..=16).contains(&salt.len()) && is_crypt64(salt) && is_crypt64(hash) && hash.len() == 86;
            if whole && rounds.is_none_or(|rounds| rounds.parse::<u32>().is_ok()) {
                Ok(text.to_owned())
            } else {
                damaged()
            }
        }
        ["argon2id" | "argon2i" | "argon2d", ..] => Err("it is one for the portal".to_owned()),
        _ => Err("the console takes yescrypt ($y$) and SHA-512 ($6$)".to_owned()),
    }
}

fn portal_hash(text: &str) -> Result<String, String> {
    if let Some(why) = not_a_hash(text) {
        return Err(why);
    }
    if text.starts_with("$y$") || text.starts_with("$6$") {
        return Err("it is one for the console".to_owned());
    }
    if !text.starts_with("$argon2id$") {
        return Err("the portal takes argon2id".to_owned());
    }
    let damaged = || "it is damaged or cut off".to_owned();
    let parsed = PasswordHash::new(text).map_err(|_| damaged())?;
    let params = argon2::Params::try_from(&parsed).map_err(|_| damaged())?;
    if parsed.hash.is_none() || parsed.salt.is_none() || parsed.version != Some(19) {
        return Err(damaged());
    }
    if params.t_cost() < PORTAL_PASSES || params.m_cost() < PORTAL_MEMORY {
        return Err(format!("it is weaker than t={PORTAL_PASSES}, m={PORTAL_MEMORY}"));
    }
    if params.m_cost() > PORTAL_MEMORY_LIMIT {
        return Err("every login would take more than 1 GiB of memory".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YESCRYPT: &str = "$y$j9T$ZVvdycn1Mfb5rtmnJSjh./$0gx1/XyT5FFkWVDkTzWBqmIw5ctvFKiesPIKxhOThn1";
    const ARGON2: &str =
        "$argon2id$v=19$m=65536,t=3,p=4$qYZQ3bSSh8NWRfC0bQigIQ$WCWQ3sFGDLbWijsOsw9XYMUZqShpgF+GAE4jr3AOwks";

    #[test]
    fn the_console_takes_what_debian_takes() {
        assert!(console_hash(YESCRYPT).is_ok());
        let sha512 = format!("$6$saltsalt${}", "a".repeat(86));
        assert!(console_hash(&sha512).is_ok() && console_hash(&sha512.replace("$6$", "$6$rounds=5000$")).is_ok());
        let bad = ["", "hunter2hunter2", "$1$salt$x", "$y$j9T$x$short", "$6$$x", ARGON2, "$y$"];
        for bad in bad.into_iter().map(str::to_owned).chain([sha512.replace("$6$", "$6$rounds=1000$"), sha512 + "a"]) {
            assert!(console_hash(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_portal_takes_argon2id_that_costs_something() {
        assert!(portal_hash(ARGON2).is_ok());
        for bad in [
            "hunter2".to_owned(),
            YESCRYPT.to_owned(),
            ARGON2.replace("argon2id", "argon2i"),
            ARGON2.replace("m=65536", "m=1024"),
            ARGON2.replace("m=65536", "m=4194304"),
            ARGON2.replace("t=3", "t=1"),
            ARGON2.replace("v=19", "v=16"),
            ARGON2[..50].to_owned(),
        ] {
            assert!(portal_hash(&bad).is_err(), "{bad}");
        }
    }
}
