//! An export is of one moment, and nobody waits for it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use nexus::model::{Name, NodeId, Principal, VPath};
use nexus::transfer::{Conflict, ImportOptions};
use nexus::vfs::{Listed, OpenMode};

use super::place::{CALLER, Place, SIZES, WRITE, counts};
use crate::harness::{bytes, files_below, sha256};

/// Pairs of files are always written one after the other: an export must never show the second without the first.
#[test]
fn what_was_written_later_is_not_shown_without_what_was_before() {
    let place = Place::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                place.put(format!("/z/{number}").as_bytes(), &number.to_le_bytes());
                place.put(format!("/a/{number}").as_bytes(), &number.to_le_bytes());
            }
        });
        for _ in 0..50 {
            let lines = String::from_utf8(place.lines()).unwrap();
            let of = |directory: &str| lines.lines().filter(|line| line.contains(directory)).count();
            let (later, before) = (of("\"path\":\"/a/"), of("\"path\":\"/z/"));
            assert!(later == before || later + 1 == before, "{later} of {before}");
        }
        over.store(true, Ordering::Relaxed);
    });
    place.end();
}

/// Whether the close of a body was heard of or not, its version is the same; and it is not counted twice when the close falls
/// between the moment and its listing.
#[test]
fn a_body_whose_close_is_on_its_way_has_its_version() {
    let place = Place::new();
    for size in SIZES {
        let path = format!("/{size}");
        place.put(path.as_bytes(), b"first");
        let handle = place.start(path.as_bytes());
        place.vfs.write(handle, 0, &bytes(1, size)).unwrap();
        let snapshot = place.vfs.snapshot(false).unwrap();
        place.vfs.release(handle).unwrap();
        for snapshot in [snapshot, place.vfs.snapshot(false).unwrap()] {
            let mut shown = Vec::new();
            let below = VPath::parse(path.as_bytes()).unwrap();
            let mut each = |listed: Listed<'_>| {
                shown.push(listed.version);
                Ok(())
            };
            snapshot.walk(&below, &|_| true, &mut each).unwrap();
            assert_eq!(shown, [2], "{size} bytes");
        }
    }
    place.end();
}

/// Big bodies that are taken back for writing, replaced and removed while they are copied out.
#[test]
fn bodies_stay_readable_as_long_as_the_export_lasts() {
    let place = Place::new();
    for number in 0..20 {
        place.put(format!("/{number}").as_bytes(), &bytes(number, 300_000));
    }
    place.vfs.settle().unwrap();
    let snapshot = place.vfs.snapshot(true).unwrap();
    // All of it is changed now: in place, from the beginning, by removal.
    for number in 0..20 {
        let path = format!("/{number}");
        match number % 3 {
            0 => {
                let change = OpenMode { truncate: false, ..WRITE };
                let handle = place.vfs.open(&CALLER, place.id(path.as_bytes()).unwrap(), change).unwrap().handle;
                place.vfs.write(handle, 1_000, b"changed").unwrap();
                place.vfs.release(handle).unwrap();
            }
            1 => place.put(path.as_bytes(), b"short"),
            _ => place.vfs.unlink(NodeId::ROOT, Name::new(&path.as_bytes()[1..]).unwrap()).unwrap(),
        }
    }
    place.vfs.settle().unwrap();
    let mut shown = 0;
    snapshot
        .walk(&VPath::root(), &|_| true, &mut |listed| {
            let (digest, path) = (listed.digest.unwrap(), place.path("body"));
            snapshot.open_body(&digest)?.copy(&mut File::create(&path).unwrap())?;
            assert_eq!(sha256(&std::fs::read(&path).unwrap()), digest.to_string());
            shown += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, 20);
    drop(snapshot);
    // Now they go: what is left are the seven that were changed in place.
    place.check();
    assert_eq!(files_below(&place.data_dir().join("cas")).len(), 7);
    place.end();
}

#[test]
fn a_file_that_is_being_written_is_exported_as_it_is() {
    let place = Place::with_files();
    let small = place.start(b"/open/small");
    place.vfs.write(small, 0, b"half").unwrap();
    let big = place.start(b"/open/big");
    place.vfs.write(big, 0, &bytes(9, 400_000)).unwrap();
    let gone = place.start(b"/open/gone");
    place.vfs.write(gone, 0, b"gone").unwrap();
    let directory = place.id(b"/open").unwrap();
    place.vfs.unlink(directory, Name::new(b"gone").unwrap()).unwrap();

    let bodies = place.path("bodies");
    let (lines, report) = place.lines_and_bodies(&bodies);
    assert_eq!(report.files, 8);
    assert_eq!(report.notes.len(), 1, "{report:#?}");
    assert_eq!(report.notes[0].path, "/open/big");
    let text = String::from_utf8(lines.clone()).unwrap();
    assert!(text.contains(&sha256(b"half")) && text.contains(&sha256(&bytes(9, 400_000))));
    let other = Place::new();
    assert_eq!(counts(&other.import_bodies(&lines, &bodies).unwrap()), [8, 0, 0, 0]);
    assert!(other.get(b"/open/big") == bytes(9, 400_000));
    other.end();

    // One that is written to cannot be replaced under its writer.
    let line = text.lines().find(|line| line.contains("task")).unwrap().replace("/jobs/task.json", "/open/big");
    assert_eq!(counts(&place.import(line.as_bytes(), Conflict::Overwrite).unwrap()), [0, 0, 1, 0]);
    for handle in [small, big, gone] {
        place.vfs.release(handle).unwrap();
    }
    assert!(place.get(b"/open/big") == bytes(9, 400_000));
    // Closed, it can: at once, though it may not be sealed yet.
    place.vfs.settle().unwrap();
    let overwrite = ImportOptions { conflict: Conflict::Overwrite, ..ImportOptions::default() };
    let report = place.import_as(Principal::default(), line.as_bytes(), &overwrite).unwrap();
    assert_eq!(counts(&report), [0, 1, 0, 0], "{report:#?}");
    assert_eq!(place.get(b"/open/big"), b"{}");
    place.end();
}
