//! What setup writes: every file, made from the answers alone. Nothing here looks at the
//! machine, at a clock or at random numbers, so that the same answers always give the same
//! bytes, the plan can show them beforehand, and `hearth change` can compare.
//!
//! Values reach files by typed serialisation, or in line formats by writers for values whose
//! types have no character that means something there. Nothing is put into a text template.

pub mod admin;
pub mod authelia;
pub mod docker;
pub mod firewall;
pub mod grub;
pub mod identity;
pub mod network;
pub mod present;
pub mod report;
pub mod secrets;
pub mod stacks;

#[cfg(test)]
mod golden;

use std::fmt;

use zeroize::Zeroizing;

use crate::answers::{Domain, Hostname};

/// What the names of all services end with: the public name, or one that is never public.
pub fn base_name(hostname: &Hostname, domain: Option<&Domain>) -> String {
    domain.map_or_else(|| format!("{hostname}.home.arpa"), |domain| domain.name.to_string())
}

/// A file to write, in whole.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Where it lies.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Whom it belongs to.
    pub owner: Owner,
    /// What is in it. It may hold a secret, so it is overwritten when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Whom a file belongs to, by number: names are the machine's, and another one than this may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Authelia in its container. No account of the machine has that number: people begin at 1000
    /// and are few, the system ends at 999.
    pub const AUTHELIA: Self = Self { uid: 2001, gid: 2001 };
}

impl File {
    /// A file of root's that everybody may read.
    pub fn public(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(path, 0o644, Owner::ROOT, text.into().into_bytes())
    }

    /// A file that nobody but `owner` may read.
    pub fn private(path: impl Into<String>, owner: Owner, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path, 0o600, owner, bytes.into())
    }

    /// Any file.
    pub fn new(path: impl Into<String>, mode: u32, owner: Owner, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode, owner, bytes: Zeroizing::new(bytes) }
    }
}

/// A symbolic link to make, in the place of whatever file or link is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it lies.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

impl Link {
    fn new(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), target: target.into() }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { uid, gid } = self.owner;
        write!(f, "{} {:04o} {uid}:{gid}, {} bytes", self.path, self.mode, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_without_what_is_in_it() {
        let file = File::private("/etc/x", Owner { uid: 7, gid: 8 }, *b"hunter2");
        assert_eq!(format!("{file:?}"), "/etc/x 0600 7:8, 7 bytes");
    }
}
