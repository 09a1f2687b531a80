//! What is told about items: plain data that can be sent and printed.

use serde::{Deserialize, Serialize};

use crate::meta::WorkKey;
use crate::model::work::Status;

/// A work item as its caller sees it. The columns of the SQL views have the same names and values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkItem {
    /// The number of the file, as text.
    pub path_id: String,
    /// Its path.
    pub virtual_path: String,
    /// The tenant that the path names.
    pub tenant_id: Option<String>,
    /// Bytes in the file.
    pub size_bytes: u64,
    /// SHA-256 of the body, lower-case hex; `None` while it is being written.
    pub content_hash: Option<String>,
    /// Creation of the file, RFC 3339.
    pub created_at: String,
    /// Last change of the file or its attributes, RFC 3339.
    pub updated_at: String,
    /// What its attribute says.
    pub status: Status,
    /// Where it stands: `blocked` although its attribute says `ready`, while something is open.
    pub state: Status,
    /// Lower first.
    pub priority: Option<i64>,
    /// Dependencies that are not completed, as far as the caller may see them.
    pub blocker_count: u64,
    /// Who has it.
    pub worker_id: Option<String>,
    /// Since when.
    pub started_at: Option<String>,
    /// When it was completed.
    pub completed_at: Option<String>,
    /// When the claim of its worker runs out.
    pub lease_until: Option<String>,
    /// The number of its latest claim; 0 before the first.
    pub claim: u64,
    /// Its tags.
    pub tags: Option<String>,
}

/// Some items of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkPage {
    /// The items.
    pub items: Vec<WorkItem>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<WorkKey>,
}

/// How many items stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkCounts {
    /// To be done.
    pub ready: u64,
    /// To be done later.
    pub pending: u64,
    /// Waiting for others.
    pub blocked: u64,
    /// In the hands of a worker.
    pub in_progress: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub failed: u64,
    /// All of them.
    pub total: u64,
}

impl WorkCounts {
    /// Counts `items` more in a state.
    pub fn add(&mut self, state: Status, items: u64) {
        let counted = match state {
            Status::Ready => &mut self.ready,
            Status::Pending => &mut self.pending,
            Status::Blocked => &mut self.blocked,
            Status::InProgress => &mut self.in_progress,
            Status::Completed => &mut self.completed,
            Status::Failed => &mut self.failed,
        };
        *counted += items;
        self.total += items;
    }
}

/// An item that a worker has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The item, in progress.
    pub item: WorkItem,
    /// The number of this claim: no other one has it, and with it alone `complete`, `fail` and `release` are sure to be
    /// those of this worker.
    pub claim: u64,
}

/// An item came to stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkChange {
    /// Numbers grow by one.
    pub number: u64,
    /// The number of the file, as text.
    pub path_id: String,
    /// Its path.
    pub virtual_path: String,
    /// Where it stood; `None`: it was no item.
    pub from: Option<Status>,
    /// Where it stands; `None`: it is none any more.
    pub to: Option<Status>,
    /// When, RFC 3339.
    pub at: String,
}
