//! Random operations on blobs against a map, with runs so short that every state between two of them is met.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Digests, Sizes};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::BlobId;
use crate::meta::sqlite::invariants::{FOUND, UNIQUE};
use crate::meta::sqlite::{MetaStore, ReadTxn, WriteTxn};
use crate::model::Digest;

const DIGESTS: u64 = 40;
const STEPS: u64 = 300;
const SEEDS: u64 = 5;

type Model = BTreeMap<u64, BlobId>;

/// Some have the same first bytes.
fn digest(number: u64) -> Digest {
    let mut bytes = [u8::try_from(number / 3).unwrap(); 32];
    bytes[31] = u8::try_from(number).unwrap();
    bytes.into()
}

/// Numbers that look random; the generator of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn open(path: &Path) -> MetaStore {
    let (mut store, _) = MetaStore::open(path).unwrap();
    store.digests.get_mut().sizes = Sizes { run: 8, step: 3, held: 20 };
    store
}

/// What an operation does: blobs come where there were none, and go where there were some.
fn change(txn: &WriteTxn<'_>, numbers: &[u64], model: &mut Model) -> Result<()> {
    for number in numbers {
        let found = txn.find_blob(&digest(*number))?.map(|row| row.id);
        assert_eq!(found, model.get(number).copied(), "digest {number} within an operation");
        match found {
            Some(id) => {
                txn.drop_blob_ref(id)?;
                model.remove(number);
            }
            None => {
                let id = txn.insert_blob(&digest(*number), 1, 8, Some(b"x"))?;
                assert!(model.insert(*number, id).is_none());
            }
        }
    }
    Ok(())
}

fn compare(read: ReadTxn<'_>, model: &Model) {
    for number in 0..DIGESTS {
        let found = read.find_blob(&digest(number)).unwrap().map(|row| row.id);
        assert_eq!(found, model.get(&number).copied(), "digest {number}");
    }
    assert_eq!(read.broken(&[UNIQUE, FOUND]).unwrap(), Vec::<String>::new());
}

/// What a process that is killed leaves: all that was committed.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let file = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(file(from), file(to)).unwrap();
    }
}

#[test]
fn a_blob_is_found_whatever_happens() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().join("0.db");
        MetaStore::create(&path).unwrap();
        let (mut store, mut random) = (open(&path), Random(seed));
        let (mut model, mut committed) = (Model::new(), Model::new());
        for step in 0..STEPS {
            let count = random.below(7);
            let numbers: Vec<u64> = (0..count).map(|_| random.below(DIGESTS)).collect();
            let mut after = model.clone();
            let undone = || Error::new(ErrorKind::Invalid, "undone on purpose");
            match random.below(20) {
                0..10 => {
                    store.write(|txn| change(txn, &numbers, &mut after)).unwrap();
                    model = after;
                }
                10..13 => {
                    store.write(|txn| change(txn, &numbers, &mut after).and(Err::<(), _>(undone()))).unwrap_err();
                }
                13 => {
                    // More than may be held.
                    let all: Vec<u64> = (0..30).map(|_| random.below(DIGESTS)).collect();
                    let keep = random.below(2) == 0;
                    committed = model.clone();
                    store.write_alone(keep, |txn| change(txn, &all, &mut after)).unwrap();
                    if keep {
                        (model, committed) = (after.clone(), after);
                    }
                }
                14 => {
                    let snapshot = store.snapshot().unwrap();
                    committed = model.clone();
                    store.write(|txn| change(txn, &numbers, &mut after)).unwrap();
                    compare(snapshot.read(), &model);
                    model = after;
                }
                15 => {
                    store.checkpoint_all().unwrap();
                    drop(store);
                    compare(MetaStore::open_read_only(&path).unwrap().read(), &model);
                    store = open(&path);
                    committed = model.clone();
                }
                16 => {
                    let crashed = directory.path().join(format!("{}.db", step + 1));
                    copy(&path, &crashed);
                    (store, path) = (open(&crashed), crashed);
                    model = committed.clone();
                }
                _ => {
                    store.commit().unwrap();
                    committed = model.clone();
                }
            }
            compare(store.read(), &model);
        }
    }
}

/// Only a crash leaves what is not there any more.
#[test]
fn the_table_holds_what_there_is_after_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.db");
    MetaStore::create(&path).unwrap();
    let mut store = open(&path);
    let mut model = Model::new();
    for number in (0..DIGESTS).chain(0..DIGESTS / 2).chain(5..9) {
        store.write(|txn| change(txn, &[number], &mut model)).unwrap();
        store.commit().unwrap();
    }
    store.checkpoint_all().unwrap();
    let held = store.read().each("SELECT blob FROM blob_head ORDER BY 1", [], |row| row.get(0).map(BlobId)).unwrap();
    let mut expected: Vec<BlobId> = model.into_values().collect();
    expected.sort_unstable();
    assert_eq!(held, expected);
    assert!(!store.digests.get_mut().is_behind());
    drop(store);

    // A number that was given is not given again.
    let mut store = open(&path);
    let mut again = Model::new();
    store.write(|txn| change(txn, &[DIGESTS], &mut again)).unwrap();
    assert!(again[&DIGESTS] > *expected.last().unwrap());
}

#[test]
fn what_is_held_for_a_run_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.db");
    MetaStore::create(&path).unwrap();
    let mut store = open(&path);
    let held = |digests: &Digests| digests.known.as_ref().map_or(0, |known| known.touched.len() + known.run.len());
    store
        .write_alone(true, |txn| {
            for number in 0..255 {
                txn.insert_blob(&digest(number), 1, 8, Some(b"x"))?;
                assert!(held(&txn.digests.borrow()) < 20);
            }
            Ok(())
        })
        .unwrap();
    for number in 0..255 {
        assert!(store.read().find_blob(&digest(number)).unwrap().is_some());
    }
}
