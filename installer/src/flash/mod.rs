//! Writing the image to a disk: the same code on a workstation (`hearth-image flash`) and
//! on the appliance. Wiping the wrong disk is what people fear most of every installer, so
//! looking and refusing come first ([`refusal`], [`target`]), the disk is claimed for the
//! whole run ([`medium`]), and what is written is read back before the disk can start
//! anything ([`write()`]).

mod buffer;
pub mod capacity;
mod chunks;
#[cfg(test)]
mod fake;
pub mod hearth_files;
pub mod installed;
mod medium;
pub mod medium_source;
mod note;
mod refusal;
mod table;
pub mod target;
mod write;

pub use chunks::{Piece, Problem, Work, plan};
pub use medium::{BlockDevice, Medium, is_claimed};
pub use note::Note;
pub use refusal::{Need, Refusal, all, data, judge, protected};
pub use table::FinalTable;
pub use write::{Job, Outcome, Watch, make_unbootable, total, write};

use crate::facts::Disk;
use crate::layout::ALIGNMENT;
use crate::units::Bytes;

/// Where former contents of a disk left signatures: both edges of every partition it had.
/// They would be taken for somebody's data once the disk is set up.
pub fn traces(disk: &Disk) -> Vec<(Bytes, Bytes)> {
    disk.partitions.iter().filter_map(|part| Some(edges(part.start?, part.size))).flatten().collect()
}

/// Where signatures lie in `size` bytes from `start`: the begin and the length of both edges.
pub fn edges(start: Bytes, size: Bytes) -> [(Bytes, Bytes); 2] {
    let len = Bytes(size.0.min(ALIGNMENT.0));
    [(start, len), (start + size.saturating_sub(len), len)]
}

#[cfg(test)]
mod tests;
