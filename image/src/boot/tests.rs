//! What `boot` says and refuses, without a machine.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Args {
    Cli::try_parse_from([&["boot"], words].concat()).unwrap().args
}

#[test]
fn a_person_is_told_the_ports_and_the_way_out() {
    let screen = Screen { port: 5901, password: "abcd2345".to_owned() };
    let text =
        facts(&args(&["--display", "none"]), Bytes::gib(32), &[(40001, 22), (40002, 80), (40003, 443)], Some(&screen));
    for words in [
        "throw-away disk of 32.0 GiB, serial number HEARTH0001",
        "ssh -p 40001 USER@127.0.0.1",
        "http://127.0.0.1:40002",
        "https://127.0.0.1:40003",
        "VNC viewer at 127.0.0.1:5901; its password for this run: abcd2345",
        "Ctrl-C",
    ] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
}

#[test]
fn each_run_has_a_password_of_its_own() {
    let (one, two) = (password().unwrap(), password().unwrap());
    assert_eq!((one.len(), two.len()), (8, 8));
    assert_ne!(one, two);
}

#[test]
fn every_firmware_can_be_asked_for() {
    for (word, firmware) in [("uefi", Firmware::Uefi), ("secure-boot", Firmware::SecureBoot), ("bios", Firmware::Bios)]
    {
        assert_eq!(args(&["--firmware", word]).firmware, firmware);
    }
}

#[test]
fn an_image_that_cannot_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.img");
    fs::File::create(&image).unwrap().set_len(3 << 30).unwrap();
    assert_eq!(fits(&image, Bytes::gib(32)).unwrap(), Bytes::gib(32));
    let error = fits(&image, Bytes::gib(2)).unwrap_err();
    assert_eq!(hearth::exit::code_of(&error), Exit::Input.code());
    let packed = dir.path().join("x.img.zst");
    fs::write(&packed, "").unwrap();
    assert!(fits(&packed, Bytes::gib(2)).unwrap_err().to_string().contains("zstd -d"));
}

#[test]
fn the_machine_of_boot_is_the_one_that_is_tested() {
    let target = Target::parse(BUILT_IN, "qemu.toml").unwrap();
    let mut machine = Machine::new(&target, Firmware::Bios, qemu::Accel::Tcg);
    machine.disks.push(throw_away(Path::new("/x"), "S1"));
    let line = qemu::arguments(&target, &machine).unwrap().join(" ");
    assert!(line.contains(r#""cache":{"no-flush":true}"#) && line.contains(r#""serial":"S1""#), "{line}");
}
