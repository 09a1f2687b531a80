//! Rows of the queue.

mod read;
pub(super) mod rules;
pub(super) mod schema;
mod search;
pub(super) mod shown;
pub(super) mod views;
mod write;
