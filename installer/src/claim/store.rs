//! Where the door's state lies: in `/run`, so that it ends with the start it belongs to,
//! in a folder that root alone may enter. One lock around every change: however many
//! connections try codes at once, they are judged one after the other.
//!
//! The code itself lies there, not only its hash: both consoles show it whenever they are
//! looked at, and who can read root's files needs no code.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};
use zeroize::Zeroizing;

use super::origin::Origin;
use super::state::State;
use crate::durable;

/// The folder of the door.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    /// This machine's.
    pub fn real() -> Self {
        Self(PathBuf::from("/run/hearth/claim"))
    }

    /// One in the folder `dir`.
    #[cfg(test)]
    pub(super) fn in_folder(dir: &std::path::Path) -> Self {
        Self(dir.join("claim"))
    }

    /// Begins with `state`.
    pub fn create(&self, state: &State) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("making {}", self.0.display()))?;
        let _lock = self.lock()?;
        self.write(state)
    }

    /// The state, if there is a door.
    pub fn read(&self) -> Result<Option<State>> {
        let path = self.state();
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("reading {}", path.display()))
    }

    /// Changes the state while nobody else does, and keeps it before anything is answered;
    /// `None` if there is no door.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<Option<T>> {
        if !self.0.exists() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let Some(mut state) = self.read()? else { return Ok(None) };
        let answer = change(&mut state)?;
        self.write(&state)?;
        Ok(Some(answer))
    }

    /// Takes the one seat for somebody at `from`, for as long as what is returned is kept; or tells
    /// who has it.
    pub fn sit_down(&self, from: Origin) -> Result<Result<Flock<File>, Origin>> {
        let _lock = self.lock()?;
        let (path, file) = self.seat()?;
        let what = || format!("writing {}", path.display());
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut seat) => {
                seat.set_len(0).with_context(what)?;
                seat.rewind().with_context(what)?;
                seat.write_all(from.to_string().as_bytes()).with_context(what)?;
                Ok(Ok(seat))
            }
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => Ok(Err(name(file))),
            Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// Whether the seat is taken, and by whom.
    pub fn seated(&self) -> Result<Option<Origin>> {
        // Nobody may take whoever looks for somebody who sits.
        let _lock = self.lock()?;
        let (path, file) = self.seat()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(None),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => Ok(Some(name(file))),
            Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    fn seat(&self) -> Result<(PathBuf, File)> {
        let path = self.0.join("session");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok((path, file))
    }

    fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    fn write(&self, state: &State) -> Result<()> {
        let bytes = Zeroizing::new(serde_json::to_vec(state).context("writing the door's state as JSON")?);
        durable::write_private(&self.state(), &bytes)
    }

    fn lock(&self) -> Result<Flock<File>> {
        let path = self.0.join("lock");
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("locking {}", path.display()))
    }
}

/// Whose address stands in the seat's file.
fn name(mut file: File) -> Origin {
    let mut text = String::new();
    // Who holds the seat matters more than an address that cannot be read.
    let _ = file.read_to_string(&mut text);
    Origin::read(&text)
}

#[cfg(test)]
mod tests {
    use super::super::state::LIMIT;
    use super::super::state::tests::{RIGHT, state};
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_state_is_kept_where_root_alone_may_look() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_folder(dir.path());
        assert_eq!(store.read().unwrap(), None);
        assert_eq!(store.change(|_| Ok(())).unwrap(), None);
        store.create(&state()).unwrap();
        assert_eq!(store.read().unwrap(), Some(state()));
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.0), mode(&store.state())), (0o700, 0o600));
    }

    #[test]
    fn s9_wrong_codes_that_come_at_once_are_all_counted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_folder(dir.path());
        store.create(&state()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..LIMIT + 3 {
                scope.spawn(|| {
                    assert_eq!(store.change(|state| Ok(state.admits("x", Origin(None)))).unwrap(), Some(false));
                });
            }
        });
        assert_eq!(store.read().unwrap().unwrap().failures(), LIMIT);
        assert_eq!(store.change(|state| Ok(state.admits(RIGHT, Origin(None)))).unwrap(), Some(false));
    }

    #[test]
    fn s9_there_is_one_seat() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_folder(dir.path());
        store.create(&state()).unwrap();
        assert_eq!(store.seated().unwrap(), None);
        let (first, second) = (Origin::read("192.168.1.5"), Origin::read("fe80::7"));
        let seat = store.sit_down(first).unwrap().unwrap();
        assert_eq!(store.sit_down(second).unwrap().unwrap_err(), first);
        assert_eq!(store.seated().unwrap(), Some(first));
        drop(seat);
        assert_eq!(store.seated().unwrap(), None);
        let _seat = store.sit_down(second).unwrap().unwrap();
        assert_eq!(store.seated().unwrap(), Some(second));
    }
}
