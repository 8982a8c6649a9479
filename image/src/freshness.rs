//! Asks the archives whether they have newer Release files than those at hand: three
//! short questions at once, where apt's own update takes seconds to find nothing. Only
//! "nothing new" is taken from the answer, nothing else. One who forges it can hold updates
//! back, as from apt itself, and no longer than the Release files at hand are valid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use ureq::http::StatusCode;

use crate::mirrors::Mirrors;

/// Whether `releases` (path and text of each Release file, as apt keeps them) are what the
/// archives have now. No answer, or any doubt, is a no: apt then finds out and says why.
pub fn is_current(agent: &ureq::Agent, mirrors: &Mirrors, suite: &str, releases: &BTreeMap<PathBuf, String>) -> bool {
    let asked = mirrors.suites(suite);
    std::thread::scope(|scope| {
        let answers: Vec<_> = asked
            .iter()
            .map(|(url, suite)| {
                let kept = releases.iter().find(|(path, _)| is_of(path, suite));
                scope.spawn(move || {
                    kept.is_some_and(|(path, text)| {
                        !has_expired(text, SystemTime::now())
                            && is_unchanged(agent, &format!("{url}/dists/{suite}/InRelease"), path, text)
                                .unwrap_or(false)
                    })
                })
            })
            .collect();
        answers.into_iter().all(|answer| answer.join().unwrap_or(false))
    })
}

/// apt names a file after its address, with `_` for each `/`.
fn is_of(path: &Path, suite: &str) -> bool {
    path.to_string_lossy().ends_with(&format!("_dists_{suite}_InRelease"))
}

/// apt gives the file the archive's own time stamp, which most archives compare; the
/// others send theirs.
fn is_unchanged(agent: &ureq::Agent, url: &str, path: &Path, text: &str) -> Result<bool> {
    let mut answer = agent
        .get(url)
        .header("Cache-Control", "max-age=0")
        .header("If-Modified-Since", httpdate::fmt_http_date(path.metadata()?.modified()?))
        .call()?;
    Ok(match answer.status() {
        StatusCode::NOT_MODIFIED => true,
        StatusCode::OK => answer.body_mut().read_to_string()? == text,
        _ => false,
    })
}

/// Whether the Release file says that it is not to be used any more.
fn has_expired(text: &str, now: SystemTime) -> bool {
    let until = text.lines().find_map(|line| line.strip_prefix("Valid-Until: "));
    until.is_some_and(|date| httpdate::parse_http_date(&date.replace("UTC", "GMT")).map_or(true, |until| until <= now))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// Asks about three Release files at hand an archive that gives each question `answer`.
    fn ask(answer: &'static str, body: &'static str, text: &str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let asked: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                assert!(asked.iter().any(|line| line.to_lowercase().starts_with("if-modified-since: ")), "{asked:?}");
                let length = body.len();
                let _ =
                    write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let release = |suite: &str| {
            let path = dir.path().join(format!("127.0.0.1_debian_dists_{suite}_InRelease"));
            std::fs::write(&path, text).unwrap();
            (path, text.to_owned())
        };
        let releases = ["x", "x-updates", "x-security"].map(release).into();
        let mirrors = Mirrors { debian: url.clone(), security: url };
        is_current(&ureq::agent(), &mirrors, "x", &releases)
    }

    #[test]
    fn only_a_plain_no_from_each_archive_counts() {
        assert!(ask("304 Not Modified", "", "Date: now\n"));
        assert!(ask("200 OK", "Date: now\n", "Date: now\n"));
        assert!(!ask("200 OK", "Date: later\n", "Date: now\n"));
        assert!(!ask("206 Partial Content", "Date: now\n", "Date: now\n"));
        assert!(!ask("500 Broken", "Date: now\n", "Date: now\n"));
        assert!(!ask("304 Not Modified", "", "Valid-Until: Thu, 01 Jan 1970 00:01:00 UTC\n"));
        let mirrors = Mirrors { debian: "http://127.0.0.1:1".into(), security: "http://127.0.0.1:1".into() };
        assert!(!is_current(&ureq::agent(), &mirrors, "x", &BTreeMap::new()));
    }

    #[test]
    fn a_release_file_expires() {
        let minute = |count: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(60 * count);
        let text = "Valid-Until: Thu, 01 Jan 1970 00:01:00 UTC\n";
        assert!(!has_expired(text, minute(0)));
        assert!(has_expired(text, minute(1)));
        assert!(has_expired("Valid-Until: soon\n", minute(0)));
        assert!(!has_expired("Date: Thu, 01 Jan 1970 00:01:00 UTC\n", minute(9)));
    }
}
