//! Takes the secrets out of the text of an answer file. All else stays as its writer
//! wrote it, to the byte: order, comments, line ends.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::node::Node;
use super::record::{Record as _, Shape, Text};
use super::schema::Answers;
use super::secret::STARS;

/// `text` with stars in the place of every value that is a secret. What stands in comments
/// nobody can know. Fails only where `text` is not TOML.
pub fn scrub(text: &str) -> Result<String, toml::de::Error> {
    let value = DeValue::Table(DeTable::parse(text)?.into_inner());
    let mut spans = Vec::new();
    find(&Node::root(&value), &Shape::Table(Answers::table()), &mut spans);
    spans.sort_by_key(|span| span.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        out.push_str(&text[at..span.start]);
        out.push_str(&format!("\"{STARS}\""));
        at = span.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn find(node: &Node<'_>, shape: &Shape, spans: &mut Vec<Range<usize>>) {
    match shape {
        Shape::Text(Text { secret: true, .. }) => spans.push(node.span.clone()),
        Shape::Table(table) => {
            for field in &table.fields {
                if let Some(child) = node.get(&field.key) {
                    find(&child, &field.shape, spans);
                }
            }
        }
        Shape::List(item) => node.items().iter().for_each(|node| find(node, item, spans)),
        Shape::Either(_, other) => find(node, other, spans),
        Shape::Text(_) | Shape::Choice(_) | Shape::Number(..) | Shape::Switch => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::Value;

    use super::*;

    #[test]
    fn every_way_to_write_a_secret() {
        let text = "# my file\r\nversion = 1\n[network]\nwifi = { ssid = 'x', passphrase = 'ONE', country = \"DE\" } # c\n\
                    [domain]\n\"token\" = \"\"\"\n  TWO\\\n  MORE\"\"\"\nname = \"a\"\n[backup]\nrepositories = [\n\
                    { name = \"n\", password = '''THR'ee''' }, # d\n{ password = \"fo\\u0075r\" }]\n[[users]]\n\
                    password-hash = \"FIVE\"\n[[users]]\npassword-hash = 'SIX'\n[encryption]\npin=\"SEVEN\"\n\
                    [recover]\nkit = 888\n";
        let stars = format!("\"{STARS}\"");
        let scrubbed = scrub(text).unwrap();
        assert_eq!(scrubbed.matches(&stars).count(), 8, "{scrubbed}");
        for secret in ["ONE", "TWO", "MORE", "THR", "fo\\u", "FIVE", "SIX", "SEVEN", "888"] {
            assert!(!scrubbed.contains(secret), "{secret}: {scrubbed}");
        }
        assert!(scrubbed.starts_with("# my file\r\nversion = 1\n") && scrubbed.contains(" } # c\n"), "{scrubbed}");
        toml::from_str::<Value>(&scrubbed).unwrap();
    }

    /// A secret in quotes, in one of the four ways.
    fn quoted(secret: &str, way: u8) -> String {
        match way {
            0 => format!("'{}'", secret.replace(['\'', '\n'], "_")),
            1 => format!("\"\"\"\n{}\"\"\"", secret.replace(['\\', '"'], "_")),
            2 => format!("'''\n{}'''", secret.replace('\'', "_")),
            // For these characters JSON is TOML.
            _ => serde_json::to_string(secret).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives_and_all_else_does(
            secrets in prop::collection::vec(("zanzibar[ -~\u{e0}-\u{ff}\n]{0,20}zanzibar", 0..4u8), 5),
            layout in 0..3u8,
        ) {
            let values: Vec<String> = secrets.iter().map(|(secret, way)| quoted(secret, *way)).collect();
            let [token, mail, hash, key, kit] = values.as_slice() else { unreachable!() };
            let write = |token: &str, mail: &str, hash: &str, key: &str, kit: &str| match layout {
                0 => format!(
                    "[domain] # public\ntoken = {token} # mine\n[mail]\npassword = {mail}\n[[users]]\nname='a'\n\
                     password-hash = {hash}\n[backup]\n[[backup.repositories]]\nssh-key={key}\n[recover]\nkit={kit}\n"
                ),
                1 => format!(
                    "domain.token = {token}\nmail . password={mail}\nusers = [{{name = 'a', password-hash = {hash}}}]\n\
                     backup.repositories = [{{ ssh-key = {key} }}, # one\n]\nrecover.\"kit\" = {kit}"
                ),
                _ => format!(
                    "\"domain\" = {{ 'token' = {token} }}\nmail = {{password={mail}}}\n\
                     users=[{{}},{{password-hash={hash}}}]\n\
                     [[backup.repositories]] # one\n'ssh-key'={key}\n[recover]\nkit\t=\t{kit}"
                ),
            };
            let text = write(token, mail, hash, key, kit);
            let stars = format!("\"{STARS}\"");
            prop_assert_eq!(scrub(&text).unwrap(), write(&stars, &stars, &stars, &stars, &stars));
        }
    }
}
