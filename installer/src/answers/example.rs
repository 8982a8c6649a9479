//! The example: a file with every key there is, explained. What most people do not need
//! is switched off by a `#` without a blank behind it.

use super::node::join;
use super::record::{Field, Record as _, Shape, Shown, Table};
use super::schema::Answers;

/// How wide the explanations are.
const WIDTH: usize = 96;

const INTRODUCTION: &str = "\
# Answers for Hearth: what you would otherwise be asked. Call the file hearth.toml and check it by
#     hearth answers check hearth.toml
# before you use it. Text after \"# \" explains. A \"#\" right before a key or a section switches it
# off: remove it, there and in the lines below it, to use them. What is in quotes here is made up.
";

/// The example file.
pub fn example() -> String {
    let mut out = INTRODUCTION.to_owned();
    table(&Answers::table(), "", false, &mut out);
    out
}

fn is_section(field: &Field) -> bool {
    let table = match &field.shape {
        Shape::List(item) => matches!(**item, Shape::Table(_)),
        shape => matches!(shape, Shape::Table(_)),
    };
    table && field.example.is_empty()
}

fn table(table: &Table, path: &str, off: bool, out: &mut String) {
    // In TOML a key that follows a section belongs to that section.
    let (sections, keys): (Vec<&Field>, Vec<&Field>) = table.fields.iter().partition(|field| is_section(field));
    for field in keys {
        out.push('\n');
        explain(field.about, out);
        switchable(&format!("{} = {}", field.key, field.example), off || field.shown != Shown::On, out);
    }
    for field in sections {
        let path = join(path, &field.key);
        let (header, inner) = match &field.shape {
            Shape::Table(inner) => (format!("[{path}]"), inner),
            Shape::List(item) => match &**item {
                Shape::Table(inner) => (format!("[[{path}]]"), inner),
                _ => continue,
            },
            _ => continue,
        };
        out.push_str("\n\n");
        explain(field.about, out);
        switchable(&header, off || field.shown != Shown::On, out);
        self::table(inner, &path, off || field.shown != Shown::On, out);
    }
}

fn explain(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

fn switchable(text: &str, off: bool, out: &mut String) {
    for line in text.lines() {
        if off {
            out.push('#');
        }
        out.push_str(line);
        out.push('\n');
    }
}
