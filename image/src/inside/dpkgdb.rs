//! Writes dpkg's database for packages that were unpacked without dpkg, so that
//! dpkg itself can configure them, and apt can upgrade them ever after. Tests
//! hold it against `dpkg --verify`, `--audit` and a re-installation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use md5::{Digest as _, Md5};

use super::spec::SpecPackage;

/// A package as its control half describes it.
#[derive(Debug)]
pub struct Unpacked<'a> {
    /// What was asked for.
    pub package: &'a SpecPackage,
    /// The control half's members.
    pub control: Vec<(String, Vec<u8>)>,
    /// The paths it owns.
    pub files: Vec<String>,
}

impl Unpacked<'_> {
    fn member(&self, name: &str) -> Option<&[u8]> {
        self.control.iter().find(|(member, _)| member == name).map(|(_, body)| body.as_slice())
    }

    fn stanza(&self) -> Result<&str> {
        let body = self.member("control").ok_or_else(|| anyhow!("{} has no control file", self.package.name))?;
        Ok(std::str::from_utf8(body)
            .with_context(|| format!("reading the control file of {}", self.package.name))?
            .trim_end())
    }

    /// The value of the field `name` of its control file, empty if it has none.
    pub fn field(&self, name: &str) -> Result<String> {
        let mut lines = self.stanza()?.lines();
        let start = format!("{name}: ");
        let Some(first) = lines.find_map(|line| line.strip_prefix(&start)) else { return Ok(String::new()) };
        // A long value may go on in lines that begin with a blank.
        let more = lines.take_while(|line| line.starts_with(' '));
        Ok(std::iter::once(first).chain(more).collect())
    }

    /// The name its files in dpkg's info folder begin with.
    pub fn info_name(&self) -> Result<String> {
        let co_installable = self.stanza()?.lines().any(|line| line == "Multi-Arch: same");
        let SpecPackage { name, arch, .. } = self.package;
        Ok(if co_installable { format!("{name}:{arch}") } else { name.clone() })
    }

    /// Whether it brings the maintainer script `name`.
    pub fn has_script(&self, name: &str) -> bool {
        self.member(name).is_some()
    }
}

/// Writes the database below `tree`. The packages are "unpacked", not yet configured.
pub fn write(tree: &Path, packages: &[Unpacked<'_>]) -> Result<()> {
    let dpkg = tree.join("var/lib/dpkg");
    for dir in ["info", "triggers", "updates", "parts", "alternatives"] {
        fs::create_dir_all(dpkg.join(dir)).with_context(|| format!("making dpkg's {dir}"))?;
    }
    let put =
        |name: &str, body: &[u8]| fs::write(dpkg.join(name), body).with_context(|| format!("writing dpkg's {name}"));
    for name in ["available", "diversions", "statoverride", "triggers/Unincorp"] {
        put(name, b"")?;
    }
    put("info/format", b"1\n")?;
    let mut status = String::new();
    let mut triggers: BTreeMap<String, String> = BTreeMap::new();
    let mut automatic = String::new();
    for package in packages {
        let info = package.info_name()?;
        for (member, body) in package.control.iter().filter(|(member, _)| member != "control") {
            let path = dpkg.join(format!("info/{info}.{member}"));
            fs::write(&path, body).with_context(|| format!("writing {}", path.display()))?;
            if ["preinst", "postinst", "prerm", "postrm", "config"].contains(&member.as_str()) {
                set_mode(&path, 0o755)?;
            }
        }
        put(&format!("info/{info}.list"), (package.files.join("\n") + "\n").as_bytes())?;
        status += &format!("{}{}\n\n", with_status(package.stanza()?), conffiles(tree, package)?);
        note_triggers(package, &info, &mut triggers);
        if !package.package.manual {
            let SpecPackage { name, arch, .. } = package.package;
            let arch = if arch == "all" { native_arch(packages) } else { arch };
            automatic += &format!("Package: {name}\nArchitecture: {arch}\nAuto-Installed: 1\n\n");
        }
    }
    put("status", status.as_bytes())?;
    for (name, lines) in triggers {
        put(&format!("triggers/{name}"), lines.as_bytes())?;
    }
    let apt = tree.join("var/lib/apt");
    fs::create_dir_all(&apt).context("making apt's state folder")?;
    fs::write(apt.join("extended_states"), automatic).context("writing apt's extended_states")
}

fn native_arch<'a>(packages: &'a [Unpacked<'_>]) -> &'a str {
    packages.iter().map(|package| package.package.arch.as_str()).find(|arch| *arch != "all").unwrap_or("all")
}

/// dpkg wants `Status` right behind the name to be readable by people; anywhere would do.
fn with_status(stanza: &str) -> String {
    match stanza.split_once('\n') {
        Some((first, rest)) => format!("{first}\nStatus: install ok unpacked\n{rest}"),
        None => format!("{stanza}\nStatus: install ok unpacked"),
    }
}

/// The `Conffiles` field: each file and the MD5 it was shipped with.
fn conffiles(tree: &Path, package: &Unpacked<'_>) -> Result<String> {
    let Some(body) = package.member("conffiles") else { return Ok(String::new()) };
    let mut field = String::new();
    // Lines may carry a flag such as `remove-on-upgrade`; those files are not shipped.
    for path in String::from_utf8_lossy(body).lines().map(str::trim).filter(|line| line.starts_with('/')) {
        let file = tree.join(path.trim_start_matches('/'));
        let bytes = fs::read(&file).with_context(|| format!("reading {path} of {}", package.package.name))?;
        let md5: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        field += &format!("\n {path} {md5}");
    }
    Ok(if field.is_empty() { field } else { format!("\nConffiles:{field}") })
}

fn note_triggers(package: &Unpacked<'_>, info: &str, triggers: &mut BTreeMap<String, String>) {
    let Some(body) = package.member("triggers") else { return };
    let text = String::from_utf8_lossy(body);
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        let mut words = line.split_whitespace();
        let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
        let suffix = match directive {
            "interest" | "interest-await" => "",
            "interest-noawait" => "/noawait",
            _ => continue,
        };
        if name.starts_with('/') {
            *triggers.entry("File".into()).or_default() += &format!("{name} {info}{suffix}\n");
        } else {
            *triggers.entry(name.into()).or_default() += &format!("{info}{suffix}\n");
        }
    }
}

/// Registers a package `hearth` that owns nothing but its triggers, so that dpkg
/// calls us when an upgrade has changed the boot chain. `source` holds its
/// `triggers` and `postinst`; without them nothing is registered.
pub fn register_hearth(tree: &Path, source: &Path, version: &str, arch: &str) -> Result<()> {
    if !source.is_dir() {
        return Ok(());
    }
    let dpkg = tree.join("var/lib/dpkg");
    let mut control = Vec::new();
    for member in ["triggers", "postinst"] {
        let body =
            fs::read(source.join(member)).with_context(|| format!("reading {}", source.join(member).display()))?;
        let path = dpkg.join(format!("info/hearth.{member}"));
        fs::write(&path, &body).with_context(|| format!("writing {}", path.display()))?;
        if member == "postinst" {
            set_mode(&path, 0o755)?;
        }
        control.push((member.to_owned(), body));
    }
    fs::write(dpkg.join("info/hearth.list"), "/.\n").context("writing hearth.list")?;
    // Empty, but `dpkg --audit` complains of a package without it.
    fs::write(dpkg.join("info/hearth.md5sums"), "").context("writing hearth.md5sums")?;
    let package = SpecPackage {
        name: "hearth".into(),
        arch: arch.into(),
        sha256: hearth::digest::Digest::of(""),
        size: hearth::units::Bytes::ZERO,
        manual: true,
    };
    let mut triggers = BTreeMap::new();
    note_triggers(&Unpacked { package: &package, control, files: Vec::new() }, "hearth", &mut triggers);
    for (name, lines) in triggers {
        append(&dpkg.join("triggers").join(name), &lines)?;
    }
    append(
        &dpkg.join("status"),
        &format!(
            "Package: hearth\nStatus: install ok installed\nPriority: optional\nSection: admin\nMaintainer: Hearth\n\
             Architecture: {arch}\nVersion: {version}\nDescription: Hearth's hooks into package upgrades\n \
             Keeps the boot loaders in step with the packages they come from.\n\n"
        ),
    )
}

fn append(path: &Path, text: &str) -> Result<()> {
    let before = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    fs::write(path, before + text).with_context(|| format!("writing {}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth::digest::Digest;
    use hearth::units::Bytes;

    fn spec(name: &str) -> SpecPackage {
        SpecPackage { name: name.into(), arch: "amd64".into(), sha256: Digest::of(name), size: Bytes(1), manual: false }
    }

    #[test]
    fn the_database_says_what_dpkg_would_have_said() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("etc")).unwrap();
        fs::write(tree.path().join("etc/x.conf"), "hello\n").unwrap();
        let package = spec("libx");
        let control = vec![
            ("control".into(), b"Package: libx\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n".to_vec()),
            ("conffiles".into(), b"/etc/x.conf\nremove-on-upgrade /etc/old.conf\n".to_vec()),
            (
                "triggers".into(),
                b"# why\ninterest-noawait /usr/lib/x\ninterest x-changed\nactivate-noawait ldconfig\n".to_vec(),
            ),
            ("postinst".into(), b"#!/bin/sh\n".to_vec()),
        ];
        let files = vec!["/.".into(), "/etc".into(), "/etc/x.conf".into()];
        write(tree.path(), &[Unpacked { package: &package, control, files }]).unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join("var/lib/dpkg").join(name)).unwrap();
        assert_eq!(
            read("status"),
            "Package: libx\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n\
             Conffiles:\n /etc/x.conf b1946ac92492d2347c6235b4d2611184\n\n"
        );
        assert_eq!(read("info/libx:amd64.list"), "/.\n/etc\n/etc/x.conf\n");
        assert_eq!(read("triggers/File"), "/usr/lib/x libx:amd64/noawait\n");
        assert_eq!(read("triggers/x-changed"), "libx:amd64\n");
        let states = fs::read_to_string(tree.path().join("var/lib/apt/extended_states")).unwrap();
        assert!(states.contains("Package: libx\n"));
    }

    #[test]
    fn hearth_registers_its_triggers() {
        let (tree, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(tree.path(), &[]).unwrap();
        fs::write(source.path().join("triggers"), "interest-noawait /boot\n").unwrap();
        fs::write(source.path().join("postinst"), "#!/bin/sh\n").unwrap();
        register_hearth(tree.path(), source.path(), "0.1.0", "amd64").unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join("var/lib/dpkg").join(name)).unwrap();
        assert!(read("status").contains("Package: hearth\nStatus: install ok installed\n"));
        assert_eq!(read("triggers/File"), "/boot hearth/noawait\n");
    }
}
