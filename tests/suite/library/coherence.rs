//! Every read sees the last finished write, whoever wrote and whoever reads.

use std::collections::BTreeMap;

use super::program::Program;
use super::{Place, connect, random};
use crate::harness::{nexus, run};

/// Steps of one run.
const STEPS: u64 = 10_000;

#[test]
fn programs_threads_and_commands_see_one_store() {
    let mut random = random();
    let place = Place::new();
    let mut programs = [Program::start(&place.data_dir), Program::start(&place.data_dir)];
    let mut here = connect(&place.data_dir);
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for step in 0..STEPS {
        let path = format!("/d{}/f{}", random.below(2), random.below(4));
        let who = random.below(3) as usize;
        match random.below(10) {
            0..4 => {
                let text = format!("{step}{}", "x".repeat(random.below(40) as usize));
                match who {
                    2 => here.write(&path, &text).unwrap(),
                    _ => assert_eq!(programs[who].does(&format!("write {path} {text}")), "ok"),
                }
                files.insert(path, text);
            }
            4 => {
                let done = match who {
                    2 => here.delete(&path).is_ok(),
                    _ => programs[who].does(&format!("delete {path}")) == "ok",
                };
                assert_eq!(done, files.remove(&path).is_some(), "{path} at step {step}");
            }
            5 => {
                let to = format!("/d{}/f{}", random.below(2), random.below(4));
                let done = match who {
                    2 => here.rename(&path, &to).is_ok(),
                    _ => programs[who].does(&format!("rename {path} {to}")) == "ok",
                };
                let moved = files.remove(&path);
                assert_eq!(done, moved.is_some(), "{path} at step {step}");
                files.extend(moved.map(|text| (to, text)));
            }
            // Now and then whoever may have the store goes and comes back.
            6 if random.below(40) == 0 => {
                if who == 2 {
                    here.close().unwrap();
                    here = connect(&place.data_dir);
                } else {
                    std::mem::replace(&mut programs[who], Program::start(&place.data_dir)).end();
                }
            }
            7 if random.below(20) == 0 => {
                let outcome = run(nexus().args(["cat", &path, "--data-dir"]).arg(&place.data_dir));
                assert_eq!(outcome.code, if files.contains_key(&path) { 0 } else { 3 });
                assert_eq!(&outcome.stdout, files.get(&path).map_or("", String::as_str), "{path} at step {step}");
            }
            _ => {
                let read = match who {
                    2 => here.read(&path).ok().map(|bytes| String::from_utf8(bytes).unwrap()),
                    _ => programs[who].does(&format!("read {path}")).strip_prefix("ok ").map(str::to_owned),
                };
                assert_eq!(read.as_ref(), files.get(&path), "{path} at step {step}");
            }
        }
    }
    let listed: Vec<_> = here.list("/", true).unwrap();
    let found = listed.iter().filter(|entry| entry.kind == nexus::client::EntryKind::File).map(|entry| entry.path());
    assert!(found.eq(files.keys().cloned()));
    here.close().unwrap();
    programs.into_iter().for_each(Program::end);
    place.finish();
}

#[test]
fn a_reader_sees_one_whole_body_while_it_is_replaced() {
    let place = Place::new();
    let mut other = Program::start(&place.data_dir);
    let here = connect(&place.data_dir);
    // A body in the database, one in a file, one that takes several parts; each of one repeated byte.
    for size in [100, 100_000, 1_500_000] {
        here.write("/a", vec![0; size]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 1..60u8 {
                    connect(&place.data_dir).write("/a", vec![round; size + usize::from(round)]).unwrap();
                }
            });
            while !writer.is_finished() {
                let body = here.read("/a").unwrap();
                let first = body[0];
                assert!(body.iter().all(|byte| *byte == first), "a mixture of two bodies of {size} bytes");
                assert_eq!(body.len(), size + usize::from(first));
            }
        });
    }
    assert_eq!(other.does("delete /a"), "ok");
    here.close().unwrap();
    other.end();
    place.finish();
}

#[test]
fn appends_of_many_do_not_mix() {
    let place = Place::new();
    let owner = Program::start(&place.data_dir);
    let here = connect(&place.data_dir);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let here = &here;
            scope
                .spawn(move || (0..100).for_each(|line| here.append("/log", format!("{writer} {line:03}\n")).unwrap()));
        }
    });
    let log = String::from_utf8(here.read("/log").unwrap()).unwrap();
    assert_eq!(log.lines().count(), 400);
    for writer in 0..4 {
        let own: Vec<_> = log.lines().filter_map(|line| line.strip_prefix(&format!("{writer} "))).collect();
        let expected: Vec<_> = (0..100).map(|line| format!("{line:03}")).collect();
        assert_eq!(own, expected);
    }
    here.close().unwrap();
    owner.end();
    place.finish();
}
