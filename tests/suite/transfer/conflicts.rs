//! What becomes of a line whose path is taken, in every mode; a rehearsal tells exactly that.

use nexus::model::{Name, NodeId, Principal, Timestamp};
use nexus::transfer::{Conflict, ImportOptions};

use super::place::{CALLER, Place, WRITE, counts};

const MODES: [Conflict; 4] = [Conflict::Skip, Conflict::Overwrite, Conflict::Remap, Conflict::Auto];

/// What stands at the path of the line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum There {
    Nothing,
    Same,
    Newer,
    Older,
    AsOld,
    Open,
    OpenSame,
    Directory,
    Link,
    FileAbove,
}

const NOON: Timestamp = Timestamp(1_700_000_000_000_000_000);

/// Created, updated, skipped, remapped for each of `MODES`.
const TABLE: &[(There, [[u64; 4]; 4])] = {
    const C: [u64; 4] = [1, 0, 0, 0];
    const U: [u64; 4] = [0, 1, 0, 0];
    const S: [u64; 4] = [0, 0, 1, 0];
    const R: [u64; 4] = [0, 0, 0, 1];
    &[
        (There::Nothing, [C, C, C, C]),
        (There::Same, [U, U, U, U]),
        (There::Newer, [S, U, R, S]),
        (There::Older, [S, U, R, U]),
        (There::AsOld, [S, U, R, S]),
        (There::Open, [S, S, R, S]),
        (There::OpenSame, [U, U, U, U]),
        (There::Directory, [S, S, R, S]),
        (There::Link, [S, S, R, S]),
        (There::FileAbove, [S, S, S, S]),
    ]
};

#[test]
fn every_mode_meets_everything() {
    for (there, outcomes) in TABLE {
        for (mode, outcome) in MODES.into_iter().zip(outcomes) {
            let place = Place::new();
            let line = prepare(&place);
            let handle = arrange(&place, *there);
            place.vfs.sync().unwrap();
            let before = place.dump();

            let dry = ImportOptions { conflict: mode, dry_run: true, bodies: None };
            let predicted = place.import_as(Principal::default(), &line, &dry).unwrap();
            assert_eq!(place.dump(), before, "{there:?}, {mode:?}: a rehearsal changed something");
            let report = place.import(&line, mode).unwrap();
            assert_eq!(report, predicted, "{there:?}, {mode:?}");
            assert_eq!(counts(&report), *outcome, "{there:?}, {mode:?}: {report:#?}");
            assert_eq!(report.notes.len() as u64, report.skipped + report.remapped);

            let told = |path: &[u8]| (place.get(path), place.vfs.getxattr(place.id(path).unwrap(), b"user.from").ok());
            let from_line = (b"the line's".to_vec(), Some(b"line".to_vec()));
            match outcome {
                [_, _, 0, 0] => {
                    assert_eq!(told(b"/dir/file.txt"), from_line, "{there:?}, {mode:?}");
                    let attr = place.vfs.getattr(place.id(b"/dir/file.txt").unwrap()).unwrap();
                    assert_eq!((attr.mtime, attr.btime), (NOON, NOON));
                    if *there != There::Nothing {
                        let own = place.vfs.getxattr(attr.id, b"user.own");
                        assert!(own.is_err(), "metadata that the line does not have is gone");
                    }
                }
                [_, _, 0, _] => assert_eq!(told(b"/dir/file_imported1.txt"), from_line, "{there:?}, {mode:?}"),
                _ => assert_eq!(place.dump(), before, "{there:?}, {mode:?}: a line that was skipped changed something"),
            }
            if let Some(handle) = handle {
                place.vfs.release(handle).unwrap();
            }
            place.end();
        }
    }
}

/// A store that has the body of the line, under another name.
fn prepare(place: &Place) -> Vec<u8> {
    place.put(b"/source", b"the line's");
    place.set_modified(b"/source", NOON);
    place.set(b"/source", b"user.from", b"line");
    let line = String::from_utf8(place.lines()).unwrap().replace("/source", "/dir/file.txt");
    let created = line.split("\"created_at\":\"").nth(1).unwrap().split('"').next().unwrap();
    line.replace(created, &nexus::model::rfc3339(NOON)).into_bytes()
}

fn arrange(place: &Place, there: There) -> Option<nexus::vfs::HandleId> {
    let path = b"/dir/file.txt";
    let put = |body: &[u8], age: i64| {
        place.put(path, body);
        place.set(path, b"user.own", b"x");
        place.set_modified(path, Timestamp(NOON.0 - age));
    };
    match there {
        There::Nothing => {}
        There::Same => put(b"the line's", 5),
        There::Newer => put(b"other", -1),
        There::Older => put(b"other", 1),
        There::AsOld => put(b"other", 0),
        There::Open => {
            put(b"other", 1);
            let reading = nexus::vfs::OpenMode { write: false, truncate: false, ..WRITE };
            return Some(place.vfs.open(&CALLER, place.id(path).unwrap(), reading).unwrap().handle);
        }
        There::OpenSame => {
            put(b"the line's", 5);
            let reading = nexus::vfs::OpenMode { write: false, truncate: false, ..WRITE };
            return Some(place.vfs.open(&CALLER, place.id(path).unwrap(), reading).unwrap().handle);
        }
        There::Directory => place.put(b"/dir/file.txt/inside", b"x"),
        There::Link => {
            place.mkdir(b"dir");
            let (directory, name) = (place.id(b"/dir").unwrap(), Name::new(b"file.txt").unwrap());
            place.vfs.symlink(&CALLER, directory, name, b"../source").unwrap();
        }
        There::FileAbove => {
            let handle =
                place.vfs.create(&CALLER, NodeId::ROOT, Name::new(b"dir").unwrap(), 0o644, WRITE).unwrap().1.handle;
            place.vfs.release(handle).unwrap();
        }
    }
    None
}

#[test]
fn the_first_free_number_is_taken() {
    let place = Place::new();
    let line = prepare(&place);
    place.put(b"/dir/file.txt", b"other");
    for number in [1, 2, 4] {
        place.put(format!("/dir/file_imported{number}.txt").as_bytes(), b"taken");
    }
    // The same line twice: the second finds the number of the first taken.
    let report = place.import(&[line.clone(), line].concat(), Conflict::Remap).unwrap();
    assert_eq!(counts(&report), [0, 0, 0, 2]);
    let told: Vec<_> = report.notes.iter().map(|note| (note.line, note.what.as_str())).collect();
    assert_eq!(told, [(1, "imported as /dir/file_imported3.txt"), (2, "imported as /dir/file_imported5.txt")]);
    place.end();
}

#[test]
fn versions_grow_and_numbers_stay() {
    let place = Place::new();
    let line = String::from_utf8(prepare(&place)).unwrap();
    let versioned = |version: u64| line.replace("\"version\":1", &format!("\"version\":{version}"));
    place.put(b"/dir/file.txt", b"first");
    place.put(b"/dir/file.txt", b"second");
    let id = place.id(b"/dir/file.txt").unwrap();
    let version = || String::from_utf8(place.vfs.getxattr(id, b"user.nexus.version").unwrap()).unwrap();
    assert_eq!(version(), "2");
    place.import(versioned(1).as_bytes(), Conflict::Overwrite).unwrap();
    assert_eq!(version(), "3", "a new body is a new version");
    place.import(versioned(7).as_bytes(), Conflict::Overwrite).unwrap();
    assert_eq!(version(), "7", "that of the line when it is higher");
    place.import(versioned(2).as_bytes(), Conflict::Overwrite).unwrap();
    assert_eq!(version(), "7", "never back");
    assert_eq!(place.id(b"/dir/file.txt").unwrap(), id);
    place.end();
}
