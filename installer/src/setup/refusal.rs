//! Every reason not to set a machine up as the answers ask. All that apply are told at
//! once, each with a code that scripts can rely on.

use crate::render::{docker, network};
use crate::units::Bytes;
use crate::{adopt, flash};

/// Why the answers cannot be followed on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in setup mode.
    #[error("Hearth was not started in setup mode. Restart and choose setup in the menu.")]
    NotSetup,
    /// The disk that Hearth was started from cannot become the system disk.
    #[error("`system.disk`: {0}")]
    System(adopt::Refusal),
    /// The disk that Hearth was started from is no source for another one.
    #[error("`system.disk`: {0}.")]
    NoCopy(String),
    /// A disk that the answers name must not be written to.
    #[error("`{key}`: {why}")]
    Disk {
        /// Where the answers name it.
        key: String,
        /// Why not.
        why: flash::Refusal,
    },
    /// Two answers mean one disk.
    #[error("`{first}` and `{second}` both mean {disk}. Give each its own disk, or one disk all its roles.")]
    SameDisk {
        /// Where it is named first.
        first: String,
        /// Where it is named again.
        second: String,
        /// The disk.
        disk: String,
    },
    /// It would be formatted, and `erase` does not list it.
    #[error(
        "`{key}`: {disk} would be erased ({holds}), and `erase` does not list it. Add \"{by_id}\" there if you are sure."
    )]
    NotListed {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// What is on it.
        holds: String,
        /// Its name for `erase`.
        by_id: String,
    },
    /// It would be formatted, and no list can name it.
    #[error(
        "`{key}`: {disk} would be erased ({holds}), and it has no name under /dev/disk/by-id that `erase` could list. \
         Use a disk that has one; in a virtual machine, give this one a serial number."
    )]
    NoStableName {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// What is on it.
        holds: String,
    },
    /// `erase` lists a disk that will not be formatted.
    #[error("`erase` lists {name}{}. Remove it from the list.", listed(.disk.as_deref()))]
    ListedInVain {
        /// What is listed.
        name: String,
        /// The disk that it is, if there is one.
        disk: Option<String>,
    },
    /// A Hearth lives on it.
    #[error(
        "`{key}`: {disk} holds Hearth {name}, last used {last_used}. Setup does not erase it. To give the disk up, write the image to it with `hearth-image flash --erase-hearth {name}` first."
    )]
    HearthInstalled {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// Its host name.
        name: String,
        /// The day it was last used.
        last_used: String,
    },
    /// There is nothing to adopt.
    #[error("`{key}`: {disk} cannot be adopted: {why}.")]
    CannotAdopt {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// Why not.
        why: String,
    },
    /// There is no such array or volume.
    #[error("`{key}`: {wanted} is not there. {there}.")]
    NoVolume {
        /// Where the answers name it.
        key: String,
        /// What they name.
        wanted: String,
        /// Which ones are there.
        there: String,
    },
    /// It belongs to an array or a volume that is adopted.
    #[error("`{key}`: {disk} is part of {of}, which `{adopted}` adopts. Name another disk, or adopt nothing of it.")]
    Member {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// The array or the volume.
        of: String,
        /// Where the answers adopt that.
        adopted: String,
    },
    /// A PIN needs a TPM.
    #[error(
        "`encryption.unlock`: this machine has no TPM 2.0 that Linux can use. Switch it on in the firmware's settings \
         (fTPM, PTT, security device), or say unlock = \"passphrase\"."
    )]
    NoTpm,
    /// The recovery kit would be of no use.
    #[error("`recovery-kit`: {file}: {why}.")]
    Kit {
        /// Where it would be.
        file: String,
        /// Why not there.
        why: String,
    },
    /// It does not fit.
    #[error("`{key}`: {disk} has {size}, but {need} are needed. Use a larger disk.")]
    TooSmall {
        /// Where the answers name it.
        key: String,
        /// The disk.
        disk: String,
        /// Its size.
        size: Bytes,
        /// The smallest that is enough.
        need: Bytes,
    },
    /// The network cannot be what it should be.
    #[error(transparent)]
    Network(network::Refusal),
    /// There are no addresses for containers.
    #[error(transparent)]
    Containers(docker::NoRange),
    /// What this version cannot do.
    #[error("`{key}`: {why}")]
    NotYet {
        /// The answer.
        key: String,
        /// What is missing.
        why: String,
    },
}

impl Refusal {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSetup => "not-setup",
            Self::System(why) => why.code(),
            Self::NoCopy(_) => "no-copy",
            Self::Disk { why, .. } => why.code(),
            Self::SameDisk { .. } => "same-disk",
            Self::NotListed { .. } => "not-listed",
            Self::NoStableName { .. } => "no-stable-name",
            Self::ListedInVain { .. } => "listed-in-vain",
            Self::HearthInstalled { .. } => "hearth-installed",
            Self::CannotAdopt { .. } => "cannot-adopt",
            Self::NoVolume { .. } => "no-such-volume",
            Self::Member { .. } => "member",
            Self::NoTpm => "no-tpm",
            Self::Kit { .. } => "kit",
            Self::TooSmall { .. } => "too-small",
            Self::Network(why) => why.code(),
            Self::Containers(why) => why.code(),
            Self::NotYet { .. } => "not-yet",
        }
    }
}

fn listed(disk: Option<&str>) -> String {
    match disk {
        Some(disk) => format!(", and nothing in the answers formats it ({disk})"),
        None => ", and no disk of that name is there".to_owned(),
    }
}

/// Refusals as one text: a line each, with their codes.
pub fn all(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(|refusal| format!("[{}] {refusal}", refusal.code())).collect();
    lines.join("\n")
}
