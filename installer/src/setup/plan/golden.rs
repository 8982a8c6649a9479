//! Plans and refusals as the owners of nineteen machines would read them. Under
//! `fixtures/plans` each machine of the zoo has a folder, and each answer file in it gives
//! either a plan (`.txt` for people, `.json` for what approval is given for) or `.refused.txt`.
//! `HEARTH_BLESS=1` writes them, for a person to read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::tests::surveys;
use super::*;
use crate::answers;
use crate::facts::zoo;
use crate::page::text::WIDTH;
use crate::setup::refusal;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/plans")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// Every answer file: the machine it is for, and its path without its ending.
fn cases() -> Vec<(String, PathBuf)> {
    let machines = names(&folder());
    let case = |machine: &String| {
        let dir = folder().join(machine);
        let stems = names(&dir).into_iter().filter_map(|name| name.strip_suffix(".toml").map(|stem| dir.join(stem)));
        stems.map(|stem| (machine.clone(), stem)).collect::<Vec<_>>()
    };
    machines.iter().flat_map(case).collect()
}

/// What comes of an answer file: the endings of the files that hold it, and their texts.
fn outcome(machine: &str, stem: &Path) -> Vec<(&'static str, String)> {
    let facts = zoo::facts(machine);
    let answers = answers::load(&stem.with_extension("toml")).unwrap_or_else(|error| panic!("{error:#}"));
    match plan(&facts, &answers, &surveys(&facts)) {
        Ok(planned) => {
            let lines = planned.plan.lines(&facts);
            for line in &lines {
                assert!(line.len() <= WIDTH && line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{line:?}");
            }
            let json = serde_json::to_string_pretty(&planned.plan).unwrap();
            vec![("txt", lines.join("\n") + "\n"), ("json", json + "\n")]
        }
        Err(refusals) => vec![("refused.txt", refusal::all(&refusals) + "\n")],
    }
}

#[test]
fn every_machine_of_the_zoo_has_its_plans() {
    let endings = ["txt", "json", "refused.txt"];
    for (machine, stem) in cases() {
        let outcome = outcome(&machine, &stem);
        for ending in endings {
            let path = stem.with_extension(ending);
            let new = outcome.iter().find(|(is, _)| *is == ending).map(|(_, text)| text.as_str());
            if std::env::var_os("HEARTH_BLESS").is_some() {
                match new {
                    Some(text) => fs::write(&path, text).unwrap(),
                    None => drop(fs::remove_file(&path)),
                }
            }
            let there = fs::read_to_string(&path).ok();
            assert_eq!(new, there.as_deref(), "{} differs; HEARTH_BLESS=1 writes it", path.display());
        }
    }
    let planned: BTreeSet<String> = cases().into_iter().map(|(machine, _)| machine).collect();
    assert_eq!(planned.into_iter().collect::<Vec<_>>(), zoo::names(), "each machine has answers");
}

#[test]
fn every_reason_to_refuse_is_among_them() {
    let mut told = BTreeSet::new();
    for (_, stem) in cases() {
        let text = fs::read_to_string(stem.with_extension("refused.txt")).unwrap_or_default();
        told.extend(text.lines().filter_map(|line| Some(line.strip_prefix('[')?.split_once(']')?.0.to_owned())));
    }
    let expected = [
        // Of setup itself.
        "not-setup",
        "same-disk",
        "not-listed",
        "no-stable-name",
        "listed-in-vain",
        "hearth-installed",
        "cannot-adopt",
        "too-small",
        "not-yet",
        "no-such-volume",
        "member",
        "no-tpm",
        "kit",
        // Of the disk that Hearth was started from; the others have tests beside adoption.
        "duplicate",
        // Of any disk.
        "not-exactly-one",
        "mounted",
        "swap",
        "held",
        "btrfs-member",
        "backs-root",
        "read-only",
        "sector-size",
        "duplicate-serial",
        // Of the network.
        "no-such-card",
        "no-wifi-card",
        "several-wifi-cards",
        "no-container-range",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|code| !told.contains(*code)).collect();
    assert_eq!(missing, [""; 0]);
    let unknown: Vec<&String> = told.iter().filter(|code| !expected.contains(&code.as_str())).collect();
    assert_eq!(unknown, [""; 0]);
}
