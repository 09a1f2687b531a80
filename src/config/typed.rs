//! From what a source says to what it means: one function for each kind of value.

use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::keys::{self, MOUNT_KEYS, NAMESPACE_KEYS};
use super::{MountEntry, Origin, Surroundings, absolute, parse_transport, wrong};
use crate::error::Result;
use crate::model::Principal;
use crate::policy::Namespace;

/// A value, and enough about it to say what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a Value,
    pub(super) origin: &'a Origin,
}

impl Said<'_> {
    fn refuse<T>(self, why: impl Into<String>) -> Result<T> {
        Err(wrong(self.origin, self.key, why))
    }

    pub(super) fn text(self) -> Result<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            _ => self.refuse("a text is needed; put it in quotes"),
        }
    }

    /// `true` or `false`, also as the text that a variable gave.
    pub(super) fn flag(self) -> Result<bool> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
            Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
            _ => self.refuse("it is either true or false"),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(self, least: u64, most: u64) -> Result<u64> {
        let number = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(number),
            None => self.refuse(format!("a whole number from {least} to {most} is needed")),
        }
    }

    /// An absolute path: a relative one is taken from the directory of the file that says it, or from the working
    /// directory; a leading `~/` is the home directory.
    pub(super) fn path(self, surroundings: &Surroundings) -> Result<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            return self.refuse("it is empty");
        }
        if let (Some(below), Some(home), Origin::File(_)) = (text.strip_prefix("~/"), &surroundings.home, self.origin) {
            return Ok(absolute(home, Path::new(below)));
        }
        let base = match self.origin {
            Origin::File(file) => file.parent().unwrap_or(Path::new("/")),
            _ => &surroundings.working_directory,
        };
        Ok(absolute(base, Path::new(&text)))
    }

    pub(super) fn namespaces(self) -> Result<Vec<Namespace>> {
        let entry = |item: Item<'_>| {
            let mut namespace = Namespace::new(String::new());
            for said in item.fields(NAMESPACE_KEYS)? {
                let said = said.as_said(self.origin);
                match said.key.rsplit('.').next() {
                    Some("name") => namespace.name = said.text()?,
                    Some("readonly") => namespace.readonly = said.flag()?,
                    Some("admin_only") => namespace.admin_only = said.flag()?,
                    _ => namespace.requires_tenant = said.flag()?,
                }
            }
            if namespace.name.is_empty() { item.refuse("it has no name") } else { Ok(namespace) }
        };
        self.items()?.into_iter().map(entry).collect()
    }

    /// `inherited`: tenant and agent where an entry names neither. Being an administrator is never inherited.
    pub(super) fn mounts(self, inherited: &Principal, surroundings: &Surroundings) -> Result<Vec<MountEntry>> {
        let entry = |item: Item<'_>| {
            let (mut mountpoint, mut options) = (None, Vec::new());
            let (mut tenant, mut agent, mut is_admin) = (None, None, false);
            let (mut read_only, mut allow_other, mut transport) = (false, false, None);
            for said in item.fields(MOUNT_KEYS)? {
                let said = said.as_said(self.origin);
                match said.key.rsplit('.').next() {
                    Some("mountpoint") => mountpoint = Some(said.path(surroundings)?),
                    Some("tenant_id") => tenant = Some(said.text()?),
                    Some("agent_id") => agent = Some(said.text()?),
                    Some("is_admin") => is_admin = said.flag()?,
                    Some("read_only") => read_only = said.flag()?,
                    Some("allow_other") => allow_other = said.flag()?,
                    Some("transport") => transport = Some(parse_transport(said)?),
                    _ => options = said.words()?,
                }
            }
            if tenant.is_none() && agent.is_none() {
                tenant = inherited.tenant().map(str::to_owned);
                agent = inherited.agent().map(str::to_owned);
            }
            let principal = Principal::new(tenant, agent, is_admin)
                .map_err(|e| wrong(self.origin, &item.key, e.context().to_owned()))?;
            let Some(mountpoint) = mountpoint else { return item.refuse("it has no mountpoint") };
            Ok(MountEntry { mountpoint, principal, read_only, allow_other, transport, options })
        };
        let mounts: Vec<MountEntry> = self.items()?.into_iter().map(entry).collect::<Result<_>>()?;
        for (at, mount) in mounts.iter().enumerate() {
            if mounts[..at].iter().any(|before| before.mountpoint == mount.mountpoint) {
                return self.refuse(format!("{} is named twice", mount.mountpoint.display()));
            }
        }
        Ok(mounts)
    }

    /// Mount options: words in a list, or separated by commas.
    fn words(self) -> Result<Vec<String>> {
        match self.value {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Sequence(items) => {
                let word = |value| Said { value, ..self }.text();
                items.iter().map(word).collect()
            }
            _ => self.refuse("a list of mount options is needed"),
        }
    }

    fn items(&self) -> Result<Vec<Item<'_>>> {
        let Value::Sequence(items) = self.value else { return self.refuse("a list is needed") };
        let mut found = Vec::new();
        for (at, value) in items.iter().enumerate() {
            let key = format!("{}[{at}]", self.key);
            let Value::Mapping(fields) = value else {
                return Err(wrong(self.origin, &key, "'key: value' lines are needed"));
            };
            found.push(Item { key, fields, origin: self.origin });
        }
        Ok(found)
    }
}

/// One entry of a list.
#[derive(Debug)]
struct Item<'a> {
    key: String,
    fields: &'a Mapping,
    origin: &'a Origin,
}

/// One line of an entry.
struct Field<'a> {
    key: String,
    value: &'a Value,
}

impl Field<'_> {
    fn as_said<'a>(&'a self, origin: &'a Origin) -> Said<'a> {
        Said { key: &self.key, value: self.value, origin }
    }
}

impl<'a> Item<'a> {
    fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(wrong(self.origin, &self.key, why))
    }

    /// The lines that say something, all of which are known.
    fn fields(&self, known: &[&str]) -> Result<Vec<Field<'a>>> {
        let mut fields = Vec::new();
        for (key, value) in self.fields {
            let Value::String(key) = key else { return self.refuse("a key is not a word") };
            if !known.contains(&key.as_str()) {
                return Err(keys::unknown(key, known, &format!("in {} ", self.key), self.origin));
            }
            if !value.is_null() {
                fields.push(Field { key: format!("{}.{key}", self.key), value });
            }
        }
        Ok(fields)
    }
}
