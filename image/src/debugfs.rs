//! debugfs edits an ext4 file system without mounting it. It exits with 0
//! whatever happens, so what it says on stderr decides.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::mark_if_full;
use hearth::run::Cmd;
use hearth::units::Bytes;

use crate::sparse::Extent;

/// Runs the script `script` on `device`, with `debugfs` ready to take arguments.
pub fn run(mut debugfs: Command, script: &Path, device: &str) -> Result<()> {
    let out = debugfs
        .arg("-w")
        .arg("-f")
        .arg(script)
        .arg(device)
        .stdin(Stdio::null())
        .output()
        .context("starting debugfs")?;
    let said = String::from_utf8_lossy(&out.stderr);
    let complaints: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()).collect();
    if out.status.success() && complaints.is_empty() {
        return Ok(());
    }
    let error = anyhow!("editing the root file system failed: debugfs says: {}", complaints.join("; "));
    Err(mark_if_full(error, &said))
}

/// What a run with `-z undo` wrote to, as runs of the file system that lies in `image` and whose blocks have
/// `block` bytes; with `e2undo` ready to take arguments. Not told is the superblock: it is always written to, and e2fsprogs
/// counts its place from the start of the file that the file system lies in.
pub fn written(e2undo: Command, undo: &Path, image: &Path, block: Bytes) -> Result<Vec<Extent>> {
    let listing = Cmd::from_command("listing what debugfs wrote to", e2undo).args(["-n", "-v"]).arg(undo).arg(image);
    listing.stdout()?.lines().map(|line| written_by(line, block)).collect()
}

/// `Replayed block of size 8192 from 2205 to 33`: bytes, the place in the undo file, the block.
fn written_by(line: &str, block: Bytes) -> Result<Extent> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let numbers = match words.as_slice() {
        ["Replayed", "block", "of", "size", size, "from", _, "to", to] => size.parse().ok().zip(to.parse().ok()),
        _ => None,
    };
    let (size, to) = numbers.with_context(|| format!("e2undo says `{line}`, which is not understood"))?;
    let start = block * to;
    Ok(Extent { start, end: start + Bytes(size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_from_e2undos_words() {
        let read = |line| written_by(line, Bytes::kib(4)).ok();
        let extent = Extent { start: Bytes::kib(132), end: Bytes::kib(140) };
        assert_eq!(read("Replayed block of size 8192 from 2205 to 33"), Some(extent));
        for line in ["", "Replayed block of size 8192 from 2205 to", "Replayed block of size x from 1 to 2", "Undo"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
