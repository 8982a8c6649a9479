//! Where packages come from. No archive host is written in Hearth: the recipe's
//! mirror, else the host's own apt sources if they serve Debian (only their
//! address counts, never what they trust), else what the bootstrap tool uses by
//! default. Debian's keys decide in every case.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;

use crate::cache::Cache;

/// Where Debian's own keys lie, on the host and in the tools tree alike.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The two archives an image is made from, as URLs without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// The main archive: the suite and its updates.
    pub debian: String,
    /// The security archive.
    pub security: String,
}

impl Mirrors {
    /// One-line apt sources for `suite`, trusting `KEYRING` alone.
    pub fn sources(&self, suite: &str, components: &str) -> String {
        let line = |(url, suite)| format!("deb [signed-by={KEYRING}] {url} {suite} {components}\n");
        self.suites(suite).map(line).concat()
    }

    /// The three suites that `suite` consists of, and where each lies.
    pub fn suites(&self, suite: &str) -> [(&str, String); 3] {
        [
            (&self.debian, suite.to_owned()),
            (&self.debian, format!("{suite}-updates")),
            (&self.security, format!("{suite}-security")),
        ]
    }

    /// The appliance's own sources file, in apt's deb822 format.
    pub fn deb822(&self, suite: &str, components: &[String]) -> String {
        let components = components.join(" ");
        let stanza = |url: &str, suites: &str| {
            format!("Types: deb\nURIs: {url}\nSuites: {suites}\nComponents: {components}\nSigned-By: {KEYRING}\n")
        };
        let main = stanza(&self.debian, &format!("{suite} {suite}-updates"));
        format!("{main}\n{}", stanza(&self.security, &format!("{suite}-security")))
    }

    /// The mirrors to build from: `chosen`, else the host's, else the default.
    pub fn for_building(cache: &Cache, suite: &str, chosen: Option<Self>) -> Result<Self> {
        if let Some(chosen) = chosen {
            return Ok(chosen);
        }
        match from_host(cache)? {
            Some(host) => Ok(host),
            None => Self::bootstrap_default(cache, suite),
        }
    }

    /// What the bootstrap tool would use if told nothing.
    pub fn bootstrap_default(cache: &Cache, suite: &str) -> Result<Self> {
        let kept = cache.dir("defaults")?.join(suite);
        if let Some(mirrors) = fs::read_to_string(&kept).ok().and_then(|text| parse_sources(&text)) {
            return Ok(mirrors);
        }
        // The tool writes its sources list before anything else; the hook shows it and stops there.
        let out = Cmd::new("asking mmdebstrap for its default archive", "sh")
            .args(["-c", "mmdebstrap --variant=custom --setup-hook='cat \"$1/etc/apt/sources.list\"; exit 1' \"$0\" /dev/null 2>&1; true", suite])
            .stdout()?;
        let mirrors = parse_sources(&out)
            .ok_or_else(|| anyhow!("mmdebstrap names no default archive for {suite}; set `mirror` in the recipe"))
            .kind(Exit::Environment)?;
        let lines: String =
            out.lines().filter(|line| line.starts_with("deb ")).map(|line| format!("{line}\n")).collect();
        fs::write(&kept, lines).with_context(|| format!("writing {}", kept.display()))?;
        Ok(mirrors)
    }
}

fn from_host(cache: &Cache) -> Result<Option<Mirrors>> {
    // apt reads all its package lists anew for this, unless it may keep what it made of them.
    let kept = cache.dir("host-apt")?;
    let out = Cmd::new("reading the host's apt sources", "apt-get")
        .args([&format!("-oDir::Cache={}", kept.display()), "-oDir::Cache::pkgcache=pkgcache.bin"])
        .args(["-oDir::Cache::srcpkgcache=", "indextargets"])
        .args(["--format", "$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages"])
        .stdout();
    Ok(out.ok().and_then(|out| parse_index_targets(&out)))
}

fn parse_index_targets(text: &str) -> Option<Mirrors> {
    let find = |label: &str| {
        text.lines().find_map(|line| {
            let site = line.strip_prefix(&format!("Debian|{label}|"))?;
            (site.starts_with("http://") || site.starts_with("https://")).then(|| trimmed(site))
        })
    };
    Some(Mirrors { debian: find("Debian")?, security: find("Debian-Security")? })
}

fn parse_sources(text: &str) -> Option<Mirrors> {
    let urls = |wanted: fn(&str) -> bool| {
        text.lines().filter(|line| line.starts_with("deb ")).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().filter(|word| !word.contains('=')).collect();
            let at = words.iter().position(|word| word.contains("://"))?;
            wanted(words.get(at + 1)?).then(|| trimmed(words[at]))
        })
    };
    Some(Mirrors { debian: urls(|suite| !suite.contains('-'))?, security: urls(|suite| suite.ends_with("-security"))? })
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Mirrors {
        Mirrors { debian: "http://a.example/debian".into(), security: "http://b.example/security".into() }
    }

    #[test]
    fn only_debian_counts_among_the_hosts_sources() {
        let targets = "Ubuntu|Ubuntu|http://u.example/ubuntu\nDebian|Debian|cdrom:[x]/\n\
                       Debian|Debian|http://a.example/debian/\nDebian|Debian-Security|http://b.example/security\n";
        assert_eq!(parse_index_targets(targets), Some(example()));
        assert_eq!(parse_index_targets("Ubuntu|Ubuntu|http://u.example/ubuntu\n"), None);
        assert_eq!(parse_index_targets(""), None);
    }

    #[test]
    fn sources_round_trip() {
        let text = example().sources("trixie", "main");
        assert_eq!(parse_sources(&format!("I: noise\n{text}")), Some(example()));
        assert!(text.lines().all(|line| line.contains("signed-by=")));
        assert!(parse_sources("deb http://a.example/debian trixie main").is_none());
    }
}
