//! By which server mails go out: what setup kept of `[mail]`.

use anyhow::{Result, anyhow};
use serde::Deserialize;

use crate::answers::Secret;
use crate::exit::{Exit, Kind as _};
use crate::machine::Machine;
use crate::render::secrets::MAIL;
use crate::truth;

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// After a greeting.
    Starttls,
    /// From the first byte.
    Tls,
}

/// A mail server, and who sends to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) security: Security,
    /// The user name and the password, if it wants a login.
    pub(super) login: Option<(String, Secret<String>)>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// What is read of the present truth: the rest is nobody's business here.
#[derive(Deserialize)]
struct Truth {
    mail: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    server: String,
    security: Security,
    port: Option<u16>,
    username: Option<String>,
    from: String,
    to: Vec<String>,
}

impl Mail {
    /// What this machine was set up with.
    pub fn configured(machine: &impl Machine) -> Result<Self> {
        let truth: Truth = truth::read(machine)?;
        let none = || {
            anyhow!(
                "this machine knows no mail server: its answers have no [mail], so nobody is told anything by mail. \
                 docs/answers.md says what goes there"
            )
        };
        let table = truth.mail.ok_or_else(none).kind(Exit::Refused)?;
        let password = || truth::secret(machine, MAIL.0);
        let login = table.username.map(|name| Ok::<_, anyhow::Error>((name, password()?))).transpose()?;
        let port = table.port.unwrap_or(match table.security {
            Security::Starttls => 587,
            Security::Tls => 465,
        });
        let Table { server, security, from, to, .. } = table;
        Ok(Self { server, port, security, login, from, to })
    }

    /// Who sends to whom.
    pub(super) fn route(&self) -> String {
        format!("{} to {}", self.from, self.to.join(", "))
    }

    /// The server.
    pub(super) fn place(&self) -> String {
        let how = match self.security {
            Security::Starttls => "STARTTLS",
            Security::Tls => "TLS",
        };
        let login = self.login.as_ref().map_or_else(|| "without a login".to_owned(), |(name, _)| format!("as {name}"));
        format!("{}, port {}, {how}, {login}", self.server, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers;
    use crate::machine::fake::Fake;
    use crate::render::present;
    use crate::render::secrets::{Source, list};
    use crate::render::{File, Owner};

    fn set_up(answers: &str) -> Fake {
        let answers = answers::read(answers, "test").unwrap();
        let mut fake = Fake::new(64);
        let mut files = vec![present::truth(&answers).unwrap()];
        files.extend(list(&answers).iter().filter_map(|kept| match &kept.source {
            Source::Given(value) => Some(kept.file(value)),
            Source::Drawn(_) => None,
        }));
        fake.now.placed.extend(files.into_iter().map(|file| (file.path.clone(), file)));
        fake
    }

    const ANSWERS: &str = include_str!("../../fixtures/answers/good/07-mail.toml");

    #[test]
    fn what_setup_kept_is_what_mails_go_out_by() {
        let mail = Mail::configured(&set_up(ANSWERS)).unwrap();
        assert_eq!((mail.server.as_str(), mail.port, mail.security), ("smtp.example.org", 465, Security::Tls));
        let (name, password) = mail.login.as_ref().unwrap();
        assert_eq!((name.as_str(), password.expose().as_str()), ("ada@example.org", "open sesame please"));
        assert_eq!(mail.place(), "smtp.example.org, port 465, TLS, as ada@example.org");
        assert!(!format!("{mail:?}").contains("sesame"));
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let left_out = [
            "security = \"tls\"\n",
            "port = 465\n",
            "username = \"ada@example.org\"\n",
            "password = \"open sesame please\"\n",
        ];
        let text = left_out.iter().fold(ANSWERS.to_owned(), |text, line| text.replace(line, ""));
        let mail = Mail::configured(&set_up(&text)).unwrap();
        assert_eq!((mail.port, mail.security, mail.login), (587, Security::Starttls, None));
    }

    #[test]
    fn without_a_server_it_is_refused_and_says_why() {
        let code = |error: &anyhow::Error| crate::exit::code_of(error);
        let error = Mail::configured(&Fake::new(64)).unwrap_err();
        assert!(code(&error) == 3 && error.to_string().contains("not set up, or its data is locked"), "{error:#}");
        let (without, _) = ANSWERS.split_once("[mail]").unwrap();
        let error = Mail::configured(&set_up(without)).unwrap_err();
        assert!(code(&error) == 3 && error.to_string().contains("no [mail]"), "{error:#}");
        let mut fake = set_up(ANSWERS);
        let file = File::private(present::PATH, Owner::ROOT, "mail = 3");
        fake.now.placed.insert(file.path.clone(), file);
        assert_eq!(code(&Mail::configured(&fake).unwrap_err()), 2);
        let mut fake = set_up(ANSWERS);
        fake.now.placed.remove("/etc/hearth/secrets/mail.password");
        assert!(Mail::configured(&fake).unwrap_err().to_string().contains("mail.password"));
    }
}
