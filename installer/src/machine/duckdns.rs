//! Talks to DuckDNS: asks whether a name and a token belong together, and has the name lead to
//! an address. A wrong token shows weeks later otherwise, when a certificate is not renewed or
//! the name leads to an old address.
//!
//! DuckDNS has no call that only looks. The one that asks clears the name's TXT record, which is
//! empty but for the minute in which a certificate is ordered; no address is changed. The
//! token reaches curl by standard input, and nothing that is said of a failure holds it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

/// Where a name shall lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// To the IPv4 address that DuckDNS sees this machine come from.
    Caller,
    /// To this address.
    V4(Ipv4Addr),
    /// To this one as well, whatever its IPv4 address is.
    V6(Ipv6Addr),
}

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller => f.write_str("the address that DuckDNS sees"),
            Self::V4(v4) => v4.fmt(f),
            Self::V6(v6) => v6.fmt(f),
        }
    }
}

/// Has `name` lead there; the address is what DuckDNS says that it is now. Takes 45 seconds at most.
pub(super) fn tell(
    base: &str,
    name: &str,
    token: &Secret<String>,
    lead: Lead,
    pause: Duration,
) -> Result<(Verdict, Option<IpAddr>)> {
    // Nothing is said of IPv4 in a call that names an IPv6 address, and DuckDNS then leaves it alone.
    let what = match lead {
        Lead::Caller => String::new(),
        Lead::V4(v4) => format!("data-urlencode = \"ip={v4}\"\n"),
        Lead::V6(v6) => format!("data-urlencode = \"ipv6={v6}\"\n"),
    };
    let config = config(base, name, token, &format!("ipv4\n{what}data = \"verbose=true\"\n"));
    let (verdict, said) = twice(&config, pause)?;
    // The IPv4 address, the IPv6 address, and a word; each line may be empty.
    let number = if matches!(lead, Lead::V6(_)) { 2 } else { 1 };
    let address = said.lines().nth(number).and_then(|line| line.trim().parse().ok());
    Ok((verdict, address))
}

/// Asks the service at `base` about `name`, twice if need be. Takes 45 seconds at most.
pub(super) fn ask(base: &str, name: &str, token: &Secret<String>, pause: Duration) -> Result<Verdict> {
    let config = config(base, name, token, "data = \"txt=hearth&clear=true\"\n");
    Ok(twice(&config, pause)?.0)
}

/// One failure is not the last word.
fn twice(config: &str, pause: Duration) -> Result<(Verdict, String)> {
    match once(config)? {
        (Verdict::Unknown(_), _) => {
            sleep(pause);
            once(config)
        }
        known => Ok(known),
    }
}

/// What DuckDNS says, and that in its own words.
fn once(config: &str) -> Result<(Verdict, String)> {
    // Nobody's ~/.curlrc counts.
    let ask = Cmd::new("asking DuckDNS", "curl").args(["--disable", "--config", "-"]);
    let (code, said) = ask.input(config).answer()?;
    let why = match (code, said.lines().next().unwrap_or_default().trim()) {
        (Some(0), "OK") => return Ok((Verdict::Belong, said)),
        (Some(0), "KO") => return Ok((Verdict::Refused, said)),
        (Some(0), _) => "something else answered in its place, perhaps a login page of this network".to_owned(),
        (Some(6), _) => "its name could not be looked up".to_owned(),
        (Some(7), _) => "no connection came about".to_owned(),
        (Some(22), _) => "it answered with an error".to_owned(),
        (Some(28), _) => "it did not answer in time".to_owned(),
        (Some(60), _) => "its certificate was not accepted; is this machine's clock right?".to_owned(),
        (Some(code), _) => format!("curl ended with {code}"),
        (None, _) => "curl was stopped".to_owned(),
    };
    Ok((Verdict::Unknown(why), String::new()))
}

/// What curl is told, with what is asked of the name. It encodes the values itself.
fn config(base: &str, name: &str, token: &Secret<String>, what: &str) -> String {
    // DuckDNS knows a name by what stands before its own.
    let label = name.strip_suffix(".duckdns.org").unwrap_or(name);
    let token = token.expose().replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "silent\nfail\nget\nconnect-timeout = 10\nmax-time = 20\nurl = \"{base}/update\"\n\
         data-urlencode = \"domains={label}\"\ndata-urlencode = \"token={token}\"\n{what}"
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
    fn a_name_is_led_to_an_address_and_what_duckdns_says_counts() {
        let told = |answers, lead| {
            let (base, server) = server(answers);
            let token = Secret::new("beef".to_owned());
            let told = tell(&base, "attic.duckdns.org", &token, lead, Duration::ZERO).unwrap();
            (told, server.join().unwrap())
        };
        let lan = Lead::V4(Ipv4Addr::new(192, 168, 1, 10));
        let (told_of, requests) = told(&[("200 OK", "OK\n192.168.1.10\n\nUPDATED")], lan);
        assert_eq!(told_of, (Verdict::Belong, Some(IpAddr::from([192, 168, 1, 10]))));
        assert_eq!(requests, ["GET /update?domains=attic&token=beef&ip=192.168.1.10&verbose=true HTTP/1.1"]);
        let (told_of, requests) = told(&[("200 OK", "OK\r\n203.0.113.7\r\n\r\nNOCHANGE\r\n")], Lead::Caller);
        assert_eq!(told_of, (Verdict::Belong, Some(IpAddr::from([203, 0, 113, 7]))));
        assert_eq!(requests, ["GET /update?domains=attic&token=beef&verbose=true HTTP/1.1"]);
        let v6 = "2001:db8::7".parse().unwrap();
        let (told_of, requests) = told(&[("200 OK", "OK\n203.0.113.7\n2001:db8::7\nUPDATED")], Lead::V6(v6));
        assert_eq!(told_of, (Verdict::Belong, Some(v6.into())));
        assert_eq!(requests.len(), 1);
        assert!(requests[0].to_lowercase().contains("&ipv6=2001%3adb8%3a%3a7&verbose"), "{requests:?}");
        assert_eq!(told(&[("200 OK", "KO")], lan).0, (Verdict::Refused, None));
        let (told_of, _) = told(&[("200 OK", "<html>\n1.2.3.4"), ("200 OK", "<html>\n1.2.3.4")], lan);
        assert!(matches!(told_of, (Verdict::Unknown(_), None)), "{told_of:?}");
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
