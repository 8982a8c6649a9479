use super::seen::{Array, Container, Health, PublicName, Role, Space, arrays, read_counters, read_health, read_ranges};
use super::*;
use crate::page::{DataState, Situation};
use crate::units::Bytes;

/// A machine that is as it should be.
fn well() -> Seen {
    let container = |name: &str, state: &str, status: &str| Container {
        name: name.to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
    };
    let space =
        |place: &str, free| Ok(Space { place: place.to_owned(), size: Bytes::gib(100), free: Bytes::gib(free) });
    Seen {
        hearth: "0.1.0".to_owned(),
        hostname: "attic".to_owned(),
        addresses: vec!["192.168.1.10".to_owned()],
        situation: Situation::Running(DataState::Mounted),
        remains: Ok(None),
        roles: Ok(vec![Role {
            place: "/mnt/media".to_owned(),
            disk: "WDC WD40EFRX, serial WD-1".to_owned(),
            is_mounted: true,
        }]),
        spaces: vec![space("/", 60), space("/var/lib/hearth/data", 16), space("/mnt/media", 50)],
        failed_units: Ok(Vec::new()),
        containers: Ok(vec![
            container("core-traefik-1", "running", "Up 2 hours (healthy)"),
            container("core-once-1", "exited", "Exited (0) 2 hours ago"),
        ]),
        kernels: Ok(("6.12.118+deb13-amd64".to_owned(), "6.12.118+deb13-amd64".to_owned())),
        clock_is_right: Ok(true),
        names_resolve: true,
        public_name: Ok(None),
        disks: vec![
            ("/dev/sda (S1)".to_owned(), Ok(Some(Health { passed: true, pending: 0 }))),
            ("/dev/sdb".to_owned(), Ok(None)),
        ],
        counters: vec![("/var/lib/hearth/data".to_owned(), Ok(0))],
        arrays: Ok(Vec::new()),
        ranges: Ok(vec!["172.31.0.0/16".parse().unwrap()]),
        lan: vec!["192.168.1.0/24".parse().unwrap()],
    }
}

fn screen(seen: &Seen) -> String {
    let lines = view::screen(&Status::of(seen));
    assert!(lines.iter().all(|line| line.len() < 80 && line.is_ascii()), "{lines:#?}");
    lines.join("\n")
}

#[test]
fn all_is_well() {
    assert_eq!(
        screen(&well()),
        "Hearth 0.1.0 on attic: all is well
  address 192.168.1.10
  ok      system, disks, /, /var/lib/hearth/data, /mnt/media, services,
          containers, kernel, clock, names, disk health, addresses"
    );
}

#[test]
fn what_is_wrong_comes_first_with_its_cause_and_what_to_do() {
    let mut seen = well();
    seen.roles.as_mut().unwrap()[0].is_mounted = false;
    seen.spaces[1] = Ok(Space { place: "/var/lib/hearth/data".to_owned(), size: Bytes::gib(100), free: Bytes::gib(4) });
    seen.kernels = Ok(("6.12.118+deb13-amd64".to_owned(), "6.12.120+deb13-amd64".to_owned()));
    seen.containers = Err("starting `docker`".to_owned());
    let status = Status::of(&seen);
    assert_eq!((status.number(State::Red), status.number(State::Note)), (2, 2));
    assert_eq!(
        screen(&seen),
        "Hearth 0.1.0 on attic: 2 red, 2 notes
  address 192.168.1.10
  RED     /mnt/media: its disk, WDC WD40EFRX, serial WD-1, is not there.
          Nothing can be written there meanwhile.
  RED     /var/lib/hearth/data: 96 % full, 4.0 GiB of 100.0 GiB free.
  NOTE    containers: cannot be told: starting `docker`.
  NOTE    kernel: 6.12.118+deb13-amd64 runs, and 6.12.120+deb13-amd64 is
          installed: a restart is due.
  ok      system, /, /mnt/media, services, clock, names, disk health, addresses
`sudo hearth doctor` says what to do."
    );
    let all = view::all(&status).join("\n");
    assert!(all.contains("          -> Plug the disk in: it is taken"), "{all}");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!((&json["findings"][0]["state"], &json["findings"][0]["subject"]), (&"red".into(), &"/mnt/media".into()));
}

#[test]
fn each_thing_that_can_be_wrong_is_red_or_noted() {
    type Spoil = fn(&mut Seen);
    let cases: [(&str, State, Spoil); 11] = [
        ("locked until somebody types the PIN", State::Red, |seen| {
            seen.situation = Situation::Running(DataState::Locked("the PIN"));
        }),
        ("data is missing, so Docker stays down: no disk", State::Red, |seen| {
            seen.situation = Situation::Running(DataState::Missing("no disk".to_owned()));
        }),
        ("failed: ssh.service", State::Red, |seen| seen.failed_units = Ok(vec!["ssh.service".to_owned()])),
        ("core-traefik-1 (Up 2 hours (unhealthy))", State::Red, |seen| {
            seen.containers.as_mut().unwrap()[0].status = "Up 2 hours (unhealthy)".to_owned();
        }),
        ("core-once-1 (Exited (3) 1 second ago)", State::Red, |seen| {
            seen.containers.as_mut().unwrap()[1].status = "Exited (3) 1 second ago".to_owned();
        }),
        ("not set by the network", State::Note, |seen| seen.clock_is_right = Ok(false)),
        ("no name of the internet", State::Note, |seen| seen.names_resolve = false),
        ("says that it is failing", State::Red, |seen| {
            seen.disks[0].1 = Ok(Some(Health { passed: false, pending: 0 }));
        }),
        ("cannot read 8 sectors", State::Red, |seen| seen.disks[0].1 = Ok(Some(Health { passed: true, pending: 8 }))),
        ("btrfs counted 1 error on", State::Red, |seen| seen.counters[0].1 = Ok(1)),
        ("neighbours there cannot be reached", State::Red, |seen| seen.lan.push("172.31.5.0/24".parse().unwrap())),
    ];
    for (words, state, spoil) in cases {
        let mut seen = well();
        spoil(&mut seen);
        let findings = Status::of(&seen).findings;
        assert!(findings[0].told.contains(words) && findings[0].state == state, "{words}: {findings:#?}");
        assert!(findings[0].remedy.is_some(), "{words}: nobody is told what to do");
        assert!(findings[1..].iter().all(|finding| finding.state == State::Good), "{words}: {findings:#?}");
    }
}

#[test]
fn what_programs_print_is_read() {
    let ata = r#"{"smart_status":{"passed":true},"ata_smart_attributes":{"table":[{"id":5,"raw":{"value":9}},{"id":197,"raw":{"value":2}}]}}"#;
    assert_eq!(read_health(ata), Some(Health { passed: true, pending: 2 }));
    assert_eq!(
        read_health(r#"{"smart_status":{"passed":false,"nvme":{"value":4}}}"#),
        Some(Health { passed: false, pending: 0 })
    );
    // A virtual disk, and a bridge that says nothing.
    assert_eq!(read_health(r#"{"smartctl":{"exit_status":4}}"#), None);
    assert_eq!(read_health(""), None);
    let stats = "[/dev/vda5].write_io_errs    0\n[/dev/vda5].read_io_errs     3\n[/dev/vda5].corruption_errs  2\n";
    assert_eq!(read_counters(stats), 5);
    let daemon = r#"{"default-address-pools":[{"base":"172.31.0.0/16","size":24},{"base":"fd12::/48","size":64}]}"#;
    assert_eq!(read_ranges(daemon).unwrap().len(), 2);
    assert!(read_ranges("{").is_err());
}

#[test]
fn an_array_that_lacks_a_disk_is_red() {
    let dir = tempfile::tempdir().unwrap();
    let (named, block) = (dir.path().join("md"), dir.path().join("block"));
    std::fs::create_dir_all(block.join("md127/md")).unwrap();
    std::fs::create_dir(&named).unwrap();
    std::os::unix::fs::symlink("../md127", named.join("hearth-media")).unwrap();
    for (file, text) in [("raid_disks", "2\n"), ("degraded", "1\n"), ("sync_action", "idle\n"), ("mismatch_cnt", "0\n")]
    {
        std::fs::write(block.join("md127/md").join(file), text).unwrap();
    }
    let found = arrays(&named, &block).unwrap();
    let array =
        Array { name: "hearth-media".to_owned(), disks: 2, missing: 1, action: "idle".to_owned(), mismatches: 0 };
    assert_eq!(found, std::slice::from_ref(&array));
    let mut seen = well();
    seen.arrays = Ok(found);
    let told = screen(&seen);
    assert!(told.contains("  RED     arrays: hearth-media lacks 1 of its 2 disks, so another failure may\n"), "{told}");
    seen.arrays = Ok(vec![Array { missing: 0, mismatches: 128, ..array.clone() }]);
    assert!(screen(&seen).contains("  NOTE    arrays: the disks of hearth-media differed in 128 sectors"));
    seen.arrays = Ok(vec![Array { missing: 0, ..array }]);
    assert!(screen(&seen).contains("all is well") && screen(&seen).contains("arrays"));
}

#[test]
fn a_public_name_is_told_with_what_duckdns_said() {
    let name = |text: &str, hours: u64| {
        let state = serde_json::from_str(text).unwrap();
        Ok(Some(PublicName { name: "attic.duckdns.org".to_owned(), state, now: 1_795_631_611 + hours * 3600 }))
    };
    let accepted = r#"{"at": 1795631611, "asked": ["192.168.1.10"], "addresses": ["192.168.1.10"]}"#;
    let state = |accepted: &str, failing: &str| {
        format!(r#"{{"format": 1, "name": "attic.duckdns.org", "accepted": {accepted}, "failing": {failing}}}"#)
    };
    let failing = |refused: bool, why: &str| {
        format!(
            r#"{{"since": 1795631611, "last": 1795631611, "count": 1, "asked": [], "refused": {refused}, "why": "{why}"}}"#
        )
    };
    let offline = failing(false, "DuckDNS could not be told (no connection came about)");
    for (state, hours, how, words) in [
        (
            state(accepted, "null"),
            0,
            State::Good,
            "attic.duckdns.org leads to 192.168.1.10, as DuckDNS accepted at 2026-11-25 18:33 UTC",
        ),
        (state("null", "null"), 0, State::Note, "DuckDNS was not told yet"),
        (state(accepted, &offline), 1, State::Note, "could not be told (no connection came about), since 2026-11-25"),
        (state(accepted, &offline), 25, State::Red, "leads to 192.168.1.10, as"),
        (state("null", &failing(true, "DuckDNS refuses")), 0, State::Red, "attic.duckdns.org was never accepted"),
    ] {
        let mut seen = well();
        seen.public_name = name(&state, hours);
        let findings = Status::of(&seen).findings;
        let found = findings.iter().find(|finding| finding.subject == "public name").unwrap();
        assert!(found.state == how && found.told.contains(words), "{found:?}");
        assert_eq!(found.remedy.is_none(), how == State::Good, "{found:?}");
    }
    let mut seen = well();
    seen.public_name = Err("reading it".to_owned());
    assert!(screen(&seen).contains("  NOTE    public name: cannot be told: reading it."));
}
