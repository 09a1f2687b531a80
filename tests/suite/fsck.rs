//! `nexus fsck`: whatever is wrong with a store is noticed, and mended without a loss to the rest.

mod place;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nexus::model::{Caller, VPath};
use nexus::vfs::OpenMode;
use place::{Place, Shown, id, put};
use table::{CASES, Case};

/// Each case in a copy of one store: the check names it, and nothing else but what cannot but break with it; without
/// `--repair` nothing is written; with it the store is clean afterwards, and all that was not broken is still there.
#[test]
fn every_problem_is_named_and_mended() {
    let whole = Place::with_store();
    assert_eq!(whole.fsck(&[]).code, 0);
    let before = whole.shown();
    for case in CASES {
        let place = whole.copy();
        // Before it is broken: afterwards the names may be gone.
        let numbered = |text: &str| whole.numbered(text);
        println!("{}: {}", case.says, case.sql);
        place.database().execute_batch(&numbered(case.sql)).unwrap();
        (case.files)(&place);
        let bytes = place.bytes();

        let checked = place.fsck(&[]);
        assert_eq!(checked.code, 4, "{}{}", checked.out, checked.err);
        let expected: BTreeSet<_> = std::iter::once(&case.says).chain(case.also).copied().collect();
        assert_eq!(broken(&checked.out, &expected), expected, "{}", checked.out);
        assert!(place.bytes() == bytes, "a check has changed the store");

        let repaired = place.fsck(&["--repair"]);
        assert_eq!(repaired.code, if case.left { 4 } else { 1 }, "{}{}", repaired.out, repaired.err);
        assert!(repaired.out.contains("\nmended: ") || case.left, "{}", repaired.out);
        println!("{}", repaired.out);
        let again = place.fsck(&[]);
        assert_eq!(again.code, if case.left { 4 } else { 0 }, "{}{}", again.out, again.err);
        assert!(!again.out.contains("residue"), "{}", again.out);
        compare(case, &before, &place.shown(), &numbered);
        assert_eq!(place.fsck(&[]).code, again.code, "the store was not fit for use");
    }
}

#[test]
fn every_invariant_has_a_case() {
    for holds in nexus::meta::invariants() {
        assert!(CASES.iter().any(|case| case.says == holds), "nothing breaks: {holds}");
    }
}

/// The invariants and words of `expected` that the problems told are about; a problem that is about none of them as it
/// is told.
fn broken<'a>(out: &'a str, expected: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let problems = out.lines().filter_map(|line| line.strip_prefix("problem: "));
    let problems = problems.filter(|what| !what.starts_with("nothing else was checked"));
    problems.map(|what| expected.iter().copied().find(|words| what.contains(words)).unwrap_or(what)).collect()
}

fn compare(
    case: &Case,
    before: &BTreeMap<String, Shown>,
    after: &BTreeMap<String, Shown>,
    numbered: &dyn Fn(&str) -> String,
) {
    let below = |path: &str, above: &str| path.strip_prefix(above).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    for (path, shown) in before {
        let moved = case.moved.iter().find(|(from, _)| below(path, from));
        let holds_other = case.holds.iter().any(|(other, _)| other == path);
        let place = match moved {
            Some((from, to)) => format!("{}{}", numbered(to), &path[from.len()..]),
            None if holds_other || case.differ.iter().any(|other| below(path, other)) => continue,
            None => path.clone(),
        };
        let found = after.get(&place).unwrap_or_else(|| panic!("{path} is not at {place}"));
        // What becomes a file of its own is root's alone.
        if moved.is_some() && holds_other {
            assert_eq!((found.0, &found.3), (shown.0, &shown.3), "{place}");
        } else {
            assert_eq!(found, shown, "{place}");
        }
    }
    for (path, body) in case.holds {
        assert_eq!(String::from_utf8_lossy(&after[&numbered(path)].3), *body, "{path}");
    }
    let made = |path: &str| path.starts_with("/lost+found");
    for path in after.keys().filter(|path| !made(path)) {
        assert!(before.contains_key(path), "{path} came from nowhere");
    }
}

#[test]
fn what_is_found_is_for_root_alone() {
    let place = Place::with_store();
    place.database().execute_batch(&place.numbered("DELETE FROM entry WHERE node = :victim")).unwrap();
    assert_eq!(place.fsck(&["--repair"]).code, 1);
    let vfs = place.open();
    let attr = vfs.resolve(&VPath::parse(b"/lost+found").unwrap()).unwrap();
    assert_eq!((attr.uid, attr.gid, attr.mode), (0, 0, 0o700));
    vfs.close().unwrap();
}

#[test]
fn a_damaged_body_is_kept_and_healed_by_the_same_content() {
    let place = Place::with_store();
    let before = place.shown();
    fs::write(place.file_of_large(), "what is left").unwrap();
    place.database().execute_batch("UPDATE small SET body = X'78' WHERE LENGTH(body) = 100").unwrap();
    let repaired = place.fsck(&["--repair"]);
    assert_eq!(repaired.code, 4, "{}", repaired.out);
    assert!(repaired.out.contains("/large") && repaired.out.contains("in quarantine"), "{}", repaired.out);
    let mut kept: Vec<_> =
        fs::read_dir(place.path("quarantine")).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, [&b"what is left"[..], b"x"]);
    assert_eq!(place.fsck(&["--repair"]).code, 4, "it stays reported");

    // A copy of the bytes from elsewhere, under any name.
    let vfs = place.open();
    put(&vfs, "/copy-of-victim", &before["/victim"].3);
    put(&vfs, "/copy-of-large", &before["/large"].3);
    vfs.close().unwrap();
    let healed = place.fsck(&[]);
    assert_eq!(healed.code, 0, "{}", healed.out);
    let after = place.shown();
    assert!(before.iter().all(|(path, shown)| after[path] == *shown));
}

#[test]
fn what_may_be_a_lost_body_is_not_cleared_away() {
    let place = Place::with_store();
    let file = place.file_of_large();
    let name = file.file_name().unwrap().to_owned();
    place.database().execute_batch("DELETE FROM blob WHERE size = 40000").unwrap();
    let repaired = place.fsck(&["--repair"]);
    assert_eq!(repaired.code, 1, "{}", repaired.out);
    assert!(repaired.out.contains("the body of /large is lost"), "{}", repaired.out);
    assert_eq!(fs::read(place.path("quarantine").join(name)).unwrap().len(), 40_000);
}

/// What a crash leaves is no problem, and a repair removes it.
#[test]
fn residue_is_told_and_cleared() {
    let place = Place::with_store();
    let clean = place.bytes().into_keys().collect::<BTreeSet<_>>();
    let unlinked = "UPDATE node SET nlink = 0 WHERE id = :empty; DELETE FROM entry WHERE node = :empty";
    place.database().execute_batch(&place.numbered(unlinked)).unwrap();
    fs::write(place.path("staging/99"), "x").unwrap();
    fs::write(place.path("staging/99.sealed"), "x").unwrap();
    let digest = "0123456789abcdef".repeat(4);
    fs::create_dir_all(place.path("cas/01/23")).unwrap();
    fs::write(place.path(&format!("cas/01/23/{digest}")), "x").unwrap();
    let bytes = place.bytes();
    let told = ["2 staging files", "1 nodes without a name", "1 files of 1 bytes in cas/"];

    let checked = place.fsck(&[]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    assert!(told.iter().all(|what| checked.out.contains(&format!("residue: {what}"))), "{}", checked.out);
    assert!(place.bytes() == bytes);
    let repaired = place.fsck(&["--repair"]);
    assert_eq!(repaired.code, 0, "{}", repaired.out);
    assert!(told.iter().all(|what| repaired.out.contains(&format!("removed: {what}"))), "{}", repaired.out);
    assert!(!place.fsck(&[]).out.contains("residue"));
    let left: BTreeSet<_> = place.bytes().into_keys().filter(|path| path.is_file()).collect();
    assert!(left.is_subset(&clean), "{left:?}");
}

/// A start after a crash clears only what was removed: a count that is wrong is not taken for that.
#[test]
fn a_start_removes_no_node_that_has_a_name() {
    let place = Place::with_store();
    let before = place.shown();
    let zero = "UPDATE node SET nlink = 0 WHERE id IN (1, :dir, :side, :victim, :vacant);
                UPDATE node SET draft = 7 WHERE id = :vacant";
    place.database().execute_batch(&place.numbered(zero)).unwrap();
    fs::write(place.path("staging/7"), "draft").unwrap();
    let after = place.shown();
    assert_eq!(after["/vacant"].3, b"draft");
    for (path, shown) in before.iter().filter(|(path, _)| *path != "/vacant") {
        assert_eq!((after[path].0, &after[path].3), (shown.0, &shown.3), "{path}");
    }
    assert_eq!(place.fsck(&["--repair"]).code, 1);
}

#[test]
fn a_database_with_lost_rows_is_left_as_it_is() {
    let place = Place::with_store();
    let root: u64 = place
        .database()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'node'", [], |row| row.get(0))
        .unwrap();
    let mut bytes = fs::read(place.path("metadata.db")).unwrap();
    let page = (root as usize - 1) * 4096;
    bytes[page..page + 100].fill(0xff);
    fs::write(place.path("metadata.db"), &bytes).unwrap();
    assert_eq!(place.fsck(&[]).code, 4);
    let repaired = place.fsck(&["--repair"]);
    assert_eq!(repaired.code, 4, "{}{}", repaired.out, repaired.err);
    assert!(repaired.err.contains("restore it from a backup"), "{}", repaired.err);
    let after = fs::read(place.path("metadata.db")).unwrap();
    assert!(after[4096..] == bytes[4096..], "rows were changed");
}

#[test]
fn a_store_in_use_is_not_touched() {
    let place = Place::with_store();
    let vfs = place.open();
    for arguments in [&[][..], &["--repair"]] {
        let refused = place.fsck(arguments);
        assert_eq!(refused.code, 8, "{}", refused.err);
        assert!(refused.err.contains("in use"), "{}", refused.err);
    }
    let read = OpenMode { read: true, ..OpenMode::default() };
    let caller = Caller { uid: 0, gid: 0 };
    let handle = vfs.open(&caller, id(&vfs, "/victim"), read).unwrap().handle;
    vfs.release(handle).unwrap();
    vfs.close().unwrap();
}
