//! bench_work: the queue on a store with many files and items, through the library, in one process.
//!
//! Prints a JSON line `{"workload", "ops", "seconds"}` for each phase, and nothing else on standard output. The store is made
//! anew in DIRECTORY, which has to be on the disk to measure. It does not repeat or judge.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nexus::error::Result;
use nexus::meta::{WorkKey, WorkList};
use nexus::model::work::Status;
use nexus::model::{Caller, Kind, Name, NodeId, Timestamp};
use nexus::vfs::{StoreOptions, Vfs, XattrMode};
use nexus::work::{ClaimRequest, Scope, Stands};
use serde_json::json;

/// Files in a directory: more make no difference, and fewer would measure directories.
const FILES_PER_DIRECTORY: usize = 1000;
/// How often a short question is asked, for a mean that means something.
const TIMES: usize = 100;

#[derive(Parser)]
#[command(about = "The work queue of a store with many files, through the library")]
struct Options {
    /// A directory that does not exist or is empty.
    directory: PathBuf,
    /// Files without any attribute.
    #[arg(long, default_value_t = 1_000_000)]
    files: usize,
    /// Work items; one in four of them depends on another.
    #[arg(long, default_value_t = 100_000)]
    items: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let caller = Caller { uid: 0, gid: 0 };
    Vfs::init(&options.directory, caller, Timestamp::now)?;
    let store = StoreOptions { data_dir: options.directory.clone(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(store)?;
    let make = |prefix: &str, count: usize| -> Result<Vec<NodeId>> {
        let (mut made, mut parent) = (Vec::with_capacity(count), NodeId::ROOT);
        for n in 0..count {
            if n % FILES_PER_DIRECTORY == 0 {
                let name = format!("{prefix}{}", n / FILES_PER_DIRECTORY);
                parent = vfs.mkdir(&caller, NodeId::ROOT, Name::new(name.as_bytes())?, 0o755)?.id;
            }
            let name = format!("{n}");
            made.push(vfs.mknod(&caller, parent, Name::new(name.as_bytes())?, Kind::File, 0o644, 0)?.id);
        }
        Ok(made)
    };
    time("files", options.files, || make("f", options.files).map(drop))?;
    let items = make("w", options.items)?;
    let set = |id, key: &[u8], value: &str| vfs.setxattr(id, key, value.as_bytes(), XattrMode::Set);
    time("set-priority", items.len(), || {
        items.iter().enumerate().try_for_each(|(n, id)| set(*id, b"user.priority", &(n * 7919 % 100).to_string()))
    })?;
    time("set-status", items.len(), || items.iter().try_for_each(|id| set(*id, b"user.status", "ready")))?;
    time("set-depends_on", items.len() / 4, || {
        (0..items.len() / 4).try_for_each(|n| set(items[n * 4 + 1], b"user.depends_on", &items[n * 4].to_string()))
    })?;
    vfs.sync()?;

    let ready = WorkList::In(Status::Ready);
    let page = |limit| vfs.work_page(ready, &Scope::EVERYTHING, WorkKey::START, limit).map(drop);
    time("first-ready", TIMES, || (0..TIMES).try_for_each(|_| page(1)))?;
    time("100-ready", TIMES, || (0..TIMES).try_for_each(|_| page(100)))?;
    time("status", TIMES, || (0..TIMES).try_for_each(|_| vfs.work_counts(&Scope::EVERYTHING).map(drop)))?;
    time("whole-ready-list", 1, || {
        let mut after = Some(WorkKey::START);
        while let Some(key) = after {
            after = vfs.work_page(ready, &Scope::EVERYTHING, key, 256)?.next;
        }
        Ok(())
    })?;
    let claims = (items.len() / 10).max(1);
    let request = ClaimRequest { worker: "bench", lease: None };
    let mut claimed = Vec::new();
    time("claim", claims, || {
        (0..claims).try_for_each(|_| {
            let claim = vfs.work_claim(None, &Scope::EVERYTHING, &request, Duration::ZERO)?;
            claimed.extend(claim.and_then(|claim| Some((claim.item.path_id.parse().ok().map(NodeId)?, claim.claim))));
            Ok(())
        })
    })?;
    time("complete", claimed.len(), || {
        claimed.iter().try_for_each(|(id, claim)| {
            let (stands, to) = (Stands::In(Status::InProgress), Status::Completed);
            vfs.work_transit(*id, stands, to, Some(*claim), &Scope::EVERYTHING, &request).map(drop)
        })
    })?;
    vfs.sync()?;
    views(options);
    time("unlink-a-plain-file", TIMES, || {
        let parent = vfs.lookup(NodeId::ROOT, Name::new(b"f0")?)?.id;
        (0..TIMES).try_for_each(|n| vfs.unlink(parent, Name::new(n.to_string().as_bytes())?))
    })?;
    vfs.close()
}

/// The views, as a tool of somebody else reads them.
fn views(options: &Options) {
    let database = rusqlite::Connection::open(options.directory.join("metadata.db"));
    for view in ["ready_work_items", "pending_work_items", "blocked_work_items", "in_progress_work", "work_by_priority"]
    {
        let start = Instant::now();
        let rows = database.as_ref().map_err(ToString::to_string).and_then(|database| {
            let mut query = database.prepare(&format!("SELECT * FROM {view}")).map_err(|e| e.to_string())?;
            let mut rows = query.query([]).map_err(|e| e.to_string())?;
            let mut count = 0;
            while let Some(row) = rows.next().map_err(|e| e.to_string())? {
                count += usize::from(row.get_ref(1).is_ok());
            }
            Ok(count)
        });
        match rows {
            Ok(rows) => tell(&format!("view-{view}"), rows, start.elapsed()),
            Err(error) => say(&error),
        }
    }
}

fn time(workload: &str, ops: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work()?;
    tell(workload, ops, start.elapsed());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the results")]
fn tell(workload: &str, ops: usize, elapsed: Duration) {
    println!("{}", json!({"workload": workload, "ops": ops, "seconds": elapsed.as_secs_f64()}));
}

#[expect(clippy::print_stderr, reason = "why it ended")]
fn say(what: &dyn std::fmt::Display) {
    eprintln!("bench_work: {what}");
}
