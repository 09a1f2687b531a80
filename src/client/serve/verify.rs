//! Verifying in parts: each request hashes for a while, so that an owner that is to end does not wait long.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::super::request::{Damage, DamageFault, Item, Path, Reply, Verified};
use super::walk::walk;
use super::{Context, Exchange};
use crate::error::Result;
use crate::meta::BlobId;
use crate::model::{Attr, Kind, VPath};
use crate::vfs::{DamagedBody, Fault, ToVerify, VerifyEvent, VerifyReport};

/// How long one part hashes; a body that was begun is finished.
const PART: Duration = Duration::from_secs(1);
/// Finding out what is to be hashed is done again for each part, and is to be a small share of it,
const SHARE: u32 = 4;
/// as long as the part does not take longer than an ending owner waits.
const PART_MAX: Duration = Duration::from_secs(6);
/// The time between two words about how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Bytes of paths in one item.
const ITEM_BYTES: usize = 32 * 1024;

impl Context<'_> {
    pub(super) fn verify(&self, path: &VPath, after: Option<i64>, exchange: &mut dyn Exchange) -> Result<Reply> {
        let vfs = self.view.vfs();
        if after.is_none() {
            // What was closed a moment ago counts, too.
            vfs.settle()?;
        }
        let begun = Instant::now();
        let top = self.find(path)?;
        let bodies = if self.view.sees_all() { vfs.to_verify(&top)? } else { self.seen_bodies(path, &top)? };
        let part = (begun.elapsed() * SHARE).clamp(PART, PART_MAX);
        let (begun, mut told) = (Instant::now(), Instant::now());
        let (mut report, mut sent) = (VerifyReport::default(), Ok(()));
        let enough = || begun.elapsed() >= part;
        let next = vfs.verify_some(&bodies, after.map(BlobId), &enough, &mut report, &mut |event| {
            sent = match event {
                VerifyEvent::Progress { .. } if told.elapsed() < PROGRESS_EVERY => Ok(()),
                VerifyEvent::Progress { bytes, .. } => {
                    told = Instant::now();
                    // Sent at once: where nobody listens any more, a body of many GiB is not hashed to its end.
                    exchange.item(Item::Progress { done: bytes, all: bodies.bytes() }).and_then(|()| exchange.flush())
                }
                VerifyEvent::Damaged(damaged) => self.tell(damaged, exchange),
            };
            if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        sent?;
        let VerifyReport { bodies: count, bytes, .. } = report;
        let next = next.map(|blob| blob.0);
        Ok(Reply::Verified(Verified { next, bodies: count, bytes, bytes_all: bodies.bytes() }))
    }

    /// The bodies of the files that this identity sees at and below a path.
    fn seen_bodies(&self, path: &VPath, top: &Attr) -> Result<ToVerify> {
        let mut found = BTreeSet::new();
        let mut add = |attr: &Attr| {
            if attr.kind == Kind::File && !attr.id.is_virtual() {
                found.extend(self.view.vfs().body_of(attr.id)?);
            }
            Ok(())
        };
        add(top)?;
        if top.kind == Kind::Directory {
            walk(self.view, path, top.id, true, &mut |_, attr| add(attr))?;
        }
        Ok(ToVerify::only(found))
    }

    fn tell(&self, damaged: &DamagedBody, exchange: &mut dyn Exchange) -> Result<()> {
        let fault = match &damaged.fault {
            Fault::Damaged => DamageFault::Damaged,
            Fault::Missing => DamageFault::Missing,
            Fault::Unreadable(why) => DamageFault::Unreadable(why.clone()),
        };
        let mut damage = Damage { digest: *damaged.digest.as_bytes(), size: damaged.size, fault, paths: Vec::new() };
        let mut bytes = 0;
        for path in damaged.paths.iter().filter(|path| self.view.sees_path(path)) {
            bytes += path.as_bytes().len();
            damage.paths.push(Path(path.clone()));
            if bytes > ITEM_BYTES {
                exchange.item(Item::Damaged(damage.clone()))?;
                (bytes, damage.paths) = (0, Vec::new());
            }
        }
        exchange.item(Item::Damaged(damage))
    }
}
