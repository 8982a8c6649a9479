//! Repositories, and what each kind of them needs to be reached.

use crate::answers::node::{Node, Report};
use crate::answers::types::{Label, RepositoryKind, RepositoryUrl};

use super::{needs, unique};

/// The keys that say who we are to a REST server and to an SFTP server.
const REST: [&str; 2] = ["username", "password"];
const SFTP: [&str; 2] = ["ssh-key", "host-key"];

pub(super) fn check(root: &Node<'_>, report: &mut Report<'_>) {
    let Some(backup) = root.get("backup") else { return };
    let repositories = backup.list("repositories");
    if backup.table().is_some() && repositories.is_empty() {
        report.key(&backup, "[backup] has no place for backups: add [[backup.repositories]]");
    }
    for repository in &repositories {
        check_one(repository, report);
    }
    let names = repositories.iter().filter_map(|one| one.get("name"));
    unique(names.filter_map(|node| Some((node.quiet::<Label>()?, node))), report, |_| {
        "two [[backup.repositories]] have the same `name`".to_owned()
    });
    let urls = repositories.iter().filter_map(|one| one.get("url"));
    unique(urls.filter_map(|node| Some((node.quiet::<RepositoryUrl>()?, node))), report, |_| {
        "two [[backup.repositories]] have the same `url`: that is one backup, not two".to_owned()
    });
}

fn check_one(repository: &Node<'_>, report: &mut Report<'_>) {
    let Some(url) = repository.get("url") else { return };
    let Some(kind) = url.quiet::<RepositoryUrl>().map(|url| url.kind()) else { return };
    let (wanted, unwanted): (&[&str], &[&str]) = match kind {
        RepositoryKind::Directory => (&[], &["username", "password", "ssh-key", "host-key"]),
        RepositoryKind::Sftp => (&SFTP, &REST),
        RepositoryKind::Rest | RepositoryKind::PlainRest => (&[], &SFTP),
    };
    for key in wanted.iter().filter(|key| repository.get(key).is_none()) {
        report
            .key(&url, format!("a repository by SFTP needs `{key}`: nobody is there to log in or to trust the server"));
    }
    for node in unwanted.iter().filter_map(|key| repository.get(key)) {
        report.both(
            &node,
            format!("`{}` has no meaning for this kind of repository: remove it", node.key),
            &url,
            "`url`",
        );
    }
    if matches!(kind, RepositoryKind::Rest | RepositoryKind::PlainRest) {
        needs(repository, "username", "password", "the two belong together", report);
        needs(repository, "password", "username", "the two belong together", report);
    }
    if let (RepositoryKind::PlainRest, Some(password)) = (kind, repository.get("password")) {
        let text = "`password` would cross the network in clear: use rest:https:// (`extra-ca` in [system] trusts an \
                    authority of your own)";
        report.both(&password, text, &url, "`url`");
    }
    let append_only = repository.get("append-only").filter(|node| node.quiet::<bool>() == Some(true));
    if let (RepositoryKind::Directory, Some(node)) = (kind, append_only) {
        report.both(
            &node,
            "a folder of this machine cannot be append-only: its root may remove everything",
            &url,
            "`url`",
        );
    }
}
