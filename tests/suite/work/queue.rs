//! What a work item is, what it waits for, and what happens to both when files come and go.

use std::sync::atomic::{AtomicI64, Ordering};

use nexus::error::ErrorKind;
use nexus::model::work::Status;
use nexus::model::{Name, NodeId, Timestamp};
use nexus::vfs::OpenMode;
use nexus::work::Scope;
use serde_json::json;

use super::Store;
use super::store::{CALLER, kind};

#[test]
fn values_that_mean_nothing_are_refused() {
    let store = Store::new();
    let (id, item) = (store.put("/plain", b""), store.item("/item", "ready"));
    let directory = store.mkdir("/directory");
    for file in [id, item] {
        for (key, value, refused) in [
            ("status", "done", ErrorKind::Invalid),
            ("status", "", ErrorKind::Invalid),
            ("priority", "high", ErrorKind::Invalid),
            ("priority", "1.5", ErrorKind::Invalid),
            ("depends_on", "999999", ErrorKind::Invalid),
            ("depends_on", "/nothing", ErrorKind::Invalid),
            ("depends_on", "/plain/below", ErrorKind::Invalid),
            ("depends_on", "/directory", ErrorKind::Invalid),
            ("depends_on", "/", ErrorKind::Invalid),
            ("depends_on", "plain", ErrorKind::Invalid),
            ("depends_on", "[\"/plain\",", ErrorKind::Invalid),
            ("lease_until", "soon", ErrorKind::Invalid),
        ] {
            let before = store.get(file, key);
            assert_eq!(kind(store.set(file, key, value)), Some(refused), "{key}={value}");
            assert_eq!(store.get(file, key), before, "{key}={value} has left something");
        }
    }
    // A directory is no item: its attributes may say what they like.
    store.set(directory, "status", "done").unwrap();
    store.set(directory, "priority", "high").unwrap();
    assert_eq!(store.state(directory), None);
    store.end();
}

/// "Bytes written through an xattr come back byte for byte. A JSON value written through the library reads back through an
/// xattr as its text (a string without quotes), and through the library as the same JSON value [...] Work keys are parsed
/// from either form."
#[test]
fn both_forms_of_a_value_are_kept_and_understood() {
    let store = Store::new();
    let (a, b) = (store.put("/a", b""), store.put("/b", b""));
    for value in [json!("ready"), json!(7), json!({"a": [1, null, "x"]}), json!(true), json!("7")] {
        store.meta_set(a, "key", value.clone()).unwrap();
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        assert_eq!(store.get(a, "key"), Some(text.clone()));
        assert_eq!(store.meta_get(a, "key"), nexus::model::metadata::MetaValue::Json(value));
        // The same bytes through an attribute are a text.
        store.set(a, "key", &text).unwrap();
        assert_eq!(store.meta_get(a, "key"), nexus::model::metadata::MetaValue::Json(json!(text)));
    }
    store.meta_set(a, "depends_on", json!([b.to_string(), "/b"])).unwrap();
    store.set(a, "status", "\"pending\"").unwrap();
    store.set(a, "priority", "\"3\"").unwrap();
    store.meta_set(b, "status", json!("ready")).unwrap();
    assert_eq!((store.state(a), store.state(b)), (Some(Status::Blocked), Some(Status::Ready)));
    assert_eq!(store.get(a, "status").as_deref(), Some("\"pending\""));
    assert_eq!(store.vfs().meta_list(a).unwrap().len(), 4);
    store.rename("/a", "/c");
    store.meta_set(b, "status", json!("completed")).unwrap();
    assert_eq!(store.state(a), Some(Status::Pending));
    store.end();
}

#[test]
fn circles_are_refused() {
    let store = Store::new();
    let ids: Vec<_> = (0..50).map(|n| store.put(&format!("/{n}"), b"")).collect();
    assert_eq!(kind(store.set(ids[0], "depends_on", "/0")), Some(ErrorKind::Cycle));
    for pair in ids.windows(2) {
        store.set(pair[1], "depends_on", &pair[0].to_string()).unwrap();
    }
    for later in [1, 2, 49] {
        let refused = store.set(ids[0], "depends_on", &format!("[{}]", ids[later]));
        assert_eq!(kind(refused), Some(ErrorKind::Cycle));
        assert_eq!(store.get(ids[0], "depends_on"), None);
    }
    // What is no circle is none: two ways to the same file.
    store.set(ids[49], "depends_on", &format!("[{},{}]", ids[48], ids[1])).unwrap();
    store.set(ids[49], "depends_on", &ids[48].to_string()).unwrap();
    // Without the link in the middle the ends may meet.
    store.remove(ids[25], "depends_on").unwrap();
    store.set(ids[0], "depends_on", &ids[49].to_string()).unwrap();
    store.end();
}

/// "a deleted target no longer blocks"
#[test]
fn what_is_deleted_blocks_nothing() {
    for way in ["unlink", "rename over", "unlink while open"] {
        let store = Store::new();
        let target = store.item("/target", "ready");
        let (waits, blocked) = (store.item("/waits", "ready"), store.item("/blocked", "blocked"));
        store.set(waits, "depends_on", "/target").unwrap();
        store.set(blocked, "depends_on", &target.to_string()).unwrap();
        assert_eq!((store.state(waits), store.state(blocked)), (Some(Status::Blocked), Some(Status::Blocked)));
        let open = OpenMode { read: true, ..OpenMode::default() };
        let handle = (way == "unlink while open").then(|| store.vfs().open(&CALLER, target, open).unwrap().handle);
        if way == "rename over" {
            store.put("/other", b"");
            store.rename("/other", "/target");
        } else {
            store.unlink("/target");
        }
        assert_eq!((store.state(waits), store.state(blocked)), (Some(Status::Ready), Some(Status::Ready)), "{way}");
        assert_eq!(store.get(blocked, "status").as_deref(), Some("ready"));
        assert_eq!(store.state(target), None);
        if let Some(handle) = handle {
            // It has no name, so it is no item, whatever is written to it.
            store.set(target, "status", "completed").unwrap();
            assert_eq!(store.state(target), None);
            assert_eq!(kind(store.set(waits, "depends_on", &target.to_string())), Some(ErrorKind::Invalid));
            store.vfs().release(handle).unwrap();
        }
        store.end();
    }
}

#[test]
fn an_item_is_a_file_and_not_a_name() {
    let store = Store::new();
    for directory in ["/b", "/a", "/workspace", "/workspace/acme", "/workspace/acme/agent"] {
        store.mkdir(directory);
    }
    let id = store.item("/a/item", "ready");
    store.link(id, "/b/link");
    // The path is that in the directory that was made first.
    assert_eq!(store.paths(Status::Ready), ["/b/link"]);
    let later = store.item("/later", "ready");
    store.set(later, "depends_on", "/b/link").unwrap();
    store.unlink("/b/link");
    assert_eq!(store.paths(Status::Ready), ["/a/item"]);
    store.rename("/a", "/workspace/acme/agent/renamed");
    let ready = store.list(nexus::meta::WorkList::In(Status::Ready));
    assert_eq!(ready[0].virtual_path, "/workspace/acme/agent/renamed/item");
    assert_eq!(ready[0].tenant_id.as_deref(), Some("acme"));
    store.set(id, "status", "completed").unwrap();
    assert_eq!(store.state(later), Some(Status::Ready));
    // It was done, and is to be done again.
    store.set(id, "status", "ready").unwrap();
    assert_eq!((store.state(later), store.get(later, "status").as_deref()), (Some(Status::Blocked), Some("ready")));
    store.remove(id, "status").unwrap();
    assert_eq!((store.state(id), store.state(later)), (None, Some(Status::Blocked)));
    store.end();
}

/// "Order: priority (none last), created_at, path_id"
#[test]
fn the_order_of_the_queue() {
    let store = Store::new();
    for (name, priority) in [("/none", None), ("/5", Some(5)), ("/-5", Some(-5)), ("/also5", Some(5)), ("/0", Some(0))]
    {
        let id = store.item(name, "ready");
        if let Some(priority) = priority {
            store.set(id, "priority", &priority.to_string()).unwrap();
        }
    }
    let order = ["/-5", "/0", "/5", "/also5", "/none"];
    assert_eq!(store.paths(Status::Ready), order);
    let claimed: Vec<_> = std::iter::from_fn(|| store.claim_next()).map(|claim| claim.item.virtual_path).collect();
    assert_eq!(claimed, order);
    store.end();
}

#[test]
fn a_scope_is_all_there_is() {
    let store = Store::new();
    store.mkdir("/mine");
    store.mkdir("/theirs");
    let theirs = store.item("/theirs/first", "ready");
    let mine = store.item("/mine/second", "ready");
    let sees = |path: &nexus::model::VPath| path.as_bytes().starts_with(b"/mine");
    let scope = Scope::seen_by(&sees);
    let counts = store.vfs().work_counts(&scope).unwrap();
    assert_eq!((counts.ready, counts.total), (1, 1));
    assert_eq!(store.vfs().work_item(theirs, &scope).unwrap(), None);
    let depends = |value: serde_json::Value| {
        let value = nexus::model::metadata::MetaValue::Json(value);
        kind(store.vfs().meta_set(mine, "depends_on", &value, &scope))
    };
    assert_eq!(depends(json!(theirs.0)), Some(ErrorKind::Invalid));
    assert_eq!(depends(json!("/theirs/first")), Some(ErrorKind::Invalid));
    assert_eq!(depends(json!("/theirs/nothing")), Some(ErrorKind::Invalid));
    let take = || store.vfs().work_claim(None, &scope, &super::store::ME, std::time::Duration::ZERO).unwrap();
    assert_eq!(take().unwrap().item.path_id, mine.to_string());
    assert_eq!(take(), None);
    let refused = store.vfs().work_claim(Some(theirs), &scope, &super::store::ME, std::time::Duration::ZERO);
    assert_eq!(kind(refused), Some(ErrorKind::NotFound));
    let graph = store.vfs().work_graph(&scope).unwrap();
    assert_eq!(graph.items.len(), 1);
    store.end();
}

#[test]
fn the_graph_shows_what_waits_for_what() {
    let store = Store::new();
    let (plain, a, b) = (store.put("/plain \"x\"", b""), store.item("/a", "ready"), store.item("/b", "ready"));
    store.set(b, "depends_on", &format!("[{a}, {plain}]")).unwrap();
    let graph = store.vfs().work_graph(&Scope::EVERYTHING).unwrap();
    let states: Vec<_> = graph.items.iter().map(|item| (item.virtual_path.as_str(), item.state)).collect();
    assert_eq!(states, [("/plain \"x\"", None), ("/a", Some(Status::Ready)), ("/b", Some(Status::Blocked))]);
    assert_eq!(graph.dependencies.len(), 2);
    let dot = graph.to_dot();
    assert!(dot.contains(&format!("\"{a}\" -> \"{b}\";")), "{dot}");
    assert!(dot.contains("[label = \"/plain \\\"x\\\"\\nno work item\", fillcolor = white]"), "{dot}");
    store.end();
}

#[test]
fn a_file_has_room_for_what_a_transition_writes() {
    let store = Store::new();
    let id = store.put("/full", b"");
    let full = (0..).find(|n| kind(store.set(id, &format!("{n:0250}"), "")) == Some(ErrorKind::NoSpace)).unwrap();
    store.remove(id, &format!("{:0250}", full - 1)).unwrap();
    store.set(id, "status", "ready").unwrap();
    let filler = (0..).find(|n| kind(store.set(id, &format!("f{n}"), "")) == Some(ErrorKind::NoSpace)).unwrap();
    assert!(filler > 0);
    let request = nexus::work::ClaimRequest { worker: "w", lease: Some(std::time::Duration::from_secs(600)) };
    let claim = store.vfs().work_claim(None, &Scope::EVERYTHING, &request, std::time::Duration::ZERO).unwrap();
    store.transit(id, Status::Completed, claim.map(|claim| claim.claim)).unwrap();
    let list: usize = store.vfs().listxattr(id).unwrap().iter().map(|key| key.len() + 1).sum();
    assert!(list <= 65_536, "{list}");
    store.end();
}

#[test]
fn what_was_unlinked_by_its_directory_leaves_nothing() {
    let store = Store::new();
    store.mkdir("/d");
    let id = store.item("/d/a", "ready");
    let other = store.item("/b", "ready");
    store.set(id, "depends_on", "/b").unwrap();
    store.set(other, "tags", "[\"x\"]").unwrap();
    store.unlink("/d/a");
    store.vfs().rmdir(NodeId::ROOT, Name::new(b"d").unwrap()).unwrap();
    assert_eq!(store.paths(Status::Ready), ["/b"]);
    store.unlink("/b");
    assert_eq!(store.vfs().work_counts(&Scope::EVERYTHING).unwrap().total, 0);
    store.end();
}

/// The views show times as the lists do, digits behind the second as many as there are: [`Store::end`] compares them.
#[test]
fn times_are_the_same_in_views_and_lists() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let store = Store::with_clock(|| Timestamp(NOW.load(Ordering::Relaxed)));
    let instants = [0, -1, -1_500_000_000, -2_000_000_000, 1_700_000_000_000_000_000, 1_700_000_000_120_000_000, 1];
    for (n, at) in instants.into_iter().enumerate() {
        NOW.store(at, Ordering::Relaxed);
        store.item(&format!("/{n}"), "ready");
    }
    let ready = store.list(nexus::meta::WorkList::In(Status::Ready));
    assert_eq!(ready[0].created_at, "1969-12-31T23:59:58Z");
    assert_eq!(ready[6].created_at, "2023-11-14T22:13:20.12Z");
    store.end();
}
