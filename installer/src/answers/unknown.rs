//! What to say of a key that does not exist: where it belongs, what it was meant to be,
//! or, for a password in the clear, what to do instead.

use super::node::{Node, join};
use super::record::{Record as _, Shape, Table};
use super::schema::Answers;
use crate::nearest::nearest;

/// The key under which a table keeps the hash of a password.
const HASH: &str = "password-hash";

/// What to say of `key`, which `table` at `node` does not have.
pub(super) fn explain(key: &str, node: &Node<'_>, table: &Table) -> String {
    let known = || table.fields.iter().map(|field| field.key.as_str());
    let title = &node.title;
    let spelled = key.to_lowercase().replace('_', "-");
    if let (Some(made_by), true) = (how_to_hash(table), is_password(&spelled)) {
        return format!("`{key}` in {title} is refused: no answer file may hold a password; {made_by}, for `{HASH}`");
    }
    if known().any(|field| field == spelled) {
        return format!("unknown key `{key}` in {title}; did you mean `{spelled}`?");
    }
    let mut homes = Vec::new();
    homes_of(&spelled, "", false, &Answers::table(), &mut homes);
    if let [home] = homes.as_slice() {
        return format!("unknown key `{key}` in {title}; it belongs in {home}");
    }
    if let Some(field) = nearest(&spelled, known()) {
        return format!("unknown key `{key}` in {title}; did you mean `{field}`?");
    }
    let known: Vec<String> = known().map(|field| format!("`{field}`")).collect();
    format!("unknown key `{key}` in {title}, which has {}", known.join(", "))
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
            (true, _) => "the top of the file, above the first section".to_owned(),
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
