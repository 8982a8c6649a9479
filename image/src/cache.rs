//! Where Hearth keeps what it can make or fetch again: `XDG_CACHE_HOME/hearth`.
//! Every entry is written under a temporary name and renamed when complete, and
//! made under a lock, so that two builds at once share it instead of spoiling it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use nix::fcntl::{Flock, FlockArg};

use crate::progress;

/// The cache folder of this user.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// An exclusive lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Cache {
    /// Opens (and makes) `$XDG_CACHE_HOME/hearth`, or `~/.cache/hearth`.
    pub fn open() -> Result<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
            .ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set, so there is no place for the cache"))
            .kind(Exit::Environment)?;
        let root = base.join("hearth");
        fs::create_dir_all(&root)
            .with_context(|| format!("making the cache folder {}", root.display()))
            .kind(Exit::Environment)?;
        // Mounts and chroots want the one true name.
        let root = root.canonicalize().with_context(|| format!("opening {}", root.display()))?;
        Ok(Self { root })
    }

    /// A folder of the cache, made if it is missing.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making the cache folder {}", path.display()))?;
        Ok(path)
    }

    /// Waits for the lock called `name`.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.dir("locks")?.join(name);
        let file = File::create(&path).with_context(|| format!("opening the lock {}", path.display()))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .or_else(|(file, _)| {
                progress::note(&format!("waiting for another build, which is working on {name}"));
                Flock::lock(file, FlockArg::LockExclusive)
            })
            .map_err(|(_, errno)| errno)
            .with_context(|| format!("waiting for the lock {}", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// A name in `dir` that nobody else uses, to be renamed when it is complete.
    /// What a killed run leaves under such a name is removed by the next.
    pub fn partial(dir: &Path, name: &str) -> PathBuf {
        dir.join(format!(".{name}.{}.partial", std::process::id()))
    }
}

/// Removes partial files in `dir` whose process is gone.
pub fn sweep(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".partial")) else { continue };
        let owner = name.rsplit('.').next().unwrap_or_default();
        if !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
            // A directory here belongs to a sandbox and is removed by it.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_files_of_dead_processes_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(".a.999999999.partial");
        let alive = Cache::partial(dir.path(), "b");
        fs::write(&dead, "").unwrap();
        fs::write(&alive, "").unwrap();
        sweep(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(alive.exists());
    }
}
