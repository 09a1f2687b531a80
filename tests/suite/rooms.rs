//! The direction in which the rooms of the crate name each other, and which room a foreign crate is confined to.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("advice", &["error"]),
    ("model", &["error"]),
    ("stats", &[]),
    ("policy", &["model", "error"]),
    ("meta", &["stats", "model", "error"]),
    ("cas", &["meta", "model", "error"]),
    ("work", &["meta", "model", "error"]),
    ("vfs", &["work", "meta", "cas", "stats", "model", "error"]),
    ("view", &["vfs", "policy", "work", "meta", "stats", "model", "error", "advice"]),
    ("transfer", &["view", "vfs", "model", "error"]),
    ("fuse", &["view", "vfs", "stats", "model", "error", "advice"]),
    ("config", &["policy", "model", "error", "advice"]),
    ("client", &["config", "transfer", "view", "vfs", "work", "meta", "policy", "stats", "model", "error", "advice"]),
    ("daemon", &["client", "fuse", "view", "vfs", "policy", "stats", "model", "error", "advice"]),
];

/// A foreign crate, and the places that may use it.
const CONFINED: &[(&str, &[&str])] = &[
    ("fuser", &["src/fuse/"]),
    ("io_uring", &["src/fuse/ring/channel.rs"]),
    ("rusqlite", &["src/meta/sqlite/"]),
    ("sha2", &["src/model/digest.rs"]),
    ("serde_yaml", &["src/config/"]),
    ("postcard", &["src/client/wire/"]),
    ("clap", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("mime_guess", &["src/transfer/"]),
    ("base64", &["src/transfer/", "src/cli/files/show.rs"]),
];

#[test]
fn rooms_name_only_those_below_them() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_NAME {
        for (path, line, text) in lines_of(room) {
            for (other, _) in MAY_NAME {
                let names = text.contains(&format!("crate::{other}::")) || text.contains(&format!("crate::{other};"));
                if names && other != room && !allowed.contains(other) {
                    wrong.push(format!("{}:{line}: {room} names {other}: {}", path.display(), text.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let shown = path.display().to_string();
        for (number, text) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            for (guest, places) in CONFINED {
                let code = !text.trim_start().starts_with("//");
                let uses = text.contains(&format!("{guest}::")) && !text.contains(&format!("\"{guest}::"));
                if code && uses && !places.iter().any(|place| shown.starts_with(place)) {
                    wrong.push(format!("{shown}:{}: uses {guest}: {}", number + 1, text.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The code lines of a room, which is a file or a folder; unit tests at the end of a file may name anything.
fn lines_of(room: &str) -> Vec<(PathBuf, usize, String)> {
    let (file, folder) = (PathBuf::from(format!("src/{room}.rs")), PathBuf::from(format!("src/{room}")));
    let paths = if file.exists() { vec![file] } else { sources(&folder) };
    assert!(!paths.is_empty(), "there is no room {room}");
    let mut lines = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).enumerate();
        let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|(number, line)| (path.clone(), number + 1, line.to_owned())));
    }
    lines
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
