//! The secrets that the machine keeps, each in a file of its own below `/etc/hearth/secrets`
//! that only its reader may read. Those from the answers have the name of their key there
//! (`domain.token`); the others are drawn once, and never again while the file is there.
//!
//! What opens the disks is not among them, nor is a recovery kit: neither is needed again. The
//! hashes of people's passwords are in Authelia's own list, which it changes itself.

use std::fmt::Display;

use zeroize::{Zeroize, Zeroizing};

use super::{File, Owner};
use crate::answers::{Answers, Secret, StackName};

/// The folder.
pub const DIR: &str = "/etc/hearth/secrets";

/// What Authelia needs, and the variables of its environment that say in which file it is. Nothing for
/// `OpenID` Connect: Authelia refuses to start with its secrets but without clients.
pub const AUTHELIA: [(&str, &str); 3] = [
    ("authelia.session-secret", "AUTHELIA_SESSION_SECRET_FILE"),
    ("authelia.storage-encryption-key", "AUTHELIA_STORAGE_ENCRYPTION_KEY_FILE"),
    ("authelia.reset-password-jwt-secret", "AUTHELIA_IDENTITY_VALIDATION_RESET_PASSWORD_JWT_SECRET_FILE"),
];

/// The password of the mail account, and Authelia's variable for it.
pub const MAIL: (&str, &str) = ("mail.password", "AUTHELIA_NOTIFIER_SMTP_PASSWORD_FILE");

/// The token of the public name.
pub const DOMAIN: &str = "domain.token";

/// A secret that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of its file.
    pub name: String,
    /// Who reads it, besides root.
    pub owner: Owner,
    /// Where it comes from.
    pub source: Source,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The answers; the file is written whenever it differs.
    Given(Secret<String>),
    /// Chance; the file is written if there is none.
    Drawn(Draw),
}

/// A secret that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// For programs: 64 characters, 384 bits.
    Key,
    /// For a person to type: five groups of four characters, 100 bits.
    Typed,
}

impl Draw {
    const KEY: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    /// Without those that look like another.
    const TYPED: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";

    /// How many random bytes [`Self::make`] needs.
    pub fn bytes(self) -> usize {
        match self {
            Self::Key => 64,
            Self::Typed => 20,
        }
    }

    /// The secret that `random` makes, each byte a character.
    pub fn make(self, random: &[u8]) -> Secret<String> {
        let mut out = String::with_capacity(random.len() * 2);
        for (i, byte) in random.iter().enumerate() {
            let byte = usize::from(*byte);
            match self {
                Self::Key => out.push(char::from(Self::KEY[byte % Self::KEY.len()])),
                Self::Typed => {
                    if i > 0 && i % 4 == 0 {
                        out.push('-');
                    }
                    out.push(char::from(Self::TYPED[byte % Self::TYPED.len()]));
                }
            }
        }
        Secret::new(out)
    }
}

impl Kept {
    fn given<T: Display + Zeroize>(name: impl Into<String>, value: &Secret<T>) -> Self {
        let source = Source::Given(Secret::new(value.expose().to_string()));
        Self { name: name.into(), owner: Owner::ROOT, source }
    }

    /// A secret of root's that is drawn.
    pub fn drawn(name: impl Into<String>, draw: Draw) -> Self {
        Self { name: name.into(), owner: Owner::ROOT, source: Source::Drawn(draw) }
    }

    fn read_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Where it lies.
    pub fn path(&self) -> String {
        format!("{DIR}/{}", self.name)
    }

    /// The file that keeps it. No line end follows: not every reader takes one away.
    pub fn file(&self, value: &Secret<String>) -> File {
        File::private(self.path(), self.owner, value.expose().as_bytes())
    }
}

/// Every secret to keep for `answers`.
pub fn list(answers: &Answers) -> Vec<Kept> {
    let core = answers.stacks.contains(&StackName::Core);
    let mut kept = Vec::new();
    if core {
        kept.extend(AUTHELIA.map(|(name, _)| Kept::drawn(name, Draw::Key).read_by(Owner::AUTHELIA)));
    }
    if let Some(password) = answers.mail.as_ref().and_then(|mail| mail.password.as_ref()) {
        let reader = if core { Owner::AUTHELIA } else { Owner::ROOT };
        kept.push(Kept::given(MAIL.0, password).read_by(reader));
    }
    if let Some(wifi) = answers.network.as_ref().and_then(|network| network.wifi.as_ref()) {
        kept.push(Kept::given("network.wifi.passphrase", &wifi.passphrase));
    }
    if let Some(hash) = answers.admin.as_ref().and_then(|admin| admin.password_hash.as_ref()) {
        kept.push(Kept::given("admin.password-hash", hash));
    }
    kept.extend(answers.domain.as_ref().map(|domain| Kept::given(DOMAIN, &domain.token)));
    kept.extend(answers.vpn.as_ref().map(|vpn| Kept::given("vpn.private-key", &vpn.private_key)));
    for repository in answers.backup.iter().flat_map(|backup| &backup.repositories) {
        let name = |key| format!("backup.repositories.{}.{key}", repository.name);
        kept.push(match &repository.passphrase {
            Some(passphrase) => Kept::given(name("passphrase"), passphrase),
            None => Kept::drawn(name("passphrase"), Draw::Typed),
        });
        kept.extend(repository.password.as_ref().map(|password| Kept::given(name("password"), password)));
        kept.extend(repository.ssh_key.as_ref().map(|key| Kept::given(name("ssh-key"), key)));
    }
    kept
}

/// The line of the recovery kit that tells the password that was drawn for the console.
pub fn console_line(login: &str, password: &Secret<String>) -> Zeroizing<String> {
    Zeroizing::new(format!("Password of {login} at the console: {}\n", password.expose()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::answers;
    use crate::render::golden;

    fn shown(kept: &[Kept]) -> String {
        kept.iter().map(|one| format!("{} {}: {:?}\n", one.name, one.owner.uid, one.source)).collect()
    }

    #[test]
    fn each_has_its_reader_and_none_is_shown() {
        let all: String = ["03-core-and-media", "06-wifi", "07-mail", "08-repositories"]
            .map(|name| format!("=== {name}\n{}", shown(&list(&golden::answers(name)))))
            .concat();
        golden::check_text("secrets", &all);
    }

    /// The keys of the schema that hold secrets, without the items of lists.
    fn secret_keys(schema: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
        if schema["writeOnly"] == true {
            out.insert(path.to_owned());
        }
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            secret_keys(value, &path, out);
        }
        if let Some(items) = schema.get("items") {
            secret_keys(items, path, out);
        }
    }

    #[test]
    fn every_secret_of_the_answers_is_kept_or_not_needed_again() {
        let text = include_str!("../../fixtures/answers/good/08-repositories.toml").replace(
            "[backup]",
            "[mail]\nserver = \"smtp.example.org\"\nfrom = \"a@example.org\"\nto = [\"a@example.org\"]\n\
             username = \"a\"\npassword = \"b\"\n[network.wifi]\nssid = \"x\"\npassphrase = \"12345678\"\n\
             country = \"DE\"\n[backup]",
        );
        let hash = "password-hash = \"$y$j9T$ZVvdycn1Mfb5rtmnJSjh./$0gx1/XyT5FFkWVDkTzWBqmIw5ctvFKiesPIKxhOThn2\"";
        let text = text.replace("[admin]", &format!("[admin]\n{hash}"));
        let mut kept: Vec<Kept> = list(&answers::read(&text, "test").unwrap());
        kept.extend(list(&golden::answers("03-core-and-media")));
        let names: BTreeSet<String> = kept
            .iter()
            .filter(|one| !one.name.starts_with("authelia."))
            .map(|one| one.name.replace(".nas.", ".").replace(".disk.", ".").replace(".rest.", "."))
            .collect();
        let mut keys = BTreeSet::new();
        secret_keys(&answers::json_schema(), "", &mut keys);
        let left: Vec<&str> = keys.difference(&names).map(String::as_str).collect();
        assert_eq!(left, ["encryption.passphrase", "encryption.pin", "recover.kit", "users.password-hash"]);
        assert!(names.is_subset(&keys), "{names:?}");
    }

    #[test]
    fn what_is_drawn_is_all_that_chance_gives() {
        let random: Vec<u8> = (0..=255).collect();
        let key = Draw::Key.make(&random[..Draw::Key.bytes()]);
        assert_eq!(key.expose().as_bytes(), Draw::KEY);
        let typed = Draw::Typed.make(&random[..Draw::Typed.bytes()]);
        assert_eq!(typed.expose(), "abcd-efgh-jkmn-pqrs-tuvw");
        let different: BTreeSet<u8> = Draw::TYPED.iter().copied().collect();
        assert_eq!(different.len(), 32);
        assert_eq!(*console_line("ada", &typed), "Password of ada at the console: abcd-efgh-jkmn-pqrs-tuvw\n");
    }

    #[test]
    fn a_file_holds_the_secret_and_nothing_else() {
        let kept = &list(&golden::answers("07-mail"))[0];
        let Source::Given(value) = &kept.source else { panic!("{kept:?}") };
        let file = kept.file(value);
        assert_eq!((file.path.as_str(), file.mode), ("/etc/hearth/secrets/mail.password", 0o600));
        assert_eq!(*file.bytes, b"open sesame please");
    }
}
