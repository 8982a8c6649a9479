//! The questions of first boot. They make an answer file, the same that somebody could have
//! written at a desk: it is judged by the same rules, becomes a plan by the same code, and
//! once that is approved it is carried out on the same path. Nothing here knows how a
//! machine is set up.
//!
//! What is asked, and what a typed line makes of it, is pure: [`interview`]. This file talks:
//! lines out, lines in, so that a screen, a serial cable and a screen reader have the same.

mod attend;
mod backups;
mod disks;
mod encryption;
mod file;
mod interview;
mod keeper;
mod known;
mod machine;
mod mail;
mod names;
mod network;
mod people;
mod question;
mod replies;
mod session;
mod walk;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use zeroize::Zeroizing;

use crate::answers::{self, FILE_NAME, KeyboardLayout};
use crate::approval::Token;
use crate::exit::{Exit, Kind as _};
use crate::facts::{Disk, Facts, Mode};
use crate::layout::ADOPTED;
use crate::machine::real::Real;
use crate::machine::{Dev, Machine, Refresh};
use crate::page::text::{WIDTH, cut, wrap};
use crate::page::{GOES_BACK, Input, Talk, identity, pager, say_error, setup_follows_a_file};
use crate::render::identity::{TAKE_KEYBOARD, keyboard_file};
use crate::setup::{self, SEALED};
pub use attend::holder;
use attend::{Watched, agreed, alone, take_seat};
use interview::{Heard, Interview, Put};
pub use keeper::run as keep_session;
use known::Known;
use replies::Id;
pub use replies::Replies;
pub use session::Holder;

/// How often somebody may mistype an approval before the review comes back.
const TRIES: usize = 3;

/// The file that keeps answers without approving anything: setup does not look for that name.
const SAVED: &str = "hearth.saved.toml";

/// What stands above saved answers.
const SAVED_INTRODUCTION: &str = "\
# Answers that were saved before they were carried out, with ******** in place of each secret.
# Put the secrets in and call the file hearth.toml, and it sets up a machine without a question.

";

/// Asks everything, shows the plan, and has it carried out if it is approved. `replies` are
/// what was answered before; what is answered now is put there.
pub fn run(talk: &mut impl Talk, replies: &mut Replies) -> Result<()> {
    let mut machine = Real;
    let facts = machine.facts()?;
    if facts.mode != Some(Mode::Setup) {
        return Err(anyhow!("questions are asked in setup mode: restart, and choose setup in the boot menu"))
            .kind(Exit::Refused);
    }
    if Path::new(SEALED).exists() || Path::new(ADOPTED).exists() {
        return Err(anyhow!("Hearth runs from this disk already, and only a machine that is not set up is asked"))
            .kind(Exit::Refused);
    }
    if setup_follows_a_file() {
        bail!("an answer file is being followed at this moment: wait until it is through");
    }
    if !agreed(talk)? {
        return Ok(());
    }
    let seat = take_seat(replies);
    let Some(_only) = alone()? else {
        return talk.say("The other console is busy with a plan at this moment. Go on there, or try again.");
    };
    let known = Known::here();
    let interview = Interview::new(&facts, &known, answers::hash, replies.clone());
    Conversation { talk: &mut Watched::new(talk, seat), machine: &mut machine, interview, replies }.hold()
}

/// An interview with somebody who talks.
struct Conversation<'c, 't, 'f, T, M> {
    talk: &'c mut Watched<'t, T>,
    machine: &'c mut M,
    interview: Interview<'f>,
    replies: &'c mut Replies,
}

/// What was typed.
enum Typed {
    Line(Zeroizing<String>),
    /// Nobody is there any more, or somebody wants to leave.
    Gone,
}

impl<T: Talk, M: Machine> Conversation<'_, '_, '_, T, M> {
    fn hold(&mut self) -> Result<()> {
        let held = self.converse();
        self.talk.show_typing(true)?;
        held
    }

    fn converse(&mut self) -> Result<()> {
        self.introduce()?;
        loop {
            self.keep();
            let goes_on = match self.interview.put() {
                Some(put) => self.question(&put)?,
                None => self.review()?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Leaves the answers where another console finds them.
    fn keep(&mut self) {
        self.replies.clone_from(self.interview.replies());
        let at = self.interview.put().map(|put| format!("question {} of {}, {}", put.number, put.count, put.about));
        self.talk.keep(self.replies, at.as_deref().unwrap_or("the review"));
    }

    fn introduce(&mut self) -> Result<()> {
        self.talk.say("")?;
        let begun = if self.replies.is_empty() {
            "These questions make a plan for this machine. Nothing is changed until you approve it."
        } else {
            "Going on where the questions were left. Nothing is changed until you approve a plan."
        };
        self.paragraph("", begun)?;
        self.paragraph("", "Bringing a machine back from its backup, and repairing one, cannot be done here yet.")?;
        self.paragraph("", "Enter takes what stands in brackets. < goes back one question, ? says more, Ctrl-C leaves.")
    }

    fn paragraph(&mut self, first: &str, text: &str) -> Result<()> {
        self.talk.say_all(&wrap(first, text))
    }

    /// Puts a question until a line moves on from it; false if somebody leaves.
    fn question(&mut self, put: &Put) -> Result<bool> {
        self.tell(put)?;
        let mut listed = false;
        loop {
            let line = match self.answer(put, &mut listed)? {
                Typed::Line(line) => line,
                Typed::Gone => return Ok(false),
            };
            match self.interview.hear(&line) {
                Heard::Refused(why) => {
                    let end = if why.ends_with('?') { "" } else { "." };
                    self.paragraph("  ! ", &format!("Not taken: {why}{end}"))?;
                    // Passwords that differ are asked for from the start.
                    if self.interview.put().as_ref() != Some(put) {
                        return Ok(true);
                    }
                }
                Heard::Help => self.help(put)?,
                Heard::Back | Heard::OnceMore => return Ok(true),
                Heard::Leave => return Ok(false),
                Heard::Taken(id) => {
                    if id == Id::Keyboard {
                        self.take_keyboard()?;
                    }
                    return Ok(true);
                }
            }
        }
    }

    fn tell(&mut self, put: &Put) -> Result<()> {
        if put.prompt.starts_with("Once more") {
            return Ok(());
        }
        self.talk.say("")?;
        self.paragraph("", &format!("Question {} of {}: {}", put.number, put.count, put.about))?;
        put.text.iter().try_for_each(|text| self.paragraph("  ", text))
    }

    /// Has somebody answer: with the arrow keys where there is a list and the terminal can show it,
    /// else by a line. `listed` tells whether the items stand above already.
    fn answer(&mut self, put: &Put, listed: &mut bool) -> Result<Typed> {
        if let Some(mut list) = put.list() {
            loop {
                match self.talk.pick(&mut list, &mut || false)? {
                    None => break,
                    Some(Input::Line(line)) => return Ok(Typed::Line(Zeroizing::new(line))),
                    Some(Input::Interrupted) if !self.leaves()? => list = put.list().unwrap_or(list),
                    Some(_) => return Ok(Typed::Gone),
                }
            }
        }
        if !std::mem::replace(listed, true) {
            for (i, item) in put.items.iter().enumerate() {
                self.paragraph(&format!("  {}) ", i + 1), item)?;
            }
        }
        self.listen(&put.prompt, put.hidden)
    }

    fn help(&mut self, put: &Put) -> Result<()> {
        if !put.help.is_empty() {
            self.paragraph("  ? ", &put.help)?;
        }
        self.paragraph(
            "  ? ",
            "Enter alone takes what stands in brackets; - means none, where that may be. < goes back one question. \
             Ctrl-C leaves the questions, and what was answered stays until the machine is switched off.",
        )
    }

    /// Asks, and waits for a line.
    fn listen(&mut self, prompt: &str, hidden: bool) -> Result<Typed> {
        loop {
            // It stays so until the next question: a password is typed again before that is asked for.
            self.talk.show_typing(!hidden)?;
            self.talk.ask(prompt)?;
            match self.talk.hear(None)? {
                Input::Line(line) => return Ok(Typed::Line(Zeroizing::new(line))),
                Input::Interrupted if !self.leaves()? => {}
                _ => return Ok(Typed::Gone),
            }
        }
    }

    /// Whether somebody who pressed Ctrl-C leaves; perhaps it was to begin the line anew.
    fn leaves(&mut self) -> Result<bool> {
        self.talk.show_typing(true)?;
        self.talk.say("")?;
        self.talk.ask("Leave the questions? 0 leaves, Enter goes on: ")?;
        Ok(self.talk.hear(None)? != Input::Line(String::new()))
    }

    /// From now on the keyboard has the layout that was chosen.
    fn take_keyboard(&mut self) -> Result<()> {
        let Some(Ok(layout)) = self.interview.reply(&Id::Keyboard).map(str::parse::<KeyboardLayout>) else {
            return Ok(());
        };
        let done = self
            .machine
            .put_file(&keyboard_file(&layout))
            .and_then(|()| self.machine.refresh(&Refresh::Run(&TAKE_KEYBOARD)));
        match done {
            Ok(()) => Ok(()),
            // It will be there once the machine is set up; until then keys are where they were.
            Err(error) => self.paragraph("  ! ", &format!("The screen keeps its present layout: {error:#}.")),
        }
    }

    /// Shows every answer; false if somebody leaves, or once a plan is handed over.
    fn review(&mut self) -> Result<bool> {
        self.talk.show_typing(true)?;
        let mut lines = vec![String::new(), "Your answers:".to_owned()];
        for (i, row) in self.interview.rows().iter().enumerate() {
            lines.push(cut(&format!("  {:>2}) {:<20} {}", i + 1, row.about, row.answer), WIDTH));
        }
        // With the last rows: what follows them would push others away.
        lines.extend(wrap("", "A number changes that answer. p shows the plan, s saves the answers, < goes back."));
        let mut early = pager(self.talk, &lines)?.filter(|line| line != GOES_BACK);
        loop {
            let line = match early.take() {
                Some(line) => Zeroizing::new(line),
                None => match self.listen("Review [p]: ", false)? {
                    Typed::Line(line) => line,
                    Typed::Gone => return Ok(false),
                },
            };
            match line.as_str() {
                "" | "p" | "P" => return self.plan(),
                "s" | "S" => {
                    if let Err(error) = self.save() {
                        say_error(self.talk, &error)?;
                    }
                }
                "<" => {
                    self.interview.back();
                    return Ok(true);
                }
                row if row.parse().is_ok_and(|row| self.interview.change(row)) => return Ok(true),
                _ => self.paragraph("  ! ", "Type the number of an answer, p, s or <.")?,
            }
        }
    }

    fn save(&mut self) -> Result<()> {
        let facts = self.machine.facts()?;
        let disk =
            facts.boot_disk().context("Hearth cannot tell which disk it was started from").kind(Exit::Refused)?;
        let text = answers::scrub(&self.interview.file()).context("taking the secrets out of the answers")?;
        self.machine
            .put_hearth_file(&Dev::hearth(&disk.name), SAVED, format!("{SAVED_INTRODUCTION}{text}").as_bytes())
            .context("saving the answers")?;
        self.paragraph(
            "  ",
            &format!(
                "Saved on HEARTH as {SAVED}, with stars in place of secrets. Setup does not follow a file of that name."
            ),
        )
    }

    /// Makes the plan and has it approved; false once it is handed over, or if somebody leaves.
    fn plan(&mut self) -> Result<bool> {
        self.talk.say("")?;
        self.talk.say("Looking at the disks ...")?;
        let text = self.interview.file();
        let facts = self.machine.facts()?;
        let planned = answers::read(&text, FILE_NAME)
            .map_err(|problems| anyhow!("the answers do not fit together:\n{problems}"))
            .kind(Exit::Input)
            .and_then(|answers| setup::planned(self.machine, &facts, &answers));
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                say_error(self.talk, &error)?;
                self.talk.ask("Nothing was changed. Enter goes back to your answers: ")?;
                return Ok(matches!(self.talk.hear(None)?, Input::Line(_) | Input::Interrupted));
            }
        };
        self.talk.say("")?;
        let mut lines = planned.plan.lines(&facts);
        for (disk, becomes) in approvals(&facts, &planned.plan) {
            let token = token(disk);
            // The first follows the plan's last lines, and must not push any of them away.
            lines.extend(asked(disk, becomes, &token));
            if pager(self.talk, &lines)?.is_some() || !self.approved(&token)? {
                self.talk.say("Nothing was changed.")?;
                return Ok(true);
            }
            lines.clear();
        }
        self.talk.say("Approved. Writing the plan and restarting ...")?;
        setup::approve(self.machine, &facts, &text, planned)?;
        // systemd ends this process in its own time; until then nothing more is offered.
        while self.talk.hear(None)? != Input::Closed {}
        Ok(false)
    }

    /// Whether somebody who has looked at a disk agrees to what becomes of it.
    fn approved(&mut self, token: &Token) -> Result<bool> {
        for _ in 0..TRIES {
            match self.listen("Approve: ", false)? {
                Typed::Line(line) if token.accepts(&line) => return Ok(true),
                Typed::Line(line) if line.is_empty() || *line == "<" => return Ok(false),
                Typed::Line(_) => {
                    self.paragraph("  ! ", &format!("These are not the last characters of the {}.", token.of))?;
                }
                Typed::Gone => return Ok(false),
            }
        }
        Ok(false)
    }
}

/// What approves `disk`.
fn token(disk: &Disk) -> Token {
    let name = disk.by_id.first().cloned().unwrap_or_else(|| disk.name.clone());
    Token::for_disk(disk.serial.as_deref(), disk.wwn.as_deref(), ("name", name))
}

/// What stands above the question for it.
fn asked(disk: &Disk, becomes: &str, token: &Token) -> Vec<String> {
    let what = format!("{becomes}: {}, {} (now {})", identity(disk), disk.size, disk.path);
    let how = format!("{} Enter alone goes back.", token.question());
    [vec![String::new()], wrap("", &what), wrap("", &how)].concat()
}

/// The disks that have to be approved one by one, with what becomes of each: those that are
/// erased, and the one that Hearth will run from.
fn approvals<'f>(facts: &'f Facts, plan: &setup::plan::SetupPlan) -> Vec<(&'f Disk, &'static str)> {
    let disk = |name: &str| facts.disks.iter().find(|disk| disk.name == name);
    let erased: Vec<&Disk> = plan.erased().filter_map(|target| disk(&target.name)).collect();
    let system = disk(&plan.system.disk.name).filter(|system| !erased.iter().any(|disk| disk.name == system.name));
    let system = system.map(|disk| (disk, "Hearth stays on this disk"));
    erased.into_iter().map(|disk| (disk, "This disk is ERASED")).chain(system).collect()
}

#[cfg(test)]
mod tests;
