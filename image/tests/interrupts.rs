//! Ctrl-C and SIGTERM while a build waits for an archive: it ends at once, says so, and
//! leaves nothing. The later stages have their turn in whole.rs.

mod support;

use std::time::{Duration, Instant};

use hearth::exit::Exit;
use hearth_image::tools::ToolSet;
use support::archive::{Archive, Package};
use support::key::Key;
use support::{Place, Stop, wait_until};

/// Stops `hearth-image ARGS` once it waits for `path`, both ways.
fn stopped(place: &Place, archive: &Archive, args: &[&str], path: &str) {
    archive.silence(path);
    for stop in Stop::ALL {
        let before = archive.asked(path);
        let child = place.command(args).spawn().unwrap();
        wait_until(path, || archive.asked(path) > before);
        let started = Instant::now();
        let outcome = stop.send(child);
        outcome.assert_fails(Exit::Interrupted, &["interrupted; what was begun is removed"]);
        assert!(started.elapsed() < Duration::from_secs(12), "{stop:?} took {:?}", started.elapsed());
        place.assert_nothing_left();
    }
}

#[test]
fn while_package_lists_are_read() {
    let key = Key::new();
    let archive = Archive::new(&key, &[Package::essential("1.0")]);
    let place = Place::roomy(&archive.recipe());
    key.trust_in(&place.add_tools(ToolSet::Image));
    stopped(&place, &archive, &["build"], "/debian/dists/trixie/InRelease");
}

#[test]
fn while_packages_are_downloaded() {
    let key = Key::new();
    let package = Package::essential("1.0");
    let archive = Archive::new(&key, std::slice::from_ref(&package));
    let place = Place::roomy(&archive.recipe());
    key.trust_in(&place.add_tools(ToolSet::Image));
    stopped(&place, &archive, &["build"], &package.path());
}

#[test]
fn while_the_tools_are_made() {
    let key = Key::new();
    let archive = Archive::new(&key, &[Package::essential("1.0")]);
    let place = Place::roomy(&archive.recipe());
    stopped(&place, &archive, &["build"], "/debian/dists/trixie/InRelease");
}

/// `hearth-image build 2>&1 | tee log`: Ctrl-C ends `tee` too, and nobody reads any more.
#[test]
fn while_nobody_reads_what_it_says() {
    let key = Key::new();
    let archive = Archive::new(&key, &[Package::essential("1.0")]);
    let place = Place::roomy(&archive.recipe());
    key.trust_in(&place.add_tools(ToolSet::Image));
    let path = "/debian/dists/trixie/InRelease";
    archive.silence(path);
    let mut child = place.command(&["build"]).spawn().unwrap();
    drop(child.stderr.take());
    wait_until(path, || archive.asked(path) > 0);
    let outcome = Stop::CtrlC.send(child);
    assert_eq!(outcome.code, Some(i32::from(Exit::Interrupted.code())));
    place.assert_nothing_left();
}
