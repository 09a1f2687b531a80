//! One line: how it is written, and what it must hold to be read.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::metadata::{self, Others, Pairs, Read, Texts, USER};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Digest, FILE_BYTES_MAX, Timestamp, VPath, XATTR_COUNT_MAX, XATTR_KEY_BYTES_MAX, XATTR_LIST_BYTES_MAX,
    XATTR_LIST_BYTES_RESERVED, XATTR_VALUE_BYTES_MAX, rfc3339, work,
};

/// The only backend there is.
const LOCAL: &str = "local";
/// Attributes that are computed and cannot be set.
const VIRTUAL: &[u8] = b"user.nexus.";

/// A file as a line tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) path: VPath,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// `None`: the line does not say.
    pub(super) created: Option<Timestamp>,
    pub(super) modified: Option<Timestamp>,
    pub(super) version: u64,
    pub(super) mode: Option<u32>,
    /// By key.
    pub(super) metadata: Pairs,
}

#[derive(Serialize)]
struct Written<'a> {
    path: Cow<'a, str>,
    backend_name: &'static str,
    physical_path: &'a str,
    size: u64,
    etag: &'a str,
    mime_type: Option<&'static str>,
    created_at: String,
    modified_at: String,
    version: u64,
    #[serde(skip_serializing_if = "Texts::is_empty")]
    custom_metadata: Texts<'a>,
    #[serde(skip_serializing_if = "Others::is_empty")]
    custom_metadata_b64: Others<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

#[derive(Deserialize)]
struct Parsed<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    backend_name: Option<Cow<'a, str>>,
    physical_path: Option<Cow<'a, str>>,
    size: u64,
    etag: Option<Cow<'a, str>>,
    mime_type: Option<Cow<'a, str>>,
    created_at: Option<Cow<'a, str>>,
    modified_at: Option<Cow<'a, str>>,
    version: Option<u64>,
    custom_metadata: Option<Read>,
    custom_metadata_b64: Option<Vec<(String, String)>>,
    path_b64: Option<Cow<'a, str>>,
    mode: Option<Cow<'a, str>>,
}

/// What is written of a file.
pub(super) struct Shown<'a> {
    pub(super) path: &'a [u8],
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) version: u64,
    pub(super) mode: Option<u32>,
    pub(super) attrs: &'a Pairs,
}

impl Shown<'_> {
    /// Appends the line, its end included.
    pub(super) fn write(&self, into: &mut Vec<u8>) -> Result<()> {
        let path = String::from_utf8_lossy(self.path);
        let digest = self.digest.to_string();
        let written = Written {
            path_b64: matches!(path, Cow::Owned(_)).then(|| metadata::encode(self.path)),
            mime_type: mime_type(&path),
            path,
            backend_name: LOCAL,
            physical_path: &digest,
            size: self.size,
            etag: &digest,
            created_at: rfc3339(self.created),
            modified_at: rfc3339(self.modified),
            version: self.version,
            custom_metadata: Texts(self.attrs),
            custom_metadata_b64: Others(self.attrs),
            mode: self.mode.map(|mode| format!("{:04o}", mode & 0o777)),
        };
        serde_json::to_writer(&mut *into, &written)
            .map_err(|e| Error::new(ErrorKind::Io, "write a line").because(e))?;
        into.push(b'\n');
        Ok(())
    }
}

/// The type that the extension of a path stands for.
fn mime_type(path: &str) -> Option<&'static str> {
    let extension = Path::new(path).extension()?.to_str()?;
    mime_guess::from_ext(extension).first_raw()
}

impl Line {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong in its context.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let parsed: Parsed<'_> = serde_json::from_slice(text).map_err(|e| {
            // There is only one line here: its own number is told, not this one.
            let what = e.to_string();
            let what = what.strip_suffix(&format!(" at line {} column {}", e.line(), e.column())).unwrap_or(&what);
            wrong(format!("{what} (column {})", e.column()))
        })?;
        let path = match &parsed.path_b64 {
            Some(encoded) => metadata::decode(encoded).map_err(|e| wrong(format!("path_b64 is no base64: {e}")))?,
            None => parsed.path.as_bytes().to_vec(),
        };
        if String::from_utf8_lossy(&path) != parsed.path {
            return Err(wrong("path and path_b64 differ"));
        }
        let path = VPath::parse(&path).map_err(|e| {
            let why = match e.kind() {
                ErrorKind::NameTooLong => "a name has 255 bytes at most, a path 4,096",
                _ => "a path begins with /, and has no component '..' and no NUL",
            };
            wrong(format!("path {:?}: {why}", shortened(&parsed.path)))
        })?;
        if path.as_bytes() == b"/" {
            return Err(wrong("path is the root directory"));
        }
        if let Some(name) = parsed.backend_name.as_deref().filter(|name| *name != LOCAL) {
            return Err(wrong(format!("backend_name is {name:?}: only \"{LOCAL}\" is known")));
        }
        let digest = parsed.digest()?;
        if parsed.size > FILE_BYTES_MAX {
            return Err(wrong(format!("size {} is more than a file can have", parsed.size)));
        }
        if (digest == Digest::EMPTY) != (parsed.size == 0) {
            return Err(wrong(format!("size {} does not go with the digest", parsed.size)));
        }
        let version = parsed.version.unwrap_or(1);
        if version == 0 || i64::try_from(version).is_err() {
            return Err(wrong(format!("version {version} is not between 1 and {}", i64::MAX)));
        }
        // Computed from the path; that it is a string or null is all that is asked.
        let _ = &parsed.mime_type;
        Ok(Self {
            path,
            digest,
            size: parsed.size,
            created: time("created_at", parsed.created_at.as_deref())?,
            modified: time("modified_at", parsed.modified_at.as_deref())?,
            version,
            mode: parsed.mode.as_deref().map(mode).transpose()?,
            metadata: checked(parsed.custom_metadata, parsed.custom_metadata_b64.as_deref())?,
        })
    }
}

impl Parsed<'_> {
    fn digest(&self) -> Result<Digest> {
        let read = |key: &str, text: &Option<Cow<'_, str>>| {
            let digest = text.as_deref().map(Digest::parse_hex).transpose();
            digest.map_err(|_| wrong(format!("{key} is not a SHA-256 of 64 hexadecimal digits")))
        };
        if self.etag == self.physical_path {
            return read("etag", &self.etag)?.ok_or_else(|| wrong("missing field `etag`"));
        }
        match (read("physical_path", &self.physical_path)?, read("etag", &self.etag)?) {
            (Some(a), Some(b)) if a != b => Err(wrong("physical_path and etag differ")),
            (Some(digest), _) | (None, Some(digest)) => Ok(digest),
            (None, None) => Err(wrong("missing field `etag`")),
        }
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, what.into())
}

fn shortened(text: &str) -> String {
    if text.chars().count() > 80 { format!("{}...", text.chars().take(80).collect::<String>()) } else { text.into() }
}

fn time(key: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    text.map(parse_time).transpose().map_err(|e| wrong(format!("{key}: {}", e.context())))
}

/// A time as RFC 3339 has it, `2026-11-21T06:00:00.5Z`; without an offset, or as a date alone, it is in UTC.
///
/// # Errors
/// `Invalid` for anything else.
pub fn parse_time(text: &str) -> Result<Timestamp> {
    // The first is by far the most frequent; the last reads a date as its first moment.
    let parsed = text.parse::<jiff::Timestamp>().or_else(|e| {
        let civil = text.parse::<jiff::civil::DateTime>().map_err(|_| e)?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let parsed = parsed.map_err(|_| wrong(format!("{text:?} is no time as RFC 3339 has it")))?;
    let nanos = i64::try_from(parsed.as_nanosecond());
    nanos.map(Timestamp).map_err(|_| wrong(format!("{text:?} is outside the years 1677 to 2262")))
}

fn mode(text: &str) -> Result<u32> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777 && text.starts_with(|c: char| c != '+'));
    bits.ok_or_else(|| wrong(format!("mode {text:?} is not octal permission bits up to 0777")))
}

/// All metadata of a line, by key, within the limits of attributes.
fn checked(texts: Option<Read>, others: Option<&[(String, String)]>) -> Result<Pairs> {
    let mut pairs = texts.unwrap_or_default().0;
    let decoded = metadata::decode_pairs(others.unwrap_or_default());
    pairs.extend(decoded.map_err(|e| wrong(format!("custom_metadata_b64 is no base64: {e}")))?);
    pairs.sort_unstable();
    let shown = |key: &[u8]| String::from_utf8_lossy(&key[USER.len()..]).into_owned();
    for (key, value, _) in &pairs {
        if key.len() > XATTR_KEY_BYTES_MAX || key.len() == USER.len() || key.contains(&0) {
            let max = XATTR_KEY_BYTES_MAX - USER.len();
            return Err(wrong(format!("metadata key {:?}: 1 to {max} bytes without NUL", shortened(&shown(key)))));
        }
        if key.starts_with(VIRTUAL) {
            return Err(wrong(format!("metadata key {:?} is computed and cannot be set", shown(key))));
        }
        if value.len() > XATTR_VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(wrong(format!("metadata {:?} has {bytes} bytes, {XATTR_VALUE_BYTES_MAX} at most", shown(key))));
        }
        work::check_value(key, value).map_err(|e| wrong(format!("metadata {:?}: {}", shown(key), e.context())))?;
    }
    if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(wrong(format!("metadata key {:?} comes twice", shown(&twice[0].0))));
    }
    let list: usize = pairs.iter().map(|(key, ..)| key.len() + 1).sum();
    if pairs.len() > XATTR_COUNT_MAX || list > XATTR_LIST_BYTES_MAX - XATTR_LIST_BYTES_RESERVED {
        return Err(wrong(format!("{} metadata keys, more than a file can have", pairs.len())));
    }
    Ok(pairs)
}
