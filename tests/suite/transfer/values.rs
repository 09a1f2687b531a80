//! What was set as JSON comes back as JSON, and what was written as text as text.

use nexus::model::metadata::MetaValue;
use nexus::transfer::Conflict;
use nexus::work::Scope;
use serde_json::{Value, json};

use super::place::{Place, counts};

fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("array", json!([1, {"a": null}, "\u{2028}\n"])),
        ("big", json!(u64::MAX)),
        ("empty", json!("")),
        ("false", json!(false)),
        ("float", json!(-1.5e300)),
        ("looks", json!("[1, 2]")),
        ("null", json!(null)),
        ("number", json!(5)),
        ("object", json!({})),
        ("quoted", json!("\"5\"")),
        ("text", json!("5")),
        ("work", json!(["/a"])),
    ]
}

fn get(place: &Place, path: &[u8], key: &str) -> Value {
    match place.vfs.meta_get(place.id(path).unwrap(), key).unwrap() {
        MetaValue::Json(value) => value,
        MetaValue::Bytes(bytes) => panic!("{key} of {path:?} is {bytes:?}"),
    }
}

#[test]
fn values_keep_what_they_are() {
    let (from, to) = (Place::new(), Place::new());
    from.put(b"/a", b"");
    let id = from.id(b"/a").unwrap();
    for (key, value) in values() {
        from.vfs.meta_set(id, key, &MetaValue::Json(value), &Scope::EVERYTHING).unwrap();
    }
    let lines = String::from_utf8(from.lines()).unwrap();
    for part in
        ["\"big\":18446744073709551615,", "\"looks\":\"[1, 2]\",", "\"null\":null,", "\"number\":5,", "\"text\":\"5\","]
    {
        assert!(lines.contains(part), "{lines} has no {part}");
    }
    assert_eq!(counts(&to.import(lines.as_bytes(), Conflict::Skip).unwrap()), [1, 0, 0, 0]);
    for place in [&from, &to] {
        for (key, value) in values() {
            assert_eq!(get(place, b"/a", key), value, "{key}");
        }
    }
    assert_eq!(String::from_utf8(to.lines()).unwrap(), lines);
    // An import over what is there brings what a value is along, too, though the bytes be the same.
    for (key, value) in [("number", json!("5")), ("text", json!(5))] {
        to.vfs.meta_set(to.id(b"/a").unwrap(), key, &MetaValue::Json(value), &Scope::EVERYTHING).unwrap();
    }
    assert_eq!(counts(&to.import(lines.as_bytes(), Conflict::Skip).unwrap()), [0, 1, 0, 0]);
    assert_eq!(String::from_utf8(to.lines()).unwrap(), lines);
    // As a program that writes such lines may space a value, it stays.
    let spaced = lines.replace("\"number\":5", "\"number\":[ 1e2 ]");
    to.import(spaced.as_bytes(), Conflict::Skip).unwrap();
    assert_eq!(String::from_utf8(to.lines()).unwrap(), spaced);
    assert_eq!(get(&to, b"/a", "number"), json!([1e2]));
    from.end();
    to.end();
}
