//! `nexus work`: the queue.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use nexus::client::Work as Queue;
use nexus::error::{Error, ErrorKind, Result};
use nexus::model::VPath;
use nexus::model::work::Status;
use nexus::work::WorkItem;
use nexus::{Nexus, advice};

use super::output;
use super::store_access::{path, with_nexus};

/// How long a watch waits at a time.
const WATCH_SECONDS: u64 = 1;

/// The queue of work items
///
/// A work item is a file with the metadata key status: ready, pending, blocked, in_progress, completed or failed. priority
/// is a number, lower first; depends_on names files that have to be completed first, by path, by path_id, or as a JSON
/// list of both. Set them with 'nexus meta set' or, on a mount, with setfattr as user.status and so on.
///
/// A claim has a number, which grows. Given to complete, fail or release it makes sure that nobody else has claimed the
/// item in between.
#[derive(Debug, Args)]
pub(crate) struct Work {
    #[command(subcommand)]
    command: WorkCommand,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Only items at or below this path
    #[arg(long, value_name = "PATH", value_parser = path, global = true)]
    under: Option<VPath>,
}

#[derive(Debug, Subcommand)]
enum WorkCommand {
    /// What can be started now
    Ready(List),
    /// What somebody will make ready
    Pending(List),
    /// What waits for something, most dependencies first
    Blocked(List),
    /// What a worker has, started last first
    InProgress(List),
    /// What is done
    Completed(List),
    /// What was given up
    Failed(List),
    /// All items
    ByPriority(List),
    /// How many items stand where
    Status {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take the first ready item, or this one
    ///
    /// Prints its path, or with --json the item and the number of the claim. Exits with 3 when there is none.
    Claim(Claim),
    /// An item is done
    Complete(End),
    /// An item is given up
    Fail(End),
    /// An item is given back: ready again
    Release(End),
    /// Print each change as a JSON object, until interrupted or nobody reads them
    Watch,
    /// Print what waits for what
    Graph {
        /// In the language of graphviz (the default): nexus work graph | dot -Tsvg
        #[arg(long)]
        dot: bool,
        /// As a JSON object
        #[arg(long, conflicts_with = "dot")]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print a JSON object on each line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Claim {
    /// The item
    #[arg(value_parser = path)]
    item: Option<VPath>,
    /// Wait until there is one, or for so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "inf", value_parser = seconds)]
    wait: Option<Duration>,
    /// After this time the item is ready again: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = span)]
    lease: Option<Duration>,
    /// Who works on it; the host and the parent process if not given
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct End {
    /// The item
    #[arg(value_parser = path)]
    item: VPath,
    /// Only while this claim holds
    #[arg(long, value_name = "NUMBER")]
    claim: Option<u64>,
    /// Print the item as a JSON object
    #[arg(long)]
    json: bool,
}

impl Work {
    pub(crate) fn run(self) -> Result<()> {
        let Self { command, data_dir, under } = self;
        with_nexus(data_dir, |nx| {
            let queue = match &under {
                Some(under) => nx.work().under(under.as_bytes())?,
                None => nx.work(),
            };
            match command {
                WorkCommand::Ready(list) => list.print(queue.ready(list.limit)?),
                WorkCommand::Pending(list) => list.print(queue.pending(list.limit)?),
                WorkCommand::Blocked(list) => list.print(queue.blocked(list.limit)?),
                WorkCommand::InProgress(list) => list.print(queue.in_progress(list.limit)?),
                WorkCommand::Completed(list) => list.print(queue.completed(list.limit)?),
                WorkCommand::Failed(list) => list.print(queue.failed(list.limit)?),
                WorkCommand::ByPriority(list) => list.print(queue.by_priority(list.limit)?),
                WorkCommand::Status { json } => print_counts(&queue, json),
                WorkCommand::Claim(claim) => claim.run(nx, &queue),
                WorkCommand::Complete(end) => end.run(nx, &queue, Status::Completed),
                WorkCommand::Fail(end) => end.run(nx, &queue, Status::Failed),
                WorkCommand::Release(end) => end.run(nx, &queue, Status::Ready),
                WorkCommand::Watch => watch(&queue),
                WorkCommand::Graph { json, .. } => {
                    let graph = queue.graph()?;
                    if json { output::json(&graph) } else { output::bytes(graph.to_dot().as_bytes()) }
                }
            }
        })
    }
}

impl List {
    fn print(&self, items: Vec<WorkItem>) -> Result<()> {
        items.iter().try_for_each(|item| if self.json { output::json(item) } else { output::line(row(item)) })
    }
}

/// An item on a line: priority, state, what is known of its state, path.
fn row(item: &WorkItem) -> String {
    let priority = item.priority.map_or_else(|| "-".into(), |priority| priority.to_string());
    let more = match item.state {
        Status::Blocked => format!("{} open", item.blocker_count),
        Status::InProgress => item.worker_id.clone().unwrap_or_default(),
        _ => String::new(),
    };
    format!("{priority:>10}  {:<11}  {more:<20}  {}", item.state.word(), item.virtual_path.escape_debug())
}

fn print_counts(queue: &Queue<'_>, json: bool) -> Result<()> {
    let counts = queue.status()?;
    if json {
        return output::json(&counts);
    }
    let lines = [
        ("ready", counts.ready),
        ("pending", counts.pending),
        ("blocked", counts.blocked),
        ("in_progress", counts.in_progress),
        ("completed", counts.completed),
        ("failed", counts.failed),
        ("total", counts.total),
    ];
    lines.iter().try_for_each(|(state, count)| output::line(format_args!("{state:<11} {count}")))
}

impl Claim {
    fn run(self, nx: &Nexus, queue: &Queue<'_>) -> Result<()> {
        let worker = self.worker.unwrap_or_else(this_worker);
        let claimed = match &self.item {
            Some(item) => Some(queue.claim_item(item.as_bytes(), &worker, self.lease).map_err(|e| match e.kind() {
                ErrorKind::NotFound => refused(&e, item, "only what is ready can be claimed", nx),
                _ => e,
            })?),
            None => queue.claim(&worker, self.lease, self.wait.unwrap_or_default())?,
        };
        match claimed {
            Some(claim) if self.json => output::json(&claim),
            Some(claim) => output::line(&claim.item.virtual_path),
            None => Err(Error::new(ErrorKind::NotFound, "claim a work item: nothing is ready")),
        }
    }
}

impl End {
    fn run(self, nx: &Nexus, queue: &Queue<'_>, to: Status) -> Result<()> {
        let item = self.item.as_bytes();
        let ended = match to {
            Status::Completed => queue.complete(item, self.claim),
            Status::Failed => queue.fail(item, self.claim),
            _ => queue.release(item, self.claim),
        };
        let ended = ended.map_err(|e| {
            let rule =
                "only what is in progress can be completed, fail or be released; what failed can be released, too";
            match e.kind() {
                ErrorKind::NotPermitted => refused(&e, &self.item, rule, nx),
                _ => e,
            }
        })?;
        if self.json { output::json(&ended) } else { Ok(()) }
    }
}

/// What the user should know about a transition that was refused: what is allowed, and why the item waits.
fn refused(error: &Error, item: &VPath, rule: &str, nx: &Nexus) -> Error {
    let why = nx.metadata().get(item.as_bytes(), "nexus.why").ok();
    let why = why.as_ref().and_then(|why| why.as_str()).unwrap_or_default().replace('\n', "; ");
    let hint = if why.is_empty() { rule.to_owned() } else { format!("{rule}; this one waits for: {why}") };
    advice::with_hint(error, hint)
}

fn watch(queue: &Queue<'_>) -> Result<()> {
    let mut last = queue.changes(None, Duration::ZERO)?.last;
    loop {
        let seen = queue.changes(Some(last), Duration::from_secs(WATCH_SECONDS))?;
        if seen.missed {
            output::note("some changes are left out: they came too fast, or another process has taken the store over");
        }
        for change in &seen.changes {
            output::json(change)?;
        }
        last = seen.last;
        // One that went away while nothing happens would be noticed by no write.
        if output::is_unread_after(Duration::ZERO)? {
            return Ok(());
        }
    }
}

/// The process that runs this command, and where.
fn this_worker() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    format!("{host}:{parent}")
}

/// A time to wait, in seconds; `inf` without an end.
fn seconds(typed: &str) -> std::result::Result<Duration, String> {
    if typed == "inf" {
        return Ok(Duration::MAX);
    }
    let seconds: f64 = typed.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// A span of time with its unit.
fn span(typed: &str) -> std::result::Result<Duration, String> {
    let refuse = || "a time has a number and a unit: 90s, 10m, 2h, 1d".to_owned();
    let (number, seconds) = match typed.as_bytes().last() {
        Some(b's') => (&typed[..typed.len() - 1], 1),
        Some(b'm') => (&typed[..typed.len() - 1], 60),
        Some(b'h') => (&typed[..typed.len() - 1], 3600),
        Some(b'd') => (&typed[..typed.len() - 1], 86400),
        _ => (typed, 1),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number.checked_mul(seconds).filter(|span| *span > 0).map(Duration::from_secs).ok_or_else(refuse)
}
