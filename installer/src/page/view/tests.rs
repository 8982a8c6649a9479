use super::*;
use crate::claim::Origin;
use crate::facts::zoo;
use crate::page::text::WIDTH;

const ZOO: [&str; 5] = ["mini-pc", "nas", "twins", "odd", "no-network"];

/// Compares with `fixtures/page/<name>.txt`; `HEARTH_BLESS=1` writes it instead, for a person to read.
fn golden(name: &str, lines: &[String]) {
    let path = format!("{}/fixtures/page/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = lines.join("\n") + "\n";
    if std::env::var_os("HEARTH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{path} differs");
}

#[test]
fn pages_are_as_people_saw_them_last() {
    for name in ZOO {
        let mut lines = page(&zoo::facts(name), &Situation::Setup, &AnswerFile::Absent, None);
        lines.push(prompt(&Situation::Setup, false));
        golden(&format!("{name}-setup"), &lines);
    }
    let mut lines = page(&zoo::facts("nas"), &Situation::Repairable, &AnswerFile::Absent, None);
    lines.push(prompt(&Situation::Repairable, false));
    golden("nas-repairable", &lines);
    let why = "writing the partition table failed: Input/output error. The disk may be failing.";
    golden(
        "mini-pc-stopped",
        &page(&zoo::facts("mini-pc"), &Situation::Stopped(why.to_owned()), &AnswerFile::Absent, None),
    );
    golden("odd-details", &details(&zoo::facts("odd")));
    golden("nas-details", &details(&zoo::facts("nas")));
    golden("raid-details", &details(&zoo::facts("raid")));
    golden("lvm-details", &details(&zoo::facts("lvm")));
    golden("no-network-details", &details(&zoo::facts("no-network")));
}

/// An answer file with more errors than the page has room for, one of them long and hostile.
fn wrong_answers() -> AnswerFile {
    let text = "version = 1\nrecovery-kit = \"declined\"\n[system]\ndisk = \"sda\"\n\"\\u001b[2J\u{e9}\" = 1\n[admin]\npassword = \"hunter2hunter2\"\n";
    AnswerFile::Wrong(crate::answers::read(text, "HEARTH.TOML").unwrap_err())
}

/// All that setup said against the answers of a machine of the zoo.
fn failed_answers() -> AnswerFile {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/plans/busy/01-in-use.refused.txt");
    AnswerFile::Failed(std::fs::read_to_string(path).unwrap())
}

#[test]
fn an_answer_file_is_never_passed_over_in_silence() {
    let name = || "hearth.toml".to_owned();
    let (next, followed, ignored) =
        (AnswerFile::Next(name()), AnswerFile::Followed(name()), AnswerFile::Ignored(name()));
    let failed = failed_answers();
    let two = AnswerFile::Unreadable("there are 2 answer files, hearth.toml and hearth.toml.txt".to_owned());
    let at = |machine: &str, answers: &AnswerFile| page(&zoo::facts(machine), &Situation::Setup, answers, None);
    golden("mini-pc-answers-next", &at("mini-pc", &next));
    golden("mini-pc-answers-followed", &at("mini-pc", &followed));
    golden("mini-pc-answers-ignored", &at("mini-pc", &ignored));
    golden("mini-pc-answers-failed", &at("mini-pc", &failed));
    golden("nas-answers-failed", &at("nas", &failed));
    golden("answers-failed-details", &failed.details());
    golden("mini-pc-answers-two", &at("mini-pc", &two));
    golden("nas-answers-wrong", &at("nas", &wrong_answers()));
    golden("answers-wrong-details", &wrong_answers().details());
    for name in ZOO {
        for answers in [&next, &followed, &ignored, &failed, &two, &wrong_answers()] {
            let page = page(&zoo::facts(name), &Situation::Setup, answers, None);
            assert!(page.len() < 24, "{name}: {} lines", page.len());
            for line in page.iter().chain(&answers.details()) {
                assert!(line.len() <= WIDTH, "{name}: {line:?}");
                assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}: {line:?}");
                assert!(!line.contains("hunter2"), "{line}");
            }
        }
    }
}

fn door() -> Door {
    Door { state: crate::claim::test_state(), session: None }
}

fn closed() -> Door {
    let mut door = door();
    for from in ["192.168.1.66", "2001:db8::66", "192.168.1.66", "192.168.1.66", "10.0.0.9"] {
        door.state.admits("no code", Origin::read(from));
    }
    door
}

#[test]
fn s9_the_page_shows_the_code_and_the_fingerprint() {
    let mut told = door();
    told.state.keys = 2;
    told.state.remarks = vec!["authorized_keys on HEARTH: line 3: it is cut off; copy the whole line".to_owned()];
    let taken = Door { session: Some(Origin::read("192.168.1.5")), ..door() };
    let at = |name: &str, door: &Door, place: Place| {
        page(&zoo::facts(name), &Situation::Setup, &AnswerFile::Absent, Some((door, place)))
    };
    golden("mini-pc-door", &at("mini-pc", &told, Place::Console));
    golden("mini-pc-door-taken", &at("mini-pc", &taken, Place::Console));
    let mut lines = at("mini-pc", &closed(), Place::Console);
    lines.push(prompt(&Situation::Setup, true));
    golden("mini-pc-door-closed", &lines);
    golden("mini-pc-door-closed-ssh", &at("mini-pc", &closed(), Place::Ssh));
    golden("nas-door", &page(&zoo::facts("nas"), &Situation::Setup, &wrong_answers(), Some((&told, Place::Console))));
    // Whoever is in already has no use for the code.
    assert!(!at("mini-pc", &door(), Place::Ssh).iter().any(|line| line.contains("SSH ")));
    for name in ZOO {
        for (door, situation) in
            [(&told, Situation::Setup), (&taken, Situation::Setup), (&closed(), Situation::Repairable)]
        {
            for answers in [&AnswerFile::Absent, &wrong_answers(), &failed_answers(), &moved(), &unwritten()] {
                let page = page(&zoo::facts(name), &situation, answers, Some((door, Place::Console)));
                assert!(page.len() < 24, "{name}: {} lines\n{}", page.len(), page.join("\n"));
                for line in &page {
                    assert!(line.len() <= WIDTH, "{name}: {line:?}");
                    assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}: {line:?}");
                }
            }
        }
    }
}

fn moved() -> AnswerFile {
    let disk = "Samsung SSD 970 EVO Plus 1TB, serial S4EWNX0N123456";
    AnswerFile::Moved(format!("started from the stick again: remove it, or choose {disk} in the firmware's menu."))
}

fn unwritten() -> AnswerFile {
    AnswerFile::Unwritten("copying Hearth from /dev/sda to /dev/nvme0n1 stopped\nthe disk gives up".to_owned())
}

#[test]
fn the_page_does_not_say_that_nothing_was_changed_once_setup_has_written() {
    for answers in [moved(), unwritten()] {
        let page = page(&zoo::facts("mini-pc"), &Situation::Setup, &answers, None);
        assert_eq!(page[1], "Hearth 0.1.0 - setup.");
        assert!(page[2].starts_with("  answers  "), "{page:#?}");
    }
}

#[test]
fn the_head_above_a_login() {
    let facts = zoo::facts("nas");
    let well = head(&facts, "hearth", &Situation::Running(DataState::Mounted));
    assert_eq!(
        well,
        [
            "Hearth 0.1.0 on hearth",
            "  address 10.0.0.5 (eno1), 2001:db8:1:2:211:32ff:feaa:bbcc (eno1)",
            "  state   running, data is mounted",
        ]
    );
    let locked = head(&facts, "hearth", &Situation::Running(DataState::Locked("the passphrase")));
    assert_eq!(
        locked[2..],
        [
            "  state   data is LOCKED, so Docker stays down. Type the passphrase at the",
            "          console, or log in, by SSH too, and run `sudo hearth unlock`.",
        ]
    );
    let ill = head(&facts, "hearth", &Situation::Running(DataState::Missing("no disk has it".to_owned())));
    assert_eq!(ill[2], "  state   data is MISSING, so Docker stays down: no disk has it");
    let alone = head(&zoo::facts("no-network"), "hearth", &Situation::Running(DataState::Mounted));
    assert_eq!(alone[1], "  address none yet");
    assert!(
        alone.contains(&"          148f:7601 at 1-3 lacks firmware mt7601u.bin (MT7601U)".to_owned()),
        "{alone:#?}"
    );
}

#[test]
fn everything_fits_80_columns_and_the_page_fits_24_lines() {
    for name in ZOO {
        let facts = zoo::facts(name);
        let page = page(&facts, &Situation::Setup, &AnswerFile::Absent, None);
        for line in page.iter().chain(&details(&facts)) {
            assert!(line.len() <= WIDTH, "{name}: {line:?}");
            assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}: {line:?}");
        }
        assert!(page.len() < 24, "{name}: {} lines", page.len());
    }
    assert!(prompt(&Situation::Setup, false).len() < WIDTH);
}

#[test]
fn many_disks_take_a_line_each() {
    let mut facts = zoo::facts("nas");
    let disk = facts.disks[0].clone();
    for i in 0..6 {
        facts.disks.push(Disk { name: format!("sd{}", char::from(b'f' + i)), ..disk.clone() });
    }
    let page = page(&facts, &Situation::Setup, &AnswerFile::Absent, None);
    assert!(page.len() <= 27, "{}", page.join("\n"));
    assert_eq!(page.iter().filter(|line| line.contains("serial ")).count(), 11);
    assert!(page.iter().any(|line| line.contains("Hearth runs from it")));
}

#[test]
fn only_what_works_is_offered() {
    assert!([Choice::SetUp, Choice::RunHere].iter().all(|it| Choice::offered(&Situation::Setup).contains(it)));
    let stopped = Situation::Stopped("x".to_owned());
    assert!(![Choice::SetUp, Choice::RunHere].iter().any(|it| Choice::offered(&stopped).contains(it)));
    assert!(menu(&stopped).contains(&"  2) Restart and try again".to_owned()));
}

#[test]
fn a_wrong_answer_gets_one_clear_line() {
    let line = wrong("rm -rf / \u{1b}[2J and much more of this", &Situation::Setup);
    assert_eq!(line, "\"rm -rf / ?[2J...\" is not on the menu: type a number from 1 to 5.");
    assert!(line.len() <= WIDTH);
}
