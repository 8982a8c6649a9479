//! Fills the store with what a lock names: several downloads at once, each
//! verified against the lock before anything is kept, and repacked on the way.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::units::Bytes;

use crate::lock::{Archive, Lock, Locked};
use crate::mirrors::Mirrors;
use crate::progress::{self, Step};
use crate::store::Store;

/// Enough to hide latency and keep two cores busy repacking, few enough to be polite.
const WORKERS: usize = 6;

/// How often a download that breaks off is begun again.
const TRIES: u32 = 3;

/// Downloads what `lock` names and `store` lacks. `mirrors` is asked only if something is missing.
pub fn fill(store: &Store, lock: &Lock, mirrors: impl FnOnce() -> Result<Mirrors>) -> Result<()> {
    let missing: VecDeque<&Locked> = lock.packages.iter().filter(|package| !store.has(&package.sha256)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mirrors = mirrors()?;
    let total: Bytes = missing.iter().map(|package| package.size).sum();
    let step = progress::bytes_step(format!("downloading {} packages", missing.len()), total);
    let agent = agent();
    let queue = Mutex::new(missing);
    let failures: Mutex<Vec<anyhow::Error>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let failed = |list: &Mutex<Vec<_>>| !lock_of(list).is_empty();
                    let Some(package) = lock_of(&queue).pop_front().filter(|_| !failed(&failures)) else { return };
                    if let Err(error) = fetch(&agent, store, package, &mirrors, &step) {
                        lock_of(&failures).push(error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = failures.into_iter().next() {
        return Err(error);
    }
    step.done(&total.to_string());
    Ok(())
}

fn lock_of<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The client for everything fetched.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("hearth-image/", env!("CARGO_PKG_VERSION")))
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
        .build()
        .new_agent()
}

fn fetch(agent: &ureq::Agent, store: &Store, package: &Locked, mirrors: &Mirrors, step: &Step) -> Result<()> {
    let base = match package.archive {
        Archive::Debian => &mirrors.debian,
        Archive::Security => &mirrors.security,
    };
    let url = format!("{base}/{}", package.path);
    let body =
        download(agent, &url, package).with_context(|| format!("downloading {} {}", package.name, package.version))?;
    let digest = Digest::of(&body);
    if digest != package.sha256 {
        return Err(anyhow!(
            "{} {} from {url} is not what the lock names: SHA-256 {digest} instead of {}; nothing of it was kept. \
             Try another mirror, or `hearth-image lock` if the archive was changed",
            package.name,
            package.version,
            package.sha256
        ))
        .kind(Exit::Dependency);
    }
    store.take(&package.sha256, body.as_slice()).with_context(|| format!("storing {}", package.name))?;
    step.advance(package.size);
    Ok(())
}

fn download(agent: &ureq::Agent, url: &str, package: &Locked) -> Result<Vec<u8>> {
    let mut last = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(500 << attempt));
        }
        match agent.get(url).call() {
            Ok(response) => {
                // One byte more than promised is enough to know that it is wrong.
                let mut body = Vec::with_capacity(usize::try_from(package.size.0).unwrap_or_default());
                match response.into_body().into_reader().take(package.size.0 + 1).read_to_end(&mut body) {
                    Ok(_) => return Ok(body),
                    Err(error) => last = Some(anyhow::Error::from(error)),
                }
            }
            Err(ureq::Error::StatusCode(404 | 410)) => {
                return Err(anyhow!(
                    "the archive no longer has {} {} (an update has probably replaced it): make a new lock with \
                     `hearth-image lock` and build again",
                    package.name,
                    package.version
                ))
                .kind(Exit::Dependency);
            }
            Err(error) => last = Some(anyhow::Error::from(error)),
        }
    }
    let cause = last.unwrap_or_else(|| anyhow!("no answer"));
    Err(cause.context(format!(
        "{url} cannot be read: check the network and build again; packages that have arrived are kept"
    )))
    .kind(Exit::Dependency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    /// Serves `body` with `status` to everyone; returns its address.
    fn serve(status: &'static str, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        address
    }

    fn try_fill(status: &'static str, served: &[u8], locked: &[u8]) -> (Result<()>, bool) {
        let address = serve(status, served.to_vec());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let package = Locked {
            name: "example".into(),
            version: "1".into(),
            arch: "all".into(),
            archive: Archive::Debian,
            path: "pool/example.deb".into(),
            size: Bytes(locked.len() as u64),
            sha256: Digest::of(locked),
        };
        let sha256 = package.sha256;
        let lock = Lock::new("trixie", "amd64", 0, sha256, vec![package]);
        let mirrors = Mirrors { debian: address.clone(), security: address };
        let outcome = fill(&store, &lock, || Ok(mirrors));
        (outcome, store.has(&sha256))
    }

    fn good() -> Vec<u8> {
        crate::store::tests::deb(&[("control.tar", b"c".to_vec()), ("data.tar", b"d".to_vec())])
    }

    #[test]
    fn a_locked_package_is_fetched_and_kept() {
        let (outcome, kept) = try_fill("200 OK", &good(), &good());
        outcome.unwrap();
        assert!(kept);
    }

    #[test]
    fn a_tampered_package_is_refused_and_not_kept() {
        let mut bad = good();
        *bad.last_mut().unwrap() ^= 1;
        let (outcome, kept) = try_fill("200 OK", &bad, &good());
        assert!(outcome.unwrap_err().to_string().contains("is not what the lock names"));
        assert!(!kept);
    }

    #[test]
    fn a_package_the_archive_has_dropped_points_to_lock() {
        let (outcome, _) = try_fill("404 Not Found", b"", &good());
        let error = outcome.unwrap_err();
        assert!(format!("{error:#}").contains("make a new lock"), "{error:#}");
        assert_eq!(hearth::exit::code_of(&error), Exit::Dependency.code());
    }
}
