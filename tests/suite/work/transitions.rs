//! The table of transitions, legal and illegal, from both doors of the library: "Setting `user.status` by setfattr is the
//! same transition, unguarded", and "A transition that is not offered is EPERM".

use std::time::Duration;

use nexus::error::ErrorKind;
use nexus::model::work::{Status, Transition};
use nexus::work::{Scope, Stands};

use super::Store;
use super::store::{ME, kind};

/// From every state to every state: `Some` is what a guarded transition is called.
const TABLE: [(Status, [Option<Transition>; 6]); 6] = {
    use Status::{Blocked, Completed, Failed, InProgress, Pending, Ready};
    use Transition::{Admit, Claim, Complete, Fail, Hold, Release, Retry};
    [
        // to:        ready          pending     blocked  in_progress  completed       failed
        (Ready, [None, Some(Hold), None, Some(Claim), None, None]),
        (Pending, [Some(Admit), None, None, None, None, None]),
        (Blocked, [None, None, None, None, None, None]),
        (InProgress, [Some(Release), None, None, None, Some(Complete), Some(Fail)]),
        (Completed, [None, None, None, None, None, None]),
        (Failed, [Some(Retry), None, None, None, None, None]),
    ]
};

#[test]
fn a_guarded_transition_is_offered_or_eperm() {
    let store = Store::new();
    for (from, row) in TABLE {
        for (to, offered) in Status::ALL.into_iter().zip(row) {
            let id = store.item(&format!("/{from}-{to}"), from.word());
            let outcome = store.transit(id, to, None);
            match offered {
                Some(_) => assert_eq!(outcome.unwrap().state, to),
                None => {
                    assert_eq!(kind(outcome), Some(ErrorKind::NotPermitted), "{from} to {to}");
                    assert_eq!(store.state(id), Some(from));
                }
            }
        }
    }
    store.end();
}

#[test]
fn setting_the_attribute_leads_everywhere() {
    let store = Store::new();
    for from in Status::ALL {
        for to in Status::ALL {
            let id = store.item(&format!("/{from}-{to}"), from.word());
            store.set(id, "status", to.word()).unwrap();
            assert_eq!((store.state(id), store.get(id, "status").as_deref()), (Some(to), Some(to.word())));
        }
    }
    store.end();
}

#[test]
fn whoever_looks_for_an_item_where_it_is_not_finds_none() {
    let store = Store::new();
    let id = store.item("/a", "ready");
    let go = |stands, to| store.vfs().work_transit(id, Stands::In(stands), to, None, &Scope::EVERYTHING, &ME);
    assert_eq!(kind(go(Status::InProgress, Status::Completed)), Some(ErrorKind::NotFound));
    assert!(go(Status::Ready, Status::InProgress).is_ok());
    assert_eq!(kind(go(Status::Ready, Status::InProgress)), Some(ErrorKind::NotFound));
    let claim = |id| store.vfs().work_claim(Some(id), &Scope::EVERYTHING, &ME, Duration::ZERO);
    assert_eq!(kind(claim(id)), Some(ErrorKind::NotFound), "it is in progress");
    let plain = store.put("/plain", b"");
    assert_eq!(kind(claim(plain)), Some(ErrorKind::NotFound));
    assert_eq!(kind(store.transit(plain, Status::Completed, None)), Some(ErrorKind::NotFound));
    store.end();
}

/// "`worker_id`, `started_at`, `completed_at` [...] are filled in on a transition if absent."
#[test]
fn times_and_workers_are_filled_in() {
    let store = Store::new();
    let id = store.item("/a", "ready");
    store.set(id, "status", "in_progress").unwrap();
    let started = store.get(id, "started_at").unwrap();
    assert_eq!(store.get(id, "worker_id").as_deref(), Some("unknown"));
    store.set(id, "worker_id", "w1").unwrap();
    store.set(id, "status", "completed").unwrap();
    assert!(store.get(id, "completed_at").unwrap() >= started);
    assert_eq!((store.get(id, "worker_id").as_deref(), store.get(id, "started_at")), (Some("w1"), Some(started)));
    // What is done again has no worker and no time yet.
    store.set(id, "status", "ready").unwrap();
    for key in ["worker_id", "started_at", "completed_at", "lease_until"] {
        assert_eq!(store.get(id, key), None, "{key}");
    }
    // What is there is kept: as cp -a writes it.
    let copy = store.put("/copy", b"");
    for (key, value) in
        [("completed_at", "then"), ("started_at", "before"), ("status", "completed"), ("worker_id", "w2")]
    {
        store.set(copy, key, value).unwrap();
    }
    assert_eq!(store.get(copy, "completed_at").as_deref(), Some("then"));
    assert_eq!(store.get(copy, "started_at").as_deref(), Some("before"));
    // A claim is a new start, whatever was noted before.
    store.set(id, "worker_id", "planned").unwrap();
    store.set(id, "started_at", "planned").unwrap();
    let claim = store.claim_next().unwrap();
    assert_eq!((claim.item.worker_id.as_deref(), claim.item.virtual_path.as_str()), (Some("me"), "/a"));
    assert_ne!(claim.item.started_at.as_deref(), Some("planned"));
    store.end();
}
