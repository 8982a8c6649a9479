//! A Debian archive of a few small packages, served from memory to this machine, so that a
//! test decides what is in it, who signs it and how it fails, whatever Debian publishes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use hearth::digest::Digest;

use super::RECIPE;
use super::key::Key;

/// What the server does when a path is asked for; it has nothing at other paths.
#[derive(Clone, Debug)]
enum Answer {
    Body(Vec<u8>),
    /// Says nothing and leaves the line open.
    Silence,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
    silent: Vec<TcpStream>,
}

/// A package with one file.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub content: Vec<u8>,
}

impl Package {
    /// One that every system has, so that there is something to choose.
    pub fn essential(version: &'static str) -> Self {
        Self { name: "hearth-example", version, content: b"an example\n".repeat(1000) }
    }

    /// Where it lies in the archive.
    pub fn path(&self) -> String {
        format!("/debian/pool/{}_{}_all.deb", self.name, self.version)
    }

    fn control(&self) -> String {
        format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nEssential: yes\nPriority: required\n\
             Maintainer: Nobody <nobody@hearth.example>\nDescription: an example\n",
            self.name, self.version
        )
    }

    fn deb(&self) -> Vec<u8> {
        let path = format!("./usr/share/{}/content", self.name);
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", tar(&[("./control", self.control().as_bytes())])),
            ("data.tar", tar(&[(path.as_str(), self.content.as_slice())])),
        ];
        let mut builder = ar::Builder::new(Vec::new());
        for (name, body) in members {
            builder.append(&ar::Header::new(name.as_bytes().to_vec(), body.len() as u64), body.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append_data(&mut header, path, *body).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The archive and its server, which ends with it.
#[derive(Debug)]
pub struct Archive {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Archive {
    /// An archive that holds `packages`, signed by `key`.
    pub fn new(key: &Key, packages: &[Package]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let archive = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::downgrade(&archive.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(state) = state.upgrade() else { return };
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        archive.publish(key, packages, "");
        archive
    }

    /// Replaces everything by `packages`; `more` goes into the Release files as it is.
    pub fn publish(&self, key: &Key, packages: &[Package], more: &str) {
        let mut state = lock(&self.state);
        state.answers.clear();
        let mut index = String::new();
        for package in packages {
            let deb = package.deb();
            let (path, digest) = (package.path(), Digest::of(&deb));
            let about = format!(
                "{}Filename: {}\nSize: {}\nSHA256: {digest}\n\n",
                package.control(),
                path.trim_start_matches("/debian/"),
                deb.len()
            );
            index += &about;
            state.answers.insert(path, Answer::Body(deb));
        }
        for (site, suite, index) in [
            ("debian", "trixie", index.as_str()),
            ("debian", "trixie-updates", ""),
            ("security", "trixie-security", ""),
        ] {
            let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(60));
            let release = format!(
                "Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nDate: {date}\n{more}\
                 Architectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
                Digest::of(index),
                index.len()
            );
            let dists = format!("/{site}/dists/{suite}");
            state.answers.insert(format!("{dists}/InRelease"), Answer::Body(key.clear_sign(&release)));
            state.answers.insert(format!("{dists}/main/binary-amd64/Packages"), Answer::Body(index.into()));
        }
    }

    /// A recipe that builds from here.
    pub fn recipe(&self) -> String {
        let at = format!("http://{}", self.address);
        format!("{RECIPE}mirror = \"{at}/debian\"\nsecurity-mirror = \"{at}/security\"\n")
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The archive has dropped what was at `path`.
    pub fn drop_path(&self, path: &str) {
        assert!(lock(&self.state).answers.remove(path).is_some());
    }

    /// Puts `new` where `old` is in the body at `path`.
    pub fn tamper(&self, path: &str, old: &str, new: &str) {
        let mut state = lock(&self.state);
        let Some(Answer::Body(body)) = state.answers.get_mut(path) else { panic!("nothing at {path}") };
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains(old));
        *body = text.replace(old, new).into();
    }

    /// From now on whoever asks for `path` waits.
    pub fn silence(&self, path: &str) {
        lock(&self.state).answers.insert(path.into(), Answer::Silence);
    }

    /// How often `path` was asked for.
    pub fn asked(&self, path: &str) -> usize {
        lock(&self.state).asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.state = Arc::default();
        // Wakes the server, which finds that its archive is gone.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let _ = reader.read_line(&mut request);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = lock(state);
        state.asked.push(path.clone());
        state.answers.get(&path).cloned()
    };
    // Whoever asked may be gone; that is not the server's business.
    let _ = match answer {
        Some(Answer::Body(body)) => reply(&mut stream, "200 OK", &body),
        Some(Answer::Silence) => {
            lock(state).silent.push(stream);
            Ok(())
        }
        None => reply(&mut stream, "404 Not Found", b""),
    };
}

fn reply(stream: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}
