//! Export, import and verification beside a live mount: what has the store does the work, and the answers are the same.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use nexus::model::Principal;
use nexus::transfer::{ExportOptions, ImportOptions, ImportRules, Upload, import_stream};
use nexus::view::View;

use super::place::{CALLER, Place, SIZES, empty_line};
use crate::harness::{Mounted, Outcome, Random, bytes, files_below, nexus, run, seed, sha256, shell, xattr_text};

fn with_files() -> Mounted {
    let mounted = Mounted::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        fs::write(mounted.path(&format!("f{number}")), bytes(number as u64, size)).unwrap();
    }
    let script =
        "mkdir -p d/e; echo task > d/e/job; setfattr -n user.status -v ready d/e/job; cp f2 d/twin; ln -s f1 link";
    shell(&mounted.root(), script);
    mounted
}

/// A command on the store of a mount, in the directory beside it.
fn on(mounted: &Mounted, arguments: &[&str]) -> Outcome {
    run(command(mounted, arguments).current_dir(mounted.outside()))
}

fn command(mounted: &Mounted, arguments: &[&str]) -> Command {
    let mut command = nexus();
    command.args(arguments).arg("--data-dir").arg(mounted.data_dir());
    command
}

#[test]
fn the_answers_are_those_of_a_store_that_nobody_has() {
    let mut mounted = with_files();
    let says = |arguments: &[&str]| {
        let outcome = on(&mounted, arguments);
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    let script: [&[&str]; 8] = [
        &["export", "all", "--with-content", "bodies"],
        &["export", "part", "--prefix", "/d"],
        &["export", "-"],
        &["export", "x", "--prefix", "relative"],
        &["import", "all", "--dry-run", "--json"],
        &["verify"],
        &["verify", "/d"],
        &["verify", "/none"],
    ];
    // Once before, so that everything is sealed and what is told does not depend on when.
    on(&mounted, &["export", "before"]).ok();
    let live: Vec<_> = script.iter().map(|arguments| says(arguments)).collect();
    let outside = mounted.outside();
    shell(&outside, "mkdir live; mv all part bodies live; grep -c . live/all; ls live/bodies | wc -l");
    for name in fs::read_dir(outside.join("live/bodies")).unwrap() {
        let name = name.unwrap();
        assert_eq!(sha256(&fs::read(name.path()).unwrap()), name.file_name().to_str().unwrap());
    }
    mounted.umount();
    let says = |arguments: &[&str]| {
        let outcome = on(&mounted, arguments);
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    for (arguments, told) in script.iter().zip(live) {
        assert_eq!(says(arguments), told, "{arguments:?}");
    }
    shell(&outside, "diff -r bodies live/bodies; cmp all live/all; cmp part live/part");
    // Bodies that are there are not copied again, whoever has the store.
    let again = "exported 6 files; left out 1 name of another kind\n";
    assert_eq!(on(&mounted, &["export", "all", "--with-content", "bodies"]).ok().stdout, again);
    mounted.mount();
    assert_eq!(on(&mounted, &["export", "all", "--with-content", "bodies"]).ok().stdout, again);
    mounted.finish();
}

#[test]
fn a_store_moves_from_mount_to_mount() {
    let (from, to) = (with_files(), Mounted::new());
    let bodies = from.outside().join("bodies");
    let bodies = bodies.to_str().unwrap();
    let pipe = format!(
        "set -o pipefail; {} export - --with-content {bodies} --data-dir {} | {} import - --with-content {bodies} --data-dir {}",
        env!("CARGO_BIN_EXE_nexus"),
        from.data_dir().display(),
        env!("CARGO_BIN_EXE_nexus"),
        to.data_dir().display(),
    );
    let said = shell(&from.outside(), &pipe);
    assert_eq!(said, "created 6, updated 0, skipped 0, remapped 0\n");
    // Seen through the mount at once, its queue included.
    for (number, size) in SIZES.into_iter().enumerate() {
        assert!(fs::read(to.path(&format!("f{number}"))).unwrap() == bytes(number as u64, size));
    }
    assert_eq!(xattr_text(&to.path("d/e/job"), "user.status"), "ready");
    assert_eq!(fs::read_dir(to.path(".work/ready")).unwrap().count(), 1);
    on(&from, &["export", "lines"]).ok();
    on(&to, &["export", "lines"]).ok();
    assert_eq!(fs::read(from.outside().join("lines")).unwrap(), fs::read(to.outside().join("lines")).unwrap());

    // Again: nothing has to be brought, and nothing changes. Then one that is malformed, at its end.
    let lines = from.outside().join("lines");
    let said = on(&to, &["import", lines.to_str().unwrap(), "--with-content", bodies]).ok().stdout;
    assert_eq!(said, "created 0, updated 6, skipped 0, remapped 0\n");
    File::options().append(true).open(&lines).unwrap().write_all(b"{\"path\":\"/new\"}\n").unwrap();
    fs::write(to.path("f1"), "other").unwrap();
    let refused = on(&to, &["import", lines.to_str().unwrap(), "--overwrite"]);
    assert_eq!(refused.code, 2);
    refused.refused(&["import line 7: "]);
    assert_eq!(fs::read(to.path("f1")).unwrap(), b"other");
    // Another's file in the place of a body is told.
    fs::write(Path::new(bodies).join(sha256(&bytes(1, SIZES[1]))), bytes(9, SIZES[1])).unwrap();
    fs::remove_file(to.path("f1")).unwrap();
    on(&to, &["verify"]).ok();
    from.finish();
    to.finish();
}

#[test]
fn what_is_damaged_is_found_and_named_beside_a_mount() {
    let mut mounted = with_files();
    mounted.umount();
    let body = bytes(3, SIZES[3]);
    let stored = files_below(&mounted.data_dir().join("cas"));
    let stored = stored.iter().find(|path| path.ends_with(sha256(&body))).unwrap();
    File::options().write(true).open(stored).unwrap().write_all_at(&[!body[1000]], 1000).unwrap();
    mounted.mount();
    let found = on(&mounted, &["verify", "/"]);
    assert_eq!(found.code, 7, "{found:?}");
    let digest = sha256(&body);
    assert!(found.stdout.contains(&format!("body {digest} of {} bytes does not hash to its name: /f3\n", SIZES[3])));
    assert!(found.stdout.ends_with("1 damaged\n"), "{}", found.stdout);
    assert_eq!(on(&mounted, &["export", "lines", "--with-content", "bodies"]).code, 7);
    fs::write(mounted.path("again"), &body).unwrap();
    assert!(on(&mounted, &["verify"]).ok().stdout.contains("all right"));
    assert!(fs::read(mounted.path("f3")).unwrap() == body, "healed");
    mounted.finish_after_complaints();
}

#[test]
fn a_tenant_verifies_exports_and_imports_its_own() {
    let mounted = Mounted::new();
    shell(&mounted.root(), "mkdir -p shared/acme shared/globex; echo a > shared/acme/f; echo ours > shared/globex/f");
    let as_acme = |arguments: &[&str]| {
        let mut all = vec!["--tenant", "acme"];
        all.extend(arguments);
        on(&mounted, &all)
    };
    assert_eq!(as_acme(&["export", "-"]).ok().stdout.lines().count(), 1);
    assert!(as_acme(&["verify"]).ok().stdout.starts_with("/: 1 body of 2 B verified"));
    assert_eq!(as_acme(&["verify", "/shared/globex"]).code, 4);
    // A digest is no key, beside a mount either: a line alone does not bring a foreign body within reach, the body does.
    on(&mounted, &["export", "globex", "--prefix", "/shared/globex", "--with-content", "bodies"]).ok();
    let outside = mounted.outside();
    shell(&outside, "sed s,/shared/globex,/shared/acme/stolen, globex > lines");
    assert!(as_acme(&["import", "lines"]).ok().stderr.contains("skipped: its body is not in the store"));
    assert_eq!(as_acme(&["import", "globex"]).ok().stdout, "created 0, updated 0, skipped 1, remapped 0\n");
    assert!(as_acme(&["import", "lines", "--with-content", "bodies"]).ok().stdout.starts_with("created 1,"));
    assert_eq!(fs::read(mounted.path("shared/acme/stolen/f")).unwrap(), b"ours\n");
    mounted.finish();
}

#[test]
fn a_reader_that_takes_a_page_and_leaves_is_no_failure() {
    let mounted = Mounted::new();
    shell(&mounted.root(), "for i in $(seq 300); do echo $i > some-file-with-a-rather-long-name-$i; done");
    let export = format!("{} export - --data-dir {}", env!("CARGO_BIN_EXE_nexus"), mounted.data_dir().display());
    let said =
        shell(&mounted.outside(), &format!("set -o pipefail; {export} | head -n 1 | cut -c 1-8; {export} | wc -l"));
    assert_eq!(said, "{\"path\":\n300\n");
    mounted.finish();
}

#[test]
fn a_stream_of_any_bytes_is_an_import_or_an_error_and_nothing_in_between() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut random = Random(seed);
    let source = Place::with_files();
    let bodies = source.path("bodies");
    let (lines, _) = source.lines_and_bodies(&bodies);
    let options = ImportOptions { bodies: Some(bodies), ..ImportOptions::default() };
    let mut upload = Upload::new(&options, &mut &lines[..]).unwrap();
    assert_eq!(upload.offered().len(), 4);
    upload.bring(upload.offered().to_vec());
    let mut whole = Vec::new();
    upload.read_to_end(&mut whole).unwrap();
    upload.rewind().unwrap();
    let mut again = Vec::new();
    upload.read_to_end(&mut again).unwrap();
    assert!(whole == again, "it can be sent again");

    let target = Place::new();
    let rules = ImportRules { bodies: true, ..options.rules() };
    let import = |stream: &[u8]| {
        let view = View::new(std::sync::Arc::clone(&target.vfs), Principal::default());
        import_stream(&view, CALLER, rules, &mut &stream[..], &mut |_| {})
    };
    for round in 0..150 {
        let mut stream = whole.clone();
        for _ in 0..=random.below(2) {
            // Where the lines and the heads are, more often than in the middle of a body.
            let reach = if random.below(2) == 0 { lines.len() + 8 } else { stream.len() };
            let at = random.below(reach as u64) as usize;
            stream[at] = random.below(256) as u8;
        }
        if random.below(3) == 0 {
            stream.truncate(random.below(stream.len() as u64) as usize);
        }
        let before = target.lines();
        if import(&stream).is_err() {
            assert_eq!(target.lines(), before, "round {round}: half an import");
        }
    }
    target.check();
    assert!(import(&whole).unwrap().skipped <= 6);
    target.end();
    source.end();
}

#[test]
fn the_library_moves_files_without_a_mount() {
    let place = Place::new();
    place.vfs.close().unwrap();
    let data_dir = place.data_dir();
    let Place { directory, vfs } = place;
    drop(vfs);
    let config = nexus::Config::at(&data_dir).unwrap();
    let (nx, other) = (nexus::connect(&config).unwrap(), nexus::connect(&config).unwrap());
    nx.write("/a", "text").unwrap();
    let mut lines = Vec::new();
    other.export_metadata(&ExportOptions::default(), &mut lines, &mut |_| {}).unwrap();
    lines.extend_from_slice(empty_line("/b").as_bytes());
    let mut told = 0;
    let report = nx.import_metadata(&ImportOptions::default(), &mut &lines[..], &mut |_| told += 1).unwrap();
    assert_eq!((report.created, report.updated), (1, 1));
    let all = nx.verify("/", &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((all.bodies, all.bytes, all.damaged.len()), (1, 4, 0));
    nx.close().unwrap();
    other.close().unwrap();
    run(nexus().arg("fsck").arg(&data_dir)).ok();
    drop(directory);
}
