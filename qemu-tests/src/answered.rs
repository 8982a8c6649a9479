//! Answer files for the tests, and disks with something on them for the answers to name.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use hearth::layout::Part;
use hearth::manifest::Partition;
use hearth::run::Cmd;
use hearth::units::SectorSize;
use hearth_image::tools::{ToolSet, Tools};
use hearth_image::verify;

use crate::lab::Lab;
use crate::nbd::Disk;

/// The admin's login name in every answer file here.
pub const ADMIN: &str = "ada";

/// The hash of the console password `open sesame please`.
pub const HASH: &str = "$y$j9T$qFUEwDxI6IAferEE/yree0$TMfsy3pMeUifHB6Zi/Z4NPtxBBE32WHxPxUW0gHcmx7";

/// The same password's hash for the portal.
pub const PORTAL_HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$i2RIurmJ0ogFb4ssgoeMXQ$zUk46LvIWuEtD6U9beNceBEO6yZ2L12H8pOc2DRo15I";

/// The tables of two disks: one is taken as it is, one is formatted.
pub const DISKS: &str = "[[disks]]
roles = [\"backups\"]
disk = { serial = \"ROLE-A\" }
prepare = \"adopt\"

[[disks]]
roles = [\"media\", \"downloads\"]
disk = { serial = \"ROLE-B\" }
prepare = \"erase\"
";

/// The last thing that setup says.
pub const SET_UP: &str = "Hearth: this machine is set up.";

/// A script that tells all that setup made, but for what is drawn or timed: the same answers on the
/// same machine give the same, whatever happened on the way.
pub const SETTLED: &str = r"
find /etc/hearth /opt/stacks /boot/hearth /etc/systemd/system /etc/systemd/network /var/lib/hearth/disks /mnt \
    -xdev ! -name grubenv ! -path '*/.git/*' -printf '%p %y %m %U %G %l\n' | sort
for file in /etc/hearth/hearth.toml /etc/docker/daemon.json /etc/ufw/*.rules /etc/fstab /etc/hostname /etc/locale.gen; do
    test ! -e $file || sha256sum $file
done
getent passwd | sort; getent group | sort
lsblk -nro TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,PARTLABEL,SERIAL | sort
findmnt -nro UUID,TARGET --real | sort
lsattr -d /mnt/*; cat /mnt/backups/marker
docker network ls --format '{{.Name}}' | sort
mkdir -p /run/told && mount -o ro -L HEARTH /run/told && cd /run/told && find . -type f | sort
sed 's/[0-9-]* [0-9:]* UTC//' hearth-report.txt | grep -v 'SHA256:\|10\.0\.2\.'
sha256sum hearth.done.toml; cd /; umount /run/told
";

/// An answer file for the machine `name` that stays on its disk: the lines of `more` are
/// part of the top level, `tables` follow.
pub fn answers(name: &str, key: &str, more: &str, tables: &str) -> String {
    file(name, key, more, "declined", &format!("password-hash = \"{HASH}\"\n\n{tables}"))
}

/// The same without a hash of the console's password: Hearth draws one, and tells it in `kit`.
pub fn answers_without_hash(name: &str, key: &str, more: &str, kit: &str, tables: &str) -> String {
    file(name, key, more, kit, &format!("\n{tables}"))
}

fn file(name: &str, key: &str, more: &str, kit: &str, tables: &str) -> String {
    format!(
        "version = 1\nrecovery-kit = \"{kit}\"\n{more}\n[system]\ndisk = \"this\"\nhostname = \"{name}\"\n\
         timezone = \"Europe/Berlin\"\n\n\
         [admin]\nlogin = \"{ADMIN}\"\nssh-keys = [\"{key}\"]\n{tables}"
    )
}

/// The image under test with `text` as the answer file on its HEARTH, as a computer would put it there.
pub fn medium_with(lab: &Lab, text: &str) -> Result<PathBuf> {
    let image = lab.image()?;
    let path = lab.dir().join("medium.img");
    Cmd::new("copying the image", "cp").args(["--sparse=always"]).arg(&image).arg(&path).run()?;
    let (hearth, sector) = hearth(lab)?;
    let answers = lab.dir().join("hearth.toml");
    fs::write(&answers, text).context("writing the answer file")?;
    let tools = Tools::ensure(lab.cache(), ToolSet::Image, None)?;
    let mcopy = tools.sandbox()?.bind(lab.dir().path()).command("mcopy");
    let at = hearth.start.offset(sector);
    Cmd::from_command("putting the answer file on HEARTH", mcopy)
        .arg("-i")
        .arg(format!("{}@@{}", path.display(), at.0))
        .arg(&answers)
        .arg("::/hearth.toml")
        .run()?;
    Ok(path)
}

/// Whether `words` lie anywhere on HEARTH of a disk with the image under test, in files or between them.
pub fn hearth_holds(lab: &Lab, disk: &Disk, words: &str) -> Result<bool> {
    let (hearth, sector) = hearth(lab)?;
    let bytes = disk.read(hearth.start.offset(sector).0, usize::try_from(hearth.size.0)?)?;
    Ok(memchr::memmem::find(&bytes, words.as_bytes()).is_some())
}

/// HEARTH of the image under test, and what its place counts in.
fn hearth(lab: &Lab) -> Result<(Partition, SectorSize)> {
    let image = verify::read_manifest(&verify::manifest_path(&lab.image()?))?.disk_image();
    let hearth = image.find(Part::Hearth).context("the image has no HEARTH")?.clone();
    Ok((hearth, image.sector_size))
}

/// A file with an ext4 of `mib` MiB called `label`, in which `marker` says who it belongs to.
pub fn disk_with_data(lab: &Lab, label: &str, mib: u64, marker: &str) -> Result<PathBuf> {
    let folder = lab.dir().join(format!("{label}-files"));
    fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(folder.join("marker"), marker).context("writing the marker")?;
    let path = lab.dir().join(format!("{label}.img"));
    let tools = Tools::ensure(lab.cache(), ToolSet::Image, None)?;
    let mke2fs = tools.sandbox()?.bind(lab.dir().path()).command("mke2fs");
    Cmd::from_command("making a file system", mke2fs)
        .args(["-q", "-t", "ext4", "-L", label, "-d"])
        .arg(&folder)
        .arg(&path)
        .arg(format!("{mib}M"))
        .run()?;
    Ok(path)
}
