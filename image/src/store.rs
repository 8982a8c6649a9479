//! The store of fetched packages, by SHA-256. A `.deb` is xz and slow to open,
//! and every build opens all of them: so each is verified once, when it arrives,
//! and kept as two zstd streams whose own checksums catch what the disk may do to
//! them later.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};

use crate::cache::{self, Cache};
use crate::interrupt::Unfinished;

/// Level 3 is the knee: faster levels save nothing, slower ones little.
const LEVEL: i32 = 3;

/// The two halves of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Maintainer scripts and metadata.
    Control,
    /// The files.
    Data,
}

impl Half {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Control => "control.tar.zst",
            Self::Data => "data.tar.zst",
        }
    }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the store in `cache` and removes what killed runs left.
    pub fn open(cache: &Cache) -> Result<Self> {
        let dir = cache.dir("packages")?;
        cache::sweep(&dir)?;
        Ok(Self { dir })
    }

    /// The store at `dir`, which exists: for the inside of a sandbox.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the store lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, sha256: &Digest, half: Half) -> PathBuf {
        self.dir.join(format!("{sha256}.{}", half.suffix()))
    }

    /// Whether the package is here.
    pub fn has(&self, sha256: &Digest) -> bool {
        // `data` is renamed last.
        self.path(sha256, Half::Data).exists() && self.path(sha256, Half::Control).exists()
    }

    /// Whether both halves of a package can be read to their ends, where their checksums are.
    pub fn is_sound(&self, sha256: &Digest) -> bool {
        [Half::Control, Half::Data]
            .into_iter()
            .all(|half| self.open_half(sha256, half).is_ok_and(|mut half| io::copy(&mut half, &mut io::sink()).is_ok()))
    }

    /// Removes a package that turned out damaged, so that it is fetched again.
    pub fn forget(&self, sha256: &Digest) {
        for half in [Half::Data, Half::Control] {
            let _ = fs::remove_file(self.path(sha256, half));
        }
    }

    /// Takes in a `.deb` whose digest the caller has checked.
    pub fn take(&self, sha256: &Digest, deb: impl Read) -> Result<()> {
        let mut archive = ar::Archive::new(deb);
        let mut unfinished = Vec::new();
        while let Some(member) = archive.next_entry() {
            let mut member = member.context("reading the package")?;
            let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
            let (half, packing) = match name.split_once(".tar") {
                Some(("control", packing)) => (Half::Control, packing.to_owned()),
                Some(("data", packing)) => (Half::Data, packing.to_owned()),
                _ => continue,
            };
            let part = Unfinished::new(cache::Cache::partial(&self.dir, &format!("{sha256}.{}", half.suffix())));
            repack(&mut member, &packing, part.path()).with_context(|| format!("repacking {name}"))?;
            unfinished.push((half, part));
        }
        if unfinished.len() != 2 {
            return Err(anyhow!("not a Debian package: it lacks control or data")).kind(Exit::Dependency);
        }
        // Control first: `has` looks for both, `data` completes it.
        unfinished.sort_by_key(|(half, _)| *half == Half::Data);
        for (half, part) in unfinished {
            part.finish(&self.path(sha256, half))?;
        }
        Ok(())
    }

    /// Opens one half of a package as a tar stream.
    pub fn open_half(&self, sha256: &Digest, half: Half) -> Result<impl Read + use<>> {
        let path = self.path(sha256, half);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        // A decoder takes no bytes for the end of none; a power cut leaves such files.
        if file.metadata().with_context(|| format!("opening {}", path.display()))?.len() == 0 {
            return Err(anyhow!("{} is empty", path.display())).kind(Exit::Io);
        }
        zstd::Decoder::new(file).with_context(|| format!("opening {}", path.display()))
    }
}

fn repack(member: &mut impl Read, packing: &str, to: &Path) -> Result<()> {
    let mut source: Box<dyn Read + '_> = match packing {
        "" => Box::new(member),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(BufReader::with_capacity(1 << 18, member))),
        ".zst" => Box::new(zstd::Decoder::new(member)?),
        other => return Err(anyhow!("packed as `{other}`, which Hearth does not read")).kind(Exit::Dependency),
    };
    let file = File::create(to).with_context(|| format!("writing {}", to.display()))?;
    let mut encoder = zstd::Encoder::new(BufWriter::with_capacity(1 << 18, file), LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut source, &mut encoder)?;
    encoder.finish()?.flush().with_context(|| format!("writing {}", to.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A `.deb` with the given members.
    pub(crate) fn deb(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, body) in members {
            builder.append(&ar::Header::new(name.as_bytes().to_vec(), body.len() as u64), body.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn example() -> (tempfile::TempDir, Store, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(b"data bytes").unwrap();
        let body = deb(&[
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", b"control bytes".to_vec()),
            ("data.tar.xz", xz.finish().unwrap()),
        ]);
        let sha256 = Digest::of(&body);
        store.take(&sha256, body.as_slice()).unwrap();
        (dir, store, sha256)
    }

    fn read(store: &Store, sha256: &Digest, half: Half) -> Result<String> {
        let mut text = String::new();
        store.open_half(sha256, half)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_package_is_kept_in_two_halves() {
        let (_dir, store, sha256) = example();
        assert!(store.has(&sha256));
        assert_eq!(read(&store, &sha256, Half::Control).unwrap(), "control bytes");
        assert_eq!(read(&store, &sha256, Half::Data).unwrap(), "data bytes");
        store.forget(&sha256);
        assert!(!store.has(&sha256));
    }

    #[test]
    fn a_flipped_bit_and_a_missing_end_are_noticed() {
        let (_dir, store, sha256) = example();
        assert!(store.is_sound(&sha256));
        let path = store.path(&sha256, Half::Data);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [flipped, good[..good.len() - 1].to_vec(), Vec::new()] {
            fs::write(&path, bad).unwrap();
            assert!(read(&store, &sha256, Half::Data).is_err());
            assert!(!store.is_sound(&sha256));
        }
    }

    #[test]
    fn what_is_no_package_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let body = deb(&[("control.tar", b"x".to_vec())]);
        assert!(store.take(&Digest::of(&body), body.as_slice()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
