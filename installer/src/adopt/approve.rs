//! Approval: the last four characters of the disk's serial number, typed by a person
//! or handed in as a credential, and the file that carries an approved plan through
//! the restart.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::plan::{AdoptPlan, FORMAT};
use crate::digest::Digest;
use crate::layout::PLAN_FILE;

/// How many characters are typed.
const LENGTH: usize = 4;

/// What has to be typed, and where a person finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is the end of: "serial number" …
    pub of: &'static str,
    /// All of it.
    pub whole: String,
}

impl Token {
    /// For `plan`: its disk's serial number, or the best there is where a disk has none.
    pub fn of(plan: &AdoptPlan) -> Self {
        match (&plan.disk.serial, &plan.disk.wwn) {
            (Some(serial), _) => Self { of: "serial number", whole: serial.clone() },
            (None, Some(wwn)) => Self { of: "world-wide name", whole: wwn.clone() },
            (None, None) => Self { of: "partition table id", whole: plan.before.id.to_string() },
        }
    }

    /// The characters to type.
    pub fn expected(&self) -> String {
        let chars: Vec<char> = self.whole.chars().collect();
        chars[chars.len().saturating_sub(LENGTH)..].iter().collect()
    }

    /// Whether `typed` is it. Capitals do not matter: on many labels they cannot be told apart.
    pub fn accepts(&self, typed: &str) -> bool {
        typed.trim().eq_ignore_ascii_case(self.expected().trim())
    }

    /// The question for it.
    pub fn question(&self) -> String {
        format!("To approve, type the last {LENGTH} characters of the {}.", self.of)
    }
}

/// Who approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A person on a console.
    Console,
    /// The credential `hearth.adopt`.
    Credential,
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
    use crate::adopt::fake::Fake;

    #[test]
    fn the_serial_comes_first_and_capitals_do_not_matter() {
        let mut plan = Fake::new(16).plan();
        plan.disk.serial = Some("WD-WCC7K0AAxYz9".to_owned());
        let token = Token::of(&plan);
        assert!(token.accepts(" XYZ9 ") && token.accepts("xyz9"));
        assert!(!token.accepts("") && !token.accepts("yz9") && !token.accepts("WD-WCC7K0AAxYz9"));
        plan.disk.serial = Some("7".to_owned());
        assert!(Token::of(&plan).accepts("7") && !Token::of(&plan).accepts(""));
    }

    #[test]
    fn a_disk_that_tells_nothing_is_named_by_its_table() {
        let mut plan = Fake::new(16).plan();
        plan.disk.serial = None;
        plan.disk.wwn = Some("0x5000c500e0a1b2c3".to_owned());
        assert_eq!(Token::of(&plan).expected(), "b2c3");
        plan.disk.wwn = None;
        assert_eq!(Token::of(&plan).whole, plan.before.id.to_string());
    }

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
