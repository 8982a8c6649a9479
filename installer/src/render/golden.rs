//! Compares rendered files with `golden/<name>.txt`, which a person has read.

use std::fs;
use std::path::PathBuf;

use super::File;
use crate::answers::{self, Answers};

/// The answers in `fixtures/answers/good/<name>.toml`.
pub(super) fn answers(name: &str) -> Answers {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/answers/good/{name}.toml"));
    answers::load(&path).unwrap()
}

/// The answers of a machine with nothing special, with `more` behind its sections and `top` before them.
pub(super) fn answers_with(top: &str, more: &str) -> Answers {
    let text = format!(
        "version = 1\nrecovery-kit = \"/mnt/backups/kit.txt\"\n{top}\n[system]\ndisk = \"this\"\nhostname = \"hearth\"\n{more}"
    );
    answers::read(&text, "test").unwrap_or_else(|problems| panic!("{problems}"))
}

/// Compares; `HEARTH_BLESS=1` writes instead, for a person to read.
pub(super) fn check(name: &str, files: &[File]) {
    let text: String =
        files.iter().map(|file| format!("=== {file:?}\n{}", String::from_utf8(file.bytes.to_vec()).unwrap())).collect();
    check_text(name, &text);
}

/// The same for any text.
pub(super) fn check_text(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/render/golden/{name}.txt"));
    if std::env::var_os("HEARTH_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, there, "{} differs; HEARTH_BLESS=1 writes it", path.display());
}
