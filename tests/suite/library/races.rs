//! Many processes that want the same thing: exactly one gets it.

use std::path::Path;

use super::Place;
use crate::harness::{Mounted, nexus, shell};

const PROCESSES: usize = 64;

/// Starts `nexus` with each of the lines of words at once, and waits for all; exactly one succeeds, the others exit with
/// `code`. A shell starts them: between fork and exec, a child of this process holds what other tests have open on their
/// mounts.
fn one_wins(data_dir: &Path, lines: impl Iterator<Item = String>, code: i32) -> usize {
    let outcomes = tempfile::tempdir().unwrap();
    let nexus = nexus().get_program().to_str().unwrap().to_owned();
    let starts: String = lines
        .enumerate()
        .map(|(index, words)| {
            format!("( set +e; {nexus} {words} < /dev/null > {index}.out 2>&1; echo $? > {index}.code ) &\n")
        })
        .collect();
    shell(outcomes.path(), &format!("export NEXUS_DATA_DIR={}\n{starts}wait", data_dir.display()));
    let told = |name: String| std::fs::read_to_string(outcomes.path().join(name)).unwrap();
    let mut winners = Vec::new();
    for index in 0..PROCESSES {
        match told(format!("{index}.code")).trim().parse() {
            Ok(0) => winners.push(index),
            other => assert_eq!(other, Ok(code), "{}", told(format!("{index}.out"))),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0]
}

fn race(data_dir: &Path) {
    let all = || 0..PROCESSES;
    one_wins(data_dir, all().map(|_| "mkdir /made".into()), 5);
    one_wins(data_dir, all().map(|_| "write --new /lock".into()), 5);
    let nx = super::connect(data_dir);
    for index in all() {
        nx.write(format!("/own/{index}"), index.to_string()).unwrap();
    }
    nx.write("/single", "").unwrap();
    let winner = one_wins(data_dir, all().map(|index| format!("mv --no-clobber /own/{index} /won")), 5);
    assert_eq!(nx.read("/won").unwrap(), winner.to_string().into_bytes());
    assert_eq!(nx.list("/own", false).unwrap().len(), PROCESSES - 1);
    // One file, many who want to have it under a name of their own.
    one_wins(data_dir, all().map(|index| format!("mv /single /mine/{index}")), 3);
    assert_eq!(nx.list("/mine", false).unwrap().len(), 1);
    nx.close().unwrap();
}

#[test]
fn one_of_many_processes_wins() {
    let place = Place::new();
    race(&place.data_dir);
    place.finish();
}

#[test]
fn one_of_many_processes_wins_beside_a_mount() {
    let mounted = Mounted::new();
    race(&mounted.data_dir());
    mounted.finish();
}

#[test]
fn many_begin_a_store_at_once() {
    let place = Place::new();
    let fresh = place.path("fresh");
    let mut programs: Vec<_> = std::thread::scope(|scope| {
        let start = || super::program::Program::start(&fresh);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (index, program) in programs.iter_mut().enumerate() {
        assert_eq!(program.does(&format!("append /all {index}")), "ok");
    }
    assert_eq!(programs[0].does("read /all"), "ok 01234567");
    programs.into_iter().for_each(super::program::Program::end);
    place.finish();
}
