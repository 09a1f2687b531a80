//! The owner of a store and its end: who comes next, and what is lost.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nexus::client::{self, Role};
use nexus::error::ErrorKind;

use super::program::Program;
use super::{Place, connect, random};
use crate::harness::{Mounted, nexus, run, wait_until};

#[test]
fn the_first_has_the_store_and_the_next_takes_over() {
    let place = Place::new();
    let mut first = Program::start(&place.data_dir);
    let mut second = Program::start(&place.data_dir);
    let third = place.connect();
    let owner = first.pid().to_string();
    assert_eq!(first.does("owner"), format!("ok {owner}"));
    assert_eq!(second.does("owner"), format!("ok {owner}"));
    assert_eq!(third.status().unwrap().role, Role::Library);
    let socket = place.data_dir.join("nexus.sock");
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(first.does("write /a by the first"), "ok");
    first.end();
    assert_eq!(second.does("read /a"), "ok by the first");
    let owner = client::status(&place.data_dir).unwrap().expect("somebody has taken over").pid;
    assert!(owner == second.pid() || owner == std::process::id());
    assert_eq!(third.read("/a").unwrap(), b"by the first");
    second.end();
    assert_eq!(third.read("/a").unwrap(), b"by the first");
    assert_eq!(third.status().unwrap().pid, std::process::id());
    third.close().unwrap();
    assert_eq!(client::status(&place.data_dir).unwrap(), None);
    place.finish();
}

#[test]
fn connections_of_one_process_share_the_store() {
    let place = Place::new();
    let (one, two) = (place.connect(), place.connect());
    one.write("/a", "1").unwrap();
    assert_eq!(two.read("/a").unwrap(), b"1");
    one.close().unwrap();
    two.write("/a", "2").unwrap();
    two.close().unwrap();
    place.finish();
}

#[test]
fn nothing_synced_is_lost_when_owners_are_killed() {
    let mut random = random();
    let place = Place::new();
    let mut programs: Vec<_> = (0..3).map(|_| Program::start(&place.data_dir)).collect();
    let mut synced: HashMap<String, String> = HashMap::new();
    for round in 0..12 {
        let mut last = Vec::new();
        for step in 0..20 {
            let who = random.below(programs.len() as u64) as usize;
            let (path, text) = (format!("/d{}/f{}", random.below(3), random.below(5)), format!("{round}.{step}"));
            assert_eq!(programs[who].does(&format!("write {path} {text}")), "ok");
            last.push((path, text));
        }
        assert_eq!(programs[0].does("sync"), "ok");
        synced.extend(last);
        // Work is on its way when the owner dies.
        let asked = programs[0].does("owner");
        let owner: u32 = asked.strip_prefix("ok ").unwrap().parse().unwrap();
        let victim = programs.iter().position(|program| program.pid() == owner).expect("a program has the store");
        for (index, program) in programs.iter_mut().enumerate() {
            if index != victim {
                program.order("write /busy at the end");
            }
        }
        programs[victim].kill();
        // The others go on by themselves: what may be done twice is.
        for (index, program) in programs.iter_mut().enumerate() {
            if index != victim {
                assert_eq!(program.answer(), "ok");
            }
        }
        programs[victim] = Program::start(&place.data_dir);
        for (path, text) in &synced {
            let who = random.below(programs.len() as u64) as usize;
            assert_eq!(programs[who].does(&format!("read {path}")), format!("ok {text}"), "{path} in round {round}");
        }
    }
    programs.into_iter().for_each(Program::end);
    place.finish();
}

#[test]
fn what_cannot_be_done_twice_is_done_once_or_said_to_be_unknown() {
    let mut random = random();
    let place = Place::new();
    for round in 0..15 {
        let mut owner = Program::start(&place.data_dir);
        let mut other = Program::start(&place.data_dir);
        assert_eq!(other.does("owner"), format!("ok {}", owner.pid()));
        assert_eq!(other.does(&format!("write /from{round} x")), "ok");
        assert_eq!(other.does("sync"), "ok");
        other.order(&format!("rename /from{round} /to{round}"));
        std::thread::sleep(Duration::from_micros(random.below(2000)));
        owner.kill();
        // What was acknowledged and not synced may be lost with the owner, as on any disk: but never half of it.
        let answer = other.answer();
        assert!(matches!(answer.as_str(), "ok" | "OutcomeUnknown"), "a rename ended in {answer}");
        let (from, to) = (other.does(&format!("read /from{round}")), other.does(&format!("read /to{round}")));
        assert!((from == "ok x") != (to == "ok x"), "{from} {to}");
        other.end();
    }
    place.finish();
}

#[test]
fn a_daemon_takes_the_store_from_a_program_which_goes_on() {
    let mut mounted = Mounted::new();
    mounted.umount();
    let mut program = Program::start(&mounted.data_dir());
    let here = connect(&mounted.data_dir());
    assert_eq!(program.does("write /a before the mount"), "ok");
    mounted.mount();
    assert_eq!(std::fs::read(mounted.path("a")).unwrap(), b"before the mount");
    let status = client::status(&mounted.data_dir()).unwrap().unwrap();
    assert_eq!(status.role, Role::Daemon);
    assert_eq!(status.mounts.len(), 1);
    // What the mount writes, the library reads, also from a file that is still open.
    std::fs::write(mounted.path("b"), "by the mount").unwrap();
    assert_eq!(program.does("read /b"), "ok by the mount");
    let mut open = std::fs::File::create(mounted.path("c")).unwrap();
    open.write_all(b"still open").unwrap();
    assert_eq!(here.read("/c").unwrap(), b"still open");
    assert_eq!(program.does("write /new/d by the library"), "ok");
    assert_eq!(std::fs::read(mounted.path("new/d")).unwrap(), b"by the library");
    drop(open);
    mounted.umount();
    // The daemon is gone, and the program takes the store back.
    assert_eq!(program.does("read /new/d"), "ok by the library");
    program.end();
    here.close().unwrap();
    mounted.mount();
    mounted.finish();
}

#[test]
fn a_killed_daemon_is_followed_by_a_client() {
    let mut mounted = Mounted::new();
    let here = connect(&mounted.data_dir());
    here.write("/a", "1").unwrap();
    here.sync().unwrap();
    mounted.kill();
    assert_eq!(here.read("/a").unwrap(), b"1");
    here.close().unwrap();
    mounted.mount();
    mounted.finish();
}

#[test]
fn a_store_far_down_has_a_socket_too() {
    let place = Place::new();
    let deep = place.path(&["a-long-name"; 20].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    let mut program = Program::start(&deep);
    let here = connect(&deep);
    here.write("/a", "far down").unwrap();
    assert_eq!(here.status().unwrap().pid, program.pid());
    assert_eq!(program.does("read /a"), "ok far down");
    here.close().unwrap();
    program.end();
    place.finish();
}

#[test]
fn garbage_costs_a_connection_and_nothing_else() {
    let place = Place::new();
    let here = place.connect();
    here.write("/a", "1").unwrap();
    let mut random = random();
    for _ in 0..200 {
        let mut stream = UnixStream::connect(place.data_dir.join("nexus.sock")).unwrap();
        let length = random.below(300);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        if random.below(2) == 0 {
            // A greeting that is none, and a length that promises gigabytes.
            bytes.splice(0..0, [1, 0xff, 0xff, 0xff, 0x7f]);
        }
        drop(stream.write_all(&bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.len() < 1000);
    }
    wait_until("the connections are gone", 30, || here.status().unwrap().clients == 0);
    assert_eq!(here.read("/a").unwrap(), b"1");
    here.close().unwrap();
    place.finish();
}

#[test]
fn connections_beyond_the_limit_wait_and_are_told() {
    let place = Place::new();
    let mut owner = Program::start(&place.data_dir);
    let mut idle: Vec<_> = (0..256).map(|_| UnixStream::connect(place.data_dir.join("nexus.sock")).unwrap()).collect();
    let refused = nexus::connect(&nexus::Config::at(&place.data_dir).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
    idle.clear();
    let here = place.connect();
    here.write("/a", "1").unwrap();
    assert_eq!(owner.does("read /a"), "ok 1");
    here.close().unwrap();
    owner.end();
    place.finish();
}

#[test]
fn another_user_is_refused() {
    let place = Place::new();
    let here = place.connect();
    here.write("/a", "secret").unwrap();
    std::fs::set_permissions(&place.data_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Not even when the socket itself were open to him.
    for mode in [0o600, 0o666] {
        let socket = place.data_dir.join("nexus.sock");
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(nexus().get_program()).args(["cat", "/a", "--data-dir"]).arg(&place.data_dir);
        let outcome = run(&mut command);
        assert_eq!(outcome.code, 4, "{outcome:?}");
        assert_eq!(outcome.stdout, "");
    }
    std::fs::set_permissions(&place.data_dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    here.close().unwrap();
    place.finish();
}
