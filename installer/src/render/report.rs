//! The report on HEARTH, the part of the stick that every computer shows: how it went, for somebody
//! who was not there. Plain text in lines that any editor shows, and nothing secret: whoever has the
//! stick may read it.

use std::net::IpAddr;

use crate::page::text::wrap;

/// What the report is called on HEARTH.
pub const FILE_NAME: &str = "hearth-report.txt";

/// How setting up went.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The version of Hearth.
    pub version: &'a str,
    /// When it ended, as people write it.
    pub when: &'a str,
    /// What came of it.
    pub outcome: Outcome<'a>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The machine is set up.
    Success(Success<'a>),
    /// Its system was written anew, and it is what it was.
    Repaired(Success<'a>),
    /// It goes on on another disk.
    Moved(Moved<'a>),
    /// It is not set up any more.
    Reset(Reset<'a>),
    /// The system of another disk was written anew, and goes on there.
    Renewed(Moved<'a>),
    /// It is not.
    Failure(Failure<'a>),
}

/// Hearth on another disk, where setting up goes on.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// The name that the machine gets.
    pub hostname: &'a str,
    /// The disk.
    pub disk: &'a str,
    /// What else must be known, a sentence each.
    pub notes: &'a [String],
}

/// A machine that started over.
#[derive(Clone, Copy, Debug)]
pub struct Reset<'a> {
    /// The name that it had.
    pub hostname: &'a str,
    /// What was done, a sentence each.
    pub done: &'a [String],
}

/// A machine that is set up.
#[derive(Clone, Copy, Debug)]
pub struct Success<'a> {
    /// Its name.
    pub hostname: &'a str,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// The admin's login name.
    pub login: &'a str,
    /// Whether a key may log in by SSH.
    pub ssh: bool,
    /// The fingerprint of its SSH key.
    pub fingerprint: &'a str,
    /// Where to go on in the browser, if a service runs.
    pub url: Option<&'a str>,
    /// What was done, a sentence each.
    pub done: &'a [String],
}

/// A machine that is not set up.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What could not be done.
    pub what: &'a str,
    /// Every reason.
    pub why: &'a [String],
    /// What to do.
    pub advice: &'a str,
}

impl Report<'_> {
    /// The text of the file.
    pub fn text(&self) -> String {
        let lines = match &self.outcome {
            Outcome::Success(success) => success.lines(self, "this machine is set up"),
            Outcome::Repaired(success) => success.lines(self, "this machine is repaired"),
            Outcome::Moved(moved) => moved.lines(self),
            Outcome::Reset(reset) => reset.lines(self),
            Outcome::Renewed(moved) => moved.renewed(self),
            Outcome::Failure(failure) => failure.lines(self),
        };
        lines.iter().map(|line| format!("{line}\r\n")).collect()
    }

    fn head(&self, what: &str) -> Vec<String> {
        let mut lines = wrap("", &format!("Hearth {}: {what}", self.version));
        lines.extend(wrap("", self.when));
        lines.push(String::new());
        lines
    }
}

impl Success<'_> {
    fn lines(&self, report: &Report<'_>, what: &str) -> Vec<String> {
        let Self { hostname, login, .. } = self;
        let mut lines = report.head(what);
        lines.extend(wrap("Name:       ", &format!("{hostname}, {hostname}.local on its network")));
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let addresses =
            if addresses.is_empty() { "none yet; is a cable plugged in?".to_owned() } else { addresses.join(", ") };
        lines.extend(wrap("Addresses:  ", &addresses));
        let login = if self.ssh {
            format!("ssh {login}@{hostname}.local, with your key, or as {login} at the console")
        } else {
            format!("as {login} at the console; nobody may log in by SSH, as no key was given")
        };
        lines.extend(wrap("Log in:     ", &login));
        if self.ssh {
            lines.extend(wrap("SSH key:    ", &format!("{} (SSH shows it at the first login)", self.fingerprint)));
        }
        let next = self.url.map_or_else(|| "no service runs yet: log in to start one".to_owned(), ToOwned::to_owned);
        lines.extend(wrap("Go on at:   ", &next));
        lines.extend([String::new(), "What was done:".to_owned()]);
        lines.extend(self.done.iter().flat_map(|done| wrap("- ", done)));
        lines
    }
}

impl Moved<'_> {
    fn lines(&self, report: &Report<'_>) -> Vec<String> {
        let Self { hostname, disk, .. } = self;
        let mut lines = report.head(&format!("this machine goes on from {disk}"));
        let what = format!(
            "Hearth was written to {disk}, and read back. The machine restarts from that disk and sets itself up there \
             as {hostname}. In the end this report is replaced by that of the machine, if this stick is still plugged \
             in; else that is on the HEARTH partition of the disk."
        );
        lines.extend(wrap("", &what));
        lines.extend(self.notes.iter().flat_map(|note| wrap("- ", note)));
        lines
    }

    fn renewed(&self, report: &Report<'_>) -> Vec<String> {
        let Self { hostname, disk, .. } = self;
        let mut lines = report.head(&format!("the system on {disk} was written anew"));
        let what = format!(
            "What was on its data stayed. The machine restarts from that disk and makes itself {hostname} again: the \
             report on that is on the HEARTH partition of the disk. Remove this stick."
        );
        lines.extend(wrap("", &what));
        lines.extend(self.notes.iter().flat_map(|note| wrap("- ", note)));
        lines
    }
}

impl Reset<'_> {
    fn lines(&self, report: &Report<'_>) -> Vec<String> {
        let mut lines = report.head(&format!("this machine was reset; it was {}", self.hostname));
        let now = "Nobody can log in. It starts in setup mode and waits to be set up, like one that Hearth was just written to.";
        lines.extend(wrap("", now));
        lines.extend([String::new(), "What was done:".to_owned()]);
        lines.extend(self.done.iter().flat_map(|done| wrap("- ", done)));
        lines
    }
}

impl Failure<'_> {
    fn lines(&self, report: &Report<'_>) -> Vec<String> {
        let mut lines = report.head("this machine is NOT set up");
        lines.extend(wrap("What:  ", self.what));
        lines.extend([String::new(), "Why:".to_owned()]);
        lines.extend(self.why.iter().flat_map(|why| wrap("- ", why)));
        lines.push(String::new());
        lines.extend(wrap("What to do:  ", self.advice));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden;

    fn report(outcome: Outcome<'_>) -> String {
        let text = Report { version: "0.1.0", when: "2026-11-24 20:30 UTC", outcome }.text();
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "Notepad needs both");
        assert!(text.is_ascii() && text.lines().all(|line| line.len() < 80), "{text}");
        text.replace("\r\n", "\n")
    }

    const SUCCESS: Success<'_> = Success {
        hostname: "hearth",
        addresses: &[],
        login: "ada",
        ssh: false,
        fingerprint: "SHA256:cqPTZBAZAzVvTtVeGXM1wMwCjGrRIpX0E1c3YGIu2bA",
        url: None,
        done: &[],
    };

    #[test]
    fn success() {
        let done = ["The disk has a partition for data, 930 GiB large.", "Docker runs.", "Caf\u{e9} was joined."];
        let text = report(Outcome::Success(Success {
            addresses: &["192.168.1.10".parse().unwrap(), "fd00:1::10".parse().unwrap()],
            ssh: true,
            url: Some("https://home.hearth.home.arpa"),
            done: &done.map(ToOwned::to_owned),
            ..SUCCESS
        }));
        golden::check_text("report-success", &text);
    }

    #[test]
    fn a_machine_that_nobody_reaches_by_ssh() {
        let text = report(Outcome::Success(SUCCESS));
        assert!(text.contains("as ada at the console; nobody may log in by SSH") && !text.contains("SHA256"), "{text}");
        assert!(text.contains("no service runs yet"), "{text}");
    }

    #[test]
    fn a_machine_that_goes_on_from_another_disk() {
        let notes = ["This machine was started by BIOS."];
        let text = report(Outcome::Moved(Moved {
            hostname: "hearth",
            disk: "Samsung SSD 970 EVO Plus 1TB, serial S4EWNX0N123456",
            notes: &notes.map(ToOwned::to_owned),
        }));
        golden::check_text("report-moved", &text);
    }

    #[test]
    fn a_machine_that_started_over() {
        let done = ["/mnt/media: WDC WD40EFRX, serial WD-WCC7K0123456, kept as it was."];
        let text = report(Outcome::Reset(Reset { hostname: "attic", done: &done.map(ToOwned::to_owned) }));
        golden::check_text("report-reset", &text);
    }

    #[test]
    fn failure() {
        let why = [
            "no wired card has the address 18:c0:4d:11:22:33 that [[network.wired]] names; there are none. Correct `mac`.",
            "nvme0n1 is read-only.",
        ];
        let text = report(Outcome::Failure(Failure {
            what: "The answers in hearth.toml do not fit this machine.",
            why: &why.map(ToOwned::to_owned),
            advice: "Correct hearth.toml on this stick and start the machine again. No disk was changed.",
        }));
        golden::check_text("report-failure", &text);
    }
}
