//! What an archive may do to a build, and what a broken cache may: served from a small
//! archive of the test's own, to a tools tree that trusts the test's key, so that nothing
//! here depends on the network or on what Debian published today.

mod support;

use std::fs;
use std::process::Command;

use hearth::digest::Digest;
use hearth::exit::Exit;
use hearth_image::mirrors::KEYRING;
use hearth_image::tools::ToolSet;
use support::archive::{Archive, Package};
use support::key::Key;
use support::{Outcome, Place, only_root, run};

const RELEASE: &str = "/debian/dists/trixie/InRelease";

/// An archive, and a place whose recipe builds from it and whose tools trust it.
struct Scene {
    key: Key,
    archive: Archive,
    place: Place,
}

impl Scene {
    fn new() -> Self {
        Self::with_recipe("")
    }

    fn with_recipe(more: &str) -> Self {
        let key = Key::new();
        let archive = Archive::new(&key, &[Package::essential("1.0")]);
        let place = Place::roomy(&(archive.recipe() + more));
        key.trust_in(&place.add_tools(ToolSet::Image));
        Self { key, archive, place }
    }

    fn lock(&self) -> Outcome {
        self.place.run(&["lock"])
    }

    /// Locks, and takes the lock out of the result folder so that it is empty again.
    fn locked(&self) -> String {
        self.lock().assert_succeeds();
        let made = self.place.path("checkout/out").join(&self.place.results()[0]);
        let kept = self.place.path("lock.toml");
        fs::rename(made, &kept).unwrap();
        kept.to_str().unwrap().to_owned()
    }
}

#[test]
fn an_unknown_package_is_named_with_where_to_look() {
    let scene = Scene::with_recipe("packages = [\"hearth-exmaple\"]\n");
    let outcome = scene.lock();
    outcome.assert_fails(Exit::Input, &["Unable to locate package hearth-exmaple", "packages.toml"]);
    scene.place.assert_nothing_left();
}

#[test]
fn a_version_the_archive_has_dropped_is_named_and_a_new_lock_helps() {
    let scene = Scene::new();
    let lock = scene.locked();
    scene.archive.publish(&scene.key, &[Package::essential("1.1")], "");
    let outcome = scene.place.run(&["build", "--lock", &lock]);
    outcome.assert_fails(Exit::Dependency, &["no longer has hearth-example 1.0", "`hearth-image lock`"]);
    scene.place.assert_nothing_left();
    let renewed = fs::read_to_string(scene.locked()).unwrap();
    assert!(renewed.contains("version = \"1.1\""), "{renewed}");
}

#[test]
fn a_tampered_release_file_is_refused_even_if_an_earlier_one_was_good() {
    let scene = Scene::new();
    for _ in ["no cache", "the cache of a good run"] {
        scene.archive.tamper(RELEASE, "Components: main", "Components: mine");
        scene
            .lock()
            .assert_fails(Exit::Dependency, &["not to be trusted", "debian trixie InRelease", "another mirror"]);
        scene.place.assert_nothing_left();
        scene.archive.publish(&scene.key, &[Package::essential("1.0")], "");
        scene.locked();
    }
}

#[test]
fn an_expired_release_file_is_refused_even_if_an_earlier_one_was_good() {
    let scene = Scene::new();
    for _ in ["no cache", "the cache of a good run"] {
        let past = "Valid-Until: Sat, 01 Jan 2000 00:00:00 GMT\n";
        scene.archive.publish(&scene.key, &[Package::essential("1.0")], past);
        scene.lock().assert_fails(Exit::Dependency, &["InRelease is expired", "check the clock", "another mirror"]);
        scene.place.assert_nothing_left();
        scene.archive.publish(&scene.key, &[Package::essential("1.0")], "");
        scene.locked();
    }
}

#[test]
fn a_package_list_that_does_not_fit_its_release_file_is_refused() {
    let scene = Scene::new();
    scene.archive.tamper("/debian/dists/trixie/main/binary-amd64/Packages", "Version: 1.0", "Version: 0.9");
    scene.lock().assert_fails(Exit::Dependency, &["not to be trusted or not complete"]);
    scene.place.assert_nothing_left();
}

#[test]
fn a_damaged_package_in_the_cache_is_noticed_and_fetched_again() {
    let scene = Scene::new();
    let (lock, path) = (scene.locked(), Package::essential("1.0").path());
    // One package makes no system: what is looked at is how far it gets, and by what way.
    let outcome = scene.place.run(&["build", "--lock", &lock]);
    outcome.assert_fails(Exit::Input, &["the packages hold no kernel"]);
    assert_eq!(scene.archive.asked(&path), 1);
    let kept = fs::read_dir(scene.place.path("cache/hearth/packages")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.to_string_lossy().contains(".data.")).collect::<Vec<_>>();
    let sound = fs::read(&kept[0]).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for (damage, bytes) in
        [("a flipped bit", flipped), ("a cut end", sound[..sound.len() / 2].to_vec()), ("nothing left", Vec::new())]
    {
        fs::write(&kept[0], bytes).unwrap();
        let before = scene.archive.asked(&path);
        let outcome = scene.place.run(&["build", "--lock", &lock]);
        outcome.assert_fails(
            Exit::Input,
            &["the cached package hearth-example is damaged", "fetching it again", "no kernel"],
        );
        assert_eq!(scene.archive.asked(&path), before + 1, "{damage}");
        assert_eq!(fs::read(&kept[0]).unwrap(), sound, "{damage}");
    }
    scene.place.assert_nothing_left();
}

#[test]
fn a_damaged_package_list_in_the_cache_is_noticed_and_made_again() {
    let scene = Scene::new();
    let good = fs::read(scene.locked()).unwrap();
    let kept = fs::read_dir(scene.place.path("cache/hearth/resolved")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.extension().is_some_and(|name| name == "lock")).collect::<Vec<_>>();
    let damaged = String::from_utf8(good.clone()).unwrap().replace("1.0", "1.8");
    for damage in [damaged.into_bytes(), Vec::new()] {
        fs::write(&kept[0], damage).unwrap();
        assert!(fs::read(scene.locked()).unwrap() == good);
    }

    let find = ["-c", "ls -d apt/*/lists/*_debian_dists_trixie_main_*_Packages"];
    let list = run(Command::new("sh").args(find).current_dir(scene.place.path("cache/hearth"))).stdout;
    let list = scene.place.path("cache/hearth").join(String::from_utf8(list).unwrap().trim());
    let sound = fs::read_to_string(&list).unwrap();
    for damage in [sound.replace("Version: 1.0", "Version: 1.8"), String::new()] {
        fs::write(&list, damage).unwrap();
        fs::remove_file(&kept[0]).unwrap();
        assert!(fs::read(scene.locked()).unwrap() == good);
    }
}

#[test]
fn without_a_network_a_cold_cache_is_an_error_and_a_warm_one_is_not() {
    let scene = Scene::new();
    // Nobody listens there any more.
    drop(scene.archive);
    let outcome = scene.place.run(&["lock"]);
    outcome.assert_fails(Exit::Dependency, &["the archive cannot be reached", "no earlier package list", "network"]);
    scene.place.assert_nothing_left();

    let archive = Archive::new(&scene.key, &[Package::essential("1.0")]);
    scene.place.write("checkout/recipe.toml", &archive.recipe());
    scene.place.run(&["lock"]).assert_succeeds();
    let fresh = fs::read(scene.place.path("checkout/out").join(&scene.place.results()[0])).unwrap();
    drop(archive);
    let outcome = scene.place.run(&["lock"]);
    outcome.assert_succeeds();
    assert!(outcome.said.contains("using the 1 packages resolved last time"), "{}", outcome.said);
    let kept = scene.place.path("checkout/out").join(&scene.place.results()[0]);
    assert_eq!(fs::read(&kept).unwrap(), fresh);

    // The list is there, the packages are not.
    fs::rename(&kept, scene.place.path("lock.toml")).unwrap();
    let outcome = scene.place.run(&["build"]);
    outcome.assert_fails(Exit::Dependency, &["downloading hearth-example 1.0", "network"]);
    scene.place.assert_nothing_left();
}

#[test]
fn a_cache_on_a_full_disk_is_named_whoever_fills_it() {
    if only_root("the test mounts small disks") {
        return;
    }
    let key = Key::new();
    let mut large = Package::essential("1.0");
    // What no packer makes smaller.
    large.content =
        (0..200_000).flat_map(|number: u64| Digest::of(number.to_string()).to_string().into_bytes()).collect();
    let archive = Archive::new(&key, &[large]);
    let place = Place::roomy(&archive.recipe());
    key.trust_in(&place.add_tools(ToolSet::Image));
    let cache = place.path("cache/hearth");
    for (folder, size, words) in [
        ("packages", "1M", ["a disk is full: free some", "storing hearth-example"]),
        ("apt", "8k", ["a disk is full: free some", "reading the archive's package lists"]),
    ] {
        let folder = cache.join(folder);
        let script = format!("mkdir -p '{0}'; mount -t tmpfs -o size={size} none '{0}'", folder.display());
        let outcome = Outcome::of(place.command_after(&script, &[], &["build"]).output().unwrap());
        outcome.assert_fails(Exit::Environment, &words);
        place.assert_nothing_left();
    }
}

#[test]
fn two_runs_share_one_cold_cache() {
    let scene = Scene::new();
    let children = ["a", "b"].map(|name| scene.place.command(&["lock", "--out", name]).spawn().unwrap());
    for child in children {
        Outcome::of(child.wait_with_output().unwrap()).assert_succeeds();
    }
    let lock = |name: &str| {
        let mut entries = fs::read_dir(scene.place.path("checkout").join(name)).unwrap();
        fs::read(entries.next().unwrap().unwrap().path()).unwrap()
    };
    assert_eq!(lock("a"), lock("b"));
    scene.place.assert_only_results_left();
}

/// Hearth trusts Debian's keys, not what the host trusts: neither when it chooses packages
/// nor when it makes its tools.
#[test]
fn a_repository_that_only_the_host_trusts_is_refused() {
    if only_root("the test makes the host trust another key, in a mount namespace") {
        return;
    }
    let key = Key::new();
    let archive = Archive::new(&key, &[Package::essential("1.0")]);
    let trusting = |place: &Place| {
        let keys = place.path("keys");
        fs::create_dir(&keys).unwrap();
        key.write_public(&keys.join("stranger.gpg"));
        format!("mount --bind '{}' /etc/apt/trusted.gpg.d", keys.display())
    };

    // The host does trust it, else the rest would prove nothing.
    let host = Place::new(&archive.recipe());
    let (sources, state) = (host.path("sources.list"), host.path("state"));
    host.write("sources.list", &format!("deb {}/debian trixie main\n", archive.address()));
    fs::create_dir_all(state.join("lists/partial")).unwrap();
    let update = format!(
        "{}\napt-get -o APT::Update::Error-Mode=any -o Dir::Etc::sourcelist='{}' -o Dir::Etc::sourceparts=/dev/null -o Dir::State='{}' \
         -o APT::Sandbox::User=root update",
        trusting(&host),
        sources.display(),
        state.display()
    );
    run(Command::new("unshare").args(["--mount", "sh", "-euc", &update]));

    for tools in ["made already", "still to be made"] {
        let place = Place::roomy(&archive.recipe());
        if tools == "made already" {
            let tree = place.add_tools(ToolSet::Image);
            assert!(tree.join(KEYRING.trim_start_matches('/')).exists());
        }
        let mut command = place.command_after(&trusting(&place), &[], &["lock"]);
        let outcome = Outcome::of(command.output().unwrap());
        outcome.assert_fails(Exit::Dependency, &["InRelease' is not signed", "the recipe"]);
        place.assert_nothing_left();
    }
}
