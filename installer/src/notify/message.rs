//! A notice as a mail: plain text in ASCII, so that no server on the way has to change it.

use std::time::SystemTime;

use anyhow::Result;

use super::settings::Mail;
use crate::layout::drawn_id;
use crate::page::text::plain;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// In a few words.
    pub subject: String,
    /// In lines.
    pub lines: Vec<String>,
}

impl Notice {
    /// What tells nothing but that notices arrive.
    pub(super) fn test(hostname: &str) -> Self {
        let lines = [
            format!("This is a test that somebody asked for on the machine {hostname}: sudo hearth notify test"),
            "Nothing has happened. What it has to tell arrives here.".to_owned(),
        ];
        Self { subject: format!("[Hearth] {hostname}: a test"), lines: lines.into() }
    }

    /// The mail, as it is sent.
    pub(super) fn mail(&self, mail: &Mail) -> Result<String> {
        let domain = mail.from.rsplit_once('@').map_or(mail.server.as_str(), |(_, domain)| domain);
        let headers = [
            ("Date", date(SystemTime::now())),
            ("From", mail.from.clone()),
            ("To", mail.to.join(", ")),
            ("Subject", self.subject.clone()),
            ("Message-ID", format!("<{}@{domain}>", drawn_id()?)),
            // No answering machine answers.
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("MIME-Version", "1.0".to_owned()),
            ("Content-Type", "text/plain; charset=us-ascii".to_owned()),
        ];
        let headers = headers.map(|(name, value)| format!("{name}: {}\r\n", plain(&value)));
        let body = self.lines.iter().map(|line| format!("{}\r\n", plain(line)));
        Ok(headers.into_iter().chain(["\r\n".to_owned()]).chain(body).collect())
    }
}

/// `time` as mails have it.
fn date(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 2026-11-25T18:33:31Z
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let month: usize = text[5..7].parse().unwrap_or(1);
    format!("{} {} {} {} +0000", &text[8..10], MONTHS[month - 1], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mail_has_what_servers_ask_for_and_no_line_that_came_with_a_value() {
        let notice = Notice { subject: "disk\r\nBcc: x@y.z".to_owned(), lines: vec!["caf\u{e9}".to_owned()] };
        let mail = notice.mail(&super::super::tests::mail(25)).unwrap();
        assert!(mail.contains("\r\nTo: ada@example.org, bob@example.org\r\nSubject: disk??Bcc: x@y.z\r\n"), "{mail}");
        assert!(mail.ends_with("\r\n\r\ncaf?\r\n") && mail.is_ascii(), "{mail}");
        assert!(mail.lines().any(|line| line.starts_with("Message-ID: <") && line.ends_with("@example.org>")));
        assert_eq!(mail.matches('\n').count(), mail.matches("\r\n").count());
    }

    #[test]
    fn a_date_is_that_of_mails() {
        assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_631_611)), "25 Nov 2026 18:33:31 +0000");
    }
}
