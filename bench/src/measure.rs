//! What running a program costs: time, memory, bytes written.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hearth::units::Bytes;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// How far the machine's available memory sank: processes and what lies in tmpfs, but
    /// not the page cache.
    pub memory: Bytes,
    /// What it and all its children wrote to files on disks.
    pub written: Bytes,
}

/// Runs `command` to its end; its output is shown only if it fails.
pub fn run(mut command: Command) -> Result<Cost> {
    // What an earlier run left to write would be written while this one is measured.
    nix::unistd::sync();
    let written = written()?;
    let before = available()?;
    let over = AtomicBool::new(false);
    command.stdin(Stdio::null());
    std::thread::scope(|scope| {
        let lowest = scope.spawn(|| -> Result<Bytes> {
            let mut lowest = before;
            while !over.load(Ordering::Relaxed) {
                lowest = Bytes(lowest.0.min(available()?.0));
                std::thread::sleep(SAMPLE);
            }
            Ok(lowest)
        });
        let started = Instant::now();
        let out = command.output();
        let wall = started.elapsed();
        over.store(true, Ordering::Relaxed);
        let lowest = lowest.join().map_err(|_| anyhow!("watching the memory panicked"))??;
        let out = out.with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            let tail: Vec<&str> = said.lines().rev().take(20).collect();
            let tail: String = tail.iter().rev().map(|line| format!("\n  {line}")).collect();
            return Err(anyhow!("{} ended with {}:{tail}", command.get_program().to_string_lossy(), out.status));
        }
        let written = self::written()?.saturating_sub(written);
        Ok(Cost { wall, memory: before.saturating_sub(lowest), written })
    })
}

/// The cost in the middle, by time.
pub fn middle(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    costs[costs.len() / 2]
}

fn available() -> Result<Bytes> {
    Ok(Bytes::kib(number("/proc/meminfo", "MemAvailable:")?))
}

/// What we and all children that have ended caused to be written.
fn written() -> Result<Bytes> {
    let dropped = number("/proc/self/io", "cancelled_write_bytes:")?;
    Ok(Bytes(number("/proc/self/io", "write_bytes:")?).saturating_sub(Bytes(dropped)))
}

/// The number after `key` at the start of a line of `path`.
pub fn number(path: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| anyhow!("{path} has no line `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_cost_and_a_failure_its_last_words() {
        let mut command = Command::new("sleep");
        command.arg("0.2");
        assert!(run(command).unwrap().wall >= Duration::from_millis(200));
        let mut command = Command::new("sh");
        command.args(["-c", "echo why >&2; exit 3"]);
        assert!(run(command).unwrap_err().to_string().ends_with("\n  why"));
    }

    #[test]
    fn the_middle_is_by_time() {
        let cost = |seconds| Cost { wall: Duration::from_secs(seconds), memory: Bytes::ZERO, written: Bytes::ZERO };
        assert_eq!(middle(vec![cost(9), cost(1), cost(3)]).wall, Duration::from_secs(3));
    }
}
