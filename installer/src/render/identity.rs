//! What the machine is called, and the language, time and keyboard it has.
//!
//! Debian 13 keeps the zone in `/etc/localtime` and the language in `/etc/locale.conf` alone;
//! `/etc/timezone` is no more, and the old place of the other leads there.

use super::{File, Link};
use crate::answers::{Hostname, KeyboardLayout, System};

/// The files, and what makes them count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The files.
    pub files: Vec<File>,
    /// The links.
    pub links: Vec<Link>,
    /// The commands to run afterwards, in this order.
    pub commands: Vec<&'static [&'static str]>,
}

/// Loads the keyboard's layout on the screens, and makes it theirs at each start.
pub const TAKE_KEYBOARD: [&str; 4] = ["setupcon", "--keyboard-only", "--save", "--force"];

/// Layouts without the letters a to z, as Debian's keyboard-configuration lists them. Nobody could
/// type a login name on them, so they come second, behind the American one.
const WITHOUT_LATIN: [&str; 42] = [
    "af", "am", "ara", "bd", "ben", "bg", "bt", "by", "et", "ge", "gh", "gr", "guj", "guru", "iku", "il", "in", "iq",
    "ir", "kan", "kg", "kh", "kz", "la", "lk", "ma", "mal", "mk", "mm", "mn", "mv", "np", "pk", "ru", "sy", "tam",
    "tel", "th", "tib", "tj", "ua", "uz",
];

/// The files for `system` on a machine called `hostname`.
pub fn render(system: &System, hostname: &Hostname) -> Rendered {
    let mut files = vec![
        File::public("/etc/hostname", format!("{hostname}\n")),
        File::public("/etc/hosts", hosts(hostname)),
        File::public("/etc/locale.conf", format!("LANG={}\n", system.locale)),
        keyboard_file(&system.keyboard),
    ];
    // The console's keymap is made once; what starts afterwards loads it.
    let mut commands: Vec<&'static [&'static str]> = vec![&TAKE_KEYBOARD];
    let locale = system.locale.to_string();
    // That one is part of the C library.
    if locale != "C.UTF-8" {
        files.push(File::public("/etc/locale.gen", format!("{locale} UTF-8\n")));
        commands.push(&["locale-gen"]);
    }
    for (number, certificate) in system.extra_ca.iter().enumerate() {
        let path = format!("/usr/local/share/ca-certificates/hearth-{}.crt", number + 1);
        files.push(File::public(path, certificate.to_string()));
    }
    if !system.extra_ca.is_empty() {
        commands.push(&["update-ca-certificates"]);
    }
    let links = vec![
        Link::new("/etc/localtime", format!("/usr/share/zoneinfo/{}", system.timezone)),
        Link::new("/etc/default/locale", "../locale.conf"),
    ];
    Rendered { files, links, commands }
}

fn hosts(hostname: &Hostname) -> String {
    format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n"
    )
}

/// The file that says which layout the keyboard has.
pub fn keyboard_file(layout: &KeyboardLayout) -> File {
    File::public("/etc/default/keyboard", keyboard(&layout.to_string()))
}

fn keyboard(layout: &str) -> String {
    let (layout, options) = if WITHOUT_LATIN.contains(&layout) {
        (format!("us,{layout}"), "grp:alt_shift_toggle")
    } else {
        (layout.to_owned(), "")
    };
    format!(
        "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{layout}\"\nXKBVARIANT=\"\"\nXKBOPTIONS=\"{options}\"\nBACKSPACE=\"guess\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden;

    fn rendered(more: &str) -> Rendered {
        let answers = golden::answers_with("", &format!("{more}\n[admin]\nlogin = \"ada\""));
        render(&answers.system, &answers.system.hostname.clone().unwrap())
    }

    #[test]
    fn nothing_special() {
        let rendered = rendered("");
        golden::check("identity-plain", &rendered.files);
        assert_eq!(rendered.links[0], Link::new("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"));
        assert_eq!(rendered.commands.len(), 1);
    }

    #[test]
    fn everything_of_its_own() {
        let rendered = rendered(
            "timezone = \"Europe/Berlin\"\nlocale = \"de_DE.UTF-8\"\nkeyboard = \"de\"\n\
             extra-ca = [\"\"\"\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\"\"\"]",
        );
        golden::check("identity-german", &rendered.files);
        assert_eq!(rendered.links[0].target, "/usr/share/zoneinfo/Europe/Berlin");
        let commands: Vec<&str> = rendered.commands.iter().map(|command| command[0]).collect();
        assert_eq!(commands, ["setupcon", "locale-gen", "update-ca-certificates"]);
    }

    #[test]
    fn the_hosts_are_those_of_the_image() {
        let file = rendered("").files.swap_remove(1);
        assert_eq!(
            *file.bytes,
            include_bytes!("../../../overlays/base/etc/hosts"),
            "the image's name is hearth as well"
        );
    }

    #[test]
    fn latin_letters_can_be_typed_on_any_keyboard() {
        assert!(keyboard("ru").contains("XKBLAYOUT=\"us,ru\"\n"));
        assert!(keyboard("fr").contains("XKBLAYOUT=\"fr\"\n"));
    }
}
