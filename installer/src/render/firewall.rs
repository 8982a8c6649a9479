//! What is reachable from outside, and from where: one table, and the files that say it to both
//! parts of the firewall. UFW rules what reaches the machine itself; the table `inet hearth` adds
//! who is a neighbour, and which ports lead on to containers.

use super::{File, Owner};

/// The ports that `inet hearth` lets through to containers. The image's `firewall.nft` includes it,
/// and knows by itself what the machine answers.
pub const PORTS: &str = "/etc/nftables.d/hearth-ports.nft";

/// A port that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// From where it is reachable.
    pub from: From,
    /// What answers there.
    pub by: By,
    /// What it is for.
    pub why: &'static str,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// From where a port is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// From the networks that the machine is on.
    Neighbours,
    /// From wherever packets come.
    Anywhere,
}

/// What answers on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The machine itself.
    Machine,
    /// A container that publishes the port.
    Container,
}

impl Exposure {
    const fn new(port: u16, protocol: Protocol, from: From, by: By, why: &'static str) -> Self {
        Self { port, protocol, from, by, why }
    }

    /// What is open, for whom and what for.
    pub fn told(&self) -> String {
        let from = match self.from {
            From::Neighbours => "neighbours",
            From::Anywhere => "everybody",
        };
        format!("{}/{} to {from} ({})", self.port, self.protocol.word(), self.why)
    }
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// All that is reachable: with the stack "core" or without, and with an answer to DNS for the LAN or without.
pub fn table(core: bool, lan_dns: bool) -> Vec<Exposure> {
    let mut table = vec![SSH, MDNS];
    // Where there is no Traefik, its first port is the page's.
    if core {
        table.extend(TRAEFIK);
    } else {
        table.push(PAGE);
    }
    if lan_dns {
        table.extend(DNS);
    }
    table
}

/// The rules that the image comes with: those of a machine with the stack "core", and the page, because
/// Traefik does not run yet.
pub fn of_image() -> Vec<File> {
    let mut table = table(true, false);
    table.push(PAGE);
    files(&table)
}

const SSH: Exposure = Exposure::new(22, Protocol::Tcp, From::Neighbours, By::Machine, "SSH");
const MDNS: Exposure = Exposure::new(5353, Protocol::Udp, From::Neighbours, By::Machine, "mDNS");
const PAGE: Exposure = Exposure::new(80, Protocol::Tcp, From::Neighbours, By::Machine, "Hearth's page");

const TRAEFIK: [Exposure; 2] = [
    Exposure::new(80, Protocol::Tcp, From::Anywhere, By::Container, "Traefik, which leads to 443"),
    Exposure::new(443, Protocol::Tcp, From::Anywhere, By::Container, "Traefik"),
];

const DNS: [Exposure; 2] = [
    Exposure::new(53, Protocol::Tcp, From::Neighbours, By::Container, "DNS"),
    Exposure::new(53, Protocol::Udp, From::Neighbours, By::Container, "DNS"),
];

/// The files for both parts of the firewall.
pub fn files(table: &[Exposure]) -> Vec<File> {
    let rules = |path: &str, text: String| File::new(path, 0o640, Owner::ROOT, text.into_bytes());
    vec![
        rules("/etc/ufw/user.rules", ufw(table, "ufw", "0.0.0.0/0")),
        rules("/etc/ufw/user6.rules", ufw(table, "ufw6", "::/0")),
        File::public(PORTS, ports(table)),
    ]
}

/// As `ufw` itself writes the file: it reads the tuples back, and the kernel the lines below them.
fn ufw(table: &[Exposure], prefix: &str, any: &str) -> String {
    let mut out = String::from("*filter\n");
    for chain in CHAINS {
        out.push_str(&format!(":{prefix}-{chain} - [0:0]\n"));
    }
    out.push_str("### RULES ###\n");
    for row in table.iter().filter(|row| row.by == By::Machine) {
        let (port, protocol) = (row.port, row.protocol.word());
        let comment = match row.from {
            From::Neighbours => format!("{} from neighbours, see inet hearth", row.why),
            From::Anywhere => row.why.to_owned(),
        };
        let comment: String = comment.bytes().map(|byte| format!("{byte:02x}")).collect();
        out.push_str(&format!(
            "\n### tuple ### allow {protocol} {port} {any} any {any} in comment={comment}\n\
             -A {prefix}-user-input -p {protocol} --dport {port} -j ACCEPT\n"
        ));
    }
    out.push_str("\n### END RULES ###\n\n### LOGGING ###\n");
    for hook in ["input", "output", "forward"] {
        out.push_str(&format!("-I {prefix}-user-logging-{hook} -j RETURN\n"));
    }
    out.push_str(&format!(
        "### END LOGGING ###\n\n### RATE LIMITING ###\n-A {prefix}-user-limit -j REJECT\n\
         -A {prefix}-user-limit-accept -j ACCEPT\n### END RATE LIMITING ###\nCOMMIT\n"
    ));
    out
}

/// The chains that `ufw` expects in the file.
const CHAINS: [&str; 16] = [
    "user-input",
    "user-output",
    "user-forward",
    "before-logging-input",
    "before-logging-output",
    "before-logging-forward",
    "user-logging-input",
    "user-logging-output",
    "user-logging-forward",
    "after-logging-input",
    "after-logging-output",
    "after-logging-forward",
    "logging-deny",
    "logging-allow",
    "user-limit",
    "user-limit-accept",
];

fn ports(table: &[Exposure]) -> String {
    let mut out = String::from("# Ports that lead to containers. Written by setup.\n");
    for row in table.iter().filter(|row| row.by == By::Container) {
        let set = match row.from {
            From::Neighbours => "declared_onlink",
            From::Anywhere => "declared",
        };
        let (port, protocol) = (row.port, row.protocol.word());
        out.push_str(&format!("add element inet hearth {set} {{ {protocol} . {port} }} # {}\n", row.why));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden;

    const USER: &[u8] = include_bytes!("../../../overlays/base/etc/ufw/user.rules");
    const USER6: &[u8] = include_bytes!("../../../overlays/base/etc/ufw/user6.rules");
    const DECLARED: &[u8] = include_bytes!("../../../overlays/base/etc/nftables.d/hearth-ports.nft");

    #[test]
    fn the_image_is_open_as_a_machine_with_core_is() {
        let files = of_image();
        for (file, there) in files.iter().zip([USER, USER6, DECLARED]) {
            assert_eq!(String::from_utf8_lossy(&file.bytes), String::from_utf8_lossy(there), "{file:?}");
        }
        assert_eq!(files.iter().map(|file| file.mode).collect::<Vec<_>>(), [0o640, 0o640, 0o644]);
    }

    #[test]
    fn dns_is_for_neighbours() {
        golden::check("firewall-dns", &files(&table(true, true))[2..]);
    }

    #[test]
    fn without_stacks_only_the_machine_answers_and_only_neighbours() {
        let table = table(false, false);
        let open: Vec<u16> = table.iter().map(|row| row.port).collect();
        assert_eq!(open, [22, 5353, 80]);
        assert!(table.iter().all(|row| row.from == From::Neighbours && row.by == By::Machine));
        let files = files(&table);
        assert!(!String::from_utf8_lossy(&files[2].bytes).contains("add element"));
    }

    #[test]
    fn what_the_machine_answers_is_what_the_image_keeps_for_neighbours() {
        let nft = include_str!("../../../overlays/base/usr/share/hearth/firewall.nft");
        let machine: Vec<String> =
            table(false, false).iter().map(|row| format!("{} . {}", row.protocol.word(), row.port)).collect();
        assert!(nft.contains(&format!("elements = {{ {} }}", machine.join(", "))), "{machine:?}");
    }
}
