//! What a host may lack: namespaces, subordinate ids, space. Each obstacle is real, made in
//! namespaces of the test's own; only Ubuntu's switch is shown instead of set, because other
//! kernels have none.

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth::exit::Exit;
use support::{Outcome, Place, RECIPE, only_root, program, run, wait_until};

/// A user without a name and without subordinate ids.
const STRANGER: &str = "54321";

/// A place that belongs to a stranger, with the program in it.
fn strangers_place() -> Place {
    let place = Place::new(RECIPE);
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    // By another process: a descriptor of ours that is open for writing could be inherited by a
    // program that another test starts right now, and the kernel would call the copy busy.
    run(Command::new("cp").arg(program()).arg(place.path("hearth-image")));
    run(Command::new("chown").args(["-R", STRANGER]).arg(place.path("")));
    place
}

/// `hearth-image lock` as the stranger, after `script` has run as root of new mount and user
/// namespaces that know the stranger.
fn as_stranger(place: &Place, script: &str) -> Outcome {
    let inside = format!("{script}\nexec setpriv --reuid={STRANGER} --regid={STRANGER} --clear-groups \"$0\" lock");
    let mut command = Command::new("unshare");
    // A program started before its user has a name in the namespace has no rights there; hence two shells.
    command.args(["--user", "--mount", "sh", "-euc", "read -r _; exec sh -euc \"$1\" \"$0\""]);
    command.arg(place.path("hearth-image")).arg(inside);
    place.surround(&mut command);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let user_namespace = |of: &Path| fs::read_link(of.join("ns/user")).unwrap();
    wait_until("a user namespace", || user_namespace(&proc) != user_namespace(Path::new("/proc/self")));
    for map in ["uid_map", "gid_map"] {
        // Everyone keeps their number: what `unshare` itself cannot say.
        fs::write(proc.join(map), "0 0 65536\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    Outcome::of(child.wait_with_output().unwrap())
}

/// Subordinate ids for the stranger, where the tables are mounted over.
fn with_ids(place: &Place) -> String {
    let table = place.path("ids");
    fs::write(&table, format!("{STRANGER}:100000:65536\n")).unwrap();
    ["/etc/subuid", "/etc/subgid"].map(|name| format!("mount --bind {} {name};", table.display())).concat()
}

#[test]
fn a_user_without_subordinate_ids_is_told_how_to_get_some() {
    if only_root("the test acts as another user") {
        return;
    }
    let place = strangers_place();
    let outcome = as_stranger(&place, "");
    outcome.assert_fails(Exit::Environment, &["no subordinate ids in /etc/subuid", "usermod --add-subuids"]);
    place.assert_nothing_left();
}

#[test]
fn a_kernel_without_user_namespaces_is_named() {
    if only_root("the test acts as another user") {
        return;
    }
    let place = strangers_place();
    let script = format!("{} echo 0 >/proc/sys/user/max_user_namespaces", with_ids(&place));
    as_stranger(&place, &script).assert_fails(
        Exit::Environment,
        &["user namespaces do not work here", "user.max_user_namespaces is 0", "sudo sysctl"],
    );
    place.assert_nothing_left();
}

#[test]
fn ubuntus_restriction_of_user_namespaces_is_named() {
    if only_root("the test acts as another user") {
        return;
    }
    let place = strangers_place();
    let script = format!(
        "{} echo 0 >/proc/sys/user/max_user_namespaces; mount -t tmpfs none /proc/sys/kernel; \
         echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        with_ids(&place)
    );
    as_stranger(&place, &script).assert_fails(
        Exit::Environment,
        &["AppArmor restricts", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"],
    );
    place.assert_nothing_left();
}

#[test]
fn a_full_disk_is_named_before_the_work_begins() {
    if only_root("the test mounts a small disk") {
        return;
    }
    let place = Place::new(RECIPE);
    fs::create_dir(place.path("checkout/out")).unwrap();
    let script = "mount -t tmpfs -o size=64M none out";
    let outcome = Outcome::of(place.command_after(script, &[], &["build"]).output().unwrap());
    outcome.assert_fails(Exit::Environment, &["out has 64", "free", "--out"]);
    place.assert_nothing_left();
}
