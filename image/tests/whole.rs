//! A whole build of the real image from what this machine's cache holds: stopped at each of
//! its stages, on disks that fill up, from a spoilt cache, without a network, two at once. What comes out in the
//! end must be the image that was built undisturbed, which `HEARTH_TEST_IMAGE` names.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hearth::exit::Exit;
use hearth_image::tools::ToolSet;
use support::{Outcome, Place, RECIPE, Stop, checkout, only_root};

/// A place with all that a build fetches or compiles, but without a base layer.
struct Scene {
    place: Place,
    image: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let image = PathBuf::from(std::env::var_os("HEARTH_TEST_IMAGE").expect("HEARTH_TEST_IMAGE names the image"));
        let place = Place::roomy(RECIPE);
        place.add_tools(ToolSet::Image);
        place.add_tools(ToolSet::Compiler);
        for name in ["packages", "program", "defaults"] {
            place.add_cached(name);
        }
        Self { place, image }
    }

    fn words(&self, out: &str) -> Vec<String> {
        let lock = self.image.with_extension("lock.toml");
        let recipe = checkout().join("recipe.toml");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        ["--log-format", "json", "build", "--out", out, "--recipe", &text(&recipe), "--lock", &text(&lock)]
            .map(str::to_owned)
            .to_vec()
    }

    fn build(&self) -> Command {
        self.place.command(&self.words("out").iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn build_after(&self, script: &str, unshare: &[&str]) -> Outcome {
        let words = self.words("out");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Outcome::of(self.place.command_after(script, unshare, &words).output().unwrap())
    }

    /// The digest of the image in `out`, as its sums give it.
    fn digest(&self, out: &str) -> String {
        digest(&self.place.path("checkout").join(out))
    }
}

fn digest(dir: &Path) -> String {
    let sums = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    // The image comes first.
    sums.lines().next().unwrap().to_owned()
}

/// Runs `command` until it has begun `step`, and stops it in the middle of it.
fn stop_during(mut command: Command, stage: &str, stop: Stop) {
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let begin = format!("\"step\":\"{stage}\"");
    while !said.lines().any(|line| line.contains("\"begin\"") && line.contains(&begin)) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{stage} never began: {said}");
    }
    std::thread::sleep(Duration::from_millis(300));
    let mut outcome = stop.send(child);
    stderr.read_to_string(&mut outcome.said).unwrap();
    eprintln!("{stage}, {stop:?}: {}", outcome.said.trim());
    outcome.assert_fails(Exit::Interrupted, &["interrupted; what was begun is removed"]);
}

#[test]
fn a_build_is_stopped_at_each_stage_and_then_gives_the_same_image() {
    let scene = Scene::new();
    for step in [
        "unpacking packages",
        "configuring packages, making the initramfs",
        "making the root file system",
        "assembling the disk image",
        "hashing",
    ] {
        for stop in Stop::ALL {
            stop_during(scene.build(), step, stop);
            scene.place.assert_nothing_left();
        }
    }

    // Nothing is missing in the cache now, so no network is needed.
    let offline: &[&str] = if only_root("the last build should have no network") { &[] } else { &["--net"] };
    if offline.is_empty() {
        Outcome::of(scene.build().output().unwrap()).assert_succeeds();
    } else {
        scene.build_after("", offline).assert_succeeds();
    }
    assert_eq!(scene.digest("out"), digest(scene.image.parent().unwrap()));

    let results = scene.place.results();
    for stop in Stop::ALL {
        stop_during(scene.place.command(&["--log-format", "json", "compress"]), "compressing", stop);
        scene.place.assert_only_results_left();
        assert_eq!(scene.place.results(), results);
    }

    let children = ["a", "b"].map(|out| {
        let words = scene.words(out);
        scene.place.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap()
    });
    for child in children {
        Outcome::of(child.wait_with_output().unwrap()).assert_succeeds();
    }
    assert_eq!(scene.digest("a"), scene.digest("out"));
    assert_eq!(scene.digest("b"), scene.digest("out"));
    scene.place.assert_only_results_left();
}

#[test]
fn what_a_disk_spoilt_in_the_cache_is_noticed_and_made_again() {
    let scene = Scene::new();
    // The program is compiled again, but not all the crates it consists of.
    for name in ["cargo", "program-target"] {
        scene.place.share_cached(name);
    }
    Outcome::of(scene.build().output().unwrap()).assert_succeeds();
    let cache = scene.place.path("cache/hearth");
    let inside = |folder: &str, name: &str| {
        let entries = fs::read_dir(cache.join(folder)).unwrap().map(|entry| entry.unwrap().path().join(name));
        entries.filter(|path| path.exists()).collect::<Vec<_>>()
    };
    for path in [inside("base", "root.ext4"), inside("program", "hearth")].concat() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        // A new file: programs are linked to the cache they were taken from.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let words = ["the cached base layer is damaged", "the cached hearth program is damaged"];
    for damaged in [true, false] {
        let outcome = Outcome::of(scene.build().output().unwrap());
        outcome.assert_succeeds();
        for word in words {
            assert_eq!(outcome.said.contains(word), damaged, "{word}: {}", outcome.said);
        }
        assert_eq!(scene.digest("out"), digest(scene.image.parent().unwrap()));
    }
    scene.place.assert_only_results_left();
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_named() {
    if only_root("the test mounts disks that become small") {
        return;
    }
    let scene = Scene::new();
    let (cache, out) = (scene.place.path("cache/hearth/base"), scene.place.path("checkout/out"));
    fs::create_dir_all(&cache).unwrap();
    fs::create_dir_all(&out).unwrap();

    let script = format!("mount -t tmpfs -o size=300M none '{}'", cache.display());
    let outcome = scene.build_after(&script, &[]);
    outcome.assert_fails(Exit::Environment, &["a disk is full"]);
    scene.place.assert_nothing_left();

    // Large enough to begin, then somebody else fills it.
    let script = format!(
        "mount -t tmpfs -o size=4G none '{0}'\n\
         (for try in $(seq 9000); do ls -a '{0}' | grep -q 'img.*partial' && break; sleep 0.02; done\n\
          for size in 200M 500M 900M; do mount -o remount,size=$size '{0}' && break; done) >/dev/null 2>&1 &",
        out.display()
    );
    let outcome = scene.build_after(&script, &[]);
    outcome.assert_fails(Exit::Environment, &["a disk is full"]);
    scene.place.assert_nothing_left();
}
