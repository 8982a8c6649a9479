//! What someone sees who mistypes: one clear error, the documented exit code, and
//! nothing left behind. The real program, on small checkouts of their own.

use std::path::Path;
use std::process::{Command, Output};

const RECIPE: &str =
    "suite = \"trixie\"\ncomponents = [\"main\"]\ntarget = \"amd64\"\nfirmware-profiles = []\noverlays = [\"base\"]\n";

/// A checkout with `recipe`, and `hearth-image` run in it.
fn hearth_image(recipe: &str, args: &[&str]) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("recipe.toml", recipe),
        ("firmware/amd64/packages.toml", "boot = []\nhardware = []\n"),
        ("overlays/base/packages.toml", "packages = []\n"),
    ] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let out = Command::new(env!("CARGO_BIN_EXE_hearth-image"))
        .args(args)
        .current_dir(dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .env("XDG_CONFIG_HOME", dir.path().join("config"))
        .output()
        .unwrap();
    (out, dir)
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn left_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("out")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_mistyped_key_is_named_with_line_and_the_nearest_key() {
    let (out, dir) = hearth_image(&RECIPE.replace("target", "targt"), &["build"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("recipe.toml, line 3: unknown field `targt`"), "{}", said(&out));
    assert!(said(&out).contains("did you mean `target`?"), "{}", said(&out));
    assert_eq!(left_in(dir.path()), [""; 0]);
}

#[test]
fn a_missing_overlay_is_named_with_those_that_exist() {
    let (out, dir) = hearth_image(&RECIPE.replace("\"base\"", "\"bas\""), &["build"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("overlay `bas` is missing") && said(&out).contains("has base"), "{}", said(&out));
    assert_eq!(left_in(dir.path()), [""; 0]);
}

#[test]
fn two_builds_into_one_folder_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(dir.path().join(".building")).unwrap();
    let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let (out, _checkout) = hearth_image(RECIPE, &["build", "--out", dir.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    assert!(said(&out).contains("another build is writing to"), "{}", said(&out));
}

#[test]
fn an_image_without_its_manifest_cannot_be_verified() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.img");
    std::fs::write(&image, "x").unwrap();
    let (out, _checkout) = hearth_image(RECIPE, &["verify", image.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("x.manifest.json"), "{}", said(&out));
}

#[test]
fn help_prints_the_table_of_exit_codes() {
    let (out, _checkout) = hearth_image(RECIPE, &["--help"]);
    let help = String::from_utf8_lossy(&out.stdout).into_owned();
    for (_, code, meaning) in hearth::exit::TABLE {
        assert!(help.contains(&format!("{code}  {meaning}")), "{code} is not in: {help}");
    }
}
