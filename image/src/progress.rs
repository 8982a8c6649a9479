//! What a person or a program sees while we work: bars on a terminal, plain
//! lines elsewhere, one JSON object a line on request. Always on stderr, so that
//! stdout stays for results.

use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hearth::exit::say;
use hearth::units::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Bars if stderr is a terminal, plain lines otherwise.
    #[default]
    Auto,
    /// One line an event.
    Plain,
    /// One JSON object a line: `event`, `step`, and what belongs to it.
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Chooses the format for the whole process; the first call wins.
pub fn choose(format: LogFormat) {
    let terminal = std::io::stderr().is_terminal();
    let format = if format == LogFormat::Auto && !terminal { LogFormat::Plain } else { format };
    let _ = FORMAT.set(format);
}

/// The chosen format as a word for `--log-format`.
pub fn chosen() -> &'static str {
    match format() {
        LogFormat::Auto => "auto",
        LogFormat::Plain => "plain",
        LogFormat::Json => "json",
    }
}

fn format() -> LogFormat {
    *FORMAT.get().unwrap_or(&LogFormat::Plain)
}

/// Says something that is not part of a step.
pub fn note(text: &str) {
    match format() {
        LogFormat::Json => say(json!({ "event": "note", "text": text })),
        _ => say(text),
    }
}

/// Where there is no bar, long work says how far it is this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// So often where a program reads it.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// One named piece of work; it says when it begins and how long it took.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    length: Option<Length>,
}

/// How long a step is, and how far.
#[derive(Debug)]
struct Length {
    total: Bytes,
    /// What is done, and when that was last told.
    reached: Mutex<(Bytes, Instant)>,
}

/// Begins a step whose length is unknown.
pub fn step(name: impl Into<String>) -> Step {
    Step::begin(name.into(), None)
}

/// Begins a step over `total` bytes.
pub fn bytes_step(name: impl Into<String>, total: Bytes) -> Step {
    Step::begin(name.into(), Some(total))
}

impl Step {
    fn begin(name: String, total: Option<Bytes>) -> Self {
        let bar = match (format(), total) {
            (LogFormat::Json, _) => {
                say(json!({ "event": "begin", "step": name, "bytes": total }));
                None
            }
            (LogFormat::Plain, _) => None,
            (LogFormat::Auto, Some(total)) => Some(ProgressBar::new(total.0).with_style(bytes_style())),
            (LogFormat::Auto, None) => Some(ProgressBar::new_spinner()),
        };
        if let Some(bar) = &bar {
            bar.set_message(name.clone());
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
        }
        let started = Instant::now();
        let length = total.map(|total| Length { total, reached: Mutex::new((Bytes::ZERO, started)) });
        Self { name, started, bar, length }
    }

    /// `count` more bytes are done.
    pub fn advance(&self, count: Bytes) {
        if let Some(bar) = &self.bar {
            bar.inc(count.0);
        }
        let every = if format() == LogFormat::Json { JSON_EVERY } else { PLAIN_EVERY };
        let Some(length) = &self.length else { return };
        let mut reached = length.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.0 = reached.0 + count;
        if self.bar.is_none() && reached.1.elapsed() >= every {
            reached.1 = Instant::now();
            self.tell(&Pace::new(reached.0, length.total, self.started.elapsed()));
        }
    }

    fn tell(&self, pace: &Pace) {
        match format() {
            LogFormat::Json => {
                let Pace { done, total, per_second, left } = *pace;
                let name = &self.name;
                say(json!({ "event": "progress", "step": name, "bytes": done, "total": total,
                            "bytes-per-second": per_second, "seconds-left": left.as_secs() }));
            }
            _ => say(format_args!("           {}: {}", self.name, pace.words())),
        }
    }

    /// Ends the step, with a few words on its result.
    pub fn done(mut self, result: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let name = &self.name;
        match format() {
            LogFormat::Json => {
                say(json!({ "event": "done", "step": name, "seconds": seconds, "result": result }));
            }
            _ if result.is_empty() => say(format_args!("{seconds:7.1} s  {name}")),
            _ => say(format_args!("{seconds:7.1} s  {name}: {result}")),
        }
    }
}

/// How fast a step is, and how much longer it takes if it stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    done: Bytes,
    total: Bytes,
    per_second: Bytes,
    left: Duration,
}

impl Pace {
    fn new(done: Bytes, total: Bytes, elapsed: Duration) -> Self {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = Bytes(done.0.saturating_mul(1000) / millis);
        let left = total.saturating_sub(done).0 / per_second.0.max(1);
        Self { done, total, per_second, left: Duration::from_secs(left) }
    }

    fn words(&self) -> String {
        let percent = self.done.0.saturating_mul(100) / self.total.0.max(1);
        let left = humantime::format_duration(self.left);
        format!("{percent} % of {}, {}/s, {left} left", self.total, self.per_second)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        // Dropped without `done`: the error that follows says why.
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bytes_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_told_with_what_is_left() {
        let pace = Pace::new(Bytes::mib(500), Bytes::mib(2000), Duration::from_secs(20));
        assert_eq!(pace.words(), "25 % of 2.0 GiB, 25.0 MiB/s, 1m left");
        let nothing_yet = Pace::new(Bytes::ZERO, Bytes::ZERO, Duration::ZERO);
        assert_eq!(nothing_yet.words(), "0 % of 0 B, 0 B/s, 0s left");
    }
}
