//! What is blocked, as somebody sees it who may not see all that it waits for.

use std::fs;

use nexus::meta::{WorkKey, WorkList};
use nexus::model::VPath;
use nexus::model::work::Status;
use nexus::work::Scope;
use rustix::fs::{CWD, Dir, Mode, OFlags, XattrFlags, openat, setxattr};
use serde_json::{Value, json};

use super::Store;
use crate::harness::{Mounted, Random, nexus, run, seed};

/// "Link counts, statfs and work views count only what the caller may see."
#[test]
fn the_order_tells_nothing_of_blockers_out_of_sight() {
    let store = Store::new();
    let seed = seed();
    let mut random = Random(seed);
    store.mkdir("/mine");
    store.mkdir("/theirs");
    let targets =
        |directory: &str| (0..8).map(|n| store.put(&format!("/{directory}/target{n}"), b"")).collect::<Vec<_>>();
    let (mine, theirs) = (targets("mine"), targets("theirs"));
    let mut expected = Vec::new();
    for n in 0..700 {
        let seen = random.below(4) as usize;
        let hidden = random.below(8) as usize + usize::from(seen == 0);
        let on: Vec<_> = mine[..seen].iter().chain(&theirs[..hidden]).map(ToString::to_string).collect();
        let item = store.item(&format!("/mine/item{n}"), "blocked");
        store.set(item, "depends_on", &json!(on).to_string()).unwrap();
        let priority = random.below(3);
        store.set(item, "priority", &priority.to_string()).unwrap();
        expected.push((std::cmp::Reverse(seen as u64), priority, item.to_string()));
    }
    let foreign = store.item("/theirs/item", "blocked");
    store.set(foreign, "depends_on", &mine[0].to_string()).unwrap();
    // Numbers have as many digits, and items are made in their order.
    expected.sort_by_key(|(seen, priority, item)| (*seen, *priority, item.parse::<u64>().unwrap()));

    let sees = |path: &VPath| path.as_bytes().starts_with(b"/mine");
    let scope = Scope::seen_by(&sees);
    let under = VPath::parse(b"/mine").unwrap();
    for (scope, limit) in [(scope, 256), (scope, 7), (scope.under(Some(&under)), 100)] {
        let (mut found, mut after) = (Vec::new(), Some(WorkKey::START));
        while let Some(key) = after {
            let page = store.vfs().work_page(WorkList::In(Status::Blocked), &scope, key, limit).unwrap();
            assert!(page.items.len() <= limit);
            let shown = |item: nexus::work::WorkItem| {
                (std::cmp::Reverse(item.blocker_count), item.priority.unwrap() as u64, item.path_id)
            };
            found.extend(page.items.into_iter().map(shown));
            after = page.next;
        }
        assert!(found == expected, "seed {seed}, {limit} at a time");
    }
    // Whoever sees all of it has the order of the view.
    assert_eq!(store.paths(Status::Blocked).len(), 701);
    store.end();
}

/// The same through the commands and the directory of a tenant.
#[test]
fn a_tenant_has_its_own_order() {
    let mounted = Mounted::with(&["--tenant", "acme", "--agent", "a1"]);
    let admin = |words: &[&str]| run(nexus().args(words).arg("--admin").env("NEXUS_DATA_DIR", mounted.data_dir())).ok();
    for n in 0..3 {
        admin(&["write", &format!("/workspace/globex/g1/target{n}")]);
    }
    let home = mounted.path("workspace/acme/a1");
    for file in ["few", "many", "target"] {
        fs::write(home.join(file), file).unwrap();
    }
    let set = |file: &str, key: &str, value: &str| {
        setxattr(home.join(file), format!("user.{key}"), value.as_bytes(), XattrFlags::empty()).unwrap();
    };
    set("few", "status", "ready");
    set("many", "status", "ready");
    set("many", "depends_on", "/workspace/acme/a1/target");
    let foreign: Vec<_> = (0..3).map(|n| format!("/workspace/globex/g1/target{n}")).collect();
    admin(&["meta", "set", "/workspace/acme/a1/few", "depends_on", &json!(foreign).to_string(), "--json"]);

    let listed = |identity: &[&str], limit: &str| {
        let words = ["work", "blocked", "--json", "--limit", limit];
        let out = run(nexus().args(words).args(identity).env("NEXUS_DATA_DIR", mounted.data_dir())).ok().stdout;
        let paths = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["virtual_path"].clone());
        paths.map(|path| path.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--admin"], "9"), ["few", "many"]);
    let acme = ["--tenant", "acme", "--agent", "a1"];
    assert_eq!(listed(&acme, "9"), ["many", "few"]);
    assert_eq!(listed(&acme, "1"), ["many"]);
    // A directory goes by priority and age, as the names in it do, for everybody.
    let opened = openat(CWD, mounted.path(".work/blocked"), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let names = Dir::new(opened.unwrap()).unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned());
    let names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    assert!(names.len() == 2 && names[0].ends_with("-few") && names.is_sorted(), "{names:?}");
    mounted.finish();
}
