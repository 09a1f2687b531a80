//! Listings while a directory changes: "every entry that stays is given exactly once", readdir(3), seekdir(3), rewinddir(3).

use std::collections::BTreeSet;

use nexus::model::{Kind, Name, NodeId};
use nexus::vfs::{DirEntry, HandleId, RenameMode};

use super::{CALLER, Store};

const NAMES: usize = 1000;

fn name(number: usize) -> String {
    format!("{:04}", number * 7 % NAMES)
}

fn furnished() -> (Store, NodeId) {
    let store = Store::new();
    store.mkdir("/d");
    let directory = store.id("/d");
    for number in 0..NAMES {
        make(&store, directory, &name(number));
    }
    (store, directory)
}

fn make(store: &Store, directory: NodeId, new: &str) {
    store.vfs().mknod(&CALLER, directory, Name::new(new.as_bytes()).unwrap(), Kind::File, 0o644, 0).unwrap();
}

/// At most `count` names behind an offset, which is then the one behind them.
fn some(store: &Store, stream: HandleId, offset: &mut u64, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    let from = *offset;
    let mut emit = |entry: DirEntry<'_>| {
        if names.len() == count {
            return false;
        }
        *offset = entry.next_offset;
        if !matches!(entry.name, b"." | b"..") {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        }
        true
    };
    store.vfs().readdir(stream, from, false, &mut emit).unwrap();
    names
}

#[test]
fn what_is_removed_moves_nothing_for_any_stream() {
    let (store, directory) = furnished();
    let first = store.vfs().opendir(directory).unwrap();
    let mut offset = 0;
    let mut given: Vec<_> = some(&store, first, &mut offset, 400);
    // Another stream goes on where this one is: what the kernel does when it has forgotten a part of a listing it kept.
    let second = store.vfs().opendir(directory).unwrap();
    given.iter().for_each(|name| store.unlink(&format!("/d/{name}")));
    given.extend(some(&store, second, &mut offset, NAMES));
    assert_eq!(given.len(), NAMES);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), NAMES);
    for stream in [first, second] {
        store.vfs().releasedir(stream).unwrap();
    }
    store.end();
}

#[test]
fn a_program_that_renames_what_it_lists_comes_to_an_end() {
    let (store, directory) = furnished();
    let stream = store.vfs().opendir(directory).unwrap();
    let (mut offset, mut given) = (0, 0);
    loop {
        let names = some(&store, stream, &mut offset, 10);
        given += names.len();
        assert!(given <= NAMES, "new names come without end");
        let Some(last) = names.last() else { break };
        for old in &names {
            let new = format!("{old}.renamed");
            let (old, new) = (Name::new(old.as_bytes()).unwrap(), Name::new(new.as_bytes()).unwrap());
            store.vfs().rename(directory, old, directory, new, RenameMode::Replace).unwrap();
        }
        make(&store, directory, &format!("{last}.new"));
    }
    assert_eq!(given, NAMES);
    // Read anew, it shows what there is now.
    let mut offset = 0;
    assert_eq!(some(&store, stream, &mut offset, 2 * NAMES).len(), NAMES + NAMES / 10);
    store.vfs().releasedir(stream).unwrap();
    store.end();
}

#[test]
fn the_last_name_may_go_and_come_again() {
    let (store, directory) = furnished();
    let stream = store.vfs().opendir(directory).unwrap();
    let mut offset = 0;
    let given = some(&store, stream, &mut offset, NAMES - 1);
    let last = name(NAMES - 1);
    assert!(!given.contains(&last));
    store.unlink(&format!("/d/{last}"));
    make(&store, directory, "another");
    // It was made while the directory was read: given or not, but no other twice.
    assert!(some(&store, stream, &mut offset, NAMES).iter().all(|name| name == "another"));
    store.vfs().releasedir(stream).unwrap();
    store.end();
}
