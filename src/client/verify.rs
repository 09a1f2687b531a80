//! Verifying a store as a program asks for it: part after part, so that whoever has the store can end in between.

use std::ops::ControlFlow;

use super::ask::misunderstood;
use super::facade::{Nexus, parse};
use super::request::{Damage, DamageFault, Item, Reply, Request, Verified};
use super::route::Replay;
use super::serve::Exchange;
use crate::error::Result;
use crate::model::Digest;
use crate::vfs::{DamagedBody, Fault, VerifyEvent, VerifyReport};

impl Nexus {
    /// Hashes the bodies of all files at and below a path that this identity sees, each once, whatever is known of them; of the
    /// root, without a tenant, all that are stored. One that is damaged is put into quarantine. Files that are being written
    /// are not looked at. `tell` is asked to go on now and then, and for each damaged body.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// use std::ops::ControlFlow;
    /// nx.write("/a", "text")?;
    /// let report = nx.verify("/", &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!((report.bodies, report.damaged.len()), (1, 0));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `Denied`; what the database reports. A body that cannot be read is told, and no error.
    pub fn verify(
        &self,
        path: impl AsRef<[u8]>,
        tell: &mut dyn FnMut(VerifyEvent<'_>) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        let path = parse(path)?;
        let (mut report, mut after, mut bytes_all) = (VerifyReport::default(), None, 0);
        loop {
            let mut part =
                Part { tell, before: report.bytes, bytes_all, goes_on: ControlFlow::Continue(()), damaged: Vec::new() };
            let request = Request::Verify { path: path.clone(), after };
            let Reply::Verified(verified) = self.route.call(&request, &mut part)? else { return Err(misunderstood()) };
            let Part { damaged, mut goes_on, .. } = part;
            let Verified { next, bodies, bytes, bytes_all: all } = verified;
            bytes_all = all.max(bytes_all).max(report.bytes + bytes);
            (report.bodies, report.bytes) = (report.bodies + bodies, report.bytes + bytes);
            for body in damaged {
                if goes_on.is_continue() {
                    goes_on = tell(VerifyEvent::Damaged(&body));
                }
                report.damaged.push(body);
            }
            if goes_on.is_continue() {
                goes_on = tell(VerifyEvent::Progress { bytes: report.bytes, bytes_all });
            }
            match next {
                Some(next) if goes_on.is_continue() => after = Some(next),
                _ => return Ok(report),
            }
        }
    }
}

/// One part.
struct Part<'t> {
    tell: &'t mut dyn FnMut(VerifyEvent<'_>) -> ControlFlow<()>,
    /// Bytes of the parts before.
    before: u64,
    bytes_all: u64,
    goes_on: ControlFlow<()>,
    /// Told when the part is over: until then it may begin anew.
    damaged: Vec<DamagedBody>,
}

impl Exchange for Part<'_> {
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Progress { done, all } if self.goes_on.is_continue() => {
                let bytes = self.before + done;
                let bytes_all = self.bytes_all.max(all).max(bytes);
                self.goes_on = (self.tell)(VerifyEvent::Progress { bytes, bytes_all });
            }
            Item::Progress { .. } => {}
            Item::Damaged(damage) => self.add(damage),
            _ => return Err(misunderstood()),
        }
        Ok(())
    }
}

impl Part<'_> {
    /// A body with many paths comes in several pieces.
    fn add(&mut self, damage: Damage) {
        let Damage { digest, size, fault, paths } = damage;
        let (digest, paths) = (Digest::from(digest), paths.into_iter().map(|path| path.0));
        if let Some(last) = self.damaged.last_mut().filter(|last| last.digest == digest) {
            last.paths.extend(paths);
            return;
        }
        let fault = match fault {
            DamageFault::Damaged => Fault::Damaged,
            DamageFault::Missing => Fault::Missing,
            DamageFault::Unreadable(why) => Fault::Unreadable(why),
        };
        self.damaged.push(DamagedBody { digest, size, fault, paths: paths.collect() });
    }
}

impl Replay for Part<'_> {
    fn rewind(&mut self) -> bool {
        self.damaged.clear();
        true
    }
}
