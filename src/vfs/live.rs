//! Files that somebody has open, or that are being sealed: what of them is not in their rows yet.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::changes::Origin;
use super::directories::DirStream;
use super::privileges::Reasons;
use super::types::{HandleId, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobId, Place};
use crate::model::{Caller, Digest, NodeId, Timestamp};

/// A live file.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: NodeId,
    pub(super) state: Mutex<LiveState>,
    /// Beside the state, which is held during input and output.
    pub(super) reasons: Reasons,
}

/// What is known of a live file beyond its row.
#[derive(Debug, Default)]
pub(super) struct LiveState {
    /// The rest means something only once it was read from the row.
    pub(super) loaded: bool,
    pub(super) content: Content,
    /// Times of changes that the row does not show yet; its size and space are stale too then.
    pub(super) pending: Option<Pending>,
    /// A read that the row does not show yet.
    pub(super) atime: Option<Timestamp>,
    /// Whether the next read is to be noted, relatime of mount(8).
    pub(super) atime_due: bool,
    /// Whether the body changed since its version began.
    pub(super) changed: bool,
    /// Versions before that one, which the row does not count yet.
    pub(super) versions: u64,
    /// Whether the row had set-ID bits when it was read.
    pub(super) set_id: bool,
    /// Whether the time of the staging file was set and is not on the disk yet: fdatasync(2) does not write it.
    pub(super) file_time_set: bool,
    /// Grows with every change, so that a seal in progress notices.
    pub(super) generation: u64,
    /// [`MetaStore::names_lost`](crate::meta::MetaStore::names_lost) when the file was seen to have a name.
    pub(super) named_at: Option<u64>,
    /// Space that the sealed body takes, in units of 512 bytes.
    pub(super) sealed_blocks: u64,
    /// Handles served by the kernel, on `kernel_file`, which stays the file of the content as long as there are any.
    pub(super) kernel_handles: u32,
    pub(super) kernel_writers: u32,
    /// Those of them that are not root's.
    pub(super) kernel_writers_of_others: u32,
    /// Whether the kernel wrote while there were some, and another mount may have given set-ID bits that it did not know of.
    pub(super) written_by_others: bool,
    pub(super) kernel_file: Option<Arc<File>>,
    /// Size and modification time of `kernel_file` when it was last looked at, to see what the kernel wrote since.
    pub(super) kernel_seen: Option<(i64, i64)>,
    /// The blob that `kernel_file` is, while it is one.
    pub(super) kernel_blob: Option<Digest>,
    /// Whose kernel was told at an open to drop its pages, and has written nothing since.
    pub(super) pages_dropped: Vec<Origin>,
    /// Handles served by the filesystem.
    pub(super) vfs_handles: u32,
    /// Those of them that may write.
    pub(super) vfs_writers: u32,
    /// Those of them that write past the kernel's page cache.
    pub(super) direct_writers: u32,
}

/// Times of a change that is not in the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
}

/// Where the bytes of a live file are.
#[derive(Debug)]
pub(super) enum Content {
    /// In a blob; `None` is the empty body.
    Sealed(Option<SealedBody>),
    /// In memory; `saved` says that the row names a blob with the same bytes.
    Memory { bytes: Vec<u8>, saved: bool },
    /// In a staging file; `named` says that its name there is durable.
    Staged { file: Arc<File>, named: bool },
}

impl Default for Content {
    fn default() -> Self {
        Self::Sealed(None)
    }
}

/// A blob as the body of a live file.
#[derive(Debug, Clone)]
pub(super) struct SealedBody {
    pub(super) blob: BlobId,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) place: Place,
    /// Set by the first read.
    pub(super) reader: Option<Reader>,
}

/// An opened and verified blob.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    Bytes(Arc<[u8]>),
    File(Arc<BlobReader>),
}

/// The file of a blob, opened once for all who read it through the filesystem. Behind a lock that readers hold while
/// they read, because a node served by the kernel may have to keep this very file as its own when it is written
/// (`share.rs`); the others then go on with a copy.
#[derive(Debug)]
pub(super) struct BlobReader(pub(super) RwLock<Arc<File>>);

/// The live files of a store, with the number of handles and pins on each.
#[derive(Debug, Default)]
pub(super) struct LiveTable(Mutex<HashMap<NodeId, (Arc<Live>, u32)>>);

impl LiveTable {
    /// The live file, made if it is not there, with one more user.
    pub(super) fn acquire(&self, id: NodeId) -> Arc<Live> {
        let mut table = self.0.lock();
        let (live, users) = table.entry(id).or_insert_with(|| {
            let (state, reasons) = (Mutex::default(), Reasons::default());
            (Arc::new(Live { id, state, reasons }), 0)
        });
        *users += 1;
        Arc::clone(live)
    }

    /// The live file, if it is one.
    pub(super) fn get(&self, id: NodeId) -> Option<Arc<Live>> {
        self.0.lock().get(&id).map(|(live, _)| Arc::clone(live))
    }

    /// How many use it.
    pub(super) fn users(&self, id: NodeId) -> u32 {
        self.0.lock().get(&id).map_or(0, |(_, users)| *users)
    }

    /// One user less.
    pub(super) fn release(&self, id: NodeId) {
        let mut table = self.0.lock();
        if let Some((_, users)) = table.get_mut(&id) {
            *users -= 1;
            if *users == 0 {
                table.remove(&id);
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        self.0.lock().values().map(|(live, _)| Arc::clone(live)).collect()
    }
}

/// An open file as one open(2) sees it.
#[derive(Debug)]
pub(super) struct FileHandle {
    pub(super) live: Arc<Live>,
    pub(super) write: bool,
    /// What is written through it takes no rights away, [`Caller::has_fsetid`].
    pub(super) has_fsetid: bool,
    pub(super) kernel: bool,
    /// The kernel was told to drop its pages when it got this handle.
    pub(super) dropped_pages: bool,
    /// It goes past the kernel's page cache.
    pub(super) direct: bool,
    /// Reading leaves the access time as it is.
    pub(super) noatime: bool,
    /// Whose kernel has it open.
    pub(super) viewer: Origin,
}

impl FileHandle {
    /// Of a caller who asked for it so; served by the filesystem, through the page cache.
    pub(super) fn new(live: Arc<Live>, caller: &Caller, open: OpenMode) -> Self {
        Self {
            live,
            write: open.write,
            has_fsetid: caller.has_fsetid(),
            kernel: false,
            dropped_pages: false,
            direct: false,
            noatime: open.noatime,
            viewer: open.viewer,
        }
    }
}

/// What a handle stands for.
#[derive(Debug, Clone)]
pub(super) enum Handle {
    File(Arc<FileHandle>),
    Directory(Arc<Mutex<DirStream>>),
}

/// The open handles.
#[derive(Debug, Default)]
pub(super) struct HandleTable {
    handles: RwLock<HashMap<HandleId, Handle>>,
    next: AtomicU64,
}

impl HandleTable {
    /// A new handle.
    pub(super) fn insert(&self, handle: Handle) -> HandleId {
        let id = HandleId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        self.handles.write().insert(id, handle);
        id
    }

    /// The open file of a handle.
    pub(super) fn file(&self, id: HandleId) -> Result<Arc<FileHandle>> {
        match self.handles.read().get(&id) {
            Some(Handle::File(file)) => Ok(Arc::clone(file)),
            _ => Err(Error::new(ErrorKind::BadHandle, "find an open file")),
        }
    }

    /// The open directory of a handle.
    pub(super) fn directory(&self, id: HandleId) -> Result<Arc<Mutex<DirStream>>> {
        match self.handles.read().get(&id) {
            Some(Handle::Directory(stream)) => Ok(Arc::clone(stream)),
            _ => Err(Error::new(ErrorKind::BadHandle, "find an open directory")),
        }
    }

    /// The files that somebody has open for writing.
    pub(super) fn written(&self) -> HashSet<NodeId> {
        let handles = self.handles.read();
        let files = handles.values().filter_map(|handle| match handle {
            Handle::File(file) if file.write => Some(file.live.id),
            _ => None,
        });
        files.collect()
    }

    /// Takes a handle out.
    pub(super) fn remove(&self, id: HandleId) -> Result<Handle> {
        self.handles.write().remove(&id).ok_or_else(|| Error::new(ErrorKind::BadHandle, "close a handle"))
    }

    /// All that are open.
    pub(super) fn ids(&self) -> Vec<HandleId> {
        self.handles.read().keys().copied().collect()
    }
}
