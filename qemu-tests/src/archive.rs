//! Packages for a machine that reaches no archive: a small one of its own, on a
//! disk. The packages are made of what is here anyway, so that no update that Debian
//! publishes can fail a test: the image's own, out of the builder's store, and
//! those of the tools tree, packed again from what was installed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth_image::lock::Lock;
use hearth_image::store::{Half, Store};

use crate::drive::Drive;
use crate::lab::Lab;

/// The serial number of the disk that the archive lies on.
const SERIAL: &str = "ARCHIVE";

/// Where the machine keeps the archive.
const FOLDER: &str = "/var/tmp/archive";

/// A folder of packages with the index that apt reads.
#[derive(Debug)]
pub struct Archive<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    index: String,
}

impl<'a> Archive<'a> {
    /// An archive without packages.
    pub fn new(lab: &'a Lab) -> Result<Self> {
        let dir = lab.dir().join("archive");
        fs::create_dir(&dir).context("making the archive")?;
        Ok(Self { lab, dir, index: String::new() })
    }

    /// Adds packages of the image, exactly those that are in it.
    pub fn add_of_image(&mut self, names: &[&str]) -> Result<()> {
        let lock = Lock::read(&self.lab.image()?.with_extension("lock.toml"))?;
        let store = Store::open(self.lab.cache())?;
        for name in names {
            let found = lock.packages.iter().find(|package| package.name == *name);
            let package = found.ok_or_else(|| anyhow!("the image has no package {name}"))?;
            let half = |half| {
                let mut bytes = Vec::new();
                std::io::copy(&mut store.open_half(&package.sha256, half)?, &mut bytes)?;
                Ok::<_, anyhow::Error>(bytes)
            };
            let (control, data) =
                half(Half::Control).and_then(|control| Ok((control, half(Half::Data)?))).with_context(|| {
                    format!("taking {name} from the store (if it is gone: remove the cache, and build the image again)")
                })?;
            self.add(name, &stanza(&control)?, &control, &data)?;
        }
        Ok(())
    }

    /// Adds the tools tree's kernel: Debian's, and signed, but another than the image's. Gives its version.
    pub fn add_other_kernel(&mut self) -> Result<String> {
        let tree = self.lab.tree();
        let version = fs::read_dir(tree.join("boot"))?
            .flatten()
            .find_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
            .context("looking for the kernel of the tools tree")?;
        let name = format!("linux-image-{version}");
        let (stanza, control, data) = packed_again(tree, &name).with_context(|| format!("packing {name} again"))?;
        self.add(&name, &stanza, &control, &data)?;
        Ok(version)
    }

    /// Adds a package: what its index says of it, and its two halves as tar streams.
    fn add(&mut self, name: &str, stanza: &str, control: &[u8], data: &[u8]) -> Result<()> {
        let mut deb = ar::Builder::new(Vec::new());
        for (member, body) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", control), ("data.tar", data)] {
            deb.append(&ar::Header::new(member.into(), body.len() as u64), body)?;
        }
        let deb = deb.into_inner()?;
        let (size, digest) = (deb.len(), Digest::of(&deb));
        self.index += &format!("{}\nFilename: ./{name}.deb\nSize: {size}\nSHA256: {digest}\n\n", stanza.trim_end());
        fs::write(self.dir.join(format!("{name}.deb")), deb).with_context(|| format!("writing {name}"))
    }

    /// The archive as a disk: a tar stream from its first byte on. [`unpack`] takes it from there.
    pub fn disk(&self) -> Result<Drive> {
        fs::write(self.dir.join("Packages"), &self.index).context("writing the archive's index")?;
        let list = format!("deb [trusted=yes] file:{FOLDER} ./\n");
        fs::write(self.dir.join("sources.list"), list).context("writing the archive's address")?;
        let path = self.lab.dir().join("archive.img");
        let mut tar = tar::Builder::new(File::create(&path).context("making the archive's disk")?);
        tar.mode(tar::HeaderMode::Deterministic);
        tar.append_dir_all("archive", &self.dir).and_then(|()| tar.finish()).context("filling the archive's disk")?;
        Ok(Drive::overlay(path).serial(SERIAL))
    }
}

/// The shell commands with which a machine takes the archive as its only one.
pub fn unpack() -> String {
    let parent = Path::new(FOLDER).parent().unwrap_or(Path::new("/")).display();
    format!(
        "until [ -b /dev/disk/by-id/virtio-{SERIAL} ]; do sleep 0.5; done
        tar -C {parent} -xf /dev/disk/by-id/virtio-{SERIAL}
        rm -f /etc/apt/sources.list.d/*; cp {FOLDER}/sources.list /etc/apt/"
    )
}

/// What a package's control half says of it.
fn stanza(control: &[u8]) -> Result<String> {
    for entry in tar::Archive::new(control).entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name().is_some_and(|name| name == "control") {
            return std::io::read_to_string(&mut entry).context("reading a control file");
        }
    }
    Err(anyhow!("a package without a control file"))
}

/// An installed package of `tree` as index entry, control and data: what dpkg-repack makes.
fn packed_again(tree: &Path, name: &str) -> Result<(String, Vec<u8>, Vec<u8>)> {
    let status = fs::read_to_string(tree.join("var/lib/dpkg/status"))?;
    let wanted = format!("Package: {name}\n");
    let entry = status.split("\n\n").find(|entry| format!("{entry}\n").starts_with(&wanted));
    let lines = entry.context("it is not installed")?.lines().filter(|line| !line.starts_with("Status: "));
    let stanza: String = lines.map(|line| format!("{line}\n")).collect();

    let mut control = tar::Builder::new(Vec::new());
    control.mode(tar::HeaderMode::Deterministic);
    let mut header = tar::Header::new_gnu();
    header.set_size(stanza.len() as u64);
    header.set_mode(0o644);
    control.append_data(&mut header, "control", stanza.as_bytes())?;
    let info = tree.join("var/lib/dpkg/info");
    for member in ["md5sums", "preinst", "postinst", "prerm", "postrm"] {
        let path = info.join(format!("{name}.{member}"));
        if path.exists() {
            control.append_path_with_name(path, member)?;
        }
    }

    let mut data = tar::Builder::new(Vec::new());
    data.mode(tar::HeaderMode::Deterministic);
    data.follow_symlinks(false);
    for path in fs::read_to_string(info.join(format!("{name}.list")))?.lines() {
        let name = path.trim_start_matches('/');
        let from = tree.join(name);
        // The tools trees leave documentation out.
        if path != "/." && from.symlink_metadata().is_ok() {
            data.append_path_with_name(from, name)?;
        }
    }
    Ok((stanza, control.into_inner()?, data.into_inner()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_package_is_packed_again() {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let entries = "Package: xy\nStatus: install ok installed\nVersion: 2\n\n\
                       Package: x\nStatus: install ok installed\nVersion: 1\n\n";
        put("var/lib/dpkg/status", entries);
        put("var/lib/dpkg/info/x.list", "/.\n/boot\n/boot/vmlinuz-1\n/usr/share/doc/x\n");
        put("var/lib/dpkg/info/x.postinst", "#!/bin/sh\n");
        put("boot/vmlinuz-1", "kernel");
        let (told, control, data) = packed_again(tree.path(), "x").unwrap();
        assert_eq!(told, "Package: x\nVersion: 1\n");
        assert_eq!(stanza(&control).unwrap(), told);
        let names = |bytes: &[u8]| -> Vec<String> {
            let mut archive = tar::Archive::new(bytes);
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&control), ["control", "postinst"]);
        assert_eq!(names(&data), ["boot", "boot/vmlinuz-1"]);
        assert!(packed_again(tree.path(), "y").unwrap_err().to_string().contains("not installed"));
    }
}
