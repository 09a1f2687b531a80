//! One worker: this very test binary, started again. It takes items and completes them until all are done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nexus::error::ErrorKind;
use nexus::{Config, Nexus};
use serde_json::Value;

use super::ledger::{Ledger, Word};
use super::links::Links;
use crate::harness::{Random, nexus, run};

pub(super) const WAY: &str = "NEXUS_TEST_WORKER_WAY";
pub(super) const STORE: &str = "NEXUS_TEST_WORKER_STORE";
pub(super) const ROOT: &str = "NEXUS_TEST_WORKER_ROOT";
pub(super) const LEDGER: &str = "NEXUS_TEST_WORKER_LEDGER";
pub(super) const USER: &str = "NEXUS_TEST_WORKER_USER";
pub(super) const DOOM: &str = "NEXUS_TEST_WORKER_DOOM";

/// So long a worker has an item at most, where it can say so. One that is slower is late.
const LEASE_SECONDS: u64 = 8;
/// When there is nothing to do.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How long an item takes at most where getting it takes nothing: the others would get none.
const LABOUR_MILLIS_MAX: u64 = 80;

/// How a worker gets at the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// mv(1) of a link in `/.work`.
    Mv,
    /// rename(2) of one.
    Rename,
    /// `nexus work`.
    Command,
    /// A connection of the library.
    Library,
}

impl Way {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Mv => "mv",
            Self::Rename => "rename",
            Self::Command => "command",
            Self::Library => "library",
        }
    }
}

/// The name of a worker: that which the store gives to whoever moves links as this user.
pub(super) fn name_of(user: u32) -> String {
    format!("uid:{user}")
}

/// An item that the worker has.
pub(super) struct Job {
    pub(super) path: String,
    pub(super) claim: u64,
    /// Its link, where it was found by one.
    pub(super) link: String,
}

pub(super) trait Hands {
    /// Takes an item, if one can be had at the moment.
    fn take(&mut self) -> Option<Job>;
    /// Completes it, or gives it back; whether that was allowed.
    fn bring(&mut self, job: &Job, to: &str) -> bool;
    /// Whether all is done, as far as can be found out at the moment.
    fn is_over(&mut self) -> bool;
    /// How many milliseconds the work takes at most.
    fn labour(&self) -> u64 {
        1
    }
}

/// The worker, when this binary is started as one.
#[test]
fn works() {
    let Some(way) = std::env::var_os(WAY) else { return };
    let order = |key| std::env::var(key).unwrap();
    let (user, doom): (u32, usize) = (order(USER).parse().unwrap(), order(DOOM).parse().unwrap());
    let (name, ledger) = (name_of(user), Ledger::open(Path::new(&order(LEDGER))));
    let links = |by_mv| {
        // Of this thread alone, and of what it starts: it is what the kernel tells of a request.
        let id = rustix::process::Uid::from_raw(user);
        rustix::thread::set_thread_res_uid(id, id, id).unwrap();
        Links::new(order(ROOT).into(), name.clone(), by_mv, Random(user.into()))
    };
    match way.to_str().unwrap() {
        "mv" => work(&mut links(true), &name, &ledger, doom),
        "rename" => work(&mut links(false), &name, &ledger, doom),
        "command" => work(&mut Shell { data_dir: order(STORE).into(), name: name.clone() }, &name, &ledger, doom),
        _ => {
            let nx = nexus::connect(&Config::at(PathBuf::from(order(STORE))).unwrap()).unwrap();
            work(&mut Library { nx, name: name.clone() }, &name, &ledger, doom);
        }
    }
}

fn work(hands: &mut dyn Hands, name: &str, ledger: &Ledger, doom: usize) {
    let (mut random, mut taken) = (Random(name.len() as u64 + doom as u64), 0);
    loop {
        let Some(job) = hands.take() else {
            if hands.is_over() {
                return;
            }
            std::thread::sleep(PAUSE);
            continue;
        };
        ledger.say(name, Word::Has, job.claim, &job.path);
        taken += 1;
        if taken == doom {
            // Until it is killed.
            loop {
                std::thread::sleep(PAUSE);
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(hands.labour())));
        if random.below(20) == 0 {
            let word = if hands.bring(&job, "ready") { Word::Back } else { Word::Late };
            ledger.say(name, word, job.claim, &job.path);
            continue;
        }
        ledger.say(name, Word::Does, job.claim, &job.path);
        let word = if hands.bring(&job, "completed") { Word::Done } else { Word::Late };
        ledger.say(name, word, job.claim, &job.path);
    }
}

struct Library {
    nx: Nexus,
    name: String,
}

impl Hands for Library {
    fn take(&mut self) -> Option<Job> {
        let lease = Some(Duration::from_secs(LEASE_SECONDS));
        match self.nx.work().claim(&self.name, lease, Duration::from_millis(100)) {
            Ok(claim) => {
                claim.map(|claim| Job { path: claim.item.virtual_path, claim: claim.claim, link: String::new() })
            }
            // If it was given, the lease brings it back.
            Err(e) if lost(e.kind()) => None,
            Err(e) => panic!("{} claims: {e}", self.name),
        }
    }

    fn bring(&mut self, job: &Job, to: &str) -> bool {
        let mut asked_before = false;
        loop {
            let brought = match to {
                "ready" => self.nx.work().release(&job.path, Some(job.claim)),
                _ => self.nx.work().complete(&job.path, Some(job.claim)),
            };
            match brought {
                Ok(_) => return true,
                Err(e) if lost(e.kind()) => asked_before = true,
                Err(e) if e.kind() == ErrorKind::NotPermitted => {
                    // Carried out, perhaps, when nobody could say so any more.
                    let is = |key, value: &str| self.nx.metadata().get(&job.path, key).is_ok_and(|is| is == value);
                    return asked_before && is("status", to) && is("nexus.claim", &job.claim.to_string());
                }
                Err(e) => panic!("{} brings {} to {to}: {e}", self.name, job.path),
            }
        }
    }

    fn is_over(&mut self) -> bool {
        self.nx.work().status().is_ok_and(|counts| counts.completed == counts.total)
    }

    fn labour(&self) -> u64 {
        LABOUR_MILLIS_MAX
    }
}

/// The process that had the store is gone.
fn lost(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::InUse)
}

struct Shell {
    data_dir: PathBuf,
    name: String,
}

impl Shell {
    /// The exit code of a command, and what it printed.
    fn nexus(&self, words: &[&str]) -> (i32, Value) {
        let outcome = run(nexus().args(words).arg("--json").env("NEXUS_DATA_DIR", &self.data_dir));
        assert!([0, 1, 3, 4, 8].contains(&outcome.code), "{words:?}: {}", outcome.stderr);
        (outcome.code, serde_json::from_str(&outcome.stdout).unwrap_or_default())
    }
}

impl Hands for Shell {
    fn take(&mut self) -> Option<Job> {
        let lease = format!("{LEASE_SECONDS}s");
        // What is printed was given, also when the daemon died right after and the command could not end in peace.
        let (_, claim) = self.nexus(&["work", "claim", "--worker", &self.name, "--lease", &lease]);
        let path = claim["item"]["virtual_path"].as_str()?;
        Some(Job { path: path.to_owned(), claim: claim["claim"].as_u64().unwrap(), link: String::new() })
    }

    fn bring(&mut self, job: &Job, to: &str) -> bool {
        let (verb, claim) = (if to == "ready" { "release" } else { "complete" }, job.claim.to_string());
        let mut asked_before = false;
        loop {
            match self.nexus(&["work", verb, &job.path, "--claim", &claim]).0 {
                0 => return true,
                4 => {
                    let is = |key, value: &str| self.nexus(&["meta", "get", &job.path, key]).1 == value;
                    return asked_before && is("status", to) && is("nexus.claim", &claim);
                }
                _ => asked_before = true,
            }
        }
    }

    fn is_over(&mut self) -> bool {
        let (code, counts) = self.nexus(&["work", "status"]);
        code == 0 && counts["completed"] == counts["total"]
    }
}
