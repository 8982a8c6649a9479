//! Authelia's list of people. What is in it that Hearth does not know is kept as it is.

use anyhow::{Context as _, Result, anyhow};
use serde_norway::{Mapping, Value};

use crate::answers::{DisplayName, EmailAddress, Group, LoginName, Secret};
use crate::exit::{Exit, Kind as _};
use crate::nearest::nearest;

/// The list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List(Mapping);

/// Somebody, as people are shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) email: String,
    pub(super) groups: Vec<String>,
    pub(super) disabled: bool,
}

impl Person {
    fn is_active_admin(&self) -> bool {
        !self.disabled && self.groups.iter().any(|group| group == Group::Admins.word())
    }
}

/// What is told of somebody new.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) name: &'a LoginName,
    pub(super) display_name: &'a DisplayName,
    pub(super) email: &'a EmailAddress,
    pub(super) groups: &'a [Group],
    pub(super) hash: &'a Secret<String>,
}

impl List {
    /// A list of nobody.
    pub(super) fn empty() -> Self {
        Self(Mapping::from_iter([("users".into(), Mapping::new().into())]))
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let whole: Mapping = serde_norway::from_slice(bytes).context("it is no list of people in YAML")?;
        if !whole.get("users").is_some_and(Value::is_mapping) {
            return Err(anyhow!("it has no table `users`"));
        }
        Ok(Self(whole))
    }

    pub(super) fn text(&self) -> Result<zeroize::Zeroizing<String>> {
        serde_norway::to_string(&self.0).map(zeroize::Zeroizing::new).context("writing the list of people")
    }

    /// Everybody, in the order of the file.
    pub(super) fn people(&self) -> Vec<Person> {
        let text = |one: &Value, key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let person = |(name, one): (&Value, &Value)| Person {
            name: name.as_str().unwrap_or_default().to_owned(),
            display_name: text(one, "displayname"),
            email: text(one, "email"),
            groups: (one.get("groups").and_then(Value::as_sequence).into_iter().flatten())
                .filter_map(|group| group.as_str().map(str::to_owned))
                .collect(),
            disabled: one.get("disabled").and_then(Value::as_bool).unwrap_or(false),
        };
        self.0.get("users").and_then(Value::as_mapping).into_iter().flatten().map(person).collect()
    }

    /// What is told of `name`, if anything is.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get("users")?.get(name)
    }

    /// Adds somebody whose name is free; who was added already stays as they are.
    pub(super) fn add(&mut self, new: &New<'_>) -> Result<()> {
        let name = new.name.to_string();
        let groups: Vec<Value> = new.groups.iter().map(|group| group.word().into()).collect();
        let person = Mapping::from_iter([
            ("disabled".into(), false.into()),
            ("displayname".into(), new.display_name.to_string().into()),
            ("password".into(), new.hash.expose().as_str().into()),
            ("email".into(), new.email.to_string().into()),
            ("groups".into(), groups.into()),
        ]);
        self.put(&name, person.into())
    }

    /// Puts somebody in of whom `person` tells, unless they are there.
    pub(super) fn put(&mut self, name: &str, person: Value) -> Result<()> {
        self.users()?.entry(name.into()).or_insert(person);
        Ok(())
    }

    /// Takes somebody out and gives what was told of them: not the last who may rule the portal.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Value>> {
        let people = self.people();
        let mut admins = people.iter().filter(|person| person.is_active_admin());
        if admins.next().is_some_and(|admin| admin.name == name) && admins.next().is_none() {
            let text = format!(
                "{name} is the last in the group \"admins\" who may log in: nobody could reach the portal's pages for \
                 admins any more. Add another one first"
            );
            return Err(anyhow!(text)).kind(Exit::Refused);
        }
        Ok(self.users()?.shift_remove(name))
    }

    pub(super) fn set_password(&mut self, name: &str, hash: &Secret<String>) -> Result<()> {
        self.person(name)?.insert("password".into(), hash.expose().as_str().into());
        Ok(())
    }

    pub(super) fn set_disabled(&mut self, name: &str, disabled: bool) -> Result<()> {
        self.person(name)?.insert("disabled".into(), disabled.into());
        Ok(())
    }

    fn users(&mut self) -> Result<&mut Mapping> {
        self.0.get_mut("users").and_then(Value::as_mapping_mut).context("the list has no table `users`").kind(Exit::Io)
    }

    fn person(&mut self, name: &str) -> Result<&mut Mapping> {
        let person = self.users()?.get_mut(name).and_then(Value::as_mapping_mut);
        person.with_context(|| format!("what the list tells of {name} is no table")).kind(Exit::Io)
    }
}

/// Refuses a name that one of `people` has.
pub(super) fn require_free(people: &[Person], name: &str) -> Result<()> {
    if people.iter().all(|person| person.name != name) {
        return Ok(());
    }
    Err(anyhow!("{name} is there already. `hearth user passwd {name}` gives a new password")).kind(Exit::Refused)
}

/// Refuses a name that none of `people` has, with the one that was meant.
pub(super) fn require(people: &[Person], name: &str) -> Result<()> {
    if people.iter().any(|person| person.name == name) {
        return Ok(());
    }
    let meant = nearest(name, people.iter().map(|person| person.name.as_str()));
    let meant = meant
        .map_or_else(|| "`hearth user list` shows everybody.".to_owned(), |meant| format!("Did you mean {meant}?"));
    Err(anyhow!("nobody is called {name} at the portal. {meant}")).kind(Exit::Input)
}
