//! Transcripts that are kept: what a console showed, without what is another one in each run. A
//! changed wording then shows in review, in `qemu-tests/golden`; `HEARTH_BLESS=1` writes it anew.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::lab::Lab;

/// A terminal's size, in characters and lines.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// Fails unless `shown`, with every piece of `varies` (what was shown, what stands for it) replaced, is what is
/// kept as `name`.
pub fn compare(name: &str, shown: &str, varies: &[(&str, &str)]) -> Result<()> {
    let mut shown: String = shown.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    for (text, stands) in varies {
        shown = shown.replace(text, stands);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("HEARTH_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).context("making the folder of transcripts")?;
        return std::fs::write(&path, shown).with_context(|| format!("writing {}", path.display()));
    }
    let kept = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    same("what was shown", &shown, &format!("{} (HEARTH_BLESS=1 writes it anew)", path.display()), &kept)
}

/// Fails, with the lines that only one of them has, unless two texts are the same.
pub fn same(one_is: &str, one: &str, other_is: &str, other: &str) -> Result<()> {
    let alone = |one: &str, other: &str| {
        let lines: Vec<&str> = one.lines().filter(|line| !other.lines().any(|same| same == *line)).collect();
        lines.join("\n")
    };
    ensure!(
        one == other,
        "{one_is} and {other_is} differ. Only in the former:\n{}\nOnly in the latter:\n{}",
        alone(one, other),
        alone(other, one)
    );
    Ok(())
}

/// Fails if `shown`, what came between two things that were typed, cannot be read at once on a small terminal.
pub fn fits(shown: &str) -> Result<()> {
    // A line that somebody typed, such as a key, may be longer.
    let rows: usize = shown.lines().map(|line| line.chars().count().div_ceil(COLUMNS).max(1)).sum();
    ensure!(rows <= ROWS, "{rows} lines came at once, and a terminal shows {ROWS}:\n{shown}");
    Ok(())
}

/// Fails if anything but lines of plain text came on the serial port of `machine` between `from` and `to`: no
/// terminal is asked to do more, whatever it is called.
pub fn text_only(lab: &Lab, machine: &str, from: &str, to: &str) -> Result<()> {
    let path = lab.artifacts().join(machine).join("serial.txt");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let (begins, ends) = (memchr::memmem::find(&bytes, from.as_bytes()), memchr::memmem::rfind(&bytes, to.as_bytes()));
    let (begins, ends) = begins.zip(ends).filter(|(begins, ends)| begins < ends).context("nothing was asked there")?;
    let other = bytes[begins..ends].iter().find(|byte| !matches!(byte, b'\r' | b'\n' | b' '..=b'~'));
    ensure!(other.is_none(), "the serial port got the byte {other:?} between lines of text");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screenful_fits() {
        fits(&"line\n".repeat(24)).unwrap();
        assert!(fits(&"line\n".repeat(25)).is_err());
        assert!(fits(&format!("{}{}", "line\n".repeat(23), "x".repeat(81))).is_err());
    }
}
