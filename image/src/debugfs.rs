//! debugfs edits an ext4 file system without mounting it. It exits with 0
//! whatever happens, so what it says on stderr decides.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::mark_if_full;

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
