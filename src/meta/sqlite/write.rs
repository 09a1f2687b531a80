//! Changing rows, inside one operation.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use rusqlite::params;

use super::digests::Fate;
use super::read::ReadTxn;
use super::sql;
use super::work::shown::{Changed, Of};
use crate::error::Result;
use crate::meta::{AttrRow, BlobId, BodyChange, BodyRow, NodeRow, Place, StagingId, Stamp};
use crate::model::work::key;
use crate::model::{Attr, Change, Digest, Name, NodeId, Timestamp};

/// Reads and writes rows, inside one operation.
#[derive(Debug)]
pub struct WriteTxn<'a> {
    read: ReadTxn<'a>,
    /// Where to note what is changed, when somebody wants to know.
    noted: Option<&'a RefCell<Vec<Change>>>,
    names_lost: &'a Cell<u64>,
    /// Nodes that may be items, for their rows in the queue.
    pub(super) changed: Changed<'a>,
}

impl<'a> Deref for WriteTxn<'a> {
    type Target = ReadTxn<'a>;

    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl<'a> WriteTxn<'a> {
    pub(super) fn new(
        read: ReadTxn<'a>,
        noted: Option<&'a RefCell<Vec<Change>>>,
        names_lost: &'a Cell<u64>,
        changed: Changed<'a>,
    ) -> Self {
        Self { read, noted, names_lost, changed }
    }

    /// As [`MetaStore::names_lost`](super::MetaStore::names_lost).
    pub fn names_lost(&self) -> u64 {
        self.names_lost.get()
    }

    /// What stat(2) tells of a node is about to change.
    fn note_node(&self, id: NodeId) {
        if let Some(noted) = self.noted {
            Change::Attributes(id).add_to(&mut noted.borrow_mut());
        }
    }

    /// What a name leads to is about to change.
    fn note_name(&self, parent: NodeId, name: Name<'_>) {
        if let Some(noted) = self.noted {
            Change::Name { parent, name: name.as_bytes().into() }.add_to(&mut noted.borrow_mut());
        }
    }

    /// An attribute is about to change: the row of a work item may show it.
    fn note_attribute(&self, id: NodeId, key: &[u8]) {
        if key::is_shown(key) {
            self.changed.note(id, Of::Facts);
        }
    }

    /// Drops the whole transaction, as SQLite does when the disk fails.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.read.conn.execute_batch("ROLLBACK").unwrap();
    }

    pub(super) fn change(&self, statement: &'static str, values: impl rusqlite::Params) -> Result<usize> {
        self.read.conn.prepare_cached(statement).and_then(|mut s| s.execute(values)).map_err(sql("change the database"))
    }

    /// Sets a value about the store.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn set_setting(&self, key: &str, value: i64) -> Result<()> {
        self.change("INSERT OR REPLACE INTO setting (key, value) VALUES (?1, ?2)", params![key, value])?;
        Ok(())
    }

    /// Removes a value about the store.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_setting(&self, key: &str) -> Result<()> {
        self.change("DELETE FROM setting WHERE key = ?1", [key])?;
        Ok(())
    }

    /// A new node, its number chosen by the caller.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_node(&self, node: &NodeRow, target: Option<&[u8]>) -> Result<()> {
        let a = &node.attr;
        let (blob, draft) = body_columns(node.body);
        self.change(
            "INSERT INTO node (id, mode, uid, gid, rdev, nlink, size, blocks, atime, mtime, ctime, btime, version,
                               blob, draft, target)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                a.id.0.cast_signed(),
                a.kind.to_mode_bits() | a.mode,
                a.uid,
                a.gid,
                a.rdev,
                a.nlink,
                a.size,
                a.blocks,
                a.atime.0,
                a.mtime.0,
                a.ctime.0,
                a.btime.0,
                node.version,
                blob,
                draft,
                target
            ],
        )?;
        Ok(())
    }

    /// A new name, at the end of the listing of its directory.
    ///
    /// # Errors
    /// What SQLite reports; the name must be free.
    pub fn insert_entry(&self, parent: NodeId, name: Name<'_>, node: NodeId) -> Result<()> {
        self.note_name(parent, name);
        self.change(
            "INSERT INTO entry (parent, name, node, place)
             VALUES (?1, ?2, ?3, 1 + COALESCE((SELECT MAX(place) FROM entry WHERE parent = ?1), 2))",
            params![parent.0.cast_signed(), name.as_bytes(), node.0.cast_signed()],
        )?;
        Ok(())
    }

    /// Points a name at another node.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_entry(&self, parent: NodeId, name: Name<'_>, node: NodeId) -> Result<()> {
        self.note_name(parent, name);
        self.names_lost.set(self.names_lost.get() + 1);
        self.change(
            "UPDATE entry SET node = ?3 WHERE parent = ?1 AND name = ?2",
            params![parent.0.cast_signed(), name.as_bytes(), node.0.cast_signed()],
        )?;
        Ok(())
    }

    /// Removes a name.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_entry(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        self.note_name(parent, name);
        self.names_lost.set(self.names_lost.get() + 1);
        self.change(
            "DELETE FROM entry WHERE parent = ?1 AND name = ?2",
            params![parent.0.cast_signed(), name.as_bytes()],
        )?;
        Ok(())
    }

    /// A directory's content changed: its times, and its link count by `links`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn touch_directory(&self, id: NodeId, now: Timestamp, links: i64) -> Result<()> {
        self.note_node(id);
        self.change(
            "UPDATE node SET mtime = ?2, ctime = ?2, nlink = nlink + ?3 WHERE id = ?1",
            params![id.0.cast_signed(), now.0, links],
        )?;
        Ok(())
    }

    /// A node's names changed: its link count by `links`, its change time to `now`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn add_links(&self, id: NodeId, now: Timestamp, links: i64) -> Result<()> {
        self.note_node(id);
        self.changed.note(id, Of::Names);
        self.change(
            "UPDATE node SET ctime = ?2, nlink = nlink + ?3 WHERE id = ?1",
            params![id.0.cast_signed(), now.0, links],
        )?;
        Ok(())
    }

    /// Writes the attributes that setattr can change: mode, owner, group and the three times.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_attr(&self, attr: &Attr) -> Result<()> {
        self.note_node(attr.id);
        self.changed.note(attr.id, Of::Time);
        self.change(
            "UPDATE node SET mode = ?2, uid = ?3, gid = ?4, atime = ?5, mtime = ?6, ctime = ?7 WHERE id = ?1",
            params![
                attr.id.0.cast_signed(),
                attr.kind.to_mode_bits() | attr.mode,
                attr.uid,
                attr.gid,
                attr.atime.0,
                attr.mtime.0,
                attr.ctime.0
            ],
        )?;
        Ok(())
    }

    /// Writes the access time alone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_atime(&self, id: NodeId, atime: Timestamp) -> Result<()> {
        self.note_node(id);
        self.change("UPDATE node SET atime = ?2 WHERE id = ?1", params![id.0.cast_signed(), atime.0])?;
        Ok(())
    }

    /// Writes the change time alone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_ctime(&self, id: NodeId, ctime: Timestamp) -> Result<()> {
        self.note_node(id);
        self.changed.note(id, Of::Time);
        self.change("UPDATE node SET ctime = ?2 WHERE id = ?1", params![id.0.cast_signed(), ctime.0])?;
        Ok(())
    }

    /// Writes what changes in a node with its body.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_body(&self, id: NodeId, change: &BodyChange) -> Result<()> {
        self.note_node(id);
        let (blob, draft) = body_columns(change.body);
        self.changed.note(id, Of::Facts);
        self.change(
            "UPDATE node SET size = ?2, blocks = ?3, mtime = ?4, ctime = ?5, version = version + ?6, blob = ?7,
                             draft = ?8
             WHERE id = ?1",
            params![
                id.0.cast_signed(),
                change.size,
                change.blocks,
                change.mtime.0,
                change.ctime.0,
                change.new_versions,
                blob,
                draft
            ],
        )?;
        Ok(())
    }

    /// Writes size, space and times of a body that stays where it is.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_size(
        &self,
        id: NodeId,
        (size, blocks): (u64, u64),
        mtime: Timestamp,
        ctime: Timestamp,
    ) -> Result<()> {
        self.note_node(id);
        self.changed.note(id, Of::Facts);
        self.change(
            "UPDATE node SET size = ?2, blocks = ?3, mtime = ?4, ctime = MAX(ctime, ?5) WHERE id = ?1",
            params![id.0.cast_signed(), size, blocks, mtime.0, ctime.0],
        )?;
        Ok(())
    }

    /// Counts new versions of a body.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_versions(&self, id: NodeId, versions: u64) -> Result<()> {
        self.changed.note(id, Of::Facts);
        self.change("UPDATE node SET version = version + ?2 WHERE id = ?1", params![id.0.cast_signed(), versions])?;
        Ok(())
    }

    /// Writes when a node was made and how many bodies it has had, for one that comes from another store.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_origin(&self, id: NodeId, btime: Timestamp, version: u64) -> Result<()> {
        self.changed.note(id, Of::Facts);
        self.change(
            "UPDATE node SET btime = ?2, version = ?3 WHERE id = ?1",
            params![id.0.cast_signed(), btime.0, version],
        )?;
        Ok(())
    }

    /// Removes a node and its extended attributes; its names and its body are the caller's.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_node(&self, id: NodeId) -> Result<()> {
        self.note_node(id);
        self.change("DELETE FROM attr WHERE node = ?1", [id.0.cast_signed()])?;
        self.change("DELETE FROM node WHERE id = ?1", [id.0.cast_signed()])?;
        Ok(())
    }

    /// A new blob with one reference; a small one brings its bytes. There must be none of that digest.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_blob(&self, digest: &Digest, size: u64, blocks: u64, body: Option<&[u8]>) -> Result<BlobId> {
        let id = self.take_blob_number()?;
        self.change(
            "INSERT INTO blob (id, digest, size, blocks, refs, place) VALUES (?1, ?2, ?3, ?4, 1, ?5)",
            params![id.0, digest.as_bytes(), size, blocks, i64::from(body.is_none())],
        )?;
        self.touch_digest(digest, id, Fate::Made)?;
        if let Some(body) = body {
            self.put_small_body(id, body)?;
        }
        Ok(id)
    }

    /// Stores the bytes of a small blob, again if need be.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn put_small_body(&self, id: BlobId, body: &[u8]) -> Result<()> {
        self.change("INSERT OR REPLACE INTO small (id, body) VALUES (?1, ?2)", params![id.0, body])?;
        Ok(())
    }

    /// Removes the bytes of a small blob that turned out to be damaged; the row stays, for its names to be told.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_small_body(&self, id: BlobId) -> Result<()> {
        self.change("DELETE FROM small WHERE id = ?1", [id.0])?;
        Ok(())
    }

    /// One more node has the blob as its body.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn add_blob_ref(&self, id: BlobId) -> Result<()> {
        self.add_blob_refs(id, 1)
    }

    /// Several more have.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn add_blob_refs(&self, id: BlobId, nodes: u64) -> Result<()> {
        self.change("UPDATE blob SET refs = refs + ?2 WHERE id = ?1", params![id.0, nodes])?;
        Ok(())
    }

    /// One node less has it. The row of the last goes, with the bytes of a small one; the file of a big one is condemned
    /// and its digest returned.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn drop_blob_ref(&self, id: BlobId) -> Result<Option<Digest>> {
        let blob = self.blob(id)?;
        if blob.refs > 1 {
            self.change("UPDATE blob SET refs = refs - 1 WHERE id = ?1", [id.0])?;
            return Ok(None);
        }
        self.change("DELETE FROM blob WHERE id = ?1", [id.0])?;
        self.touch_digest(&blob.digest, id, Fate::Removed)?;
        match blob.place {
            Place::Database => {
                self.change("DELETE FROM small WHERE id = ?1", [id.0])?;
                Ok(None)
            }
            Place::File => {
                self.change("INSERT OR IGNORE INTO condemned (digest) VALUES (?1)", [blob.digest.as_bytes()])?;
                Ok(Some(blob.digest))
            }
        }
    }

    /// A condemned file is gone, or has a row again.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn pardon(&self, digest: &Digest) -> Result<()> {
        self.change("DELETE FROM condemned WHERE digest = ?1", [digest.as_bytes()])?;
        Ok(())
    }

    /// Notes what the file of a blob looks like while it is right.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_stamp(&self, id: BlobId, stamp: Stamp) -> Result<()> {
        self.change(
            "UPDATE blob SET file_inode = ?2, file_ctime = ?3 WHERE id = ?1",
            params![id.0, stamp.inode.cast_signed(), stamp.ctime],
        )?;
        Ok(())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_attr(&self, id: NodeId, key: &[u8], value: &[u8]) -> Result<()> {
        self.note_attribute(id, key);
        self.change(
            "INSERT OR REPLACE INTO attr (node, key, value) VALUES (?1, ?2, ?3)",
            params![id.0.cast_signed(), key, value],
        )?;
        Ok(())
    }

    /// The same with what is known of the value: `json` for the text of a JSON value that is no string.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_attr_row(&self, id: NodeId, (key, value, json): &AttrRow) -> Result<()> {
        self.note_attribute(id, key);
        self.change(
            "INSERT OR REPLACE INTO attr (node, key, value, json) VALUES (?1, ?2, ?3, ?4)",
            params![id.0.cast_signed(), key, value, json],
        )?;
        Ok(())
    }

    /// Removes an extended attribute; whether it was there.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_attr(&self, id: NodeId, key: &[u8]) -> Result<bool> {
        self.note_attribute(id, key);
        let removed = self.change("DELETE FROM attr WHERE node = ?1 AND key = ?2", params![id.0.cast_signed(), key])?;
        Ok(removed > 0)
    }
}

fn body_columns(body: BodyRow) -> (Option<i64>, Option<i64>) {
    match body {
        BodyRow::Empty => (None, None),
        BodyRow::Blob(BlobId(blob)) => (Some(blob), None),
        BodyRow::Draft(StagingId(draft)) => (None, Some(draft)),
    }
}
