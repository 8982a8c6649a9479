//! The file that carries an approved setup through restarts and from stick to disk. The
//! answers travel beside it, as `hearth.toml`; only their digest is in here.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::plan::{FORMAT, SetupPlan};
use crate::adopt::By;
use crate::digest::Digest;

/// What it is called in the top folder of HEARTH.
pub const SETUP_FILE: &str = "hearth.setup";

/// An approved setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Approved {
    /// Of the plan: a torn file is noticed by it.
    pub digest: Digest,
    /// Of the answer file's bytes: they must still be those that were approved.
    pub answers: Digest,
    /// Who approved.
    pub by: By,
    /// What was approved.
    pub plan: SetupPlan,
}

impl Approved {
    /// `plan`, made from an answer file of these bytes, approved by `by`.
    pub fn new(plan: SetupPlan, answers: &[u8], by: By) -> Self {
        Self { digest: plan.digest(), answers: Digest::of(answers), by, plan }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).context("writing the approved setup as JSON")?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file back and believes it only if it is whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let approved: Self = serde_json::from_slice(bytes).context("reading the approved setup")?;
        let format = approved.plan.format;
        ensure!(format == FORMAT, "the approved setup has format {format}, this Hearth knows {FORMAT}");
        ensure!(approved.digest == approved.plan.digest(), "the approved setup is damaged: its digest differs");
        Ok(approved)
    }
}
