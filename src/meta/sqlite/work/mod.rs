//! Rows of the queue.

mod read;
pub(super) mod rules;
pub(super) mod schema;
mod search;
mod write;
