//! The file that carries an approved plan through the restart.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::plan::{AdoptPlan, FORMAT};
use crate::digest::Digest;
use crate::layout::PLAN_FILE;

/// Who approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A person on a console.
    Console,
    /// The credential `hearth.adopt`.
    Credential,
    /// An answer file.
    AnswerFile,
}

/// An approved plan, as it lies on HEARTH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Approved {
    /// Of the plan: a torn file is noticed by it.
    pub digest: Digest,
    /// Who approved.
    pub by: By,
    /// What was approved.
    pub plan: AdoptPlan,
}

impl Approved {
    /// `plan`, approved.
    pub fn new(plan: AdoptPlan, by: By) -> Self {
        Self { digest: plan.digest(), by, plan }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).context("writing the approved plan as JSON")?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file back and believes it only if it is whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let approved: Self = serde_json::from_slice(bytes)
            .with_context(|| format!("reading the approved plan, {PLAN_FILE} on HEARTH"))?;
        let format = approved.plan.format;
        ensure!(format == FORMAT, "the approved plan has format {format}, this Hearth knows {FORMAT}");
        ensure!(
            approved.digest == approved.plan.digest(),
            "the approved plan on HEARTH is damaged: its digest differs"
        );
        Ok(approved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[test]
    fn a_damaged_plan_is_not_believed() {
        let approved = Approved::new(Fake::new(64).plan(), By::Console);
        let bytes = approved.to_bytes().unwrap();
        assert_eq!(Approved::from_bytes(&bytes).unwrap(), approved);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let size = format!("\"sectors\": {}", approved.plan.table.entries[5].sectors);
        let forged = text.replace(&size, "\"sectors\": 4096");
        assert_ne!(forged, text);
        assert!(Approved::from_bytes(forged.as_bytes()).unwrap_err().to_string().contains("damaged"));
        for len in [0, 1, bytes.len() / 2] {
            assert!(Approved::from_bytes(&bytes[..len]).is_err());
        }
    }
}
