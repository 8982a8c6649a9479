//! What a person or a program sees while we work: bars on a terminal, plain
//! lines elsewhere, one JSON object a line on request. Always on stderr, so that
//! stdout stays for results.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Instant;

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
        LogFormat::Json => eprintln!("{}", json!({ "event": "note", "text": text })),
        _ => eprintln!("{text}"),
    }
}

/// One named piece of work; it says when it begins and how long it took.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
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
                eprintln!("{}", json!({ "event": "begin", "step": name, "bytes": total }));
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
        Self { name, started: Instant::now(), bar }
    }

    /// `count` more bytes are done.
    pub fn advance(&self, count: Bytes) {
        if let Some(bar) = &self.bar {
            bar.inc(count.0);
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
                let done = json!({ "event": "done", "step": name, "seconds": seconds, "result": result });
                eprintln!("{done}");
            }
            _ if result.is_empty() => eprintln!("{seconds:7.1} s  {name}"),
            _ => eprintln!("{seconds:7.1} s  {name}: {result}"),
        }
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
