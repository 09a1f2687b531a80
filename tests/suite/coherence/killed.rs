//! The daemon with all mounts is killed at any moment: programs and commands go on by themselves, the next daemon takes the
//! store from them, and nothing that was synced is lost.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::thread;
use std::time::Duration;

use super::doors::Doors;
use crate::harness::{Random, seed};

const ROUNDS: usize = 8;
/// Files that are written and synced in each round.
const SYNCED: u64 = 20;

#[test]
fn nothing_synced_is_lost_when_a_daemon_with_mounts_is_killed() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut doors = Doors::new();
    let mut synced: HashMap<String, String> = HashMap::new();
    for round in 0..ROUNDS {
        let mut last = Vec::new();
        for step in 0..SYNCED {
            let (path, text) = (format!("/f{}", random.below(12)), format!("{round}.{step}"));
            match random.below(6) as usize {
                mount @ 0..4 => {
                    // Past the size that stands in a row, too.
                    let body = if step % 2 == 0 { text.clone() } else { text.repeat(20_000) };
                    let mut file = File::create(doors.at(mount, &path)).unwrap();
                    file.write_all(body.as_bytes()).unwrap();
                    file.sync_all().unwrap();
                    synced.insert(path.clone(), body);
                    last.retain(|(written, _)| *written != path);
                }
                program => {
                    assert_eq!(doors.program(program - 4).does(&format!("write {path} {text}")), "ok");
                    last.push((path, text));
                }
            }
        }
        assert_eq!(doors.program(round % 2).does("sync"), "ok");
        synced.extend(last);
        let daemon = doors.owner();
        // Work is on its way through every door when it dies.
        let busy: Vec<_> = (0..4).map(|mount| (mount, doors.at(mount, &format!("/busy{mount}")))).collect();
        thread::scope(|scope| {
            for (mount, path) in busy {
                scope.spawn(move || {
                    while fs::write(&path, mount.to_string()).is_ok() {
                        drop(fs::remove_file(&path));
                    }
                });
            }
            thread::sleep(Duration::from_micros(random.below(30_000)));
            (0..2).for_each(|program| doors.program(program).order("write /busy at the end"));
            doors.kill(daemon);
        });
        // Nobody starts anything: what may be done twice is done again, by whoever takes the store over.
        (0..2).for_each(|program| assert_eq!(doors.program(program).answer(), "ok"));
        // On a busy machine the daemon may have answered both before it died: then the next who asks takes it over.
        assert_eq!(doors.program(round % 2).does("write /busy at the end"), "ok");
        let owner = u32::try_from(doors.owner()).unwrap();
        assert!((0..2).any(|program| doors.program(program).pid() == owner), "a program has the store");
        doors.command(&["cat", "/busy"]).ok();
        for (path, text) in &synced {
            let program = random.below(2) as usize;
            assert!(doors.program(program).does(&format!("read {path}")) == format!("ok {text}"), "{path}");
        }
        assert_eq!(doors.program(0).does(&format!("write /between {round}")), "ok");
        // A daemon that comes clears the dead mounts, and is given the store.
        doors.mount();
        assert_ne!(u32::try_from(doors.owner()).unwrap(), owner);
        assert_eq!(fs::read_to_string(doors.at(round % 4, "/between")).unwrap(), round.to_string());
        for (path, text) in &synced {
            let mount = random.below(4) as usize;
            assert!(fs::read_to_string(doors.at(mount, path)).unwrap() == *text, "{path} on mount {mount}");
        }
    }
    doors.finish();
}
