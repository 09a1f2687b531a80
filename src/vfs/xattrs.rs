//! Extended attributes, xattr(7), and the virtual ones below `user.nexus.`.

use super::privileges::CAPABILITY;
use super::store::Vfs;
use super::types::XattrMode;
use super::work::keeper;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::BodyRow;
use crate::model::work::key;
use crate::model::{
    Kind, NodeId, XATTR_COUNT_MAX, XATTR_KEY_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_LIST_BYTES_RESERVED,
    XATTR_VALUE_BYTES_MAX,
};
use crate::work::Scope;

/// Keys that are computed: readable, not listed, not to be changed.
const VIRTUAL: &[u8] = b"user.nexus.";

impl Vfs {
    /// The value of an attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `Unsupported` for a key outside the namespaces that are kept, `NotFound` for the node.
    pub fn getxattr(&self, id: NodeId, key: &[u8]) -> Result<Vec<u8>> {
        if let Some(name) = key.strip_prefix(VIRTUAL) {
            return self.virtual_attr(id, name);
        }
        check_key(key)?;
        // What its worker has held for too long is ready.
        let core = if key == key::STATUS { self.current_queue()? } else { self.lock_core() };
        let read = core.meta.read();
        match read.attr(id, key)? {
            Some(value) => Ok(value),
            None => Err(Error::new(ErrorKind::NoAttribute, "read an attribute")),
        }
    }

    /// Sets an attribute. Those of a work item are held against what they may say, and the queue follows in the same
    /// transaction.
    ///
    /// # Errors
    /// `Exists` and `NoAttribute` as the mode wants it, `NotPermitted` for virtual keys, `ValueTooLarge`, `NoSpace` for
    /// more attributes than a node can have; of work items also `Invalid` and `Cycle`.
    pub fn setxattr(&self, id: NodeId, key: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.put_attr(id, key, value, false, mode, &Scope::EVERYTHING)
    }

    /// The same for a caller who may depend on what he sees; `json` notes that the value is the text of a JSON value.
    pub(crate) fn put_attr(
        &self,
        id: NodeId,
        key: &[u8],
        value: &[u8],
        json: bool,
        mode: XattrMode,
        scope: &Scope<'_>,
    ) -> Result<()> {
        check_key(key)?;
        refuse_virtual(key)?;
        if value.len() > XATTR_VALUE_BYTES_MAX {
            return Err(Error::new(ErrorKind::ValueTooLarge, "set an attribute"));
        }
        self.space.take(value.len() as u64)?;
        if key == CAPABILITY {
            self.look_before_rights_are_given(id)?;
        }
        let now = self.now();
        self.change(|txn, side| {
            let node = txn.node(id)?;
            match (mode, txn.attr(id, key)?) {
                (XattrMode::Create, Some(_)) => return Err(Error::new(ErrorKind::Exists, "create an attribute")),
                (XattrMode::Replace, None) => {
                    return Err(Error::new(ErrorKind::NoAttribute, "replace an attribute"));
                }
                (_, None) => {
                    let keys = txn.attr_keys(id)?;
                    let list: usize = keys.iter().map(|key| key.len() + 1).sum();
                    let list_max = XATTR_LIST_BYTES_MAX - XATTR_LIST_BYTES_RESERVED;
                    if keys.len() >= XATTR_COUNT_MAX || list + key.len() + 1 > list_max {
                        return Err(Error::new(ErrorKind::NoSpace, "give a node one more attribute"));
                    }
                }
                (_, Some(_)) => {}
            }
            if json {
                txn.set_attr_row(id, &(key.to_vec(), value.to_vec(), true))?;
            } else {
                txn.set_attr(id, key, value)?;
            }
            txn.update_ctime(id, now)?;
            if key::is_kept(key) {
                side.queue_used = true;
                keeper(txn, side, now, *scope).attribute_set(&node, key, value)?;
            }
            Ok(())
        })?;
        if key == CAPABILITY
            && let Some(live) = self.live.get(id)
        {
            live.reasons.add();
        }
        Ok(())
    }

    /// The keys of all attributes that are stored, by key.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn listxattr(&self, id: NodeId) -> Result<Vec<Vec<u8>>> {
        let core = self.lock_core();
        let read = core.meta.read();
        if read.find_node(id)?.is_none() && self.unnamed.tomb(id).is_some() {
            return Ok(Vec::new());
        }
        read.node(id)?;
        read.attr_keys(id)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotPermitted` for virtual keys.
    pub fn removexattr(&self, id: NodeId, key: &[u8]) -> Result<()> {
        check_key(key)?;
        refuse_virtual(key)?;
        let now = self.now();
        self.change(|txn, side| {
            if !txn.delete_attr(id, key)? {
                return Err(Error::new(ErrorKind::NoAttribute, "remove an attribute"));
            }
            txn.update_ctime(id, now)?;
            if side.queue_used && key::is_kept(key) {
                let node = txn.node(id)?;
                keeper(txn, side, now, Scope::EVERYTHING).attribute_removed(&node, key)?;
            }
            Ok(())
        })
    }

    fn virtual_attr(&self, id: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        if matches!(name, b"etag" | b"refs") {
            self.seal_if_closed(id)?;
        }
        let row = self.lock_core().meta.read().node(id)?;
        let none = || Error::new(ErrorKind::NoAttribute, "read a virtual attribute");
        let text = match name {
            b"path_id" => id.to_string(),
            b"why" => self.work_why(id, &Scope::EVERYTHING)?.ok_or_else(none)?,
            b"claim" => self.work_claim_number(id)?.ok_or_else(none)?.to_string(),
            b"created_at" => crate::model::rfc3339(row.attr.btime),
            b"etag" if row.attr.kind == Kind::File => self.etag(id)?.to_string(),
            b"version" if row.attr.kind == Kind::File => self.version(id)?.to_string(),
            b"refs" if row.attr.kind == Kind::File => self.refs(id)?.to_string(),
            _ => return Err(none()),
        };
        Ok(text.into_bytes())
    }

    /// The version that the body has now: one that is still being written counts, because nobody can tell it from one whose
    /// close is on its way here.
    fn version(&self, id: NodeId) -> Result<u64> {
        let live = self.live.get(id);
        // Held until the row is read: a close moves the number from here to there.
        let mut state = live.as_ref().map(|live| live.state.lock());
        if let Some(state) = state.as_deref_mut() {
            self.notice_kernel_writes(state)?;
        }
        let uncounted = state.as_ref().map_or(0, |state| state.uncounted());
        Ok((self.lock_core().meta.read().node(id)?.version + uncounted).max(1))
    }

    /// Files that have this body: 1 for a body that is still a draft, or empty.
    fn refs(&self, id: NodeId) -> Result<u64> {
        self.forget_unnamed();
        if let Some(live) = self.live.get(id) {
            let mut state = live.state.lock();
            if state.loaded && !self.read_only {
                self.save_memory(id, &mut state)?;
            }
        }
        let left = self.left_behind(id)?;
        let core = self.lock_core();
        let read = core.meta.read();
        match read.node(id)?.body {
            BodyRow::Blob(blob) => {
                let mut refs = read.blob(blob)?.refs;
                for other in left {
                    // One that was saved in between is not among them any more.
                    let counted = read.find_node(other)?.is_some_and(|row| row.body == BodyRow::Blob(blob));
                    refs = refs.saturating_sub(u64::from(counted));
                }
                Ok(refs)
            }
            BodyRow::Empty | BodyRow::Draft(_) => Ok(1),
        }
    }
}

fn refuse_virtual(key: &[u8]) -> Result<()> {
    if key.starts_with(VIRTUAL) {
        return Err(Error::new(ErrorKind::NotPermitted, "change a virtual attribute"));
    }
    Ok(())
}

/// Which namespaces are kept: those in which Linux lets a filesystem store what it likes. POSIX ACLs
/// (`system.posix_acl_*`) are not supported.
pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > XATTR_KEY_BYTES_MAX {
        return Err(Error::new(ErrorKind::Invalid, "use an attribute key of more than 255 bytes"));
    }
    let known = [&b"user."[..], b"trusted.", b"security."];
    if known.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "use an attribute outside user., trusted. and security."))
}
