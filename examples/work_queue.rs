//! The queue of work items: a worker that takes what is most urgent, and steps that wait for one another.
//!
//! `cargo run --example work_queue`

use std::time::Duration;

use nexus::error::{ErrorKind, Result};
use nexus::work::WorkItem;
use nexus::{Config, Nexus};

/// What a worker may take for one item; then somebody else gets it.
const LEASE: Duration = Duration::from_secs(600);

/// Both parts, in a directory that is removed at the end.
pub(crate) fn main() -> Result<()> {
    let directory = tempfile::tempdir().map_err(|e| nexus::error::Error::io("make a directory", e))?;
    let config = Config::at(directory.path().join("nexus-data"))?;
    worker_loop(&config)?;
    dependencies(&config)
}

/// Several workers do what is ready, the most urgent first, each item once.
fn worker_loop(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    for (priority, task) in ["wash", "dry", "fold", "iron"].iter().enumerate() {
        let path = format!("/laundry/{task}.json");
        nx.write(&path, format!(r#"{{"task": "{task}"}}"#))?;
        nx.metadata().set(&path, "priority", priority)?;
        nx.metadata().set(&path, "status", "ready")?;
    }
    assert_eq!(nx.work().ready(Some(1))?[0].virtual_path, "/laundry/wash.json");
    let done: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|number| scope.spawn(move || work(config, number))).collect();
        workers.into_iter().map(|worker| worker.join().expect("workers do not panic")).collect::<Result<_>>()
    })?;
    assert_eq!(done.iter().sum::<usize>(), 4);
    let counts = nx.work().status()?;
    assert_eq!((counts.completed, counts.total), (4, 4));
    nx.close()
}

/// One worker, which ends when nothing is ready; how many items it has done.
fn work(config: &Config, number: u32) -> Result<usize> {
    let nx = nexus::connect(config)?;
    let worker = format!("worker-{number:03}");
    let mut done = 0;
    // A worker that stays would wait for more: Duration::MAX.
    while let Some(claim) = nx.work().claim(&worker, Some(LEASE), Duration::ZERO)? {
        match process(&nx, &claim.item) {
            Ok(()) => {
                // With the number of the claim: if it took longer than the lease, the item is another worker's by now.
                nx.work().complete(&claim.item.virtual_path, Some(claim.claim))?;
                done += 1;
            }
            Err(_) => drop(nx.work().fail(&claim.item.virtual_path, Some(claim.claim))?),
        }
    }
    nx.close().map(|()| done)
}

fn process(nx: &Nexus, item: &WorkItem) -> Result<()> {
    let task = nx.read(&item.virtual_path)?;
    nx.write(format!("{}.result", item.virtual_path), task)
}

/// A step that waits for another is blocked until that one is completed, and ready then by itself.
fn dependencies(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    let (metadata, work) = (nx.metadata(), nx.work().under("/jobs")?);
    nx.write("/jobs/step1.json", r#"{"task": "data_prep"}"#)?;
    nx.write("/jobs/step2.json", r#"{"task": "training"}"#)?;
    metadata.set("/jobs/step1.json", "status", "ready")?;
    metadata.set("/jobs/step1.json", "priority", 1)?;
    metadata.set("/jobs/step2.json", "status", "blocked")?;
    metadata.set("/jobs/step2.json", "depends_on", nx.info("/jobs/step1.json")?.path_id)?;

    let ready = |work: &nexus::client::Work<'_>| -> Result<Vec<String>> {
        Ok(work.ready(None)?.into_iter().map(|item| item.virtual_path).collect())
    };
    assert_eq!(ready(&work)?, ["/jobs/step1.json"]);
    let why = metadata.get("/jobs/step2.json", "nexus.why")?;
    assert!(why.as_str().is_some_and(|why| why.contains("/jobs/step1.json")));
    // Two steps cannot wait for each other.
    let circle = metadata.set("/jobs/step1.json", "depends_on", "/jobs/step2.json");
    assert_eq!(circle.map_err(|e| e.kind()), Err(ErrorKind::Cycle));

    metadata.set("/jobs/step1.json", "status", "completed")?;
    assert_eq!(ready(&work)?, ["/jobs/step2.json"]);
    drop(work);
    nx.close()
}
