//! What someone sees who mistypes: one clear error, the documented exit code, and
//! nothing left behind. The real program, on small checkouts of their own.

mod support;

use hearth::exit::Exit;
use support::{Place, RECIPE};

#[test]
fn an_unknown_key_is_named_with_line_and_the_nearest_key() {
    let place = Place::new(&RECIPE.replace("target", "targt"));
    place
        .run(&["build"])
        .assert_fails(Exit::Input, &["recipe.toml, line 3: unknown field `targt`", "did you mean `target`?"]);
    place.assert_nothing_left();
}

#[test]
fn a_missing_overlay_is_named_with_those_that_exist() {
    let place = Place::new(&RECIPE.replace("\"base\"", "\"bas\""));
    place.run(&["build"]).assert_fails(Exit::Input, &["overlay `bas` is missing", "has base"]);
    place.assert_nothing_left();
}

#[test]
fn a_missing_recipe_is_named_with_what_to_do() {
    let place = Place::new(RECIPE);
    std::fs::remove_file(place.path("checkout/recipe.toml")).unwrap();
    place.run(&["build"]).assert_fails(Exit::Input, &["no recipe.toml here or above", "--recipe"]);
    place.run(&["build", "--recipe", "mine.toml"]).assert_fails(Exit::Input, &["mine.toml"]);
    place.assert_nothing_left();
}

#[test]
fn two_builds_into_one_folder_are_kept_apart() {
    let place = Place::new(RECIPE);
    std::fs::create_dir(place.path("checkout/out")).unwrap();
    let lock = std::fs::File::create(place.path("checkout/out/.building")).unwrap();
    let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    place.run(&["build"]).assert_fails(Exit::Environment, &["another build is writing to", "--out"]);
    place.assert_nothing_left();
}

#[test]
fn an_image_without_its_manifest_cannot_be_verified() {
    let place = Place::new(RECIPE);
    place.write("x.img", "x");
    place.run(&["verify", "../x.img"]).assert_fails(Exit::Input, &["x.manifest.json"]);
    place.assert_nothing_left();
}

#[test]
fn help_prints_the_table_of_exit_codes() {
    let outcome = Place::new(RECIPE).run(&["--help"]);
    outcome.assert_succeeds();
    for (_, code, meaning) in hearth::exit::TABLE {
        assert!(outcome.printed.contains(&format!("{code}  {meaning}")), "{code} is not in: {}", outcome.printed);
    }
}
