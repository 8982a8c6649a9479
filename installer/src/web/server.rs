//! Answers whoever connects, a thread each. Anybody on the network may connect and say nothing, or
//! say it slowly: so there are few seats, fewer for each address, and nobody keeps one for long.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::http::Answer;

/// How much is granted to whom.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// How many are answered at once.
    pub(super) seats: usize,
    /// How many of them may have the same address.
    pub(super) each: usize,
    /// How long one may take, from the first byte to the last.
    pub(super) patience: Duration,
    /// How many bytes one may send.
    pub(super) length: usize,
    /// How long the program stays when nobody asks.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { seats: 16, each: 4, patience: Duration::from_secs(5), length: 8 << 10, idle: Duration::from_secs(30) }
    }
}

/// Answers with what `page` makes, until nobody has asked for a while.
pub(super) fn serve(listener: &TcpListener, limits: &Limits, page: &(dyn Fn() -> String + Sync)) -> Result<()> {
    listener.set_nonblocking(true).context("taking the socket")?;
    let seats = Seats::default();
    thread::scope(|scope| {
        loop {
            if !wait(listener, limits.idle)? {
                // While somebody is being answered nobody else may have to wait for a fresh start.
                if seats.all().is_empty() {
                    return Ok(());
                }
                continue;
            }
            let (stream, from) = match listener.accept() {
                Ok(came) => came,
                Err(error) if is_theirs(&error) => continue,
                Err(error) => return Err(error).context("waiting for somebody who asks"),
            };
            // Whoever finds no seat is hung up on, and may come again.
            let Some(seat) = seats.take(from.ip().to_canonical(), limits) else { continue };
            let answer = move || {
                let _seat = seat;
                // That somebody went away, or took too long, is nobody's concern.
                let _ = answer(stream, limits, page);
            };
            thread::Builder::new().spawn_scoped(scope, answer).context("making room for somebody who asks")?;
        }
    })
}

/// Whether somebody has come before `patience` is over.
fn wait(listener: &TcpListener, patience: Duration) -> Result<bool> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(error) => Err(error).context("waiting for somebody who asks"),
    }
}

/// Whether it says something about who came, and nothing about the socket.
fn is_theirs(error: &std::io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, WouldBlock};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable | WouldBlock
    )
}

fn answer(mut stream: TcpStream, limits: &Limits, page: &dyn Fn() -> String) -> std::io::Result<()> {
    let until = Instant::now() + limits.patience;
    let mut head = Vec::new();
    let answer = loop {
        let mut piece = [0; 1024];
        stream.set_read_timeout(Some(left(until)?))?;
        let count = stream.read(&mut piece)?;
        head.extend_from_slice(&piece[..count]);
        if count == 0 || is_whole(&head) {
            break Answer::to(&head, page);
        }
        if head.len() > limits.length {
            break Answer::too_long();
        }
    };
    let bytes = answer.bytes();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(rest)? {
            0 => break,
            count => rest = &rest[count..],
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// What is left of somebody's time.
fn left(until: Instant) -> std::io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Whether the empty line that ends a request is there.
fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n") || head.windows(2).any(|two| two == b"\n\n")
}

/// Who is being answered.
#[derive(Debug, Default)]
struct Seats(Mutex<Vec<IpAddr>>);

impl Seats {
    fn take(&self, who: IpAddr, limits: &Limits) -> Option<Seat<'_>> {
        let mut all = self.all();
        if all.len() >= limits.seats || all.iter().filter(|other| **other == who).count() >= limits.each {
            return None;
        }
        all.push(who);
        Some(Seat { seats: self, who })
    }

    fn all(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat; dropping it gives it back.
struct Seat<'a> {
    seats: &'a Seats,
    who: IpAddr,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut all = self.seats.all();
        if let Some(at) = all.iter().position(|who| *who == self.who) {
            all.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const LIMITS: Limits = Limits {
        seats: 3,
        each: 2,
        patience: Duration::from_millis(700),
        length: 2048,
        idle: Duration::from_millis(400),
    };

    /// Runs `ask` against a server; it ends by itself afterwards.
    fn served(ask: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, &LIMITS, &|| "x".repeat(9000)));
            ask(SocketAddr::from(([127, 0, 0, 1], port)));
            server.join().unwrap().unwrap();
        });
    }

    /// What comes back, and how long that took.
    fn ask(mut stream: TcpStream, said: &[u8]) -> (String, Duration) {
        let begin = Instant::now();
        let _ = stream.write_all(said);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        (String::from_utf8(bytes).unwrap(), begin.elapsed())
    }

    #[test]
    fn whoever_asks_is_answered_and_the_program_ends_when_nobody_does() {
        served(|at| {
            let connect = || TcpStream::connect(at).unwrap();
            let (got, _) = ask(connect(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(got.starts_with("HTTP/1.1 200") && got.ends_with(&"x".repeat(9000)));
            // In pieces.
            let mut stream = connect();
            for piece in [&b"GET "[..], b"/ HT"] {
                stream.write_all(piece).unwrap();
                thread::sleep(Duration::from_millis(50));
            }
            assert!(ask(stream, b"TP/1.0\r\n\r\n").0.starts_with("HTTP/1.1 200"));
            let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 2100]].concat();
            let (got, _) = ask(connect(), &long);
            assert!(got.is_empty() || got.starts_with("HTTP/1.1 431"), "{got}");
        });
    }

    #[test]
    fn every_address_has_its_own_seats_and_all_together_have_a_limit() {
        let seats = Seats::default();
        let take = |who: &str| seats.take(who.parse().unwrap(), &LIMITS);
        let first = take("192.0.2.1").unwrap();
        let second = take("192.0.2.1");
        assert!(second.is_some() && take("192.0.2.1").is_none());
        let third = take("2001:db8::1");
        assert!(third.is_some() && take("192.0.2.2").is_none());
        drop(first);
        assert!(take("192.0.2.2").is_some());
    }

    #[test]
    fn a_slow_client_loses_its_seat_and_keeps_nobody_out() {
        served(|at| {
            let connect = || TcpStream::connect(at).unwrap();
            let slow = connect();
            let (got, took) = ask(connect(), b"GET / HTTP/1.1\r\n\r\n");
            assert!(got.starts_with("HTTP/1.1 200") && took < Duration::from_millis(500), "{took:?}");
            // Two of one address are enough: the third is hung up on, and not kept waiting.
            let second = connect();
            thread::sleep(Duration::from_millis(100));
            let (got, took) = ask(connect(), b"GET / HTTP/1.1\r\n\r\n");
            assert!(got.is_empty() && took < Duration::from_millis(400), "{got} after {took:?}");
            // A byte now and then is no way to keep a seat.
            let mut drip = second;
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(900) && drip.write_all(b"G").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
            drop(slow);
            let (got, _) = ask(connect(), b"GET / HTTP/1.1\r\n\r\n");
            assert!(got.starts_with("HTTP/1.1 200"), "the seats are given back");
        });
    }
}
