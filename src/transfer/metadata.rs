//! Custom metadata in a line: an object of JSON values, and pairs in base64 for what is not UTF-8. A string is what was
//! written as text; any other value is one that was written as JSON, and it becomes one again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::vfs::AttrRow;

/// The prefix of the attributes that are custom metadata.
pub(super) const USER: &[u8] = b"user.";

/// Keys, with their prefix, values, and whether a value is the text of a JSON value that is no string.
pub(super) type Pairs = Vec<AttrRow>;

fn texts(pairs: &Pairs) -> impl Iterator<Item = (&str, &str, bool)> {
    pairs.iter().filter_map(|(key, value, json)| {
        let key = std::str::from_utf8(key.strip_prefix(USER)?).ok()?;
        Some((key, std::str::from_utf8(value).ok()?, *json))
    })
}

fn others(pairs: &Pairs) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs.iter().filter_map(|(key, value, _)| {
        let key = key.strip_prefix(USER)?;
        let is_text = std::str::from_utf8(key).is_ok() && std::str::from_utf8(value).is_ok();
        (!is_text).then_some((key, value.as_slice()))
    })
}

/// The pairs that are UTF-8, as an object.
pub(super) struct Texts<'a>(pub(super) &'a Pairs);

impl Texts<'_> {
    pub(super) fn is_empty(&self) -> bool {
        texts(self.0).next().is_none()
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value, json) in texts(self.0) {
            match as_json(value).filter(|_| json) {
                Some(value) => map.serialize_entry(key, value)?,
                None => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

/// A text as the JSON value that it is, if it is one, no string, and fits into a line.
fn as_json(text: &str) -> Option<&RawValue> {
    let value = serde_json::from_str::<&RawValue>(text).ok()?;
    (!text.starts_with('"') && value.get() == text && !text.contains(['\n', '\r'])).then_some(value)
}

/// The pairs that are not, as an array of arrays.
pub(super) struct Others<'a>(pub(super) &'a Pairs);

impl Others<'_> {
    pub(super) fn is_empty(&self) -> bool {
        others(self.0).next().is_none()
    }
}

impl Serialize for Others<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(None)?;
        for (key, value) in others(self.0) {
            pairs.serialize_element(&[STANDARD.encode(key), STANDARD.encode(value)])?;
        }
        pairs.end()
    }
}

/// Metadata read from a line: both forms.
#[derive(Debug, Default)]
pub(super) struct Read(pub(super) Pairs);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

/// An object whose members keep their order, so that one that comes twice is seen.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let mut pairs = Pairs::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            let raw = value.get();
            let json = !raw.starts_with('"');
            // A value that is no string is kept as its text: that is what a program reads as the attribute.
            let text = if json { raw.to_owned() } else { serde_json::from_str(raw).map_err(A::Error::custom)? };
            pairs.push(([USER, key.as_bytes()].concat(), text.into_bytes(), json));
        }
        Ok(Read(pairs))
    }
}

/// The pairs of `custom_metadata_b64`.
pub(super) fn decode_pairs(pairs: &[(String, String)]) -> Result<Pairs, base64::DecodeError> {
    let decode = |text: &String| STANDARD.decode(text);
    pairs.iter().map(|(key, value)| Ok(([USER, &decode(key)?].concat(), decode(value)?, false))).collect()
}

/// Bytes as base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes from base64.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(text)
}
