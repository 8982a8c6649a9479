//! Who may log in, and what is there for them.

use crate::answers::node::{Node, Report};
use crate::answers::schema::StackName;
use crate::answers::types::LoginName;

use super::{needs, unique};

pub(super) fn check(root: &Node<'_>, report: &mut Report<'_>) {
    users(root, report);
    stacks(root, report);
    if let Some(mail) = root.get("mail") {
        needs(&mail, "username", "password", "the two belong together", report);
        needs(&mail, "password", "username", "the two belong together", report);
        if mail.table().is_some() && mail.list("to").is_empty() {
            report.key(&mail, "[mail] does not say who gets the mails: give `to`");
        }
    }
}

fn users(root: &Node<'_>, report: &mut Report<'_>) {
    let users = root.list("users");
    let names =
        users.iter().filter_map(|user| user.get("name")).filter_map(|node| Some((node.quiet::<LoginName>()?, node)));
    unique(names, report, |_| "two [[users]] have the same `name`".to_owned());
    let (Some(first), Some(login)) = (users.first(), root.get("admin").and_then(|admin| admin.get("login"))) else {
        return;
    };
    let Some(admin) = login.quiet::<LoginName>() else { return };
    let user = users.iter().find(|user| user.get("name").is_some_and(|name| name.quiet().as_ref() == Some(&admin)));
    let Some(user) = user else {
        report.both(
            first,
            "none of the [[users]] is the admin, who has to be one of them",
            &login,
            "the admin's `login`",
        );
        return;
    };
    let is_admin = user.list("groups").iter().any(|group| group.text() == Some("admins"));
    if !is_admin {
        let text = "this user is the admin and must be in the group \"admins\"";
        report.both(user, text, &login, "the admin's `login`");
    }
}

fn stacks(root: &Node<'_>, report: &mut Report<'_>) {
    let stacks = root.list("stacks");
    let named = stacks.iter().filter_map(|node| Some((node.quiet::<StackName>()?, node.clone())));
    unique(named, report, |_| "the stack is listed twice".to_owned());
    let find = |name: &str| stacks.iter().find(|stack| stack.text() == Some(name));
    if let (Some(first), None) = (stacks.first(), find("core")) {
        report.key(first, "every stack needs \"core\": add it to `stacks`");
    }
    if let (Some(core), true) = (find("core"), root.list("users").is_empty()) {
        report.key(core, "\"core\" needs somebody who can log in to the portal: add the admin as one of [[users]]");
    }
    if let (Some(vpn), None) = (root.get("vpn"), find("media")) {
        report.key(&vpn, "[vpn] is for the stack \"media\", which `stacks` does not list: add it, or remove [vpn]");
    }
    if let Some(backup) = find("backup") {
        if root.get("backup").is_none_or(|section| section.list("repositories").is_empty()) {
            report.key(
                backup,
                "the stack \"backup\" shows repositories, and there are none: add [[backup.repositories]]",
            );
        }
    }
}
