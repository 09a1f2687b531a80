//! Work: what the attributes of a work item may say, and which state follows which.
//!
//! A value is parsed from the bytes of an attribute, which are plain text (`ready`, `5`) or JSON (`"ready"`); blanks
//! around it do not count.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NodeId, PRIORITY_MAX, PRIORITY_MIN, Timestamp, VPath, WORK_DEPENDENCIES_MAX};
use crate::error::{Error, ErrorKind, Result};

/// The attributes that make a file a work item, with the prefix they have as extended attributes.
pub mod key {
    /// Which [`Status`](super::Status) the item has; without it the file is no work item.
    pub const STATUS: &[u8] = b"user.status";
    /// An integer, lower first.
    pub const PRIORITY: &[u8] = b"user.priority";
    /// What has to be completed first: a path_id, a path, or a JSON list of them.
    pub const DEPENDS_ON: &[u8] = b"user.depends_on";
    /// Who works on it.
    pub const WORKER_ID: &[u8] = b"user.worker_id";
    /// Since when.
    pub const STARTED_AT: &[u8] = b"user.started_at";
    /// When it was done.
    pub const COMPLETED_AT: &[u8] = b"user.completed_at";
    /// When the claim of its worker runs out, RFC 3339.
    pub const LEASE_UNTIL: &[u8] = b"user.lease_until";
    /// Whatever its owner wants it to be found by.
    pub const TAGS: &[u8] = b"user.tags";

    /// Whether the row of a work item holds the text of the attribute of this key.
    #[must_use]
    pub fn is_shown(key: &[u8]) -> bool {
        [WORKER_ID, STARTED_AT, TAGS].contains(&key)
    }

    /// Whether the row of a work item follows from the attribute of this key.
    #[must_use]
    pub fn is_kept(key: &[u8]) -> bool {
        [STATUS, PRIORITY, DEPENDS_ON, STARTED_AT, LEASE_UNTIL].contains(&key)
    }
}

/// What `status` says of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be done.
    Ready,
    /// To be done later: somebody will make it ready.
    Pending,
    /// Waits for others.
    Blocked,
    /// A worker has it.
    InProgress,
    /// Done.
    Completed,
    /// Given up.
    Failed,
}

impl Status {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::Pending, Self::Blocked, Self::InProgress, Self::Completed, Self::Failed];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending => "pending",
            Self::Blocked => "blocked",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// What an attribute says.
    ///
    /// # Errors
    /// `Invalid` for any other word.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let word = text(bytes);
        word.as_deref().and_then(Self::from_word).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            invalid(format!("set the status to {}: it is one of {known}", shown(bytes)))
        })
    }

    /// Where an item of this status stands while `open` of its dependencies are not completed.
    #[must_use]
    pub fn state(self, open: u64) -> Self {
        match self {
            Self::Ready | Self::Pending if open > 0 => Self::Blocked,
            other => other,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A transition that is offered to whoever does not set `status` himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// A worker takes a ready item.
    Claim,
    /// Its worker has done it.
    Complete,
    /// Its worker gives it up.
    Fail,
    /// Its worker gives it back.
    Release,
    /// What failed is tried again.
    Retry,
    /// What was pending can be taken now.
    Admit,
    /// What was ready is to wait.
    Hold,
}

impl Transition {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Claim, Self::Complete, Self::Fail, Self::Release, Self::Retry, Self::Admit, Self::Hold];

    /// From which state it leads to which.
    #[must_use]
    pub fn ends(self) -> (Status, Status) {
        match self {
            Self::Claim => (Status::Ready, Status::InProgress),
            Self::Complete => (Status::InProgress, Status::Completed),
            Self::Fail => (Status::InProgress, Status::Failed),
            Self::Release => (Status::InProgress, Status::Ready),
            Self::Retry => (Status::Failed, Status::Ready),
            Self::Admit => (Status::Pending, Status::Ready),
            Self::Hold => (Status::Ready, Status::Pending),
        }
    }

    /// The transition between two states, if one is offered.
    #[must_use]
    pub fn between(from: Status, to: Status) -> Option<Self> {
        Self::ALL.into_iter().find(|transition| transition.ends() == (from, to))
    }
}

/// A dependency as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its path_id.
    Node(NodeId),
    /// By its path.
    Path(VPath),
}

/// What `priority` says: an integer, between -999,999,999 and 9,999,999,998.
///
/// # Errors
/// `Invalid` for anything else.
pub fn parse_priority(bytes: &[u8]) -> Result<i64> {
    let number = text(bytes).and_then(|text| text.parse::<i64>().ok());
    number.filter(|number| (PRIORITY_MIN..=PRIORITY_MAX).contains(number)).ok_or_else(|| {
        invalid(format!(
            "set the priority to {}: it is an integer between {PRIORITY_MIN} and {PRIORITY_MAX}",
            shown(bytes)
        ))
    })
}

/// What `lease_until` says: an instant of RFC 3339.
///
/// # Errors
/// `Invalid` for anything else.
pub fn parse_lease(bytes: &[u8]) -> Result<Timestamp> {
    text(bytes).and_then(|text| Timestamp::parse(&text)).ok_or_else(|| {
        invalid(format!("set the end of a lease to {}: it is a time like 2026-11-21T06:00:00Z", shown(bytes)))
    })
}

/// What `started_at` says, if it says a time: with an offset, or in UTC where it has none, as many programs write it.
#[must_use]
pub fn parse_started(bytes: &[u8]) -> Option<Timestamp> {
    let text = text(bytes)?;
    Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}Z")))
}

/// What `depends_on` says: a path_id, a path, or a JSON list of them; nothing depends on nothing.
///
/// # Errors
/// `Invalid` for anything else, `ValueTooLarge` for more than 1,000.
pub fn parse_depends_on(bytes: &[u8]) -> Result<Vec<Target>> {
    let refuse = |what: &[u8]| {
        invalid(format!(
            "depend on {}: a dependency is a path_id, an absolute path, or a JSON list of them",
            shown(what)
        ))
    };
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let targets = if trimmed[0] == b'[' {
        let list: Vec<serde_json::Value> = serde_json::from_slice(trimmed).map_err(|e| refuse(trimmed).because(e))?;
        let each = list.iter().map(|value| match value {
            serde_json::Value::String(text) => target(text.as_bytes()),
            serde_json::Value::Number(number) => target(number.to_string().as_bytes()),
            other => Err(refuse(other.to_string().as_bytes())),
        });
        each.collect::<Result<Vec<_>>>()?
    } else if trimmed == b"null" {
        Vec::new()
    } else {
        let unquoted = text(trimmed).filter(|_| trimmed[0] == b'"');
        vec![target(unquoted.as_ref().map_or(trimmed, |text| text.as_bytes()))?]
    };
    if targets.len() > WORK_DEPENDENCIES_MAX {
        let what = format!("depend on {} files: an item has at most {WORK_DEPENDENCIES_MAX}", targets.len());
        return Err(Error::new(ErrorKind::ValueTooLarge, what));
    }
    return Ok(targets);

    fn target(text: &[u8]) -> Result<Target> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<u64>().ok());
        match number.filter(|number| i64::try_from(*number).is_ok()) {
            Some(number) => Ok(Target::Node(NodeId(number))),
            None => VPath::parse(text).map(Target::Path),
        }
    }
}

/// Whether an attribute of a file may have this value, as far as the value alone tells.
///
/// # Errors
/// `Invalid` or `ValueTooLarge` when it may not.
pub fn check_value(key: &[u8], value: &[u8]) -> Result<()> {
    match key {
        key::STATUS => Status::parse(value).map(drop),
        key::PRIORITY => parse_priority(value).map(drop),
        key::LEASE_UNTIL => parse_lease(value).map(drop),
        key::DEPENDS_ON => parse_depends_on(value).map(drop),
        _ => Ok(()),
    }
}

/// The text of a value that is plain text or a JSON string.
fn text(bytes: &[u8]) -> Option<String> {
    let trimmed = std::str::from_utf8(bytes).ok()?.trim_ascii();
    if trimmed.starts_with('"') {
        return serde_json::from_str(trimmed).ok();
    }
    Some(trimmed.to_owned())
}

/// The beginning of a value, for messages.
fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(64)]))
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain_text_or_json() {
        for (bytes, status) in [
            (&b"ready"[..], Some(Status::Ready)),
            (b"\"in_progress\"", Some(Status::InProgress)),
            (b" failed\n", Some(Status::Failed)),
            (b"Ready", None),
            (b"done", None),
            (b"", None),
            (b"\xff", None),
            (b"5", None),
        ] {
            assert_eq!(Status::parse(bytes).ok(), status, "{bytes:?}");
        }
        for (bytes, priority) in [
            (&b"5"[..], Some(5)),
            (b"\"-7\"", Some(-7)),
            (b" 0 ", Some(0)),
            (b"1.5", None),
            (b"1e3", None),
            (b"high", None),
            (b"", None),
            (b"9999999999", None),
            (b"-1000000000", None),
            (b"99999999999999999999999", None),
        ] {
            assert_eq!(parse_priority(bytes).ok(), priority, "{bytes:?}");
        }
    }

    #[test]
    fn dependencies_are_ids_paths_and_lists() {
        let path = |text: &str| Target::Path(VPath::parse(text.as_bytes()).unwrap());
        let node = |number| Target::Node(NodeId(number));
        for (bytes, targets) in [
            ("7", vec![node(7)]),
            ("\"7\"", vec![node(7)]),
            ("/a b", vec![path("/a b")]),
            ("\"/a\\\"b\"", vec![path("/a\"b")]),
            ("[7, \"8\", \"/c\"]", vec![node(7), node(8), path("/c")]),
            ("[]", vec![]),
            (" ", vec![]),
            ("null", vec![]),
        ] {
            assert_eq!(parse_depends_on(bytes.as_bytes()).unwrap(), targets, "{bytes:?}");
        }
        for bad in ["name", "-1", "[1.5]", "[[1]]", "[1", "{}", "\"", "/a/../b", "\"x\""] {
            assert_eq!(parse_depends_on(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
        }
        let many = format!("[{}]", vec!["1"; 1001].join(","));
        assert_eq!(parse_depends_on(many.as_bytes()).unwrap_err().kind(), ErrorKind::ValueTooLarge);
    }

    #[test]
    fn times_have_an_offset_or_are_utc() {
        let noon = parse_lease(b"2026-11-21T12:00:00.5Z").unwrap();
        assert_eq!(parse_lease(b"\"2026-11-21T13:00:00.5+01:00\"").unwrap(), noon);
        assert!(parse_lease(b"2026-11-21T12:00:00").is_err());
        assert_eq!(parse_started(b"2026-11-21T12:00:00.500000"), Some(noon));
        assert_eq!(parse_started(b"yesterday"), None);
    }

    /// Legal and illegal: of all pairs of states those that are offered, and no other.
    #[test]
    fn the_table_of_transitions() {
        use Status::{Completed, Failed, InProgress, Pending, Ready};
        let legal = [
            (Ready, InProgress, Transition::Claim),
            (InProgress, Completed, Transition::Complete),
            (InProgress, Failed, Transition::Fail),
            (InProgress, Ready, Transition::Release),
            (Failed, Ready, Transition::Retry),
            (Pending, Ready, Transition::Admit),
            (Ready, Pending, Transition::Hold),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                let offered = legal.iter().find(|(a, b, _)| (*a, *b) == (from, to)).map(|(_, _, t)| *t);
                assert_eq!(Transition::between(from, to), offered, "{from} to {to}");
            }
        }
    }

    #[test]
    fn something_open_blocks_what_could_be_started() {
        for status in Status::ALL {
            assert_eq!(status.state(0), status);
            let waits = matches!(status, Status::Ready | Status::Pending);
            assert_eq!(status.state(3), if waits { Status::Blocked } else { status });
        }
    }
}
