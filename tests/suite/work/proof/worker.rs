//! One worker: this very test binary, started again. It takes items and completes them until all are done.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nexus::error::ErrorKind;
use nexus::{Config, Nexus};
use rustix::io::Errno;
use serde_json::Value;

use super::ledger::{Ledger, Word};
use crate::harness::{Random, nexus, run};

pub(super) const WAY: &str = "NEXUS_TEST_WORKER_WAY";
pub(super) const STORE: &str = "NEXUS_TEST_WORKER_STORE";
pub(super) const ROOT: &str = "NEXUS_TEST_WORKER_ROOT";
pub(super) const LEDGER: &str = "NEXUS_TEST_WORKER_LEDGER";
pub(super) const USER: &str = "NEXUS_TEST_WORKER_USER";
pub(super) const DOOM: &str = "NEXUS_TEST_WORKER_DOOM";

/// So long a worker has an item at most, where it can say so. One that is slower is late.
const LEASE_SECONDS: u64 = 8;
/// What a mount answers whose daemon is dead, or just dying.
const DEAD: [Errno; 3] = [Errno::NOTCONN, Errno::CONNABORTED, Errno::CANCELED];
/// When there is nothing to do.
const PAUSE: Duration = Duration::from_millis(50);
/// Items among which one that goes by directories picks: more than one, so that few meet, and few enough that some do.
const CHOICE: u64 = 200;
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
struct Job {
    path: String,
    claim: u64,
    /// Its link, where it was found by one.
    link: String,
}

trait Hands {
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
        Links { root: order(ROOT).into(), name: name.clone(), by_mv, random: Random(user.into()) }
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

struct Links {
    root: PathBuf,
    name: String,
    by_mv: bool,
    random: Random,
}

impl Links {
    /// Moves a link to another directory; whether it is certain that this worker did.
    fn mv(&self, link: &str, from: &str, to: &str) -> bool {
        let directory = |name| self.root.join(".work").join(name);
        let source = directory(from).join(link);
        if self.by_mv {
            return Command::new("mv").arg(source).arg(directory(to)).output().unwrap().status.success();
        }
        match rustix::fs::rename(source, directory(to).join(link)) {
            Ok(()) => true,
            Err(Errno::NOENT) => false,
            Err(e) if DEAD.contains(&e) => false,
            Err(e) => panic!("{} moves {link} from {from} to {to}: {e}", self.name),
        }
    }

    /// An attribute of a file; waits for the mount, if it has to.
    fn attribute(&self, path: &str, key: &str) -> String {
        loop {
            match xattr::get(self.root.join(&path[1..]), format!("user.{key}")) {
                Ok(value) => return String::from_utf8(value.unwrap_or_default()).unwrap(),
                Err(e) if Errno::from_io_error(&e).is_some_and(|e| e == Errno::NOENT || DEAD.contains(&e)) => {
                    std::thread::sleep(PAUSE);
                }
                Err(e) => panic!("{key} of {path}: {e}"),
            }
        }
    }
}

impl Hands for Links {
    fn take(&mut self) -> Option<Job> {
        let chosen = self.random.below(CHOICE) as usize;
        let entries = std::fs::read_dir(self.root.join(".work/ready")).ok()?;
        let links: Vec<_> = entries.map_while(Result::ok).take(chosen + 1).collect();
        let link = links.last()?.file_name().into_string().unwrap();
        let target = std::fs::read_link(self.root.join(".work/ready").join(&link)).ok()?;
        let path = target.to_str().unwrap().strip_prefix("../..").unwrap().to_owned();
        // Where it is not certain, the store knows.
        let has = self.mv(&link, "ready", "in_progress")
            || (self.attribute(&path, "worker_id") == self.name && self.attribute(&path, "status") == "in_progress");
        has.then(|| Job { claim: self.attribute(&path, "nexus.claim").parse().unwrap(), path, link })
    }

    fn bring(&mut self, job: &Job, to: &str) -> bool {
        loop {
            if self.mv(&job.link, "in_progress", to) {
                return true;
            }
            // Nobody takes an item away from a worker that lives and whose claim has no end.
            let still = self.attribute(&job.path, "nexus.claim") == job.claim.to_string();
            match self.attribute(&job.path, "status").as_str() {
                "in_progress" => assert!(still, "{} had {}", self.name, job.path),
                "completed" => {
                    assert!(still && to == "completed", "{} had {}", self.name, job.path);
                    return true;
                }
                // Given back, and perhaps taken by another since.
                _ if to == "ready" => return true,
                other => panic!("{} had {}, which is {other}", self.name, job.path),
            }
        }
    }

    fn is_over(&mut self) -> bool {
        let counts = std::fs::read(self.root.join(".work/status.json")).unwrap_or_default();
        let counts: Value = serde_json::from_slice(&counts).unwrap_or_default();
        counts["total"].is_u64() && counts["completed"] == counts["total"]
    }
}
