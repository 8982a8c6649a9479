//! Runs the packages' maintainer scripts in the tree: every `preinst`, then one
//! `dpkg --configure -a`. What would be done twice, or for this machine instead
//! of the appliance (initramfs, module index, host keys, services), is held back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;

use super::dpkgdb::Unpacked;

/// A shell's words for "done": stands in for programs that must not run yet.
const NOTHING: &str = "#!/bin/sh\nexit 0\n";

/// A program in the tree, with the environment maintainer scripts expect and nothing of the host's.
pub fn in_tree(tree: &Path, epoch: u64, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(tree).arg(program).env_clear();
    for (key, value) in [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        // The kernel's hook makes no initramfs now: it is made once, at the end.
        ("INITRD", "No"),
        ("SYSTEMD_OFFLINE", "1"),
    ] {
        command.env(key, value);
    }
    command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    command
}

/// Programs of the tree that do nothing while this lives.
#[derive(Debug)]
struct HeldBack {
    restore: Vec<(PathBuf, PathBuf)>,
    added: Vec<PathBuf>,
}

impl HeldBack {
    fn new(tree: &Path) -> Result<Self> {
        let mut held = Self { restore: Vec::new(), added: Vec::new() };
        // Services must not start; depmod runs beside us; host keys are made on the machine.
        let policy = tree.join("usr/sbin/policy-rc.d");
        put_script(&policy, "#!/bin/sh\nexit 101\n")?;
        held.added.push(policy);
        for name in ["usr/sbin/depmod", "usr/bin/ssh-keygen"] {
            let path = tree.join(name);
            if path.symlink_metadata().is_ok() {
                let aside = path.with_extension("hearth-aside");
                fs::rename(&path, &aside).with_context(|| format!("setting {name} aside"))?;
                put_script(&path, NOTHING)?;
                held.restore.push((aside, path));
            }
        }
        Ok(held)
    }

    fn put_back(self) -> Result<()> {
        for (aside, path) in &self.restore {
            fs::rename(aside, path).with_context(|| format!("putting {} back", path.display()))?;
        }
        for path in &self.added {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Runs all maintainer scripts.
pub fn configure(tree: &Path, packages: &[Unpacked<'_>], epoch: u64) -> Result<()> {
    // What update-alternatives and base-files would find on a running system.
    if tree.join("etc/mtab").symlink_metadata().is_err() {
        symlink("../proc/self/mounts", tree.join("etc/mtab")).context("making /etc/mtab")?;
    }
    let held = HeldBack::new(tree)?;
    run_preinsts(tree, packages, epoch)?;
    let mut dpkg = in_tree(tree, epoch, "dpkg");
    dpkg.args(["--force-confold", "--force-unsafe-io", "--configure", "-a"]);
    Cmd::from_command("configuring the packages", dpkg).run().kind(Exit::Dependency)?;
    held.put_back()
}

/// dpkg runs a `preinst` before it unpacks; here all is unpacked already, which is
/// what multistrap does too. One shell runs them all.
fn run_preinsts(tree: &Path, packages: &[Unpacked<'_>], epoch: u64) -> Result<()> {
    let mut script = String::from(
        "set -e\ncd /\nexport DPKG_MAINTSCRIPT_NAME=preinst DPKG_ROOT= DPKG_FORCE=unsafe-io DPKG_RUNNING_VERSION=1.22\n",
    );
    // These two make /etc/passwd and the links everything else relies on.
    let rank = |name: &str| match name {
        "base-passwd" => 0,
        "base-files" => 1,
        _ => 2,
    };
    let mut with_preinst: Vec<&Unpacked<'_>> =
        packages.iter().filter(|package| package.has_script("preinst")).collect();
    with_preinst.sort_by_key(|package| rank(&package.package.name));
    for package in with_preinst {
        let (name, arch, info) = (&package.package.name, &package.package.arch, package.info_name()?);
        script += &format!(
            "DPKG_MAINTSCRIPT_PACKAGE={name} DPKG_MAINTSCRIPT_ARCH={arch} DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
             /var/lib/dpkg/info/{info}.preinst install || {{ echo \"the preinst of {name} failed\" >&2; exit 1; }}\n"
        );
    }
    let mut shell = in_tree(tree, epoch, "sh");
    shell.args(["-c", &script]);
    Cmd::from_command("running the packages' preinst scripts", shell).run().kind(Exit::Dependency)
}

fn put_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("writing {}", path.display()))
}
