//! Writes docs/answers.md. Only the test that keeps the file up to date needs it.

use super::node::join;
use super::record::{Field, Record as _, Shape, Table};
use super::schema::Answers;

const INTRODUCTION: &str = include_str!("reference.md");

/// The reference of the answer file.
pub(super) fn reference() -> String {
    let mut out = INTRODUCTION.trim_end().to_owned();
    out.push_str("\n\n## At the top of the file\n");
    keys(&Answers::table(), &mut out);
    sections(&Answers::table(), "", &mut out);
    out
}

fn inner(shape: &Shape) -> Option<(&Table, bool)> {
    match shape {
        Shape::Table(table) => Some((table, false)),
        Shape::List(item) => inner(item).map(|(table, _)| (table, true)),
        Shape::Either(_, other) => inner(other),
        _ => None,
    }
}

fn sections(table: &Table, path: &str, out: &mut String) {
    for field in &table.fields {
        let Some((inner, listed)) = inner(&field.shape) else { continue };
        let path = join(path, &field.key);
        // Two places take a selector; it is explained once, under its own name.
        if field.key == "disk" {
            if !out.contains("## Selectors\n") {
                out.push_str(&format!("\n## Selectors\n\n{}\n", inner.about));
                keys(inner, out);
            }
            continue;
        }
        let header = if listed { format!("[[{path}]]") } else { format!("[{path}]") };
        let again = if listed { " Repeat the section for each." } else { "" };
        out.push_str(&format!("\n## `{header}`\n\n{}{again}\n", field.about));
        keys(inner, out);
        sections(inner, &path, out);
    }
}

fn keys(table: &Table, out: &mut String) {
    let keys: Vec<&Field> =
        table.fields.iter().filter(|field| inner(&field.shape).is_none() || field.key == "disk").collect();
    out.push_str("\n| key | what it means | value | without it |\n|---|---|---|---|\n");
    for field in keys {
        let absent = match (&field.default, field.required) {
            (_, true) => "refused".to_owned(),
            (Some(default), _) => format!("`{default}`"),
            (None, _) => String::new(),
        };
        out.push_str(&format!("| `{}` | {} | {} | {absent} |\n", field.key, field.about, value(&field.shape)));
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Text(text) if text.secret => format!("{}, kept from view", text.what),
        Shape::Text(text) => text.what.to_owned(),
        Shape::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Shape::Number(min, max) if min == max => format!("`{min}`"),
        Shape::Number(min, max) => format!("{min} to {max}"),
        Shape::Switch => "`true`, `false`".to_owned(),
        Shape::List(item) => format!("a list: {}", value(item)),
        Shape::Table(_) => "a [selector](#selectors)".to_owned(),
        Shape::Either(one, other) => format!("{} or {}", value(one), value(other)),
    }
}
