//! What is left of the answers: `/etc/hearth/hearth.toml`, which says what the machine is now,
//! and the user's own file, with the secrets taken out of both.
//!
//! A secret becomes stars, which no answer file may hold: neither text can set up a machine
//! whose passphrase is then known to every reader of these lines.

use super::{File, Owner};
use crate::answers::{Answers, DiskChoice, Prepare, ThisDisk, scrub};

/// Where the present truth lies.
pub const PATH: &str = "/etc/hearth/hearth.toml";

const INTRODUCTION: &str = "\
# What this machine is, as it was last set up. `hearth change` starts from here.
# Where ******** stands is a secret; those that are needed again lie in /etc/hearth/secrets.

";

/// The present truth: the answers, without secrets and without what was allowed only once.
pub fn truth(answers: &Answers) -> Result<File, toml::ser::Error> {
    let text = toml::to_string(&carried_out(answers))?;
    Ok(File::private(PATH, Owner::ROOT, format!("{INTRODUCTION}{text}")))
}

/// What to answer so that nothing changes: disks that were formatted are taken as they are.
fn carried_out(answers: &Answers) -> Answers {
    let mut now = answers.clone();
    now.erase.clear();
    now.recover = None;
    now.system.disk = DiskChoice::This(ThisDisk::This);
    for disk in &mut now.disks {
        if disk.prepare == Prepare::Erase {
            disk.prepare = Prepare::Adopt;
            disk.file_system = None;
        }
    }
    now
}

/// The user's file `text`, as it is put back on the stick on `date`. Fails where it is no TOML.
pub fn done(text: &str, date: &str) -> Result<String, toml::de::Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut out = String::new();
    for line in [
        &format!("# Hearth took these answers on {date}, and the secrets out of this file: that is where"),
        "# ******** stands. It does not know what is in comments; remove what is secret in them.",
        "",
    ] {
        out.push_str(line);
        out.push_str(end);
    }
    out.push_str(&scrub(text)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers;
    use crate::render::golden;

    fn text(file: &File) -> String {
        String::from_utf8(file.bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_truth_has_no_secrets_and_formats_nothing() {
        let truth = truth(&golden::answers("04-other-disk-encrypted")).unwrap();
        golden::check("present-truth", std::slice::from_ref(&truth));
        let text = text(&truth);
        let problems = answers::read(&text, "truth").unwrap_err();
        assert!(problems.to_string().contains("holds the stars"), "{problems}");
        // With the one secret back it is an answer file, and one that erases nothing.
        let again = answers::read(&text.replace("********", "271828"), "truth").unwrap();
        assert_eq!(carried_out(&again), again);
        assert!(again.erase.is_empty() && again.disks.len() == 2);
    }

    #[test]
    fn the_truth_of_a_recovered_machine_recovers_nothing() {
        let text = text(&truth(&golden::answers("09-recover")).unwrap());
        assert!(!text.contains("recover"), "{text}");
    }

    #[test]
    fn the_file_of_the_user_stays_as_it_was() {
        let text = include_str!("../../fixtures/answers/good/03-core-and-media.toml");
        let done = done(text, "2026-11-24").unwrap();
        golden::check_text("present-done", &done);
        assert!(answers::read(&done, "done").unwrap_err().to_string().contains("holds the stars"));
    }

    #[test]
    fn windows_line_ends_stay() {
        let done = done("\u{feff}version = 1\r\nmail.password = 'x'\r\n", "2026-11-24").unwrap();
        assert_eq!(done.matches('\n').count(), done.matches("\r\n").count());
        assert!(done.ends_with("version = 1\r\nmail.password = \"********\"\r\n") && done.starts_with('#'), "{done}");
    }
}
