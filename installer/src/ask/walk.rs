//! Which questions there are, in their order: a walk through all of them with the replies
//! given so far, which decide what else is asked. It is made anew after each reply.

use super::known::Known;
use super::question::Question;
use super::replies::{Id, Replies, Reply};
use super::{disks, machine, mail, names, network, people};
use crate::facts::Facts;

/// What the questions are made from.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What this machine is.
    pub facts: &'a Facts,
    /// What the running system knows.
    pub known: &'a Known,
    /// What was answered so far.
    pub replies: &'a Replies,
}

/// Every question that is asked, in order.
#[derive(Debug)]
pub struct Walk<'a> {
    /// What they are made from.
    pub ground: Ground<'a>,
    /// The questions, each with its reply if that still answers it.
    pub asked: Vec<(Question<'a>, Option<&'a Reply>)>,
}

impl<'a> Walk<'a> {
    /// Goes through all questions.
    pub fn new(ground: Ground<'a>) -> Self {
        let mut walk = Self { ground, asked: Vec::new() };
        machine::ask(&mut walk);
        network::ask(&mut walk);
        people::ask(&mut walk);
        names::ask(&mut walk);
        mail::ask(&mut walk);
        disks::ask(&mut walk);
        walk
    }

    /// Asks `question`; gives the words that answer it: of the reply, or what Enter alone would
    /// give. Nothing where neither is there.
    pub fn ask(&mut self, question: Question<'a>) -> String {
        let reply = self.ground.replies.get(&question.id).filter(|reply| question.takes(reply));
        let words = reply.or(question.default.as_ref()).map(|reply| reply.text().to_owned());
        let words = if question.is_hidden() { None } else { words };
        self.asked.push((question, reply));
        words.unwrap_or_default()
    }

    /// The place of the question `id` among all.
    pub fn place(&self, id: &Id) -> Option<usize> {
        self.asked.iter().position(|(question, _)| question.id == *id)
    }

    /// The first question that is not answered.
    pub fn open(&self) -> Option<&Question<'a>> {
        self.asked.iter().find(|(_, reply)| reply.is_none()).map(|(question, _)| question)
    }

    /// The words of the reply to the question `id`: nothing where it is not asked, not answered, or
    /// answered by none.
    pub fn reply(&self, id: &Id) -> Option<&'a str> {
        let found = self.asked.iter().find(|(question, _)| question.id == *id);
        found.and_then(|(_, reply)| reply.map(Reply::text)).filter(|words| !words.is_empty())
    }
}
