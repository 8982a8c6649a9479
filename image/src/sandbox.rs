//! Runs programs out of a tools tree: in a private mount and process-id
//! namespace, on a root assembled from the tree, with only the named folders of
//! the host inside, at the same paths. As a plain user a user namespace makes it
//! possible; as root (also in a container or a chroot) none is needed.
//!
//! The outer half, here, builds the command line: `setpriv` ties its life to
//! ours, util-linux's `unshare` makes the namespaces and asks `newuidmap` for the
//! ids. The inner half is `hearth-image internal enter`, in [`crate::inside`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use nix::unistd::geteuid;

use crate::cache::Cache;

/// The environment variable that names `hearth-image` for programs that are not it.
pub const LAUNCHER: &str = "HEARTH_IMAGE_BIN";

/// A root to run programs on.
#[derive(Clone, Debug)]
pub struct Sandbox {
    tree: PathBuf,
    mount_point: PathBuf,
    launcher: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Sandbox {
    /// A sandbox on the tools tree `tree`.
    pub fn new(cache: &Cache, tree: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { tree: tree.into(), mount_point: cache.dir("mnt")?, launcher: launcher()?, binds: Vec::new() })
    }

    /// Shows the host's `path` inside, at the same path.
    #[must_use]
    pub fn bind(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.bind_at(path.clone(), path)
    }

    /// Shows the host's `from` inside as `to`.
    #[must_use]
    pub fn bind_at(mut self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        self.binds.push((from.into(), to.into()));
        self
    }

    /// `program` on this root, ready for arguments. It dies when we do.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = namespace_command();
        command.arg(&self.launcher).args(["internal", "enter"]);
        command.arg("--tree").arg(&self.tree).arg("--at").arg(&self.mount_point);
        for (from, to) in &self.binds {
            command.arg("--bind").arg(from).arg(to);
        }
        command.arg("--").arg(program.into());
        command
    }
}

/// `hearth-image internal WORDS…` in fresh namespaces but on the host's root.
pub fn internal(words: &[&str]) -> Result<Command> {
    let mut command = namespace_command();
    command.arg(launcher()?).arg("internal").args(words);
    Ok(command)
}

/// `program` on the host's root; as root, its mounts are its own, so that none stays if it is
/// killed. (As a plain user, programs that mount make a namespace by themselves.)
pub fn with_private_mounts(program: &str) -> Result<Command> {
    if !geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "unchanged", "--"]);
    command.arg(launcher()?).args(["internal", "private", "--", program]);
    Ok(command)
}

/// The error for an inner half, which shares our stderr and has said there what went wrong
/// unless it was killed.
pub fn failed(what: &str, status: std::process::ExitStatus) -> anyhow::Error {
    const KILLED: i32 = 128 + 9;
    match status.code() {
        Some(code) if code != KILLED => hearth::exit::reported(u8::try_from(code).unwrap_or(1)),
        _ => hearth::exit::mark(
            anyhow!("{what} was killed: if this machine ran out of memory (`dmesg` tells), close other programs"),
            Exit::Environment,
        ),
    }
}

fn namespace_command() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    if geteuid().is_root() {
        // In a chroot "/" is no mount point and `unshare` could not change its
        // propagation; the inner half does, from outside the chroot.
        command.args(["--propagation", "unchanged"]);
    } else {
        command.args(["--user", "--map-root-user", "--map-auto"]);
    }
    command.arg("--");
    command
}

/// Finds `hearth-image`: us, or the one beside us (tests lie one folder deeper).
pub fn launcher() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(LAUNCHER) {
        return Ok(path.into());
    }
    let me = std::env::current_exe()
        .context("finding our own program file: is /proc mounted? (`mount -t proc proc /proc`)")
        .kind(Exit::Environment)?;
    if me.file_stem().is_some_and(|name| name == "hearth-image") {
        return Ok(me);
    }
    me.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("hearth-image"))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("hearth-image is not beside {}: build it first (`cargo build`)", me.display()))
        .kind(Exit::Environment)
}

/// Proves that namespaces work here, and if not says which obstacle it is.
pub fn require_namespaces() -> Result<()> {
    if geteuid().is_root() {
        let works = namespace_command().arg("true").output().context("starting `unshare`").kind(Exit::Environment)?;
        if works.status.success() {
            return Ok(());
        }
        return Err(anyhow!(
            "root may not make mount namespaces here ({}): a container needs CAP_SYS_ADMIN (for example \
             `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`)",
            String::from_utf8_lossy(&works.stderr).trim()
        ))
        .kind(Exit::Environment);
    }
    require_subordinate_ids("/etc/subuid")?;
    require_subordinate_ids("/etc/subgid")?;
    let works = namespace_command().arg("true").output().context("starting `unshare`").kind(Exit::Environment)?;
    if works.status.success() {
        return Ok(());
    }
    Err(anyhow!("{}", obstacle(Path::new("/"), String::from_utf8_lossy(&works.stderr).trim()))).kind(Exit::Environment)
}

fn require_subordinate_ids(table: &str) -> Result<()> {
    let user = nix::unistd::User::from_uid(geteuid()).context("looking up our user name")?;
    let name = user.map_or_else(|| geteuid().to_string(), |user| user.name);
    let text = std::fs::read_to_string(table).unwrap_or_default();
    if has_ids(&text, &name, geteuid().as_raw()) {
        return Ok(());
    }
    Err(anyhow!(
        "the user {name} has no subordinate ids in {table}, so files of other owners cannot be made without root; \
         give it some: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
    ))
    .kind(Exit::Environment)
}

/// Whether `table` (the text of /etc/subuid) gives the user 65,536 ids in one range.
fn has_ids(table: &str, name: &str, uid: u32) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().unwrap_or_default();
        let count = fields.nth(1).and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        (owner == name || owner == uid.to_string()) && count >= 65_536
    })
}

/// Names what stands in the way of user namespaces, from the kernel's switches below `root`.
fn obstacle(root: &Path, said: &str) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(root.join("proc/sys").join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let (why, what) = if read("kernel/apparmor_restrict_unprivileged_userns") == "1" {
        (
            "AppArmor restricts unprivileged user namespaces (Ubuntu's default)",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        )
    } else if read("kernel/unprivileged_userns_clone") == "0" {
        ("kernel.unprivileged_userns_clone is 0", "sudo sysctl kernel.unprivileged_userns_clone=1, or run as root")
    } else if read("user/max_user_namespaces") == "0" {
        ("user.max_user_namespaces is 0", "sudo sysctl user.max_user_namespaces=65536, or run as root")
    } else {
        ("the kernel or a container runtime forbids it", "run as root, or outside the container")
    };
    format!("user namespaces do not work here: {why}; {what} (unshare said: {said})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let table = "anna:100000:65536\n1001:165536:65536\nshort:1:1000\n";
        assert!(has_ids(table, "anna", 1000));
        assert!(has_ids(table, "ben", 1001));
        assert!(!has_ids(table, "short", 1002));
        assert!(!has_ids(table, "carl", 1003));
        assert!(!has_ids("", "anna", 1000));
    }

    #[test]
    fn each_obstacle_has_its_name() {
        for (switch, value, word) in [
            ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
            ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone"),
            ("user/max_user_namespaces", "0", "max_user_namespaces"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join("proc/sys").join(switch);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, format!("{value}\n")).unwrap();
            assert!(obstacle(root.path(), "no").contains(word));
        }
        assert!(obstacle(Path::new("/nonexistent"), "why not").contains("why not"));
    }
}
