//! `nexus export` and `nexus import`, as they are typed.

use std::fs;
use std::process::Command;

use super::place::{Place, empty_line};
use crate::harness::{nexus, run, shell};

/// A closed store with files, and an empty one beside it.
fn stores() -> tempfile::TempDir {
    let place = Place::with_files();
    place.check();
    place.vfs.close().unwrap();
    run(nexus().arg("init").arg(place.path("other"))).ok();
    place.directory
}

fn script(directory: &tempfile::TempDir, text: &str) -> String {
    let nexus = env!("CARGO_BIN_EXE_nexus");
    shell(directory.path(), &format!("set -o pipefail; nexus() {{ {nexus} \"$@\"; }}\n{text}"))
}

#[test]
fn a_store_moves_through_a_pipe() {
    let base = stores();
    let said = script(
        &base,
        "nexus export - --data-dir store --with-content bodies |
             nexus import - --data-dir other --with-content bodies
         nexus export one --data-dir store && nexus export two --data-dir other && cmp one two
         nexus fsck store && nexus fsck other",
    );
    assert!(said.starts_with("created 6, updated 0, skipped 0, remapped 0\n"), "{said}");
    assert!(said.contains("exported 6 files\n"), "{said}");
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_results_are_told() {
    let base = stores();
    script(&base, "nexus export - --data-dir store | head -c 10 > begin; nexus export - --data-dir store >&-");
    let said = script(&base, "nexus import - --json --data-dir other --dry-run < /dev/null");
    assert_eq!(said, "{\"created\":0,\"updated\":0,\"skipped\":0,\"remapped\":0,\"notes\":[],\"notes_left_out\":0}\n");
    let said = script(
        &base,
        "nexus export some --prefix /jobs --after 2001-01-01 --data-dir store; nexus export /dev/null --data-dir store",
    );
    assert_eq!(said, "exported 2 files\nexported 6 files\n");
    let said = script(
        &base,
        "nexus import some --data-dir other 2>&1; nexus import some --data-dir store --overwrite --dry-run",
    );
    assert!(said.contains("nexus: line 1: /jobs/task.json: skipped: its body is not in the store\n"), "{said}");
    assert!(said.ends_with("an import would have: created 0, updated 2, skipped 0, remapped 0\n"), "{said}");
}

#[test]
fn what_is_typed_wrong_is_told() {
    let base = stores();
    let with = |arguments: &[&str]| {
        let mut command: Command = nexus();
        command.args(arguments).args(["--data-dir", "store"]).current_dir(base.path());
        run(&mut command)
    };
    with(&["import", "nowhere"]).refused(&["nowhere", "No such file"]);
    with(&["export", "nowhere/out"]).refused(&["nowhere/out"]);
    with(&["export", "out", "--after", "noon"]).refused(&["noon", "RFC 3339"]);
    with(&["export", "out", "--prefix", "jobs"]).refused(&["jobs", "begin with /"]);
    with(&["import", "x", "--overwrite", "--conflict-mode", "skip"]).refused(&["cannot be used with"]);
    fs::write(base.path().join("lines"), empty_line("/good") + "nonsense\n").unwrap();
    with(&["import", "lines"]).refused(&["import line 2"]);
    assert!(!base.path().join("out").exists(), "an export that failed leaves no file");
    // A file that was there stays as it was.
    fs::write(base.path().join("old"), "old").unwrap();
    with(&["export", "old", "--prefix", "/.."]).refused(&[".."]);
    assert_eq!(fs::read_to_string(base.path().join("old")).unwrap(), "old");
    run(nexus().arg("fsck").arg(base.path().join("store"))).ok();
}
