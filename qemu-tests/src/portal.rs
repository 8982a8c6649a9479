//! A program that treats the portal's list of people as Authelia does, in a machine that starts no
//! stack yet.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::vm::Vm;

/// The portal's list of people.
pub const PEOPLE: &str = "/opt/stacks/core/authelia/users_database.yml";

/// What it does.
const PROGRAM: &str = include_str!("authelia.pl");

/// The account that Authelia's container has.
const ACCOUNT: &str = "setpriv --reuid=2001 --regid=2001 --clear-groups";

/// Has bob change his password at the portal again and again, until [`stop`].
pub fn start(lab: &Lab, vm: &Vm) -> Result<()> {
    let script = format!(
        "mkdir /run/portal && chown 2001:2001 /run/portal && cat >/run/portal/authelia.pl <<'END'\n{PROGRAM}END\n\
         systemd-run --quiet --unit=portal --property=StandardOutput=file:/run/portal/out \
         {ACCOUNT} perl /run/portal/authelia.pl {PEOPLE} /run/portal/stop\n\
         for i in $(seq 100); do grep -q ready /run/portal/out && exit; sleep 0.2; done; systemctl status portal; exit 1"
    );
    vm.root_sh(&script, lab.patience(30))?.ok().map(drop)
}

/// Ends that; gives how often he did, and his last password's hash.
pub fn stop(lab: &Lab, vm: &Vm) -> Result<(u32, String)> {
    let script = "touch /run/portal/stop; for i in $(seq 100); do systemctl is-active -q portal || break; sleep 0.2; done; \
                  tail -n 1 /run/portal/out";
    let times = vm.root_sh(script, lab.patience(30))?.ok()?;
    let times = times.parse().with_context(|| format!("the portal says {times:?}"))?;
    Ok((times, format!("$argon2id$by-the-portal-{times}")))
}

/// Runs `command` as somebody who has broken into the container.
pub fn from_inside(vm: &Vm, command: &str, timeout: Duration) -> Result<String> {
    vm.root_sh(&format!("cd /opt/stacks/core/authelia && {ACCOUNT} sh -c '{command}'"), timeout)?.ok()
}
