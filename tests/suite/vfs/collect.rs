//! Files in `cas/` that no row names: left by a kill between the putting of a body and the commit of its row, removed by
//! the store itself, and never one that somebody is about to name.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nexus::model::{Name, NodeId, Timestamp};
use nexus::vfs::{StoreOptions, Vfs};

use super::verify::{BUSY, setting};
use super::{Store, body, files_below};
use crate::harness::{self, Mounted, wait_until};

const BIG: usize = 300_000;
/// How long a race is run.
const RACE: Duration = Duration::from_secs(3);

fn stored(data_dir: &Path) -> usize {
    files_below(&data_dir.join("cas")).len()
}

/// Kills the daemon until that came between the naming of a blob's file and the commit of its row. The name of the file
/// that was being stored.
fn kill_between_put_and_commit(mounted: &mut Mounted) -> String {
    let data_dir = mounted.data_dir();
    for seed in 1..=200 {
        let (name, before) = (format!("file {seed}"), stored(&data_dir));
        fs::write(mounted.path(&name), harness::bytes(seed, BIG)).unwrap();
        while stored(&data_dir) == before {
            std::hint::spin_loop();
        }
        mounted.kill();
        if mounted.fsck().ok().stdout.contains("in cas/ belong to no blob") {
            return name;
        }
        mounted.mount();
    }
    panic!("no kill came between put and commit");
}

#[test]
fn what_a_kill_leaves_in_cas_goes_by_itself() {
    let mut mounted = Mounted::new();
    let name = kill_between_put_and_commit(&mut mounted);
    let data_dir = mounted.data_dir();
    let options = StoreOptions { data_dir: data_dir.clone(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options.clone()).unwrap();
    // Before its draft is sealed again, which would give the file a row.
    vfs.unlink(NodeId::ROOT, Name::new(name.as_bytes()).unwrap()).unwrap();
    vfs.settle().unwrap();
    let left = stored(&data_dir);
    assert_eq!(vfs.check().unwrap().residue.len(), 1, "nobody has collected yet");
    vfs.close().unwrap();
    drop(vfs);
    assert_eq!(setting(&data_dir, "clean"), Some(0), "an orderly end does not hide what is left");

    let vfs = Vfs::open_store(options).unwrap();
    vfs.set_pace(BUSY);
    wait_until("the file that no row names is removed", 60, || stored(&data_dir) < left);
    wait_until("the collection ends", 60, || vfs.check().unwrap().residue.is_empty());
    let report = vfs.check().unwrap();
    assert!(report.problems.is_empty() && stored(&data_dir) == left - 1, "{:#?}", report.problems);
    wait_until("the other parts are collected", 60, || vfs.is_tidy());
    vfs.close().unwrap();
    assert_eq!(setting(&data_dir, "clean"), Some(1));
    mounted.mount();
    mounted.finish();
}

#[test]
fn a_store_that_was_closed_in_order_is_not_collected() {
    let mut store = Store::new();
    store.put("/a", &body(BIG, 1));
    store.settle();
    store.reopen();
    // A file that appears behind its back belongs to no crash.
    let stray = store.data_dir().join("cas/00/00");
    fs::create_dir_all(&stray).unwrap();
    let stray = stray.join("0".repeat(64));
    fs::write(&stray, b"stray").unwrap();
    store.vfs().set_pace(BUSY);
    let data_dir = store.data_dir();
    wait_until("a round of the scrub is over, which comes after a collection", 20, || {
        setting(&data_dir, "scrub_ended").is_some()
    });
    assert!(stray.exists());
    assert_eq!(store.vfs().collect().unwrap(), (1, 5));
    store.end();
}

#[test]
fn what_is_collected_is_never_what_somebody_is_about_to_name() {
    let store = Store::new();
    let over = AtomicBool::new(false);
    store.vfs().set_pace(BUSY);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (store, over) = (&store, &over);
            scope.spawn(move || {
                // The same bytes come and go, under two names and from two threads.
                let path = format!("/{writer}");
                for round in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let content = body(BIG, (round % 2) as u8);
                    store.put(&path, &content);
                    let etag = store.says(&path, "etag");
                    assert_eq!(etag, nexus::model::Digest::of(&content).to_string());
                    assert!(store.get(&path) == content);
                    store.unlink(&path);
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < RACE {
            store.vfs().collect().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    store.put("/last", &body(BIG, 1));
    store.settle();
    assert_eq!(store.get("/last"), body(BIG, 1));
    store.unlink("/last");
    store.settle();
    assert_eq!(stored(&store.data_dir()), 0);
    store.end();
}

#[test]
fn a_body_whose_row_is_not_durably_gone_is_not_collected() {
    let mut store = Store::new();
    let mut lost = 0;
    for fill in 0..20 {
        store.put("/a", &body(BIG, fill));
        store.settle();
        store.vfs().sync().unwrap();
        // So that the thread that commits has nothing to do, and waits for more when the next change comes.
        std::thread::sleep(Duration::from_millis(60));
        store.unlink("/a");
        store.vfs().collect().unwrap();
        store.reopen_unclosed();
        // The crash came before the commit: the file is there again, as it was.
        if store.attr("/a").is_ok() {
            lost += 1;
            assert_eq!(store.get("/a"), body(BIG, fill));
        }
        store.settle();
    }
    assert_ne!(lost, 0, "no crash came before the commit");
    store.end();
}
