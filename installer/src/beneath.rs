//! Files in folders that containers write to. Whoever broke into one may have left a link where
//! root expects a file, a pipe that never ends, or a folder that leads elsewhere (rule S14). So
//! every path is followed from a folder of root's own, and the kernel refuses links on the way.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, renameat2};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use crate::digest::Digest;
use crate::render::Owner;

/// The largest file that is read whole.
const LARGEST: u64 = 1 << 20;

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: String,
}

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was in it.
    pub bytes: Vec<u8>,
    /// Whom it belonged to.
    pub owner: Owner,
    /// Its permissions.
    pub mode: u32,
}

impl Found {
    /// Tells this state from any other.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl Folder {
    /// The folder `below` in `root`, which must be root's own. None if it does not exist.
    pub fn open(root: &Path, below: &str) -> Result<Option<Self>> {
        let path = root.join(below).display().to_string();
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let found = openat(AT_FDCWD, root, flags, Mode::empty()).and_then(|root| {
            let how =
                OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            openat2(root, below, how)
        });
        match found {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ELOOP | Errno::EXDEV) => Err(anyhow!("a link lies where a folder belongs; nothing was done"))
                .with_context(|| format!("opening {path}")),
            Err(error) => Err(error).with_context(|| format!("opening {path}")),
        }
    }

    /// The file `name` in it, if it is there and is one.
    pub fn read(&self, name: &str) -> Result<Option<Found>> {
        let what = || format!("reading {}/{name}", self.path);
        // Without blocking: a pipe would never be opened.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(anyhow!("a link lies where a file belongs")).with_context(what),
            Err(error) => return Err(error).with_context(what),
        };
        let stat = fstat(&fd).with_context(what)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(anyhow!("it is no file")).with_context(what);
        }
        let mut bytes = Vec::new();
        File::from(fd).take(LARGEST + 1).read_to_end(&mut bytes).with_context(what)?;
        if bytes.len() as u64 > LARGEST {
            return Err(anyhow!("it is larger than such a file can be")).with_context(what);
        }
        let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
        Ok(Some(Found { bytes, owner, mode: stat.st_mode & 0o777 }))
    }

    /// Replaces the file `name`, as `found`, by `bytes`; owner and permissions stay. After a power cut
    /// it is the old file or the new one. False if it is not as it was found any more: it stays as it is then.
    pub fn replace(&self, name: &str, found: &Found, bytes: &[u8]) -> Result<bool> {
        let fresh = format!(".{name}.hearth");
        let what = || format!("replacing {}/{name}", self.path);
        let made = self.put(&fresh, found, bytes).with_context(|| format!("writing {}/{fresh}", self.path));
        let current = made.and_then(|()| Ok(self.read(name)?.is_some_and(|now| now == *found)));
        let replaced = match current {
            Ok(true) => self.exchange(name, found, &fresh).with_context(what),
            other => other,
        };
        let _ = unlinkat(&self.fd, fresh.as_str(), UnlinkatFlags::NoRemoveDir);
        replaced
    }

    /// Has `name` and `fresh` change their places, unless what was called `name` is not as `found` any more.
    fn exchange(&self, name: &str, found: &Found, fresh: &str) -> Result<bool> {
        let read = || self.read(fresh)?.ok_or_else(|| anyhow!("{fresh} is not there any more"));
        let (mut goes_in, mut comes_out) = (read()?, found.clone());
        let mut ours = true;
        loop {
            renameat2(&self.fd, fresh, &self.fd, name, RenameFlags::RENAME_EXCHANGE)?;
            // It lasts; and meanwhile whoever had found the former file begins to write to it.
            nix::unistd::fsync(&self.fd)?;
            let out = read()?;
            if out == comes_out {
                return Ok(ours);
            }
            // Somebody has written to it at the last moment: that is the newest, and goes back.
            comes_out = std::mem::replace(&mut goes_in, out);
            ours = false;
        }
    }

    /// Makes the file `name`, which nobody else has open.
    fn put(&self, name: &str, like: &Found, bytes: &[u8]) -> Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => bail!("removing what lies there: {error}"),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600))?);
        file.write_all(bytes)?;
        fchown(file.as_fd(), Some(Uid::from_raw(like.owner.uid)), Some(Gid::from_raw(like.owner.gid)))?;
        fchmod(file.as_fd(), Mode::from_bits_truncate(like.mode))?;
        Ok(file.sync_all()?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("core/authelia")).unwrap();
        let folder = Folder::open(dir.path(), "core/authelia").unwrap().unwrap();
        (dir, folder)
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_permissions() {
        let (dir, folder) = folder();
        let path = dir.path().join("core/authelia/people");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let found = folder.read("people").unwrap().unwrap();
        assert!(folder.replace("people", &found, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        // Somebody else has written meanwhile: what they wrote stays.
        assert!(!folder.replace("people", &found, b"three").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join("core/authelia")).unwrap().count(), 1);
        assert_eq!(folder.read("nobody").unwrap(), None);
        assert!(Folder::open(dir.path(), "media").unwrap().is_none());
    }

    #[test]
    fn what_is_written_at_the_last_moment_is_not_lost() {
        let (dir, folder) = folder();
        let path = dir.path().join("core/authelia/people");
        fs::write(&path, "one").unwrap();
        let found = folder.read("people").unwrap().unwrap();
        folder.put(".people.hearth", &found, b"two").unwrap();
        fs::write(&path, "somebody else's").unwrap();
        assert!(!folder.exchange("people", &found, ".people.hearth").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
        assert_eq!(fs::read(path.with_file_name(".people.hearth")).unwrap(), b"two");
    }

    #[test]
    fn s14_no_link_pipe_or_flood_leads_root_elsewhere() {
        let (dir, folder) = folder();
        let (inside, secret) = (dir.path().join("core/authelia"), dir.path().join("shadow"));
        fs::write(&secret, "root:x").unwrap();
        symlink(&secret, inside.join("link")).unwrap();
        nix::unistd::mkfifo(&inside.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        fs::write(inside.join("flood"), vec![0; usize::try_from(LARGEST).unwrap() + 1]).unwrap();
        for (name, why) in [("link", "a link"), ("pipe", "no file"), ("flood", "larger")] {
            let error = format!("{:#}", folder.read(name).unwrap_err());
            assert!(error.contains(why), "{name}: {error}");
        }
        symlink(dir.path(), dir.path().join("core/elsewhere")).unwrap();
        let error = format!("{:#}", Folder::open(dir.path(), "core/elsewhere").unwrap_err());
        assert!(error.contains("a link"), "{error}");
        assert!(Folder::open(&dir.path().join("core"), "../shadow").is_err());
        // A link that waits under the name of what is written first.
        fs::write(inside.join("people"), "one").unwrap();
        let found = folder.read("people").unwrap().unwrap();
        symlink(&secret, inside.join(".people.hearth")).unwrap();
        assert!(folder.replace("people", &found, b"two").unwrap());
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root:x");
        assert_eq!(fs::read_to_string(inside.join("people")).unwrap(), "two");
    }
}
