//! What the cache keeps for months, a disk may spoil meanwhile. So a folder is sealed with
//! checksums of all that lies in it, and looked over before it is used again: as quickly as
//! memory is read. They tell damage, not intent: nothing here is proof against an attacker.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, anyhow};
use crc32fast::Hasher;

/// The file that holds the checksums, in the folder they are of.
pub const NAME: &str = "sums";

/// What one thread reads at a time: it fits a core's own cache.
const PIECE: usize = 1 << 20;

/// Seals the folder `dir`: from now on nothing in it may change.
pub fn seal(dir: &Path) -> Result<()> {
    let path = dir.join(NAME);
    fs::write(&path, of(dir, None)?).with_context(|| format!("writing {}", path.display()))
}

/// Whether the folder `dir` was sealed and holds what it held then. What cannot be read is not
/// sound. Of the file `later` only the size is looked at: [`is_right`] does the rest.
pub fn are_right(dir: &Path, later: Option<&str>) -> bool {
    let sealed = fs::read_to_string(dir.join(NAME)).ok();
    let sealed = sealed.map(|text| text.split_inclusive('\n').map(|line| without_sum(line, later)).collect::<String>());
    sealed.is_some() && sealed == of(dir, later).ok()
}

/// Whether the file `name` in the sealed folder `dir` is what it was.
pub fn is_right(dir: &Path, name: &str) -> bool {
    let sealed = fs::read_to_string(dir.join(NAME)).unwrap_or_default();
    let told = || {
        let size = dir.join(name).metadata()?.len();
        let file = (PathBuf::from(name), size);
        let sum = checksums(dir, std::slice::from_ref(&file))?[0];
        Ok::<_, anyhow::Error>(line(&file, sum))
    };
    told().is_ok_and(|told| sealed.split_inclusive('\n').any(|line| line == told))
}

/// A line for each file and link; without the sum of the file `later`.
fn of(dir: &Path, later: Option<&str>) -> Result<String> {
    let (mut files, mut links) = (Vec::new(), String::new());
    list(dir, dir, &mut files, &mut links)?;
    let waits = |(path, _): &(PathBuf, u64)| Some(path.as_path()) == later.map(Path::new);
    // Of nothing, where the sum is left out.
    let read: Vec<_> = files.iter().map(|file| (file.0.clone(), if waits(file) { 0 } else { file.1 })).collect();
    let sums = checksums(dir, &read)?;
    let described = files.iter().zip(sums).map(|(file, sum)| without_sum(&line(file, sum), later).to_owned());
    Ok(described.chain([links]).collect())
}

fn line((path, size): &(PathBuf, u64), sum: u32) -> String {
    format!("file {} {size} {sum:08x}\n", path.display())
}

/// The line as it is, or up to its sum if it is that of the file `later`.
fn without_sum<'a>(line: &'a str, later: Option<&str>) -> &'a str {
    let is_it = later
        .is_some_and(|later| line.strip_prefix("file ").is_some_and(|rest| rest.starts_with(&format!("{later} "))));
    if is_it { line.rsplit_once(' ').map_or(line, |(before, _)| before) } else { line }
}

/// Files by path below `top` and their sizes, and the lines of links.
fn list(top: &Path, dir: &Path, files: &mut Vec<(PathBuf, u64)>, links: &mut String) -> Result<()> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let full = entry.path();
        let path = full.strip_prefix(top)?;
        let found = full.symlink_metadata().with_context(|| format!("reading {}", full.display()))?;
        if found.is_dir() {
            list(top, &full, files, links)?;
        } else if found.is_symlink() {
            *links += &format!("link {} {}\n", path.display(), fs::read_link(&full)?.display());
        } else if path != Path::new(NAME) {
            files.push((path.to_owned(), found.len()));
        }
    }
    Ok(())
}

/// The CRC-32 of each file, worked out on all cores piece by piece: one file has nearly all the bytes.
fn checksums(dir: &Path, files: &[(PathBuf, u64)]) -> Result<Vec<u32>> {
    let pieces: Vec<(usize, u64)> = files
        .iter()
        .enumerate()
        .flat_map(|(index, (_, size))| (0..*size).step_by(PIECE).map(move |at| (index, at)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Hasher)>> {
        let mut buffer = vec![0; PIECE];
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(index, at)) = pieces.get(number) else { return Ok(done) };
            let (path, size) = &files[index];
            let part = &mut buffer[..usize::try_from(size - at).map_or(PIECE, |left| left.min(PIECE))];
            // Opened for each piece: to have all open at once, a program may not be allowed.
            let read = File::open(dir.join(path)).and_then(|file| file.read_exact_at(part, at));
            read.with_context(|| format!("reading {}", dir.join(path).display()))?;
            let mut hasher = Hasher::new();
            hasher.update(part);
            done.push((number, hasher));
        }
    };
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a worker thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?
    .concat();
    done.sort_by_key(|(number, _)| *number);
    let mut sums = vec![Hasher::new(); files.len()];
    for (number, hasher) in done {
        sums[pieces[number].0].combine(&hasher);
    }
    Ok(sums.into_iter().map(Hasher::finalize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_shows_and_an_untouched_folder_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let (large, small, link) =
            (dir.path().join("large"), dir.path().join("units/small"), dir.path().join("units/link"));
        let body: Vec<u8> = (0..3 * PIECE + 5).map(|n| (n / 1000).to_le_bytes()[0]).collect();
        fs::create_dir(dir.path().join("units")).unwrap();
        let restore = || {
            let _ = fs::remove_file(&link);
            fs::write(&large, &body).unwrap();
            fs::write(&small, "small").unwrap();
            std::os::unix::fs::symlink("small", &link).unwrap();
        };
        restore();
        assert!(!are_right(dir.path(), None), "never sealed");
        seal(dir.path()).unwrap();
        assert!(are_right(dir.path(), None) && are_right(dir.path(), Some("large")) && is_right(dir.path(), "large"));

        let mut flipped = body.clone();
        flipped[2 * PIECE + 7] ^= 1;
        let mut swapped = body[PIECE..].to_vec();
        swapped.extend_from_slice(&body[..PIECE]);
        let damages: [(&str, &dyn Fn()); 8] = [
            ("a flipped bit", &|| fs::write(&large, &flipped).unwrap()),
            ("pieces in another order", &|| fs::write(&large, &swapped).unwrap()),
            ("a cut end", &|| fs::write(&large, &body[..body.len() - 1]).unwrap()),
            ("nothing left", &|| fs::write(&small, "").unwrap()),
            ("a file is gone", &|| fs::remove_file(&small).unwrap()),
            ("a file more", &|| fs::write(dir.path().join("more"), "").unwrap()),
            ("another link", &|| {
                fs::remove_file(&link).unwrap();
                std::os::unix::fs::symlink("large", &link).unwrap();
            }),
            ("no sums", &|| fs::remove_file(dir.path().join(NAME)).unwrap()),
        ];
        for (damage, make) in damages {
            make();
            assert!(!are_right(dir.path(), None), "{damage}");
            // In two parts the same is seen.
            let seen = are_right(dir.path(), Some("large")) && is_right(dir.path(), "large");
            assert!(!seen, "{damage} in two parts");
            let _ = fs::remove_file(dir.path().join("more"));
            restore();
            assert_eq!(are_right(dir.path(), None), damage != "no sums", "{damage} repaired");
        }
    }

    #[test]
    fn a_checksum_is_the_crc_32_everybody_knows() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "123456789").unwrap();
        assert_eq!(of(dir.path(), None).unwrap(), "file x 9 cbf43926\n");
    }
}
