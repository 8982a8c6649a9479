use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::answers::Answers;
use crate::render::{base_name, golden};
use crate::units::Bytes;

const HASH: &str = "$argon2id$v=19$m=65536,t=3,p=4$qYZQ3bSSh8NWRfC0bQigIQ$WCWQ3sFGDLbWijsOsw9XYMUZqShpgF+GAE4jr3AOwks";

const MAIL: &str = "[mail]\nserver = \"smtp.example.org\"\nfrom = \"hearth@example.org\"\nto = [\"ada@example.org\"]\n\
                    security = \"tls\"\nusername = 'o: \"x'\npassword = \"open sesame\"\n";

fn render(answers: &Answers, lan: &[&str]) -> Vec<File> {
    let lan: Vec<IpNet> = lan.iter().map(|net| net.parse().unwrap()).collect();
    let base = base_name(answers.system.hostname.as_ref().unwrap(), answers.domain.as_ref());
    let cost = Cost::calibrated(Bytes::gib(8), Duration::from_millis(100));
    let portal = Portal { base: &base, lan: &lan, cost, mail: answers.mail.as_ref(), users: &answers.users };
    files(&portal).unwrap()
}

/// A machine without a domain, with people whose names are not easy on YAML.
fn awkward(more: &str) -> Answers {
    let user = |name: &str, display: &str, groups: &str| {
        format!(
            "[[users]]\nname = \"{name}\"\ndisplay-name = '{display}'\nemail = \"{name}@example.org\"\n\
             groups = [{groups}]\npassword-hash = \"{HASH}\"\n"
        )
    };
    let users = [
        user("no", "12", "\"admins\", \"users\""),
        user("true", "- # \"x\": {a}", "\"users\""),
        user("y", "1e3 \u{e9}\u{1f600} \\n", ""),
    ];
    golden::answers_with("stacks = [\"core\"]", &format!("[admin]\nlogin = \"no\"\n{}{more}", users.concat()))
}

fn parsed(file: &File) -> Value {
    serde_norway::from_str(std::str::from_utf8(&file.bytes).unwrap()).unwrap()
}

#[test]
fn with_a_domain_and_without_mail() {
    let files = render(&golden::answers("03-core-and-media"), &["192.168.1.23/24", "fd00:1::23/64"]);
    golden::check("authelia-domain", &files);
    assert!(files.iter().all(|file| file.mode == 0o600 && file.owner == Owner::AUTHELIA));
}

#[test]
fn without_a_domain_and_with_mail() {
    golden::check("authelia-mail", &render(&awkward(MAIL), &["10.0.0.5/8"]));
}

#[test]
fn what_is_not_allowed_is_denied() {
    let config = parsed(&render(&awkward(""), &["192.168.1.23/24"])[0]);
    assert_eq!(config["access_control"]["default_policy"], "deny");
    let rules = config["access_control"]["rules"].as_array().unwrap();
    let bypassed: Vec<&Value> = rules.iter().filter(|rule| rule["policy"] == "bypass").collect();
    assert_eq!(bypassed.len(), 1);
    assert_eq!(bypassed[0]["domain"], "auth.hearth.home.arpa");
    assert_eq!(rules[2]["policy"], "two_factor");
    assert_eq!(rules[2]["networks"][0], "lan");
    assert_eq!(config["access_control"]["networks"][0]["networks"][0], "192.168.1.0/24");
}

#[test]
fn without_a_measured_lan_nobody_reaches_what_is_for_it() {
    let config = parsed(&render(&awkward(""), &[])[0]);
    let rules = config["access_control"]["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["domain"] != "traefik.hearth.home.arpa"), "{rules:?}");
    assert!(config["access_control"].get("networks").is_none());
}

#[test]
fn passwords_are_reset_by_mail_or_not_at_all() {
    let disabled =
        |more| parsed(&render(&awkward(more), &[])[0])["authentication_backend"]["password_reset"]["disable"].clone();
    assert_eq!([disabled(""), disabled(MAIL)], [Value::Bool(true), Value::Bool(false)]);
}

#[test]
fn no_name_changes_what_it_means() {
    let answers = awkward(MAIL);
    let files = render(&answers, &[]);
    let people = parsed(&files[1]);
    let names: Vec<&String> = people["users"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["no", "true", "y"]);
    for user in &answers.users {
        let there = &people["users"][user.name.to_string()];
        assert_eq!(there["displayname"], user.display_name.to_string());
        assert_eq!(there["password"], HASH);
    }
    assert_eq!(people["users"]["no"]["groups"][0], "admins", "the admin is one of the people");
    let config = parsed(&files[0]);
    assert_eq!(config["notifier"]["smtp"]["username"], "o: \"x");
    assert!(!String::from_utf8_lossy(&files[0].bytes).contains("open sesame"), "the password is a file of its own");
}

/// The schemas are Authelia's own and not part of this project: `HEARTH_AUTHELIA_SCHEMAS` names the
/// folder with `configuration.json` and `user-database.json` of version 4.39.
#[test]
fn authelia_takes_both_files() {
    let Some(dir) = std::env::var_os("HEARTH_AUTHELIA_SCHEMAS").map(PathBuf::from) else {
        println!("skipped: HEARTH_AUTHELIA_SCHEMAS does not say where Authelia's schemas are");
        return;
    };
    let schema = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        jsonschema::draft202012::new(&serde_json::from_str(&text).unwrap()).unwrap()
    };
    let (config, people) = (schema("configuration.json"), schema("user-database.json"));
    for answers in [awkward(""), awkward(MAIL), golden::answers("03-core-and-media")] {
        let files = render(&answers, &["192.168.1.23/24"]);
        for (file, schema) in files.iter().zip([&config, &people]) {
            let errors: Vec<String> = schema.iter_errors(&parsed(file)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{file:?}: {errors:#?}");
        }
        let mut wrong = parsed(&files[0]);
        wrong["access_control"]["default_policy"] = "anybody".into();
        assert!(!config.is_valid(&wrong), "the schema checks something");
    }
}
