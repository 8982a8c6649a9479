//! Names of machines, people and domains.

use super::text;

text! {
    /// The machine's name on the network.
    Hostname(String), "a host name", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", hostname;
    /// The name somebody logs in with, at the console or at the portal.
    LoginName(String), "a login name", "^[a-z_][a-z0-9_-]{0,31}$", login_name;
    /// A name as people write it.
    DisplayName(String), "a name", "", display_name;
    /// A full domain name.
    DomainName(String), "a domain name", "", domain_name;
    /// An e-mail address.
    EmailAddress(String), "an e-mail address", "^[^@ ]+@[^@ ]+$", email_address;
    /// A short name for a thing of the user's own.
    Label(String), "a short name", "^[a-z0-9][a-z0-9-]{0,31}$", label;
}

/// Accounts of the system, which an admin cannot be. `setup` is who one is before the seal.
const TAKEN: [&str; 24] = [
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "nobody",
    "sshd",
    "messagebus",
    "avahi",
    "polkitd",
    "setup",
    "docker",
    "sudo",
];

impl DomainName {
    /// Whether it is a name that DuckDNS gives: one part before `.duckdns.org`.
    pub fn is_of_duckdns(&self) -> bool {
        self.0.strip_suffix(".duckdns.org").is_some_and(|own| !own.contains('.'))
    }
}

fn hostname(text: &str) -> Result<String, String> {
    host_label(text)?;
    if text == "localhost" {
        return Err("every machine calls itself that".to_owned());
    }
    Ok(text.to_owned())
}

/// One part of a name in DNS.
fn host_label(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 63 {
        return Err("each part must have 1 to 63 characters".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("use small letters a to z, digits and hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it must not begin or end with a hyphen".to_owned());
    }
    Ok(())
}

fn login_name(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if !first || !rest {
        return Err("use small letters a to z, digits, _ and -, and begin with a letter".to_owned());
    }
    if text.len() > 32 {
        return Err("it must have at most 32 characters".to_owned());
    }
    if TAKEN.contains(&text) || text.starts_with("systemd-") || text.starts_with('_') {
        return Err("the system uses that name itself".to_owned());
    }
    Ok(text.to_owned())
}

fn display_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.trim() != text || text.chars().count() > 64 {
        return Err("it must have 1 to 64 characters, without blanks around them".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a character that cannot be shown".to_owned());
    }
    Ok(text.to_owned())
}

fn domain_name(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if text.contains("://") || text.contains('/') {
        return Err("leave out https:// and everything behind the name".to_owned());
    }
    if text.len() > 253 {
        return Err("it must have at most 253 characters".to_owned());
    }
    let labels: Vec<&str> = text.split('.').collect();
    if labels.len() < 2 {
        return Err("write the whole name, with its dots".to_owned());
    }
    labels.iter().try_for_each(|label| host_label(label))?;
    if labels.last().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Err("it is an address, not a name".to_owned());
    }
    Ok(text)
}

fn email_address(text: &str) -> Result<String, String> {
    let bad = || Err("write it like ada@example.org".to_owned());
    let Some((local, domain)) = text.rsplit_once('@') else { return bad() };
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c);
    if local.is_empty() || local.len() > 64 || !local.chars().all(atom) {
        return bad();
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return bad();
    }
    match domain_name(domain) {
        Ok(domain) => Ok(format!("{local}@{domain}")),
        Err(_) => bad(),
    }
}

fn label(text: &str) -> Result<String, String> {
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good || text.is_empty() || text.len() > 32 || text.starts_with('-') {
        return Err("use 1 to 32 small letters, digits and hyphens".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged() {
        for good in ["hearth", "nas-2", "9"] {
            assert!(hostname(good).is_ok(), "{good}");
        }
        for bad in ["", "Hearth", "my_host", "-a", "a-", "a.b", "localhost", &"a".repeat(64)] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
        for bad in ["", "Ada", "1ada", "root", "setup", "systemd-network", "a b", &"a".repeat(33)] {
            assert!(login_name(bad).is_err(), "{bad}");
        }
        assert_eq!(domain_name("Home.Example.ORG").unwrap(), "home.example.org");
        for bad in ["home", "https://a.example", "a..b", "192.168.1.2", "a.example/", ".a.b", "b\u{fc}ro.example"] {
            assert!(domain_name(bad).is_err(), "{bad}");
        }
        assert_eq!(email_address("ada.l+box@Example.org").unwrap(), "ada.l+box@example.org");
        for bad in ["ada", "@example.org", "ada@", "ada@home", "a b@example.org", "a@b@example.org", "a..b@example.org"]
        {
            assert!(email_address(bad).is_err(), "{bad}");
        }
    }
}
