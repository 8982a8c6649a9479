//! Disks: which, for what, and whether they may be formatted.

use crate::answers::node::{Node, Report};
use crate::answers::schema::{DiskSelector, Role};
use crate::answers::types::{ById, DiskSize};

use super::unique;

pub(super) fn check(root: &Node<'_>, report: &mut Report<'_>) {
    let disks = root.list("disks");
    for disk in &disks {
        role_disk(disk, report);
    }
    let roles = disks.iter().flat_map(|disk| disk.list("roles"));
    let roles = roles.filter_map(|node| Some((node.quiet::<Role>()?, node)));
    unique(roles, report, |node| format!("the role \"{}\" is given twice", node.text().unwrap_or_default()));
    let system = root.get("system").and_then(|system| system.get("disk")).filter(|disk| disk.table().is_some());
    let selectors: Vec<Node<'_>> =
        system.iter().cloned().chain(disks.iter().filter_map(|disk| disk.get("disk"))).collect();
    for selector in &selectors {
        self::selector(selector, report);
    }
    for disk in system.iter().filter_map(|disk| disk.get("md").or_else(|| disk.get("lvm"))) {
        report.key(&disk, "Hearth does not run from an array or a volume: name a disk, or say \"this\"");
    }
    let same = selectors.iter().filter_map(|node| Some((node.quiet::<DiskSelector>()?, node.clone())));
    unique(same, report, |_| "the same disk is selected twice; give all its roles in one [[disks]]".to_owned());
    let formatted = disks.iter().filter(|disk| disk.get("prepare").is_some_and(|how| how.text() == Some("erase")));
    let formatted: Vec<Node<'_>> = system.into_iter().chain(formatted.filter_map(|disk| disk.get("disk"))).collect();
    // About an array that is erased something else was said.
    let formatted: Vec<Node<'_>> =
        formatted.into_iter().filter(|disk| disk.get("md").or_else(|| disk.get("lvm")).is_none()).collect();
    erase(root, &formatted, report);
    if let Some(encryption) = root.get("encryption") {
        unlock(&encryption, report);
    }
}

fn role_disk(disk: &Node<'_>, report: &mut Report<'_>) {
    if disk.get("roles").is_some() && disk.list("roles").is_empty() {
        report.key(disk, "this disk has no role: give `roles`, or remove it");
    }
    let Some(prepare) = disk.get("prepare") else { return };
    match (prepare.text(), disk.get("disk")) {
        (Some("directory"), Some(selector)) => {
            report.both(&selector, "`disk` has no meaning with \"directory\", which uses none", &prepare, "`prepare`");
        }
        (_, Some(selector)) => volume(&selector, &prepare, report),
        (Some("adopt" | "erase"), None) => {
            report.key(
                &prepare,
                "`prepare` needs to know the disk: give `disk`, for example `disk = { serial = \"...\" }`",
            );
        }
        _ => {}
    }
    if let (Some(file_system), Some("adopt" | "directory")) = (disk.get("file-system"), prepare.text()) {
        report.both(&file_system, "`file-system` is for disks that are erased; this one is not", &prepare, "`prepare`");
    }
}

/// An array or a volume is named by itself, and is only adopted.
fn volume(selector: &Node<'_>, prepare: &Node<'_>, report: &mut Report<'_>) {
    let Some(named) = selector.get("md").or_else(|| selector.get("lvm")) else { return };
    if prepare.text() == Some("erase") {
        let text = "an array or a volume is only adopted. To give it up, name each of its disks in its place";
        report.both(prepare, text, &named, format!("`{}`", named.key));
    }
    if selector.table().is_some_and(|table| table.len() > 1) {
        report.key(selector, format!("`{}` names an array or a volume by itself: remove the other keys", named.key));
    }
}

fn selector(selector: &Node<'_>, report: &mut Report<'_>) {
    if is_empty(selector) {
        report.key(selector, "the selector is empty: name the disk, best by `by-id` or `serial`");
    }
    let (Some(min), Some(max)) = (selector.get("min-size"), selector.get("max-size")) else { return };
    if let (Some(least), Some(most)) = (min.quiet::<DiskSize>(), max.quiet::<DiskSize>()) {
        if least > most {
            report.both(&max, "no disk is that small: `max-size` is less than `min-size`", &min, "`min-size`");
        }
    }
}

/// Every formatted disk must be listed under `erase`, and nothing else. Which disk a serial
/// number or a size means shows only on the machine; then the plan compares.
fn erase(root: &Node<'_>, formatted: &[Node<'_>], report: &mut Report<'_>) {
    let listed = root.list("erase");
    let names: Vec<(ById, &Node<'_>)> = listed.iter().filter_map(|node| Some((node.quiet()?, node))).collect();
    unique(names.iter().map(|(name, node)| (name.clone(), (*node).clone())), report, |_| {
        "the disk is listed twice under `erase`".to_owned()
    });
    let (by_name, otherwise): (Vec<&Node<'_>>, Vec<&Node<'_>>) =
        formatted.iter().partition(|selector| selector.get("by-id").is_some());
    let ids: Vec<Option<ById>> = by_name.iter().map(|selector| selector.get("by-id")?.quiet()).collect();
    if names.len() < listed.len() || ids.contains(&None) || formatted.iter().any(is_empty) {
        return;
    }
    for (selector, id) in by_name.iter().zip(&ids) {
        if !names.iter().any(|(name, _)| Some(name) == id.as_ref()) {
            not_listed(root, selector, report);
        }
    }
    let free: Vec<&Node<'_>> =
        names.iter().filter(|(name, _)| !ids.contains(&Some(name.clone()))).map(|(_, node)| *node).collect();
    for selector in otherwise.iter().skip(free.len()) {
        not_listed(root, selector, report);
    }
    for node in free.iter().skip(otherwise.len()) {
        report.key(node, "`erase` lists a disk that nothing in this file formats: remove it");
    }
}

fn not_listed(root: &Node<'_>, selector: &Node<'_>, report: &mut Report<'_>) {
    let text = "this disk would be formatted, and `erase` at the top of the file does not list its name";
    match root.get("erase") {
        Some(erase) => report.both(selector, text, &erase, "`erase`"),
        None => report.key(selector, text),
    }
}

fn is_empty(selector: &Node<'_>) -> bool {
    selector.table().is_some_and(toml::map::Map::is_empty)
}

fn unlock(encryption: &Node<'_>, report: &mut Report<'_>) {
    let Some(unlock) = encryption.get("unlock") else { return };
    let (wanted, unwanted) = match unlock.text() {
        Some("passphrase") => ("passphrase", "pin"),
        Some("tpm2-pin") => ("pin", "passphrase"),
        _ => return,
    };
    if encryption.get(wanted).is_none() {
        let text = format!("`unlock` needs `{wanted}` in [encryption]: without it nobody could open the disks");
        report.key(&unlock, text);
    }
    if let Some(node) = encryption.get(unwanted) {
        report.both(&node, format!("`{unwanted}` has no meaning with this `unlock`: remove it"), &unlock, "`unlock`");
    }
}
