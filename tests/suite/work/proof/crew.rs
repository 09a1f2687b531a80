//! The workers as processes: started, killed, replaced.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Child, Command};

use nexus::Config;
use nexus::error::ErrorKind;

use super::ledger::{Ledger, Word};
use super::worker::{self, Way};
use crate::harness::{Mounted, Random};

/// The users as whom workers go to the mount: the store notes who has what, and each worker is a user of its own.
const FIRST_USER: u32 = 20_000;

struct Worker {
    way: Way,
    user: u32,
    /// Which item it has when it stops, to be killed.
    doom: Option<usize>,
    child: Child,
}

impl Worker {
    fn name(&self) -> String {
        worker::name_of(self.user)
    }
}

pub(super) struct Crew<'a> {
    ledger: &'a Ledger,
    orders: Vec<(&'static str, std::ffi::OsString)>,
    random: Random,
    /// All workers ever, by the way they go; the first is [`FIRST_USER`].
    ways: Vec<Way>,
    working: Vec<Worker>,
    /// Dead workers that took items without a lease.
    dead: Vec<String>,
    killed: usize,
    pub(super) died_with_an_item: usize,
}

impl<'a> Crew<'a> {
    pub(super) fn new(mounted: &Mounted, ledger: &'a Ledger, random: Random) -> Self {
        let orders = vec![
            (worker::STORE, mounted.data_dir().into_os_string()),
            (worker::ROOT, mounted.root().into_os_string()),
            (worker::LEDGER, ledger.path().as_os_str().to_owned()),
        ];
        let (working, dead) = (Vec::new(), Vec::new());
        Self { ledger, orders, random, ways: Vec::new(), working, dead, killed: 0, died_with_an_item: 0 }
    }

    /// Starts a worker; every fourth is one that is to die with an item.
    pub(super) fn hire(&mut self, way: Way) {
        let user = FIRST_USER + self.ways.len() as u32;
        let doom = self.ways.len().is_multiple_of(4).then(|| 1 + self.random.below(10) as usize);
        self.ways.push(way);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "work::proof::worker::works", "--nocapture", "--test-threads=1"])
            .envs(self.orders.iter().map(|(key, value)| (key, value)))
            .env(worker::WAY, way.word())
            .env(worker::USER, user.to_string())
            .env(worker::DOOM, doom.unwrap_or(0).to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        self.working.push(Worker { way, user, doom, child });
    }

    /// Whether anybody still works. Whoever ends without having been killed has to have ended well.
    pub(super) fn is_at_work(&mut self) -> bool {
        self.working.retain_mut(|worker| match worker.child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{} ({}) ended with {status}", worker.name(), worker.way.word());
                false
            }
            None => true,
        });
        !self.working.is_empty()
    }

    /// Kills those who have stopped with the item they are to die with.
    pub(super) fn kill_the_doomed(&mut self) {
        let mut has: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.ledger.lines() {
            *has.entry(line.worker).or_default() += usize::from(line.word == Word::Has);
        }
        let is_due = |worker: &Worker| worker.doom.is_some_and(|doom| has.get(&worker.name()) == Some(&doom));
        while let Some(at) = self.working.iter().position(is_due) {
            self.kill(at);
        }
    }

    /// Kills one, whatever it is doing.
    pub(super) fn kill_any(&mut self) {
        let at = self.random.below(self.working.len() as u64) as usize;
        self.kill(at);
    }

    fn kill(&mut self, at: usize) {
        let mut worker = self.working.swap_remove(at);
        worker.child.kill().unwrap();
        worker.child.wait().unwrap();
        let name = worker.name();
        let last = self.ledger.lines().into_iter().rfind(|line| line.worker == name);
        self.killed += 1;
        self.died_with_an_item += usize::from(last.is_some_and(|line| line.word == Word::Has));
        if matches!(worker.way, Way::Mv | Way::Rename) {
            self.dead.push(name);
        }
        self.hire(worker.way);
    }

    /// What a supervisor does: gives back what those have who will never end it, and whose claims have no end.
    pub(super) fn release_what_the_dead_had(&self, mounted: &Mounted) {
        let nx = nexus::connect(&Config::at(mounted.data_dir()).unwrap()).unwrap();
        for item in nx.work().in_progress(None).unwrap() {
            if item.worker_id.is_some_and(|worker| self.dead.contains(&worker)) {
                match nx.work().release(&item.virtual_path, Some(item.claim)) {
                    Ok(_) => {}
                    // A mv that had begun went on when its worker was killed.
                    Err(e) if e.kind() == ErrorKind::NotPermitted => {}
                    Err(e) => panic!("{} of a dead worker: {e}", item.virtual_path),
                }
            }
        }
        nx.close().unwrap();
    }

    /// How many items were done in each way.
    pub(super) fn done_by_way(&self) -> BTreeMap<&'static str, usize> {
        let mut done = BTreeMap::new();
        for line in self.ledger.lines().iter().filter(|line| line.word == Word::Done) {
            let way = (FIRST_USER..).zip(&self.ways).find(|(user, _)| worker::name_of(*user) == line.worker).unwrap().1;
            *done.entry(way.word()).or_default() += 1;
        }
        done
    }

    /// How far it is, for people.
    pub(super) fn describe(&self) -> String {
        let lines = self.ledger.lines();
        let count = |word| lines.iter().filter(|line| line.word == word).count();
        let mut told = format!(
            "{} done, {} given back, {} late, {} workers killed, {} of them with an item; at work:",
            count(Word::Done),
            count(Word::Back),
            count(Word::Late),
            self.killed,
            self.died_with_an_item
        );
        for worker in &self.working {
            let last = lines.iter().rfind(|line| line.worker == worker.name());
            write!(told, "\n{} by {}: {last:?}", worker.name(), worker.way.word()).unwrap();
        }
        told
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        for worker in &mut self.working {
            drop(worker.child.kill());
            drop(worker.child.wait());
        }
    }
}
