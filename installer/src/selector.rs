//! A disk by what stays the same about it, for files and command lines. A value that a
//! disk does not tell never fits: an empty serial number once meant every disk without one.

use std::fmt;
use std::str::FromStr;

use crate::answers::{DiskSelector, DiskSize, ExactSize};
use crate::facts::Disk;
use crate::units::Bytes;

/// What a disk must be to be meant. At least one thing is asked for, and all must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// One of its names under `/dev/disk/by-id`.
    pub by_id: Option<String>,
    /// Its serial number, all of it.
    pub serial: Option<String>,
    /// Its world-wide name.
    pub wwn: Option<String>,
    /// Its model, all of it.
    pub model: Option<String>,
    /// How it is connected: `nvme`, `sata`, `usb` …
    pub transport: Option<String>,
    /// The smallest it may be.
    pub min_size: Option<Bytes>,
    /// The largest it may be.
    pub max_size: Option<Bytes>,
}

impl From<&DiskSelector> for Selector {
    fn from(answer: &DiskSelector) -> Self {
        let text = |value: Option<&dyn fmt::Display>| value.map(ToString::to_string);
        Self {
            by_id: text(answer.by_id.as_ref().map(|value| value as _)),
            serial: text(answer.serial.as_ref().map(|value| value as _)),
            wwn: text(answer.wwn.as_ref().map(|value| value as _)),
            model: None,
            transport: answer.transport.map(|kind| kind.word().to_owned()),
            min_size: answer.min_size.as_ref().map(DiskSize::bytes),
            max_size: answer.max_size.as_ref().map(DiskSize::bytes),
        }
    }
}

/// The keys of a selector, in the order they are told.
const KEYS: [&str; 7] = ["by-id", "serial", "wwn", "model", "transport", "min-size", "max-size"];

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASelector {
    /// No `=`.
    #[error("`{0}` is not KEY=VALUE; the keys are {keys}", keys = KEYS.join(", "))]
    Form(String),
    /// A key that does not exist.
    #[error("there is no key `{0}`; the keys are {keys}", keys = KEYS.join(", "))]
    Key(String),
    /// A key without a value.
    #[error("`{0}` has no value, and a disk that tells none would not be meant by it")]
    Empty(&'static str),
    /// The same key again.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
    /// No size.
    #[error(transparent)]
    Size(#[from] crate::units::NotASize),
}

impl Selector {
    /// Whether `disk` is all that is asked for.
    pub fn fits(&self, disk: &Disk) -> bool {
        let text = |wanted: &Option<String>, told: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| told.as_ref() == Some(wanted))
        };
        *self != Self::default()
            && self.by_id.as_ref().is_none_or(|wanted| disk.by_id.contains(wanted))
            && text(&self.serial, &disk.serial)
            && text(&self.wwn, &disk.wwn)
            && text(&self.model, &disk.model)
            && text(&self.transport, &disk.transport)
            && self.min_size.is_none_or(|least| disk.size >= least)
            && self.max_size.is_none_or(|most| disk.size <= most)
    }
}

/// Reads `KEY=VALUE`, several with commas between.
impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let mut out = Self::default();
        for word in text.split(',') {
            let (key, value) = word.split_once('=').ok_or_else(|| NotASelector::Form(word.trim().to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            let key = *KEYS.iter().find(|known| **known == key).ok_or_else(|| NotASelector::Key(key.to_owned()))?;
            if value.is_empty() {
                return Err(NotASelector::Empty(key));
            }
            let twice = match key {
                "min-size" => out.min_size.replace(value.parse()?).is_some(),
                "max-size" => out.max_size.replace(value.parse()?).is_some(),
                _ => out.text(key).replace(value.to_owned()).is_some(),
            };
            if twice {
                return Err(NotASelector::Twice(key));
            }
        }
        Ok(out)
    }
}

impl Selector {
    fn text(&mut self, key: &str) -> &mut Option<String> {
        match key {
            "by-id" => &mut self.by_id,
            "serial" => &mut self.serial,
            "wwn" => &mut self.wwn,
            "model" => &mut self.model,
            _ => &mut self.transport,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |size: &Option<Bytes>| size.map(|size| ExactSize(size).to_string());
        let values = [&self.by_id, &self.serial, &self.wwn, &self.model, &self.transport];
        let values = values.into_iter().cloned().chain([size(&self.min_size), size(&self.max_size)]);
        let words: Vec<String> =
            KEYS.iter().zip(values).filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn it_reads_what_it_prints() {
        for text in ["serial=A 1", "by-id=usb-x,min-size=1KiB", "wwn=0x5,model=M,transport=nvme,max-size=9B"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        assert_eq!("serial".parse::<Selector>(), Err(NotASelector::Form("serial".into())));
        assert_eq!("serial=".parse::<Selector>(), Err(NotASelector::Empty("serial")));
        assert_eq!("size=1".parse::<Selector>(), Err(NotASelector::Key("size".into())));
        assert_eq!("wwn=a,wwn=a".parse::<Selector>(), Err(NotASelector::Twice("wwn")));
        assert!(matches!("min-size=8GB".parse::<Selector>(), Err(NotASelector::Size(_))));
    }

    #[test]
    fn what_a_disk_does_not_tell_never_fits() {
        let odd = zoo::facts("odd").disks;
        let mute = odd.iter().find(|disk| disk.serial.is_none()).unwrap();
        assert!(!Selector::default().fits(mute));
        assert!(!"serial=x".parse::<Selector>().unwrap().fits(mute));
        assert!("min-size=1".parse::<Selector>().unwrap().fits(mute));
    }

    #[test]
    fn all_that_is_asked_for_must_fit() {
        let disks = zoo::facts("mini-pc").disks;
        let fits = |text: &str| {
            let selector: Selector = text.parse().unwrap();
            disks.iter().filter(|disk| selector.fits(disk)).map(|disk| disk.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(fits("transport=nvme"), ["nvme0n1"]);
        assert_eq!(fits("transport=nvme,serial=other"), [""; 0]);
        assert_eq!(fits("min-size=1MiB").len(), 2);
    }
}
