//! What to say of a key that does not exist: where it belongs, what it was meant to be,
//! or, for a password in the clear, what to do instead.

use super::node::{Node, Report, TOP, join};
use super::record::{Record as _, Shape, Table};
use super::schema::Answers;
use crate::nearest::nearest;

/// The key under which a table keeps the hash of a password.
const HASH: &str = "password-hash";

/// What to say of `child`, which `table` at `node` does not have. The report learns what it
/// was meant to be, so that nobody is told of one mistake twice.
pub(super) fn explain(child: &Node<'_>, node: &Node<'_>, table: &Table, report: &mut Report<'_>) -> String {
    let known = || table.fields.iter().map(|field| field.key.as_str());
    let key = child.key;
    let spelled = key.to_lowercase().replace('_', "-");
    let unknown = if !report.is_toml() {
        // Where quotes are missing, what is read as a key may be a line of somebody's secret.
        format!("unknown key {}", node.within())
    } else if child.table().is_some() && node.title == TOP {
        format!("unknown section [{key}]")
    } else {
        format!("unknown key `{key}` {}", node.within())
    };
    if let (Some(made_by), true) = (how_to_hash(table), is_password(&spelled)) {
        report.meant(node.title.clone(), HASH.to_owned());
        return format!("no answer file may hold a password: write `{HASH}` {} in its place; {made_by}", node.within());
    }
    if !known().any(|field| field == spelled) {
        let mut homes = Vec::new();
        homes_of(&spelled, "", false, &Answers::table(), &mut homes);
        if let [home] = homes.as_slice() {
            report.meant(home.clone(), spelled);
            let place = if home == TOP { format!("at {TOP}, above the first section") } else { format!("in {home}") };
            return format!("{unknown}; it belongs {place}");
        }
    }
    if let Some(field) = nearest(&spelled, known()) {
        report.meant(node.title.clone(), field.to_owned());
        return format!("{unknown}; did you mean `{field}`?");
    }
    let known: Vec<String> = known().map(|field| format!("`{field}`")).collect();
    format!("{unknown}; there are {}", known.join(", "))
}

fn is_password(key: &str) -> bool {
    !key.contains("hash") && ["pass", "pw", "pwd", "secret"].iter().any(|word| key.starts_with(word))
}

fn how_to_hash(table: &Table) -> Option<&'static str> {
    let field = table.fields.iter().find(|field| field.key == HASH)?;
    let Shape::Text(text) = &field.shape else { return None };
    text.made_by
}

/// Every table that has `key`.
fn homes_of(key: &str, path: &str, listed: bool, table: &Table, homes: &mut Vec<String>) {
    if table.fields.iter().any(|field| field.key == key) {
        homes.push(match (path.is_empty(), listed) {
            (true, _) => TOP.to_owned(),
            (false, true) => format!("[[{path}]]"),
            (false, false) => format!("[{path}]"),
        });
    }
    for field in &table.fields {
        let path = join(path, &field.key);
        match &field.shape {
            Shape::Table(table) => homes_of(key, &path, false, table, homes),
            Shape::List(item) => {
                if let Shape::Table(table) = &**item {
                    homes_of(key, &path, true, table, homes);
                }
            }
            _ => {}
        }
    }
}
