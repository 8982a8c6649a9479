use std::cell::RefCell;
use std::fs;

use super::command::{carry_out, lines};
use super::*;
use crate::exit::code_of;

const HASH: &str = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g";

/// A portal of two, one of whom Authelia knows more of than Hearth.
fn portal() -> (tempfile::TempDir, Portal) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(FOLDER);
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "users:\n  ada:\n    disabled: false\n    displayname: Ada\n    password: {HASH}\n    email: ada@example.org\n    \
         groups:\n    - admins\n    extra:\n      theme: dark\n  bob:\n    disabled: false\n    displayname: Bob\n    \
         password: {HASH}\n    email: bob@example.org\n    groups:\n    - users\n"
    );
    fs::write(folder.join(PEOPLE), text).unwrap();
    let portal = Portal::open(dir.path()).unwrap();
    (dir, portal)
}

fn disable(name: &str) -> Command {
    Command::Disable { name: name.to_owned() }
}

#[test]
fn a_change_is_made_told_and_keeps_what_authelia_knows() {
    let (dir, portal) = portal();
    let told = RefCell::new(Vec::new());
    let note = |did: &str| -> Result<()> {
        told.borrow_mut().push(did.to_owned());
        Ok(())
    };
    carry_out(&disable("bob"), &portal, note).unwrap();
    let people = portal.read().unwrap().1.people();
    assert!(people[1].disabled && !people[0].disabled);
    assert_eq!(told.borrow()[..], ["disabled bob at the portal"]);
    let text = fs::read_to_string(dir.path().join(FOLDER).join(PEOPLE)).unwrap();
    assert!(text.contains("theme: dark") && text.matches(HASH).count() == 2, "{text}");
    carry_out(&Command::Enable { name: "bob".to_owned() }, &portal, note).unwrap();
    assert!(!portal.read().unwrap().1.people()[1].disabled);
}

#[test]
fn nobody_locks_the_last_admin_out_and_a_wrong_name_is_answered() {
    let (_dir, portal) = portal();
    let refused = |command: &Command| carry_out(command, &portal, |_| panic!("nothing was changed")).unwrap_err();
    let error = refused(&disable("ada"));
    assert_eq!(code_of(&error), Exit::Refused.code());
    assert!(error.to_string().contains("the last in the group \"admins\""), "{error}");
    let error = refused(&disable("bop"));
    assert_eq!(error.to_string(), "nobody is called bop at the portal. Did you mean bob?");
    assert_eq!(code_of(&error), Exit::Input.code());
}

#[test]
fn what_authelia_writes_meanwhile_is_not_lost() {
    let (dir, portal) = portal();
    let path = dir.path().join(FOLDER).join(PEOPLE);
    // Somebody resets a password at the portal, between our reading and our writing.
    let times = RefCell::new(0);
    let change = |list: &mut List| {
        *times.borrow_mut() += 1;
        if *times.borrow() == 1 {
            let text = fs::read_to_string(&path)?.replacen(HASH, "$argon2id$new", 1);
            fs::write(&path, text)?;
        }
        list.set_disabled("bob", true)
    };
    portal.change(change).unwrap();
    assert_eq!(*times.borrow(), 2);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("$argon2id$new") && text.contains("disabled: true"), "{text}");
    // Where it never rests, nothing is done.
    let restless = |list: &mut List| {
        let text = fs::read_to_string(&path)? + "# again\n";
        fs::write(&path, text)?;
        list.set_disabled("bob", false)
    };
    let error = portal.change(restless).unwrap_err();
    assert_eq!(code_of(&error), Exit::Environment.code());
    assert!(portal.read().unwrap().1.people()[1].disabled);
}

#[test]
fn a_password_is_hashed_as_the_portal_does() {
    let (dir, portal) = portal();
    assert!(portal.hash("correct horse").unwrap().expose().starts_with("$argon2id$v=19$m=65536,t=3,p=4$"));
    let own = "authentication_backend:\n  file:\n    password:\n      argon2:\n        iterations: 4\n        memory: 8192\n        parallelism: 2\n";
    fs::write(dir.path().join(FOLDER).join("configuration.yml"), own).unwrap();
    let hash = portal.hash("correct horse").unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=8192,t=4,p=2$"));
    portal.change(|list| list.set_password("bob", &hash)).unwrap();
    let error = portal.change(|list| list.set_password("eve", &hash)).unwrap_err();
    assert!(error.to_string().contains("nobody is called eve"), "{error}");
}

#[test]
fn somebody_new_is_as_setup_would_have_made_them() {
    let (dir, portal) = portal();
    let hash = Secret::new(HASH.to_owned());
    let (name, display_name) = ("eve".parse().unwrap(), "Eve \"E\" #1".parse().unwrap());
    let email = "eve@example.org".parse().unwrap();
    let new = list::New {
        name: &name,
        display_name: &display_name,
        email: &email,
        groups: &[crate::answers::Group::Users],
        hash: &hash,
    };
    portal.change(|list| list.add(&new)).unwrap();
    assert!(portal.change(|list| list.add(&new)).unwrap_err().to_string().contains("is there already"));
    assert_eq!(
        lines(&portal.read().unwrap().1.people()),
        [
            "name  state   groups  e-mail           shown as",
            "ada   active  admins  ada@example.org  Ada",
            "bob   active  users   bob@example.org  Bob",
            "eve   active  users   eve@example.org  Eve \"E\" #1",
        ]
    );
    let list = List::read(&fs::read(dir.path().join(FOLDER).join(PEOPLE)).unwrap()).unwrap();
    assert_eq!(list.people().len(), 3);
}

#[test]
fn a_machine_without_a_portal_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = Portal::open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("there is no portal on this machine"), "{error}");
    assert_eq!(code_of(&error), Exit::Refused.code());
    for wrong in ["users: [ada]\n", "a: 1\n", "{", ""] {
        assert!(List::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
