//! Searches by custom metadata.

use nexus::model::VPath;
use nexus::model::metadata::Condition;
use nexus::work::Scope;

use super::Store;

fn find(store: &Store, conditions: &[&str], under: Option<&str>) -> Vec<String> {
    let conditions: Vec<_> = conditions.iter().map(|text| Condition::parse(text).unwrap()).collect();
    let under = under.map(|path| VPath::parse(path.as_bytes()).unwrap());
    let scope = Scope::EVERYTHING.under(under.as_ref());
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.vfs().find(&conditions, &scope, after).unwrap();
        found.extend(page.found.into_iter().map(|found| found.virtual_path));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    found.sort();
    found
}

#[test]
fn files_are_found_by_words_numbers_and_place() {
    let store = Store::new();
    let directory = store.mkdir("/d");
    store.set(directory, "color", "red").unwrap();
    for n in 0..1000 {
        let id = store.put(&format!("{}/{n}", if n % 2 == 0 { "/d" } else { "" }), b"");
        store.set(id, "number", &n.to_string()).unwrap();
        store.set(id, "color", if n % 10 == 0 { "red" } else { "blue" }).unwrap();
    }
    assert_eq!(find(&store, &["color=red"], None).len(), 101);
    assert_eq!(find(&store, &["color=red"], Some("/d/")).len(), 101);
    assert_eq!(find(&store, &["color!=red"], Some("/d")).len(), 400);
    assert_eq!(find(&store, &["number<10"], None).len(), 10);
    assert_eq!(find(&store, &["number=7.0"], None), ["/7"]);
    assert_eq!(find(&store, &["number>=990", "color=red"], None), ["/d/990"]);
    assert_eq!(find(&store, &["color=green"], None), [""; 0]);
    assert_eq!(find(&store, &["shape=round"], None), [""; 0]);
    store.end();
}

#[test]
fn long_values_that_begin_alike_are_told_apart() {
    let store = Store::new();
    let long = "x".repeat(100);
    for n in 0..600 {
        let id = store.put(&format!("/{n}"), b"");
        store.set(id, "long", &format!("{long}{n}")).unwrap();
    }
    assert_eq!(find(&store, &[&format!("long={long}77")], None), ["/77"]);
    assert_eq!(find(&store, &[&format!("long!={long}77")], None).len(), 599);
    assert_eq!(find(&store, &["long>x"], None).len(), 600);
    store.end();
}
