//! From replies to an answer file: the same text that somebody else would have written by
//! hand, so that everything after it is one path. The same replies give the same bytes.

use std::fmt::Display;

use toml::Value;
use zeroize::Zeroizing;

use super::backups::{append_only, repositories};
use super::disks::{THIS, candidates, roles};
use super::encryption::NONE;
use super::names::DUCKDNS;
use super::network::{FIXED, YES, card};
use super::replies::Id;
use super::walk::Walk;
use crate::answers::{DnsProvider, Group, Prepare, Role, VERSION};

/// Room for any file: no part of a secret is left behind where a text had to grow.
const ROOM: usize = 64 * 1024;

const INTRODUCTION: &str = "# The answers that were given to Hearth's questions.\n\n";

/// The answer file for the replies of `walk`.
pub fn write(walk: &Walk<'_>) -> Zeroizing<String> {
    let mut file = File(Zeroizing::new(String::with_capacity(ROOM)));
    file.0.push_str(INTRODUCTION);
    top(&mut file, walk);
    system(&mut file, walk);
    encryption(&mut file, walk);
    network(&mut file, walk);
    people(&mut file, walk);
    names(&mut file, walk);
    disks(&mut file, walk);
    mail(&mut file, walk);
    backups(&mut file, walk);
    file.0
}

struct File(Zeroizing<String>);

impl File {
    fn section(&mut self, header: &str) {
        self.0.push_str(&format!("\n{header}\n"));
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let line = Zeroizing::new(format!("{key} = {value}\n"));
        self.0.push_str(&line);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.line(key, &*quoted(text));
    }

    /// The disk that has the lasting name `name`.
    fn disk(&mut self, name: &str) {
        self.line("disk", format!("{{ by-id = {} }}", &*quoted(name)));
    }

    /// The reply to `id`, if there is one.
    fn reply(&mut self, key: &str, walk: &Walk<'_>, id: &Id) {
        if let Some(text) = walk.reply(id) {
            self.text(key, text);
        }
    }

    fn list<'t>(&mut self, key: &str, items: impl IntoIterator<Item = &'t str>) {
        let items: Vec<String> = items.into_iter().map(|item| quoted(item).to_string()).collect();
        if !items.is_empty() {
            self.line(key, format!("[{}]", items.join(", ")));
        }
    }
}

/// `text` in quotes, as TOML wants it.
fn quoted(text: &str) -> Zeroizing<String> {
    Zeroizing::new(Value::String(text.to_owned()).to_string())
}

/// The words of a reply that is a list.
fn several(reply: Option<&str>) -> impl Iterator<Item = &str> {
    reply.into_iter().flat_map(|reply| reply.split(',')).map(str::trim)
}

fn top(file: &mut File, walk: &Walk<'_>) {
    file.line("version", VERSION);
    file.list("stacks", walk.reply(&Id::Stacks).into_iter().flat_map(|reply| reply.split(' ')));
    let erased = disks_with_roles(walk).into_iter().filter(|disk| disk.prepare == Prepare::Erase.word());
    file.list("erase", other_system(walk).into_iter().chain(erased.map(|disk| disk.name)));
    file.reply("recovery-kit", walk, &Id::Kit);
}

fn system(file: &mut File, walk: &Walk<'_>) {
    file.section("[system]");
    match other_system(walk) {
        Some(name) => file.disk(name),
        None => file.text("disk", THIS),
    }
    for (key, id) in
        [("hostname", Id::Hostname), ("timezone", Id::Timezone), ("locale", Id::Locale), ("keyboard", Id::Keyboard)]
    {
        file.reply(key, walk, &id);
    }
}

/// The disk that Hearth is copied to, if it does not stay where it is.
fn other_system<'a>(walk: &Walk<'a>) -> Option<&'a str> {
    walk.reply(&Id::SystemDisk).filter(|name| *name != THIS)
}

fn encryption(file: &mut File, walk: &Walk<'_>) {
    if walk.reply(&Id::Encryption).is_some_and(|how| how != NONE) {
        file.section("[encryption]");
        file.reply("unlock", walk, &Id::Encryption);
        file.reply("passphrase", walk, &Id::DiskPassphrase);
        file.reply("pin", walk, &Id::Pin);
    }
}

fn network(file: &mut File, walk: &Walk<'_>) {
    if walk.reply(&Id::Addressing) == Some(FIXED) {
        file.section("[[network.wired]]");
        if let Some(mac) = card(walk).and_then(|card| card.mac.as_deref()) {
            file.text("mac", mac);
        }
        file.reply("address", walk, &Id::Address);
        file.reply("gateway", walk, &Id::Gateway);
        file.list("dns", several(walk.reply(&Id::Dns)));
    }
    if walk.reply(&Id::Wifi) == Some(YES) {
        file.section("[network.wifi]");
        file.reply("ssid", walk, &Id::Ssid);
        file.reply("passphrase", walk, &Id::WifiPassphrase);
        file.reply("country", walk, &Id::Country);
    }
}

fn people(file: &mut File, walk: &Walk<'_>) {
    file.section("[admin]");
    file.reply("login", walk, &Id::Login);
    let keys = (0..).map_while(|number| walk.reply(&Id::SshKey(number)));
    file.list("ssh-keys", keys);
    file.reply("password-hash", walk, &Id::ConsolePassword);
    if walk.reply(&Id::PortalPassword).is_some() {
        file.section("[[users]]");
        file.reply("name", walk, &Id::Login);
        file.reply("display-name", walk, &Id::DisplayName);
        file.reply("email", walk, &Id::Email);
        file.list("groups", [Group::Admins.word(), Group::Users.word()]);
        file.reply("password-hash", walk, &Id::PortalPassword);
    }
    for number in (0..).take_while(|number| walk.reply(&Id::PersonPassword(*number)).is_some()) {
        file.section("[[users]]");
        file.reply("name", walk, &Id::Person(number));
        file.reply("display-name", walk, &Id::PersonName(number));
        file.reply("email", walk, &Id::PersonEmail(number));
        file.list("groups", walk.reply(&Id::PersonGroups(number)).into_iter().flat_map(|groups| groups.split(' ')));
        file.reply("password-hash", walk, &Id::PersonPassword(number));
    }
}

fn names(file: &mut File, walk: &Walk<'_>) {
    if walk.reply(&Id::Domain) == Some(DUCKDNS) {
        file.section("[domain]");
        file.text("dns", DnsProvider::DuckDns.word());
        file.reply("name", walk, &Id::DomainName);
        file.reply("token", walk, &Id::DomainToken);
        file.reply("reach", walk, &Id::Reach);
    }
    if walk.reply(&Id::Vpn) == Some(YES) {
        file.section("[vpn]");
        file.reply("provider", walk, &Id::VpnProvider);
        file.reply("private-key", walk, &Id::VpnKey);
        file.list("addresses", several(walk.reply(&Id::VpnAddresses)));
        file.list("countries", several(walk.reply(&Id::VpnCountries)));
    }
}

fn disks(file: &mut File, walk: &Walk<'_>) {
    for disk in disks_with_roles(walk) {
        file.section("[[disks]]");
        file.list("roles", disk.roles.iter().map(|role| role.word()));
        file.disk(disk.name);
        file.text("prepare", disk.prepare);
    }
}

fn mail(file: &mut File, walk: &Walk<'_>) {
    if walk.reply(&Id::Mail) == Some(YES) {
        file.section("[mail]");
        file.reply("server", walk, &Id::MailServer);
        file.reply("security", walk, &Id::MailSecurity);
        if let Some(port) = walk.reply(&Id::MailPort) {
            file.line("port", port);
        }
        file.reply("username", walk, &Id::MailUser);
        file.reply("password", walk, &Id::MailPassword);
        file.reply("from", walk, &Id::MailFrom);
        file.list("to", several(walk.reply(&Id::MailTo)));
    }
}

fn backups(file: &mut File, walk: &Walk<'_>) {
    for repository in repositories(walk) {
        file.section("[[backup.repositories]]");
        file.text("name", repository.name);
        file.text("url", &repository.url);
        file.reply("username", walk, &Id::RepositoryUser(repository.number));
        file.reply("password", walk, &Id::RepositoryPassword(repository.number));
        if append_only(walk, repository.number) {
            file.line("append-only", true);
        }
    }
}

/// A disk that was given a role.
struct RoleDisk<'a> {
    name: &'a str,
    roles: Vec<Role>,
    prepare: &'a str,
}

fn disks_with_roles<'a>(walk: &Walk<'a>) -> Vec<RoleDisk<'a>> {
    let disk = |name: &'a str| {
        let roles = roles(walk.reply(&Id::Use(name.to_owned()))?);
        let prepare = walk.reply(&Id::Prepare(name.to_owned()))?;
        Some(RoleDisk { name, roles, prepare })
    };
    candidates(walk.ground.facts).into_iter().filter_map(|candidate| disk(candidate.name)).collect()
}
