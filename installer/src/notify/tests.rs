//! Mails to servers made for it: kind ones, and every kind that refuses.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::settings::Security;
use super::smtp::{Patience, send_with};
use super::*;
use crate::answers::Secret;
use crate::exit::code_of;

/// A certificate for `localhost` that nobody trusts unless told to, and its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/notify/localhost.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/notify/localhost.key");

const PASSWORD: &str = "open sesame \"please\"";

pub(super) fn mail(port: u16) -> Mail {
    Mail {
        server: "localhost".to_owned(),
        port,
        security: Security::Starttls,
        login: Some(("ada".to_owned(), Secret::new(PASSWORD.to_owned()))),
        from: "hearth@example.org".to_owned(),
        to: vec!["ada@example.org".to_owned(), "bob@example.org".to_owned()],
    }
}

/// What a server does otherwise than a kind one: to commands that begin with a word it gives an answer, or,
/// if that is empty, none.
type Odd = &'static [(&'static str, &'static str)];

/// How it encrypts.
#[derive(Clone, Copy, PartialEq)]
enum Tls {
    AtOnce,
    WhenAsked,
    Never,
}

/// Serves one connection; gives back all that was said to it.
fn server(tls: Tls, odd: Odd) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        // Whoever does not trust the certificate hangs up.
        let _ = if tls == Tls::AtOnce {
            talk(encrypted(stream), odd, &mut heard, false)
        } else {
            let again = talk(stream.try_clone().unwrap(), odd, &mut heard, tls == Tls::WhenAsked);
            if again == Some(()) { talk(encrypted(stream), odd, &mut heard, false) } else { None }
        };
        heard
    };
    (port, spawn(serve))
}

fn encrypted(stream: std::net::TcpStream) -> StreamOwned<ServerConnection, std::net::TcpStream> {
    let chain = CertificateDer::pem_file_iter(CERTIFICATE).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(KEY).unwrap());
    StreamOwned::new(ServerConnection::new(Arc::new(config.unwrap())).unwrap(), stream)
}

/// Gives the answer to `command`; nothing if that was the end.
fn say<S: Read + Write>(stream: &mut BufReader<S>, odd: Odd, command: &str, usual: &str) -> Option<()> {
    let answer = odd.iter().find(|(word, _)| command.starts_with(word)).map_or(usual, |(_, answer)| answer);
    if answer.is_empty() {
        // Until whoever waits has had enough.
        let _ = stream.read_to_string(&mut String::new());
        return None;
    }
    let socket = stream.get_mut();
    socket.write_all(format!("{answer}\r\n").as_bytes()).and_then(|()| socket.flush()).ok()
}

/// Talks until the end; something if the rest is to be encrypted.
fn talk(stream: impl Read + Write, odd: Odd, heard: &mut String, starttls: bool) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let greets = heard.is_empty();
    if greets {
        say(&mut stream, odd, "greeting", "220 localhost ESMTP")?;
    }
    let mut text = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let _ = heard.write_str(&line);
        let line = line.trim_end();
        if text {
            if line == "." {
                text = false;
                say(&mut stream, odd, "text", "250 2.0.0 queued as ABC")?;
            }
            continue;
        }
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" if starttls => say(&mut stream, odd, line, "250-localhost\r\n250 STARTTLS")?,
            "EHLO" => say(&mut stream, odd, line, "250-localhost\r\n250-SIZE 10000\r\n250 AUTH PLAIN")?,
            "STARTTLS" if starttls => {
                say(&mut stream, odd, line, "220 go on")?;
                return Some(());
            }
            "AUTH" if line == "AUTH PLAIN" => say(&mut stream, odd, "challenge", "334 ")?,
            "DATA" => {
                say(&mut stream, odd, line, "354 go on")?;
                text = true;
            }
            "MAIL" | "RCPT" => say(&mut stream, odd, line, "250 2.1.0 fine")?,
            "QUIT" => say(&mut stream, odd, line, "221 bye")?,
            _ => say(&mut stream, odd, "login", "235 2.7.0 welcome")?,
        }
    }
}

fn patience() -> Patience {
    Patience { connect: 5, whole: 20, trust: Some(CERTIFICATE.into()) }
}

/// What is told of a test at such a server, and what that heard. The error comes with its code.
fn tested(
    tls: Tls,
    odd: Odd,
    change: impl Fn(&mut Mail, &mut Patience),
) -> (Vec<String>, Result<(), (u8, String)>, String) {
    let (port, server) = server(tls, odd);
    let (mut mail, mut patience) = (mail(port), patience());
    if tls == Tls::AtOnce {
        mail.security = Security::Tls;
    }
    change(&mut mail, &mut patience);
    let outcome = send_with(&mail, &Notice::test("attic"), &patience).unwrap();
    let judged = outcome.judge().map_err(|error| (code_of(&error), format!("{error:#}")));
    let steps = outcome.steps();
    let told = format!("{steps:?}{judged:?}{outcome:?}");
    assert!(!told.contains("sesame") && !told.contains("AGFkYQ"), "it tells the password: {told}");
    assert!(steps.iter().all(|line| line.len() < 80), "{steps:#?}");
    (steps, judged, server.join().unwrap())
}

fn refused(tls: Tls, odd: Odd) -> (u8, String) {
    tested(tls, odd, |_, _| ()).1.unwrap_err()
}

#[test]
fn a_mail_arrives_and_each_step_is_told() {
    for tls in [Tls::WhenAsked, Tls::AtOnce] {
        let (steps, judged, heard) = tested(tls, &[], |_, _| ());
        judged.unwrap_or_else(|(_, error)| panic!("{error}"));
        let steps = steps.join("\n");
        let how = if tls == Tls::AtOnce { "TLS from the first byte" } else { "STARTTLS" };
        for words in [
            "  connected  127.0.0.1, port ",
            "(\"220 localhost ESMTP\")",
            &format!("  encrypted  {how}"),
            "  logged in  as ada (\"235 2.7.0 welcome\")",
            "  sender     hearth@example.org (\"250 2.1.0 fine\")",
            "  recipient  ada@example.org (",
            "  recipient  bob@example.org (",
            "  accepted   250 2.0.0 queued as ABC",
        ] {
            assert!(steps.contains(words), "{words} is not in\n{steps}");
        }
        for words in [
            "MAIL FROM:<hearth@example.org>",
            "RCPT TO:<bob@example.org>",
            "Subject: [Hearth] attic: a test\r\n",
            "\r\n\r\nThis is a test that somebody asked for on the machine attic",
        ] {
            assert!(heard.contains(words), "{words} did not arrive:\n{heard}");
        }
        // \0ada\0open sesame "please"
        assert!(heard.contains("AGFkYQBvcGVuIHNlc2FtZSAicGxlYXNlIg=="), "{heard}");
    }
}

#[test]
fn without_a_login_none_is_tried_and_where_none_is_offered_that_is_told() {
    let (steps, judged, heard) = tested(Tls::WhenAsked, &[], |mail, _| mail.login = None);
    assert!(judged.is_ok() && !heard.contains("AUTH") && !steps.join("").contains("log"), "{steps:?} {heard}");
    let (steps, judged, heard) = tested(Tls::AtOnce, &[("EHLO", "250 localhost")], |_, _| ());
    assert!(judged.is_ok() && !heard.contains("AUTH") && steps.join("").contains("no login"), "{steps:?} {heard}");
}

#[test]
fn what_a_server_refuses_is_told_in_its_words_with_what_to_do() {
    for (odd, told, remedy) in [
        (("login", "535 5.7.8 bad credentials"), "refuses the login as ada (\"535 5.7.8 bad", "`mail.username`"),
        (("RCPT TO:<bob", "550 5.1.1 no such user"), "takes nothing for bob@example.org (\"550", "`mail.to`"),
        (("MAIL", "553 not yours"), "takes nothing from hearth@example.org (\"553 not", "`mail.from`"),
        (("text", "554 5.7.1 spam"), "does not take the message (\"554 5.7.1 spam\")", "spam filters"),
        (("greeting", "554 go away"), "nothing to do with this machine (\"554", "mail provider"),
    ] {
        let (code, error) = refused(Tls::WhenAsked, Box::leak(Box::new([odd])));
        assert!(code == 7 && error.contains(told) && error.contains(remedy), "{odd:?}: {code} {error}");
    }
}

#[test]
fn nothing_goes_out_in_clear_or_to_whoever_is_not_the_server() {
    let (_, judged, heard) = tested(Tls::Never, &[], |_, _| ());
    let (code, error) = judged.unwrap_err();
    assert!(code == 5 && error.contains("offers no STARTTLS") && error.contains("465"), "{error}");
    assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
    // Nobody said to trust it.
    for tls in [Tls::AtOnce, Tls::WhenAsked] {
        let (steps, judged, heard) = tested(tls, &[], |_, patience| patience.trust = None);
        let (code, error) = judged.unwrap_err();
        assert!(code == 5 && error.contains("was not accepted (") && error.contains("`extra-ca`"), "{error}");
        assert!(!heard.contains("AUTH") && !steps.join("").contains("encrypted"), "{heard} {steps:?}");
    }
    // It is trusted, for another name.
    let (_, judged, heard) = tested(Tls::AtOnce, &[], |mail, _| mail.server = "127.0.0.1".to_owned());
    assert!(judged.unwrap_err().1.contains("was not accepted (") && !heard.contains("AUTH"), "{heard}");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_and_one_that_is_not_there_is_told() {
    let hurry = |_: &mut Mail, patience: &mut Patience| patience.whole = 2;
    for (odd, stage) in [(("greeting", ""), "before its greeting"), (("text", ""), "when it was sent the message")] {
        let (_, judged, _) = tested(Tls::WhenAsked, Box::leak(Box::new([odd])), hurry);
        let (code, error) = judged.unwrap_err();
        assert!(code == 5 && error.contains("did not answer in time") && error.contains(stage), "{odd:?}: {error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed =
        |mail: &Mail| format!("{:#}", send_with(mail, &Notice::test("x"), &patience()).unwrap().judge().unwrap_err());
    assert!(failed(&mail(closed.port())).contains("no connection to localhost, port "));
    let nowhere = Mail { server: "nowhere.invalid".to_owned(), ..mail(25) };
    assert!(failed(&nowhere).contains("nowhere.invalid could not be looked up"));
    // TLS is wanted at once, and the server begins to talk.
    let (code, error) = tested(Tls::Never, &[], |mail, _| mail.security = Security::Tls).1.unwrap_err();
    assert!(code == 5 && error.contains("does not speak TLS") && error.contains("587"), "{error}");
}

#[test]
fn a_dry_run_sends_nothing_and_a_refusal_is_an_error() {
    let never = |_: &Mail, _: &Notice| -> Result<Outcome> { panic!("it was sent") };
    test(&mail(25), &Notice::test("attic"), true, &never).unwrap();
    let (port, server) = server(Tls::WhenAsked, &[("login", "535 no")]);
    let send = |mail: &Mail, notice: &Notice| send_with(mail, notice, &patience());
    assert_eq!(code_of(&test(&mail(port), &Notice::test("attic"), false, &send).unwrap_err()), 7);
    server.join().unwrap();
    let colon = Mail { login: Some(("a:b".to_owned(), Secret::new(String::new()))), ..mail(25) };
    assert_eq!(code_of(&send(&colon, &Notice::test("x")).unwrap_err()), 2);
}
