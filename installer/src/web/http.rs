//! As much of HTTP as one page needs. Of what is sent only the first line is read; whatever else
//! stands there changes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The methods that are answered.
const METHODS: &str = "GET, HEAD";

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: &'static str,
    kind: &'static str,
    more: String,
    body: String,
    /// HEAD asks for all but the body.
    bodiless: bool,
}

impl Answer {
    /// What is answered to what was sent up to the empty line; `page` makes the one page there is.
    pub(super) fn to(head: &[u8], page: &dyn Fn() -> String) -> Self {
        let Some((method, target)) = request(head) else {
            return Self::plain("400 Bad Request", "This is not HTTP.");
        };
        let bodiless = method == "HEAD";
        if !matches!(method, "GET" | "HEAD") {
            let refused = Self::plain("405 Method Not Allowed", "This page can only be read.");
            return Self { more: format!("Allow: {METHODS}\r\n"), ..refused };
        }
        if target != "/" {
            return Self { bodiless, ..Self::plain("404 Not Found", "There is one page, at /.") };
        }
        let more = format!("Content-Security-Policy: {}\r\n", policy(super::html::STYLE));
        Self { status: "200 OK", kind: "text/html", more, body: page(), bodiless }
    }

    /// What is answered to somebody who sends more than any browser does.
    pub(super) fn too_long() -> Self {
        Self::plain("431 Request Header Fields Too Large", "This is too long.")
    }

    fn plain(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain", more: String::new(), body: format!("{body}\n"), bodiless: false }
    }

    /// As it is sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, more, body, bodiless } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             {more}Connection: close\r\n\r\n",
            body.len()
        );
        if *bodiless { head.into_bytes() } else { (head + body).into_bytes() }
    }
}

/// The method and the target of a request.
fn request(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let whole = words.next().is_none() && !method.is_empty() && !target.is_empty();
    (whole && matches!(version, "HTTP/1.1" | "HTTP/1.0")).then_some((method, target))
}

/// Nothing is fetched, framed, sent or run; the page's own style alone counts.
fn policy(style: &str) -> String {
    let hash = STANDARD.encode(Sha256::digest(style));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str) -> String {
        let page = || "<p>the page".to_owned();
        String::from_utf8(Answer::to(head.as_bytes(), &page).bytes()).unwrap()
    }

    #[test]
    fn the_page_is_read_at_its_one_place() {
        let got = answer("GET / HTTP/1.1\r\nHost: hearth.local\r\nCookie: a=b\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 11\r\n"));
        for header in ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "default-src 'none'"] {
            assert!(got.contains(header), "{got}");
        }
        assert!(got.ends_with("Connection: close\r\n\r\n<p>the page"), "{got}");
        let head = answer("HEAD / HTTP/1.0\r\n\r\n");
        assert_eq!(head, got.strip_suffix("<p>the page").unwrap());
    }

    #[test]
    fn nothing_else_is() {
        for (head, status) in [
            ("GET /etc/shadow HTTP/1.1\r\n\r\n", "404"),
            ("GET /?code=1 HTTP/1.1\r\n\r\n", "404"),
            ("GET /../ HTTP/1.1\r\n\r\n", "404"),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
            ("get / HTTP/1.1\r\n\r\n", "405"),
            ("GET  / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1 x\r\n\r\n", "400"),
            ("GET /\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}", "400"),
            ("", "400"),
        ] {
            let got = answer(head);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {got}");
            assert!(!got.contains("the page") && got.contains("no-store"), "{got}");
            assert_eq!(got.contains("\r\nAllow: GET, HEAD\r\n"), status == "405", "{got}");
        }
        assert!(answer("HEAD /x HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        assert!(Answer::to(&[0xff, 0xfe, b'\n'], &|| unreachable!()).status.starts_with("400"));
    }

    #[test]
    fn the_style_is_allowed_by_what_it_is() {
        // printf %s 'p{}' | openssl dgst -sha256 -binary | base64
        assert!(
            policy("p{}").contains("style-src 'sha256-gG2yISYereRMiG2lMXrbiUgi0Ubw9p7QCeWcroOvy9Y='"),
            "{}",
            policy("p{}")
        );
    }
}
