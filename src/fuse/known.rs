//! What the kernel of one mount may believe, so that it is told of just that when somebody else changes it.
//!
//! The promise is one-sided: what the kernel believes is here; what is here the kernel may have forgotten. It is noted
//! *before* the filesystem is asked wherever that is possible. Where it is not, because the answer says which node it is,
//! the asker compares [`Known::heard`] from before, and asks again if anything changed in between.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::model::{Change, NodeId};

/// Parts with a lock of their own, so that threads seldom meet.
const PARTS: usize = 16;

/// How long a listing may take from here into the kernel.
const LISTING_MILLIS_MAX: u64 = 100;

/// Names noted for one directory; beyond that every name in it counts as believed.
const NAMES_MAX: usize = 65_536;

type Table = HashMap<NodeId, Belief, BuildHasherDefault<Mixer>>;

/// What the kernel may believe of one node.
#[derive(Debug, Default)]
struct Belief {
    /// Lookups that the kernel has not taken back, `nlookup` of FUSE_FORGET.
    lookups: u64,
    /// Its attributes.
    attributes: bool,
    /// Pages of it, a file.
    pages: bool,
    /// The listing of it, a directory.
    listing: bool,
    /// It has been opened to be read, since this kernel knows it: what it has read it mostly keeps.
    reading: bool,
    /// Another mount has changed names in this directory since this kernel knows it.
    changed_elsewhere: bool,
    /// The names in this directory, by hash, that it may remember: present or missing.
    /// `None`: none of them.
    names: Option<Box<Names>>,
}

#[derive(Debug)]
enum Names {
    These(HashSet<u64, BuildHasherDefault<Mixer>>),
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::These(HashSet::default())
    }
}

/// What the kernel has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The attributes of a node are not what they were.
    Attributes(NodeId),
    /// Nor are these pages of it: from, and how many bytes; 0 for all that follow.
    Pages(NodeId, u64, u64),
    /// The listing of a directory is not what it was.
    Listing(NodeId),
    /// A name does not lead where it did.
    Name(NodeId, Box<[u8]>),
    /// Some name does not: all are to be asked for again.
    AllNames,
}

/// What one kernel may believe.
#[derive(Debug)]
pub(super) struct Known {
    parts: [Mutex<Table>; PARTS],
    heard: AtomicU64,
    /// Nobody can choose names with the same hash.
    keys: RandomState,
    born: Instant,
    /// When names were last given out in a listing, in milliseconds of this value's life; 0 for never.
    listed: AtomicU64,
}

impl Known {
    pub(super) fn new() -> Self {
        let known = Self {
            parts: Default::default(),
            heard: AtomicU64::new(0),
            keys: RandomState::new(),
            born: Instant::now(),
            listed: AtomicU64::new(0),
        };
        // The kernel knows the root from the start and never forgets it.
        known.part(NodeId::ROOT).entry(NodeId::ROOT).or_default().lookups = 1;
        known
    }

    fn part(&self, node: NodeId) -> MutexGuard<'_, Table> {
        self.parts[(node.0 % PARTS as u64) as usize].lock()
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.keys.hash_one(name)
    }

    /// Names are given out in a listing; to be said before and behind it.
    pub(super) fn list(&self) {
        self.listed.store(self.age_millis().max(1), Ordering::SeqCst);
    }

    /// Whether a listing may still be on its way. The kernel takes its names up as of the moment when they arrive
    /// (`fuse_direntplus_link`), so those may have to be taken back once more.
    pub(super) fn is_listing(&self) -> bool {
        let listed = self.listed.load(Ordering::SeqCst);
        listed > 0 && self.age_millis().saturating_sub(listed) < LISTING_MILLIS_MAX
    }

    fn age_millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How many times changes were heard of so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// A node is handed to the kernel, with its attributes.
    pub(super) fn hand_out(&self, node: NodeId) {
        let mut part = self.part(node);
        let belief = part.entry(node).or_default();
        belief.lookups += 1;
        belief.attributes = true;
    }

    /// The kernel takes lookups back. Whether it holds the node no more.
    pub(super) fn forget(&self, node: NodeId, lookups: u64) -> bool {
        if node == NodeId::ROOT {
            return false;
        }
        let mut part = self.part(node);
        let Some(belief) = part.get_mut(&node) else { return true };
        belief.lookups = belief.lookups.saturating_sub(lookups);
        let is_forgotten = belief.lookups == 0;
        if is_forgotten {
            part.remove(&node);
        }
        is_forgotten
    }

    /// Whether the kernel holds the node.
    pub(super) fn holds(&self, node: NodeId) -> bool {
        self.part(node).contains_key(&node)
    }

    /// The kernel is about to hear the attributes of a node that it holds.
    pub(super) fn tell_attributes(&self, node: NodeId) {
        if let Some(belief) = self.part(node).get_mut(&node) {
            belief.attributes = true;
        }
    }

    /// The kernel is about to keep pages of a node that it holds.
    pub(super) fn tell_pages(&self, node: NodeId) {
        if let Some(belief) = self.part(node).get_mut(&node) {
            belief.pages = true;
        }
    }

    /// A node that the kernel holds is opened to be read. Whether that is the first time, so that the kernel may have few of
    /// its pages.
    pub(super) fn begins_to_read(&self, node: NodeId) -> bool {
        self.part(node).get_mut(&node).is_some_and(|belief| !std::mem::replace(&mut belief.reading, true))
    }

    /// The kernel is about to hear of a name, that it is there or that it is not.
    pub(super) fn tell_name(&self, parent: NodeId, name: &[u8]) {
        let hash = self.hash(name);
        if let Some(belief) = self.part(parent).get_mut(&parent)
            && let Names::These(names) = &mut **belief.names.get_or_insert_default()
        {
            names.insert(hash);
            if names.len() > NAMES_MAX {
                belief.names = Some(Box::new(Names::All));
            }
        }
    }

    /// The kernel is about to keep the listing of a directory. Whether it may: not where another mount has changed names since
    /// this kernel knows it, because what is on its way when it is told to drop a listing may be added behind that.
    pub(super) fn tell_listing(&self, directory: NodeId) -> bool {
        self.part(directory).get_mut(&directory).is_some_and(|belief| {
            belief.listing = true;
            !belief.changed_elsewhere
        })
    }

    /// What the kernel has to be told of changes made elsewhere. When it has been told it believes none of it any more,
    /// so the next change costs nothing until it asks again. Whether the kernel holds any of what changed: if so, it may be
    /// that it is only just being told.
    pub(super) fn hear(&self, changes: &[Change], messages: &mut Vec<Message>) -> bool {
        // Before looking: whoever notes a belief afterwards sees that something was heard.
        self.heard.fetch_add(1, Ordering::SeqCst);
        let mut concerned = false;
        for change in changes {
            match change {
                Change::Attributes(node) => {
                    if let Some(belief) = self.part(*node).get_mut(node) {
                        concerned = true;
                        if std::mem::take(&mut belief.attributes) {
                            messages.push(Message::Attributes(*node));
                        }
                    }
                }
                Change::Bytes { node, from, to } => {
                    if let Some(belief) = self.part(*node).get_mut(node) {
                        concerned = true;
                        if std::mem::take(&mut belief.attributes) {
                            messages.push(Message::Attributes(*node));
                        }
                        if belief.pages {
                            let length = if *to == u64::MAX { 0 } else { to.saturating_sub(*from).max(1) };
                            messages.push(Message::Pages(*node, *from, length));
                        }
                    }
                }
                Change::Everything => {
                    concerned = true;
                    self.doubt_everything(messages);
                }
                Change::Name { parent, name } => {
                    if let Some(belief) = self.part(*parent).get_mut(parent) {
                        concerned = true;
                        belief.changed_elsewhere = true;
                        // From now on its listings are not kept.
                        if std::mem::take(&mut belief.listing) {
                            messages.push(Message::Listing(*parent));
                        }
                        let believed = match belief.names.as_deref_mut() {
                            None => false,
                            Some(Names::These(names)) => names.remove(&self.hash(name)),
                            Some(Names::All) => true,
                        };
                        if believed {
                            messages.push(Message::Name(*parent, name.clone()));
                        }
                    }
                }
            }
        }
        concerned
    }

    /// Takes back all that the kernel believes.
    fn doubt_everything(&self, messages: &mut Vec<Message>) {
        for part in &self.parts {
            for (node, belief) in part.lock().iter_mut() {
                if std::mem::take(&mut belief.attributes) {
                    messages.push(Message::Attributes(*node));
                }
                if belief.pages {
                    messages.push(Message::Pages(*node, 0, 0));
                }
                if std::mem::take(&mut belief.listing) {
                    messages.push(Message::Listing(*node));
                }
                belief.changed_elsewhere = true;
                belief.names = None;
            }
        }
        messages.push(Message::AllNames);
    }
}

/// Spreads numbers that are dense already; node numbers and hashes come from nobody who could aim at a collision.
#[derive(Debug, Default)]
struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; the high bits, which the table uses too, depend on all of the number.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: NodeId = NodeId(5);
    const FILE: NodeId = NodeId(6);

    fn messages(known: &Known, changes: &[Change]) -> Vec<Message> {
        let mut messages = Vec::new();
        known.hear(changes, &mut messages);
        messages
    }

    fn name(name: &[u8]) -> Change {
        Change::Name { parent: DIR, name: name.into() }
    }

    #[test]
    fn only_what_is_believed_is_told_and_once() {
        let known = Known::new();
        let all = [name(b"a"), Change::Attributes(DIR), Change::all_bytes(FILE)];
        assert_eq!(messages(&known, &all), [], "the kernel knows none of it");
        known.hand_out(DIR);
        known.hand_out(FILE);
        known.tell_name(DIR, b"a");
        let told = [Message::Name(DIR, (*b"a").into()), Message::Attributes(DIR), Message::Attributes(FILE)];
        assert_eq!(messages(&known, &all), told);
        assert_eq!(messages(&known, &all), [], "told already");
        assert_eq!(messages(&known, &[name(b"b")]), [], "another name");
        known.tell_attributes(FILE);
        known.tell_pages(FILE);
        let bytes = Change::Bytes { node: FILE, from: 10, to: 15 };
        assert_eq!(messages(&known, &[bytes]), [Message::Attributes(FILE), Message::Pages(FILE, 10, 5)]);
        assert_eq!(messages(&known, &[Change::all_bytes(FILE)]), [Message::Pages(FILE, 0, 0)], "others may be left");
    }

    #[test]
    fn a_listing_is_dropped_once_and_not_kept_again() {
        let known = Known::new();
        known.hand_out(DIR);
        assert!(known.tell_listing(DIR));
        assert_eq!(messages(&known, &[name(b"x"), name(b"y")]), [Message::Listing(DIR)]);
        assert!(!known.tell_listing(DIR));
    }

    #[test]
    fn what_is_forgotten_is_not_told() {
        let known = Known::new();
        known.hand_out(FILE);
        known.hand_out(FILE);
        assert!(!known.forget(FILE, 1));
        assert!(known.holds(FILE));
        assert!(known.forget(FILE, 1));
        assert!(!known.holds(FILE));
        assert_eq!(messages(&known, &[Change::all_bytes(FILE)]), []);
        assert!(!known.forget(NodeId::ROOT, 1));
        assert!(known.holds(NodeId::ROOT));
    }

    #[test]
    fn everything_is_taken_back_at_once() {
        let known = Known::new();
        known.hand_out(FILE);
        known.tell_pages(FILE);
        assert!(known.tell_listing(NodeId::ROOT));
        let told = messages(&known, &[Change::Everything]);
        assert!(told.contains(&Message::Listing(NodeId::ROOT)) && !known.tell_listing(NodeId::ROOT));
        let told: Vec<_> = told.into_iter().filter(|message| *message != Message::Listing(NodeId::ROOT)).collect();
        assert_eq!(told, [Message::Attributes(FILE), Message::Pages(FILE, 0, 0), Message::AllNames]);
    }

    #[test]
    fn beyond_the_limit_every_name_counts() {
        let known = Known::new();
        known.hand_out(DIR);
        for number in 0..=NAMES_MAX {
            known.tell_name(DIR, &number.to_le_bytes());
        }
        assert_eq!(messages(&known, &[name(b"never seen")]).len(), 1);
    }
}
