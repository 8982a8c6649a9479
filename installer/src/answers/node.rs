//! The file as a tree whose every value knows where it stands, and the report that
//! collects what is wrong with it. Unlike serde, a walk over this tree goes on after
//! an error, so one run tells all of them.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Place, Problem, Problems};
use super::record::Answer;

/// How people call the part before the first section.
pub(super) const TOP: &str = "the top of the file";

/// A value in the file.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    /// The value.
    pub value: &'a DeValue<'a>,
    /// Where the value stands.
    pub span: Range<usize>,
    /// The key it belongs to.
    pub key: &'a str,
    /// Where the key, or for an item of a list the item, begins.
    pub start: usize,
    /// How people call the table: `[system]`, `[[users]]`.
    pub title: String,
    /// Its dotted name, if a header could name it.
    path: Option<String>,
}

impl<'a> Node<'a> {
    /// The whole file.
    pub fn root(value: &'a DeValue<'a>) -> Self {
        Self { value, span: 0..0, key: "", start: 0, title: TOP.to_owned(), path: Some(String::new()) }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Where its keys stand, in words.
    pub fn within(&self) -> String {
        if self.path.as_deref() == Some("") { format!("at {}", self.title) } else { format!("in {}", self.title) }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// What stands under `key`.
    pub fn get(&self, key: &str) -> Option<Self> {
        self.table()?.iter().find(|(found, _)| found.get_ref() == key).map(|(key, value)| self.child(key, value))
    }

    /// Every key of the table with its value.
    pub fn children(&self) -> impl Iterator<Item = Self> + '_ {
        self.table().into_iter().flatten().map(|(key, value)| self.child(key, value))
    }

    fn child(&self, key: &'a Spanned<std::borrow::Cow<'a, str>>, value: &'a Spanned<DeValue<'a>>) -> Self {
        let name = key.get_ref().as_ref();
        let path = self.path.as_ref().map(|path| join(path, name));
        let title = match &path {
            Some(path) => format!("[{path}]"),
            None => format!("`{name}` in {}", self.title),
        };
        Self { value: value.get_ref(), span: value.span(), key: name, start: key.span().start, title, path }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Vec<Self> {
        let DeValue::Array(items) = self.value else { return Vec::new() };
        let title = self.path.as_ref().map_or_else(|| self.title.clone(), |path| format!("[[{path}]]"));
        let item = |item: &'a Spanned<DeValue<'a>>| Self {
            value: item.get_ref(),
            span: item.span(),
            key: self.key,
            start: item.span().start,
            title: title.clone(),
            path: None,
        };
        items.iter().map(item).collect()
    }

    /// The items under `key`, none if it is absent.
    pub fn list(&self, key: &str) -> Vec<Self> {
        self.get(key).map(|list| list.items()).unwrap_or_default()
    }

    /// The value as a `T`, if it is one. What is wrong with it is said elsewhere.
    pub fn quiet<T: Answer>(&self) -> Option<T> {
        T::read(self, &mut Report::new("", Vec::new()))
    }
}

/// A dotted name.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Collects problems.
#[derive(Debug)]
pub(super) struct Report<'a> {
    text: &'a str,
    found: Vec<(usize, Problem)>,
    /// The lines that are not TOML. What else is found on them may be an accident of
    /// reading on, and what seems to be missing may stand there.
    broken: BTreeSet<usize>,
    /// The keys that something misspelled or misplaced was meant to be, with their tables.
    meant: BTreeSet<(String, String)>,
}

impl<'a> Report<'a> {
    /// A report about `text`, which already has these errors of syntax: where and what.
    pub fn new(text: &'a str, syntax: Vec<(usize, String)>) -> Self {
        let mut report = Self { text, found: Vec::new(), broken: BTreeSet::new(), meant: BTreeSet::new() };
        let lines: Vec<usize> = syntax.iter().map(|(at, _)| Place::of(text, *at).line).collect();
        for (at, what) in syntax {
            report.at(at, what);
        }
        report.broken = lines.into_iter().collect();
        report
    }

    /// True if the file is TOML.
    pub fn is_toml(&self) -> bool {
        self.broken.is_empty()
    }

    /// Something is wrong at `offset`.
    pub fn at(&mut self, offset: usize, what: impl Into<String>) {
        self.push(offset, what.into(), None);
    }

    /// Something is wrong with `node`, where its key stands.
    pub fn key(&mut self, node: &Node<'_>, what: impl Into<String>) {
        self.push(node.start, what.into(), None);
    }

    /// `node` does not fit together with `other`.
    pub fn both(&mut self, node: &Node<'_>, what: impl Into<String>, other: &Node<'_>, there: impl Into<String>) {
        let place = Place::of(self.text, other.start);
        self.push(node.start, what.into(), Some((place, there.into())));
    }

    /// The key `key` of the table called `title` is there, in a way: misspelled or misplaced.
    pub fn meant(&mut self, title: String, key: String) {
        self.meant.insert((title, key));
    }

    /// `key`, which has to be in `node`, is not.
    pub fn missing(&mut self, node: &Node<'_>, key: &str, what: impl Into<String>) {
        if self.is_toml() && !self.meant.contains(&(node.title.clone(), key.to_owned())) {
            self.push(node.start, what.into(), None);
        }
    }

    fn push(&mut self, offset: usize, text: String, other: Option<(Place, String)>) {
        let place = Place::of(self.text, offset);
        if !self.broken.contains(&place.line) {
            self.found.push((offset, Problem { place: Some(place), text, other }));
        }
    }

    /// What was found, in the order of the file.
    pub fn into_problems(mut self, name: &str) -> Option<Problems> {
        self.found.sort_by_key(|(offset, _)| *offset);
        let mut list: Vec<Problem> = self.found.into_iter().map(|(_, problem)| problem).collect();
        list.dedup();
        (!list.is_empty()).then(|| Problems { name: name.to_owned(), list })
    }
}
