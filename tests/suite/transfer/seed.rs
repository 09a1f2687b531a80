//! The examples of the section "Metadata Export/Import" of the Python library that nexus follows.

use nexus::model::Principal;
use nexus::transfer::{Conflict, ExportOptions, ImportOptions};

use super::place::{Place, counts};

#[test]
fn the_examples_of_the_seed() {
    let place = Place::with_files();
    place.put(b"/workspace/notes.txt", b"notes");

    // count = nx.export_metadata("backup.jsonl")
    let (all, report) = place.export_as(Principal::default(), &ExportOptions::default());
    assert_eq!(report.files, 7);
    // count = nx.export_metadata("workspace-backup.jsonl", prefix="/workspace")
    let prefix = ExportOptions { prefix: b"/workspace".to_vec(), ..ExportOptions::default() };
    assert_eq!(place.export_as(Principal::default(), &prefix).1.files, 1);
    // Whole components.
    let half = ExportOptions { prefix: b"/work".to_vec(), ..ExportOptions::default() };
    assert_eq!(place.export_as(Principal::default(), &half).1.files, 0);

    // imported, skipped = nx.import_metadata("backup.jsonl")
    let report = place.import(&all, Conflict::Skip).unwrap();
    assert_eq!((report.imported(), report.skipped), (7, 0));
    assert_eq!(place.lines(), all, "an import of what is there changes nothing that an export shows");

    // "Content must already exist in CAS storage (matched by content hash)"
    let empty = Place::new();
    let report = empty.import(&all, Conflict::Skip).unwrap();
    assert_eq!(counts(&report), [1, 0, 6, 0], "only the empty body is everywhere");
    assert!(report.notes.iter().all(|note| note.what == "skipped: its body is not in the store"), "{report:#?}");

    // imported, skipped = nx.import_metadata("backup.jsonl", overwrite=True)
    place.put(b"/workspace/notes.txt", b"other notes");
    place.put(b"/kept", b"notes");
    assert_eq!(counts(&place.import(&all, Conflict::Skip).unwrap()), [0, 6, 1, 0]);
    assert_eq!(place.get(b"/workspace/notes.txt"), b"other notes");
    assert_eq!(counts(&place.import(&all, Conflict::Overwrite).unwrap()), [0, 7, 0, 0]);
    assert_eq!(place.get(b"/workspace/notes.txt"), b"notes");
    place.end();
    empty.end();
}

#[test]
fn a_line_has_the_keys_of_the_format_in_their_order() {
    let place = Place::with_files();
    let lines = String::from_utf8(place.lines()).unwrap();
    let task = lines.lines().find(|line| line.contains("/jobs/task.json")).unwrap();
    let digest = crate::harness::sha256(b"{}");
    let begin = format!(
        "{{\"path\":\"/jobs/task.json\",\"backend_name\":\"local\",\"physical_path\":\"{digest}\",\"size\":2,\
         \"etag\":\"{digest}\",\"mime_type\":\"application/json\",\"created_at\":\""
    );
    assert!(task.starts_with(&begin), "{task}");
    assert!(task.ends_with("Z\",\"version\":1,\"custom_metadata\":{\"status\":\"ready\"}}"), "{task}");
    let twin = lines.lines().find(|line| line.contains("/jobs/twin.json")).unwrap();
    assert!(twin.ends_with("\"version\":1}"), "{twin}");
    place.end();
}

#[test]
fn after_a_time() {
    let place = Place::with_files();
    let noon = nexus::transfer::parse_time("2001-02-03T12:00:00Z").unwrap();
    for path in ["/files/0.txt", "/files/1.txt", "/files/2.txt", "/jobs/twin.json"] {
        place.set_modified(path.as_bytes(), noon);
    }
    place.set_modified(b"/jobs/task.json", nexus::model::Timestamp(noon.0 - 1));
    let after = ExportOptions { after: Some(noon.0), ..ExportOptions::default() };
    assert_eq!(place.export_as(Principal::default(), &after).1.files, 5);
    let later = ExportOptions { after: Some(noon.0 + 1), ..ExportOptions::default() };
    assert_eq!(place.export_as(Principal::default(), &later).1.files, 1);
    place.end();
}

#[test]
fn a_value_that_is_no_string_becomes_its_text() {
    let place = Place::new();
    let line = super::place::empty_line("/job").replace(
        "}\n",
        ",\"custom_metadata\":{\"priority\":1,\"big\":123456789012345678901234567890,\"tags\":[\"a\", \"b\"],\"no\":null}}",
    );
    assert_eq!(counts(&place.import(line.as_bytes(), Conflict::Skip).unwrap()), [1, 0, 0, 0]);
    let id = place.id(b"/job").unwrap();
    for (key, value) in [
        ("user.priority", "1"),
        ("user.big", "123456789012345678901234567890"),
        ("user.tags", "[\"a\", \"b\"]"),
        ("user.no", "null"),
    ] {
        assert_eq!(place.vfs.getxattr(id, key.as_bytes()).unwrap(), value.as_bytes());
    }
    let dry = ImportOptions { dry_run: true, ..ImportOptions::default() };
    assert_eq!(counts(&place.import_as(Principal::default(), line.as_bytes(), &dry).unwrap()), [0, 1, 0, 0]);
    place.end();
}
