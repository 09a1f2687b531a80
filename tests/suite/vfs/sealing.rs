//! Sealing many drafts at once: those with the same bytes, those that somebody has open, and those opened meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use nexus::model::Digest;

use super::{CALLER, READ, Store, WRITE, body, files_below};

const DRAFT: usize = 20_000;
/// More than are sealed at a time.
const FILES: u8 = 150;

fn name(number: u8) -> String {
    format!("/file {number}")
}

#[test]
fn drafts_that_are_sealed_together_become_the_bodies_they_would_become_alone() {
    let store = Store::new();
    let contents = 40;
    let old = body(DRAFT, 7);
    store.put("/old", &old);
    store.settle();
    let mut open = Vec::new();
    for number in 0..FILES {
        let (id, handle) = store.start(&name(number), &body(DRAFT, number % contents));
        if number % 10 == 0 { open.push((id, handle)) } else { store.vfs().release(handle).unwrap() }
    }
    store.settle();
    // The first of the forty contents are those of open files alone: 0, 10, 20 and 30.
    assert_eq!(files_below(&store.data_dir().join("cas")).len(), 36);
    for (_, handle) in open {
        assert_eq!(store.vfs().write(handle, 0, b"!").unwrap(), 1);
        store.vfs().release(handle).unwrap();
    }
    store.settle();
    assert_eq!(files_below(&store.data_dir().join("cas")).len(), 40);
    for number in 0..FILES {
        let mut wanted = body(DRAFT, number % contents);
        if number % 10 == 0 {
            wanted[0] = b'!';
        }
        assert!(store.get(&name(number)) == wanted, "{number}");
        assert_eq!(store.says(&name(number), "etag"), Digest::of(&wanted).to_string(), "{number}");
    }
    let with_old = (0..FILES).filter(|number| number % 10 != 0 && number % contents == 7).count() + 1;
    assert_eq!(store.says("/old", "refs"), with_old.to_string());
    store.end();
}

#[test]
fn a_file_that_is_opened_and_written_while_many_are_sealed_keeps_what_was_written() {
    let store = Store::new();
    for number in 0..FILES {
        store.put(&name(number), &body(DRAFT, number));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                store.vfs().settle().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut round: u8 = 0;
        while !done.load(Ordering::Relaxed) {
            for number in (0..FILES).step_by(7) {
                let id = store.id(&name(number));
                let handle = store.vfs().open(&CALLER, id, if round == 0 { READ } else { WRITE }).unwrap().handle;
                if round > 0 {
                    assert_eq!(store.vfs().write(handle, u64::from(round), &[round]).unwrap(), 1);
                }
                store.vfs().release(handle).unwrap();
            }
            round = (round + 1).min(100);
        }
        for number in (0..FILES).step_by(7) {
            let mut wanted = body(DRAFT, number);
            for written in 1..round {
                wanted[usize::from(written)] = written;
            }
            let found = store.get(&name(number));
            assert!(found[..usize::from(round)] == wanted[..usize::from(round)], "{number} after {round} rounds");
            assert_eq!(store.says(&name(number), "etag"), Digest::of(&found).to_string(), "{number}");
        }
    });
    store.end();
}
