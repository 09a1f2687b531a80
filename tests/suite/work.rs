//! The queue of work items and custom metadata, through the library.
//!
//! The rules quoted are those of the sections "Custom metadata" and "Work queue" of the semantics. Every test ends in
//! [`Store::end`], which holds the queue against the attributes and the views against the lists.

mod blocked;
mod commands;
mod door;
mod doors;
mod find;
mod lease;
mod live;
mod migrate;
mod proof;
mod queue;
mod race;
mod random;
mod seed;
mod store;
mod streaming;
mod transitions;
mod waiting;

#[path = "../../examples/work_queue.rs"]
mod work_queue;

use store::Store;

#[test]
fn the_example_runs() {
    work_queue::main().unwrap();
}
