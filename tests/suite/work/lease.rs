//! Leases and fencing, on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nexus::error::ErrorKind;
use nexus::model::Timestamp;
use nexus::model::work::Status;
use nexus::work::{Claim, ClaimRequest, Scope};

use super::Store;
use super::store::kind;

const START: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn claim(store: &Store, worker: &str, seconds: u64) -> Option<Claim> {
    let request = ClaimRequest { worker, lease: Some(Duration::from_secs(seconds)) };
    store.vfs().work_claim(None, &Scope::EVERYTHING, &request, Duration::ZERO).unwrap()
}

#[test]
fn a_lease_that_runs_out_makes_the_item_ready_and_the_late_worker_is_refused() {
    static NOW: AtomicI64 = AtomicI64::new(START);
    let store = Store::with_clock(|| Timestamp(NOW.load(Ordering::Relaxed)));
    let id = store.item("/job", "ready");
    let first = claim(&store, "first", 10).unwrap();
    assert_eq!(first.item.lease_until.as_deref(), Some("2023-11-14T22:13:30Z"));
    assert_eq!(store.get(id, "nexus.claim"), Some(first.claim.to_string()));
    NOW.fetch_add(10 * SECOND - 1, Ordering::Relaxed);
    assert_eq!(claim(&store, "second", 10), None);
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(store.get(id, "status").as_deref(), Some("ready"));
    assert_eq!(store.get(id, "worker_id"), None);
    // Nobody has it yet: the first one is late all the same.
    assert_eq!(kind(store.transit(id, Status::Completed, Some(first.claim))), Some(ErrorKind::NotPermitted));
    let second = claim(&store, "second", 10).unwrap();
    assert!(second.claim > first.claim);
    for to in [Status::Completed, Status::Failed, Status::Ready] {
        assert_eq!(kind(store.transit(id, to, Some(first.claim))), Some(ErrorKind::NotPermitted));
    }
    // A lease can be made longer.
    store.set(id, "lease_until", "2023-11-14T23:00:00+00:00").unwrap();
    NOW.fetch_add(60 * SECOND, Ordering::Relaxed);
    assert_eq!(store.state(id), Some(Status::InProgress));
    assert_eq!(store.transit(id, Status::Completed, Some(second.claim)).unwrap().state, Status::Completed);
    assert_eq!(store.get(id, "lease_until"), None);
    // The numbers of claims go on when the item is made anew.
    store.remove(id, "status").unwrap();
    store.set(id, "status", "ready").unwrap();
    assert!(claim(&store, "third", 1).unwrap().claim > second.claim);
    store.end();
}

#[test]
fn a_lease_survives_its_worker_and_the_store() {
    static NOW: AtomicI64 = AtomicI64::new(START);
    let mut store = Store::with_clock(|| Timestamp(NOW.load(Ordering::Relaxed)));
    let (id, waits) = (store.item("/job", "ready"), store.item("/waits", "blocked"));
    store.set(waits, "depends_on", &id.to_string()).unwrap();
    let first = claim(&store, "first", 10).unwrap();
    store.close();
    NOW.fetch_add(20 * SECOND, Ordering::Relaxed);
    store.open();
    assert_eq!(kind(store.transit(id, Status::Completed, Some(first.claim))), Some(ErrorKind::NotPermitted));
    assert_eq!(store.paths(Status::Ready), ["/job"]);
    let second = claim(&store, "second", 10).unwrap();
    store.transit(id, Status::Completed, Some(second.claim)).unwrap();
    assert_eq!(store.paths(Status::Ready), ["/waits"]);
    store.end();
}

/// Whoever waits for work gets it when it comes: by a status, by a dependency that closes, by a lease that runs out.
#[test]
fn waiting_ends_with_work() {
    static NOW: AtomicI64 = AtomicI64::new(START);
    let store = Store::with_clock(|| Timestamp(NOW.load(Ordering::Relaxed)));
    let (id, waits) = (store.item("/job", "pending"), store.item("/waits", "ready"));
    store.set(waits, "depends_on", &id.to_string()).unwrap();
    let wait = |worker: &'static str| {
        let vfs = Arc::clone(store.vfs());
        std::thread::spawn(move || {
            let request = ClaimRequest { worker, lease: Some(Duration::from_secs(5)) };
            vfs.work_claim(None, &Scope::EVERYTHING, &request, Duration::from_secs(60)).unwrap().unwrap()
        })
    };
    let first = wait("first");
    store.set(id, "status", "ready").unwrap();
    let first = first.join().unwrap();
    assert_eq!(first.item.virtual_path, "/job");
    let again = wait("again");
    NOW.fetch_add(5 * SECOND, Ordering::Relaxed);
    let again = again.join().unwrap();
    assert_eq!((again.item.virtual_path.as_str(), again.item.worker_id.as_deref()), ("/job", Some("again")));
    let last = wait("last");
    store.transit(id, Status::Completed, Some(again.claim)).unwrap();
    assert_eq!(last.join().unwrap().item.virtual_path, "/waits");
    store.end();
}

#[test]
fn changes_are_told_in_their_order() {
    let store = Store::new();
    let watch = |after| store.vfs().work_changes(&Scope::EVERYTHING, after, Duration::from_secs(30)).unwrap();
    let start = watch(None).last;
    let (a, b) = (store.item("/a", "ready"), store.item("/b", "blocked"));
    store.set(b, "depends_on", "/a").unwrap();
    store.set(a, "status", "completed").unwrap();
    store.unlink("/b");
    // What is undone is not told.
    assert!(store.set(a, "status", "nonsense").is_err());
    let seen = watch(Some(start));
    let told: Vec<_> = seen.changes.iter().map(|c| (c.virtual_path.as_str(), c.from, c.to)).collect();
    let expected = [
        ("/a", None, Some(Status::Ready)),
        ("/b", None, Some(Status::Blocked)),
        ("/a", Some(Status::Ready), Some(Status::Completed)),
        ("/b", Some(Status::Blocked), Some(Status::Ready)),
        ("/b", Some(Status::Ready), None),
    ];
    assert_eq!(told, expected);
    assert!(!seen.missed);
    let none = store.vfs().work_changes(&Scope::EVERYTHING, Some(seen.last), Duration::ZERO).unwrap();
    assert_eq!((none.changes.len(), none.last), (0, seen.last));
    // Whoever is slow learns it.
    for _ in 0..2100 {
        store.set(a, "status", "ready").unwrap();
        store.set(a, "status", "pending").unwrap();
    }
    assert!(watch(Some(seen.last)).missed);
    store.end();
}
