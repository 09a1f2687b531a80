//! Many processes that want the same thing: exactly one gets it.

use std::process::{Command, Stdio};

use super::Place;
use crate::harness::{Mounted, nexus};

const PROCESSES: usize = 64;

/// Starts all of the commands and waits for all; exactly one succeeds, the others exit with `code`.
fn one_wins(commands: Vec<Command>, code: i32) -> usize {
    let children: Vec<_> = commands
        .into_iter()
        .map(|mut command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut winners = Vec::new();
    for (index, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => winners.push(index),
            other => assert_eq!(other, Some(code), "{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0]
}

fn race(data_dir: &std::path::Path) {
    let command = |words: &[&str]| {
        let mut command = nexus();
        command.args(words).arg("--data-dir").arg(data_dir);
        command
    };
    one_wins((0..PROCESSES).map(|_| command(&["mkdir", "/made"])).collect(), 5);
    one_wins((0..PROCESSES).map(|_| command(&["write", "--new", "/lock"])).collect(), 5);
    let nx = super::connect(data_dir);
    for index in 0..PROCESSES {
        nx.write(format!("/own/{index}"), index.to_string()).unwrap();
    }
    nx.write("/single", "").unwrap();
    let moves = |index: usize| command(&["mv", "--no-clobber", &format!("/own/{index}"), "/won"]);
    let winner = one_wins((0..PROCESSES).map(moves).collect(), 5);
    assert_eq!(nx.read("/won").unwrap(), winner.to_string().into_bytes());
    assert_eq!(nx.list("/own", false).unwrap().len(), PROCESSES - 1);
    // One file, many who want to have it under a name of their own.
    let takes = |index: usize| command(&["mv", "/single", &format!("/mine/{index}")]);
    one_wins((0..PROCESSES).map(takes).collect(), 3);
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
