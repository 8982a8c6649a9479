//! Runs the packages' maintainer scripts in the tree: every `preinst`, then dpkg's
//! own configuring. What would be done twice, or for this machine instead of the
//! appliance (initramfs, module index, certificates, host keys, services), is held back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;

use super::dpkgdb::Unpacked;
use super::needed::Needed;

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

/// Before a package is upgraded from a release that had its firmware in /lib, it diverts
/// every single file, and afterwards no longer. Nothing is upgraded here, and each of these
/// 200 calls reads all of dpkg's database.
const FEWER_DIVERSIONS: &str = "#!/bin/sh
case \"$*\" in *' /lib/firmware/'*.usr-is-merged*) exit 0 ;; esac
exec \"$0.hearth-aside\" \"$@\"
";

/// Scripts start Perl for each step of enabling a unit. What they ask for is written down
/// and done at the end by one Perl, [`ENABLE_UNITS`]. To their questions, nothing was installed before.
const UNITS_LATER: &str = "#!/bin/sh
case \"$*\" in *debian-installed*) exit 1 ;; *was-enabled*) exit 0 ;; esac
echo \"$DPKG_MAINTSCRIPT_PACKAGE $*\" >>/var/lib/dpkg/hearth-units
";

/// Does what was asked for, each in a process of its own, as that program expects: but Perl
/// and its modules are loaded once.
const ENABLE_UNITS: &str = r#"
use strict;
use warnings;
# What that program uses, all of it in perl-base.
use File::Basename;
use File::Path;
use File::Temp;
use Getopt::Long;

open(my $asked, '<', '/var/lib/dpkg/hearth-units') or exit 0;
while (my $line = <$asked>) {
    my ($package, @arguments) = split ' ', $line;
    defined(my $pid = fork) or die "starting a process: $!\n";
    if (!$pid) {
        $ENV{DPKG_MAINTSCRIPT_PACKAGE} = $package;
        @ARGV = @arguments;
        open(STDOUT, '>', '/dev/null');
        do '/usr/bin/deb-systemd-helper';
        die $@ || "running deb-systemd-helper: $!\n";
    }
    waitpid($pid, 0);
    die "deb-systemd-helper @arguments failed for $package\n" if $?;
}
unlink '/var/lib/dpkg/hearth-units';
"#;

const UNITS: &str = "usr/bin/deb-systemd-helper";
const DEPMOD: &str = "usr/sbin/depmod";
const CERTIFICATES: &str = "usr/sbin/update-ca-certificates";

/// Programs of the tree that do nothing for now, or less: depmod and the collecting of
/// certificates run once, beside us, host keys are made on the machine, and units are enabled
/// at the end.
const HELD_BACK: [(&str, &str); 5] = [
    (DEPMOD, NOTHING),
    (CERTIFICATES, NOTHING),
    ("usr/bin/ssh-keygen", NOTHING),
    ("usr/bin/dpkg-divert", FEWER_DIVERSIONS),
    (UNITS, UNITS_LATER),
];

/// Programs that scripts give to groups which they make.
const REGROUPED: [&str; 2] = ["usr/bin/ssh-agent", "usr/lib/dbus-1.0/dbus-daemon-launch-helper"];

/// Whether configuring changes the file at `path` (relative to the tree), as far as is known.
pub fn changes(path: &Path) -> bool {
    HELD_BACK.iter().map(|(name, _)| name).chain(&REGROUPED).any(|name| path == Path::new(name))
}

/// Refuses to start services.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// A tree whose packages are being configured.
#[derive(Debug)]
pub struct Configuring<'a> {
    tree: &'a Path,
    epoch: u64,
    held_back: Vec<&'static str>,
}

impl<'a> Configuring<'a> {
    /// Holds back what must not run, and runs the packages' first scripts.
    pub fn begin(tree: &'a Path, packages: &[Unpacked<'_>], epoch: u64) -> Result<Self> {
        // What update-alternatives and base-files would find on a running system.
        if tree.join("etc/mtab").symlink_metadata().is_err() {
            symlink("../proc/self/mounts", tree.join("etc/mtab")).context("making /etc/mtab")?;
        }
        put_script(&tree.join(POLICY), "#!/bin/sh\nexit 101\n")?;
        let mut held_back = Vec::new();
        for (name, meanwhile) in HELD_BACK {
            let path = tree.join(name);
            if path.symlink_metadata().is_ok() {
                fs::rename(&path, aside(&path)).with_context(|| format!("setting {name} aside"))?;
                put_script(&path, meanwhile)?;
                held_back.push(name);
            }
        }
        run_preinsts(tree, packages, epoch)?;
        Ok(Self { tree, epoch, held_back })
    }

    /// Configures what every script needs, then what is needed for all that runs beside the
    /// rest: making the initramfs, and collecting the certificates.
    pub fn first(&mut self, needed: &Needed) -> Result<()> {
        for names in [&needed.by_all, &needed.beside] {
            self.dpkg(names.iter().map(String::as_str))?;
        }
        // The scripts that would call them have run.
        self.put_back(DEPMOD)?;
        self.put_back(CERTIFICATES)
    }

    /// Configures all others, and puts back what was held back for them.
    pub fn rest(mut self) -> Result<()> {
        self.dpkg(["-a"])?;
        while let Some(name) = self.held_back.last() {
            self.put_back(name)?;
        }
        self.enable_units()?;
        fs::remove_file(self.tree.join(POLICY)).with_context(|| format!("removing {POLICY}"))
    }

    fn dpkg<'n>(&self, what: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let mut dpkg = in_tree(self.tree, self.epoch, "dpkg");
        dpkg.args(["--force-confold", "--force-unsafe-io", "--configure"]).args(what);
        Cmd::from_command("configuring the packages", dpkg).run().kind(Exit::Dependency)
    }

    fn enable_units(&self) -> Result<()> {
        let mut perl = in_tree(self.tree, self.epoch, "perl");
        perl.args(["-e", ENABLE_UNITS]);
        Cmd::from_command("enabling the packages' units", perl).run().kind(Exit::Dependency)
    }

    fn put_back(&mut self, name: &'static str) -> Result<()> {
        if let Some(at) = self.held_back.iter().position(|held| *held == name) {
            let path = self.tree.join(name);
            fs::rename(aside(&path), &path).with_context(|| format!("putting {name} back"))?;
            self.held_back.remove(at);
        }
        Ok(())
    }
}

/// Does what was held back from the package of certificates, if there is one.
pub fn collect_certificates(tree: &Path, epoch: u64) -> Result<()> {
    if tree.join(CERTIFICATES).symlink_metadata().is_err() {
        return Ok(());
    }
    let update = in_tree(tree, epoch, "update-ca-certificates");
    Cmd::from_command("collecting the certificates", update).run().kind(Exit::Dependency)
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("hearth-aside")
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
