//! The first page: what a person sees on a screen or a serial cable before anything
//! is set up. It tells what machine this is and offers a menu of what works now.

mod answers;
mod console;
mod door;
mod font;
mod list;
mod login;
pub mod text;
mod view;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

pub use answers::AnswerFile;
pub(crate) use answers::is_followed as setup_follows_a_file;
pub use console::{Console, Input, Talk};
pub(crate) use console::{GOES_BACK, pager};
pub use list::{List, Step};
pub use login::show_head;
pub use view::{Choice, DataState, Situation, contents, details, head, identity, page};

use crate::ask::{self, Replies};
use crate::claim::{self, Door};
use crate::facts::{Facts, Nic, gather, nics_now};
use crate::run::Cmd;
#[cfg(test)]
pub(crate) use console::script;

/// How often the page looks whether an address or a disk has come or gone.
const GLANCE: Duration = Duration::from_secs(5);

/// Where somebody looks at the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the machine: on its screen or its serial port.
    Console,
    /// Elsewhere, let in by SSH.
    Ssh,
}

/// Shows the page and does what is chosen, until the console is hung up or the
/// machine stops.
pub fn run(console: &mut Console, place: Place) -> Result<()> {
    font::enlarge();
    // What was answered stays while this console's page does.
    let mut replies = Replies::default();
    loop {
        let facts = match gather() {
            Ok(facts) => facts,
            Err(error) => {
                say_error(console, &error)?;
                match console.hear(Some(GLANCE))? {
                    Input::Closed => return Ok(()),
                    _ => continue,
                }
            }
        };
        let situation = crate::adopt::situation(&facts);
        let answers = AnswerFile::look(&facts);
        let door = Door::look();
        console.say_all(&page(&facts, &situation, &answers, door.as_ref().map(|door| (door, place))))?;
        let session = ask::holder().map(|holder| holder.place);
        if let Some(place) = &session {
            console.say_all(&text::wrap(
                "",
                &format!("The questions are being answered on {place}. Choice 1 tells more."),
            ))?;
        }
        let reopens = place == Place::Console && door.as_ref().is_some_and(|door| door.state.is_closed());
        let shown = Shown { door, session, reopens };
        match answer(console, &facts, &situation, &shown)? {
            // Only where the page said so before: whoever presses it has read what happened.
            Answer::Enter if reopens => claim::reopen()?,
            Answer::Enter | Answer::LookAgain => {}
            Answer::Gone => return Ok(()),
            Answer::Chosen(Choice::SetUp) => {
                if let Err(error) = ask::run(console, &mut replies) {
                    say_error(console, &error)?;
                    wait_for_enter(console)?;
                }
            }
            Answer::Chosen(Choice::RunHere) => {
                // A refusal or a failure is said here, and then the page comes back.
                if let Err(error) = crate::adopt::ask(console) {
                    say_error(console, &error)?;
                }
                wait_for_enter(console)?;
            }
            Answer::Chosen(Choice::Repair) => {
                if let Err(error) = crate::repair::ask(console, None) {
                    say_error(console, &error)?;
                }
                wait_for_enter(console)?;
            }
            Answer::Chosen(Choice::Details) => {
                show_details(console, &facts, &situation, &answers, shown.door.as_ref())?;
            }
            Answer::Chosen(Choice::Restart) => power(console, "Restarting.", "reboot")?,
            Answer::Chosen(Choice::PowerOff) => power(console, "Switching off.", "poweroff")?,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Chosen(Choice),
    Enter,
    LookAgain,
    Gone,
}

/// What the page said of SSH.
struct Shown {
    door: Option<Door>,
    /// Where the questions are being answered.
    session: Option<String>,
    /// Enter alone opens it again.
    reopens: bool,
}

/// Waits for a number from the menu; ends early if the machine has changed.
fn answer(console: &mut Console, facts: &Facts, situation: &Situation, shown: &Shown) -> Result<Answer> {
    let mut watch = Watch::new(&facts.nics, shown);
    let prompt = view::prompt(situation, shown.reopens);
    console.ask(&prompt)?;
    loop {
        match console.hear(Some(GLANCE))? {
            Input::Closed => return Ok(Answer::Gone),
            Input::Nothing if watch.changed() => {
                console.say("")?;
                return Ok(Answer::LookAgain);
            }
            Input::Interrupted => return Ok(Answer::LookAgain),
            Input::Nothing => {}
            Input::Line(line) if line.is_empty() => return Ok(Answer::Enter),
            Input::Line(line) => {
                if let Some(choice) = choice(&line, situation) {
                    return Ok(Answer::Chosen(choice));
                }
                console.say(&view::wrong(&line, situation))?;
                console.ask(&prompt)?;
            }
        }
    }
}

fn choice(line: &str, situation: &Situation) -> Option<Choice> {
    let number: usize = line.strip_suffix([')', '.']).unwrap_or(line).parse().ok()?;
    Choice::offered(situation).get(number.checked_sub(1)?).copied()
}

fn show_details(
    console: &mut Console,
    facts: &Facts,
    situation: &Situation,
    answers: &AnswerFile,
    door: Option<&Door>,
) -> Result<()> {
    let mut lines = answers.details();
    lines.extend(door.map(door::details).unwrap_or_default());
    if *situation == Situation::Setup {
        lines.extend(crate::repair::not_offered());
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(details(facts));
    pager(console, &lines)?;
    wait_for_enter(console)
}

pub(crate) fn say_error(talk: &mut impl Talk, error: &anyhow::Error) -> Result<()> {
    for (i, cause) in error.chain().enumerate() {
        let first = if i == 0 { "" } else { "  because: " };
        for line in cause.to_string().lines() {
            talk.say_all(&text::wrap(first, line))?;
        }
    }
    Ok(())
}

fn wait_for_enter(console: &mut Console) -> Result<()> {
    console.ask("Press Enter to go back: ")?;
    console.hear(None).map(drop)
}

fn power(console: &mut Console, words: &str, verb: &str) -> Result<()> {
    console.say(words)?;
    Cmd::new(words.trim_end_matches('.').to_lowercase(), "systemctl").arg(verb).run()?;
    // systemd ends this process in its own time; until then nothing more is offered.
    while console.hear(None)? != Input::Closed {}
    Ok(())
}

/// Notices that addresses, disks or people have come or gone, or that setup gave up.
struct Watch {
    seen: State,
    fresh: Option<State>,
}

type State = (Vec<Nic>, String, Option<Door>, [Option<String>; 2], Option<String>);

impl Watch {
    fn new(nics: &[Nic], shown: &Shown) -> Self {
        let (door, session) = (shown.door.clone(), shown.session.clone());
        Self { seen: (nics.to_vec(), disks(), door, came_of_answers(), session), fresh: None }
    }

    /// True once something differs and has stayed so between two looks: addresses come
    /// in bursts, and each new page pushes the previous one up.
    fn changed(&mut self) -> bool {
        // Without an answer from `ip` there is nothing new to show either.
        let Ok(nics) = nics_now() else { return false };
        let session = ask::holder().map(|holder| holder.place);
        let now = (nics, disks(), Door::look(), came_of_answers(), session);
        if now == self.seen {
            self.fresh = None;
            return false;
        }
        let settled = self.fresh.as_ref() == Some(&now);
        self.fresh = Some(now);
        settled
    }
}

fn came_of_answers() -> [Option<String>; 2] {
    [answers::failure(), answers::moved()]
}

fn disks() -> String {
    fs::read_to_string("/proc/partitions").unwrap_or_default()
}

/// Whether a person could sit at the terminal `tty`. Kernels offer `ttyS0` even where
/// no such hardware is.
pub fn is_usable(tty: &str) -> bool {
    let dir = Path::new("/sys/class/tty").join(tty);
    // Only serial ports have a type, and 0 is the type of none.
    dir.exists() && fs::read_to_string(dir.join("type")).map_or(true, |kind| kind.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_fits() {
        let error =
            anyhow::anyhow!("[too-small] {}", "a long reason ".repeat(12)).context("looking at the disk\nin vain");
        let mut talk = script::Script::new(&[]);
        say_error(&mut talk, &error).unwrap();
        assert_eq!(talk.said[..2], ["looking at the disk", "in vain"]);
        assert!(talk.said[2].starts_with("  because: [too-small] a long"));
        assert!(talk.said.iter().all(|line| line.len() <= text::WIDTH));
    }

    #[test]
    fn a_terminal_that_is_not_there_is_not_usable() {
        assert!(!is_usable("ttyS99999"));
        assert!(is_usable("tty") || !Path::new("/sys/class/tty/tty").exists());
    }

    #[test]
    fn only_numbers_on_the_menu_choose() {
        let setup = Situation::Setup;
        assert_eq!(choice("3", &Situation::Repairable), Some(Choice::Repair));
        assert_eq!(choice("1", &setup), Some(Choice::SetUp));
        assert_eq!(choice("2)", &setup), Some(Choice::RunHere));
        assert_eq!(choice("5", &setup), Some(Choice::PowerOff));
        for wrong in ["0", "6", "-1", "one", "1 2", "99999999999999999999"] {
            assert_eq!(choice(wrong, &setup), None, "{wrong}");
        }
        assert_eq!(choice("1", &Situation::Stopped(String::new())), Some(Choice::Details));
    }
}
