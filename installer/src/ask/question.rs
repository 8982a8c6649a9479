//! A question, and what counts as a reply to it. A line that is typed becomes a reply by
//! the same parsers that read an answer file, or is refused in the same words.

use std::fmt::Display;
use std::str::FromStr;

use super::replies::{Id, Reply};
use crate::answers::{For, STARS};

/// Judges what was typed: gives the reply's words, or says in words what is wrong.
pub type Check<'a> = Box<dyn Fn(&str) -> Result<String, String> + 'a>;

/// Judges which of several were chosen.
pub type Rule<'a> = Box<dyn Fn(&[&str]) -> Result<(), String> + 'a>;

/// A question.
pub struct Question<'a> {
    /// Which it is.
    pub id: Id,
    /// What it is about, in a few words: "time zone".
    pub about: String,
    /// What is asked, a paragraph each.
    pub text: Vec<String>,
    /// What `?` says besides.
    pub help: String,
    /// What a reply looks like.
    pub kind: Kind<'a>,
    /// The reply that Enter alone gives, where nothing was replied before.
    pub default: Option<Reply>,
}

/// What a reply looks like.
pub enum Kind<'a> {
    /// A text.
    Text(Text<'a>),
    /// One of these.
    One(Vec<Item>),
    /// Any number of these, by the rule.
    Several(Vec<Item>, Rule<'a>),
}

/// A reply that is typed as it is.
pub struct Text<'a> {
    check: Check<'a>,
    /// What it is called if nothing is given, where that may be.
    none: Option<&'static str>,
    /// How far it is kept from view.
    shown: Shown,
}

/// How far a text is kept from view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Not at all.
    Openly,
    /// It shows nowhere.
    Hidden,
    /// It shows nowhere, and is typed twice.
    Twice,
    /// It shows nowhere, is typed twice, and its hash is kept.
    Hashed(For),
}

/// Something that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its word in the answer file.
    pub word: String,
    /// What people read.
    pub told: String,
}

impl Item {
    /// A choice.
    pub fn new(word: impl Into<String>, told: impl Into<String>) -> Self {
        Self { word: word.into(), told: told.into() }
    }
}

/// Reads a text as a `T` does that is found in an answer file.
pub fn parsed<T: FromStr<Err = String> + Display>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|value| value.to_string())
}

/// Takes a password that is not easy to guess.
pub fn strong(text: &str) -> Result<String, String> {
    match crate::answers::weakness(text) {
        Some(why) => Err(why),
        None => Ok(text.to_owned()),
    }
}

/// Reads several, with `between` between them. What comes out has a comma and a blank there.
pub fn list<T: FromStr<Err = String> + Display>(text: &str, between: &[char]) -> Result<String, String> {
    let words = text.split(between).map(str::trim).filter(|word| !word.is_empty());
    let read: Result<Vec<String>, String> = words.map(parsed::<T>).collect();
    match read?.as_slice() {
        [] => Err("there is nothing in it".to_owned()),
        words => Ok(words.join(", ")),
    }
}

impl<'a> Question<'a> {
    fn new(id: Id, about: impl Into<String>, kind: Kind<'a>) -> Self {
        Self { id, about: about.into(), text: Vec::new(), help: String::new(), kind, default: None }
    }

    /// A question for a text.
    pub fn text(id: Id, about: impl Into<String>, check: impl Fn(&str) -> Result<String, String> + 'a) -> Self {
        Self::new(id, about, Kind::Text(Text { check: Box::new(check), none: None, shown: Shown::Openly }))
    }

    /// A question for a text that shows nowhere.
    pub fn hidden(id: Id, about: impl Into<String>, check: impl Fn(&str) -> Result<String, String> + 'a) -> Self {
        Self::new(id, about, Kind::Text(Text { check: Box::new(check), none: None, shown: Shown::Hidden }))
    }

    /// A question for a new secret: it shows nowhere, and is typed twice.
    pub fn twice(id: Id, about: impl Into<String>, check: impl Fn(&str) -> Result<String, String> + 'a) -> Self {
        Self::new(id, about, Kind::Text(Text { check: Box::new(check), none: None, shown: Shown::Twice }))
    }

    /// A question for a new password, of which only the hash is kept.
    pub fn password(id: Id, about: impl Into<String>, whom: For) -> Self {
        Self::new(id, about, Kind::Text(Text { check: Box::new(strong), none: None, shown: Shown::Hashed(whom) }))
    }

    /// A question for one of `items`.
    pub fn one(id: Id, about: impl Into<String>, items: Vec<Item>) -> Self {
        Self::new(id, about, Kind::One(items))
    }

    /// A question for any number of `items`.
    pub fn several(
        id: Id,
        about: impl Into<String>,
        items: Vec<Item>,
        rule: impl Fn(&[&str]) -> Result<(), String> + 'a,
    ) -> Self {
        Self::new(id, about, Kind::Several(items, Box::new(rule)))
    }

    /// Asks in these words; a paragraph each time.
    pub fn say(mut self, text: impl Into<String>) -> Self {
        self.text.push(text.into());
        self
    }

    /// Says this behind `?`.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = text.into();
        self
    }

    /// Enter alone means this.
    pub fn default(mut self, reply: impl Into<String>) -> Self {
        self.default = Some(Reply::new(reply));
        self
    }

    /// Nothing may be given, which is called `word`, and is what Enter alone means.
    pub fn or_none(mut self, word: &'static str) -> Self {
        if let Kind::Text(text) = &mut self.kind {
            text.none = Some(word);
        }
        self.default.get_or_insert(Reply::new(""));
        self
    }

    /// Whether what is typed must not show.
    pub fn is_hidden(&self) -> bool {
        matches!(&self.kind, Kind::Text(text) if text.shown != Shown::Openly)
    }

    /// Whether it is typed twice.
    pub fn is_twice(&self) -> bool {
        matches!(&self.kind, Kind::Text(text) if matches!(text.shown, Shown::Twice | Shown::Hashed(_)))
    }

    /// Whom the password is for, if this asks for a new one: then its hash is kept.
    pub fn is_hashed(&self) -> Option<For> {
        match &self.kind {
            Kind::Text(Text { shown: Shown::Hashed(whom), .. }) => Some(*whom),
            _ => None,
        }
    }

    /// What may be typed, in the words of the prompt.
    pub fn wants(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "",
            Kind::One(_) => "Number",
            Kind::Several(..) => "Numbers, or - for none",
        }
    }

    /// What can be chosen.
    pub fn items(&self) -> &[Item] {
        match &self.kind {
            Kind::Text(_) => &[],
            Kind::One(items) | Kind::Several(items, _) => items,
        }
    }

    /// Whether any number of what is offered can be chosen.
    pub fn is_several(&self) -> bool {
        matches!(self.kind, Kind::Several(..))
    }

    /// Which of the items `reply` chooses, counted from 0.
    pub fn marked(&self, reply: &Reply) -> Vec<usize> {
        let chosen = |word: &str| match self.kind {
            Kind::Several(..) => reply.text().split(' ').any(|one| one == word),
            _ => reply.text() == word,
        };
        let items = self.items().iter().enumerate();
        items.filter(|(_, item)| chosen(&item.word)).map(|(at, _)| at).collect()
    }

    /// Whether `reply` answers this question as it stands now; what else was answered may have changed since.
    pub fn takes(&self, reply: &Reply) -> bool {
        let words: Vec<&str> = reply.text().split(' ').filter(|word| !word.is_empty()).collect();
        let offered = |word: &str| self.items().iter().any(|item| item.word == word);
        match &self.kind {
            Kind::Text(Text { shown: Shown::Hashed(_), .. }) => !reply.text().is_empty(),
            Kind::Text(text) if reply.text().is_empty() => text.none.is_some(),
            Kind::Text(text) => (text.check)(reply.text()).is_ok(),
            Kind::One(_) => offered(reply.text()),
            Kind::Several(_, rule) => words.iter().all(|word| offered(word)) && rule(&words).is_ok(),
        }
    }

    /// The reply that `line` is. Enter alone means `present`, or else the default.
    pub fn read(&self, line: &str, present: Option<&Reply>) -> Result<Reply, String> {
        if line.is_empty() {
            let kept = present.or(self.default.as_ref());
            return kept.cloned().ok_or_else(|| "this has to be answered".to_owned());
        }
        match &self.kind {
            Kind::Text(Text { none: Some(_), .. }) if line == "-" => Ok(Reply::new("")),
            Kind::Text(text) => (text.check)(line).map(Reply::new),
            Kind::One(items) => pick(items, line).map(|item| Reply::new(&item.word)),
            Kind::Several(_, rule) if line == "-" => rule(&[]).map(|()| Reply::new("")),
            Kind::Several(items, rule) => {
                let words = line.split([' ', ',']).filter(|word| !word.is_empty());
                let picked = words.map(|word| pick(items, word)).collect::<Result<Vec<&Item>, String>>()?;
                // In the order they are offered in, once each.
                let words: Vec<&str> =
                    items.iter().filter(|item| picked.contains(item)).map(|item| item.word.as_str()).collect();
                rule(&words).map(|()| Reply::new(words.join(" ")))
            }
        }
    }

    /// How `reply` is shown: in brackets at the prompt, and in the review.
    pub fn shown(&self, reply: &Reply) -> String {
        let told = |word: &str| {
            let item = self.items().iter().find(|item| item.word == word);
            item.map_or(word, |item| item.told.as_str()).to_owned()
        };
        match &self.kind {
            Kind::Text(text) if reply.text().is_empty() => text.none.unwrap_or_default().to_owned(),
            Kind::Text(Text { shown: Shown::Openly, .. }) => reply.text().to_owned(),
            Kind::Text(_) => STARS.to_owned(),
            Kind::Several(..) if reply.text().is_empty() => "none".to_owned(),
            Kind::Several(..) => reply.text().split(' ').collect::<Vec<_>>().join(", "),
            Kind::One(_) => told(reply.text()),
        }
    }

    /// How `reply` is typed: a number where there is a list, else as it is shown.
    pub fn typed(&self, reply: &Reply) -> String {
        match &self.kind {
            Kind::Text(_) => self.shown(reply),
            Kind::Several(..) if reply.text().is_empty() => "none".to_owned(),
            Kind::One(_) | Kind::Several(..) => {
                self.marked(reply).iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// The one of `items` that is typed: by its number, or by its word.
fn pick<'i>(items: &'i [Item], typed: &str) -> Result<&'i Item, String> {
    let number = typed.strip_suffix([')', '.']).unwrap_or(typed).parse::<usize>().ok();
    let by_number = number.and_then(|number| items.get(number.checked_sub(1)?));
    let by_word = || items.iter().find(|item| item.word.eq_ignore_ascii_case(typed));
    by_number.or_else(by_word).ok_or_else(|| format!("type a number from 1 to {}", items.len()))
}

impl std::fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Hostname, IpAddress};

    fn several() -> Question<'static> {
        let items = ["core", "media", "backup"].map(|word| Item::new(word, "x")).to_vec();
        Question::several(Id::Stacks, "stacks", items, |words| match words {
            ["media", ..] => Err("media needs core".to_owned()),
            _ => Ok(()),
        })
    }

    #[test]
    fn a_text_is_judged_as_in_a_file() {
        let question = Question::text(Id::Hostname, "name", parsed::<Hostname>).default("hearth");
        assert_eq!(question.read("attic", None), Ok(Reply::new("attic")));
        assert_eq!(question.read("", None), Ok(Reply::new("hearth")));
        assert_eq!(question.read("", Some(&Reply::new("attic"))), Ok(Reply::new("attic")));
        assert_eq!(question.read("My PC", None), Err("use small letters a to z, digits and hyphens".to_owned()));
        assert!(question.read("-", None).is_err(), "this one has to have a name");
    }

    #[test]
    fn none_is_typed_as_a_hyphen() {
        let question =
            Question::text(Id::Dns, "dns", |text| list::<IpAddress>(text, &[' ', ','])).or_none("the router");
        assert_eq!(question.read("-", Some(&Reply::new("9.9.9.9"))), Ok(Reply::new("")));
        assert_eq!(question.shown(&Reply::new("")), "the router");
        assert_eq!(question.read("1.1.1.1  9.9.9.9,", None), Ok(Reply::new("1.1.1.1, 9.9.9.9")));
        assert!(question.read("1.1.1.1 x", None).is_err() && question.read(",", None).is_err());
        assert!(question.takes(&Reply::new("1.1.1.1, 9.9.9.9")));
    }

    #[test]
    fn choices_are_numbers_or_words_and_follow_the_rule() {
        let question = several();
        assert_eq!(question.read("2 1, 2", None), Ok(Reply::new("core media")));
        assert_eq!(question.read("Backup", None), Ok(Reply::new("backup")));
        assert_eq!(question.read("2", None), Err("media needs core".to_owned()));
        assert_eq!(question.read("4", None), Err("type a number from 1 to 3".to_owned()));
        assert_eq!(question.typed(&Reply::new("core backup")), "1 3");
        assert!(!question.takes(&Reply::new("core gone")) && question.takes(&Reply::new("")));
        let one = Question::one(Id::Reach, "reach", vec![Item::new("lan", "home"), Item::new("internet", "all")]);
        assert_eq!((one.read("1)", None), one.read("0", None).is_err()), (Ok(Reply::new("lan")), true));
    }

    #[test]
    fn a_secret_shows_nowhere() {
        let question = Question::password(Id::ConsolePassword, "password", For::Console);
        let reply = question.read("correct horse battery", None).unwrap();
        assert_eq!((question.shown(&reply), format!("{reply:?}")), (STARS.to_owned(), "a reply".to_owned()));
        assert!(question.read("1234567890", None).unwrap_err().contains("follow each other"));
        assert!(question.is_hidden() && question.is_hashed() == Some(For::Console));
    }
}
