//! The table: what was measured, as Markdown, between two marks in docs/benchmarks.md.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use hearth::run::Cmd;
use hearth::units::Bytes;
use hearth_image::qemu::Accel;

use crate::measure::{Cost, number};
use crate::ours::Size;

const BEGIN: &str = "<!-- measured: `just bench` writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// The share of mkosi's time that a build may take.
const CLEAN_TARGET: f64 = 0.25;
const REBUILD_TARGET: f64 = 0.10;

/// All that was measured; pairs are ours and mkosi's.
#[derive(Debug)]
pub struct Results {
    /// A clean build.
    pub clean: (Cost, Cost),
    /// A rebuild after a change in an overlay.
    pub rebuild: (Cost, Cost),
    /// The images.
    pub image: (Size, Size),
    /// Our image, compressed.
    pub compressed: Bytes,
    /// A build of ours with empty caches.
    pub cold: Option<Cost>,
    /// From power-on to the first page, and what emulated the machine.
    pub page: (Duration, Accel),
    /// How many packages are in both images.
    pub packages: usize,
    /// mkosi as it names itself.
    pub mkosi: String,
}

impl Results {
    /// The table, with a line on the machine and the day.
    pub fn table(&self) -> Result<String> {
        let today = Cmd::new("asking for the date", "date").arg("+%F").stdout()?;
        let cores = std::thread::available_parallelism().context("counting the cores")?;
        let memory = Bytes::kib(number("/proc/meminfo", "MemTotal:")?);
        let mut text = format!(
            "Measured {today} on {cores} cores with {memory} of memory; {} packages; {}.\n\n\
             | | Hearth | mkosi | share | target |\n|---|---|---|---|---|\n",
            self.packages, self.mkosi
        );
        let mut row = |what: &str, ours: &dyn Display, theirs: &dyn Display, share: &str, target: &str| {
            text += &format!("| {what} | {ours} | {theirs} | {share} | {target} |\n");
        };
        for (what, (ours, theirs), target) in [
            ("clean build", self.clean, CLEAN_TARGET),
            ("rebuild after a change in overlays/", self.rebuild, REBUILD_TARGET),
        ] {
            let share = ours.wall.as_secs_f64() / theirs.wall.as_secs_f64();
            let times = (seconds(ours.wall), seconds(theirs.wall));
            row(what, &times.0, &times.1, &format!("{share:.3}"), &format!("at most {target:.2}"));
        }
        let (ours, theirs) = self.clean;
        row("peak memory, clean build", &ours.memory, &theirs.memory, "", "");
        row("written to disk, clean build", &ours.written, &theirs.written, "", "");
        let (ours, theirs) = self.rebuild;
        row("peak memory, rebuild", &ours.memory, &theirs.memory, "", "");
        row("written to disk, rebuild", &ours.written, &theirs.written, "", "");
        let (ours, theirs) = self.image;
        row("raw image", &ours.length, &theirs.length, "", "");
        row("raw image, stored", &ours.stored, &theirs.stored, "", "");
        row("image, .zst", &self.compressed, &"", "", "");
        if let Some(cold) = self.cold {
            row("cold build: no caches at all", &seconds(cold.wall), &"", "", "");
        }
        let (page, accel) = self.page;
        row(&format!("power-on to the first page, UEFI, {accel:?}"), &seconds(page), &"", "", "");
        Ok(text)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Puts `table` between the marks in the document at `path`.
pub fn write(path: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    fs::write(path, replaced(&text, table)?).with_context(|| format!("writing {}", path.display()))
}

fn replaced(text: &str, table: &str) -> Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| anyhow!("the marks are missing that say where the table belongs"))?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_last_one() {
        let text = format!("a\n{BEGIN}old\n{END}z\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}z\n"));
        assert!(replaced("nothing", "new\n").is_err());
    }
}
