//! Many workers, one queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nexus::model::NodeId;
use nexus::model::work::Status;
use nexus::work::{ClaimRequest, Scope, Stands};

use super::Store;
use crate::harness::{Random, seed};

const ITEMS: usize = 10_000;
const WORKERS: usize = 64;

/// A graph without circles: what each item needs, all of it made before.
pub(super) fn needs(random: &mut Random, items: usize) -> Vec<Vec<usize>> {
    let targets = |n: usize| {
        let mut targets = Vec::new();
        for _ in 0..random.below(4) {
            if n > 0 {
                // Near ones make long chains, far ones wide fans.
                let reach = if random.below(2) == 0 { n } else { n.min(20) };
                targets.push(n - 1 - random.below(reach as u64) as usize);
            }
        }
        targets.sort_unstable();
        targets.dedup();
        targets
    };
    (0..items).map(targets).collect()
}

/// Each item is done exactly once, and nothing before what it depends on.
#[test]
fn many_workers_do_everything_once_and_in_order() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random(seed);
    let store = Store::new();
    let mut ids: Vec<NodeId> = Vec::new();
    let needs = needs(&mut random, ITEMS);
    for (n, targets) in needs.iter().enumerate() {
        let id = store.put(&format!("/{n}"), b"");
        if !targets.is_empty() {
            let list: Vec<_> = targets.iter().map(|target| ids[*target].to_string()).collect();
            store.set(id, "depends_on", &format!("[{}]", list.join(","))).unwrap();
        }
        store.set(id, "priority", &random.below(10).to_string()).unwrap();
        store.set(id, "status", if random.below(2) == 0 { "ready" } else { "blocked" }).unwrap();
        if store.state(id) == Some(Status::Blocked) && targets.is_empty() {
            store.set(id, "status", "ready").unwrap();
        }
        ids.push(id);
    }
    let done: Arc<Mutex<Vec<NodeId>>> = Arc::default();
    let left = Arc::new(AtomicUsize::new(ITEMS));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (vfs, done, left) = (Arc::clone(store.vfs()), Arc::clone(&done), Arc::clone(&left));
            std::thread::spawn(move || {
                let name = format!("worker-{worker}");
                let request = ClaimRequest { worker: &name, lease: None };
                let mut random = Random(worker as u64);
                while left.load(Ordering::SeqCst) > 0 {
                    let wait = Duration::from_millis(200);
                    let Some(claim) = vfs.work_claim(None, &Scope::EVERYTHING, &request, wait).unwrap() else {
                        continue;
                    };
                    let id = NodeId(claim.item.path_id.parse().unwrap());
                    assert_eq!(claim.item.worker_id.as_deref(), Some(name.as_str()));
                    // Now and then a worker gives back what it took.
                    let to = if random.below(10) == 0 { Status::Ready } else { Status::Completed };
                    if to == Status::Completed {
                        done.lock().unwrap().push(id);
                    }
                    let stands = Stands::In(Status::InProgress);
                    vfs.work_transit(id, stands, to, Some(claim.claim), &Scope::EVERYTHING, &request).unwrap();
                    if to == Status::Completed {
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let done = done.lock().unwrap();
    let mut place = std::collections::HashMap::new();
    for (at, id) in done.iter().enumerate() {
        assert!(place.insert(*id, at).is_none(), "{id} was done twice");
    }
    assert_eq!(place.len(), ITEMS);
    for (item, targets) in needs.iter().enumerate() {
        for target in targets {
            assert!(place[&ids[*target]] < place[&ids[item]], "{item} was done before {target}");
        }
    }
    assert_eq!(store.vfs().work_counts(&Scope::EVERYTHING).unwrap().completed, ITEMS as u64);
    drop(done);
    store.end();
}
