//! A configuration file as a source.
//!
//! A relative `data_dir` is taken from the directory of the file, so that a file means the same wherever a command is
//! started; a leading `~/` is the home directory. `./nexus.yaml` is read only if nobody but its reader could have
//! written it: a working directory is often a place where others write.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::keys::{self, Support};
use super::{Layer, Origin, Surroundings, absolute, expand};
use crate::advice;
use crate::error::{Error, ErrorKind, Result};

/// The name of a configuration file in the working directory.
const LOCAL_NAME: &str = "nexus.yaml";

/// A configuration is written by hand: more than this is another file under its name.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The first configuration file that exists, and what it says.
pub(super) fn first(surroundings: &Surroundings) -> Result<Option<(PathBuf, Layer)>> {
    let local = surroundings.working_directory.join(LOCAL_NAME);
    if let Some(text) = read(&local, Some(surroundings.user))? {
        let layer = parse(&text, &local, surroundings)?;
        return Ok(Some((local, layer)));
    }
    let home = surroundings.home.as_deref();
    let others = [
        home.map(|home| home.join(".config/nexus/config.yaml")),
        home.map(|home| home.join(".nexus/config.yaml")),
        Some(surroundings.system_directory.join("config.yaml")),
    ];
    for path in others.into_iter().flatten() {
        if let Some(text) = read(&path, None)? {
            let layer = parse(&text, &path, surroundings)?;
            return Ok(Some((path, layer)));
        }
    }
    Ok(None)
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
    let wrong = |why: String| {
        Error::new(ErrorKind::Configuration, format!("reading the configuration file {}: {why}", path.display()))
    };
    let mapping = match serde_yaml::from_str::<Value>(text) {
        Ok(Value::Null) => Mapping::new(),
        Ok(Value::Mapping(mapping)) => mapping,
        Ok(_) => return Err(wrong("it is not a list of 'key: value' lines".into())),
        Err(e) => return Err(wrong(format!("it is not YAML: {e}"))),
    };
    let mut layer = Layer::default();
    for (key, value) in mapping {
        let Value::String(key) = key else {
            return Err(wrong("a key is not a word".into()));
        };
        match keys::support(&key) {
            None => return Err(keys::unknown(&key, &origin)),
            Some(Support::Later) if is_off(&value) => continue,
            Some(Support::Later) => return Err(keys::not_yet(&key, &origin)),
            Some(Support::Honoured) => {}
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) => expand::expand(&text, |name| surroundings.variable(name))
                .map_err(|why| wrong(format!("{key}: {why}")))?,
            _ => return Err(wrong(format!("{key}: a text is needed; put it in quotes"))),
        };
        match key.as_str() {
            "mode" => layer.mode = Some(text),
            "data_dir" => layer.data_dir = Some(directory(&text, path, surroundings)),
            "transport" => layer.transport = Some(text),
            _ => unreachable!("every honoured key has an arm above"),
        }
    }
    Ok(layer)
}

/// Whether a value asks for nothing: what every version does anyway.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Sequence(items) => items.is_empty(),
        _ => false,
    }
}

fn directory(text: &str, file: &Path, surroundings: &Surroundings) -> PathBuf {
    if let (Some(below), Some(home)) = (text.strip_prefix("~/"), &surroundings.home) {
        return absolute(home, Path::new(below));
    }
    if text.is_empty() {
        return PathBuf::new();
    }
    absolute(file.parent().unwrap_or(Path::new("/")), Path::new(text))
}
