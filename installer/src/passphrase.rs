//! Asks for a password: typed on a terminal, or one line of standard input for scripts.
//! Never an argument or a variable of the environment, which other processes can read.

use std::io::{IsTerminal as _, stdin};

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use crate::exit::{Exit, Kind as _};

/// Asks with `prompt`; on a terminal a second time if `twice`.
pub fn ask(prompt: &str, twice: bool) -> Result<Zeroizing<String>> {
    if stdin().is_terminal() {
        let asked = dialoguer::Password::new().with_prompt(prompt);
        let asked =
            if twice { asked.with_confirmation("Once more", "These differ; again from the start") } else { asked };
        return asked.interact().map(Zeroizing::new).with_context(|| format!("asking: {prompt}"));
    }
    let mut line = Zeroizing::new(String::new());
    stdin().read_line(&mut line).context("reading a line of standard input").kind(Exit::Input)?;
    let typed = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(typed);
    Ok(line)
}
