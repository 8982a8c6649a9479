//! Answers: `hearth.toml`, the file that says what a person would otherwise be asked.
//!
//! The workstation checks it (`hearth answers check`, before a stick is written) and the
//! appliance reads it, both by [`read`]: every error at once, each with its place. What
//! can be in the file is written once, in [`schema`]; the JSON Schema, the reference and
//! the example follow from that.

pub mod command;
mod example;
mod hash;
mod json;
mod node;
mod problems;
mod record;
#[cfg(test)]
mod reference;
mod rules;
mod schema;
mod scrub;
mod secret;
mod source;
mod types;
mod unknown;

use toml::de::{DeTable, DeValue};

pub use example::example;
pub use hash::{For, console_hash, hash, portal_hash, weakness};
pub use json::json_schema;
pub use problems::{Place, Problem, Problems};
pub use schema::*;
pub use scrub::scrub;
pub use secret::{STARS, Secret};
pub use source::{FILE_NAME, bytes, find, load, name_of, read_bytes};
pub use types::*;

use node::{Node, Report};
use record::Answer as _;

/// Reads the text of an answer file, which is called `name` in errors. A byte order mark
/// and Windows line ends are fine.
pub fn read(text: &str, name: &str) -> Result<Answers, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let value = DeValue::Table(table.into_inner());
    let syntax = errors.iter().map(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (at, format!("this is not TOML: {}", error.message().trim_end()))
    });
    let mut report = Report::new(text, syntax.collect());
    let root = Node::root(&value);
    let answers = if is_other_version(&root) {
        // Every other complaint would be about keys this version cannot know.
        root.get("version").and_then(|version| Version::read(&version, &mut report));
        None
    } else {
        let answers = Answers::read(&root, &mut report);
        if report.is_toml() {
            rules::check(&root, &mut report);
        }
        answers
    };
    match (answers, report.into_problems(name)) {
        (Some(answers), None) => Ok(answers),
        (_, problems) => Err(problems.unwrap_or_else(|| Problems::whole(name, "it could not be read"))),
    }
}

fn is_other_version(root: &Node<'_>) -> bool {
    root.get("version")
        .is_some_and(|node| matches!(node.value, DeValue::Integer(_)) && node.quiet::<Version>().is_none())
}

#[cfg(test)]
mod tests;
