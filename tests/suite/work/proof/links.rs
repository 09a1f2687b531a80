//! A worker that goes by the directories of `/.work`, as any program on a mount can.

use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use serde_json::Value;

use super::worker::{Hands, Job, PAUSE};
use crate::harness::Random;

/// Items among which one that goes by directories picks: more than one, so that few meet, and few enough that some do.
const CHOICE: u64 = 200;
/// What a mount answers whose daemon is dead, or just dying.
const DEAD: [Errno; 3] = [Errno::NOTCONN, Errno::CONNABORTED, Errno::CANCELED];

/// A worker that moves links.
pub(super) struct Links {
    root: PathBuf,
    name: String,
    by_mv: bool,
    random: Random,
}

impl Links {
    /// `by_mv`: with the program, and not by the call.
    pub(super) fn new(root: PathBuf, name: String, by_mv: bool, random: Random) -> Self {
        Self { root, name, by_mv, random }
    }

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
