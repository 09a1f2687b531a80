//! The way to a store: in this process when it has the store, over the socket when another one does.
//!
//! Whichever it is may end at any moment. Then the next way is found, which may be to take the store over: requests that
//! were certainly not carried out are made again, those of which nobody knows only when twice is as good as once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::myself;
use super::owner::{Gone, Owner};
use super::request::{Repeat, Reply, Request};
use super::serve::Exchange;
use super::wire::{self, Identity, Link, Outcome, outcome_unknown};
use crate::advice;
use crate::error::{ErrorKind, Result};
use crate::model::Principal;
use crate::policy::Policy;
use crate::view::View;

/// How long to look for a way: an owner that is closing its store takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a store that was handed over is left to its new owner.
const HANDED_OVER_MAX: Duration = Duration::from_secs(3);
/// The pause between two looks, at first; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest pause, and so the longest that a client is idle after its owner was killed: the kernel ends the
/// connections of a killed process and gives its lock back by itself.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long an owner may take to answer about himself.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Idle connections that are kept.
const IDLE_MAX: usize = 4;

/// An exchange that can begin again.
pub(super) trait Replay: Exchange {
    /// Forgets all items and goes back to the beginning of the body; whether that is possible.
    fn rewind(&mut self) -> bool;
}

/// One identity's way to one store.
#[derive(Debug)]
pub(super) struct Route {
    data_dir: PathBuf,
    principal: Principal,
    /// The namespaces, for the time when this process is the owner.
    policy: Arc<Policy>,
    way: Mutex<Option<Way>>,
}

#[derive(Clone, Debug)]
enum Way {
    Here { owner: Arc<Owner>, view: Arc<View> },
    There(Arc<Pool>),
}

/// Connections to one owner that nobody uses at the moment.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Link>>);

impl Route {
    /// Finds a way to the store in `data_dir`, canonical.
    pub(super) fn find(data_dir: PathBuf, principal: Principal, policy: Arc<Policy>) -> Result<Self> {
        let route = Self { data_dir, principal, policy, way: Mutex::new(None) };
        route.way(None)?;
        Ok(route)
    }

    /// Makes a request, and makes it again where that is right.
    pub(super) fn call(&self, request: &Request, exchange: &mut dyn Replay) -> Result<Reply> {
        let mut gone = None;
        let mut lost_at: Option<Instant> = None;
        loop {
            let way = self.way(gone.take())?;
            let done = match &way {
                Way::Here { owner, view } => owner
                    .inner()
                    .answer(view, &myself(), request, exchange)
                    .map_or_else(|gone| Outcome::NotDone { handed_over: gone.handed_over }, Outcome::Answered),
                Way::There(pool) => self.call_there(pool, request, exchange)?,
            };
            let handed_over = match done {
                Outcome::Answered(answer) => return answer,
                Outcome::Unknown if request.repeat() == Repeat::Tells => return Err(outcome_unknown(request)),
                Outcome::Unknown => false,
                Outcome::NotDone { handed_over } => handed_over,
            };
            self.forget(&way);
            let since = *lost_at.get_or_insert_with(Instant::now);
            if !exchange.rewind() || since.elapsed() > PATIENCE {
                return Err(advice::refusal(
                    ErrorKind::InUse,
                    request.describe(),
                    "the process that had the store ended; nothing was done",
                    "do it again",
                ));
            }
            gone = Some(Gone { handed_over });
        }
    }

    fn call_there(&self, pool: &Pool, request: &Request, exchange: &mut dyn Replay) -> Result<Outcome> {
        let idle = pool.0.lock().pop();
        let mut link = match idle {
            Some(link) => link,
            None => match self.link()? {
                Some(link) => link,
                None => return Ok(Outcome::NotDone { handed_over: false }),
            },
        };
        let (outcome, reusable) = link.call(request, exchange);
        if reusable {
            let mut idle = pool.0.lock();
            if idle.len() < IDLE_MAX {
                idle.push(link);
            }
        }
        Ok(outcome)
    }

    /// A new connection to whoever has the store; `None` when nobody answers.
    fn link(&self) -> Result<Option<Link>> {
        let Some(stream) = wire::connect(&self.data_dir)? else { return Ok(None) };
        Link::greet(stream, &Identity::of(&self.principal))
    }

    /// The way, found if there is none; `gone` is what the last one ended with.
    fn way(&self, gone: Option<Gone>) -> Result<Way> {
        let mut way = self.way.lock();
        if let Some(way) = &*way {
            return Ok(way.clone());
        }
        let (start, mut pause) = (Instant::now(), PAUSE_MIN);
        loop {
            if let Some(owner) = Owner::here(&self.data_dir) {
                let view = owner.inner().view(&self.principal);
                return Ok(way.insert(Way::Here { owner, view }).clone());
            }
            // Connecting comes first: taking a lock that somebody holds never succeeds.
            match self.link() {
                Ok(Some(link)) => return Ok(way.insert(Way::There(Arc::new(Pool(Mutex::new(vec![link]))))).clone()),
                Ok(None) => {}
                // So many connections that this one has to wait.
                Err(e) if e.kind() == ErrorKind::InUse && start.elapsed() < PATIENCE => {}
                Err(e) => return Err(e),
            }
            let wait = gone.is_some_and(|gone| gone.handed_over) && start.elapsed() < HANDED_OVER_MAX;
            if !wait {
                match Owner::of(&self.data_dir, &self.policy) {
                    Ok(owner) => {
                        let view = owner.inner().view(&self.principal);
                        return Ok(way.insert(Way::Here { owner, view }).clone());
                    }
                    Err(e) if e.kind() == ErrorKind::InUse && start.elapsed() < PATIENCE => {}
                    Err(e) => return Err(e),
                }
            }
            std::thread::sleep(pause);
            pause = next_pause(pause);
        }
    }

    /// Gives up a way that has ended, unless somebody else has found another meanwhile.
    fn forget(&self, ended: &Way) {
        let mut way = self.way.lock();
        let same = match (&*way, ended) {
            (Some(Way::Here { owner, .. }), Way::Here { owner: ended, .. }) => Arc::ptr_eq(owner, ended),
            (Some(Way::There(pool)), Way::There(ended)) => Arc::ptr_eq(pool, ended),
            _ => false,
        };
        if same {
            *way = None;
        }
    }

    /// Ends the way. The last one of this process to a store that it has closes it.
    pub(super) fn close(&self, exchange: &mut dyn Replay) -> Result<()> {
        let way = self.way.lock().take();
        match way {
            Some(Way::Here { owner, view }) => {
                drop(view);
                match Arc::try_unwrap(owner) {
                    Ok(owner) => owner.end(),
                    Err(shared) => {
                        let view = shared.inner().view(&self.principal);
                        // If it is gone, it has made everything durable.
                        shared
                            .inner()
                            .answer(&view, &myself(), &Request::Sync, exchange)
                            .map_or(Ok(()), |a| a.map(drop))
                    }
                }
            }
            Some(Way::There(pool)) => match self.call_there(&pool, &Request::Sync, exchange)? {
                Outcome::Answered(answer) => answer.map(drop),
                Outcome::NotDone { .. } => Ok(()),
                Outcome::Unknown => Err(outcome_unknown(&Request::Sync)),
            },
            None => Ok(()),
        }
    }
}

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(PAUSE_MAX)
}

/// Asks whoever has the store, as `who`, without becoming its owner; `None` when nobody has it.
pub(super) fn ask(
    data_dir: &Path,
    who: &Principal,
    request: &Request,
    exchange: &mut dyn Replay,
) -> Result<Option<Reply>> {
    let Some(stream) = wire::connect(data_dir)? else { return Ok(None) };
    let Some(mut link) = Link::greet(stream, &Identity::of(who))? else { return Ok(None) };
    if !matches!(request, Request::Mount(_)) {
        // None of them waits for anything; a process that is stuck must not keep others from going round it.
        link.answers_within(ANSWER_MAX)?;
    }
    match link.call(request, exchange).0 {
        Outcome::Answered(answer) => answer.map(Some),
        Outcome::NotDone { .. } => Ok(None),
        Outcome::Unknown if request.repeat() == Repeat::Harmless => Ok(None),
        Outcome::Unknown => Err(outcome_unknown(request)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "clients resume within 2 s": what a client waits before it looks again is ours to say, how fast the machine is not.
    #[test]
    fn a_client_looks_again_long_before_two_seconds_are_over() {
        let pauses: Vec<_> = std::iter::successors(Some(PAUSE_MIN), |pause| Some(next_pause(*pause)))
            .scan(Duration::ZERO, |idle, pause| {
                *idle += pause;
                Some((*idle, pause))
            })
            .take_while(|(idle, _)| *idle <= Duration::from_secs(2))
            .collect();
        assert!(pauses.len() > 40, "{} looks", pauses.len());
        assert!(pauses.iter().all(|(_, pause)| *pause <= PAUSE_MAX) && PAUSE_MAX * 20 <= Duration::from_secs(2));
        // And it does not give up before that.
        assert!(PATIENCE > Duration::from_secs(2));
    }
}
