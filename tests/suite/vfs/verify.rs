//! Damage to bodies that nobody has asked for yet: found by a verification, and by the store itself in the background.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use nexus::error::ErrorKind;
use nexus::model::{Digest, Name, NodeId, VPath};
use nexus::vfs::{Fault, Pace, VerifyEvent, VerifyReport, Vfs};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, body, files_below};
use crate::harness::wait_until;

/// The store at work as soon as it is open.
pub(super) const BUSY: Pace = Pace {
    after_open: Duration::ZERO,
    bytes_per_second: 1 << 30,
    between_rounds: Duration::ZERO,
    grace: Duration::ZERO,
    rest: Duration::from_millis(1),
};
const BIG: usize = 600_000;
const SMALL: usize = 3_000;

/// Lets go of a store, and does something to its files before it is opened again.
fn meanwhile<T>(store: &mut Store, act: impl FnOnce(&Path) -> T) -> T {
    store.vfs().close().unwrap();
    store.vfs = None;
    let outcome = act(&store.data_dir());
    store.vfs = Some(store.open(false).unwrap());
    outcome
}

pub(super) fn database(data_dir: &Path) -> Connection {
    Connection::open(data_dir.join("metadata.db")).unwrap()
}

pub(super) fn setting(data_dir: &Path, key: &str) -> Option<i64> {
    let row = |row: &rusqlite::Row<'_>| row.get(0);
    database(data_dir).query_row("SELECT value FROM setting WHERE key = ?1", [key], row).optional().unwrap()
}

/// Changes a stored byte as a bad disk does: nothing tells that the file was touched.
fn rot(data_dir: &Path, content: &[u8]) {
    let (digest, database) = (Digest::of(content), database(data_dir));
    let name = digest.to_string();
    if let Some(path) = files_below(&data_dir.join("cas")).iter().find(|path| path.ends_with(&name)) {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[!content[content.len() / 2]], content.len() as u64 / 2).unwrap();
        let changed = file.metadata().unwrap();
        let ctime = changed.ctime() * 1_000_000_000 + changed.ctime_nsec();
        let stamp = "UPDATE blob SET file_ctime = ?2 WHERE digest = ?1 AND file_inode = ?3";
        assert_eq!(database.execute(stamp, params![digest.as_bytes(), ctime, changed.ino()]).unwrap(), 1);
    } else {
        let mut bytes = content.to_vec();
        bytes[content.len() / 2] ^= 0xff;
        let small = "UPDATE small SET body = ?2 WHERE id = (SELECT id FROM blob WHERE digest = ?1)";
        assert_eq!(database.execute(small, params![digest.as_bytes(), bytes]).unwrap(), 1);
    }
}

fn verify(vfs: &Vfs, path: &str) -> VerifyReport {
    let mut last = 0;
    let report = vfs.verify(&VPath::parse(path.as_bytes()).unwrap(), &mut |event| {
        if let VerifyEvent::Progress { bytes, bytes_all } = event {
            assert!(last <= bytes && bytes <= bytes_all, "{last}, {bytes} of {bytes_all}");
            last = bytes;
        }
        ControlFlow::Continue(())
    });
    report.unwrap()
}

fn paths(report: &VerifyReport) -> BTreeSet<String> {
    report.damaged.iter().flat_map(|damaged| &damaged.paths).map(ToString::to_string).collect()
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(ToString::to_string).collect()
}

/// Two bodies of each kind, the first of each to be damaged.
fn furnished() -> Store {
    let store = Store::new();
    store.mkdir("/d");
    store.mkdir("/d/e");
    for (path, length, fill) in [
        ("/d/big", BIG, 1),
        ("/d/e/copy", BIG, 1),
        ("/big", BIG, 2),
        ("/d/small", SMALL, 3),
        ("/small", SMALL, 4),
        ("/empty", 0, 0),
    ] {
        store.put(path, &body(length, fill));
    }
    store.vfs().link(store.id("/d/big"), NodeId::ROOT, Name::new(b"another name").unwrap()).unwrap();
    store.settle();
    store
}

#[test]
fn a_verification_names_every_damaged_body_with_its_paths() {
    let mut store = furnished();
    let clean = verify(store.vfs(), "/");
    assert_eq!((clean.bodies, clean.bytes), (4, 2 * (BIG + SMALL) as u64));
    assert!(clean.damaged.is_empty());
    meanwhile(&mut store, |data_dir| {
        rot(data_dir, &body(BIG, 1));
        rot(data_dir, &body(SMALL, 3));
    });
    assert!(store.vfs().check().unwrap().problems.len() == 1, "a check believes the stamp of a file");

    assert!(verify(store.vfs(), "/big").damaged.is_empty());
    assert_eq!(paths(&verify(store.vfs(), "/d/e")), set(&["/another name", "/d/big", "/d/e/copy"]));
    let all = verify(store.vfs(), "/");
    assert_eq!(paths(&all), set(&["/another name", "/d/big", "/d/e/copy", "/d/small"]));
    let fault = |content: &[u8]| {
        let digest = Digest::of(content);
        all.damaged.iter().find(|damaged| damaged.digest == digest).map(|damaged| (damaged.size, damaged.fault.clone()))
    };
    // The one that was found before is in quarantine.
    assert_eq!(fault(&body(BIG, 1)), Some((BIG as u64, Fault::Missing)));
    assert_eq!(fault(&body(SMALL, 3)), Some((SMALL as u64, Fault::Damaged)));
    assert_eq!(files_below(&store.data_dir().join("quarantine")).len(), 2);

    // The same content heals, and nothing is left of the damage.
    store.put("/again big", &body(BIG, 1));
    store.put("/again small", &body(SMALL, 3));
    store.settle();
    assert!(verify(store.vfs(), "/").damaged.is_empty());
    assert_eq!((store.get("/d/e/copy"), store.get("/d/small")), (body(BIG, 1), body(SMALL, 3)));
    store.end();
}

#[test]
fn a_store_that_is_only_read_is_verified_and_left_as_it_is() {
    let mut store = furnished();
    meanwhile(&mut store, |data_dir| rot(data_dir, &body(BIG, 1)));
    store.vfs().close().unwrap();
    let reading = store.open(true).unwrap();
    assert_eq!(paths(&verify(&reading, "/d/big")), set(&["/another name", "/d/big", "/d/e/copy"]));
    assert_eq!(verify(&reading, "/").damaged.len(), 1, "and found again, because it is still there");
    assert!(files_below(&store.data_dir().join("quarantine")).is_empty());
    reading.close().unwrap();
}

#[test]
fn a_verification_stops_when_it_is_told_to() {
    let store = furnished();
    let mut asked = 0;
    let stopped = store.vfs().verify(&VPath::root(), &mut |_| {
        asked += 1;
        if asked < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(stopped.unwrap().bodies < 4);
    assert_eq!(
        store.vfs().verify(&VPath::parse(b"/none").unwrap(), &mut |_| ControlFlow::Continue(())).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    store.end();
}

#[test]
fn a_store_finds_damage_by_itself() {
    for (length, fill) in [(BIG, 1), (SMALL, 3)] {
        let mut store = furnished();
        meanwhile(&mut store, |data_dir| rot(data_dir, &body(length, fill)));
        // Open before it is found: who reads on afterwards gets an error, not the bytes.
        let path = if length == BIG { "/d/big" } else { "/d/small" };
        let handle = store.vfs().open(&super::CALLER, store.id(path), super::READ).unwrap().handle;
        let read = |at: u64| store.vfs().read(handle, at, &mut [0; 100]);
        assert!(length == SMALL || read(0).is_ok(), "the file looks like the one that was sealed");
        store.vfs().set_pace(BUSY);
        let quarantine = store.data_dir().join("quarantine").join(Digest::of(&body(length, fill)).to_string());
        wait_until("the store puts the damaged body aside", 20, || quarantine.exists());
        wait_until("and lets nobody read on", 20, || read(0).is_err());
        assert_eq!(read(0).unwrap_err().kind(), ErrorKind::Damaged);
        store.vfs().release(handle).unwrap();
        store.vfs().set_pace(Pace::default());
        store.put("/again", &body(length, fill));
        store.settle();
        assert_eq!(store.get(path), body(length, fill));
        store.end();
    }
}

#[test]
fn a_file_that_is_not_the_one_that_was_sealed_is_looked_at_first() {
    let mut store = furnished();
    let file = |data_dir: &Path| {
        let name = Digest::of(&body(BIG, 2)).to_string();
        files_below(&data_dir.join("cas")).into_iter().find(|path| path.ends_with(&name)).unwrap()
    };
    meanwhile(&mut store, |data_dir| {
        // As a copy of the store would be; and the round is over the body already.
        let path = file(data_dir);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        database(data_dir).execute("INSERT INTO setting VALUES ('scrub_after', 1000)", []).unwrap();
    });
    let path = file(&store.data_dir());
    store.vfs().set_pace(Pace { between_rounds: Duration::from_secs(3600), ..BUSY });
    wait_until("the store puts the changed body aside", 20, || !path.exists());
    store.put("/again", &body(BIG, 2));
    store.settle();
    store.end();
}

#[test]
fn the_scrub_goes_on_where_it_was_and_comes_round() {
    let mut store = furnished();
    // At a crawl: it sleeps after its first MiB until it is stopped.
    let crawl = Pace { bytes_per_second: 1, ..BUSY };
    wait_until("the place is noted at the end", 20, || {
        store.vfs().set_pace(crawl);
        std::thread::sleep(Duration::from_millis(20));
        meanwhile(&mut store, |data_dir| setting(data_dir, "scrub_after")).is_some()
    });
    // What lies behind it waits for the next round, ...
    let quarantined = |store: &Store| files_below(&store.data_dir().join("quarantine")).len();
    meanwhile(&mut store, |data_dir| {
        rot(data_dir, &body(BIG, 1));
        database(data_dir).execute("UPDATE setting SET value = 1000 WHERE key = 'scrub_after'", []).unwrap();
    });
    store.vfs().set_pace(Pace { between_rounds: Duration::from_secs(3600), ..BUSY });
    let data_dir = store.data_dir();
    wait_until("the round ends", 20, || setting(&data_dir, "scrub_ended").is_some());
    assert_eq!((quarantined(&store), setting(&data_dir, "scrub_after")), (0, None));
    // ... which comes.
    store.vfs().set_pace(BUSY);
    wait_until("the damage is found", 20, || quarantined(&store) == 1);
    store.put("/again", &body(BIG, 1));
    store.settle();
    store.end();
}
