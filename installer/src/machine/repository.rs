//! The history of a folder, kept by Git. It is made under another name and renamed when it
//! is whole: after a power cut there is all of it or none.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::durable;
use crate::run::Cmd;

/// The name of a repository in its folder.
const NAME: &str = ".git";

/// A repository to make, and its first commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The folder.
    pub dir: String,
    /// Files in it that are kept although its .gitignore leaves them out.
    pub named: Vec<String>,
    /// The address of the commit's author, who is called Hearth.
    pub email: String,
    /// What the commit says.
    pub message: String,
}

impl Repository {
    /// Where it is, once it is whole.
    pub fn path(&self) -> String {
        format!("{}/{NAME}", self.dir)
    }

    /// Makes it, with everything in the folder that is kept.
    pub(super) fn make(&self) -> Result<()> {
        let (dir, path) = (Path::new(&self.dir), self.path());
        let new = format!("{path}.new");
        if Path::new(&new).exists() {
            fs::remove_dir_all(&new).with_context(|| format!("removing {new}, which a power cut left"))?;
        }
        let git = |words: &[&str]| {
            let about = format!("{} the history of {}", words[0], self.dir);
            // No settings of a person, no hooks: neither belongs to this commit.
            let command = Cmd::new(about, "git").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            command
                .args(["--git-dir", &new, "--work-tree", &self.dir, "-c", "core.hooksPath=/dev/null"])
                .args(words)
                .run()
        };
        git(&["init", "--quiet", "--template=", "--initial-branch=main"])?;
        // Git finds the folder by where the repository lies, once it has its name.
        git(&["config", "--unset", "core.worktree"])?;
        git(&["add", "--all"])?;
        if !self.named.is_empty() {
            let named = self.named.iter().map(String::as_str);
            git(&["add", "--force", "--"].into_iter().chain(named).collect::<Vec<_>>())?;
        }
        let author = [("user.name", "Hearth"), ("user.email", &self.email), ("commit.gpgSign", "false")];
        let author: Vec<String> = author.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut commit: Vec<&str> = author.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
        commit.extend(["commit", "--quiet", "--message", &self.message]);
        git(&commit)?;
        durable::sync_file_system(dir)?;
        fs::rename(&new, &path).with_context(|| format!("renaming {new} to {path}"))?;
        durable::sync_dir(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::stacks;

    fn git(dir: &Path, words: &[&str]) -> String {
        Cmd::new("asking git", "git").arg("-C").arg(dir).args(words).stdout().unwrap()
    }

    fn repository(dir: &Path) -> Repository {
        Repository {
            dir: dir.to_string_lossy().into_owned(),
            named: Vec::new(),
            email: "hearth@attic".to_owned(),
            message: "Set up by Hearth 0.1.0".to_owned(),
        }
    }

    #[test]
    fn s18_only_what_is_named_is_kept_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let kept = [
            ".gitignore",
            "README.md",
            "core/authelia/configuration.yml",
            "core/compose.yml",
            "media/README.md",
            "media/compose.override.yaml",
            "mine/docker-compose.yml",
        ];
        let secret = [
            ".env",
            "hearth.toml",
            "id_ed25519",
            "README.md.orig",
            "core/.env",
            "core/.env.compose.yml",
            "core/acme.json",
            "core/authelia/.gitignore",
            "core/authelia/configuration.yml.bak",
            "core/authelia/db.sqlite3",
            "core/authelia/users_database.yml",
            "core/authelia/secrets/compose.yml",
            "core/authelia/configuration.yml.d/token",
            "core/secrets/domain.token",
            "media/compose.yml/token",
            "media/jellyfin/compose.yml",
            "README.md.d/README",
        ];
        for path in kept.iter().chain(&secret) {
            put(path, path.as_bytes());
        }
        put(".gitignore", &stacks::ignore().bytes);
        // What a container writes into its folder lets nothing in.
        put("core/authelia/.gitignore", b"!*\n");
        Repository { named: vec![stacks::NAMED.to_owned()], ..repository(dir.path()) }.make().unwrap();
        assert_eq!(git(dir.path(), &["ls-files"]).lines().collect::<Vec<_>>(), kept);
        assert_eq!(git(dir.path(), &["status", "--porcelain"]), "");
        let said = git(dir.path(), &["log", "--format=%an <%ae> %s"]);
        assert_eq!(said, "Hearth <hearth@attic> Set up by Hearth 0.1.0");
        assert!(!dir.path().join(".git/hooks").exists() && dir.path().join(".git").is_dir());
    }

    #[test]
    fn one_that_a_power_cut_left_half_made_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git.new")).unwrap();
        fs::write(dir.path().join(".git.new/HEAD"), "torn").unwrap();
        fs::write(dir.path().join(".gitignore"), &*stacks::ignore().bytes).unwrap();
        repository(dir.path()).make().unwrap();
        assert!(!dir.path().join(".git.new").exists());
        assert_eq!(git(dir.path(), &["ls-files"]), ".gitignore");
    }
}
