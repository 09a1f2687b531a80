//! Counters and histograms: how often something was done, and how long it took.
//!
//! Counting costs an addition or two on a line of memory that belongs to the core: no lock, and no line that two cores
//! write in turn. Looking adds the cores up, so what is told was true of each number at some moment of the look, and not of
//! all at one. Nothing here knows what is counted for whom, decides by a number, or outlives the process.
//!
//! | file | what it holds |
//! |---|---|
//! | `histogram` | durations and sizes by order of magnitude, and quantiles of them |
//! | `counter` | a number that all cores add to |
//! | `pulse` | how densely something comes |
//! | `op` | kinds of requests |
//! | `traffic` | the requests of one mount |
//! | `store` | what an open store does: commits, seals, caches |
//! | `report` | what that comes to when somebody looks |

mod counter;
mod histogram;
mod op;
mod pulse;
mod report;
mod store;
mod traffic;

pub use counter::{Cache, CacheReport, Counter};
pub use histogram::{Distribution, Histogram};
pub use op::{Op, Via};
pub use pulse::Pulse;
pub use report::{Backlog, BodyReport, CommitReport, Report, StoreReport};
pub use store::{Bodies, Commits, Pages, Stats};
pub use traffic::{RequestReport, Traffic, TrafficReport};
