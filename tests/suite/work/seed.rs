//! The examples of the README that nexus began with, in Rust.

use nexus::meta::WorkList;
use nexus::model::Timestamp;
use nexus::model::rfc3339;
use nexus::model::work::Status;
use serde_json::json;

use super::Store;

fn now() -> String {
    rfc3339(Timestamp::now())
}

#[test]
fn work_items_are_found_by_their_metadata() {
    let store = Store::new();
    store.mkdir("/jobs");
    let task1 = store.put("/jobs/task1.json", b"{\"task\": \"process_data\"}");
    let task2 = store.put("/jobs/task2.json", b"{\"task\": \"train_model\"}");
    store.meta_set(task1, "status", json!("ready")).unwrap();
    store.meta_set(task1, "priority", json!(1)).unwrap();
    store.meta_set(task2, "status", json!("in_progress")).unwrap();
    store.meta_set(task2, "worker_id", json!("worker-001")).unwrap();
    // isoformat() of Python, in UTC and without saying so.
    store.meta_set(task2, "started_at", json!("2026-11-21T06:00:00.123456")).unwrap();

    let ready = store.list(WorkList::In(Status::Ready));
    assert_eq!(ready.len(), 1);
    assert_eq!((ready[0].virtual_path.as_str(), ready[0].priority), ("/jobs/task1.json", Some(1)));
    let progress = store.list(WorkList::In(Status::InProgress));
    assert_eq!(progress.len(), 1);
    assert_eq!(progress[0].worker_id.as_deref(), Some("worker-001"));
    assert_eq!(progress[0].started_at.as_deref(), Some("2026-11-21T06:00:00.123456"));
    assert_eq!(store.paths(Status::Blocked), [""; 0]);
    store.end();
}

#[test]
fn a_worker_loop() {
    let store = Store::new();
    for (name, priority) in [("/c", 3), ("/a", 1), ("/b", 2)] {
        let id = store.item(name, "ready");
        store.meta_set(id, "priority", json!(priority)).unwrap();
    }
    let mut done = Vec::new();
    while let Some(item) = store.list(WorkList::In(Status::Ready)).into_iter().next() {
        let id = store.id(&item.virtual_path);
        store.meta_set(id, "status", json!("in_progress")).unwrap();
        store.meta_set(id, "worker_id", json!("worker-007")).unwrap();
        store.meta_set(id, "started_at", json!(now())).unwrap();
        assert_eq!(store.paths(Status::InProgress), [item.virtual_path.as_str()]);
        store.meta_set(id, "status", json!("completed")).unwrap();
        store.meta_set(id, "completed_at", json!(now())).unwrap();
        done.push(item.virtual_path);
    }
    assert_eq!(done, ["/a", "/b", "/c"]);
    assert_eq!(store.paths(Status::Completed), ["/a", "/b", "/c"]);
    store.end();
}

#[test]
fn dependencies_are_resolved() {
    let store = Store::new();
    let step1 = store.put("/step1.json", b"{\"task\": \"data_prep\"}");
    let step2 = store.put("/step2.json", b"{\"task\": \"training\"}");
    store.meta_set(step1, "status", json!("ready")).unwrap();
    store.meta_set(step1, "priority", json!(1)).unwrap();
    let path_id = store.get(step1, "nexus.path_id").unwrap();
    store.meta_set(step2, "status", json!("blocked")).unwrap();
    store.meta_set(step2, "depends_on", json!(path_id)).unwrap();
    assert_eq!(store.paths(Status::Ready), ["/step1.json"]);
    assert_eq!(store.list(WorkList::In(Status::Blocked))[0].blocker_count, 1);
    assert_eq!(store.get(step2, "nexus.why").unwrap(), format!("{step1} ready /step1.json"));

    store.meta_set(step1, "status", json!("completed")).unwrap();
    // It is already: "When the last open dependency of a `blocked` item completes, it becomes `ready` in the same transaction."
    assert_eq!(store.get(step2, "status").unwrap(), "ready");
    store.meta_set(step2, "status", json!("ready")).unwrap();
    assert_eq!(store.paths(Status::Ready), ["/step2.json"]);
    store.end();
}
