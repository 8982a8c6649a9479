//! Asks DuckDNS whether a name and a token belong together. A wrong token shows weeks later
//! otherwise, when a certificate is not renewed or the name leads to an old address.
//!
//! DuckDNS has no call that only looks. This one clears the name's TXT record, which is
//! empty but for the minute in which a certificate is ordered; no address is changed. The
//! token reaches curl by standard input, and nothing that is said of a failure holds it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::answers::Secret;
use crate::run::Cmd;

/// Where DuckDNS is asked.
pub(super) const BASE: &str = "https://www.duckdns.org";

/// How long after a first try that got no answer the second one is made: a network that has
/// just come up often lacks a way out for a moment.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They belong together.
    Belong,
    /// They do not.
    Refused,
    /// Nobody could be asked; the text says why.
    Unknown(String),
}

/// Asks the service at `base` about `name`, twice if need be. Takes 45 seconds at most.
pub(super) fn ask(base: &str, name: &str, token: &Secret<String>, pause: Duration) -> Result<Verdict> {
    match once(base, name, token)? {
        Verdict::Unknown(_) => {
            sleep(pause);
            once(base, name, token)
        }
        known => Ok(known),
    }
}

fn once(base: &str, name: &str, token: &Secret<String>) -> Result<Verdict> {
    // Nobody's ~/.curlrc counts.
    let ask = Cmd::new("asking DuckDNS", "curl").args(["--disable", "--config", "-"]);
    let (code, said) = ask.input(config(base, name, token)).answer()?;
    let why = match (code, said.trim()) {
        (Some(0), "OK") => return Ok(Verdict::Belong),
        (Some(0), "KO") => return Ok(Verdict::Refused),
        (Some(0), _) => "something else answered in its place, perhaps a login page of this network".to_owned(),
        (Some(6), _) => "its name could not be looked up".to_owned(),
        (Some(7), _) => "no connection came about".to_owned(),
        (Some(22), _) => "it answered with an error".to_owned(),
        (Some(28), _) => "it did not answer in time".to_owned(),
        (Some(60), _) => "its certificate was not accepted; is this machine's clock right?".to_owned(),
        (Some(code), _) => format!("curl ended with {code}"),
        (None, _) => "curl was stopped".to_owned(),
    };
    Ok(Verdict::Unknown(why))
}

/// What curl is told. It encodes the values itself.
fn config(base: &str, name: &str, token: &Secret<String>) -> String {
    // DuckDNS knows a name by what stands before its own.
    let label = name.strip_suffix(".duckdns.org").unwrap_or(name);
    let token = token.expose().replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "silent\nfail\nget\nconnect-timeout = 10\nmax-time = 20\nurl = \"{base}/update\"\n\
         data-urlencode = \"domains={label}\"\ndata-urlencode = \"token={token}\"\ndata = \"txt=hearth&clear=true\"\n"
    )
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};

    use super::*;

    /// Answers one request after the other, and gives back what was asked for.
    fn server(answers: &'static [(&str, &str)]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let serve = move |(status, body): &(&str, &str)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked = lines.next().unwrap().unwrap();
            assert!(lines.any(|line| line.unwrap().is_empty()), "the request does not end");
            let len = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").unwrap();
            asked
        };
        (base, spawn(move || answers.iter().map(serve).collect()))
    }

    fn asked(answers: &'static [(&str, &str)], token: &str) -> (Verdict, Vec<String>) {
        let (base, server) = server(answers);
        let token = Secret::new(token.to_owned());
        let verdict = ask(&base, "attic.duckdns.org", &token, Duration::ZERO).unwrap();
        (verdict, server.join().unwrap())
    }

    #[test]
    fn it_takes_name_and_token_or_not() {
        let (verdict, requests) = asked(&[("200 OK", "OK")], "0a1b-beef");
        assert_eq!(verdict, Verdict::Belong);
        assert_eq!(requests, ["GET /update?domains=attic&token=0a1b-beef&txt=hearth&clear=true HTTP/1.1"]);
        let (verdict, requests) = asked(&[("200 OK", "KO\n")], "a\"\\&b");
        assert_eq!(verdict, Verdict::Refused);
        assert!(requests[0].to_lowercase().contains("token=a%22%5c%26b&txt"), "{requests:?}");
    }

    #[test]
    fn one_failure_is_not_the_last_word() {
        let (verdict, requests) = asked(&[("502 Bad Gateway", "OK"), ("200 OK", "OK")], "beef");
        assert_eq!((verdict, requests.len()), (Verdict::Belong, 2));
    }

    #[test]
    fn s18_nobody_to_ask_is_no_refusal_and_tells_no_token() {
        let (verdict, _) = asked(&[("200 OK", "<html>Log in"), ("200 OK", "<html>Log in")], "beef");
        assert!(matches!(&verdict, Verdict::Unknown(why) if why.contains("login page")), "{verdict:?}");
        // Nobody listens where somebody just did.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let token = Secret::new("0a1b-beef".to_owned());
        let verdict = ask(&format!("http://{closed}"), "attic.duckdns.org", &token, Duration::ZERO).unwrap();
        assert_eq!(verdict, Verdict::Unknown("no connection came about".to_owned()));
        // A URL that curl refuses is not told either.
        let verdict = ask("nonsense://", "attic.duckdns.org", &token, Duration::ZERO).unwrap();
        assert!(!format!("{verdict:?}").contains("beef") && matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    }
}
