//! An import that is killed, or meets a full disk, has happened entirely or not at all.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use nexus::error::ErrorKind;
use nexus::transfer::Conflict;

use super::place::{Place, empty_line, open};
use crate::harness::{Random, nexus, run, seed};
use crate::space::SmallDisk;

const LINES: u64 = 20_000;
const ROUNDS: u64 = 15;

#[test]
fn killed_at_any_moment_all_or_nothing() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut random = Random(seed);
    let place = Place::with_files();
    place.vfs.close().unwrap();
    let (lines, bodies) = (place.path("lines"), place.path("bodies"));
    // Bodies of both kinds come along, so that files are in place before their rows.
    fs::create_dir(&bodies).unwrap();
    let brought: Vec<String> = (0..40_u64)
        .map(|number| {
            let body = crate::harness::bytes(number, if number % 2 == 0 { 100 } else { 20_000 });
            let digest = crate::harness::sha256(&body);
            fs::write(bodies.join(&digest), &body).unwrap();
            format!("{{\"path\":\"/many/body{number}\",\"size\":{},\"etag\":\"{digest}\"}}\n", body.len())
        })
        .collect();
    let text: String = (0..LINES).map(|number| empty_line(&format!("/many/{number}"))).chain(brought).collect();
    fs::write(&lines, text).unwrap();
    let import = || {
        let mut command = nexus();
        command.arg("import").arg(&lines).arg("--with-content").arg(&bodies).arg("--data-dir").arg(place.data_dir());
        command
    };
    let begun = Instant::now();
    run(import().arg("--dry-run")).ok();
    let whole = begun.elapsed();

    let (mut all, mut nothing) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = import().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.below(120) as f64 / 100.0));
        child.kill().unwrap();
        child.wait().unwrap();
        // As it lies there, then as the next start leaves it.
        run(nexus().arg("fsck").arg(place.data_dir())).ok();
        let vfs = open(&place.data_dir());
        let made = vfs.resolve(&nexus::model::VPath::parse(b"/many").unwrap());
        let count = made.map_or(0, |directory| {
            let mut count = 0;
            let handle = vfs.opendir(directory.id).unwrap();
            vfs.readdir(handle, 0, false, &mut |_| {
                count += 1;
                true
            })
            .unwrap();
            count - 2
        });
        assert!(count == 0 || count == LINES + 40, "seed {seed}, round {round}: {count} files");
        let again = Place { vfs, directory: tempfile::tempdir().unwrap() };
        assert!(again.vfs.check().unwrap().problems.is_empty());
        if count == 0 {
            nothing += 1;
        } else {
            all += 1;
            let many = again.id(b"/many").unwrap();
            for number in 0..LINES {
                again.vfs.unlink(many, nexus::model::Name::new(number.to_string().as_bytes()).unwrap()).unwrap();
            }
            for number in 0..40 {
                let name = format!("body{number}");
                again.vfs.unlink(many, nexus::model::Name::new(name.as_bytes()).unwrap()).unwrap();
            }
            again.vfs.rmdir(nexus::model::NodeId::ROOT, nexus::model::Name::new(b"many").unwrap()).unwrap();
        }
        again.vfs.close().unwrap();
    }
    println!("killed {ROUNDS} times: {nothing} times nothing had happened, {all} times everything");
    run(&mut import()).ok();
    run(nexus().arg("fsck").arg(place.data_dir())).ok();
}

#[test]
fn a_full_disk_undoes_it_all_and_the_store_goes_on() {
    let disk = SmallDisk::new(64 << 20);
    let place = Place::below(disk.path().join("store"), tempfile::tempdir().unwrap());
    place.put(b"/old", b"old");
    place.vfs.sync().unwrap();
    let before = place.lines();
    // Small lines with large values; the lines themselves fit.
    let value = "x".repeat(60_000);
    let lines: String = (0..1_000)
        .map(|number| {
            empty_line(&format!("/{number}")).replace("}\n", &format!(",\"custom_metadata\":{{\"v\":\"{value}\"}}}}\n"))
        })
        .collect();
    let error = place.import(lines.as_bytes(), Conflict::Skip).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(place.lines(), before);
    // Less of it goes, and an ordinary write as well.
    let some: String = lines.lines().take(100).map(|line| format!("{line}\n")).collect();
    assert_eq!(place.import(some.as_bytes(), Conflict::Skip).unwrap().created, 100);
    place.put(b"/new", b"new");
    place.vfs.settle().unwrap();
    assert!(place.vfs.check().unwrap().problems.is_empty());
    place.vfs.close().unwrap();
}
