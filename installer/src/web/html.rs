//! The page, made from what is shown. It needs no script and no second request, says everything in
//! words, and fits a phone. Nothing of what is shown is put into it without being escaped.

use super::Shown;
use super::doing::{Data, Doing};

/// How the page looks. The browser takes it because of its hash, and no other.
pub(super) const STYLE: &str = include_str!("style.css");

/// How many reasons are shown, and how long each may be.
const REASONS: usize = 8;
const LENGTH: usize = 400;

/// The page.
pub(super) fn page(shown: &Shown) -> String {
    let name = escape(&shown.hostname);
    let (word, told) = told(&shown.doing);
    let now = [paragraph("now", &escape(&told)), details(&shown.doing)].concat();
    let sections = [
        section("now", "What it is doing", &format!("{now}<p><a href=\"/\">Look again</a></p>\n")),
        section("next", "How to go on", &next(shown)),
        section("links", "Links", &links(shown)),
        section("trust", "Its certificates", TRUST),
        section("router", "In your router", ROUTER),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: {word} - Hearth</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{name}</h1>\n<p>Hearth {}</p>\n</header>\n<main>\n{}</main>\n</body>\n</html>\n",
        escape(shown.hearth),
        sections.concat()
    )
}

/// What it is doing: in two words for a tab, and in a sentence.
fn told(doing: &Doing) -> (&'static str, String) {
    match doing {
        Doing::Waiting => {
            ("not set up", "It waits for somebody to set it up. Nothing on any disk has been changed.".to_owned())
        }
        Doing::Refused(_) => ("not set up", "There was an answer file, and setup did not follow it.".to_owned()),
        Doing::Moved => (
            "not set up",
            "Hearth is being written to another disk of this machine, or has been. It goes on from there.".to_owned(),
        ),
        Doing::Looking => (
            "setup mode",
            "It was started in setup mode, and Hearth runs from its disk already. Nothing on any disk is changed."
                .to_owned(),
        ),
        Doing::SettingUp(None) => ("being set up", "It is about to be set up.".to_owned()),
        Doing::SettingUp(Some(step)) => {
            ("being set up", format!("It is being set up: step {} of {}, {}.", step.number, step.of, step.what))
        }
        Doing::Stopped(_) => ("stopped", "Setting it up stopped.".to_owned()),
        Doing::SetUp(data) => ("set up", format!("It is set up. {}", of_data(*data))),
        Doing::RunsHere(data) => ("running", format!("It runs from its disk. {}", of_data(*data))),
        Doing::Recovery => {
            ("recovery", "It was started for repairs: its data and the containers are left alone.".to_owned())
        }
    }
}

fn of_data(data: Data) -> &'static str {
    match data {
        Data::Mounted => "Its data is there, and Docker runs on it.",
        Data::Locked => "Its disks are locked until somebody opens them, and Docker stays down.",
        Data::Missing => "Its data is MISSING, and Docker stays down.",
    }
}

/// How far it is, or why it is no further.
fn details(doing: &Doing) -> String {
    match doing {
        Doing::SettingUp(Some(step)) => format!(
            "<p><progress aria-label=\"Steps of setup\" max=\"{}\" value=\"{}\"></progress></p>\n",
            step.of,
            step.number.saturating_sub(1)
        ),
        Doing::Refused(codes) if !codes.is_empty() => format!("<p>Why, in short:</p>\n{}", list(codes)),
        Doing::Stopped(why) => format!("<p>Why:</p>\n{}", list(why)),
        _ => String::new(),
    }
}

/// What to do.
fn next(shown: &Shown) -> String {
    let name = format!("{}.local", escape(&shown.hostname));
    match &shown.doing {
        Doing::Waiting => format!("{ASK}{FILE}"),
        Doing::Refused(_) => format!(
            "<p>All reasons are on its screen and serial port, and in <code>hearth-report.txt</code> beside the answer \
             file. Correct the file, and start the machine again.</p>\n{ASK}"
        ),
        Doing::Moved => "<p>Its screen and serial port say which disk that is, and what is left to do. If the machine \
                         starts from the stick again, remove it, or choose the disk in the firmware's menu.</p>\n"
            .to_owned(),
        Doing::Looking => "<p>Restart it to run as usual.</p>\n".to_owned(),
        Doing::SettingUp(_) => "<p>Nothing is to be done. A power cut does no harm: the next start goes on where this \
                                one stopped.</p>\n"
            .to_owned(),
        Doing::Stopped(_) => "<p>See to the cause, then restart: it goes on where it stopped. Its screen and serial \
                              port say the same.</p>\n"
            .to_owned(),
        Doing::SetUp(data) => {
            let what = match data {
                Data::Locked => {
                    "<p>Whoever is logged in opens the disks with <code>sudo hearth unlock</code>; the console asks, \
                     too.</p>\n"
                }
                Data::Mounted | Data::Missing => {
                    "<p>Logged in, <code>sudo hearth status</code> says how it is, and <code>sudo hearth doctor</code> \
                     what to do.</p>\n"
                }
            };
            format!(
                "<p>The admin logs in at its console, or with a key by SSH: <code>ssh LOGIN@{name}</code>, with the login \
                 name that was chosen at setup.</p>\n{what}"
            )
        }
        Doing::RunsHere(_) => "<p>It was not set up, so it has no account that could log in. To have one, write the \
                               image to its disk again and set it up.</p>\n"
            .to_owned(),
        Doing::Recovery => "<p>Repair it at its console. A restart starts it as usual.</p>\n".to_owned(),
    }
}

/// How to answer the questions. The code is on the console, and never here: whoever reads this has shown
/// nothing to anybody.
const ASK: &str = "<p>Answer its questions at its screen, at its serial port, or from another computer of this \
network:</p>\n<p><code>ssh setup@hearth.local</code></p>\n<p>SSH asks for a code. It stands on the screen and the serial \
port beside the fingerprint that SSH shows, or you made it with <code>hearth-image flash --setup-code</code>. This page does \
not know it.</p>\n";

const FILE: &str = "<p>Or put an answer file, <code>hearth.toml</code>, on the partition <code>HEARTH</code> of the stick \
or disk that it was started from, and start it again: it sets itself up without a question.</p>\n";

/// What answers in a browser.
fn links(shown: &Shown) -> String {
    let name = format!("{}.local", escape(&shown.hostname));
    let after = match shown.doing {
        Doing::SetUp(_) => "No service answers in a browser: this version of Hearth starts none.",
        _ => "No service answers in a browser yet.",
    };
    format!(
        "<ul>\n<li>This page: <a href=\"http://{name}/\">http://{name}/</a>, or <code>http://</code> and the address of \
         this machine</li>\n<li>{after}</li>\n</ul>\n"
    )
}

/// What there is to trust, which is nothing.
const TRUST: &str = "<p>This version of Hearth has no certificate authority of its own, and answers nothing by HTTPS. There \
is nothing to install in your browser, and if somebody asks you to trust a certificate in Hearth's name, do not.</p>\n\
<p>This page is read without encryption, which is why it tells and asks nothing that is secret. By SSH compare the \
fingerprint once with the one on the screen or in <code>hearth-report.txt</code>.</p>\n";

const ROUTER: &str = "<ul>\n\
<li><strong>Its address.</strong> Have the router give this machine the same address always: a DHCP reservation, also called \
a static lease or address binding.</li>\n\
<li><strong>A public name that leads to your own network.</strong> Many routers drop such answers (DNS rebind protection). \
If you chose a name at DuckDNS, add it to the router's exceptions: on a FRITZ!Box under Home Network, Network, Network \
Settings, DNS Rebind Protection; in dnsmasq and OpenWrt as <code>rebind-domain-ok=/NAME.duckdns.org/</code>; in Unbound, \
OPNsense and pfSense as <code>private-domain: \"NAME.duckdns.org\"</code>.</li>\n\
<li><strong>Names that end in .local.</strong> They work within one network, and not from a guest Wi-Fi or where the router \
keeps wireless devices apart (client or AP isolation). The address works wherever this machine can be reached.</li>\n\
<li><strong>Ports from the internet.</strong> Forward none to this machine: nothing on it answers there.</li>\n\
</ul>\n";

fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n")
}

fn paragraph(class: &str, content: &str) -> String {
    format!("<p class=\"{class}\">{content}</p>\n")
}

fn list(items: &[String]) -> String {
    let mut out: String = items.iter().take(REASONS).map(|item| format!("<li>{}</li>\n", escape(&cut(item)))).collect();
    if items.len() > REASONS {
        out.push_str(&format!("<li>and {} more</li>\n", items.len() - REASONS));
    }
    format!("<ul>\n{out}</ul>\n")
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LENGTH {
        return text.to_owned();
    }
    text.chars().take(LENGTH).chain(['.', '.', '.']).collect()
}

/// `text` as it is read, whatever is in it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::doing::Step;
    use super::*;

    fn shown(hostname: &str, doing: Doing) -> String {
        page(&Shown { hearth: "0.1.0", hostname: hostname.to_owned(), doing })
    }

    fn step(number: usize) -> Doing {
        Doing::SettingUp(Some(Step { number, of: 16, what: "the network".to_owned() }))
    }

    fn every() -> Vec<Doing> {
        let why = |text: &str| vec![text.to_owned()];
        let mut all = vec![Doing::Waiting, Doing::Refused(why("not-listed")), Doing::Refused(Vec::new()), Doing::Moved];
        all.extend([Doing::Looking, Doing::SettingUp(None), step(3), Doing::Stopped(why("no room")), Doing::Recovery]);
        all.extend([Data::Mounted, Data::Locked, Data::Missing].map(Doing::SetUp));
        all.extend([Data::Mounted, Data::Locked, Data::Missing].map(Doing::RunsHere));
        all
    }

    /// The tags of a page that are open at its end, and what was wrong on the way.
    fn open_tags(page: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for piece in page.split('<').skip(1) {
            let tag = piece.split(['>', ' ']).next().unwrap();
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed), "before {piece:?}"),
                None if ["!doctype", "meta"].contains(&tag) => {}
                None => open.push(tag.to_owned()),
            }
        }
        open
    }

    #[test]
    fn it_is_whole_needs_no_script_and_asks_for_nothing() {
        for doing in every() {
            let page = shown("attic", doing);
            assert!(open_tags(&page).is_empty(), "{page}");
            for word in ["<script", "<form", "<input", "<img", "<link", " on", "javascript:", " style=", "<iframe"] {
                let found = page.contains(word) && word.starts_with(['<', 'j']);
                let attribute =
                    word.starts_with(' ') && page.split('<').any(|tag| tag.split('>').next().unwrap().contains(word));
                assert!(!found && !attribute, "{word} in {page}");
            }
            for word in ["lang=\"en\"", "name=\"viewport\"", "<h1>attic</h1>", "<main>", "In your router"] {
                assert!(page.contains(word), "{word} is not in {page}");
            }
            // Every heading names its section.
            assert_eq!(page.matches("aria-labelledby").count(), page.matches("<h2 id=").count());
        }
    }

    #[test]
    fn s9_it_tells_how_to_come_in_and_never_the_code() {
        let page = shown("hearth", Doing::Waiting);
        assert!(page.contains("ssh setup@hearth.local") && page.contains("This page does not know it."), "{page}");
        // Ten characters of the code's alphabet, as the console writes them.
        let is_code =
            |word: &str| word.len() == 5 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let words: Vec<&str> = page.split(|c: char| !c.is_alphanumeric()).collect();
        assert!(!words.windows(2).any(|two| is_code(two[0]) && is_code(two[1])), "{page}");
    }

    #[test]
    fn it_tells_what_it_is_doing() {
        assert!(shown("attic", step(3)).contains("It is being set up: step 3 of 16, the network."));
        assert!(shown("attic", step(3)).contains("max=\"16\" value=\"2\""));
        let why = (1..=10).map(|i| format!("reason {i}")).collect();
        let stopped = shown("attic", Doing::Stopped(why));
        assert!(stopped.contains("<li>reason 8</li>\n<li>and 2 more</li>") && !stopped.contains("reason 9"));
        assert!(shown("attic", Doing::SetUp(Data::Locked)).contains("sudo hearth unlock"));
        let done = shown("attic", Doing::SetUp(Data::Mounted));
        assert!(done.contains("<title>attic: set up - Hearth</title>") && done.contains("ssh LOGIN@attic.local"));
    }

    #[test]
    fn whatever_is_shown_stays_text() {
        let evil = "<script>alert('1')</script>&\u{1b}[31m\"";
        let page = shown(evil, Doing::Stopped(vec![evil.to_owned(), "x".repeat(900)]));
        assert!(!page.contains("<script") && !page.contains('\u{1b}') && open_tags(&page).is_empty(), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;?[31m&quot;"), "{page}");
        assert!(page.contains(&format!("<li>{}...</li>", "x".repeat(400))));
    }
}
