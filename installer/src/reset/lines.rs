//! The plan as people read it before they approve it, and what the report says of it afterwards.

use super::plan::{Fate, ResetPlan, RoleFate, Scope};
use crate::adopt::plan::Target;
use crate::facts::Facts;
use crate::page::text::{INDENT, count, heading, row, wrap};
use crate::page::{contents, identity};

/// What is erased of the system disk.
const OWN: &str = "the accounts with their passwords and keys, the settings, the services with all their data, the logs, the \
                   secrets, and what lies on HEARTH";

impl ResetPlan {
    /// The plan for people, in lines of a console.
    pub fn lines(&self, facts: &Facts) -> Vec<String> {
        let mut out = wrap(
            "Plan: ",
            &format!("start over with \"{}\", as if Hearth had just been written to it.", self.hostname),
        );
        out.extend(heading("The system disk"));
        out.extend(found(&self.system, facts));
        out.extend(row("then", &format!("ERASED: {OWN}. Hearth itself stays, with its updates.")));
        for role in &self.roles {
            out.extend(of_role(role, facts));
        }
        out.push(String::new());
        if self.repositories {
            out.extend(wrap(
                "Backups   ",
                "the passwords of the repositories are ERASED. Without yours nobody opens a repository that is kept: \
                 they are in /etc/hearth/secrets now.",
            ));
        }
        let end = "Once approved, the machine restarts, erases, and starts in setup mode: nobody can log in, and it asks to be set \
                   up. There is no way back, and a power cut only delays it.";
        out.extend(wrap("", end));
        let erased = self.erased().len();
        let disks = match (self.scope, erased) {
            (Scope::KeepDisks, _) => "No other disk is touched.".to_owned(),
            (Scope::EraseAll, 1) => "1 other disk is ERASED.".to_owned(),
            (Scope::EraseAll, _) => format!("{} are ERASED.", count(erased, "other disk")),
        };
        out.extend(wrap("", &format!("{disks} Plan {}.", &self.digest().to_string()[..16])));
        out
    }

    /// What was done, a sentence each, where the disks `failed` could not be erased.
    pub fn sentences(&self, failed: &[Target]) -> Vec<String> {
        let system = format!("On {}, {}, was erased: {OWN}.", self.system.told(), self.system.size);
        let roles = self.roles.iter().map(|role| match role.fate {
            Fate::Erased if role.disks.iter().any(|disk| failed.contains(disk)) => {
                format!("{}: {}, NOT ERASED, see below.", role.places, role.what)
            }
            Fate::Erased => format!("{}: {}, ERASED.", role.places, role.what),
            Fate::Kept => format!("{}: {}, kept as it was.", role.places, role.what),
            Fate::Locked => {
                format!("{}: {}, kept, encrypted: only the recovery key of the kit opens it.", role.places, role.what)
            }
        });
        std::iter::once(system).chain(roles).collect()
    }
}

fn of_role(role: &RoleFate, facts: &Facts) -> Vec<String> {
    let mut out = heading(&format!("For {}", role.places));
    match role.disks.as_slice() {
        [] => out.extend(wrap(INDENT, &role.what)),
        [disk] => out.extend(found(disk, facts)),
        disks => {
            out.extend(wrap(INDENT, &role.what));
            out.extend(disks.iter().flat_map(|disk| found(disk, facts)));
        }
    }
    let then = match role.fate {
        Fate::Erased if role.disks.is_empty() => "ERASED, with all that is in it",
        Fate::Erased => "ERASED: all that is on it is lost",
        Fate::Kept => "kept as it is. The next setup can adopt it",
        Fate::Locked => {
            "kept as it is. It is encrypted, and its key is erased: only the recovery key of the kit opens it, on any Linux. \
             Hearth cannot adopt it"
        }
    };
    out.extend(row("then", &format!("{then}.")));
    out
}

/// The disk and what is on it now.
fn found(target: &Target, facts: &Facts) -> Vec<String> {
    let Some(disk) = facts.disks.iter().find(|disk| target.is(disk)) else {
        return wrap(INDENT, &format!("{}: not there", target.told()));
    };
    let mut out = wrap(INDENT, &format!("{}, {}", identity(disk), disk.size));
    out.extend(row("now", &contents(disk)));
    out
}
