//! The portal: Authelia's configuration and the people it knows, for Authelia 4.39.
//!
//! What is not allowed by a rule is denied. No secret is in the configuration: Authelia reads
//! each from a file that a variable of its environment names ([`super::secrets`]).

mod cost;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use serde::Serialize;

use super::{File, Owner};
use crate::answers::{Group, Mail, MailSecurity, User};

pub use cost::{Cost, cost_in};

/// Where both files lie. The container has this folder as [`INSIDE`], and may write to it.
pub const DIR: &str = "/opt/stacks/core/authelia";

/// The list of people in it.
pub const PEOPLE: &str = "users_database.yml";

/// What the container calls [`DIR`].
pub const INSIDE: &str = "/config";

/// What the configuration is made from.
#[derive(Clone, Copy, Debug)]
pub struct Portal<'a> {
    /// The name that all names of services end with ([`super::base_name`]).
    pub base: &'a str,
    /// The networks that this machine is on, as measured: pages that rule the machine open from there only.
    pub lan: &'a [IpNet],
    /// What hashing a password costs.
    pub cost: Cost,
    /// The mail server. Without one nobody is told how to reset a password, so that nobody can.
    pub mail: Option<&'a Mail>,
    /// The people.
    pub users: &'a [User],
}

/// The configuration and the people.
pub fn files(portal: &Portal<'_>) -> Result<Vec<File>> {
    let file = |name: &str, text: String| File::private(format!("{DIR}/{name}"), Owner::AUTHELIA, text);
    Ok(vec![
        file(
            "configuration.yml",
            serde_norway::to_string(&configuration(portal)).context("writing Authelia's configuration")?,
        ),
        file(PEOPLE, serde_norway::to_string(&people(portal.users)).context("writing Authelia's list of people")?),
    ])
}

#[derive(Serialize)]
struct Configuration {
    theme: &'static str,
    log: BTreeMap<&'static str, &'static str>,
    server: serde_json::Value,
    authentication_backend: Backend,
    totp: Totp,
    webauthn: WebAuthn,
    identity_validation: serde_json::Value,
    access_control: AccessControl,
    session: Session,
    regulation: Regulation,
    storage: serde_json::Value,
    notifier: Notifier,
    ntp: Switch,
}

/// `disable_startup_check`: Authelia must start without the internet.
#[derive(Serialize)]
struct Switch {
    disable_startup_check: bool,
}

#[derive(Serialize)]
struct Backend {
    password_reset: Reset,
    file: FileBackend,
}

#[derive(Serialize)]
struct Reset {
    disable: bool,
}

#[derive(Serialize)]
struct FileBackend {
    path: String,
    watch: bool,
    password: Password,
}

#[derive(Serialize)]
struct Password {
    algorithm: &'static str,
    argon2: Argon2,
}

#[derive(Serialize)]
struct Argon2 {
    variant: &'static str,
    iterations: u32,
    memory: u32,
    parallelism: u32,
    key_length: u32,
    salt_length: u32,
}

#[derive(Serialize)]
struct Totp {
    issuer: String,
}

#[derive(Serialize)]
struct WebAuthn {
    display_name: String,
}

#[derive(Serialize)]
struct AccessControl {
    default_policy: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Networks>,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
struct Networks {
    name: &'static str,
    networks: Vec<String>,
}

#[derive(Serialize)]
struct Rule {
    domain: String,
    policy: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<&'static str>,
}

#[derive(Serialize)]
struct Session {
    cookies: Vec<Cookie>,
}

#[derive(Serialize)]
struct Cookie {
    name: &'static str,
    domain: String,
    authelia_url: String,
    default_redirection_url: String,
    same_site: &'static str,
    inactivity: &'static str,
    expiration: &'static str,
    remember_me: &'static str,
}

#[derive(Serialize)]
struct Regulation {
    modes: Vec<&'static str>,
    max_retries: u32,
    find_time: &'static str,
    ban_time: &'static str,
}

#[derive(Serialize)]
struct Notifier {
    disable_startup_check: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystem: Option<Filesystem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp: Option<Smtp>,
}

#[derive(Serialize)]
struct Filesystem {
    filename: String,
}

#[derive(Serialize)]
struct Smtp {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    sender: String,
    subject: &'static str,
}

fn configuration(portal: &Portal<'_>) -> Configuration {
    let Portal { base, cost, .. } = portal;
    Configuration {
        theme: "auto",
        log: BTreeMap::from([("level", "info")]),
        server: serde_json::json!({
            "address": "tcp://:9091/",
            "endpoints": { "authz": { "forward-auth": { "implementation": "ForwardAuth" } } },
        }),
        authentication_backend: Backend {
            // Whoever may read the file that stands in for mail could set anybody's password.
            password_reset: Reset { disable: portal.mail.is_none() },
            file: FileBackend {
                path: format!("{INSIDE}/{PEOPLE}"),
                watch: true,
                password: Password {
                    algorithm: "argon2",
                    argon2: Argon2 {
                        variant: "argon2id",
                        iterations: cost.passes,
                        memory: cost.memory,
                        parallelism: cost.lanes,
                        key_length: 32,
                        salt_length: 16,
                    },
                },
            },
        },
        totp: Totp { issuer: (*base).to_owned() },
        webauthn: WebAuthn { display_name: format!("Hearth ({base})") },
        // Somebody with a second factor proves by it that a new one may be added.
        identity_validation: serde_json::json!({ "elevated_session": { "skip_second_factor": true } }),
        access_control: access_control(base, portal.lan),
        session: Session {
            cookies: vec![Cookie {
                name: "hearth_session",
                domain: (*base).to_owned(),
                authelia_url: format!("https://auth.{base}"),
                default_redirection_url: format!("https://home.{base}"),
                same_site: "lax",
                inactivity: "1 hour",
                expiration: "12 hours",
                remember_me: "1 month",
            }],
        },
        // By address: a stranger who guesses must not lock out the person he guesses for.
        regulation: Regulation { modes: vec!["ip"], max_retries: 5, find_time: "2 minutes", ban_time: "10 minutes" },
        storage: serde_json::json!({ "local": { "path": format!("{INSIDE}/db.sqlite3") } }),
        notifier: notifier(portal.mail),
        ntp: Switch { disable_startup_check: true },
    }
}

fn access_control(base: &str, lan: &[IpNet]) -> AccessControl {
    let rule = |name: &str, policy, subject: &[&'static str]| Rule {
        domain: format!("{name}.{base}"),
        policy,
        subject: subject.to_vec(),
        networks: Vec::new(),
    };
    let mut rules = vec![rule("auth", "bypass", &[]), rule("home", "one_factor", &["group:admins", "group:users"])];
    let mut networks = Vec::new();
    // A rule with an empty list of networks would hold everywhere, so without any there is no rule.
    if !lan.is_empty() {
        networks.push(Networks { name: "lan", networks: lan.iter().map(|net| net.trunc().to_string()).collect() });
        rules.push(Rule { networks: vec!["lan"], ..rule("traefik", "two_factor", &["group:admins"]) });
    }
    AccessControl { default_policy: "deny", networks, rules }
}

fn notifier(mail: Option<&Mail>) -> Notifier {
    let smtp = mail.map(|mail| {
        let (scheme, port) = match mail.security {
            MailSecurity::Starttls => ("submission", 587),
            MailSecurity::Tls => ("submissions", 465),
        };
        Smtp {
            address: format!("{scheme}://{}:{}", mail.server, mail.port.map_or(port, |port| port.0)),
            username: mail.username.as_ref().map(ToString::to_string),
            sender: mail.from.to_string(),
            subject: "[Hearth] {title}",
        }
    });
    let filesystem = mail.is_none().then(|| Filesystem { filename: format!("{INSIDE}/notification.txt") });
    Notifier { disable_startup_check: true, filesystem, smtp }
}

#[derive(Serialize)]
struct People {
    users: BTreeMap<String, Person>,
}

#[derive(Serialize)]
struct Person {
    disabled: bool,
    displayname: String,
    password: String,
    email: String,
    groups: Vec<&'static str>,
}

fn people(users: &[User]) -> People {
    let person = |user: &User| Person {
        disabled: false,
        displayname: user.display_name.to_string(),
        password: user.password_hash.expose().to_string(),
        email: user.email.to_string(),
        groups: user
            .groups
            .iter()
            .map(|group| match group {
                Group::Admins => "admins",
                Group::Users => "users",
            })
            .collect(),
    };
    People { users: users.iter().map(|user| (user.name.to_string(), person(user))).collect() }
}

#[cfg(test)]
mod tests;
