//! Just enough HTTP to ask a guest's web server from the host: version 1.0, so
//! that the answer is neither chunked nor kept open.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// As sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Invalid UTF-8 replaced.
    pub body: String,
}

impl Response {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// Asks for `path` at 127.0.0.1:`port`, as `host`. No redirect is followed.
pub fn get(port: u16, host: &str, path: &str, timeout: Duration) -> Result<Response> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let what = || format!("asking http://{host}{path} at {address}");
    let mut stream = TcpStream::connect_timeout(&address, timeout).with_context(what)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").with_context(what)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(what)?;
    parse(&bytes).with_context(|| format!("{}: no HTTP came back", what()))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut status = lines.next()?.split(' ');
    let status = status.next().filter(|version| version.starts_with("HTTP/")).and(status.next())?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    Some(Response { status, headers, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    #[test]
    fn an_answer_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            let asked: Vec<String> = reader.lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            stream.write_all(b"HTTP/1.1 307 Moved\r\nLocation: https://x/\r\n\r\nbye").unwrap();
            asked
        });
        let response = get(port, "hearth.local", "/a", Duration::from_secs(5)).unwrap();
        assert_eq!((response.status, response.header("location"), &*response.body), (307, Some("https://x/"), "bye"));
        assert_eq!(server.join().unwrap()[..2], ["GET /a HTTP/1.0", "Host: hearth.local"]);
    }

    #[test]
    fn nonsense_is_no_answer() {
        for bad in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 abc\r\n\r\n", b"HTTP/1.0 200 OK\r\n"] {
            assert_eq!(parse(bad), None);
        }
    }
}
