//! Where backups go, and the paper that brings them back.

use super::text;

text! {
    /// A restic repository, spelled as restic spells it.
    RepositoryUrl(String), "a backup repository", "^(/|sftp:|rest:https?://).+$", repository_url;
    /// What is backed up besides the system: a folder on a role disk.
    IncludePath(String), "a folder to back up", "^/mnt/(media|downloads)(/.*)?$", include_path;
    /// Where the recovery kit is written, or that it is declined.
    KitTarget(String), "a file for the recovery kit", "^(declined|/mnt/(media|downloads|backups)/.+)$", kit_target;
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// A folder of this machine.
    Directory,
    /// A machine with SSH.
    Sftp,
    /// restic's own server, over TLS.
    Rest,
    /// restic's own server, without TLS.
    PlainRest,
}

impl KitTarget {
    /// The file; nothing where the kit is declined.
    pub fn file(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| *text != "declined")
    }
}

impl RepositoryUrl {
    /// How it is reached.
    pub fn kind(&self) -> RepositoryKind {
        match self.0.split(':').next() {
            Some("sftp") => RepositoryKind::Sftp,
            Some("rest") if self.0.starts_with("rest:http://") => RepositoryKind::PlainRest,
            Some("rest") => RepositoryKind::Rest,
            _ => RepositoryKind::Directory,
        }
    }
}

fn repository_url(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err("it holds a blank".to_owned());
    }
    if text.starts_with('/') {
        return clean_path(text, &["/mnt/backups"]);
    }
    if let Some(rest) = text.strip_prefix("sftp:") {
        let (login, place) = rest.trim_start_matches("//").split_once('@').unwrap_or_default();
        if login.contains(':') {
            return Err("it holds a password; SFTP logs in with `ssh-key`".to_owned());
        }
        let (host, path) = place.split_once([':', '/']).unwrap_or_default();
        if login.is_empty() || host.is_empty() || path.is_empty() {
            return Err("write it like sftp:backup@nas.example:/srv/hearth".to_owned());
        }
        return Ok(text.to_owned());
    }
    let rest = text.strip_prefix("rest:https://").or_else(|| text.strip_prefix("rest:http://"));
    let Some(rest) = rest else {
        return Err("write a folder below /mnt/backups, sftp:USER@HOST:/PATH or rest:https://HOST/PATH".to_owned());
    };
    if rest.contains('@') {
        return Err("it holds a login; that belongs in `username` and `password`".to_owned());
    }
    if rest.is_empty() || rest.starts_with(['/', ':']) {
        return Err("write it like rest:https://nas.example:8000/hearth".to_owned());
    }
    Ok(text.to_owned())
}

fn include_path(text: &str) -> Result<String, String> {
    clean_path(text, &["/mnt/media", "/mnt/downloads"])
}

fn kit_target(text: &str) -> Result<String, String> {
    if text == "declined" {
        return Ok(text.to_owned());
    }
    // Not on HEARTH: that is FAT, where anybody may read it and nothing is ever truly erased.
    let path = clean_path(text, &["/mnt/media", "/mnt/downloads", "/mnt/backups"])
        .map_err(|why| format!("{why}, or \"declined\""))?;
    if path.matches('/').count() < 3 { Err("name a file in that folder".to_owned()) } else { Ok(path) }
}

/// An absolute path in one of `below`, without tricks.
fn clean_path(text: &str, below: &[&str]) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let inside = |dir: &&str| text.strip_prefix(*dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !below.iter().any(inside) {
        return Err(format!("write a path in {}", below.join(" or ")));
    }
    if text.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("leave out `//`, `.` and `..`".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a character that cannot be typed".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_spelled_as_restic_does() {
        use RepositoryKind::{Directory, PlainRest, Rest, Sftp};
        for (url, kind) in [
            ("/mnt/backups/hearth", Directory),
            ("sftp:backup@nas.example:/srv/hearth", Sftp),
            ("sftp://backup@nas.example:2222//srv/hearth", Sftp),
            ("rest:https://nas.example:8000/hearth", Rest),
            ("rest:http://192.168.1.5:8000/", PlainRest),
        ] {
            assert_eq!(RepositoryUrl(repository_url(url).unwrap()).kind(), kind, "{url}");
        }
        for bad in [
            "",
            "/srv/backup",
            "/mnt/backups/../x",
            "/mnt/backupsx",
            "sftp:nas.example:/srv",
            "sftp://ada:secret@nas/srv",
            "rest:https://ada:secret@nas/",
            "rest:nas",
            "s3:https://x/y",
        ] {
            assert!(repository_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_kit_goes_to_a_file_or_nowhere() {
        assert!(kit_target("declined").is_ok() && kit_target("/mnt/backups/kit.txt").is_ok());
        for bad in ["", "/mnt/backups", "/root/kit.txt", "kit.txt", "/mnt/backups/", "none"] {
            assert!(kit_target(bad).is_err(), "{bad}");
        }
    }
}
