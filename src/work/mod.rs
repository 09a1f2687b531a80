//! The queue: what follows from the attributes of work items, and the transitions between their states.
//!
//! Guarantees that the rows of the queue say what the attributes say, because whoever changes an attribute calls
//! [`Keeper`] in the same transaction, and that every list is a pure function of the rows of one moment. Stores nothing of
//! its own, decides nothing about who may see what (a [`Scope`] says that), and knows no clock.

mod blocked;
mod check;
mod claim;
mod entry;
mod graph;
mod item;
mod keep;
mod list;
mod place;

pub use check::{mend, rebuild, violations};
pub use claim::{ClaimRequest, Stands};
pub use entry::{WorkEntries, WorkEntry, entries, entry, node_of};
pub use graph::{Dependency, Graph, GraphNode, graph};
pub use item::{Claim, WorkChange, WorkCounts, WorkItem, WorkPage};
pub use keep::{Keeper, Moved};
pub use list::{counts, item, page, why};
pub use place::{Paths, Scope, tenant_of};
