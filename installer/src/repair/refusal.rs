//! Every reason not to repair a machine, each with a code that scripts can rely on.

use crate::page::text::cut;

/// Why a disk is not one whose system could be written anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// Neither of its two tables can be read.
    #[error("neither its partition table nor the table's copy can be read ({0})")]
    NoTable(String),
    /// Not Hearth's partitions.
    #[error("it has not the partitions of a Hearth that was set up: {0}")]
    NotHearth(String),
    /// Its table counts in other sectors than the image's.
    #[error("it counts in sectors of {0} bytes, and this image in those of {1}")]
    SectorSize(u32, u32),
    /// The partitions lie elsewhere than those of this image.
    #[error("its partition {0} lies elsewhere than that of this image: use the image it was set up with")]
    Moved(&'static str),
    /// The system does not fit.
    #[error("this image needs more than the {0} that its partition root-a has")]
    TooSmall(crate::units::Bytes),
    /// It must not be written to.
    #[error("{0}")]
    Protected(crate::flash::Refusal),
    /// There is no data.
    #[error("its partition data holds {0}")]
    NoData(String),
    /// Data cannot be mounted.
    #[error("its data cannot be mounted ({0})")]
    Unmountable(String),
    /// There is no record.
    #[error("its data holds no record of the system: a Hearth older than 0.1.0 set it up, or not to the end")]
    NoRecord,
    /// The record is a later one's.
    #[error("its record was written by Hearth {0}: use the image of that version, or a later one")]
    NewerRecord(String),
    /// The record cannot be read.
    #[error("its record is damaged ({0})")]
    DamagedRecord(String),
    /// The record is of another table.
    #[error("its data belongs to another partition table: {0}")]
    OtherTable(&'static str),
}

impl Unable {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTable(_) => "no-table",
            Self::NotHearth(_) => "not-hearth",
            Self::SectorSize(..) => "sector-size",
            Self::Moved(_) => "other-layout",
            Self::TooSmall(_) => "too-small",
            Self::Protected(why) => why.code(),
            Self::NoData(_) => "no-data",
            Self::Unmountable(_) => "data-damaged",
            Self::NoRecord => "no-record",
            Self::NewerRecord(_) => "newer-record",
            Self::DamagedRecord(_) => "record-damaged",
            Self::OtherTable(_) => "other-table",
        }
    }
}

/// Why nothing is repaired. Every reason that applies is told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in setup mode.
    #[error("Hearth was not started in setup mode. Start this machine from a stick with the image.")]
    NotSetup,
    /// Started from what is to be repaired.
    #[error(
        "Hearth was started from the disk that it runs from ({0}), which cannot be written to meanwhile. Start this \
         machine from a stick with the image."
    )]
    FromItself(String),
    /// No disk, or several, below `/`.
    #[error("Hearth cannot tell which disk it was started from.")]
    NoBootDisk,
    /// The disk that Hearth was started from is no source.
    #[error("{0}.")]
    NoCopy(String),
    /// A disk that cannot be repaired.
    #[error("{disk}: {why}.")]
    Disk {
        /// The disk, for people.
        disk: String,
        /// Why not.
        why: Unable,
    },
    /// There are no other disks.
    #[error("this machine has no disk besides the one that Hearth was started from.")]
    NoDisk,
    /// No disk has the name that was given.
    #[error("no disk is called {0}. `hearth facts` tells the names.")]
    NotThere(String),
    /// Several could be repaired.
    #[error("several disks could be repaired: {}. Name one: `hearth repair NAME`.", .0.join(", "))]
    Several(Vec<String>),
}

impl Refusal {
    /// A code that stays the same whatever becomes of the words.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSetup => "not-setup",
            Self::FromItself(_) => "from-itself",
            Self::NoBootDisk => "no-boot-disk",
            Self::NoCopy(_) => "no-copy",
            Self::Disk { why, .. } => why.code(),
            Self::NoDisk => "no-disk",
            Self::NotThere(_) => "not-there",
            Self::Several(_) => "several",
        }
    }
}

/// All of them, a line each.
pub fn all(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("[{}] {refusal}", refusal.code())).collect::<Vec<_>>().join("\n")
}

/// What an error was, in few enough words for a sentence.
pub(super) fn brief(error: &anyhow::Error) -> String {
    cut(&format!("{error:#}").replace('\n', " "), 200)
}
