use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use toml::Value;

use super::secret::STARS;
use super::*;

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&json_schema()).unwrap());

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares with what lies at `path` of the checkout; `HEARTH_BLESS=1` writes it instead, for
/// a person to read.
fn golden(path: &str, text: &str) {
    let path = project().join("..").join(path);
    if std::env::var_os("HEARTH_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, there, "{} differs; `just generate` writes it", path.display());
}

/// The answer files in `fixtures/answers/<kind>`: name and bytes.
fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let dir = project().join("fixtures/answers").join(kind);
    let mut out: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    out.sort();
    assert!(out.len() >= 10, "{kind} has only {} files", out.len());
    out
}

fn json(answers: &Answers) -> String {
    serde_json::to_string_pretty(answers).unwrap() + "\n"
}

#[test]
fn bad_files_are_told_all_that_is_wrong() {
    let files = files("bad");
    assert!(files.len() >= 40);
    for (name, bytes) in files {
        let problems = read_bytes(&bytes, "hearth.toml").expect_err(&name);
        golden(&format!("installer/fixtures/answers/bad/{name}.txt"), &format!("{problems}\n"));
    }
}

#[test]
fn good_files_are_understood() {
    for (name, bytes) in files("good") {
        let answers = read_bytes(&bytes, "hearth.toml").unwrap_or_else(|problems| panic!("{name}: {problems}"));
        golden(&format!("installer/fixtures/answers/good/{name}.json"), &json(&answers));
    }
}

#[test]
fn the_generated_files_are_up_to_date() {
    golden("docs/answers.md", &reference::reference());
    golden("firmware/amd64/hearth-partition/hearth.example.toml", &example());
}

#[test]
fn the_example_has_every_key_and_checks_clean() {
    read(&example(), "hearth.example.toml").unwrap();
    // With everything switched on, what is left to say is what only its reader can decide.
    let switched_on: String = example()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let problems = read(&switched_on, "all").unwrap_err();
    let said: Vec<String> = problems.list.iter().map(|problem| problem.text.clone()).collect();
    let expected = |text: &&String| {
        text.contains("is still that of the example")
            || text.contains("comes out of the backup")
            || text.contains("has no meaning")
            || text.contains("named by `mac` or by `path`")
            || text.contains("is for the stack \"media\"")
    };
    assert!(said.iter().all(|text| expected(&text)), "{said:#?}");
    // A passphrase and a PIN for disks, Wi-Fi, console, VPN, mail, repository, REST server.
    assert_eq!(said.iter().filter(|text| text.contains("still that of the example")).count(), 8, "{said:#?}");
}

#[test]
fn the_json_schema_takes_what_is_good_and_not_what_is_strange() {
    assert!(jsonschema::draft202012::meta::is_valid(&json_schema()));
    let document = |text: &str| serde_json::to_value(toml::from_str::<Value>(text).unwrap()).unwrap();
    let valid = |text: &str| SCHEMA.is_valid(&document(text));
    assert!(valid(&example()));
    for (name, bytes) in files("good") {
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let errors: Vec<String> = SCHEMA.iter_errors(&document(text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    for bad in ["06-mistyped-key", "17-hostname", "21-wrong-types", "46-luks-tpm-alone", "55-mail-half-a-login"] {
        let text = fs::read_to_string(project().join(format!("fixtures/answers/bad/{bad}.toml"))).unwrap();
        assert!(!valid(&text), "{bad}");
    }
}

/// Every secret in the good files, by the keys under which secrets stand.
fn secrets(value: &Value, out: &mut Vec<String>) {
    const KEYS: [&str; 8] =
        ["password-hash", "token", "passphrase", "pin", "private-key", "password", "ssh-key", "kit"];
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                match value {
                    Value::String(text) if KEYS.contains(&key.as_str()) => out.push(text.clone()),
                    value => secrets(value, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets(item, out)),
        _ => {}
    }
}

#[test]
fn no_secret_shows_in_what_is_printed_of_answers() {
    let mut seen = 0;
    for (name, bytes) in files("good") {
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let answers = read(text, &name).unwrap();
        let mut hidden = Vec::new();
        secrets(&toml::from_str(text).unwrap(), &mut hidden);
        seen += hidden.len();
        for secret in hidden {
            for shown in [format!("{answers:?}"), format!("{answers:#?}"), json(&answers)] {
                assert!(!shown.contains(secret.trim()), "{name}: {shown}");
            }
        }
    }
    assert!(seen >= 11, "only {seen} secrets were looked for");
}

/// Writes what was read of `text`, with its secrets put back, and reads that.
fn again(text: &str, answers: &Answers) -> Result<Answers, Problems> {
    let mut written = Value::try_from(answers).unwrap();
    put_back(&mut written, &toml::from_str(text).unwrap());
    read(&toml::to_string(&written).unwrap(), "again")
}

#[test]
fn what_was_read_can_be_written_and_read_again() {
    for (name, bytes) in files("good") {
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let answers = read(text, &name).unwrap();
        assert_eq!(again(text, &answers), Ok(answers), "{name}");
    }
}

/// Puts the secrets of `original` where `written` has stars.
fn put_back(written: &mut Value, original: &Value) {
    match (written, original) {
        (Value::Table(written), Value::Table(original)) => {
            for (key, value) in written {
                if let Some(original) = original.get(key) {
                    put_back(value, original);
                }
            }
        }
        (Value::Array(written), Value::Array(original)) => {
            written.iter_mut().zip(original).for_each(|(written, original)| put_back(written, original));
        }
        (Value::String(written), Value::String(original)) if written == STARS => written.clone_from(original),
        _ => {}
    }
}

#[test]
fn a_deep_nest_of_brackets_is_only_a_bad_file() {
    for text in
        ["[".repeat(100_000), "a = ".to_owned() + &"[".repeat(100_000), "a = ".to_owned() + &"{a=".repeat(50_000)]
    {
        assert!(read(&text, "deep").is_err());
    }
}

/// A word that stands for every secret of the files below, and must never be said.
const CANARY: &str = "zanzibar-tangerine";

/// Good files whose secrets all became [`CANARY`], which few of them may be.
fn sensitive() -> Vec<String> {
    let mut out = Vec::new();
    for (_, bytes) in files("good") {
        let file = String::from_utf8(bytes).unwrap();
        let mut hidden = Vec::new();
        secrets(&toml::from_str(file.strip_prefix('\u{feff}').unwrap_or(&file)).unwrap(), &mut hidden);
        if !hidden.is_empty() {
            out.push(hidden.iter().fold(file, |file, secret| file.replace(secret.as_str(), CANARY)));
        }
    }
    assert!(out.len() >= 5);
    out
}

#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Put(usize, &'static str),
    Move(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pieces = ["\"", "'", "=", "[", "]", "{", "}", "\n", "#", ".", ",", "\"\"\"", "\\", "1", "\u{e9}", "\0"];
    let change = prop_oneof![
        (any::<usize>(), 1..60usize).prop_map(|(at, len)| Change::Cut(at, len)),
        (any::<usize>(), prop::sample::select(pieces.to_vec())).prop_map(|(at, piece)| Change::Put(at, piece)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Change::Move(from, to)),
    ];
    prop::collection::vec(change, 1..4)
}

fn apply(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for change in changes {
        if chars.is_empty() {
            break;
        }
        match change {
            Change::Cut(at, len) => {
                let at = at % chars.len();
                chars.drain(at..(at + len).min(chars.len()));
            }
            Change::Put(at, piece) => {
                let at = at % chars.len();
                chars.splice(at..at, piece.chars());
            }
            Change::Move(from, to) => {
                let mut lines: Vec<String> = chars.iter().collect::<String>().split('\n').map(str::to_owned).collect();
                let line = lines.remove(from % lines.len());
                lines.insert(to % (lines.len() + 1), line);
                chars = lines.join("\n").chars().collect();
            }
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(?s).{0,300}") {
        let _ = read(&text, "any");
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes(&bytes, "any");
    }

    #[test]
    fn a_damaged_file_is_refused_in_order_or_understood_for_good(changes in changes()) {
        let text = apply(&example(), &changes);
        match read(&text, "damaged") {
            Err(problems) => {
                let places: Vec<Option<Place>> = problems.list.iter().map(|problem| problem.place).collect();
                prop_assert!(!places.is_empty() && places.is_sorted(), "{problems}");
            }
            Ok(answers) => {
                let document = serde_json::to_value(toml::from_str::<Value>(&text).unwrap()).unwrap();
                prop_assert!(SCHEMA.is_valid(&document), "the schema is stricter than the check: {text}");
                prop_assert_eq!(again(&text, &answers), Ok(answers));
            }
        }
    }

    #[test]
    fn no_error_repeats_a_secret(file in prop::sample::select(sensitive()), changes in changes()) {
        if let Err(problems) = read(&apply(&file, &changes), "sensitive") {
            prop_assert!(!problems.to_string().contains("zanzibar"), "{problems}");
        }
    }
}
