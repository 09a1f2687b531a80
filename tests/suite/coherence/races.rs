//! 64 processes want the same thing at once, through mounts over io_uring and over /dev/fuse, through the library and by
//! commands: exactly one gets it.
//!
//! A process is this test binary, started again with what it is to try; or `nexus` itself.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nexus::error::ErrorKind;
use rustix::fs::{CWD, FlockOperation, RenameFlags, fcntl_lock, flock, renameat_with};
use rustix::io::Errno;

use super::doors::{Door, Doors};
use crate::harness::{nexus, wait_until};
use crate::library::connect;

const RACERS: usize = 64;
/// Of each kind of race.
const ROUNDS: usize = 3;
/// What a racer exits with who was second; 0 is the first, and everything else a failure.
const SECOND: i32 = 5;

/// What this binary is to try, when it is started as a racer: words, and the store for the library.
const TRY: &str = "NEXUS_TEST_RACE";
const STORE: &str = "NEXUS_TEST_RACE_STORE";

/// A race: its name, how a command takes part where it can, and whether there is anything of it beside the mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    /// All make one name.
    Create,
    /// All make one directory.
    Directory,
    /// All move one file to names of their own.
    Take,
    /// All move files of their own to one name, none of them over another.
    Place,
    /// All lock one file, flock(2).
    Whole,
    /// All lock the same bytes of it, fcntl(2).
    Record,
}

impl Race {
    const ALL: [Self; 6] = [Self::Create, Self::Directory, Self::Take, Self::Place, Self::Whole, Self::Record];

    /// The doors of it: locks are only to be had on a mount.
    fn door(self, number: usize) -> Door {
        match self {
            Self::Whole | Self::Record => Door::Mount(number % 4),
            _ => Door::number(number % 7),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Directory => "directory",
            Self::Take => "take",
            Self::Place => "place",
            Self::Whole => "whole",
            Self::Record => "record",
        }
    }

    /// What moves where, or what is made or locked; of the store.
    fn paths(self, round: usize, number: usize) -> (String, String) {
        let word = self.word();
        match self {
            Self::Take => (format!("/{word}{round}"), format!("/{word}{round}.{number}")),
            Self::Place => (format!("/{word}{round}.{number}"), format!("/{word}{round}")),
            _ => (format!("/{word}{round}"), String::new()),
        }
    }
}

#[test]
fn of_64_processes_through_all_doors_one_wins() {
    let doors = Doors::new();
    let nx = connect(&doors.data_dir());
    for (round, race) in (0..ROUNDS).flat_map(|round| Race::ALL.map(|race| (round, race))) {
        match race {
            Race::Create | Race::Directory => {}
            Race::Place => (0..RACERS).for_each(|number| nx.write(race.paths(round, number).0, "").unwrap()),
            Race::Take | Race::Whole | Race::Record => nx.write(race.paths(round, 0).0, "0123456789").unwrap(),
        }
        let racers = (0..RACERS).map(|number| start(&doors, race, round, number)).collect();
        assert_eq!(winners(racers), 1, "{race:?} in round {round}");
        if race == Race::Take || race == Race::Place {
            let left = nx.list("/", false).unwrap();
            let word = format!("/{}{round}", race.word());
            let left = left.iter().filter(|entry| entry.path().starts_with(&word)).count();
            assert_eq!(left, if race == Race::Take { 1 } else { RACERS }, "{race:?} in round {round}");
        }
    }
    nx.close().unwrap();
    doors.finish();
}

fn start(doors: &Doors, race: Race, round: usize, number: usize) -> Child {
    let (one, two) = race.paths(round, number);
    let mut command = match race.door(number) {
        Door::Command => {
            let mut command = nexus();
            command.args(match race {
                Race::Create => vec!["write", "--new", &one],
                Race::Directory => vec!["mkdir", &one],
                Race::Take => vec!["mv", &one, &two],
                _ => vec!["mv", "--no-clobber", &one, &two],
            });
            command.env("NEXUS_DATA_DIR", doors.data_dir()).stdin(Stdio::null());
            command
        }
        door => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "coherence::races::races", "--nocapture"]);
            let place = |path: &str| match door {
                Door::Mount(index) => doors.at(index, path).into_os_string(),
                _ => OsString::from(path),
            };
            let words = [OsString::from(race.word()), place(&one), place(&two)];
            command.env(TRY, words.join(std::ffi::OsStr::new(" ")));
            if let Door::Program(_) = door {
                command.env(STORE, doors.data_dir());
            }
            command.stdin(Stdio::piped());
            command
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many have won. Whoever has a lock keeps it until all others have tried.
fn winners(mut racers: Vec<Child>) -> usize {
    let mut won = 0;
    let mut ended = |child: &mut Child, code: Option<i32>| {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        // A command that finds the one file gone says so, as mv(1) does.
        let second = code == Some(SECOND) || code == Some(3);
        assert!(code == Some(0) || second, "a racer ended with {code:?}: {said}");
        won += usize::from(code == Some(0));
    };
    wait_until("all but one have tried", 300, || {
        racers.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                ended(child, status.code());
                false
            }
            None => true,
        });
        racers.len() <= 1
    });
    for mut child in racers {
        drop(child.stdin.take());
        let code = child.wait().unwrap().code();
        ended(&mut child, code);
    }
    won
}

/// One racer, when this binary is started as one; otherwise a test of what it takes for second.
#[test]
fn races() {
    let Some(words) = std::env::var_os(TRY) else {
        assert_eq!(code(Err(Errno::EXIST)), SECOND);
        return;
    };
    let words = words.into_string().unwrap();
    let mut words = words.splitn(3, ' ');
    let (what, one, two) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
    let code = match std::env::var_os(STORE) {
        Some(store) => by_library(Path::new(&store), what, one, two),
        None => on_mount(what, one.as_ref(), two.as_ref()),
    };
    std::process::exit(code);
}

fn code(outcome: Result<(), Errno>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(Errno::EXIST | Errno::NOENT | Errno::AGAIN | Errno::ACCESS) => SECOND,
        Err(e) => panic!("{e}"),
    }
}

fn on_mount(what: &str, one: &Path, two: &Path) -> i32 {
    let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap();
    code(match what {
        "create" => OpenOptions::new().write(true).create_new(true).open(one).map(drop).map_err(errno),
        "directory" => fs::create_dir(one).map_err(errno),
        "take" => fs::rename(one, two).map_err(errno),
        "place" => renameat_with(CWD, one, CWD, two, RenameFlags::NOREPLACE),
        _ => {
            let file = OpenOptions::new().read(true).write(true).open(one).unwrap();
            let operation = FlockOperation::NonBlockingLockExclusive;
            let got = if what == "whole" { flock(&file, operation) } else { fcntl_lock(&file, operation) };
            if got.is_ok() {
                // Until all others have tried.
                std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            }
            got
        }
    })
}

fn by_library(store: &Path, what: &str, one: &str, two: &str) -> i32 {
    let nx = connect(store);
    let done = match what {
        "create" => nx.write_new(one, ""),
        "directory" => nx.mkdir(one, false),
        "take" => nx.rename(one, two),
        _ => nx.rename_new(one, two),
    };
    let code = match done.map_err(|e| e.kind()) {
        Ok(()) => 0,
        Err(ErrorKind::Exists | ErrorKind::NotFound) => SECOND,
        Err(e) => panic!("{e:?}"),
    };
    nx.close().unwrap();
    code
}
