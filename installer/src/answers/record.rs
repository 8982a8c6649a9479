//! How an answer describes itself. Each struct of [`super::schema`] is written once,
//! by [`record!`], and that one text is the type, the check, the JSON Schema, the
//! reference and the example.

use serde::Serialize;
use toml::de::DeValue;
use zeroize::Zeroize;

use super::node::{Node, Report};
use super::secret::{STARS, Secret};
use super::unknown;

/// What a value looks like.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A text with rules of its own.
    Text(Text),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range, both ends included.
    Number(i64, i64),
    /// True or false.
    Switch,
    /// Any number of these.
    List(Box<Shape>),
    /// A table.
    Table(Table),
    /// One or the other.
    Either(Box<Shape>, Box<Shape>),
}

/// The rules of a text, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// What it is: "a host name".
    pub what: &'static str,
    /// A regular expression that all of them match, where one says something.
    pub pattern: Option<&'static str>,
    /// What makes one, if it cannot simply be typed.
    pub made_by: Option<&'static str>,
    /// Whether it is kept from view.
    pub secret: bool,
}

/// A table and its keys.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// What it is for.
    pub about: &'static str,
    /// Its keys.
    pub fields: Vec<Field>,
}

/// How the example file shows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As an answer.
    On,
    /// As a comment, which most people leave one.
    Off,
    /// As a comment whose value is refused: everybody needs one of their own.
    Own,
}

/// A key of a table.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The key.
    pub key: String,
    /// What it means.
    pub about: &'static str,
    /// What it looks like.
    pub shape: Shape,
    /// Whether it has to be there.
    pub required: bool,
    /// What holds if it is absent, in TOML.
    pub default: Option<String>,
    /// A value of it in TOML; empty for tables.
    pub example: &'static str,
    /// How the example file shows it.
    pub shown: Shown,
}

impl Field {
    pub fn new<T: Answer>(
        name: &str,
        about: &'static str,
        default: Option<&T>,
        example: &'static str,
        shown: Shown,
    ) -> Self {
        Self {
            key: kebab(name),
            about: about.trim(),
            shape: T::shape(),
            required: default.is_none() && T::absent().is_none(),
            // For texts, numbers, switches and lists of them JSON is TOML.
            default: default.and_then(|value| serde_json::to_string(value).ok()),
            example,
            shown,
        }
    }
}

impl Field {
    /// Whether `node` is a secret that somebody switched on in the example and left as it was.
    fn is_example(&self, node: &Node<'_>) -> bool {
        self.shown == Shown::Own && node.text().is_some_and(|text| format!("\"{text}\"") == self.example)
    }
}

/// A value that an answer file can hold.
pub(super) trait Answer: Sized + Serialize {
    /// What it looks like.
    fn shape() -> Shape;

    /// Reads `node`; what is wrong goes into the report.
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// What holds if the key is absent; without it the key has to be there.
    fn absent() -> Option<Self> {
        None
    }

    /// True if the value says no more than an absent key.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Answer> Answer for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        T::read(node, report).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Answer> Answer for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        if !matches!(node.value, DeValue::Array(_)) {
            wrong_type(node, &Self::shape(), report);
            return None;
        }
        // Not `collect`ed at once: that would stop at the first wrong item.
        let read: Vec<Option<T>> = node.items().iter().map(|item| T::read(item, report)).collect();
        read.into_iter().collect()
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Answer for bool {
    fn shape() -> Shape {
        Shape::Switch
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        if let DeValue::Boolean(value) = node.value {
            return Some(*value);
        }
        wrong_type(node, &Self::shape(), report);
        None
    }
}

impl<T: Answer + Zeroize> Answer for Secret<T> {
    fn shape() -> Shape {
        match T::shape() {
            Shape::Text(text) => Shape::Text(Text { secret: true, ..text }),
            other => other,
        }
    }

    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        if node.text() == Some(STARS) {
            let text = format!("`{}` holds the stars that stand for a secret: write the secret itself", node.key);
            report.at(node.span.start, text);
            return None;
        }
        T::read(node, report).map(Self::new)
    }
}

/// Reads a text and lets `parse` judge it; `parse` says in words what is wrong.
pub(super) fn read_text<T>(
    node: &Node<'_>,
    report: &mut Report<'_>,
    rules: &Text,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let Some(text) = node.text() else {
        wrong_type(node, &Shape::Text(*rules), report);
        return None;
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(why) => {
            let made_by = rules.made_by.map(|how| format!("; {how}")).unwrap_or_default();
            report.at(node.span.start, format!("`{}` is not {}: {why}{made_by}", node.key, rules.what));
            None
        }
    }
}

/// Reads one of a few words.
pub(super) fn read_choice<T: Copy>(node: &Node<'_>, report: &mut Report<'_>, words: &[(&'static str, T)]) -> Option<T> {
    let known: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
    let Some(text) = node.text() else {
        report.at(node.span.start, format!("`{}` must be {}", node.key, one_of(&known)));
        return None;
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let hint = match crate::nearest::nearest(text, known.iter().copied()) {
        Some(word) => format!("; did you mean \"{word}\"?"),
        None => String::new(),
    };
    report.at(node.span.start, format!("`{}` must be {}{hint}", node.key, one_of(&known)));
    None
}

/// `"a"`, `"b"` or `"c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Says which type was expected and which is there.
pub(super) fn wrong_type(node: &Node<'_>, shape: &Shape, report: &mut Report<'_>) {
    let expected = match shape {
        Shape::Text(text) => format!("a text in quotes, {}", text.what),
        Shape::Choice(words) => one_of(words),
        Shape::Number(min, max) => format!("a whole number from {min} to {max}"),
        Shape::Switch => "true or false, without quotes".to_owned(),
        Shape::List(item) if matches!(**item, Shape::Table(_)) => format!("a list: begin each with [[{}]]", node.key),
        Shape::List(_) => format!("a list: `{} = [ ... ]`", node.key),
        Shape::Table(_) => "a table".to_owned(),
        Shape::Either(one, _) => {
            let Shape::Choice(words) = **one else { return };
            format!("{} or a table", one_of(words))
        }
    };
    let found = match node.value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    report.at(node.span.start, format!("`{}` must be {expected}; it is {found}", node.key));
}

/// A table with fixed keys.
pub(super) trait Record: Answer {
    /// What it is for, and its keys.
    fn table() -> Table;

    /// Takes the values out of a table.
    fn take(reader: &mut Reader<'_, '_, '_>) -> Option<Self>;
}

/// Reads a table: every key, and what does not belong there.
pub(super) fn read_record<T: Record>(node: &Node<'_>, report: &mut Report<'_>) -> Option<T> {
    if node.table().is_none() {
        wrong_type(node, &T::shape(), report);
        return None;
    }
    let table = T::table();
    let unknown: Vec<Node<'_>> =
        node.children().filter(|child| !table.fields.iter().any(|field| field.key == child.key)).collect();
    for child in &unknown {
        let what = unknown::explain(child, node, &table, report);
        report.key(child, what);
    }
    let read = T::take(&mut Reader { node, report, table: &table });
    read.filter(|_| unknown.is_empty())
}

/// Takes the values of a table one by one.
#[derive(Debug)]
pub(super) struct Reader<'a, 'n, 'r> {
    node: &'a Node<'n>,
    report: &'a mut Report<'r>,
    table: &'a Table,
}

impl Reader<'_, '_, '_> {
    /// The value of the field called `name`, its default, or a complaint.
    pub fn take<T: Answer>(&mut self, name: &str, default: Option<T>) -> Option<T> {
        let key = kebab(name);
        let field = self.table.fields.iter().find(|field| field.key == key)?;
        if let Some(child) = self.node.get(&key) {
            if field.is_example(&child) {
                // A file made from the example must not give every machine the same secret.
                self.report.at(child.span.start, format!("`{key}` is still that of the example: write your own"));
                return None;
            }
            return T::read(&child, self.report);
        }
        if let Some(value) = default.or_else(T::absent) {
            return Some(value);
        }
        let title = &self.node.title;
        let text = match T::shape() {
            Shape::Table(_) => format!("the section [{key}] is missing"),
            Shape::Text(Text { secret: true, .. }) => {
                let (meaning, _) = field.about.split_once('.').unwrap_or((field.about, ""));
                format!("{title} lacks `{key}` ({})", lower_first(meaning))
            }
            _ => format!("{title} lacks `{key}`, for example `{key} = {}`", field.example),
        };
        self.report.missing(self.node, &key, text);
        None
    }
}

/// `Its name` as it reads in the middle of a sentence.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The key for a field's name.
pub(super) fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// Defines a table: its type and everything that follows from it. A field is
/// `name: Type = default, eg example;`, where `= default` may be absent, the example is
/// TOML; `off` or `own` in place of `eg` are the other two of [`Shown`].
macro_rules! record {
    ($(#[doc = $about:literal])+ pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty $(= $default:expr)?, $how:ident $example:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct $name {
            $($(#[doc = $doc])+
            #[serde(skip_serializing_if = "crate::answers::record::Answer::is_absent")]
            pub $field: $type,)+
        }

        impl $crate::answers::record::Record for $name {
            fn table() -> $crate::answers::record::Table {
                use $crate::answers::record::{Field, Table, record};
                Table {
                    about: concat!($($about),+).trim(),
                    fields: vec![$(Field::new::<$type>(
                        stringify!($field),
                        concat!($($doc),+),
                        record!(@default $($default)?).as_ref(),
                        $example,
                        record!(@shown $how),
                    )),+],
                }
            }

            fn take(reader: &mut $crate::answers::record::Reader<'_, '_, '_>) -> Option<Self> {
                use $crate::answers::record::record;
                $(let $field = reader.take::<$type>(stringify!($field), record!(@default $($default)?));)+
                Some(Self { $($field: $field?),+ })
            }
        }

        impl $crate::answers::record::Answer for $name {
            fn shape() -> $crate::answers::record::Shape {
                $crate::answers::record::Shape::Table(<Self as $crate::answers::record::Record>::table())
            }

            fn read(
                node: &$crate::answers::node::Node<'_>,
                report: &mut $crate::answers::node::Report<'_>,
            ) -> Option<Self> {
                $crate::answers::record::read_record(node, report)
            }
        }
    };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    (@shown eg) => { $crate::answers::record::Shown::On };
    (@shown off) => { $crate::answers::record::Shown::Off };
    (@shown own) => { $crate::answers::record::Shown::Own };
}
pub(super) use record;

/// Defines an answer that is one of a few words.
macro_rules! choice {
    ($(#[doc = $about:literal])+ pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Its word in the file.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::answers::record::Answer for $name {
            fn shape() -> $crate::answers::record::Shape {
                $crate::answers::record::Shape::Choice(&[$($word),+])
            }

            fn read(
                node: &$crate::answers::node::Node<'_>,
                report: &mut $crate::answers::node::Report<'_>,
            ) -> Option<Self> {
                $crate::answers::record::read_choice(node, report, &[$(($word, Self::$variant)),+])
            }
        }
    };
}
pub(super) use choice;

/// Defines an answer that is a text: `Name(Inner), "what it is", pattern, parse;`. `parse` makes
/// the inner value or says in words why it cannot. A pattern of `""` says nothing.
macro_rules! text {
    ($($(#[doc = $about:literal])+ $name:ident($inner:ty), $what:literal, $pattern:literal, $parse:path $(, $made_by:literal)?;)+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub(in crate::answers) $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            /// Judges a text; the error says in words what is wrong with it, and never repeats it.
            fn from_str(text: &str) -> Result<Self, String> {
                $parse(text).map(Self)
            }
        }

        impl $name {
            const RULES: $crate::answers::record::Text = $crate::answers::record::Text {
                what: $what,
                pattern: if $pattern.is_empty() { None } else { Some($pattern) },
                made_by: $crate::answers::record::text!(@made_by $($made_by)?),
                secret: false,
            };
        }

        impl $crate::answers::record::Answer for $name {
            fn shape() -> $crate::answers::record::Shape {
                $crate::answers::record::Shape::Text(Self::RULES)
            }

            fn read(
                node: &$crate::answers::node::Node<'_>,
                report: &mut $crate::answers::node::Report<'_>,
            ) -> Option<Self> {
                $crate::answers::record::read_text(node, report, &Self::RULES, |text| $parse(text).map(Self))
            }
        }
    )+ };
    (@made_by) => { None };
    (@made_by $how:literal) => { Some($how) };
}
pub(super) use text;
