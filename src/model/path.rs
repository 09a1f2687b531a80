//! Names and virtual paths.

use std::fmt;

use super::{NAME_BYTES_MAX, PATH_BYTES_MAX};
use crate::error::{Error, ErrorKind, Result};

/// A name in a directory: 1 to 255 bytes without `/` and NUL, and neither `.` nor `..`. Not necessarily UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks the bytes.
    ///
    /// # Errors
    /// `NameTooLong` above 255 bytes, `Invalid` for an empty name, `.`, `..`, or one with `/` or NUL in it.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > NAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::NameTooLong, "check a name"));
        }
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(Error::new(ErrorKind::Invalid, "check a name"));
        }
        Ok(Self(bytes))
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// An absolute virtual path, normalised: no empty, `.` or `..` component, at most 4,096 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VPath {
    /// `/` alone for the root, otherwise without a trailing slash.
    bytes: Vec<u8>,
}

impl VPath {
    /// Parses and normalises: `//`, `/./` and a trailing `/` vanish.
    ///
    /// # Errors
    /// `Invalid` for a path that is not absolute, has a `..` component or a NUL; `NameTooLong` for a component of more
    /// than 255 bytes or a path of more than 4,096.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.first() != Some(&b'/') {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("path {:?} does not begin with /", String::from_utf8_lossy(bytes)),
            ));
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(Error::new(ErrorKind::NameTooLong, "parse a path"));
        }
        let mut clean = Vec::with_capacity(bytes.len());
        for part in bytes.split(|b| *b == b'/') {
            if matches!(part, b"" | b".") {
                continue;
            }
            let name = Name::new(part).map_err(|e| {
                let shown = String::from_utf8_lossy(bytes);
                Error::new(e.kind(), format!("component {:?} of path {shown:?}", part.escape_ascii().to_string()))
            })?;
            clean.push(b'/');
            clean.extend_from_slice(name.as_bytes());
        }
        if clean.is_empty() {
            clean.push(b'/');
        }
        Ok(Self { bytes: clean })
    }

    /// The root directory, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self { bytes: vec![b'/'] }
    }

    /// The names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = Name<'_>> {
        self.bytes.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(Name)
    }

    /// The directory that holds the last name, and that name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, Name<'_>)> {
        let cut = self.bytes.iter().rposition(|b| *b == b'/')?;
        let last = &self.bytes[cut + 1..];
        if last.is_empty() {
            return None;
        }
        let parent = if cut == 0 { Self::root() } else { Self { bytes: self.bytes[..cut].to_vec() } };
        Some((parent, Name(last)))
    }

    /// This path with one more name; the length is not checked again.
    #[must_use]
    pub fn join(&self, name: Name<'_>) -> Self {
        let mut bytes = if self.bytes == b"/" { Vec::new() } else { self.bytes.clone() };
        bytes.push(b'/');
        bytes.extend_from_slice(name.as_bytes());
        Self { bytes }
    }

    /// A path put together from names that are stored; an empty one is the root. It may be longer than a path that is
    /// typed: a directory can be renamed to where what is below has no path of 4,096 bytes.
    pub(crate) fn from_stored(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::root() } else { Self { bytes } }
    }

    /// The path as bytes, `/` for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes.escape_ascii())
    }
}

impl fmt::Display for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_normalised_once() {
        for (typed, meant) in [("/", "/"), ("//a///b/", "/a/b"), ("/./a/.", "/a"), ("/a..b", "/a..b")] {
            assert_eq!(VPath::parse(typed.as_bytes()).unwrap().as_bytes(), meant.as_bytes());
        }
        for bad in ["", "a", "/..", "/a/../b", "/a\0b"] {
            assert_eq!(VPath::parse(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
        }
        let long = format!("/{}", "x".repeat(256));
        assert_eq!(VPath::parse(long.as_bytes()).unwrap_err().kind(), ErrorKind::NameTooLong);
    }

    #[test]
    fn split_and_join_are_inverse() {
        let path = VPath::parse(b"/a/b\xff").unwrap();
        let (parent, last) = path.split_last().unwrap();
        assert_eq!(parent.join(last), path);
        assert_eq!(VPath::root().split_last(), None);
        assert_eq!(path.names().count(), 2);
    }
}
