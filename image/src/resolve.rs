//! Recipe to lock, by apt's own resolver: apt from the tools tree, on a state of
//! its own that pretends nothing is installed, trusting Debian's keys alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hearth::digest::Digest;
use hearth::exit::{Exit, Kind as _};
use hearth::run::Cmd;
use hearth::units::Bytes;

use crate::cache::Cache;
use crate::lock::{Archive, Lock, Locked};
use crate::mirrors::Mirrors;
use crate::recipe::Recipe;
use crate::tools::Tools;
use crate::{fetch, freshness, progress};

/// What every Debian system has: asked for by property, not by name.
const ALWAYS: [&str; 2] = ["?essential", "?priority(required)"];

/// Resolves `recipe` against its archives. If they cannot be reached (but not if
/// they answer wrongly) the last lock made for this recipe is used, and said so.
pub fn resolve(cache: &Cache, tools: &Tools, recipe: &Recipe) -> Result<Lock> {
    let step = progress::step("resolving packages");
    let mirrors = Mirrors::for_building(cache, &recipe.file.suite, recipe.mirror())?;
    let sources = mirrors.sources(&recipe.file.suite, &recipe.file.components.join(" "));
    let key = Digest::of(format!("{sources}{}", recipe.arch())).to_string();
    let _lock = cache.lock(&format!("apt-{}", &key[..16]))?;
    let apt = Apt::open(tools, cache.dir(format!("apt/{}", &key[..16]))?, &sources, recipe.arch())?;
    let remembered = Remembered::of(cache, recipe)?;
    // The same indexes (a Release file names the digest of each) and the same apt give the
    // same choice, which takes apt seconds to make.
    let as_before = || -> Result<Option<Lock>> {
        let inputs = apt.inputs()?;
        Ok(remembered.lock().filter(|_| remembered.is_from(inputs)))
    };
    let unchanged = |lock: Lock, step: progress::Step| {
        step.done(&format!("{} packages, {}, as before", lock.packages.len(), lock.download_size()));
        Ok(lock)
    };
    if let Some(lock) = as_before()? {
        if freshness::is_current(&fetch::agent(), &mirrors, &recipe.file.suite, &apt.releases()?) {
            return unchanged(lock, step);
        }
    }
    match apt.update()? {
        Reach::Fresh => {}
        Reach::Unreachable(why) => {
            let Some(lock) = remembered.lock() else {
                return Err(why.context(
                    "the archive cannot be reached and no earlier package list for this recipe is cached: check the \
                     network, or the recipe's `mirror`, and try again",
                ))
                .kind(Exit::Dependency);
            };
            step.done(&format!(
                "the archive cannot be reached; using the {} packages resolved last time",
                lock.packages.len()
            ));
            return Ok(lock);
        }
    }
    if let Some(lock) = as_before()? {
        return unchanged(lock, step);
    }
    if apt.remove_damaged_lists()? {
        progress::note("a cached package list is damaged on this disk; fetching it again");
        if let Reach::Unreachable(why) = apt.update()? {
            return Err(why).kind(Exit::Dependency);
        }
    }
    let inputs = apt.inputs()?;
    let chosen = apt.simulate(&recipe.packages)?;
    let (mut found, epoch) = apt.look_up(&chosen, &recipe.file.suite)?;
    let mut packages = Vec::with_capacity(chosen.len());
    for id in chosen {
        let package = found
            .remove(&id)
            .ok_or_else(|| {
                anyhow!("apt chose {} {} but its index does not describe it; try again", id.name, id.version)
            })
            .kind(Exit::Dependency)?;
        packages.push(package);
    }
    let lock = Lock::new(&recipe.file.suite, recipe.arch(), epoch, wanted(recipe), packages);
    remembered.keep(&lock, inputs)?;
    step.done(&format!("{} packages, {}", lock.packages.len(), lock.download_size()));
    Ok(lock)
}

/// The last lock made for a recipe: the lock itself, and in a second file what it was made from
/// and its digest, for the disk may have damaged it.
struct Remembered {
    lock: PathBuf,
    seal: PathBuf,
}

impl Remembered {
    fn of(cache: &Cache, recipe: &Recipe) -> Result<Self> {
        let lock = cache.dir("resolved")?.join(format!("{}.lock", wanted(recipe)));
        Ok(Self { seal: lock.with_extension("seal"), lock })
    }

    /// The lock, if there is one and it is as it was written.
    fn lock(&self) -> Option<Lock> {
        let digest = Digest::of(fs::read(&self.lock).ok()?).to_string();
        fs::read_to_string(&self.seal).ok()?.ends_with(&digest).then(|| Lock::read(&self.lock).ok())?
    }

    fn is_from(&self, inputs: Digest) -> bool {
        fs::read_to_string(&self.seal).is_ok_and(|seal| seal.starts_with(&inputs.to_string()))
    }

    fn keep(&self, lock: &Lock, inputs: Digest) -> Result<()> {
        let text = lock.to_text()?;
        let seal = format!("{inputs} {}", Digest::of(&text));
        for (path, text) in [(&self.lock, text), (&self.seal, seal)] {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Identifies what a recipe asks the resolver for.
pub fn wanted(recipe: &Recipe) -> Digest {
    let names: Vec<&str> = recipe.packages.iter().map(String::as_str).collect();
    Digest::of(format!(
        "{} {} {} {}",
        recipe.file.suite,
        recipe.arch(),
        recipe.file.components.join(","),
        names.join(" ")
    ))
}

/// Whether the archives answered.
enum Reach {
    Fresh,
    Unreachable(anyhow::Error),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PackageId {
    name: String,
    version: String,
    arch: String,
}

struct Apt<'a> {
    tools: &'a Tools,
    state: PathBuf,
}

impl<'a> Apt<'a> {
    fn open(tools: &'a Tools, state: PathBuf, sources: &str, arch: &str) -> Result<Self> {
        fs::create_dir_all(state.join("lists/partial")).context("making apt's lists folder")?;
        fs::create_dir_all(state.join("cache/archives/partial")).context("making apt's cache folder")?;
        let dir = state.display();
        let config = format!(
            "Dir::State \"{dir}\";\nDir::State::lists \"{dir}/lists\";\nDir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\nDir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::Etc::trusted \"/dev/null\";\nDir::Etc::trustedparts \"/dev/null\";\n\
             APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\nAPT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Languages \"none\";\n\
             Acquire::Check-Valid-Until \"true\";\nAcquire::AllowInsecureRepositories \"false\";\nAcquire::Retries \"2\";\n\
             Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\nAcquire::GzipIndexes \"false\";\n"
        );
        for (name, text) in [("apt.conf", config.as_str()), ("sources.list", sources), ("status", "")] {
            fs::write(state.join(name), text).with_context(|| format!("writing apt's {name}"))?;
        }
        Ok(Self { tools, state })
    }

    fn run(&self, what: &str, program: &str) -> Result<Cmd> {
        let mut command = self.tools.sandbox()?.bind(&self.state).command(program);
        command.env("APT_CONFIG", self.state.join("apt.conf"));
        Ok(Cmd::from_command(what, command))
    }

    fn update(&self) -> Result<Reach> {
        let outcome = self.run("reading the archive's package lists", "apt-get")?.args(["-q", "update"]).run();
        match outcome {
            Ok(()) => Ok(Reach::Fresh),
            Err(error) if unreachable(&error.to_string()) => Ok(Reach::Unreachable(error)),
            Err(error) if hearth::exit::code_of(&error) == Exit::Environment.code() => Err(error),
            Err(error) => {
                let advice = advice(&error.to_string());
                Err(error).context(format!("{advice}; nothing was taken from them")).kind(Exit::Dependency)
            }
        }
    }

    fn simulate(&self, names: &BTreeSet<String>) -> Result<Vec<PackageId>> {
        let out = self
            .run("choosing packages", "apt-get")?
            .args(["-q", "--simulate", "install"])
            .args(ALWAYS)
            .args(names)
            .stdout()
            .context(
                "apt cannot install what the recipe asks for: check the names in recipe.toml and in the packages.toml \
                 of its target and overlays",
            )
            .kind(Exit::Input)?;
        Ok(parse_simulation(&out))
    }

    /// What the indexes say of `wanted`, and the newest Release file's date.
    fn look_up(&self, wanted: &[PackageId], suite: &str) -> Result<(HashMap<PackageId, Locked>, u64)> {
        let wanted: HashSet<&PackageId> = wanted.iter().collect();
        let mut found = HashMap::new();
        for (codename, path) in self.package_lists("$(CODENAME)")? {
            let archive = if codename == format!("{suite}-security") { Archive::Security } else { Archive::Debian };
            read_index(&path, archive, &wanted, &mut found)?;
        }
        Ok((found, self.newest_date()?))
    }

    /// Removes package lists that are not what a Release file names: apt checks them when they
    /// arrive and never again. Tells whether there were any.
    fn remove_damaged_lists(&self) -> Result<bool> {
        let releases = self.releases()?;
        let mut damaged = false;
        for (name, path) in self.package_lists("$(METAKEY)")? {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let (digest, size) = Digest::of_reader(file)?;
            let named = [digest.to_string(), size.to_string(), name];
            let of_its_release = releases.iter().any(|(release, text)| {
                let stem = release.to_string_lossy().replace("_InRelease", "_");
                path.to_string_lossy().starts_with(&stem)
                    && text.lines().any(|line| line.split_whitespace().eq(named.iter().map(String::as_str)))
            });
            if !of_its_release {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
                damaged = true;
            }
        }
        Ok(damaged)
    }

    /// Where apt keeps its package lists, each with what it says of it in `field`.
    fn package_lists(&self, field: &str) -> Result<Vec<(String, PathBuf)>> {
        let targets = self
            .run("finding the package lists", "apt-get")?
            .args(["indextargets", "--format", &format!("{field}|$(FILENAME)"), "Created-By: Packages"])
            .stdout()?;
        Ok(targets
            .lines()
            .filter_map(|line| line.split_once('|'))
            .map(|(said, path)| (said.into(), path.into()))
            .collect())
    }

    /// The Release files apt has, in order of their names.
    fn releases(&self) -> Result<BTreeMap<PathBuf, String>> {
        let entries = fs::read_dir(self.state.join("lists")).context("reading apt's lists")?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        let releases = paths.into_iter().filter(|path| path.to_string_lossy().ends_with("_InRelease"));
        releases
            .map(|path| {
                let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                Ok((path, text))
            })
            .collect()
    }

    /// What apt's choice follows from, besides the names asked for.
    fn inputs(&self) -> Result<Digest> {
        let releases: String = self.releases()?.into_values().collect();
        let config = fs::read_to_string(self.state.join("apt.conf")).context("reading apt.conf")?;
        // Where the state lies decides nothing.
        let config = config.replace(&self.state.display().to_string(), "");
        Ok(Digest::of(format!("{} {config} {releases}", self.tools.name())))
    }

    fn newest_date(&self) -> Result<u64> {
        self.releases()?
            .values()
            .filter_map(|text| release_date(text))
            .max()
            .ok_or_else(|| anyhow!("no Release file with a date among apt's lists"))
            .kind(Exit::Dependency)
    }
}

/// Whether apt failed because nothing answered, as opposed to answering wrongly.
fn unreachable(said: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Unable to connect",
        "Cannot initiate the connection",
        "Connection failed",
        "Connection timed out",
    ];
    const WRONG: [&str; 5] = ["NO_PUBKEY", "BADSIG", "expired", "invalid signature", "not signed"];
    SIGNS.iter().any(|sign| said.contains(sign)) && !WRONG.iter().any(|sign| said.contains(sign))
}

/// What to think and do of package lists that apt refuses.
fn advice(said: &str) -> &'static str {
    if said.contains("expired") || said.contains("not valid yet") {
        "the archive's package lists are out of date: check the clock of this machine (`date`), then try another \
         mirror (`mirror` and `security-mirror` in the recipe)"
    } else {
        "the archive's package lists are not to be trusted or not complete: try again in some minutes, then another \
         mirror (`mirror` and `security-mirror` in the recipe)"
    }
}

/// Reads `Inst name (version origin [arch])` lines.
fn parse_simulation(text: &str) -> Vec<PackageId> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            let (version, rest) = rest.split_once(' ')?;
            let arch = rest.split_once('[')?.1.split(']').next()?;
            let name = name.split_whitespace().next()?.split(':').next()?;
            Some(PackageId { name: name.into(), version: version.into(), arch: arch.into() })
        })
        .collect()
}

fn read_index(
    path: &Path,
    archive: Archive,
    wanted: &HashSet<&PackageId>,
    found: &mut HashMap<PackageId, Locked>,
) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut fields: HashMap<String, String> = HashMap::new();
    let mut keep = |fields: &mut HashMap<String, String>| {
        let mut take = |key: &str| fields.remove(key).unwrap_or_default();
        let id = PackageId { name: take("Package"), version: take("Version"), arch: take("Architecture") };
        if wanted.contains(&id) {
            let (size, sha256) = (take("Size").parse(), take("SHA256").parse());
            if let (Ok(size), Ok(sha256)) = (size, sha256) {
                let (name, version, arch) = (id.name.clone(), id.version.clone(), id.arch.clone());
                let package =
                    Locked { name, version, arch, archive, path: take("Filename"), size: Bytes(size), sha256 };
                found.entry(id).or_insert(package);
            }
        }
        fields.clear();
    };
    for line in BufReader::with_capacity(1 << 20, file).lines() {
        let line = line.with_context(|| format!("reading {}", path.display()))?;
        if line.is_empty() {
            keep(&mut fields);
        } else if let Some((key, value)) = line.split_once(": ") {
            if ["Package", "Version", "Architecture", "Size", "SHA256", "Filename"].contains(&key) {
                fields.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    keep(&mut fields);
    Ok(())
}

fn release_date(text: &str) -> Option<u64> {
    let date = text.lines().find_map(|line| line.strip_prefix("Date: "))?;
    let time = httpdate::parse_http_date(&date.replace("UTC", "GMT")).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_simulation_is_read() {
        let text = "Reading package lists...\nInst base-files (13.8+deb13u2 Debian:13.2/stable [amd64])\n\
                    Inst adduser (3.152 Debian:13.2/stable [all]) []\nConf base-files (13.8+deb13u2 Debian:13.2/stable [amd64])\n";
        let ids = parse_simulation(text);
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[1], PackageId { name: "adduser".into(), version: "3.152".into(), arch: "all".into() });
    }

    #[test]
    fn an_index_is_read_for_what_is_wanted_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sha = Digest::of("x");
        fs::write(
            file.path(),
            format!("Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 7\nSHA256: {sha}\n\nPackage: b\nVersion: 1\nArchitecture: all\n"),
        )
        .unwrap();
        let id = PackageId { name: "a".into(), version: "1".into(), arch: "all".into() };
        let wanted = std::iter::once(&id).collect();
        let mut found = HashMap::new();
        read_index(file.path(), Archive::Security, &wanted, &mut found).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[&id].size, found[&id].sha256), (Bytes(7), sha));
    }

    #[test]
    fn a_dead_network_is_not_a_bad_signature() {
        assert!(unreachable("Temporary failure resolving 'a.example'"));
        assert!(!unreachable("The following signatures were invalid: BADSIG"));
        assert!(!unreachable("Could not connect\nRelease file expired"));
    }

    #[test]
    fn a_release_date_is_read() {
        assert_eq!(release_date("Origin: Debian\nDate: Thu, 01 Jan 1970 00:01:00 UTC\n"), Some(60));
        assert_eq!(release_date("Origin: Debian\n"), None);
    }
}
