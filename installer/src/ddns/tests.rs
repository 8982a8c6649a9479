//! The name, kept up to date on a machine made of maps, whose DuckDNS says what it is told to.

use super::*;
use crate::answers;
use crate::exit::code_of;
use crate::machine::fake::{Fake, Loss};
use crate::render::{File, Owner, present};

const TOKEN: &str = "0a1b2c3d-0000-4000-8000-00000000beef";

fn machine(reach: &str) -> Fake {
    let text = include_str!("../../fixtures/answers/good/01-smallest.toml");
    let domain = format!(
        "[domain]\ndns = \"duckdns\"\nname = \"attic.duckdns.org\"\ntoken = \"{TOKEN}\"\nreach = \"{reach}\"\n"
    );
    let answers = answers::read(&format!("{text}\n{domain}"), "test").unwrap();
    let mut fake = Fake::new(64);
    let token = File::private(format!("{DIR}/{DOMAIN}"), Owner::ROOT, TOKEN.as_bytes());
    for file in [present::truth(&answers).unwrap(), token] {
        fake.now.placed.insert(file.path.clone(), file);
    }
    fake
}

fn here(v4: &str) -> Here {
    Here { v4: v4.parse().ok(), v6: "2001:db8::7".parse().ok() }
}

fn tick(fake: &mut Fake, here: Here, now: u64) -> Outcome {
    let named = Named::read(fake).unwrap().unwrap();
    keep(fake, &named, here, now, true).unwrap()
}

#[test]
fn in_the_lan_the_name_follows_the_machine_and_is_told_no_more_than_needed() {
    let mut fake = machine("lan");
    let outcome = tick(&mut fake, here("192.168.1.10"), 1000);
    assert_eq!(outcome, Outcome::Accepted { leads: "192.168.1.10".to_owned(), changed: true });
    for now in [1300, 1600, 80_000] {
        assert_eq!(tick(&mut fake, here("192.168.1.10"), now), Outcome::NotDue);
    }
    assert!(matches!(tick(&mut fake, here("192.168.1.99"), 1900), Outcome::Accepted { changed: true, .. }));
    let again = tick(&mut fake, here("192.168.1.99"), 1900 + DAY);
    assert_eq!(again, Outcome::Accepted { leads: "192.168.1.99".to_owned(), changed: false });
    let wanted = ["192.168.1.10", "192.168.1.99", "192.168.1.99"].map(|to| format!("attic.duckdns.org to {to}"));
    assert_eq!(fake.led, wanted);
    // By hand it is told in any case.
    let named = Named::read(&fake).unwrap().unwrap();
    assert!(matches!(
        keep(&mut fake, &named, here("192.168.1.99"), 1901 + DAY, false).unwrap(),
        Outcome::Accepted { .. }
    ));
}

#[test]
fn for_the_internet_duckdns_sees_the_address_and_is_told_of_ipv6() {
    let mut fake = machine("internet");
    for now in [1000, 1300] {
        let Outcome::Accepted { leads, changed } = tick(&mut fake, here("192.168.1.10"), now) else {
            panic!("not due")
        };
        assert_eq!((leads.as_str(), changed), ("203.0.113.7 and 2001:db8::7", now == 1000));
    }
    assert_eq!(
        fake.led[..2],
        ["attic.duckdns.org to the address that DuckDNS sees", "attic.duckdns.org to 2001:db8::7"]
    );
    let without = Here { v6: None, ..here("192.168.1.10") };
    assert!(matches!(tick(&mut fake, without, 1600), Outcome::Accepted { leads, .. } if leads == "203.0.113.7"));
}

#[test]
fn failures_are_kept_tried_again_and_forgotten_once_it_works() {
    let mut fake = machine("lan");
    fake.duckdns = Verdict::Unknown("no connection came about".to_owned());
    let Outcome::Failed(failing) = tick(&mut fake, here("192.168.1.10"), 1000) else { panic!("it worked") };
    assert_eq!(failing.told(), "DuckDNS could not be told (no connection came about)");
    assert!(matches!(tick(&mut fake, here("192.168.1.10"), 1300), Outcome::Failed(_)));
    assert_eq!(tick(&mut fake, here("192.168.1.10"), 1600), Outcome::NotDue, "the second pause is longer");
    fake.duckdns = Verdict::Refused;
    let Outcome::Failed(failing) = tick(&mut fake, here("192.168.1.10"), 2000) else { panic!("it worked") };
    assert!(failing.refused && failing.since == 1000 && failing.remedy().contains("domain.token"), "{failing:?}");
    let state = State::read(&fake, "attic.duckdns.org").unwrap();
    assert_eq!(state.failing, Some(failing));
    assert_eq!(State::read(&fake, "other.duckdns.org").unwrap().failing, None, "that was another name");
    fake.duckdns = Verdict::Belong;
    assert!(matches!(tick(&mut fake, here("192.168.1.11"), 2100), Outcome::Accepted { .. }));
    assert_eq!(State::read(&fake, "attic.duckdns.org").unwrap().failing, None);
    // Without an address there is nothing to tell, and nobody is told it.
    let led = fake.led.len();
    let Outcome::Failed(failing) = tick(&mut fake, Here::default(), 2200) else { panic!("it worked") };
    assert!(failing.told().contains("no IPv4 address") && fake.led.len() == led);
}

#[test]
fn s18_the_token_is_in_no_file_and_no_word() {
    for verdict in [Verdict::Belong, Verdict::Refused, Verdict::Unknown("x".to_owned())] {
        let mut fake = machine("lan");
        fake.duckdns = verdict;
        let outcome = tick(&mut fake, here("192.168.1.10"), 1000);
        assert!(!format!("{outcome:?} {:?}", fake.led).contains("beef"));
        let holds = |file: &&File| String::from_utf8_lossy(&file.bytes).contains(TOKEN);
        let found: Vec<&str> = fake.now.placed.values().filter(holds).map(|file| file.path.as_str()).collect();
        assert_eq!(found, ["/etc/hearth/secrets/domain.token"]);
    }
    let fake = machine("lan");
    let mut record = Recording::new(&fake);
    let named = Named::read(&fake).unwrap().unwrap();
    keep(&mut record, &named, here("192.168.1.10"), 1000, false).unwrap();
    assert_eq!(record.effects[0], "have DuckDNS lead attic.duckdns.org to 192.168.1.10");
    assert!(record.effects.len() == 2 && !record.effects.concat().contains("beef"), "{:?}", record.effects);
}

#[test]
fn a_power_cut_between_duckdns_and_the_note_of_it_does_no_harm() {
    let mut fake = machine("lan");
    fake.durable = fake.now.clone();
    fake.cut = Some((fake.effects + 1, Loss::All));
    let named = Named::read(&fake).unwrap().unwrap();
    keep(&mut fake, &named, here("192.168.1.10"), 1000, true).unwrap_err();
    fake.power_cut(Loss::All);
    assert!(matches!(tick(&mut fake, here("192.168.1.10"), 1100), Outcome::Accepted { changed: true, .. }));
    assert_eq!(fake.led.len(), 2);
}

#[test]
fn without_a_name_or_its_token_it_says_so() {
    let fake = Fake::new(64);
    assert_eq!(code_of(&Named::read(&fake).unwrap_err()), 3);
    let mut fake = machine("lan");
    fake.now.placed.remove("/etc/hearth/secrets/domain.token");
    let named = Named::read(&fake).unwrap().unwrap();
    let error = keep(&mut fake, &named, here("192.168.1.10"), 0, true).unwrap_err();
    assert!(format!("{error:#}").contains("domain.token is gone"), "{error:#}");
}
