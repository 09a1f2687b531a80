//! Runs operations on a subject and on the reference side by side, and shortens what fails.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::answer::{Answer, Numbering, difference};
use super::generate::{Rng, random_op};
use super::ops::Op;
use super::reference::Reference;

/// Longest time to spend on shortening a failure: the seed alone reproduces it.
const SHORTEN_SECONDS_MAX: Duration = Duration::from_secs(60);

/// A filesystem under test, empty when it is made.
pub(crate) trait Subject {
    /// Does one call; [`Op::Survey`] never arrives here.
    fn apply(&mut self, op: &Op) -> Answer;

    /// Checks what only the subject can know, while files are open.
    fn inspect(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Ends the life of the subject in an orderly way and checks what it leaves.
    fn finish(self) -> Result<(), String>;

    /// Whether the number of a node that is gone may be given to a new one.
    fn reuses_numbers(&self) -> bool;
}

/// Where a run went wrong.
pub(crate) struct Failure {
    /// How many operations it took.
    pub(crate) ops: usize,
    pub(crate) message: String,
}

/// A subject and the reference in step.
struct Pair<S> {
    subject: S,
    reference: Reference,
    numbering: Numbering,
}

impl<S: Subject> Pair<S> {
    /// The root of a subject may have any mode and owner at first.
    fn new(subject: S) -> Result<Self, String> {
        let mut new = Self { subject, reference: Reference::new(), numbering: Numbering::default() };
        new.step(&Op::Chmod { path: ".", mode: 0o755 })?;
        new.step(&Op::Chown { path: ".", uid: 0, gid: 0 })?;
        Ok(new)
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        if *op == Op::Survey {
            self.reference.survey().iter().try_for_each(|op| self.step(op))?;
            return self.subject.inspect();
        }
        let want = self.reference.apply(op);
        let got = self.subject.apply(op);
        if self.subject.reuses_numbers() {
            self.numbering.forget(|node| self.reference.lives(node));
        }
        if want.allows(&got, &mut self.numbering) {
            return Ok(());
        }
        Err(format!("{op:?}: {}", difference(&want, &got)))
    }

    /// A run ends with everything looked at, before and after a remount.
    fn finish(mut self) -> Result<(), String> {
        for op in [Op::Survey, Op::Remount, Op::Survey] {
            self.step(&op)?;
        }
        self.subject.finish()
    }
}

/// Does `next` until it gives no more operations, then finishes. A panic of the subject is a failure like others.
fn drive<S: Subject>(
    subject: impl FnOnce() -> S,
    mut next: impl FnMut(&Reference) -> Option<Op>,
) -> Result<(), Failure> {
    let mut ops = 0;
    let run = AssertUnwindSafe(|| {
        let mut pair = Pair::new(subject())?;
        while let Some(op) = next(&pair.reference) {
            ops += 1;
            pair.step(&op)?;
        }
        pair.finish().map_err(|message| format!("at the end: {message}"))
    });
    let result = catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|message| Failure { ops, message })
}

/// Runs a given list of operations.
pub(crate) fn replay<S: Subject>(subject: impl FnOnce() -> S, ops: &[Op]) -> Result<(), Failure> {
    let mut rest = ops.iter();
    drive(subject, |_| rest.next().cloned())
}

/// Runs `count` random operations; a failure is shortened and said with the means to see it again.
pub(crate) fn explore<S: Subject>(name: &str, subject: impl Fn() -> S, seed: u64, count: usize) -> Result<(), String> {
    say(&format!("model: {name}, seed {seed}, {count} operations"));
    let mut rng = Rng::new(seed);
    let mut done = Vec::new();
    let result = drive(&subject, |state| {
        let op = (done.len() < count).then(|| random_op(&mut rng, state))?;
        done.push(op.clone());
        Some(op)
    });
    let Err(failure) = result else { return Ok(()) };
    let mut text = format!(
        "model: {name} differs from the reference at operation {} of seed {seed}\n  {}\n  \
         again: NEXUS_MODEL_SEED={seed} NEXUS_MODEL_OPS={count} cargo test --release --test suite model::{name}\n",
        failure.ops, failure.message
    );
    say(&text);
    let (ops, failure) = shorten(&subject, done, failure);
    _ = write!(text, "shortened to {} operations:\n  {}\n\n", ops.len(), failure.message);
    _ = write!(text, "#[test]\nfn regression() {{\n    again(&[\n");
    for op in &ops {
        _ = writeln!(text, "        Op::{op:?},");
    }
    _ = write!(text, "    ]);\n}}\n");
    Err(text)
}

/// Drops halves, then quarters, and so on down to single operations, as long as the rest still fails in some way.
fn shorten<S: Subject>(subject: impl Fn() -> S, mut ops: Vec<Op>, mut failure: Failure) -> (Vec<Op>, Failure) {
    let start = Instant::now();
    ops.truncate(failure.ops);
    let mut chunk = ops.len().div_ceil(2);
    while chunk > 0 {
        let (mut from, mut dropped) = (0, false);
        while from < ops.len() && start.elapsed() < SHORTEN_SECONDS_MAX {
            let mut fewer = ops.clone();
            fewer.drain(from..ops.len().min(from + chunk));
            match replay(&subject, &fewer) {
                Err(still) => {
                    fewer.truncate(still.ops);
                    (ops, failure, dropped) = (fewer, still, true);
                }
                Ok(()) => from += chunk,
            }
        }
        // One more round of single operations as long as it helps.
        chunk = if chunk == 1 && dropped { 1 } else { chunk / 2 };
    }
    (ops, failure)
}

/// To stderr itself: the test runner hides what is printed by a test that passes, and a seed is worth seeing always.
pub(super) fn say(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}
