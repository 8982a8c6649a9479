//! What `flash` puts on the `HEARTH` partition beside what the image has there: answers, and
//! what lets somebody in by SSH where there is no screen to read a code from.

use std::path::PathBuf;

use anyhow::Result;
use hearth::answers;
use hearth::claim::{self, Code, Keys};
use hearth::flash::hearth_files::HearthFile;
use hearth::page::text;

/// What a setup code is for.
const CODE_IS_THE_PASSWORD: &str = "The code is the password, until the machine is set up.";

/// Which files are asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct FileArgs {
    /// An answer file for the machine: it is checked, and lies on HEARTH as hearth.toml
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Make a code that opens SSH before setup, for a machine without a screen, and print it at the end
    #[arg(long)]
    setup_code: bool,
    /// Public keys that open SSH before setup, one a line, as in a file that ends with .pub
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<PathBuf>,
}

/// What goes to the `HEARTH` partition besides what the image has there.
#[derive(Debug, Default)]
pub struct HearthFiles {
    /// The files.
    pub list: Vec<HearthFile>,
    /// What the plan says of them.
    pub lines: Vec<String>,
    /// The code whose hash is among them, to be told when all is written.
    code: Option<Code>,
}

impl HearthFiles {
    /// Reads and makes what `args` ask for.
    pub fn make(args: &FileArgs) -> Result<Self> {
        let mut out = Self::default();
        if let Some(path) = &args.answers {
            answers::load(path)?;
            out.list.push(HearthFile::new(answers::FILE_NAME, answers::bytes(path)?));
            let text = "checked; they lie on HEARTH afterwards, secrets included: keep the disk safe";
            out.lines.extend(text::wrap("Answers ", text));
        }
        if args.setup_code {
            let code = Code::draw()?;
            out.list.push(HearthFile::new(claim::CODE_FILE, code.hash()?.to_file()));
            out.code = Some(code);
            out.lines.extend(text::wrap("SSH     ", "a code that opens it before setup is printed at the end"));
        }
        if let Some(path) = &args.authorized_keys {
            let keys = Keys::load(path)?;
            out.list.push(HearthFile::new(claim::KEYS_FILE, keys.to_file()));
            let keys = text::count(keys.good.len(), "public key");
            out.lines.extend(text::wrap("SSH     ", &format!("{keys} may come in before setup")));
        }
        Ok(out)
    }

    /// What somebody does to come in by SSH, once the machine has started from the disk.
    pub fn way_in(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(code) = &self.code {
            out.push(format!("Its setup code is {}. It is shown only now: write it down.", *code.shown()));
        }
        if self.list.iter().any(|file| file.name != answers::FILE_NAME) {
            out.push(format!("Once it has started:  ssh {}@hearth.local", claim::USER));
        }
        if self.code.is_some() {
            out.push(CODE_IS_THE_PASSWORD.to_owned());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: FileArgs,
    }

    fn files(words: &[&str]) -> HearthFiles {
        HearthFiles::make(&Cli::try_parse_from(["flash"].iter().chain(words)).unwrap().args).unwrap()
    }

    #[test]
    fn the_code_is_told_once_and_its_hash_alone_goes_to_the_disk() {
        let files = files(&["--setup-code"]);
        let told = files.way_in();
        let words: Vec<&str> = told[0].split(' ').collect();
        let code = Code::read(&format!("{}{}", words[4], words[5].trim_end_matches('.'))).unwrap();
        assert_eq!(told[1..], ["Once it has started:  ssh setup@hearth.local", CODE_IS_THE_PASSWORD]);
        let [file] = &files.list[..] else { panic!("{:?}", files.list) };
        assert_eq!(file.name, "hearth.setup-code");
        assert!(hearth::claim::CodeHash::from_file(&file.bytes).unwrap().is_of(&code));
        let written = String::from_utf8_lossy(&file.bytes).into_owned() + &files.lines.concat();
        assert!(!written.contains(words[4]) && !files.lines.is_empty(), "{written}");
    }

    #[test]
    fn keys_are_told_without_a_code_and_nothing_without_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id.pub");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop";
        std::fs::write(&path, format!("# mine\r\n{key}\r\n")).unwrap();
        let files = files(&["--authorized-keys", path.to_str().unwrap()]);
        assert_eq!(files.way_in(), ["Once it has started:  ssh setup@hearth.local"]);
        assert_eq!(*files.list[0].bytes, format!("{key}\n").into_bytes());
        assert!(self::files(&[]).way_in().is_empty());
    }
}
