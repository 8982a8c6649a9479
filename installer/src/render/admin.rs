//! The person who looks after the machine: an account, and the keys that may log in to it.
//!
//! Who may come in by SSH is said by one file for each login and by nothing else: the
//! image's sshd takes keys only, and only from that folder. So the file is written without
//! keys as well, and then nobody comes in.

use super::File;
use crate::answers::{Admin, ConsoleHash, Secret};

/// The group whose members may use sudo. Not docker: that would be root without a password.
pub const GROUP: &str = "admins";

/// The account to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its login name.
    pub login: String,
    /// The groups besides its own.
    pub groups: Vec<&'static str>,
    /// Its shell.
    pub shell: &'static str,
    /// The hash of the password for the console. Without it one is to be made.
    pub password_hash: Option<Secret<ConsoleHash>>,
}

/// The account for `admin`.
pub fn account(admin: &Admin) -> Account {
    Account {
        login: admin.login.to_string(),
        groups: vec![GROUP],
        shell: "/bin/bash",
        password_hash: admin.password_hash.clone(),
    }
}

/// The keys that may log in by SSH.
pub fn files(admin: &Admin) -> Vec<File> {
    let login = &admin.login;
    let mut text = format!("# Who may log in by SSH as {login}. Hearth writes this file.\n");
    for key in &admin.ssh_keys {
        // A key is one line and begins with its kind, so it brings no options along.
        text.push_str(&format!("{key}\n"));
    }
    vec![File::public(format!("/etc/ssh/authorized_keys.d/{login}"), text)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden;

    #[test]
    fn keys_are_written_one_a_line() {
        let admin = golden::answers("05-static-address").admin.unwrap();
        golden::check("admin", &files(&admin));
    }

    #[test]
    fn without_keys_nobody_comes_in() {
        let admin = golden::answers_with("", "[admin]\nlogin = \"ada\"").admin.unwrap();
        let files = files(&admin);
        let text = String::from_utf8(files[0].bytes.to_vec()).unwrap();
        assert!(!text.is_empty() && text.lines().all(|line| line.starts_with('#')), "{text}");
    }

    #[test]
    fn the_admin_is_not_in_group_docker() {
        let hash = "$y$j9T$ZVvdycn1Mfb5rtmnJSjh./$0gx1/XyT5FFkWVDkTzWBqmIw5ctvFKiesPIKxhOThn1";
        let more = format!("[admin]\nlogin = \"ada\"\npassword-hash = \"{hash}\"").replace("OThn1", "OThn2");
        let account = account(&golden::answers_with("", &more).admin.unwrap());
        assert_eq!((account.login.as_str(), account.groups.as_slice()), ("ada", ["admins"].as_slice()));
        assert!(account.password_hash.is_some() && !format!("{account:?}").contains("j9T"));
    }
}
