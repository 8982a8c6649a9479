//! `hearth-image answers` as its user meets it: files, sticks, standard input, exit codes.

use std::process::{Command, Output};

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// `hearth-image answers` with `args`, and `input` on its standard input.
fn answers(args: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_hearth-image"))
        .arg("answers")
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A command that asks for nothing may have ended before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_example_of_answers_checks_clean_from_a_file_and_from_a_stick() {
    let dir = tempfile::tempdir().unwrap();
    let example = answers(&["example"], "");
    assert_eq!(example.status.code(), Some(0), "{}", said(&example));
    let file = dir.path().join("Hearth.toml.txt");
    std::fs::write(&file, &example.stdout).unwrap();
    for place in [file.as_path(), dir.path()] {
        let out = answers(&["check", place.to_str().unwrap()], "");
        assert_eq!(out.status.code(), Some(0), "{}", said(&out));
        assert!(String::from_utf8_lossy(&out.stdout).contains("Hearth.toml.txt checks clean"));
    }
    let out = answers(&["check", "--json", dir.path().to_str().unwrap()], "");
    let shown: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(shown["users"][0]["password-hash"], "********");
    assert_eq!(shown["domain"]["reach"], "lan");
}

#[test]
fn wrong_answers_end_with_the_code_for_wrong_input_and_nothing_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let there_is_none = answers(&["check", dir.path().to_str().unwrap()], "");
    assert_eq!(there_is_none.status.code(), Some(2));
    assert!(said(&there_is_none).contains("there is no hearth.toml in"), "{}", said(&there_is_none));
    std::fs::write(dir.path().join("hearth.toml"), "version = 1\n[system]\ndisk = \"sda\"\n").unwrap();
    let wrong = answers(&["check", dir.path().to_str().unwrap()], "");
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(said(&wrong).starts_with("hearth-image: 4 errors in hearth.toml:\n"), "{}", said(&wrong));
    assert!(said(&wrong).contains("\nhearth.toml, line 3, column 8: `disk` must be"), "{}", said(&wrong));
    std::fs::write(dir.path().join("HEARTH.TOML.TXT"), "").unwrap();
    let two = answers(&["check", dir.path().to_str().unwrap()], "");
    assert_eq!(two.status.code(), Some(2));
    assert!(said(&two).contains("HEARTH.TOML.TXT and hearth.toml"), "{}", said(&two));
}

#[test]
fn a_password_comes_by_standard_input_and_only_its_hash_leaves() {
    for (whom, begin) in [("console", "$y$"), ("portal", "$argon2id$v=19$m=65536,t=3,p=4$")] {
        let out = answers(&["hash", "--for", whom], "correct horse battery\nsecond line\n");
        let hash = String::from_utf8(out.stdout.clone()).unwrap();
        assert!(out.status.success() && hash.starts_with(begin) && hash.lines().count() == 1, "{hash}");
        assert_eq!(said(&out), "");
    }
    let weak = answers(&["hash", "--for", "portal"], "hunter2\n");
    assert_eq!((weak.status.code(), weak.stdout.len()), (Some(2), 0));
    assert!(!said(&weak).contains("hunter2"), "{}", said(&weak));
}
