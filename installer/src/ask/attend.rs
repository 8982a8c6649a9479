//! How a console takes part in the one session: it says who answers the questions now, takes
//! the seat over if that is wanted, and lets go of the questions when somebody else does.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::replies::Replies;
use super::session::{self, Holder, SOCKET, Seat};
use crate::machine::real::only_one;
use crate::page::text::wrap;
use crate::page::{Input, List, Talk};

/// How often a console looks whether somebody has taken the seat.
const GLANCE: Duration = Duration::from_secs(1);

/// Who answers the questions at this moment, if somebody does.
pub fn holder() -> Option<Holder> {
    session::look(Path::new(SOCKET)).ok().flatten()
}

/// Whether this console may go on: nobody answers the questions, or they are to be taken over.
pub(super) fn agreed(talk: &mut impl Talk) -> Result<bool> {
    let Some(holder) = holder() else { return Ok(true) };
    talk.say_all(&wrap("", &format!("The questions are being answered on {}: {}.", holder.place, holder.at)))?;
    talk.ask("Enter goes on with them here, 0 goes back: ")?;
    Ok(talk.hear(None)? == Input::Line(String::new()))
}

/// Takes the session's seat, and the answers with it. None where nobody keeps a session: then this
/// console goes on by itself.
pub(super) fn take_seat(replies: &mut Replies) -> Option<Seat> {
    let (seat, kept) = Seat::take(Path::new(SOCKET), &place()).ok()?;
    if !kept.is_empty() {
        *replies = kept;
    }
    Some(seat)
}

/// This console, as people call it.
fn place() -> String {
    let path = nix::unistd::ttyname(std::io::stdin()).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.strip_prefix("tty") {
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => format!("the screen ({name})"),
        Some(_) => format!("the serial console ({name})"),
        None => "SSH".to_owned(),
    }
}

/// Nobody else approves anything as long as this is kept. Whoever had the seat notices soon.
pub(super) fn alone() -> Result<Option<impl fmt::Debug>> {
    let patience = Instant::now() + 4 * GLANCE;
    loop {
        let only = only_one()?;
        if only.is_some() || Instant::now() > patience {
            return Ok(only);
        }
        thread::sleep(GLANCE / 4);
    }
}

/// A console whose conversation ends when somebody goes on elsewhere.
pub(super) struct Watched<'t, T> {
    talk: &'t mut T,
    /// None where nobody keeps a session.
    seat: Option<Seat>,
    /// Somebody goes on elsewhere: from then on nothing that is typed here counts.
    lost: bool,
}

impl<'t, T> Watched<'t, T> {
    /// The console `talk`, for as long as it keeps `seat`.
    pub(super) fn new(talk: &'t mut T, seat: Option<Seat>) -> Self {
        Self { talk, seat, lost: false }
    }

    /// Somebody at `by` goes on.
    fn give_up(&mut self, by: &str) -> Result<Input>
    where
        T: Talk,
    {
        self.lost = true;
        self.talk.say("")?;
        self.talk.say(&format!("The questions go on at {by}."))?;
        Ok(Input::Closed)
    }

    /// Leaves the answers where another console finds them.
    pub(super) fn keep(&mut self, replies: &Replies, at: &str) {
        if let Some(seat) = &mut self.seat {
            // A keeper that is gone takes nothing from this console.
            let _ = seat.keep(replies, at);
        }
    }
}

impl<T: Talk> Talk for Watched<'_, T> {
    fn say(&mut self, line: &str) -> Result<()> {
        self.talk.say(line)
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        self.talk.ask(question)
    }

    fn hear(&mut self, patience: Option<Duration>) -> Result<Input> {
        let Some(seat) = &mut self.seat else { return self.talk.hear(patience) };
        if self.lost {
            return Ok(Input::Closed);
        }
        loop {
            match self.talk.hear(Some(GLANCE))? {
                Input::Nothing => {}
                input => return Ok(input),
            }
            if let Some(by) = seat.taken() {
                return self.give_up(&by);
            }
        }
    }

    fn pick(&mut self, list: &mut List, over: &mut dyn FnMut() -> bool) -> Result<Option<Input>> {
        if self.lost {
            return Ok(Some(Input::Closed));
        }
        let mut taken = None;
        let mut over = || {
            taken = self.seat.as_mut().and_then(Seat::taken);
            taken.is_some() || over()
        };
        let picked = self.talk.pick(list, &mut over)?;
        match taken {
            Some(by) => self.give_up(&by).map(Some),
            None => Ok(picked),
        }
    }

    fn show_typing(&mut self, shown: bool) -> Result<()> {
        self.talk.show_typing(shown)
    }
}
