//! What is kept in the history of the stacks' folder: an allow-list, so that a file nobody
//! thought of is left out rather than in. Values, passwords and databases lie beside what is
//! kept, and a history never forgets.

use super::File;

/// The folder with a folder for each stack.
pub const DIR: &str = "/opt/stacks";

/// What Git keeps. Later lines count more: each level is shut, and then what is wanted is let in.
const IGNORE: &str = "\
# Only what is named here is kept in the history of this folder. It is an allow-list:
# .env files, keys, passwords and databases are never in it. A line that begins with
# an exclamation mark names what is kept.
/*
!/.gitignore
!/README.md
!/*/
/*/*
!/*/README.md
!/*/compose*.yml
!/*/compose*.yaml
!/*/docker-compose*.yml
!/*/docker-compose*.yaml
/*/*/*
";

/// Configuration without secrets that is kept as well. It is added by its name: a folder that is let
/// in here could let more in by a .gitignore of its own, and this one is a container's.
pub const NAMED: &str = "core/authelia/configuration.yml";

/// The file that says what is kept.
pub fn ignore() -> File {
    File::public(format!("{DIR}/.gitignore"), IGNORE)
}
