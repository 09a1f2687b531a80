//! Counting requests, each from when it was read until its answer stands.

use std::sync::Arc;
use std::time::Instant;

use super::errno::{Errno, Outcome, answer as answer_uncounted};
use super::handlers::Handlers;
use crate::model::NodeId;
use crate::stats::{Op, Traffic, Via};

/// Runs one request, as [`answer`](answer_uncounted) of `errno` does, and counts it.
///
/// # Errors
/// The number to answer.
pub(super) fn answer<T>(
    handlers: &Handlers,
    via: Via,
    op: Op,
    node: NodeId,
    run: impl FnOnce() -> Outcome<T>,
) -> Result<T, Errno> {
    let began = Instant::now();
    handlers.wakeful().beat(began);
    let outcome = answer_uncounted(op.word(), node, run);
    handlers.traffic().answered(via, op, began.elapsed(), outcome.as_ref().err().map(|errno| errno.get()));
    outcome
}

/// A request that is answered later, by whoever has this then.
pub(super) struct Begun {
    traffic: Arc<Traffic>,
    via: Via,
    op: Op,
    at: Instant,
}

/// Begins to count such a request.
pub(super) fn begin(traffic: &Arc<Traffic>, via: Via, op: Op) -> Begun {
    Begun { traffic: Arc::clone(traffic), via, op, at: Instant::now() }
}

impl Begun {
    /// It was answered.
    pub(super) fn end(self, error: Option<Errno>) {
        self.traffic.answered(self.via, self.op, self.at.elapsed(), error.map(Errno::get));
    }
}
