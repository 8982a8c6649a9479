use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

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
    let portal = Portal::open(dir.path(), Away::new(dir.path().join("away"))).unwrap();
    (dir, portal)
}

fn disable(name: &str) -> Command {
    Command::Disable { name: name.to_owned() }
}

/// The file as it lies there.
fn text(dir: &tempfile::TempDir) -> String {
    fs::read_to_string(dir.path().join(FOLDER).join(PEOPLE)).unwrap()
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
    let bob = portal.people().unwrap().remove(1);
    assert!(bob.name == "bob" && bob.disabled && bob.email == "bob@example.org");
    assert_eq!(told.borrow()[..], ["disabled bob at the portal"]);
    assert!(text(&dir).contains("theme: dark"), "{}", text(&dir));
    carry_out(&Command::Enable { name: "bob".to_owned() }, &portal, note).unwrap();
    assert!(!portal.people().unwrap()[1].disabled && text(&dir).matches(HASH).count() == 2);
}

#[test]
fn whoever_is_disabled_stays_so_whatever_authelia_writes() {
    let (dir, portal) = portal();
    let path = dir.path().join(FOLDER).join(PEOPLE);
    portal.disable("bob").unwrap();
    portal.disable("bob").unwrap();
    // Authelia leaves that out of what it writes, so what it writes must have nobody to let in.
    fs::write(&path, text(&dir).replace("disabled: true", "disabled: false")).unwrap();
    assert!(!text(&dir).contains("bob"), "{}", text(&dir));
    assert!(portal.people().unwrap()[1].disabled);
    let kept = dir.path().join("away/disabled.yml");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // They keep their place, and a password that they get meanwhile.
    let (name, display_name, email) =
        ("bob".parse().unwrap(), "Bob".parse().unwrap(), "bob@example.org".parse().unwrap());
    let new = Secret::new("$argon2id$new".to_owned());
    let another = New { name: &name, display_name: &display_name, email: &email, groups: &[], hash: &new };
    assert_eq!(code_of(&portal.add(&another).unwrap_err()), Exit::Refused.code());
    portal.set_password("bob", &new).unwrap();
    portal.enable("bob").unwrap();
    assert!(text(&dir).contains("$argon2id$new") && !fs::read_to_string(&kept).unwrap().contains("bob"));
    // One whom somebody disabled by hand, in the list itself.
    fs::write(
        &path,
        text(&dir).replace("disabled: false\n    displayname: Bob", "disabled: true\n    displayname: Bob"),
    )
    .unwrap();
    assert!(portal.people().unwrap()[1].disabled);
    portal.enable("bob").unwrap();
    assert!(!portal.people().unwrap()[1].disabled);
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
    // In vain, then done, then looked at.
    assert_eq!(*times.borrow(), 3);
    assert!(text(&dir).contains("$argon2id$new") && text(&dir).contains("disabled: true"), "{}", text(&dir));
    // Where it never rests, nothing is done.
    let restless = |list: &mut List| {
        let text = fs::read_to_string(&path)? + "# again\n";
        fs::write(&path, text)?;
        list.set_disabled("bob", false)
    };
    let error = portal.change(restless).unwrap_err();
    assert_eq!(code_of(&error), Exit::Environment.code());
    assert!(portal.people().unwrap()[1].disabled);
}

#[test]
fn a_change_that_authelia_did_not_hear_of_is_made_again() {
    let (dir, portal) = portal();
    let path = dir.path().join(FOLDER).join(PEOPLE);
    // It writes what it had read before, and its own change.
    let stale = text(&dir).replacen(HASH, "$argon2id$new", 1);
    let deaf = std::thread::spawn({
        let path = path.clone();
        move || {
            while fs::read_to_string(&path).unwrap().contains("bob") {
                thread::sleep(Duration::from_millis(5));
            }
            fs::write(&path, stale).unwrap();
        }
    });
    portal.disable("bob").unwrap();
    deaf.join().unwrap();
    assert!(text(&dir).contains("$argon2id$new") && !text(&dir).contains("bob"), "{}", text(&dir));
}

#[test]
fn a_list_that_is_being_written_is_waited_for() {
    let (dir, portal) = portal();
    let path = dir.path().join(FOLDER).join(PEOPLE);
    let whole = text(&dir);
    fs::write(&path, "").unwrap();
    let writer = std::thread::spawn(move || {
        thread::sleep(2 * WRITING);
        fs::write(&path, whole).unwrap();
    });
    assert_eq!(portal.people().unwrap().len(), 2);
    writer.join().unwrap();
}

#[test]
fn a_password_is_hashed_as_the_portal_does() {
    let (dir, portal) = portal();
    assert!(portal.hash("correct horse").unwrap().expose().starts_with("$argon2id$v=19$m=65536,t=3,p=4$"));
    let own = "authentication_backend:\n  file:\n    password:\n      argon2:\n        iterations: 4\n        memory: 8192\n        parallelism: 2\n";
    fs::write(dir.path().join(FOLDER).join("configuration.yml"), own).unwrap();
    let hash = portal.hash("correct horse").unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=8192,t=4,p=2$"));
    portal.set_password("bob", &hash).unwrap();
    let error = portal.set_password("eve", &hash).unwrap_err();
    assert!(error.to_string().contains("nobody is called eve"), "{error}");
}

#[test]
fn somebody_new_is_as_setup_would_have_made_them() {
    let (dir, portal) = portal();
    let hash = Secret::new(HASH.to_owned());
    let (name, display_name) = ("eve".parse().unwrap(), "Eve \"E\" #1".parse().unwrap());
    let email = "eve@example.org".parse().unwrap();
    let new = New {
        name: &name,
        display_name: &display_name,
        email: &email,
        groups: &[crate::answers::Group::Users],
        hash: &hash,
    };
    portal.add(&new).unwrap();
    assert!(portal.add(&new).unwrap_err().to_string().contains("is there already"));
    assert_eq!(
        lines(&portal.people().unwrap()),
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
    let error = Portal::open(dir.path(), Away::new(dir.path())).err().unwrap();
    assert!(error.to_string().contains("there is no portal on this machine"), "{error}");
    assert_eq!(code_of(&error), Exit::Refused.code());
    for wrong in ["users: [ada]\n", "a: 1\n", "{", ""] {
        assert!(List::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
