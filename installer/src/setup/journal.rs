//! What was begun and what was finished, a line each, on the disk before the next step
//! begins. It is a hint for people and for the few steps that cannot see by looking
//! whether they were interrupted: what the machine shows always counts more.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::machine::Machine;
use crate::page::text::wrap;

/// Where it lies: on root, so that it can be read with `data` gone.
pub const JOURNAL: &str = "/var/lib/hearth/setup/journal.jsonl";

/// What happened to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It begins.
    Begin,
    /// It is finished, and durable.
    Done,
    /// It failed.
    Failed,
    /// It is finished otherwise than asked; the note says how.
    Warned,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Record {
    seq: u64,
    plan: Digest,
    step: String,
    event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Of the line without this field.
    sum: Digest,
}

impl Record {
    fn new(seq: u64, plan: Digest, step: &str, event: Event, note: Option<String>) -> Self {
        let sum = sum(seq, plan, step, event, note.as_deref());
        Self { seq, plan, step: step.to_owned(), event, note, sum }
    }

    fn is_whole(&self) -> bool {
        self.sum == sum(self.seq, self.plan, &self.step, self.event, self.note.as_deref())
    }
}

fn sum(seq: u64, plan: Digest, step: &str, event: Event, note: Option<&str>) -> Digest {
    Digest::of(serde_json::to_vec(&(seq, plan, step, event, note)).unwrap_or_default())
}

/// The journal of one plan.
#[derive(Debug)]
pub struct Journal {
    plan: Digest,
    records: Vec<Record>,
}

impl Journal {
    /// Reads what earlier starts left. A torn last line, or one of another plan, does not count.
    pub fn read(machine: &impl Machine, plan: Digest) -> Result<Self> {
        let bytes = machine.read_file(JOURNAL)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        Ok(Self { plan, records: whole.filter(|record| record.is_whole() && record.plan == plan).collect() })
    }

    /// Whether an earlier start got as far as beginning.
    pub fn is_resumed(&self) -> bool {
        !self.records.is_empty()
    }

    /// Whether `step` was finished.
    pub fn is_done(&self, step: &str) -> bool {
        self.records.iter().any(|record| record.step == step && record.event == Event::Done)
    }

    /// Why the last start stopped, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.records.last().filter(|record| record.event == Event::Failed)?.note.as_deref()
    }

    /// What was done otherwise than asked, for the report.
    pub fn warnings(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        let warned = self.records.iter().filter(|record| record.event == Event::Warned);
        for note in warned.filter_map(|record| record.note.as_ref()) {
            // A step that the power interrupted after its warning warns again.
            if !told.contains(note) {
                told.push(note.clone());
            }
        }
        told
    }

    /// Writes down that `step` was done otherwise than asked, and says so.
    pub fn warn(&mut self, machine: &mut impl Machine, step: &str, text: String) -> Result<()> {
        for line in wrap("Hearth: WARNING: ", &text) {
            machine.say(&line);
        }
        self.note(machine, step, Event::Warned, Some(text))
    }

    /// Writes down what happens to `step`. It is on the disk when this returns.
    pub fn note(&mut self, machine: &mut impl Machine, step: &str, event: Event, note: Option<String>) -> Result<()> {
        let seq = self.records.last().map_or(0, |record| record.seq) + 1;
        let record = Record::new(seq, self.plan, step, event, note);
        let line = serde_json::to_string(&record).context("writing a line of the journal")?;
        machine.append_line(JOURNAL, &line).with_context(|| format!("writing {JOURNAL}"))?;
        self.records.push(record);
        Ok(())
    }
}
