//! What is looked at. Each look stands alone and takes a limited time: a dying disk or a Docker that
//! hangs must not keep the rest from being told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use ipnet::IpNet;
use serde::Deserialize;

use crate::adopt::situation;
use crate::ddns;
use crate::facts::{Disk, Facts, gather, hostname_now};
use crate::layout::DATA_DIR;
use crate::machine::Machine as _;
use crate::machine::real::Real;
use crate::page::Situation;
use crate::render::docker::{self, lan};
use crate::render::present;
use crate::run::Cmd;
use crate::setup::{Remains, roles_of};
use crate::units::Bytes;

/// How long one look may take, in seconds.
const PATIENCE: &str = "20";

/// What came of a look: what was seen, or why nothing was.
pub(super) type Look<T> = std::result::Result<T, String>;

/// What was seen of the machine.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) hearth: String,
    pub(super) hostname: String,
    pub(super) addresses: Vec<String>,
    pub(super) situation: Situation,
    pub(super) remains: Look<Option<Remains>>,
    pub(super) roles: Look<Vec<Role>>,
    pub(super) spaces: Vec<Look<Space>>,
    pub(super) failed_units: Look<Vec<String>>,
    pub(super) containers: Look<Vec<Container>>,
    /// The kernel that runs, and the newest one.
    pub(super) kernels: Look<(String, String)>,
    pub(super) clock_is_right: Look<bool>,
    pub(super) names_resolve: bool,
    /// The public name, if there is one to keep up to date.
    pub(super) public_name: Look<Option<PublicName>>,
    pub(super) disks: Vec<(String, Look<Option<Health>>)>,
    /// Errors that btrfs counted, by file system.
    pub(super) counters: Vec<(String, Look<u64>)>,
    /// Arrays that run.
    pub(super) arrays: Look<Vec<Array>>,
    /// Docker's ranges of addresses, and the networks that the machine is on.
    pub(super) ranges: Look<Vec<IpNet>>,
    pub(super) lan: Vec<IpNet>,
}

/// The public name.
#[derive(Clone, Debug)]
pub(super) struct PublicName {
    pub(super) name: String,
    pub(super) state: ddns::State,
    /// When this is, in seconds since 1970.
    pub(super) now: u64,
}

/// A place that should be a disk of its own.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) place: String,
    pub(super) disk: String,
    pub(super) is_mounted: bool,
}

/// How full a file system is.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) place: String,
    pub(super) size: Bytes,
    pub(super) free: Bytes,
}

/// A container, as Docker lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Container {
    #[serde(rename = "Names")]
    pub(super) name: String,
    /// `running`, `exited` …
    #[serde(rename = "State")]
    pub(super) state: String,
    /// `Up 2 hours (healthy)`.
    #[serde(rename = "Status")]
    pub(super) status: String,
}

/// What a disk says of itself (SMART).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) passed: bool,
    /// Sectors that it could not read and will give up once they are written.
    pub(super) pending: u64,
}

/// An array, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array {
    /// Its name below /dev/md.
    pub(super) name: String,
    /// How many members belong to it.
    pub(super) disks: u32,
    /// How many of them are missing.
    pub(super) missing: u32,
    /// What it does besides: `idle`, `check`, `recover` …
    pub(super) action: String,
    /// Sectors in which its members differed when it was checked last.
    pub(super) mismatches: u64,
}

impl Seen {
    pub(super) fn look() -> Result<Self> {
        let facts = gather()?;
        let roles = roles();
        Ok(Self {
            hearth: facts.version().to_owned(),
            hostname: hostname_now(),
            addresses: addresses(&facts),
            situation: situation(&facts),
            remains: told(Remains::look(&Real)),
            spaces: spaces(roles.as_deref().unwrap_or_default()),
            roles,
            failed_units: told(failed_units()),
            containers: told(containers()),
            kernels: told(kernels()),
            clock_is_right: told(clock_is_right()),
            names_resolve: limited("looking up a name", &["getent", "ahosts", "debian.org"]).is_ok(),
            public_name: told(public_name()),
            disks: facts.disks.iter().map(|disk| (disk_name(disk), told(health(&disk.path)))).collect(),
            counters: counters(),
            arrays: told(arrays(Path::new("/dev/md"), Path::new("/sys/class/block"))),
            ranges: told(ranges()),
            lan: lan(&facts.nics, None),
        })
    }
}

fn told<T>(look: Result<T>) -> Look<T> {
    look.map_err(|error| format!("{error:#}").lines().next().unwrap_or_default().to_owned())
}

/// What a program prints, which may take [`PATIENCE`].
fn limited(what: &str, argv: &[&str]) -> Result<String> {
    Cmd::new(what, "timeout").arg(PATIENCE).args(argv).stdout()
}

fn addresses(facts: &Facts) -> Vec<String> {
    let routable = facts.nics.iter().flat_map(|nic| &nic.addresses).filter(|address| !address.link_local);
    routable.map(|address| address.ip.to_string()).collect()
}

fn roles() -> Look<Vec<Role>> {
    let look = || {
        let role = |(place, disk): (String, String)| {
            let is_mounted = Real.is_mounted(&place)?;
            Ok(Role { place, disk, is_mounted })
        };
        roles_of(&Real)?.into_iter().map(role).collect()
    };
    told(look())
}

/// Root, `data` and every role's disk, if it is there.
fn spaces(roles: &[Role]) -> Vec<Look<Space>> {
    let data = Real.is_mounted(DATA_DIR).unwrap_or(false).then_some(DATA_DIR);
    let roles = roles.iter().filter(|role| role.is_mounted).map(|role| role.place.as_str());
    ["/"].into_iter().chain(data).chain(roles).map(|place| told(space(place))).collect()
}

fn space(place: &str) -> Result<Space> {
    let stat = nix::sys::statvfs::statvfs(place).with_context(|| format!("asking how full {place} is"))?;
    let bytes = |blocks: u64| Bytes(blocks * stat.fragment_size());
    Ok(Space { place: place.to_owned(), size: bytes(stat.blocks()), free: bytes(stat.blocks_available()) })
}

fn failed_units() -> Result<Vec<String>> {
    let list = limited("listing what failed", &["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"])?;
    Ok(list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn containers() -> Result<Vec<Container>> {
    let list = limited("listing the containers", &["docker", "ps", "--all", "--format", "json"])?;
    list.lines().map(|line| serde_json::from_str(line).context("reading what Docker lists")).collect()
}

fn kernels() -> Result<(String, String)> {
    let running = fs::read_to_string("/proc/sys/kernel/osrelease").context("asking which kernel runs")?;
    let list = limited("listing the kernels", &["sh", "-c", "linux-version list | linux-version sort"])?;
    let newest = list.lines().next_back().ok_or_else(|| anyhow!("no kernel is installed"))?;
    Ok((running.trim().to_owned(), newest.to_owned()))
}

fn clock_is_right() -> Result<bool> {
    let said =
        limited("asking whether the clock is right", &["timedatectl", "show", "-p", "NTPSynchronized", "--value"])?;
    Ok(said == "yes")
}

/// Nothing where nobody has set one up, or the answers lie on a `data` that is not there.
fn public_name() -> Result<Option<PublicName>> {
    if !Path::new(present::PATH).exists() {
        return Ok(None);
    }
    let Some(named) = ddns::Named::read(&Real)? else { return Ok(None) };
    let state = ddns::State::read(&Real, &named.name)?;
    Ok(Some(PublicName { name: named.name, state, now: ddns::now() }))
}

fn disk_name(disk: &Disk) -> String {
    let serial = disk.serial.as_ref().map(|serial| format!(" ({serial})"));
    format!("{}{}", disk.path, serial.unwrap_or_default())
}

/// None for a disk that says nothing of itself: sticks, and those of virtual machines.
fn health(path: &str) -> Result<Option<Health>> {
    let words = [PATIENCE, "smartctl", "--json", "--health", "--attributes", path];
    let (_, said) = Cmd::new(format!("asking {path} how it is"), "timeout").args(words).answer()?;
    Ok(read_health(&said))
}

/// Reads what smartctl prints.
pub(super) fn read_health(said: &str) -> Option<Health> {
    let whole: serde_json::Value = serde_json::from_str(said).ok()?;
    let passed = whole.pointer("/smart_status/passed")?.as_bool()?;
    let attributes = whole.pointer("/ata_smart_attributes/table").and_then(|table| table.as_array());
    // 197: current pending sectors.
    let pending =
        attributes.into_iter().flatten().find(|row| row["id"] == 197).and_then(|row| row["raw"]["value"].as_u64());
    Some(Health { passed, pending: pending.unwrap_or(0) })
}

/// Every btrfs that is mounted, once each.
fn counters() -> Vec<(String, Look<u64>)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut places: BTreeMap<&str, &str> = BTreeMap::new();
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [device, place, "btrfs", ..] = words[..] {
            places.entry(device).or_insert(place);
        }
    }
    let count = |place: &str| {
        Ok(read_counters(&limited("asking btrfs for its counters", &["btrfs", "device", "stats", place])?))
    };
    places.into_values().map(|place| (place.to_owned(), told(count(place)))).collect()
}

/// The arrays with a name of their own in the folder `named`, as sysfs tells of them in `block`.
pub(super) fn arrays(named: &Path, block: &Path) -> Result<Vec<Array>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(named).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The link leads to the kernel's name, such as ../md127.
        let Ok(node) = fs::read_link(entry.path()) else { continue };
        let dir = block.join(node.file_name().unwrap_or_default()).join("md");
        let value = |file: &str| {
            let path = dir.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            Ok::<_, anyhow::Error>(text.trim().to_owned())
        };
        // What has no redundancy tells none of the rest: it is whole, or it does not run.
        if !dir.join("degraded").exists() {
            continue;
        }
        out.push(Array {
            disks: value("raid_disks")?.split(' ').next().unwrap_or_default().parse()?,
            missing: value("degraded")?.parse()?,
            action: value("sync_action")?,
            mismatches: value("mismatch_cnt")?.parse()?,
            name,
        });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// The sum of what `btrfs device stats` prints.
pub(super) fn read_counters(said: &str) -> u64 {
    said.lines().filter_map(|line| line.split_whitespace().next_back()?.parse::<u64>().ok()).sum()
}

/// The ranges that Docker gives its networks addresses from.
fn ranges() -> Result<Vec<IpNet>> {
    if !Path::new(docker::PATH).exists() {
        return Ok(Vec::new());
    }
    read_ranges(&fs::read_to_string(docker::PATH).with_context(|| format!("reading {}", docker::PATH))?)
}

pub(super) fn read_ranges(daemon: &str) -> Result<Vec<IpNet>> {
    let whole: serde_json::Value = serde_json::from_str(daemon).with_context(|| format!("reading {}", docker::PATH))?;
    let pools = whole["default-address-pools"].as_array().into_iter().flatten();
    Ok(pools.filter_map(|pool| pool["base"].as_str()?.parse().ok()).collect())
}
