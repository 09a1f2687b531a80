//! Identity: nobody gets what he may not see by way of an import or export.

use nexus::model::Principal;
use nexus::transfer::{Conflict, ExportOptions, ImportOptions};

use super::place::{Place, counts};

fn acme() -> Principal {
    Principal::new(Some("acme".into()), Some("agent1".into()), false).unwrap()
}

fn store() -> Place {
    let place = Place::new();
    place.put(b"/workspace/acme/agent1/own.txt", b"own");
    place.put(b"/workspace/acme/agent2/other.txt", b"of the other agent");
    place.put(b"/workspace/techinc/agent1/secret.txt", b"the secret");
    place.put(b"/shared/acme/team.txt", b"for the team");
    place.put(b"/open.txt", b"for all");
    place
}

#[test]
fn an_export_shows_what_its_identity_sees() {
    let place = store();
    let (lines, report) = place.export_as(acme(), &ExportOptions::default());
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(report.files, 3, "{lines}");
    assert!(!lines.contains("secret") && !lines.contains("agent2"), "{lines}");
    let foreign = ExportOptions { prefix: b"/workspace/techinc".to_vec(), ..ExportOptions::default() };
    let nowhere = ExportOptions { prefix: b"/workspace/nowhere".to_vec(), ..ExportOptions::default() };
    assert_eq!(place.export_as(acme(), &foreign), place.export_as(acme(), &nowhere));
    let admin = Principal::new(Some("acme".into()), None, true).unwrap();
    assert_eq!(place.export_as(admin, &ExportOptions::default()).1.files, 5);
    place.end();
}

#[test]
fn a_digest_is_no_key() {
    let place = store();
    let all = String::from_utf8(place.lines()).unwrap();
    let secret = all.lines().find(|line| line.contains("secret")).unwrap();
    let wanted = secret.replace("/workspace/techinc/agent1/secret.txt", "/workspace/acme/agent1/mine.txt");
    let stranger = wanted.replace(&crate::harness::sha256(b"the secret"), &crate::harness::sha256(b"nowhere"));
    let before = place.dump();
    let options = ImportOptions { conflict: Conflict::Overwrite, ..ImportOptions::default() };
    let import = |line: &str| place.import_as(acme(), line.as_bytes(), &options).unwrap();
    assert_eq!(counts(&import(&wanted)), [0, 0, 1, 0]);
    assert_eq!(import(&wanted), import(&stranger), "a body that is hidden looks like one that is not there");
    // Not even the size can be asked for.
    assert_eq!(import(&wanted.replace("\"size\":10", "\"size\":11")), import(&wanted));
    assert_eq!(place.dump(), before);

    // Whoever brings the body has it. What he sees he may use.
    let bodies = place.path("bodies");
    std::fs::create_dir(&bodies).unwrap();
    std::fs::write(bodies.join(crate::harness::sha256(b"the secret")), b"the public").unwrap();
    let bringing = ImportOptions { bodies: Some(bodies.clone()), ..options.clone() };
    assert_eq!(counts(&place.import_as(acme(), wanted.as_bytes(), &bringing).unwrap()), [0, 0, 1, 0]);
    std::fs::write(bodies.join(crate::harness::sha256(b"the secret")), b"the secret").unwrap();
    assert_eq!(counts(&place.import_as(acme(), wanted.as_bytes(), &bringing).unwrap()), [1, 0, 0, 0]);
    let team = all.lines().find(|line| line.contains("team")).unwrap();
    assert_eq!(counts(&import(&team.replace("/shared/acme/team.txt", "/workspace/acme/agent1/copy"))), [1, 0, 0, 0]);
    place.end();
}

#[test]
fn foreign_paths_are_refused_line_by_line() {
    let place = store();
    let all = place.lines();
    let options = ImportOptions { conflict: Conflict::Overwrite, ..ImportOptions::default() };
    let report = place.import_as(acme(), &all, &options).unwrap();
    assert_eq!(counts(&report), [0, 3, 2, 0]);
    assert!(report.notes.iter().all(|note| note.what.contains("access denied")), "{report:#?}");
    let work = super::place::empty_line("/.work/ready/x");
    let report = place.import(work.as_bytes(), Conflict::Skip).unwrap();
    assert_eq!(counts(&report), [0, 0, 1, 0]);
    place.end();
}
