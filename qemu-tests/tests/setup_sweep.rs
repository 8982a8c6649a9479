//! Which ports a neighbour reaches, and somebody behind a router: before setup, while it runs, after
//! it, while Docker restarts and while the machine does. What listens is not what is open: a container
//! publishes a port here and programs listen, and nobody reaches them.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hearth::units::Bytes;
use hearth_qemu_tests::answered::{SET_UP, answers};
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, runs_from_disk, wait_for_page};
use hearth_qemu_tests::wire::{Station, Wire};
use hearth_qemu_tests::{Drive, Lab, Vm, scenario};

const SHARE: Duration = Duration::from_secs(20 * 60);

/// The neighbour: a DHCP server and router for IPv4 and IPv6, who is also somebody behind a router, by a
/// second address that is not of this network.
const NEIGHBOUR: &str = "ip addr add fd77::1/64 dev lan0 nodad
ip addr add 10.88.0.2/32 dev lo; ip addr add fd88::2/128 dev lo nodad";

/// What it serves.
const ROUTER: &str = "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --interface=lan0 \
    --dhcp-range=10.77.0.50,10.77.0.60 --dhcp-range=fd77::,ra-only --enable-ra --dhcp-leasefile=/tmp/leases --no-ping";

/// Ports that anything on the appliance might listen on: those of its services, and of the listeners below.
const KNOWN: &str =
    "22,53,80,443,631,1080,2019,2375-2377,3000,4321,5000-5001,5335,5353,8000,8080-8081,8443,8888,9000,9091";

/// What neighbours reach: SSH, and Hearth's page.
const OPEN: &str = "22/tcp 80/tcp";

/// Stands before what somebody behind a router saw.
const ROUTED: &str = "from behind a router:";

/// In the guest: programs that listen everywhere, and a container that publishes a port.
const LISTENERS: &str = r#"
systemd-run --quiet --unit=tcp-listener busybox nc -ll -p 4321 -e /bin/echo here
systemd-run --quiet --unit=tcp6-listener python3 -c "
import socket
s = socket.create_server(('::', 4322), family=socket.AF_INET6, dualstack_ipv6=False)
while True: s.accept()[0].send(b'here')"
systemd-run --quiet --unit=udp-listener python3 -c "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(('::', 4321))
while True: s.sendto(b'here', s.recvfrom(99)[1])"
mkdir -p /run/box/bin && cp "$(command -v busybox)" /run/box/bin/busybox
for lib in $(ldd "$(command -v busybox)" | grep -o '/[^ ]*'); do mkdir -p /run/box$(dirname $lib) && cp $lib /run/box$lib; done
tar -C /run/box -c . | docker import - box
docker run -d --restart always -p 8080:8080 box /bin/busybox nc -ll -p 8080 -e /bin/busybox echo here
for try in $(seq 60); do
    ! echo | busybox nc 127.0.0.1 8080 | grep -q here || exit 0
    sleep 1
done
docker ps --all; docker logs --tail 5 "$(docker ps --all --quiet)"; ss -ltnp
exit 1
"#;

#[test]
fn s5_only_ssh_mdns_and_the_page_are_reachable_at_any_time_and_by_neighbours_alone() {
    scenario("setup-sweep", SHARE, |lab| {
        let wire = Wire::new()?;
        let neighbour = Station::start(lab, &wire, "10.77.0.1/24")?;
        neighbour.sh(NEIGHBOUR, lab.patience(10))?.ok()?;
        neighbour.serve(ROUTER)?;
        let (_, public) = lab.ssh_key("admin")?;
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let machine = |name: &str| lab.vm(name).wire(&wire, 1).drive(Drive::served(&disk).serial(SERIAL).boots(0));

        let vm = machine("before").start()?;
        wait_for_page(lab, &vm)?;
        let target = Target::find(lab, &vm)?;
        lab.step("before setup", || target.sweep(lab, &neighbour, "1-65535"))?;
        drop(vm);

        // The addresses follow from the card: they are the same from now on.
        let watch = target.watch(&neighbour, KNOWN)?;
        let vm = machine("main").credential("hearth.answers", answers("attic", &public, "", "")).start()?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        lab.step("during setup", || watch.end(lab))?;

        lab.step("listeners and a container", || vm.root_sh(LISTENERS, lab.patience(120))?.ok())?;
        let target = Target::find(lab, &vm)?;
        lab.step("after setup", || target.sweep(lab, &neighbour, "1-65535"))?;
        lab.step("through a route to containers", || target.sweep_container(lab, &vm, &neighbour))?;

        let watch = target.watch(&neighbour, "22,80,2375,4321,4322,8080")?;
        lab.step("docker restarts", || {
            for _ in 0..3 {
                vm.root_sh("systemctl restart docker && sleep 2", lab.patience(120))?.ok()?;
            }
            vm.root_sh("iptables -F DOCKER-USER; ip6tables -F DOCKER-USER; sleep 5", lab.patience(30))?.ok()?;
            watch.end(lab)
        })?;
        let watch = target.watch(&neighbour, "22,80,2375,4321,4322,8080")?;
        lab.step("the machine restarts", || {
            vm.serial().skip();
            vm.root_sh("systemctl reboot --no-block", lab.patience(30))?.ok()?;
            vm.wait_for_text("login:", lab.patience(200))?;
            vm.root_sh("docker ps --format '{{.Ports}}' | grep 8080", lab.patience(120))?.ok()?;
            watch.end(lab)
        })
    });
}

/// Where the machine is on the wire.
struct Target {
    v4: String,
    /// Its address of the network, and the one that every card has.
    v6: [String; 2],
}

impl Target {
    fn find(lab: &Lab, vm: &Vm<'_>) -> Result<Self> {
        let card = "$(grep -l 52:54:00:77:00:01 /sys/class/net/*/address | cut -d/ -f5)";
        let get = |family: &str, scope: &str, begins: &str| {
            let list =
                format!("ip -{family} -o addr show dev {card} scope {scope} | grep -o '{begins}[^/ ]*' | head -n1");
            vm.root_sh(&format!("until {list} | grep .; do sleep 1; done"), lab.patience(60))?.ok()
        };
        // Somebody behind a router is answered by the default route, which must lead over the wire and
        // not over the card to the internet. (A route of their own would make them neighbours.)
        let back = format!(
            "ip route replace default via 10.77.0.1 dev {card} metric 1; \
             ip -6 route replace default via fd77::1 dev {card} metric 1"
        );
        let target = Self {
            v4: get("4", "global", "10[.]77[.]")?,
            v6: [get("6", "global", "fd77:")?, get("6", "link", "fe80:")?],
        };
        vm.root_sh(&back, lab.patience(20))?.ok()?;
        Ok(target)
    }

    /// Asks every port, as a neighbour and from behind a router, over IPv4 and IPv6.
    fn sweep(&self, lab: &Lab, from: &Station, ports: &str) -> Result<()> {
        let [global, link] = &self.v6;
        // That somebody behind a router reaches no port says something only if they reach the machine.
        for (options, address) in [("-S 10.88.0.2", &self.v4), ("-6 -S fd88::2", global)] {
            let ping = format!("nmap -sn -n -PE --disable-arp-ping -e lan0 {options} {address}");
            let said = from.sh(&ping, lab.patience(20))?.ok()?;
            ensure!(said.contains("Host is up"), "no way leads behind a router and back:\n{said}");
        }
        for (who, options, address, open) in [
            ("a neighbour", "", &self.v4, OPEN),
            ("a neighbour", "-6", global, OPEN),
            ("a neighbour", "-6 -e lan0", &format!("{link}%lan0"), OPEN),
            ("somebody behind a router", "-S 10.88.0.2 -e lan0", &self.v4, ""),
            ("somebody behind a router", "-6 -S fd88::2 -e lan0", global, ""),
        ] {
            let command = nmap("-sS", options, ports, address);
            let said = from.sh(&command, lab.patience(120))?.ok().with_context(|| format!("running {command}"))?;
            // What answers at all, be it to say that nobody listens, is not behind the firewall.
            let found = reached(&said, false);
            let wanted: BTreeSet<&str> = open.split_whitespace().collect();
            ensure!(found == wanted, "{who} reaches {found:?} of {address}, and should {wanted:?}:\n{said}");
        }
        for (who, options, address) in [
            ("a neighbour", "", &self.v4),
            ("a neighbour", "-6", global),
            ("somebody behind a router", "-S 10.88.0.2 -e lan0", &self.v4),
        ] {
            let command = nmap("-sU", options, "53,67,68,123,137,161,500,546,1900,4321,5353-5355,51820", address);
            let said = from.sh(&command, lab.patience(120))?.ok().with_context(|| format!("running {command}"))?;
            let found: BTreeSet<&str> = reached(&said, true);
            let more: Vec<&&str> = found.iter().filter(|port| **port != "5353/udp").collect();
            ensure!(more.is_empty(), "{who} reaches {more:?} of {address}:\n{said}");
            ensure!(who == "a neighbour" || found.is_empty(), "{who} reaches {found:?} of {address}:\n{said}");
        }
        Ok(())
    }

    /// The containers' own addresses, from a neighbour who has a route to them.
    fn sweep_container(&self, lab: &Lab, vm: &Vm<'_>, from: &Station) -> Result<()> {
        let inspect = "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}' $(docker ps -q)";
        let said = vm.root_sh(inspect, lab.patience(60))?.ok()?;
        let mut addresses = said.split_whitespace();
        let v4 = addresses.next().context("the container has no address")?;
        from.sh(&format!("ip route replace {v4}/32 via {}", self.v4), lab.patience(10))?.ok()?;
        let mut all = vec![("", v4)];
        if let Some(v6) = addresses.next() {
            from.sh(&format!("ip -6 route replace {v6}/128 via {}", self.v6[0]), lab.patience(10))?.ok()?;
            all.push(("-6", v6));
        }
        for (options, address) in all {
            let said = from.sh(&nmap("-sS", options, "1-10000", address), lab.patience(120))?.ok()?;
            let found = reached(&said, false);
            ensure!(found.is_empty(), "a neighbour with a route reaches {found:?} of a container:\n{said}");
        }
        Ok(())
    }

    /// Asks these ports again and again, until the end.
    fn watch(&self, from: &Station, ports: &str) -> Result<Watch<'_>> {
        let round = [
            nmap("-sS", "", ports, &self.v4),
            nmap("-sS", "-6", ports, &self.v6[0]),
            format!("echo '{ROUTED}'"),
            nmap("-sS", "-S 10.88.0.2 -e lan0", ports, &self.v4),
            "echo 'as a neighbour:'".to_owned(),
        ];
        let log = from.serve(&format!("while :; do {}; done", round.join("; ")))?;
        Ok(Watch { log, target: self })
    }
}

/// Somebody who asks again and again.
struct Watch<'a> {
    log: std::path::PathBuf,
    target: &'a Target,
}

impl Watch<'_> {
    /// What was reached meanwhile: SSH and the page by a neighbour, nothing else, and it was asked often.
    fn end(self, lab: &Lab) -> Result<()> {
        // The last round should be whole.
        thread::sleep(lab.patience(2));
        let said = read(&self.log)?;
        let rounds = said.matches("Nmap done").count();
        ensure!(rounds >= 6, "there were only {rounds} looks at {}:\n{said}", self.target.v4);
        let open = reached(&said, false);
        let more: Vec<&&str> = open.iter().filter(|port| !OPEN.split(' ').any(|open| open == **port)).collect();
        ensure!(more.is_empty(), "{more:?} was reachable for a moment:\n{said}");
        let routed = said.split(ROUTED).skip(1).filter_map(|part| part.split("as a neighbour:").next());
        let routed: Vec<&str> = routed.flat_map(|part| reached(part, false)).collect();
        ensure!(routed.is_empty(), "{routed:?} was reachable from behind a router for a moment:\n{said}");
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// A look at `ports` of `address`; raw packets, no names, no guess whether anybody is there.
fn nmap(how: &str, options: &str, ports: &str, address: &str) -> String {
    format!("nmap {how} -Pn -n --reason --max-retries 2 --min-rate 1500 -T4 {options} -p {ports} {address}")
}

/// The ports that answered in some way: `22/tcp`. A UDP port that says nothing counts only if it sent something.
fn reached(said: &str, udp: bool) -> BTreeSet<&str> {
    let row = |line: &'_ str| -> bool {
        let mut words = line.split_whitespace();
        let is_port = words.next().is_some_and(|port| port.ends_with("/tcp") || port.ends_with("/udp"));
        let state = words.next().unwrap_or_default();
        is_port && (state == "open" || state == "closed" || (!udp && state == "unfiltered"))
    };
    said.lines().filter(|line| row(line)).filter_map(|line| line.split_whitespace().next()).collect()
}
