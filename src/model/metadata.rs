//! Custom metadata: values of keys, and what is searched by them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{XATTR_KEY_BYTES_MAX, limits};
use crate::error::{Error, ErrorKind, Result};

/// The prefix that a key has as an extended attribute.
pub const PREFIX: &[u8] = b"user.";

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaValue {
    /// A JSON value; a string where it was written as text.
    Json(Value),
    /// What was written through an extended attribute and is not UTF-8.
    Bytes(Vec<u8>),
}

impl MetaValue {
    /// What bytes of an attribute mean: the JSON value whose text they were written as, a string, or bytes.
    #[must_use]
    pub fn from_stored(bytes: Vec<u8>, json: bool) -> Self {
        if json && let Ok(value) = serde_json::from_slice(&bytes) {
            return Self::Json(value);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Json(Value::String(text)),
            Err(e) => Self::Bytes(e.into_bytes()),
        }
    }

    /// The bytes of the attribute, and whether they are the text of a JSON value that is no string.
    #[must_use]
    pub fn to_stored(&self) -> (Vec<u8>, bool) {
        match self {
            Self::Json(Value::String(text)) => (text.clone().into_bytes(), false),
            Self::Json(value) => (value.to_string().into_bytes(), true),
            Self::Bytes(bytes) => (bytes.clone(), false),
        }
    }
}

/// The extended attribute of a key.
///
/// # Errors
/// `Invalid` for an empty key, one with a NUL, or one that is longer than 255 bytes with its prefix.
pub fn attribute_of(key: &str) -> Result<Vec<u8>> {
    if key.is_empty() || key.contains('\0') || key.len() + PREFIX.len() > XATTR_KEY_BYTES_MAX {
        let max = limits::XATTR_KEY_BYTES_MAX - PREFIX.len();
        return Err(Error::new(ErrorKind::Invalid, format!("use the key {key:?}: a key has 1 to {max} bytes")));
    }
    Ok([PREFIX, key.as_bytes()].concat())
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// What a file is searched by: a key that it has, and how its value compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The key, without its prefix.
    pub key: String,
    /// How.
    pub comparison: Comparison,
    /// With what. Numbers are compared as numbers if both sides are, anything else byte by byte.
    pub value: String,
}

impl Condition {
    /// A condition as it is typed: `status=ready`, `priority<5`.
    ///
    /// # Errors
    /// `Invalid` without an operator, or for an impossible key.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = || {
            let what = format!("search by {text:?}: a condition is KEY, one of = != < <= > >=, and a value");
            Error::new(ErrorKind::Invalid, what)
        };
        let at = text.find(['=', '!', '<', '>']).ok_or_else(refuse)?;
        let (key, rest) = text.split_at(at);
        let operators = [
            ("!=", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("=", Comparison::Equal),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ];
        let (value, comparison) = operators
            .into_iter()
            .find_map(|(sign, comparison)| Some((rest.strip_prefix(sign)?, comparison)))
            .ok_or_else(refuse)?;
        let key = key.trim();
        attribute_of(key)?;
        Ok(Self { key: key.to_owned(), comparison, value: value.trim().to_owned() })
    }

    /// Whether a value is one that is searched for.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (number(value), number(self.value.as_bytes())) {
            (Some(left), Some(right)) => left.total_cmp(&right),
            _ => value.cmp(self.value.as_bytes()),
        };
        match self.comparison {
            Comparison::Equal => order == Equal,
            Comparison::Unequal => order != Equal,
            Comparison::Below => order == Less,
            Comparison::AtMost => order != Greater,
            Comparison::Above => order == Greater,
            Comparison::AtLeast => order != Less,
        }
    }

    /// The only bytes that a value can be, if there are such.
    #[must_use]
    pub fn only_value(&self) -> Option<&[u8]> {
        let bytes = self.value.as_bytes();
        (self.comparison == Comparison::Equal && number(bytes).is_none()).then_some(bytes)
    }
}

/// The number that a text is. Words like `inf` and `nan` are none.
fn number(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // 0 and -0 are one number.
    text.bytes().any(|byte| byte.is_ascii_digit()).then_some(number + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_json_and_text_as_text() {
        for text in [
            "5",
            "5.5",
            "true",
            "null",
            "[1,\"a\"]",
            "{\"a\":{\"b\":[]}}",
            "\"text\"",
            "\"5\"",
            "\"\"",
            "18446744073709551615",
        ] {
            let value = MetaValue::Json(serde_json::from_str(text).unwrap());
            let (bytes, json) = value.to_stored();
            assert_eq!(MetaValue::from_stored(bytes, json), value, "{text}");
        }
        assert_eq!(MetaValue::Json(Value::from("a b")).to_stored(), (b"a b".to_vec(), false));
        assert_eq!(MetaValue::from_stored(b"5".to_vec(), false), MetaValue::Json(Value::from("5")));
        assert_eq!(MetaValue::from_stored(b"\xff".to_vec(), false), MetaValue::Bytes(b"\xff".to_vec()));
    }

    #[test]
    fn conditions_compare_numbers_as_numbers() {
        for (condition, value, holds) in [
            ("status=ready", "ready", true),
            ("status=ready", "Ready", false),
            ("priority<5", "4", true),
            ("priority<5", "10", false),
            ("priority<5", "-1", true),
            ("priority = 5", "5.0", true),
            ("priority!=5", "5", false),
            ("priority>=5", "five", true),
            ("name<b", "a", true),
            ("name<=a", "a", true),
            ("name>a", "a", false),
            ("zero=0", "-0", true),
            ("x=inf", "inf", true),
            ("x>inf", "1e999", false),
            ("text=a=b", "a=b", true),
            ("text=", "", true),
        ] {
            assert_eq!(Condition::parse(condition).unwrap().holds(value.as_bytes()), holds, "{condition} of {value}");
        }
        for bad in ["", "status", "=x", "!x", "a!b"] {
            assert!(Condition::parse(bad).is_err(), "{bad}");
        }
    }
}
