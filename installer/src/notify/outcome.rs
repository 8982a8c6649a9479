//! What became of a mail, for the person who set the server up: how far it came, in the server's own
//! words, and where it ended, why, and what to do.

use anyhow::{Result, anyhow};

use super::settings::{Mail, Security};
use super::transcript::{Asked, Exchange, Transcript};
use crate::exit::{Exit, mark};
use crate::page::text::{cut, wrap};

/// What `timeout` ends with when it had to stop curl.
const STOPPED: i32 = 124;

/// How much of what a server says is told: it may say anything, at any length.
const LENGTH: usize = 300;

/// What became of a mail.
#[derive(Clone, Debug)]
pub struct Outcome {
    mail: Mail,
    /// What curl ended with.
    code: Option<i32>,
    talk: Transcript,
}

/// Why it was not taken.
struct Failure {
    what: String,
    remedy: String,
    exit: Exit,
}

impl Outcome {
    pub(super) fn new(mail: &Mail, code: Option<i32>, talk: Transcript) -> Self {
        Self { mail: mail.clone(), code, talk }
    }

    /// How far it came, a line each.
    pub fn steps(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut step = |word: &str, told: String| out.extend(wrap(&format!("  {word:<10} "), &told));
        if let Some(address) = &self.talk.address {
            let greeting = self.first(&Asked::Greeting).map(said).unwrap_or_default();
            step("connected", format!("{address}, port {}{greeting}", self.mail.port));
        }
        if self.is_encrypted() {
            let how = match self.mail.security {
                Security::Starttls => "STARTTLS",
                Security::Tls => "TLS from the first byte",
            };
            let tls = self.talk.tls.as_ref().map(|tls| format!(", {}", cut(tls, LENGTH))).unwrap_or_default();
            step("encrypted", format!("{how}{tls}; the certificate is good for {}", self.mail.server));
        }
        if let Some((name, _)) = &self.mail.login {
            match self.last(&Asked::Login) {
                Some(login) if login.is_good() => step("logged in", format!("as {name}{}", said(login))),
                None if self.first(&Asked::Sender).is_some() => {
                    step("no login", "the server offers none that can be used, and went on without".to_owned());
                }
                _ => {}
            }
        }
        for exchange in self.talk.exchanges.iter().filter(|exchange| exchange.is_good()) {
            match &exchange.asked {
                Asked::Sender => step("sender", format!("{}{}", self.mail.from, said(exchange))),
                Asked::Recipient(to) => step("recipient", format!("{to}{}", said(exchange))),
                Asked::Message => step("accepted", exchange.said_at_most(LENGTH)),
                _ => {}
            }
        }
        out
    }

    /// An error that says where it ended, why and what to do, unless the server took the mail.
    pub fn judge(&self) -> Result<()> {
        let taken = self.code == Some(0) && self.first(&Asked::Message).is_some_and(Exchange::is_good);
        if taken {
            return Ok(());
        }
        let Failure { what, remedy, exit } = self.failure();
        Err(mark(anyhow!("the message was not sent: {what}.\n{remedy}."), exit))
    }

    fn failure(&self) -> Failure {
        let Mail { server, port, .. } = &self.mail;
        let network = |what: String, remedy: &str| Failure { what, remedy: remedy.to_owned(), exit: Exit::Dependency };
        let complaint =
            self.talk.complaint.as_ref().map(|text| format!(" ({})", cut(text, LENGTH))).unwrap_or_default();
        match self.code {
            Some(6) => network(
                format!("the name {server} could not be looked up"),
                "Compare `mail.server` with what the provider says; `resolvectl query NAME` shows who is asked",
            ),
            Some(7) => network(
                format!("no connection to {server}, port {port}, came about"),
                "Compare `mail.server` and `mail.port` with what the provider says. Some networks let no mail out",
            ),
            Some(28 | STOPPED) => network(format!("{server} did not answer in time, {}", self.stage()), PORTS),
            Some(35) => network(format!("{server}, port {port}, does not speak TLS{complaint}"), PORTS),
            Some(60) => network(
                format!("the certificate of {server} was not accepted{complaint}"),
                "Compare `mail.server` with what the provider says, and look at the clock: `timedatectl`. For a server of \
                 your own, its authority belongs into `extra-ca` in [system]",
            ),
            Some(64) => network(format!("{server}, port {port}, offers no STARTTLS"), PORTS),
            code => self.refusal().unwrap_or_else(|| {
                let code = code.map_or_else(|| "curl was stopped".to_owned(), |code| format!("curl ended with {code}"));
                network(format!("the talk with {server} ended {}: {code}{complaint}", self.stage()), "Try again later")
            }),
        }
    }

    /// What the server refused.
    fn refusal(&self) -> Option<Failure> {
        let refused = self.asked().rfind(|one| !one.reply.is_empty() && !one.is_good())?;
        let server = &self.mail.server;
        let (what, remedy) = match &refused.asked {
            Asked::Greeting | Asked::Hello => (
                format!("{server} wants to have nothing to do with this machine"),
                "Many servers take nothing from private lines: use that of your mail provider, with a login",
            ),
            Asked::Login => (
                format!("{server} refuses the login as {}", self.mail.login.as_ref().map_or("", |(name, _)| name)),
                "Compare `mail.username` and `mail.password` with what the provider says. Many want a password that is \
                 made for one program, or that SMTP is switched on first",
            ),
            Asked::Sender => (
                format!("{server} takes nothing from {}", self.mail.from),
                "Most servers want `mail.from` to be the address of the account, and a login",
            ),
            Asked::Recipient(to) => (
                format!("{server} takes nothing for {to}"),
                "Compare `mail.to` with the address. A server that takes mail for its own people alone wants a login",
            ),
            Asked::StartTls => (format!("{server} does not encrypt now"), "Try again later"),
            Asked::Data | Asked::Message | Asked::End => (
                format!("{server} does not take the message"),
                "What it says is all that is known: full mailboxes and spam filters are frequent",
            ),
        };
        let what = format!("{what}{}", said(refused));
        Some(Failure { what, remedy: remedy.to_owned(), exit: Exit::Mismatch })
    }

    /// How far it was when it ended.
    fn stage(&self) -> &'static str {
        match self.asked().next_back().map(|exchange| &exchange.asked) {
            None if self.talk.address.is_none() => "before there was a connection",
            None | Some(Asked::Greeting) => "before its greeting was through",
            Some(Asked::Hello | Asked::StartTls) if !self.is_encrypted() => "before the connection was encrypted",
            Some(Asked::Hello | Asked::StartTls | Asked::Login) => "before the login was through",
            Some(Asked::Sender | Asked::Recipient(_) | Asked::End) => "when it was told who sends to whom",
            Some(Asked::Data | Asked::Message) => "when it was sent the message",
        }
    }

    fn is_encrypted(&self) -> bool {
        let heard = |asked: &Asked| self.talk.exchanges.iter().position(|one| one.asked == *asked && one.is_good());
        match self.mail.security {
            Security::Tls => heard(&Asked::Greeting).is_some(),
            Security::Starttls => {
                heard(&Asked::StartTls).is_some_and(|at| self.talk.exchanges.get(at + 1).is_some_and(Exchange::is_good))
            }
        }
    }

    /// All but the goodbye.
    fn asked(&self) -> impl DoubleEndedIterator<Item = &Exchange> {
        self.talk.exchanges.iter().filter(|exchange| exchange.asked != Asked::End)
    }

    fn first(&self, asked: &Asked) -> Option<&Exchange> {
        self.talk.exchanges.iter().find(|exchange| exchange.asked == *asked)
    }

    fn last(&self, asked: &Asked) -> Option<&Exchange> {
        self.talk.exchanges.iter().rfind(|exchange| exchange.asked == *asked)
    }
}

/// What to do where the port and the way of encrypting do not fit.
const PORTS: &str = "Compare `mail.port` and `mail.security` with what the provider says: port 587 goes with \"starttls\", 465 \
with \"tls\". Some networks let no mail out";

/// What the server answered, behind something else.
fn said(exchange: &Exchange) -> String {
    format!(" (\"{}\")", exchange.said_at_most(LENGTH))
}

impl Exchange {
    fn said_at_most(&self, limit: usize) -> String {
        cut(&self.said(), limit)
    }
}
