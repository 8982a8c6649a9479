//! Where an interview stands: which question is next, and what a line that is typed makes
//! of it. Pure: what is typed comes in, what is to be said comes out, and the same lines
//! lead to the same place on any console.

use zeroize::Zeroizing;

use super::file;
use super::known::Known;
use super::replies::{Id, Replies, Reply};
use super::walk::{Ground, Walk};
use crate::answers::For;
use crate::facts::Facts;
use crate::page::List;
use crate::page::text::capital;

/// Makes the hash of a password. Two of one password differ, so it is no part of what is pure.
pub type Hasher = fn(&str, For) -> anyhow::Result<String>;

/// An interview.
pub struct Interview<'a> {
    facts: &'a Facts,
    known: &'a Known,
    hash: Hasher,
    replies: Replies,
    at: At,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At this question.
    Question(Id),
    /// At this one, which wants what was typed once more.
    Again(Id, Zeroizing<String>),
    /// At the end: everything is answered.
    Review,
}

/// What a line made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answered this question.
    Taken(Id),
    /// It has to be typed once more.
    OnceMore,
    /// It is no answer; this says why.
    Refused(String),
    /// Somebody wants to know more about the question.
    Help,
    /// Somebody goes to the question before.
    Back,
    /// Somebody goes back from the first question.
    Leave,
}

/// A question as it is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Counted from 1.
    pub number: usize,
    /// Of how many; what is answered may change it.
    pub count: usize,
    /// What it is about.
    pub about: String,
    /// What is asked, a paragraph each.
    pub text: Vec<String>,
    /// What can be chosen.
    pub items: Vec<String>,
    /// Whether any number of them may be.
    pub several: bool,
    /// Which of them Enter alone takes, counted from 0.
    pub marked: Vec<usize>,
    /// What stands before the answer.
    pub prompt: String,
    /// What `?` says.
    pub help: String,
    /// Whether what is typed must not show.
    pub hidden: bool,
}

impl Put {
    /// What can be chosen, for a terminal that can show it; nothing if a text is asked for.
    pub fn list(&self) -> Option<List> {
        match (self.items.is_empty(), self.several) {
            (true, _) => None,
            (false, true) => Some(List::several(&self.items, &self.marked)),
            (false, false) => Some(List::one(&self.items, self.marked.first().copied())),
        }
    }
}

/// An answer in the review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub about: String,
    /// The answer as it is shown.
    pub answer: String,
}

impl<'a> Interview<'a> {
    /// Goes on from `replies`, at the first question that they leave open.
    pub fn new(facts: &'a Facts, known: &'a Known, hash: Hasher, replies: Replies) -> Self {
        let mut interview = Self { facts, known, hash, replies, at: At::Review };
        interview.at = interview.next();
        interview
    }

    fn walk(&self) -> Walk<'_> {
        Walk::new(Ground { facts: self.facts, known: self.known, replies: &self.replies })
    }

    fn next(&self) -> At {
        self.walk().open().map_or(At::Review, |question| At::Question(question.id.clone()))
    }

    /// What was answered.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// The words of a reply, unless they are secret.
    pub fn reply(&self, id: &Id) -> Option<&str> {
        let walk = self.walk();
        let question = walk.asked.iter().find(|(question, _)| question.id == *id);
        question.filter(|(question, _)| !question.is_hidden())?;
        self.replies.get(id).map(Reply::text)
    }

    /// The question that it stands at.
    pub fn put(&self) -> Option<Put> {
        let (id, again) = match &self.at {
            At::Question(id) => (id, false),
            At::Again(id, _) => (id, true),
            At::Review => return None,
        };
        let walk = self.walk();
        let place = walk.place(id)?;
        let (question, reply) = &walk.asked[place];
        let kept = reply.or(question.default.as_ref()).filter(|_| !again);
        let bracket = kept.map(|reply| format!(" [{}]", question.typed(reply))).unwrap_or_default();
        let prompt = match (again, question.wants()) {
            (true, _) => "Once more: ".to_owned(),
            (false, "") => format!("{}{bracket}: ", capital(&question.about)),
            (false, wants) => format!("{wants}{bracket}: "),
        };
        Some(Put {
            number: place + 1,
            count: walk.asked.len(),
            about: question.about.clone(),
            text: question.text.clone(),
            items: question.items().iter().map(|item| item.told.clone()).collect(),
            several: question.is_several(),
            marked: kept.map(|reply| question.marked(reply)).unwrap_or_default(),
            prompt,
            help: question.help.clone(),
            hidden: question.is_hidden(),
        })
    }

    /// Takes a line that was typed at a question.
    pub fn hear(&mut self, line: &str) -> Heard {
        match (line, self.at.clone()) {
            ("<", _) => self.back(),
            ("?", _) | (_, At::Review) => Heard::Help,
            (_, At::Question(id)) => self.first(id, line),
            (_, At::Again(id, first)) => self.again(id, &first, line),
        }
    }

    /// To the question before this one. What was answered stays.
    pub fn back(&mut self) -> Heard {
        let Some(id) = self.before() else { return Heard::Leave };
        self.at = At::Question(id);
        Heard::Back
    }

    fn before(&self) -> Option<Id> {
        let walk = self.walk();
        let place = match &self.at {
            At::Again(id, _) => return Some(id.clone()),
            At::Question(id) => walk.place(id)?,
            At::Review => walk.asked.len(),
        };
        walk.asked.get(place.checked_sub(1)?).map(|(question, _)| question.id.clone())
    }

    /// To the question in this row of the review, counted from 1; false if there is no such row.
    pub fn change(&mut self, row: usize) -> bool {
        let id = row.checked_sub(1).and_then(|row| Some(self.walk().asked.get(row)?.0.id.clone()));
        let found = id.is_some();
        self.at = id.map_or(At::Review, At::Question);
        found
    }

    fn first(&mut self, id: Id, line: &str) -> Heard {
        match self.read(&id, line) {
            Err(why) => Heard::Refused(why),
            Ok((reply, false)) => self.take(id, reply),
            Ok((reply, true)) => {
                self.at = At::Again(id, Zeroizing::new(reply.text().to_owned()));
                Heard::OnceMore
            }
        }
    }

    /// The reply that `line` is to the question `id`, and whether it has to be typed twice.
    fn read(&self, id: &Id, line: &str) -> Result<(Reply, bool), String> {
        let walk = self.walk();
        let (question, present) = walk.place(id).map(|place| &walk.asked[place]).ok_or("this is not asked any more")?;
        let kept = line.is_empty() && present.is_some();
        Ok((question.read(line, *present)?, question.is_twice() && !kept))
    }

    fn again(&mut self, id: Id, first: &str, line: &str) -> Heard {
        let kept = {
            let walk = self.walk();
            match walk.place(&id).map(|place| &walk.asked[place].0) {
                None => Err("this is not asked any more".to_owned()),
                Some(_) if line != first => Err("the two differ; type it twice, from the start".to_owned()),
                Some(question) => match question.is_hashed() {
                    Some(whom) => (self.hash)(line, whom).map_err(|error| format!("{error:#}")),
                    None => Ok(first.to_owned()),
                },
            }
        };
        match kept {
            Ok(kept) => self.take(id, Reply::new(kept)),
            Err(why) => {
                self.at = At::Question(id);
                Heard::Refused(why)
            }
        }
    }

    fn take(&mut self, id: Id, reply: Reply) -> Heard {
        self.replies.put(id.clone(), reply);
        self.at = self.next();
        Heard::Taken(id)
    }

    /// Every answer, for the review.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(question, reply): &(super::question::Question<'_>, Option<&Reply>)| Row {
            about: question.about.clone(),
            answer: reply.map_or_else(|| "not answered".to_owned(), |reply| question.shown(reply)),
        };
        self.walk().asked.iter().map(row).collect()
    }

    /// The answer file; whole once this stands at the review.
    pub fn file(&self) -> Zeroizing<String> {
        file::write(&self.walk())
    }
}

impl std::fmt::Debug for Interview<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an interview with {:?}", self.replies)
    }
}
