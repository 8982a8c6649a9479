//! Somebody who comes to a machine by SSH with a key or with a code, as a person does: on
//! a terminal, or with whatever else a client can ask for.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, Result};
use nix::pty::{Winsize, openpty};

use crate::agent::Output;
use crate::cleanup::Running;
use crate::lab::Lab;
use crate::transcript::Transcript;
use crate::vm::Vm;

/// ssh asks this for each password: it gives the next line of the file beside it.
const ASKPASS: &str = r#"#!/bin/sh
at=${0%/*}
echo >>"$at/asked"
sed -n "$(wc -l <"$at/asked")p" "$at/codes"
"#;

/// What somebody brings.
#[derive(Clone, Copy, Debug)]
pub enum Brings<'a> {
    /// A private key, as [`Lab::ssh_key`] makes it.
    Key(&'a Path),
    /// Codes, to be typed one after the other until one is right.
    Codes(&'a [&'a str]),
}

/// `ssh OPTIONS USER@machine` by somebody who brings that; the host key is kept in [`known_hosts`].
pub fn ssh(lab: &Lab, vm: &Vm, user: &str, brings: Brings<'_>, options: &[&str]) -> Result<Command> {
    let known = format!("UserKnownHostsFile={}", known_hosts(lab).display());
    let mut command = lab.tool("ssh", &[lab.dir().path()])?;
    // What the session shows must not depend on where a test is started from.
    command.env("TERM", "dumb");
    command.args(["-F", "none", "-p", &vm.port(22)?.to_string(), "-o", &known]);
    for option in ["StrictHostKeyChecking=no", "ConnectTimeout=30", "IdentitiesOnly=yes", "IdentityAgent=none"] {
        command.args(["-o", option]);
    }
    match brings {
        Brings::Key(key) => {
            command.args(["-o", "BatchMode=yes", "-i"]).arg(key);
        }
        Brings::Codes(codes) => {
            let prompts = format!("NumberOfPasswordPrompts={}", codes.len());
            command.args(["-o", "PubkeyAuthentication=no", "-o", &prompts]);
            command.env("SSH_ASKPASS", askpass(lab, codes)?).env("SSH_ASKPASS_REQUIRE", "force");
        }
    }
    command.args(options).arg(format!("{user}@127.0.0.1"));
    Ok(command)
}

/// The file of host keys that [`ssh`] saw.
pub fn known_hosts(lab: &Lab) -> PathBuf {
    lab.dir().join("known-hosts")
}

/// The code that the first page shows.
pub fn code(page: &str) -> Result<String> {
    let behind = page.split_once("code ").with_context(|| format!("the page shows no code: {page}"))?.1;
    Ok(behind.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn askpass(lab: &Lab, codes: &[&str]) -> Result<PathBuf> {
    let make = || -> io::Result<PathBuf> {
        let dir = tempfile::Builder::new().prefix("askpass-").tempdir_in(lab.dir().path())?.keep();
        fs::write(dir.join("codes"), codes.join("\n") + "\n")?;
        let program = dir.join("askpass");
        fs::write(&program, ASKPASS)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(program)
    };
    make().context("making the one who types codes")
}

/// Runs `ssh` to its end, with nobody at its keyboard.
pub fn knock(lab: &Lab, ssh: Command, timeout: Duration) -> Result<Output> {
    lab.run_command(ssh, timeout).context("knocking by SSH")
}

/// A session on a terminal; dropping it hangs up.
#[derive(Debug)]
pub struct Visitor {
    _running: Running,
    keyboard: File,
    /// What the session shows.
    pub screen: Transcript,
}

impl Visitor {
    /// Comes in with `ssh`, which must ask for a terminal (`-tt`). `name` names the transcript among the artifacts.
    pub fn come(lab: &Lab, name: &str, mut ssh: Command) -> Result<Self> {
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).context("making a terminal for ssh")?;
        let (ours, theirs) = (File::from(pty.master), pty.slave);
        let theirs = || theirs.try_clone().context("making a terminal for ssh");
        ssh.stdin(theirs()?).stdout(theirs()?).stderr(theirs()?);
        let running = Running::start(ssh).context("starting ssh")?;
        let copy = lab.artifacts().join(format!("{name}.txt"));
        let copy = File::create(&copy).with_context(|| format!("making {}", copy.display()))?;
        let screen = Transcript::follow(ours.try_clone().context("making a terminal for ssh")?, copy);
        Ok(Self { _running: running, keyboard: ours, screen })
    }

    /// Types `line` and Enter.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).context("typing into the session")
    }
}
