//! The plan as people read it before they approve it, and in a report: every disk with
//! all that tells it from others, what is on it now and what becomes of it, in words.

use serde_json::Value;

use super::{Route, SetupPlan, SystemDisk};
use crate::adopt::plan::Target;
use crate::facts::{Disk, Facts};
use crate::page::text::{INDENT, count, cut, heading, row, wrap};
use crate::page::{contents, identity};
use crate::render::firewall;
use crate::setup::roles::{RoleDisk, What, label, places};
use crate::setup::volumes::disk_lines;

impl SetupPlan {
    /// The plan for people, in lines of a console. `facts` are what it was made from: they tell
    /// what is on the disks now, and which other disks there are.
    pub fn lines(&self, facts: &Facts) -> Vec<String> {
        let name = self.text("/system/hostname");
        let mut out = wrap("Plan: ", &format!("set up this machine as \"{name}\", with Hearth {}.", self.hearth));
        out.extend(self.system(facts));
        for role in &self.roles {
            out.extend(of_role(role, facts, self.encryption.is_some()));
        }
        out.extend(self.untouched(facts));
        out.push(String::new());
        out.extend(self.rest(facts));
        let erased = self.erased().count();
        let end = match erased {
            0 => "Nothing is erased.".to_owned(),
            _ => format!("{} ERASED.", count(erased, "disk") + if erased == 1 { " is" } else { " are" }),
        };
        out.push(String::new());
        out.extend(wrap("", &format!("{end} Plan {}.", &self.digest().to_string()[..16])));
        out
    }

    /// Every disk whose contents will be gone.
    pub fn erased(&self) -> impl Iterator<Item = &Target> {
        let system = Some(&self.system).filter(|system| system.route == Route::Write).map(|system| &system.disk);
        let roles = self.roles.iter().filter_map(|role| match &role.what {
            What::Erase { disk, .. } => Some(disk),
            What::Adopt { .. } | What::Assemble { .. } | What::Directory => None,
        });
        system.into_iter().chain(roles)
    }

    fn system(&self, facts: &Facts) -> Vec<String> {
        let SystemDisk { route, disk, extents } = &self.system;
        let mut out = heading("The system disk");
        out.extend(found(disk, facts));
        let parts: Vec<String> =
            extents.iter().map(|extent| format!("{} {}", extent.part.name(), extent.size)).collect();
        let parts = parts.join(", ");
        let then = match route {
            Route::Stay => format!("Hearth stays, and takes the free space behind it: {parts}. Nothing is erased."),
            Route::Write => format!("ERASED: all that is on it is lost. Hearth is written to it: {parts}."),
        };
        out.extend(row("then", &then));
        out
    }

    /// The disks that stay as they are.
    fn untouched(&self, facts: &Facts) -> Vec<String> {
        let adopted = self.roles.iter().flat_map(|role| match &role.what {
            What::Adopt { disk, .. } => vec![disk],
            What::Assemble { volume, .. } => volume.disks.iter().collect(),
            What::Erase { .. } | What::Directory => Vec::new(),
        });
        let named: Vec<&Target> = std::iter::once(&self.system.disk).chain(self.erased()).chain(adopted).collect();
        let left = facts.disks.iter().filter(|disk| !named.iter().any(|target| target.name == disk.name));
        let told: Vec<String> = left
            .flat_map(|disk| wrap("  - ", &format!("{}, {}: {}", identity(disk), disk.size, contents(disk))))
            .collect();
        if told.is_empty() { told } else { [heading("Not touched"), told].concat() }
    }

    /// Network, ports, people, stacks, and what is only kept.
    fn rest(&self, facts: &Facts) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(told) = self.encryption_told() {
            out.extend(wrap("Disks     ", &format!("{told} The system itself is not encrypted.")));
        }
        out.extend(wrap("Network   ", &self.network(facts)));
        let open: Vec<String> = firewall::table(false, false).iter().map(firewall::Exposure::told).collect();
        out.extend(wrap("Ports     ", &format!("open: {}; nothing else", open.join(", "))));
        if self.has("/domain") {
            let where_to = match self.text("/domain/reach") {
                "internet" => "the address that the world sees: the router must forward ports to this machine",
                _ => "this machine's address in your network",
            };
            out.extend(wrap("Name      ", &format!("{} leads to {where_to}", self.text("/domain/name"))));
        }
        let pools = &self.containers;
        out.extend(wrap("Docker    ", &format!("containers get addresses in {} and {}", pools.v4, pools.v6)));
        out.extend(wrap("People    ", &self.people()));
        if self.has("/recovery-kit") {
            let what = if self.encryption.is_some() {
                "what opens the machine and its disks"
            } else {
                "what opens the machine"
            };
            let kit = format!("{what}, in {}: move it to a safe place", self.text("/recovery-kit"));
            out.extend(wrap("Kit       ", &kit));
        } else if self.encryption.is_some() {
            let lost = "none: nothing opens the disks once what is typed is forgotten, or the TPM is gone";
            out.extend(wrap("Kit       ", lost));
        }
        let left = self.left_out();
        out.extend(left.iter().flat_map(|left| wrap(&format!("{:<10}", left.kind), &left.told())));
        out
    }

    /// What the answers ask for and this version only notes: nobody must believe that it runs.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let stacks: Vec<&str> = self.list("/stacks").iter().filter_map(Value::as_str).collect();
        let kept: Vec<&str> = KEPT.iter().filter(|(at, _)| self.has(at)).map(|(_, word)| *word).collect();
        let all = [
            ("Stacks", stacks, "noted, not started by this version"),
            ("Noted", kept, "kept, not acted on by this version"),
        ];
        let some = all.into_iter().filter(|(_, what, _)| !what.is_empty());
        some.map(|(kind, what, how)| LeftOut { kind, what: what.join(", "), how }).collect()
    }

    fn network(&self, facts: &Facts) -> String {
        let mut told: Vec<String> = Vec::new();
        for card in self.list("/network/wired") {
            let name = card.get("mac").or(card.get("path")).and_then(Value::as_str).unwrap_or_default();
            let text = |key: &str| card.get(key).and_then(Value::as_str);
            told.push(match (text("address"), text("gateway")) {
                (Some(address), Some(gateway)) => format!("{name} gets {address}, router {gateway}"),
                _ => format!("{name} by DHCP"),
            });
        }
        if let Some(ssid) = self.answers.pointer("/network/wifi/ssid").and_then(Value::as_str) {
            let card = facts.nics.iter().find(|nic| nic.wireless).map_or("the radio", |nic| nic.name.as_str());
            told.push(format!("{card} joins the Wi-Fi \"{}\"", cut(ssid, 32)));
        }
        let others = if self.list("/network/wired").is_empty() { "every" } else { "every other" };
        told.push(format!("{others} wired card by DHCP"));
        told.join("; ")
    }

    fn people(&self) -> String {
        let keys = self.list("/admin/ssh-keys").len();
        let ssh = if keys == 0 { "not by SSH".to_owned() } else { format!("by SSH with {}", count(keys, "key")) };
        let mut told = vec![format!("{} looks after the machine, at the console and {ssh}", self.text("/admin/login"))];
        for user in self.list("/users") {
            let name = user.get("name").and_then(Value::as_str).unwrap_or_default();
            let groups = user.get("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            told.push(format!("{name} uses the portal ({})", groups.collect::<Vec<_>>().join(", ")));
        }
        told.join("; ")
    }

    fn text(&self, at: &str) -> &str {
        self.answers.pointer(at).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, at: &str) -> &[Value] {
        self.answers.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether the answers have something at this place.
    pub(in crate::setup) fn has(&self, at: &str) -> bool {
        self.answers
            .pointer(at)
            .is_some_and(|value| !matches!(value.as_str(), Some("declined")) && *value != Value::Bool(false))
    }
}

fn of_role(role: &RoleDisk, facts: &Facts, encrypted: bool) -> Vec<String> {
    let mut out = heading(&format!("For {}", places(&role.roles)));
    match &role.what {
        What::Directory => out.extend(wrap(INDENT, "no disk of its own: a folder on the system disk, in data")),
        What::Assemble { volume, file_system, read_only, .. } => {
            let first =
                format!("{volume}, {}, {}, on {}", volume.level, volume.size, count(volume.disks.len(), "disk"));
            out.extend(wrap(INDENT, &first));
            out.extend(disk_lines(volume, facts).iter().flat_map(|line| wrap("    - ", line)));
            out.extend(row("now", file_system));
            let how =
                if *read_only { "is read, and never written to" } else { "is used as it is, with everything on it" };
            let open = if encrypted { " It stays NOT ENCRYPTED." } else { "" };
            out.extend(row("then", &format!("started, and its {file_system} {how}. Nothing is erased.{open}")));
        }
        What::Adopt { disk, file_system, read_only, .. } => {
            out.extend(found(disk, facts));
            let then = if *read_only {
                format!("its {file_system} is read, and never written to")
            } else {
                format!("its {file_system} is used as it is, with everything on it. Nothing is erased.")
            };
            let open = if encrypted { " It stays NOT ENCRYPTED." } else { "" };
            out.extend(row("then", &format!("{then}{open}")));
        }
        What::Erase { disk, file_system, luks, .. } => {
            out.extend(found(disk, facts));
            let (kind, label) = (file_system.word(), label(&role.roles));
            let encrypted = if luks.is_some() { ", encrypted" } else { "" };
            out.extend(row(
                "then",
                &format!("ERASED: all that is on it is lost. One {kind}{encrypted}, named {label}."),
            ));
        }
    }
    out
}

/// Answers that are not carried out.
#[derive(Debug)]
pub struct LeftOut {
    /// What kind of answers they are, in a word.
    kind: &'static str,
    /// Which.
    what: String,
    /// What becomes of them instead.
    how: &'static str,
}

impl LeftOut {
    /// For people.
    pub fn told(&self) -> String {
        format!("{}: {}", self.what, self.how)
    }
}

/// Answers that are taken down and that nothing acts on yet.
const KEPT: [(&str, &str); 5] = [
    ("/domain", "certificates for the public name"),
    ("/vpn", "[vpn]"),
    ("/mail", "[mail]"),
    ("/backup", "[backup]"),
    ("/network/lan-dns", "lan-dns"),
];

/// The disk and what is on it now.
fn found(target: &Target, facts: &Facts) -> Vec<String> {
    let Some(disk) = facts.disks.iter().find(|disk| disk.name == target.name) else {
        return wrap(INDENT, &target.told());
    };
    let mut out = wrap(INDENT, &format!("{}, {}", identity(disk), disk.size));
    out.extend(row("by-id", &by_id(disk)));
    out.extend(row("now", &contents(disk)));
    out
}

fn by_id(disk: &Disk) -> String {
    let name = disk.by_id.first().map_or("none", String::as_str);
    format!("{name} (now {})", disk.path)
}
