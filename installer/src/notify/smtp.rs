//! Sends a mail. curl speaks SMTP: it is on the machine already, checks certificates against the
//! machine's own list (which `extra-ca` is part of), and is kept up by Debian. What it is told, the
//! password included, reaches it by standard input, and the mail by a piece of memory.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use nix::sys::memfd::{MFdFlags, memfd_create};
use zeroize::Zeroizing;

use super::message::Notice;
use super::outcome::Outcome;
use super::settings::{Mail, Security};
use super::transcript::Transcript;
use crate::exit::{Exit, Kind as _};
use crate::run::Cmd;

/// How much is granted to the server.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// How long a connection may take, in seconds.
    pub(super) connect: u32,
    /// How long all of it may take, in seconds.
    pub(super) whole: u32,
    /// Certificates to trust in place of the machine's.
    pub(super) trust: Option<std::path::PathBuf>,
}

/// Sends `notice`; what became of it is the outcome, and an error only that it could not be tried.
pub(super) fn send(mail: &Mail, notice: &Notice) -> Result<Outcome> {
    send_with(mail, notice, &Patience { connect: 15, whole: 60, trust: None })
}

/// The same, with another patience.
pub(super) fn send_with(mail: &Mail, notice: &Notice, patience: &Patience) -> Result<Outcome> {
    if let Some((name, _)) = mail.login.as_ref().filter(|(name, _)| name.contains(':')) {
        return Err(anyhow!("the user name {name} has a colon in it, and cannot be used")).kind(Exit::Input);
    }
    // Not closed when curl starts: that is how it gets there.
    let memory = memfd_create(c"mail", MFdFlags::empty()).context("making room for the mail")?;
    let mut memory = std::fs::File::from(memory);
    memory.write_all(notice.mail(mail)?.as_bytes()).context("making room for the mail")?;
    let path = format!("/dev/fd/{}", memory.as_raw_fd());
    // When its time is over curl says goodbye, and waits two minutes for an answer to that. Until it is
    // stopped nothing may lie in a buffer: so it speaks by standard error. Nobody's ~/.curlrc counts.
    let limit = (patience.whole + 2).to_string();
    let curl = Cmd::new("sending a mail", "timeout");
    let curl = curl.args([&limit, "sh", "-c", "exec curl --disable --config - 2>&1"]);
    let (code, said) = curl.input(config(mail, &path, patience).as_bytes()).answer()?;
    let said = Zeroizing::new(said);
    let password = mail.login.as_ref().map(|(_, password)| password);
    Ok(Outcome::new(mail, code, Transcript::read(&said, password)))
}

/// What curl is told.
fn config(mail: &Mail, message: &str, patience: &Patience) -> Zeroizing<String> {
    let scheme = match mail.security {
        Security::Starttls => "smtp",
        Security::Tls => "smtps",
    };
    let mut out = Zeroizing::new(format!(
        "silent\nshow-error\nverbose\nssl-reqd\ntlsv1.2\nconnect-timeout = {}\nmax-time = {}\n",
        patience.connect, patience.whole
    ));
    let mut set = |key: &str, value: &str| {
        out.push_str(key);
        out.push_str(" = \"");
        for c in value.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                // Nothing begins a line of its own.
                c if c.is_control() => out.push('?'),
                c => out.push(c),
            }
        }
        out.push_str("\"\n");
    };
    set("url", &format!("{scheme}://{}:{}", mail.server, mail.port));
    set("mail-from", &mail.from);
    for to in &mail.to {
        set("mail-rcpt", to);
    }
    if let Some((name, password)) = &mail.login {
        set("user", &Zeroizing::new(format!("{name}:{}", password.expose())));
    }
    if let Some(trust) = patience.trust.as_deref().and_then(Path::to_str) {
        set("cacert", trust);
    }
    set("upload-file", message);
    out
}
