//! Where an answer file comes from: which file of a folder it is, and how its bytes
//! become text, whatever editor of whatever system wrote them.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use zeroize::Zeroizing;

use super::{Answers, Place, Problems, read};
use crate::exit::{Exit, Kind as _};
use crate::page::text::count;

/// What an answer file may be called, in any case. Windows hides the end of a name, so
/// that a file saved as `hearth.toml` there is often really the second one.
const NAMES: [&str; 2] = [FILE_NAME, "hearth.toml.txt"];

/// What an answer file is called on HEARTH.
pub const FILE_NAME: &str = "hearth.toml";

/// An answer file is some kilobytes. What is larger than this is something else.
const LIMIT: u64 = 1 << 20;

/// The answer file of the folder `dir`, if there is one. Two of them are refused: which
/// one was meant cannot be known.
pub fn find(dir: &Path) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if NAMES.contains(&name.as_str()) {
            found.push(entry.path());
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let names: Vec<String> = several.iter().map(|path| name_of(path)).collect();
            Err(anyhow!(
                "there are {} answer files, {}: which one counts? Keep one and remove the others",
                names.len(),
                names.join(" and ")
            ))
            .kind(Exit::Input)
        }
    }
}

/// Reads the answer file at `path`; the error tells everything that is wrong with it.
pub fn load(path: &Path) -> Result<Answers> {
    read_bytes(&bytes(path)?, &name_of(path))
        .map_err(|problems| anyhow!("{} in {}:\n{problems}", count(problems.list.len(), "error"), problems.name))
        .kind(Exit::Input)
}

/// The bytes of the answer file at `path`.
pub fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display())).kind(Exit::Input)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let size = file.take(LIMIT + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()));
    if size.kind(Exit::Input)? as u64 > LIMIT {
        return Err(anyhow!("{} is larger than 1 MiB: it is no answer file", path.display())).kind(Exit::Input);
    }
    Ok(bytes)
}

/// Reads the bytes of an answer file, which is called `name` in errors.
pub fn read_bytes(bytes: &[u8], name: &str) -> Result<Answers, Problems> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return read(text, name),
        Err(error) => error,
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problems::whole(name, "it is saved as UTF-16 (\"Unicode\"); save it as UTF-8"));
    }
    let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let place = Place::of(&good, good.len());
    Err(Problems::whole(name, format!("{place} holds a character that is not UTF-8; save the file as UTF-8")))
}

/// What the file at `path` is called in errors.
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        dir
    }

    #[test]
    fn the_file_is_found_in_any_case_and_behind_a_hidden_ending() {
        for name in ["hearth.toml", "HEARTH.TOML", "Hearth.toml.txt", "hearth.TOML.TXT"] {
            let dir = folder(&[name, "hearth.example.toml", "README.txt", "hearth.done.toml"]);
            assert_eq!(find(dir.path()).unwrap(), Some(dir.path().join(name)));
        }
        assert_eq!(find(folder(&["hearth.example.toml"]).path()).unwrap(), None);
    }

    #[test]
    fn two_files_are_refused_and_both_named() {
        let error = find(folder(&["hearth.toml", "hearth.toml.txt"]).path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are 2 answer files, hearth.toml and hearth.toml.txt: which one counts? Keep one and remove the others"
        );
        assert_eq!(crate::exit::code_of(&error), Exit::Input.code());
    }

    #[test]
    fn what_is_not_utf8_is_said_so() {
        let said = |bytes: &[u8]| read_bytes(bytes, "hearth.toml").unwrap_err().to_string();
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("v=1".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(said(&utf16), "hearth.toml: it is saved as UTF-16 (\"Unicode\"); save it as UTF-8");
        assert!(said(b"a = 1\nb = \"\xfc\"").contains("line 2, column 6 holds a character that is not UTF-8"));
    }

    #[test]
    fn something_huge_is_not_read() {
        let dir = folder(&[]);
        let path = dir.path().join("hearth.toml");
        fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("larger than 1 MiB"));
    }
}
