//! `hearth-image flash` and `disks` as far as they go without a disk to write to: what is
//! no disk, what is no image, and that neither leaves anything behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hearth::digest::Digest;
use hearth::exit::Exit;
use serde_json::json;

fn hearth_image(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_hearth-image"))
        .args(args)
        .env("XDG_CONFIG_HOME", home.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_fails(out: &Output, exit: Exit, says: &[&str]) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(i32::from(exit.code())), "{said}");
    assert!(says.iter().all(|part| said.contains(part)), "{said}");
}

/// An image of 4 MiB with one partition, and its manifest; returns the image's path.
fn image(dir: &Path, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let path = dir.join("x.img");
    let bytes = vec![7; 4 << 20];
    fs::write(&path, &bytes).unwrap();
    let mut manifest = json!({
        "format": 1, "version": "0.1.0", "arch": "amd64", "image-id": uuid::Uuid::nil(), "source-date-epoch": 0,
        "image": { "name": "x.img", "size": bytes.len(), "sha256": Digest::of(&bytes) },
        "test-doubles": false, "bundle": { "state": "absent", "reason": "none" }, "disk-guid": uuid::Uuid::nil(),
        "sector-size": 512, "chunk-size": 4 << 20,
        "partitions": [{ "number": 4, "name": "root-a", "type-guid": uuid::Uuid::nil(), "guid": uuid::Uuid::nil(),
                         "start": 2048, "size": 2 << 20 }],
        "chunks": [{ "sha256": Digest::of(&bytes), "class": "data" }], "packages": [], "overlay": {},
    });
    change(&mut manifest);
    fs::write(dir.join("x.manifest.json"), manifest.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_mistyped_device_becomes_no_file_and_a_file_no_device() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), |_| {});
    let missing = dir.path().join("sdx");
    let out = hearth_image(&["flash", &image, missing.to_str().unwrap(), "--erase", "x"]);
    assert_fails(&out, Exit::Refused, &["[not-a-block-device]", "there is no such file", "hearth-image disks"]);
    assert!(!missing.exists());
    let before = fs::read(&image).unwrap();
    let out = hearth_image(&["flash", &image, &image, "--erase", "x"]);
    assert_fails(&out, Exit::Refused, &["[not-a-block-device]", "it is a file"]);
    assert_eq!(fs::read(&image).unwrap(), before);
    let out = hearth_image(&["flash", &image, "serial=no such disk", "--erase", "x"]);
    assert_fails(&out, Exit::Refused, &["[not-exactly-one] serial=no such disk fits no disk."]);
    let out = hearth_image(&["flash", &image, "size=1GiB", "--erase", "x"]);
    assert_fails(&out, Exit::Refused, &["there is no key `size`", "min-size"]);
}

#[test]
fn what_is_no_image_is_said_before_any_disk_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let out = hearth_image(&["flash", dir.path().join("no.img").to_str().unwrap(), "/dev/null"]);
    assert_fails(&out, Exit::Input, &["no.manifest.json", "belongs beside its image"]);
    assert_fails(&hearth_image(&["flash", "-", "/dev/null"]), Exit::Input, &["--manifest FILE"]);
    let image = image(dir.path(), |manifest| {
        manifest["chunk-size"] = json!(17);
        manifest["partitions"][0]["start"] = json!(1);
    });
    let out = hearth_image(&["flash", &image, "/dev/null"]);
    assert_fails(&out, Exit::Input, &["cannot be followed:", "its chunks have 17 bytes", "partition 4 lies outside"]);
}

#[test]
fn s8_a_manifest_without_a_signature_is_refused_when_a_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), |_| {});
    let key = dir.path().join("image.pub");
    hearth_image::sign::make_keys(&dir.path().join("image.key"), &key, "some words").unwrap();
    let out = hearth_image(&["flash", &image, "/dev/null", "--key", key.to_str().unwrap()]);
    assert_fails(&out, Exit::Mismatch, &["x.manifest.json.minisig is missing", "a trusted key is set"]);
}

#[test]
fn an_answer_file_with_errors_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), |_| {});
    let answers = dir.path().join("hearth.toml");
    fs::write(&answers, "version = 1\nhostnam = \"x\"\n").unwrap();
    let out = hearth_image(&["flash", &image, "/dev/null", "--answers", answers.to_str().unwrap()]);
    assert_fails(&out, Exit::Input, &["hearth.toml", "hostnam"]);
}

#[test]
fn keys_that_are_none_are_told_with_their_line_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), |_| {});
    let keys = dir.path().join("keys");
    for (text, says) in [
        ("# mine\nssh-ed25519 AAAA me\n", "line 2: the part behind the kind is damaged"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 1: this is a private key"),
        ("\n", "it holds no key"),
    ] {
        fs::write(&keys, text).unwrap();
        let out = hearth_image(&["flash", &image, "/dev/null", "--authorized-keys", keys.to_str().unwrap()]);
        assert_fails(&out, Exit::Input, &["keys cannot be taken", says]);
    }
}

#[test]
fn disks_are_listed_as_json_too() {
    let out = hearth_image(&["disks", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    for disk in list.as_array().unwrap() {
        assert!(disk["name"].is_string() && disk["holds"].is_string() && disk["refusals"].is_array(), "{disk}");
    }
}
