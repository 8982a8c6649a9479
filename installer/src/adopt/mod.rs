//! Running from this disk: the image, written to a disk as it is, becomes a machine
//! of its own on that disk.

use crate::facts::{Facts, Mode};
use crate::page::{DataState, Situation};

/// What Hearth is doing on this machine.
pub fn situation(facts: &Facts) -> Situation {
    match facts.mode {
        Some(Mode::Normal) => Situation::Running(DataState::Mounted),
        _ => Situation::Setup,
    }
}
