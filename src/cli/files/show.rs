//! How entries are shown, to people and as JSON.

use std::borrow::Cow;
use std::io::IsTerminal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nexus::client::{Entry, EntryKind, Info};
use nexus::model::{Timestamp, rfc3339};
use serde_json::{Value, json};

/// A name for standard output: its bytes as they are; on a terminal without those that it would obey.
pub(super) fn name(bytes: &[u8]) -> Cow<'_, [u8]> {
    let harmless = std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control));
    if harmless || !std::io::stdout().is_terminal() {
        return bytes.into();
    }
    let text = String::from_utf8_lossy(bytes);
    let shown: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    shown.into_bytes().into()
}

/// A path as JSON: as text, and, when it is no text, also as it is.
pub(super) fn path(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "path": text }),
        Err(_) => json!({ "path": String::from_utf8_lossy(bytes), "path_b64": STANDARD.encode(bytes) }),
    }
}

/// An entry as JSON.
pub(super) fn entry(entry: &Entry) -> Value {
    let mut shown = path(&entry.path);
    shown["kind"] = json!(entry.kind);
    shown["size"] = entry.size.into();
    shown["mode"] = format!("{:04o}", entry.mode).into();
    shown["modified_at"] = rfc3339(entry.modified_at()).into();
    shown
}

/// What is known of a file as JSON; what does not apply is left out.
pub(super) fn info(info: &Info) -> Value {
    let mut shown = entry(&info.entry);
    shown["created_at"] = rfc3339(Timestamp(info.created)).into();
    shown["path_id"] = info.path_id.to_string().into();
    shown["uid"] = info.uid.into();
    shown["gid"] = info.gid.into();
    shown["links"] = info.links.into();
    let optional = [
        ("version", info.version.map(Value::from)),
        ("etag", info.etag.as_deref().map(Value::from)),
        ("refs", info.refs.map(Value::from)),
        ("target", info.target.as_deref().map(|target| String::from_utf8_lossy(target).into())),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            shown[key] = value;
        }
    }
    shown
}

/// What `ls -l` puts before the name.
pub(super) fn columns(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Special => '?',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let mode: String = bits.map(|(bit, letter)| if entry.mode & (1 << bit) == 0 { '-' } else { letter }).collect();
    format!("{kind}{mode} {:>12} {} ", entry.size, rfc3339(entry.modified_at()))
}

/// Draws what is below `top`, of which `entries` hold each directory before what it holds.
pub(super) fn draw(entries: &[Entry], top: &[u8], text: &mut Vec<u8>) {
    let top = if top == b"/" { &[] } else { top };
    let parts: Vec<Vec<&[u8]>> = entries
        .iter()
        .map(|entry| entry.path[top.len()..].split(|b| *b == b'/').filter(|part| !part.is_empty()).collect())
        .collect();
    // From the last: whether something of its directory comes after an entry is known when it is met.
    let mut follows: Vec<bool> = Vec::new();
    let mut lines = Vec::new();
    for parts in parts.iter().rev().filter(|parts| !parts.is_empty()) {
        let depth = parts.len();
        follows.resize(depth, false);
        let mut line = Vec::new();
        for more in &follows[..depth - 1] {
            line.extend_from_slice(if *more { "│   " } else { "    " }.as_bytes());
        }
        line.extend_from_slice(if follows[depth - 1] { "├── " } else { "└── " }.as_bytes());
        line.extend_from_slice(&name(parts[depth - 1]));
        line.push(b'\n');
        follows[depth - 1] = true;
        lines.push(line);
    }
    lines.reverse();
    text.extend(lines.concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry { path: path.into(), kind: EntryKind::File, size: 0, mode: 0o644, modified: 0 }
    }

    #[test]
    fn a_tree_has_branches() {
        let entries: Vec<_> = ["/d/a", "/d/a/x", "/d/a/x/1", "/d/a/y", "/d/b", "/d/b/z"].map(entry).into();
        let mut text = Vec::new();
        draw(&entries, b"/d", &mut text);
        let expected = "├── a\n│   ├── x\n│   │   └── 1\n│   └── y\n└── b\n    └── z\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_text_is_told_twice() {
        assert_eq!(path(b"/a\xff"), json!({ "path": "/a\u{fffd}", "path_b64": "L2H/" }));
        assert_eq!(columns(&entry("/a")), "-rw-r--r--            0 1970-01-01T00:00:00Z ");
    }
}
