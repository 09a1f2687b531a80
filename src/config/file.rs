//! A configuration file as a source.
//!
//! A relative path is taken from the directory of the file, so that a file means the same wherever a command is
//! started; a leading `~/` is the home directory. `./nexus.yaml` is read only if nobody but its reader could have
//! written it: a working directory is often a place where others write.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::keys::{self, KEYS};
use super::{Layer, Origin, Surroundings, absolute, expand, wrong};
use crate::advice;
use crate::error::{Error, ErrorKind, Result};

/// The name of a configuration file in the working directory.
const LOCAL_NAME: &str = "nexus.yaml";

/// A configuration is written by hand: more than this is another file under its name.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the first configuration file that exists says.
pub(super) fn first(surroundings: &Surroundings) -> Result<Layer> {
    let local = surroundings.working_directory.join(LOCAL_NAME);
    if let Some(text) = read(&local, Some(surroundings.user))? {
        return parse(&text, &local, surroundings);
    }
    let home = surroundings.home.as_deref();
    let others = [
        home.map(|home| home.join(".config/nexus/config.yaml")),
        home.map(|home| home.join(".nexus/config.yaml")),
        Some(surroundings.system_directory.join("config.yaml")),
    ];
    for path in others.into_iter().flatten() {
        if let Some(text) = read(&path, None)? {
            return parse(&text, &path, surroundings);
        }
    }
    Ok(Layer::default())
}

/// The text of a file, `None` when there is none. With `reader`, only a file is read that no other user can write.
fn read(path: &Path, reader: Option<u32>) -> Result<Option<String>> {
    let context = || format!("reading the configuration file {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), IoErrorKind::NotFound | IoErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // A home directory that this user cannot enter (su and setpriv keep HOME) holds no configuration of his.
        Err(e) if e.kind() == IoErrorKind::PermissionDenied && path.symlink_metadata().is_err() => {
            log::debug!("{}: {e}", context());
            return Ok(None);
        }
        Err(e) => return Err(Error::io(context(), e)),
    };
    // Of the open file, so that what is checked is what is read.
    let attributes = file.metadata().map_err(|e| Error::io(context(), e))?;
    let refuse = |why: &str, hint: String| Err(advice::refusal(ErrorKind::Configuration, context(), why, hint));
    if !attributes.is_file() {
        return refuse("it is not a regular file", String::new());
    }
    if attributes.len() > FILE_BYTES_MAX {
        return refuse("it is larger than 1 MiB", String::new());
    }
    if let Some(reader) = reader {
        if attributes.uid() != reader && attributes.uid() != 0 {
            return refuse(
                "it belongs to another user, who could send your data elsewhere",
                format!("if you trust it: chown {reader} {}", path.display()),
            );
        }
        if attributes.mode() & 0o022 != 0 {
            return refuse(
                "others can write it, and could send your data elsewhere",
                format!("if you trust it: chmod go-w {}", path.display()),
            );
        }
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| Error::io(context(), e))?;
    Ok(Some(text))
}

/// What the text of a file says.
pub(super) fn parse(text: &str, path: &Path, surroundings: &Surroundings) -> Result<Layer> {
    let origin = Origin::File(path.to_owned());
    let refuse = |why: String| {
        Error::new(ErrorKind::Configuration, format!("reading the configuration file {}: {why}", path.display()))
    };
    let mapping = match serde_yaml::from_str::<Value>(text) {
        Ok(Value::Null) => Mapping::new(),
        Ok(Value::Mapping(mapping)) => mapping,
        Ok(_) => return Err(refuse("it is not a list of 'key: value' lines".into())),
        Err(e) => return Err(refuse(format!("it is not YAML: {e}"))),
    };
    let mut layer = Layer::default();
    for (key, value) in mapping {
        let Value::String(key) = key else {
            return Err(refuse("a key is not a word".into()));
        };
        let Some(known) = keys::known(&key) else {
            let keys: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
            return Err(keys::unknown(&key, &keys, "", &origin));
        };
        let value = expanded(value, surroundings).map_err(|why| wrong(&origin, known, why))?;
        layer.insert(known, value, origin.clone());
    }
    Ok(layer)
}

/// A value with the variables in its texts replaced, however deep they lie.
fn expanded(value: Value, surroundings: &Surroundings) -> std::result::Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(expand::expand(&text, |name| surroundings.variable(name))?),
        Value::Sequence(items) => {
            let items = items.into_iter().map(|item| expanded(item, surroundings));
            Value::Sequence(items.collect::<std::result::Result<_, _>>()?)
        }
        Value::Mapping(fields) => {
            let fields = fields.into_iter().map(|(key, value)| Ok((key, expanded(value, surroundings)?)));
            Value::Mapping(fields.collect::<std::result::Result<_, String>>()?)
        }
        other => other,
    })
}

/// A file that was named by whoever asks: it has to exist, and is trusted.
pub(super) fn named(path: &Path, surroundings: &Surroundings) -> Result<Layer> {
    let path = absolute(&surroundings.working_directory, path);
    match read(&path, None)? {
        Some(text) => parse(&text, &path, surroundings),
        None => {
            let what = format!("reading the configuration file {}: it does not exist", path.display());
            Err(Error::new(ErrorKind::Configuration, what))
        }
    }
}
