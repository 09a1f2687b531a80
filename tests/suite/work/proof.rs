//! 64 processes and one queue: through `mv` on a mount, through the command and through the library at once, while workers
//! and the daemon are killed. Every item is done exactly once, none is lost, and nothing is done before what it waits for.
//!
//! What is done is judged by the [`ledger`], to which every worker writes around each call, and which lives outside of the
//! store. Items of killed workers come back as the semantics say: those of the command and the library when their lease
//! runs out, those of `mv`, which has none, when a supervisor releases them.

mod crew;
mod ledger;
mod links;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::time::{Duration, Instant};

use nexus::model::{Digest, Timestamp};
use nexus::vfs::{StoreOptions, Vfs};
use serde_json::json;

use super::race::needs;
use super::store;
use crate::harness::{Mounted, Random, nexus, run, scratch, seed};
use crew::Crew;
use ledger::{Ledger, Line, Word};
use worker::Way;

const ITEMS: usize = 10_000;
/// Workers at a time, by the way they go. A command is a process for each step, so few of them do little.
const WORKERS: [(Way, usize); 4] = [(Way::Mv, 8), (Way::Rename, 20), (Way::Command, 6), (Way::Library, 30)];
/// After so many items done the daemon is killed, each time.
const DAEMON_DIES_AT: [usize; 3] = [1_500, 4_500, 7_500];
/// After so many items done another worker is killed, whatever it is doing.
const WORKER_DIES_EVERY: usize = 500;
/// Longer than this no machine takes; then it hangs.
const SECONDS_MAX: u64 = 540;

#[test]
fn sixty_four_processes_do_everything_once_and_in_order() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut random = Random(seed);
    let base = scratch();
    let data_dir = base.path().join("data");
    let mut mounted = Mounted::initialised(base, data_dir, &["--allow-other"]);
    let needs = needs(&mut random, ITEMS);
    fill(&mounted, &needs, &mut random);
    mounted.mount();

    let ledger = Ledger::create(mounted.outside().join("ledger"));
    let mut crew = Crew::new(&mounted, &ledger, Random(random.next()));
    for (way, count) in WORKERS {
        (0..count).for_each(|_| crew.hire(way));
    }
    let (started, mut deaths) = (Instant::now(), DAEMON_DIES_AT.iter().peekable());
    let mut next_victim = WORKER_DIES_EVERY;
    while crew.is_at_work() {
        assert!(started.elapsed().as_secs() < SECONDS_MAX, "no end:\n{}", crew.describe());
        let done = ledger.lines().iter().filter(|line| line.word == Word::Done).count();
        if deaths.next_if(|at| done >= **at).is_some() {
            mounted.kill();
            // For a while there is no mount, and whoever comes first has the store.
            std::thread::sleep(Duration::from_millis(random.below(100)));
            mounted.mount();
        }
        if done >= next_victim {
            next_victim += WORKER_DIES_EVERY;
            crew.kill_any();
        }
        crew.kill_the_doomed();
        crew.release_what_the_dead_had(&mounted);
        std::thread::sleep(Duration::from_millis(50));
    }
    let done = crew.done_by_way();
    println!("{ITEMS} items in {:?}, {} {done:?}", started.elapsed(), crew.describe());
    assert_eq!(done.len(), WORKERS.len(), "each way had its share: {done:?}");
    assert!(deaths.peek().is_none(), "the daemon was to be killed once more");
    assert!(crew.died_with_an_item >= WORKERS.len(), "{}", crew.describe());

    mounted.umount();
    judge(&mounted, &ledger, &needs);
    mounted.mount();
    mounted.finish_after_complaints();
}

/// Makes all items with one import; what depends on what is said by paths.
fn fill(mounted: &Mounted, needs: &[Vec<usize>], random: &mut Random) {
    let empty = Digest::EMPTY.to_string();
    let mut lines = String::new();
    for (item, targets) in needs.iter().enumerate() {
        let mut metadata = json!({"priority": random.below(10).to_string()});
        let blocked = !targets.is_empty() && random.below(2) == 0;
        metadata["status"] = json!(if blocked { "blocked" } else { "ready" });
        if !targets.is_empty() {
            let paths: Vec<_> = targets.iter().map(|target| path_of(*target)).collect();
            metadata["depends_on"] = json!(json!(paths).to_string());
        }
        let (path, mode) = (path_of(item), "0666");
        let line = json!({"path": path, "physical_path": empty, "size": 0, "mode": mode, "custom_metadata": metadata});
        lines.push_str(&format!("{line}\n"));
    }
    let file = mounted.outside().join("items.jsonl");
    fs::write(&file, lines).unwrap();
    run(nexus().arg("import").arg(&file).arg("--data-dir").arg(mounted.data_dir())).ok();
}

fn path_of(item: usize) -> String {
    format!("/jobs/{}/{item}", item % 10)
}

fn number_of(path: &str) -> usize {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// Holds the ledger against the graph, and against what the store says in the end.
fn judge(mounted: &Mounted, ledger: &Ledger, needs: &[Vec<usize>]) {
    let options = StoreOptions { data_dir: mounted.data_dir(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options).unwrap();
    store::check(&vfs, &mounted.data_dir());
    let completed = store::list(&vfs, nexus::meta::WorkList::In(nexus::model::work::Status::Completed));
    let paths: BTreeSet<_> = completed.iter().map(|item| item.virtual_path.clone()).collect();
    assert_eq!(paths, (0..needs.len()).map(path_of).collect(), "every item is done, and none is lost");

    let lines = ledger.lines();
    let mut by_path: HashMap<&str, Vec<(usize, &Line)>> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        by_path.entry(&line.path).or_default().push((at, line));
    }
    let mut finished = vec![usize::MAX; needs.len()];
    for item in &completed {
        let own = &by_path[item.virtual_path.as_str()];
        let done: Vec<_> = own.iter().filter(|(_, line)| line.word == Word::Done).map(|(_, line)| line.claim).collect();
        assert!(done.len() <= 1, "{} was done under the claims {done:?}", item.virtual_path);
        // Whoever was killed after the store had heard of it could not say so any more.
        assert!(done.iter().all(|claim| *claim == item.claim), "{item:?} was done under the claim {done:?}");
        let begun = own.iter().find(|(_, line)| line.word == Word::Does && line.claim == item.claim);
        finished[number_of(&item.virtual_path)] = begun.unwrap_or_else(|| panic!("nobody has done {item:?}")).0;
    }
    let mut claims = BTreeSet::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.word == Word::Has) {
        assert!(claims.insert(line.claim), "{line:?}: the number was given twice");
        for target in &needs[number_of(&line.path)] {
            assert!(finished[*target] < at, "{line:?} was taken before {} was done", path_of(*target));
        }
    }
    vfs.close().unwrap();
}
