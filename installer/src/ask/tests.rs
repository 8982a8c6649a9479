//! Whole conversations, from the first question to the restart, on machines made of maps.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::known::tests::known;
use super::session::Seat;
use super::*;
use crate::answers::For;
use crate::facts::zoo;
use crate::machine::fake::Fake;
use crate::page::{List, Step, Talk};
use crate::setup::tests::{one_start, until_sealed};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop";
const TOKEN: &str = "0a1b2c3d-0000-4000-8000-00000000beef";
const PASSWORD: &str = "correct horse battery";
const PASSPHRASE: &str = "purple bicycle rain";

/// The same hash for every password: what the questions do must not depend on chance.
fn hash(password: &str, whom: For) -> Result<String> {
    anyhow::ensure!(password == PASSWORD, "another password");
    Ok(match whom {
        For::Console => "$y$j9T$qFUEwDxI6IAferEE/yree0$TMfsy3pMeUifHB6Zi/Z4NPtxBBE32WHxPxUW0gHcmx7",
        For::Portal => {
            "$argon2id$v=19$m=65536,t=3,p=4$i2RIurmJ0ogFb4ssgoeMXQ$zUk46LvIWuEtD6U9beNceBEO6yZ2L12H8pOc2DRo15I"
        }
    }
    .to_owned())
}

/// Somebody whose lines are known beforehand, and all that their screen showed. `^C` is Ctrl-C.
#[derive(Default)]
struct Person {
    lines: VecDeque<String>,
    screen: String,
    hidden: bool,
    /// How often what is typed began to show, or stopped.
    switches: usize,
}

impl Person {
    fn who_types(lines: &[&str]) -> Self {
        Self { lines: lines.iter().map(|&line| line.to_owned()).collect(), ..Self::default() }
    }
}

impl Talk for Person {
    fn say(&mut self, line: &str) -> Result<()> {
        assert!(line.len() <= WIDTH && line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{line:?}");
        self.screen += &format!("{line}\n");
        Ok(())
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        assert!(question.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{question:?}");
        self.screen += question;
        Ok(())
    }

    fn hear(&mut self, _: Option<Duration>) -> Result<Input> {
        let Some(line) = self.lines.pop_front() else { return Ok(Input::Closed) };
        let shown = if self.hidden { "" } else { &*line };
        self.screen += &format!("{shown}\n");
        Ok(if line == "^C" { Input::Interrupted } else { Input::Line(line) })
    }

    fn show_typing(&mut self, shown: bool) -> Result<()> {
        self.switches += usize::from(self.hidden == shown);
        self.hidden = !shown;
        Ok(())
    }
}

/// A machine with two more disks: an empty one, and one with photos.
fn machine() -> Fake {
    let mut fake = setup::tests::machine("");
    fake.now.hearth.clear();
    fake.durable.hearth.clear();
    fake
}

/// Holds the conversation; gives what the screen showed.
fn converse(fake: &mut Fake, replies: &mut Replies, lines: &[&str]) -> String {
    converse_at(None, fake, replies, lines)
}

fn converse_at(seat: Option<Seat>, fake: &mut Fake, replies: &mut Replies, lines: &[&str]) -> String {
    let facts = fake.facts().unwrap();
    let known = known();
    let mut person = Person::who_types(lines);
    let interview = Interview::new(&facts, &known, hash, replies.clone());
    let talk = &mut Watched::new(&mut person, seat);
    Conversation { talk, machine: fake, interview, replies }.hold().unwrap();
    assert!(!person.hidden, "the terminal is left without an echo");
    person.screen
}

/// Answers for everything, without a mistake, as far as the review.
const STRAIGHT: [&str; 37] = [
    "de",
    "",
    "",
    "attic",
    "2",
    "192.168.1.10/24",
    "192.168.1.1",
    "",
    "2",
    "Home",
    "garden gnome",
    "de",
    "1 3",
    "ada",
    KEY,
    "",
    PASSWORD,
    PASSWORD,
    "",
    "ada@example.org",
    PASSWORD,
    PASSWORD,
    "",
    "2",
    "attic",
    TOKEN,
    "",
    "1",
    "",
    "",
    "1 2",
    "1",
    "1",
    "",
    "",
    "",
    "",
];

fn compare(name: &str, text: &str) {
    let path = format!("{}/fixtures/ask/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("HEARTH_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
}

/// Wrong answers, a look at the help, a way back, a change at the end, a mistyped approval.
const CROOKED: [&str; 95] = [
    "?",
    "xx",
    "de",
    "",
    "berlin",
    "",
    "Attic",
    "attic",
    "<",
    "",
    "",
    "2",
    "Home",
    "short",
    "garden gnome",
    "Germany",
    "de",
    "2",
    "",
    "Ada",
    "ada",
    "no key",
    KEY,
    "",
    "short",
    PASSWORD,
    "something else",
    PASSWORD,
    PASSWORD,
    "",
    "ada@example",
    "ada@example.org",
    PASSWORD,
    PASSWORD,
    "ada",
    "grace",
    "",
    "grace@example.org",
    "",
    PASSWORD,
    PASSWORD,
    "",
    "2",
    "attic.example.org",
    "attic",
    TOKEN,
    "",
    "2",
    "smtp.example.org",
    "",
    "mail",
    "",
    "",
    "letters and stamps",
    "",
    "",
    "",
    "1 2",
    "",
    "1",
    "1",
    "",
    "2",
    "1234567890",
    PASSPHRASE,
    "purple bicycle",
    PASSPHRASE,
    PASSPHRASE,
    "2",
    "2",
    "sftp:ada@nas.example:/srv",
    "https://nas.example:8000/hearth",
    "disk",
    "nas",
    "hearth",
    "bricks and mortar",
    "2",
    "",
    "9",
    "3",
    "",
    "",
    "99",
    "37",
    "",
    "4",
    "loft",
    "",
    "",
    "s",
    "p",
    "",
    "x",
    "nk-1",
    "3456",
];

#[test]
fn a_whole_session_reads_as_people_saw_it_last() {
    let mut fake = machine();
    let screen = converse(&mut fake, &mut Replies::default(), &CROOKED);
    compare("whole-session.txt", &screen);
    assert!(
        [TOKEN, "horse", "gnome", "$y$", "bicycle", "stamps", "mortar"].iter().all(|secret| !screen.contains(secret)),
        "a secret shows"
    );
    assert_eq!(fake.restarts, 1);
    compare("whole-session.toml", &String::from_utf8(fake.now.hearth[FILE_NAME].clone()).unwrap());
    let saved = String::from_utf8(fake.now.hearth[SAVED].clone()).unwrap();
    assert!(saved.contains("token = \"********\"") && !saved.contains(TOKEN), "{saved}");
}

/// The machine after the questions were answered, and as the file that they make left it.
#[test]
fn questions_and_a_file_of_the_same_answers_end_alike() {
    let mut asked = machine();
    let approvals = ["", "p", "", "nk-1", "3456"];
    converse(&mut asked, &mut Replies::default(), &[&STRAIGHT[..], &approvals].concat());
    let text = asked.now.hearth[FILE_NAME].clone();
    let mut followed = machine();
    followed.now.hearth.insert(FILE_NAME.to_owned(), text.clone());
    one_start(&mut followed).unwrap();
    let plan = |fake: &Fake| {
        let approved: serde_json::Value = serde_json::from_slice(&fake.now.hearth["hearth.setup"]).unwrap();
        (approved["digest"].clone(), approved["plan"].to_string(), approved["answers"].clone())
    };
    assert_eq!(plan(&asked), plan(&followed));
    assert_eq!(asked.now.hearth.keys().collect::<Vec<_>>(), followed.now.hearth.keys().collect::<Vec<_>>());
    // The same lines give the same bytes.
    let mut again = machine();
    converse(&mut again, &mut Replies::default(), &[&STRAIGHT[..], &approvals].concat());
    assert_eq!(again.now.hearth[FILE_NAME], text);
    for fake in [&mut asked, &mut followed] {
        fake.boot();
        until_sealed(fake);
    }
    assert_eq!(asked.durable.accounts, followed.durable.accounts);
    assert_eq!(asked.durable.formatted.keys().collect::<Vec<_>>(), ["/dev/sda1"]);
    assert_eq!(asked.durable.placed["/etc/hearth/hearth.toml"], followed.durable.placed["/etc/hearth/hearth.toml"]);
}

#[test]
fn another_disk_that_hearth_shall_run_from_is_approved_as_one_that_is_erased() {
    let mut fake = machine();
    let mut lines = STRAIGHT.to_vec();
    // The first of the two others; so nobody asks what it is for, and one has nothing left to erase.
    lines.splice(29..35, ["2", "2 3", "2", ""]);
    let screen = converse(&mut fake, &mut Replies::default(), &[&lines[..], &["", "p", "", "nk-1", "os-1"]].concat());
    assert!(screen.contains("This disk is ERASED") && !screen.contains("Hearth stays on this disk"), "{screen}");
    let text = String::from_utf8(fake.now.hearth[FILE_NAME].clone()).unwrap();
    for words in ["erase = [\"ata-BLANK_1\", \"ata-PHOTOS_1\"]", "[system]\ndisk = { by-id = \"ata-BLANK_1\" }"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert_eq!(fake.restarts, 1);
}

#[test]
fn nothing_happens_before_the_approval() {
    let mut fake = machine();
    let keyboard = 2;
    let lines = [&STRAIGHT[..], &["", "p", "", "nk-1", ""]].concat();
    let screen = converse(&mut fake, &mut Replies::default(), &lines);
    assert!(screen.contains("Nothing was changed."), "{screen}");
    // The layout of the keyboard is all that changed, and it lies in memory.
    assert_eq!((fake.effects, fake.restarts), (keyboard, 0));
    assert!(fake.now.hearth.is_empty() && fake.durable.formatted.is_empty());
}

#[test]
fn whoever_leaves_goes_on_where_it_was_left() {
    let mut fake = machine();
    let mut replies = Replies::default();
    let screen = converse(&mut fake, &mut replies, &["de", "", "", "^C", "", "attic", "^C", "0"]);
    assert!(screen.contains("Leave the questions?"), "{screen}");
    let screen = converse(&mut fake, &mut replies, &["<", "loft", "<", "<", "<", "<", "<"]);
    assert!(screen.contains("Going on where the questions were left."), "{screen}");
    assert!(screen.contains("Question 5 of ") && screen.contains("Name [attic]: loft"), "{screen}");
    assert!(screen.trim_end().ends_with("Keyboard [de]: <"), "{screen}");
    // Whose line is lost has lost nothing else.
    let screen = converse(&mut fake, &mut replies, &STRAIGHT[4..]);
    assert!(screen.contains("   4) name                 loft"), "{screen}");
}

/// A keeper of its own, and where it listens.
fn session() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("session.sock");
    let listener = keeper::listen(&socket).unwrap();
    std::thread::spawn(move || keeper::serve(&listener));
    (dir, socket)
}

#[test]
fn one_console_begins_and_another_one_goes_on() {
    let (_dir, socket) = session();
    let end = ["", "p", "", "nk-1", "3456"];
    let mut fake = machine();
    // On a line that is lost after some answers.
    let (seat, mut replies) = Seat::take(&socket, "the serial console").unwrap();
    converse_at(Some(seat), &mut fake, &mut replies, &STRAIGHT[..20]);
    let (seat, mut replies) = Seat::take(&socket, "the screen").unwrap();
    let screen = converse_at(Some(seat), &mut fake, &mut replies, &[&STRAIGHT[20..], &end].concat());
    assert!(screen.contains("Going on where the questions were left."), "{screen}");
    assert!(screen.contains("Question 20 of ") && !screen.contains("Question 19 of "), "{screen}");
    let mut straight = machine();
    converse(&mut straight, &mut Replies::default(), &[&STRAIGHT[..], &end].concat());
    assert_eq!(fake.now.hearth, straight.now.hearth);
}

/// Somebody who waits for as long as is waited for, and types nothing.
#[derive(Default)]
struct Idle(Vec<String>);

impl Talk for Idle {
    fn say(&mut self, line: &str) -> Result<()> {
        self.0.push(line.to_owned());
        Ok(())
    }

    fn ask(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn hear(&mut self, _: Option<Duration>) -> Result<Input> {
        Ok(Input::Nothing)
    }

    fn show_typing(&mut self, _: bool) -> Result<()> {
        Ok(())
    }
}

#[test]
fn whoever_loses_the_seat_is_told_so() {
    let (_dir, socket) = session();
    let (seat, _) = Seat::take(&socket, "the serial console").unwrap();
    let mut idle = Idle::default();
    let mut watched = Watched::new(&mut idle, Some(seat));
    let (_other, _) = Seat::take(&socket, "the screen (tty1)").unwrap();
    // Also where one question leads to another one, as at the end of a page.
    for _ in 0..2 {
        assert_eq!(watched.hear(None).unwrap(), Input::Closed);
    }
    assert_eq!(idle.0, ["", "The questions go on at the screen (tty1)."]);
}

#[test]
fn a_password_that_is_typed_before_it_is_asked_for_again_does_not_show() {
    let mut fake = machine();
    let (facts, known) = (fake.facts().unwrap(), known());
    let mut replies = Replies::default();
    let wrong = ["short", PASSWORD, "something else", PASSWORD, PASSWORD];
    // Without a Wi-Fi, whose passphrase is another one.
    let before = ["", "", "", "", "", "", "-", "ada", ""];
    let mut person = Person::who_types(&[&before[..], &wrong].concat());
    let interview = Interview::new(&facts, &known, hash, replies.clone());
    let talk = &mut Watched::new(&mut person, None);
    Conversation { talk, machine: &mut fake, interview, replies: &mut replies }.hold().unwrap();
    assert!(person.screen.contains("the two differ") && replies.get(&Id::ConsolePassword).is_some());
    assert_eq!((person.switches, person.hidden), (2, false), "{}", person.screen);
}

/// Somebody at a terminal that can move its cursor: they answer lists by keys, and Enter.
struct Pointing(Person);

impl Talk for Pointing {
    fn say(&mut self, line: &str) -> Result<()> {
        self.0.say(line)
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        self.0.ask(question)
    }

    fn hear(&mut self, patience: Option<Duration>) -> Result<Input> {
        self.0.hear(patience)
    }

    fn show_typing(&mut self, shown: bool) -> Result<()> {
        self.0.show_typing(shown)
    }

    fn pick(&mut self, list: &mut List, _: &mut dyn FnMut() -> bool) -> Result<Option<Input>> {
        let Some(keys) = self.0.lines.pop_front() else { return Ok(Some(Input::Closed)) };
        match format!("{keys}\r").bytes().map(|byte| list.press(byte)).last() {
            Some(Step::Line(line)) => Ok(Some(Input::Line(line))),
            other => panic!("{keys:?} ends with {other:?}"),
        }
    }
}

#[test]
fn arrow_keys_and_numbers_make_the_same_answers() {
    let end = ["", "p", "", "nk-1", "3456"];
    let mut typed = machine();
    converse(&mut typed, &mut Replies::default(), &[&STRAIGHT[..], &end].concat());
    // What is marked already stays so; one down from no, and up again.
    let mut keys = STRAIGHT.map(|line| match line {
        "1 3" => "3 ",
        "1 2" => "1 2 ",
        "1" => "\x1b[B\x1b[A",
        line => line,
    });
    // A role, which is marked.
    keys[32] = "1 ";
    let mut pointed = machine();
    let (facts, known) = (pointed.facts().unwrap(), known());
    let (mut replies, lines) = (Replies::default(), [&keys[..], &end].concat());
    let mut person = Pointing(Person::who_types(&lines));
    let interview = Interview::new(&facts, &known, hash, replies.clone());
    let talk = &mut Watched::new(&mut person, None);
    Conversation { talk, machine: &mut pointed, interview, replies: &mut replies }.hold().unwrap();
    assert!(!person.0.screen.contains("Number [1]"), "{}", person.0.screen);
    assert_eq!((pointed.now.hearth, pointed.restarts), (typed.now.hearth, 1));
}

#[test]
fn a_refused_plan_leads_back_to_the_answers() {
    let mut fake = machine();
    let (facts, known) = (fake.facts().unwrap(), known());
    // Somebody takes a disk away meanwhile.
    fake.others.remove(0);
    let mut replies = Replies::default();
    let mut person = Person::who_types(&[&STRAIGHT[..], &["", "p", "", "", "4", "loft", "", "s"]].concat());
    let interview = Interview::new(&facts, &known, hash, replies.clone());
    let talk = &mut Watched::new(&mut person, None);
    Conversation { talk, machine: &mut fake, interview, replies: &mut replies }.hold().unwrap();
    for words in ["[not-exactly-one] `disks[1].disk`", "Nothing was changed. Enter goes back", "Saved on HEARTH"] {
        assert!(person.screen.contains(words), "{words} is not in {}", person.screen);
    }
    assert_eq!(fake.restarts, 0);
}

/// What somebody does at a question.
#[derive(Clone, Debug)]
enum Move {
    /// Types an answer that fits, one of several.
    Good(usize),
    /// Types something.
    Junk(String),
    /// Goes back.
    Back,
    /// Goes to a row of the review.
    Change(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let junk = ["-", "", "?", "1", "2 3", "<"].map(str::to_owned).to_vec();
    let junk = prop_oneof!["[ -~\u{e0}-\u{ff}]{0,12}", prop::sample::select(junk)];
    let one = prop_oneof![
        6 => (0..12usize).prop_map(Move::Good),
        2 => junk.prop_map(Move::Junk),
        1 => Just(Move::Back),
        1 => (0..30usize).prop_map(Move::Change),
    ];
    prop::collection::vec(one, 0..60)
}

/// A line that answers the question, the `which`th of those that do.
fn good(put: &Put, which: usize) -> String {
    // No two places for backups are the same.
    match put.about.strip_prefix("backup") {
        Some(rest) if rest.ends_with(" address") => return format!("https://nas.example:8000/{which}"),
        Some(rest) if rest.ends_with(" name") => return format!("nas-{which}"),
        _ => {}
    }
    let texts: &[&str] = match put.about.as_str() {
        "keyboard" => &["us", "de"],
        "language" => &["", "en_GB.UTF-8"],
        "time zone" => &["", "Europe/Paris"],
        "name" => &["", "attic", "loft"],
        "fixed address" => &["192.168.1.10/24", "fd00::10/64", "10.0.0.9/8"],
        "router" => &["192.168.1.1", "fd00::1", "10.0.0.1"],
        "DNS servers" => &["-", "9.9.9.9 1.1.1.1"],
        "Wi-Fi name" => &["Home", "a \"quoted\" \\ name"],
        "Wi-Fi passphrase" => &["garden gnome", "back\\slash \"quote\""],
        "country" => &["de", "FR"],
        "login name" => &["ada", "grace"],
        "SSH key" | "SSH key 2" => &["-", KEY],
        "console password" | "portal password" => &[PASSWORD],
        "name at the portal" => &["Ada", "Gr\u{e4}fin 'von' \"Hahn\""],
        "e-mail address" => &["ada@example.org"],
        "name at DuckDNS" => &["attic", "loft.duckdns.org"],
        "DuckDNS token" => &[TOKEN],
        "VPN provider" => &["Mullvad"],
        "VPN key" => &["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="],
        "VPN addresses" => &["10.64.222.21/32, fc00::2/128", "-"],
        "VPN countries" => &["-", "Sweden, United States"],
        "mail server" => &["smtp.example.org"],
        "mail port" => &["-", "2525"],
        "mail user" => &["", "-", "ada"],
        "mail password" | "backup password" => &["a secret of somebody else's"],
        "sender" => &["hearth@example.org"],
        "recipients" => &["ada@example.org", "ada@example.org grace@example.org"],
        "disk passphrase" => &[PASSPHRASE],
        "disk PIN" => &["314 159"],
        "backup user" => &["-", "hearth"],
        about if about.starts_with("SSH key") => &["-"],
        about if about.starts_with("person") => &["-", "grace", "lin", "-"],
        about if about.starts_with("name of ") => &["", "Grace"],
        about if about.starts_with("e-mail of ") => &["grace@example.org"],
        about if about.starts_with("password of ") => &[PASSWORD],
        about if about.starts_with("backup ") && about.ends_with(" user") => &["-"],
        about => {
            assert!(!put.items.is_empty(), "{about} has no answer here");
            let several = put.prompt.contains("Numbers");
            let (first, second) = (which % put.items.len() + 1, which / 2 % put.items.len() + 1);
            return if several && which % 3 == 0 { format!("1 {first} {second}") } else { first.to_string() };
        }
    };
    texts[which % texts.len()].to_owned()
}

/// Answers what is open, until nothing is. A router that is in no network that is known here has another
/// address taken.
fn to_the_end(interview: &mut Interview<'_>) {
    for which in 0..600 {
        let Some(put) = interview.put() else { return };
        let heard = interview.hear(&good(&put, which / 40 + which));
        if put.about == "router" && matches!(heard, Heard::Refused(_)) {
            interview.back();
            interview.hear("192.168.1.10/24");
        }
    }
    panic!("no end: {:?}", interview.put());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_way_through_the_questions_ends_with_a_file_that_is_accepted(
        machine in prop::sample::select(zoo::names()),
        moves in moves(),
    ) {
        let mut facts = zoo::facts(&machine);
        facts.mode = Some(Mode::Setup);
        let known = known();
        let mut interview = Interview::new(&facts, &known, hash, Replies::default());
        for step in &moves {
            match (step, interview.put()) {
                (Move::Good(which), Some(put)) => drop(interview.hear(&good(&put, *which))),
                (Move::Junk(line), Some(_)) => drop(interview.hear(line)),
                (Move::Back, _) => drop(interview.back()),
                (Move::Change(row), None) => drop(interview.change(*row)),
                _ => {}
            }
        }
        to_the_end(&mut interview);
        let text = interview.file();
        let answers = answers::read(&text, FILE_NAME);
        prop_assert!(answers.is_ok(), "{}\n{}", answers.unwrap_err(), &*text);
        let same = Interview::new(&facts, &known, hash, interview.replies().clone());
        prop_assert!(same.put().is_none() && same.file() == text);
        // What is offered for a disk is what the plan takes.
        let answers = answers.unwrap();
        let elsewhere = matches!(answers.system.disk, answers::DiskChoice::Selected(_));
        let planned = setup::plan::plan(&facts, &answers, &setup::plan::tests::surveys(&facts));
        for refusal in planned.err().unwrap_or_default() {
            let told = refusal.to_string();
            let about_disks =
                ["`disks", "`erase", "`recovery-kit", "`encryption"].iter().any(|key| told.starts_with(key));
            let about_disks = about_disks || elsewhere && told.starts_with("`system.disk");
            let ours = about_disks || refusal.code().contains("wifi");
            prop_assert!(!ours, "{machine}: {told}\n{}", &*text);
        }
    }
}

#[test]
fn the_tests_above_reach_every_kind_of_question() {
    let (facts, known) = (zoo::facts("mini-pc"), known());
    let mut interview = Interview::new(&facts, &known, hash, Replies::default());
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let Some(put) = interview.put() else { break };
        let which = match put.about.as_str() {
            "stacks" => 12,
            "person" => 2,
            "person 2" | "backup 2" => 0,
            _ => 1,
        };
        interview.hear(&good(&put, which));
        seen.insert(put.about);
    }
    for about in [
        "fixed address",
        "Wi-Fi passphrase",
        "SSH key 2",
        "password of lin",
        "DuckDNS token",
        "VPN key",
        "mail server",
        "system disk",
        "disk passphrase",
        "backup address",
        "recovery kit",
    ] {
        assert!(seen.contains(about), "{about} is not in {seen:?}");
    }
}
