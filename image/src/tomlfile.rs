//! Reads the TOML files people edit. What is wrong is said with file, line and,
//! for a mistyped key, the nearest key that exists.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use hearth::exit::{Exit, Kind as _};
use hearth::nearest::nearest;
use serde::de::DeserializeOwned;

/// Reads `path` as a `T`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display())).kind(Exit::Input)?;
    parse(&text, &path.display().to_string())
}

/// Parses `text`, which is called `name` in errors.
pub fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| anyhow!("{}", explain(&error, text, name))).kind(Exit::Input)
}

fn explain(error: &toml::de::Error, text: &str, name: &str) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text[..at].matches('\n').count() + 1;
    let message = error.message();
    let hint = nearest_key(message).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
    format!("{name}, line {line}: {}{hint}", message.trim_end())
}

/// For serde's "unknown field `x`, expected one of `a`, `b`": the nearest of those expected.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`');
    let wrong = quoted.next()?;
    nearest(wrong, quoted.skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code, reason = "only its keys matter here")]
    struct Example {
        mirror: Option<String>,
        runtime_mirror: Option<String>,
    }

    fn refusal(text: &str) -> String {
        parse::<Example>(text, "recipe.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_mistyped_key_is_refused_with_its_line_and_the_nearest_key() {
        let said = refusal("mirror = \"x\"\n\nruntime-miror = \"y\"\n");
        assert!(said.starts_with("recipe.toml, line 3: unknown field `runtime-miror`"), "{said}");
        assert!(said.ends_with("did you mean `runtime-mirror`?"), "{said}");
    }

    #[test]
    fn a_strange_key_gets_no_strange_advice() {
        assert!(!refusal("zzzzzzzz = 1\n").contains("did you mean"));
    }

    #[test]
    fn broken_toml_and_wrong_types_name_the_line() {
        assert!(refusal("\nmirror = 5\n").starts_with("recipe.toml, line 2:"));
        assert!(refusal("mirror = \"a\"\nmirror").starts_with("recipe.toml, line 2:"));
    }
}
