//! The thread that commits what was acknowledged, and tidies up once a second.

use std::sync::Weak;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::store::Vfs;
use crate::error::Result;
use crate::meta::Checkpointer;

/// The longest time an operation stays uncommitted.
const COMMIT_AGE: Duration = Duration::from_millis(25);
/// How often drafts in memory are saved and dead bodies removed.
const TIDY_AGE: Duration = Duration::from_secs(1);

/// Wakes the thread that commits.
#[derive(Debug, Default)]
pub(super) struct Housekeeper {
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    dirty: bool,
    stop: bool,
}

impl Housekeeper {
    /// Something is to be committed.
    pub(super) fn has_work(&self) {
        let mut work = self.work.lock();
        if !std::mem::replace(&mut work.dirty, true) {
            self.wake.notify_one();
        }
    }

    /// Waits until it is time for a turn; `false` at the end.
    fn wait(&self) -> bool {
        let mut work = self.work.lock();
        if !work.dirty && !work.stop {
            self.wake.wait_for(&mut work, TIDY_AGE);
        }
        if work.dirty {
            // Gather the operations of one age into one commit, also when somebody who cannot wait commits in between.
            let due = Instant::now() + COMMIT_AGE;
            while !work.stop && !self.wake.wait_until(&mut work, due).timed_out() {}
            work.dirty = false;
        }
        !work.stop
    }

    /// There are no more turns.
    pub(super) fn stop(&self) {
        self.work.lock().stop = true;
        self.wake.notify_all();
    }
}

impl Vfs {
    /// One turn of the thread that commits; `tidy` says that it is time for what needs not be done each time.
    fn keep_house(&self, tidy: bool, checkpointer: &mut Checkpointer) -> Result<()> {
        {
            let mut core = self.core.lock();
            // Said in the log when it happened.
            if core.meta.is_broken() {
                return Ok(());
            }
            core.meta.commit()?;
        }
        if !tidy {
            return Ok(());
        }
        self.expire_leases()?;
        self.forget_expired();
        if let Err(e) = self.save_kept() {
            log::warn!("a file that was closed is not saved yet, trying again: {e}");
        }
        self.save_drafts(false)?;
        let pending = !self.core.lock().side.removals.is_empty();
        if pending {
            self.barrier()?;
        }
        if let Some(wal) = &self.wal
            && checkpointer.is_due(wal)?
        {
            let began = Instant::now();
            checkpointer.run()?;
            let mut core = self.core.lock();
            core.meta.commit()?;
            checkpointer.run()?;
            self.stats.checkpoints.time(began.elapsed());
        }
        Ok(())
    }
}

/// Commits by age, saves drafts, removes dead bodies, checkpoints.
pub(super) fn run(store: &Weak<Vfs>, housekeeper: &Housekeeper) {
    let mut last_tidy = Instant::now();
    let Some(mut checkpointer) = store.upgrade().map(|vfs| vfs.core.lock().meta.checkpointer()) else { return };
    while housekeeper.wait() {
        let Some(vfs) = store.upgrade() else { return };
        let tidy = last_tidy.elapsed() >= TIDY_AGE;
        if tidy {
            last_tidy = Instant::now();
        }
        if let Err(e) = vfs.keep_house(tidy, &mut checkpointer) {
            log::error!("committing in the background: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttrChange, NodeId};
    use crate::vfs::store::tests::{CALLER, store};

    #[test]
    fn operations_are_gathered_into_commits_after_somebody_synced() {
        let (_directory, vfs) = store();
        let began = Instant::now();
        let change = |size| AttrChange { mode: Some(size), ..Default::default() };
        let syncs = 5;
        for operation in 0..300 {
            vfs.setattr(&CALLER, NodeId::ROOT, &change(operation)).unwrap();
            if operation % (300 / syncs) == 0 {
                vfs.sync().unwrap();
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        let by_age = u64::try_from(began.elapsed().as_millis() / COMMIT_AGE.as_millis()).unwrap();
        let commits = vfs.lock_core().meta.commits().took.count();
        assert!(commits <= u64::from(syncs) + by_age + 1, "{commits} commits, {by_age} ages");
        vfs.close().unwrap();
    }
}
