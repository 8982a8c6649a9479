//! What single values cannot show: answers that do not fit together. Each rule names both
//! places. The rules look at the file itself and not at the finished answers, so they can
//! still speak when something else in the file is wrong; a value that is wrong by itself
//! has been reported where it was read, and no rule says more about it.

mod access;
mod backup;
mod network;
mod storage;

use super::node::{Node, Report};

/// Applies every rule to the file.
pub(super) fn check(root: &Node<'_>, report: &mut Report<'_>) {
    network::check(root, report);
    access::check(root, report);
    storage::check(root, report);
    backup::check(root, report);
    recover(root, report);
}

/// What comes out of the backup when a machine is brought back.
const RESTORED: [&str; 8] = ["stacks", "admin", "domain", "users", "vpn", "mail", "backup", "recovery-kit"];

fn recover(root: &Node<'_>, report: &mut Report<'_>) {
    let hostname = root.get("system").and_then(|system| system.get("hostname"));
    if let Some(recover) = root.get("recover") {
        let restored = RESTORED.iter().filter_map(|key| root.get(key)).chain(hostname);
        for node in restored {
            let text = format!("`{}` comes out of the backup when a machine is brought back: remove it", node.key);
            report.both(&node, text, &recover, "[recover]");
        }
        return;
    }
    if let (Some(system), None) = (root.get("system"), hostname) {
        report.missing(&system, "hostname", "[system] lacks `hostname`, for example `hostname = \"hearth\"`");
    }
    if root.get("admin").is_none() {
        report.missing(root, "admin", "the section [admin] is missing: somebody has to look after the machine");
    }
    match root.get("recovery-kit") {
        None => report.missing(
            root,
            "recovery-kit",
            "the top of the file lacks `recovery-kit`, for example `recovery-kit = \"/mnt/media/recovery-kit.txt\"`, \
             or \"declined\" to do without",
        ),
        Some(kit) if kit.text() == Some("declined") => {
            let admin = root.get("admin");
            if let Some(admin) = admin.filter(|admin| admin.get("password-hash").is_none()) {
                let text = "`recovery-kit` is declined, so nobody would learn the console password that is made: give \
                            `password-hash` in [admin], or a file for the kit";
                report.both(&kit, text, &admin, "[admin] has no `password-hash`");
            }
        }
        Some(_) => {}
    }
}

/// Complains about every value that is the same as an earlier one.
fn unique<'a, K: PartialEq>(
    values: impl IntoIterator<Item = (K, Node<'a>)>,
    report: &mut Report<'_>,
    what: impl Fn(&Node<'a>) -> String,
) {
    let mut seen: Vec<(K, Node<'a>)> = Vec::new();
    for (value, node) in values {
        match seen.iter().find(|(earlier, _)| *earlier == value) {
            Some((_, first)) => report.both(&node, what(&node), first, "the first one"),
            None => seen.push((value, node)),
        }
    }
}

/// Complains about `present` without `absent` in `table`.
fn needs(table: &Node<'_>, present: &str, absent: &str, why: &str, report: &mut Report<'_>) {
    if let (Some(node), None) = (table.get(present), table.get(absent)) {
        report.key(&node, format!("`{present}` in {} needs `{absent}`: {why}", table.title));
    }
}
