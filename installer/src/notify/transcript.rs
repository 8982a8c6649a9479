//! What was said between curl and the server, read from what curl tells of it. What belongs to a
//! login is left out here and goes no further.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answers::{STARS, Secret};

/// What curl says, by its version, when a connection came about; the address follows in parentheses.
const CONNECTED: [&str; 2] = ["* Connected to ", "* Established connection to "];

/// What was asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing yet: it says who it is.
    Greeting,
    /// What it can do.
    Hello,
    /// To encrypt from here on.
    StartTls,
    /// To be let in.
    Login,
    /// To take a mail from the sender.
    Sender,
    /// To take it for this address.
    Recipient(String),
    /// To take the text.
    Data,
    /// To have taken it.
    Message,
    /// To end.
    End,
}

/// Something that was asked, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) asked: Asked,
    /// The lines of the answer; none if none came.
    pub(super) reply: Vec<String>,
}

impl Exchange {
    /// The number that an answer ends with.
    pub(super) fn code(&self) -> Option<u16> {
        self.reply.last()?.get(..3)?.parse().ok()
    }

    pub(super) fn is_good(&self) -> bool {
        self.code().is_some_and(|code| (200..400).contains(&code))
    }

    /// The answer in one line.
    pub(super) fn said(&self) -> String {
        self.reply.join(" ")
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript {
    pub(super) exchanges: Vec<Exchange>,
    /// The server's address, if a connection came about.
    pub(super) address: Option<String>,
    /// How the connection was encrypted, if curl says so.
    pub(super) tls: Option<String>,
    /// What curl itself says of a failure.
    pub(super) complaint: Option<String>,
}

impl Transcript {
    /// Reads what curl printed.
    pub(super) fn read(said: &str, password: Option<&Secret<String>>) -> Self {
        let mut out = Self::default();
        for line in said.lines() {
            let line = line.trim_end();
            if let Some(reply) = line.strip_prefix("< ") {
                out.answered(&covered(reply, password));
            } else if let Some(command) = line.strip_prefix("> ") {
                out.asked(command);
            } else if line.starts_with("} [") && out.last() == Some(&Asked::Data) {
                out.begin(Asked::Message);
            } else if let Some(tls) = line.strip_prefix("* SSL connection using ") {
                out.tls = Some(tls.to_owned());
            } else if let Some((_, complaint)) = line.strip_prefix("curl: (").and_then(|rest| rest.split_once(") ")) {
                out.complaint = Some(covered(complaint, password));
            } else if let Some(rest) = CONNECTED.iter().find_map(|words| line.strip_prefix(words)) {
                let address = rest.split_once('(').and_then(|(_, rest)| rest.split([')', ' ']).next());
                out.address = address.map(str::to_owned);
            }
        }
        out
    }

    fn last(&self) -> Option<&Asked> {
        self.exchanges.last().map(|exchange| &exchange.asked)
    }

    fn begin(&mut self, asked: Asked) {
        self.exchanges.push(Exchange { asked, reply: Vec::new() });
    }

    fn answered(&mut self, reply: &str) {
        if self.exchanges.is_empty() {
            self.begin(Asked::Greeting);
        }
        let Some(last) = self.exchanges.last_mut() else { return };
        // What the server asks for on the way to a login is no answer yet, and may hold anything.
        if last.asked == Asked::Login && reply.starts_with("334") {
            return;
        }
        last.reply.push(reply.to_owned());
    }

    fn asked(&mut self, command: &str) {
        let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let asked = match word.as_str() {
            "EHLO" | "HELO" => Asked::Hello,
            "STARTTLS" => Asked::StartTls,
            "AUTH" => Asked::Login,
            // What follows AUTH until its answer is the login itself.
            _ if self.exchanges.last().is_some_and(|last| last.asked == Asked::Login && last.reply.is_empty()) => {
                return;
            }
            "MAIL" => Asked::Sender,
            "RCPT" => {
                let to = command.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                Asked::Recipient(to.map_or_else(String::new, |(to, _)| to.to_owned()))
            }
            "DATA" => Asked::Data,
            _ => Asked::End,
        };
        self.begin(asked);
    }
}

/// `text` with stars where a server gives the password back.
fn covered(text: &str, password: Option<&Secret<String>>) -> String {
    let Some(password) = password.map(Secret::expose).filter(|password| !password.is_empty()) else {
        return text.to_owned();
    };
    text.replace(password, STARS).replace(&STANDARD.encode(password), STARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "*   Trying 192.0.2.1:587...
* Connected to smtp.example.org (192.0.2.1) port 587
< 220 smtp.example.org ESMTP
> EHLO attic
< 250-smtp.example.org
< 250 STARTTLS
> STARTTLS
< 220 go on
* SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384
> EHLO attic
< 250 AUTH PLAIN
> AUTH PLAIN
< 334 b3BlbiBzZXNhbWU=
> AGFkYQBvcGVuIHNlc2FtZQ==
< 235 welcome, open sesame
> MAIL FROM:<a@example.org> SIZE=99
< 250 ok
> RCPT TO:<b@example.org>
< 250-yes
< 250 ok
> DATA
< 354 go
} [99 bytes data]
* We are completely uploaded and fine
< 250 queued as ABC
> QUIT
< 221 bye
";

    #[test]
    fn every_answer_belongs_to_what_was_asked() {
        use Asked::{Data, End, Greeting, Hello, Login, Message, Sender, StartTls};
        let password = Secret::new("open sesame".to_owned());
        let read = Transcript::read(SAID, Some(&password));
        let asked: Vec<&Asked> = read.exchanges.iter().map(|exchange| &exchange.asked).collect();
        let to = Asked::Recipient("b@example.org".to_owned());
        assert_eq!(asked, [&Greeting, &Hello, &StartTls, &Hello, &Login, &Sender, &to, &Data, &Message, &End]);
        assert_eq!(read.exchanges[6].said(), "250-yes 250 ok");
        assert_eq!(read.exchanges[8].reply, ["250 queued as ABC"]);
        assert!(read.exchanges.iter().all(Exchange::is_good));
        assert_eq!((read.address.as_deref(), read.complaint.as_deref()), (Some("192.0.2.1"), None));
        assert_eq!(read.tls.as_deref(), Some("TLSv1.3 / TLS_AES_256_GCM_SHA384"));
    }

    #[test]
    fn s18_nothing_of_a_login_is_kept() {
        let password = Secret::new("open sesame".to_owned());
        let refused = SAID.replace("235 welcome, open sesame", "535 5.7.8 b3BlbiBzZXNhbWU= is not it, open sesame");
        let read = Transcript::read(&refused, Some(&password));
        let text = format!("{read:?}");
        for secret in ["open sesame", "b3BlbiBzZXNhbWU=", "AGFkYQBvcGVuIHNlc2FtZQ=="] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(read.exchanges[4].said(), "535 5.7.8 ******** is not it, ********");
    }

    #[test]
    fn what_curl_complains_about_is_kept() {
        let read = Transcript::read("* closing\ncurl: (60) SSL certificate problem: unable\n", None);
        assert_eq!(read.complaint.as_deref(), Some("SSL certificate problem: unable"));
        assert_eq!((read.address, read.exchanges.len()), (None, 0));
        let read = Transcript::read("* Established connection to x (2001:db8::1 port 25) from y (z port 1)", None);
        assert_eq!(read.address.as_deref(), Some("2001:db8::1"));
    }
}
