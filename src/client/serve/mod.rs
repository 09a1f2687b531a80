//! Carrying a request out on a view: the one place where an operation of the library becomes operations of the filesystem.
//!
//! The facade calls [`serve`] for a store of its own process, the socket for everybody else's, so both give the same
//! answer. Paths are absolute and normalised; symbolic links are followed as long as they stay in the store, except by
//! what removes, renames or copies the link itself. An error names what was attempted on which path.

mod body;
mod copy;
mod look;
mod measure;
mod metadata;
mod remove;
mod stats;
mod transfer;
mod verify;
mod walk;
mod work;

pub(super) use look::PIECE_BYTES_MAX;
pub(super) use transfer::KNOWN_BYTES;

use super::request::{Item, Path, Reply, Request};
use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, VPath};
use crate::view::View;

/// What goes along with a request and its answer: a body in pieces one way, items the other.
pub(crate) trait Exchange {
    /// The next piece of the body, not empty and bounded in size; `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off: nothing of it may then be kept.
    fn piece(&mut self) -> Result<Option<Vec<u8>>>;

    /// One more item of the answer.
    ///
    /// # Errors
    /// When nobody takes it.
    fn item(&mut self, item: Item) -> Result<()>;

    /// Sends the items that were gathered: for what tells how far something is.
    ///
    /// # Errors
    /// When nobody takes them.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whose request it is, and on what.
#[derive(Clone, Copy)]
struct Context<'a> {
    view: &'a View,
    caller: &'a Caller,
}

/// Carries one request out.
///
/// # Errors
/// The kind that the operation failed with; the context says what was attempted.
pub(crate) fn serve(view: &View, caller: &Caller, request: &Request, exchange: &mut dyn Exchange) -> Result<Reply> {
    let context = Context { view, caller };
    context.carry_out(request, exchange).map_err(|e| match request {
        // They name the line, or the place where something could not be written.
        Request::Export(_) | Request::Import(_) => e,
        _ => explain(&e, request),
    })
}

impl Context<'_> {
    fn archive(&self, source: &VPath, target: Option<&VPath>) -> Result<Reply> {
        self.view.archive(self.caller, source, target).map(|path| Reply::Path(Path(path)))
    }

    fn carry_out(&self, request: &Request, exchange: &mut dyn Exchange) -> Result<Reply> {
        match request {
            Request::Exists { path } => self.exists(&path.0).map(Reply::Flag),
            Request::IsDirectory { path } => self.is_directory(&path.0).map(Reply::Flag),
            Request::Info { path } => self.info(&path.0).map(|info| Reply::Info(Box::new(info))),
            Request::Read { path, offset, length, node } => self.read(&path.0, *offset, *length, *node),
            Request::List { path, recursive } => done(self.list(&path.0, *recursive, exchange)),
            Request::Duplicates { path } => done(self.duplicates(&path.0, exchange)),
            Request::Usage { path } => self.usage(&path.0).map(Reply::Usage),
            Request::Write { path, mode } => done(self.write(&path.0, *mode, exchange)),
            Request::Copy { from, to, recursive } => done(self.copy(&from.0, &to.0, *recursive)),
            Request::Rename { from, to, replace } => done(self.rename(&from.0, &to.0, *replace)),
            Request::Delete { path } => done(self.delete(&path.0)),
            Request::MakeDirectory { path, parents } => done(self.make_directory(&path.0, *parents)),
            Request::RemoveDirectory { path, recursive } => done(self.remove_directory(&path.0, *recursive)),
            Request::Metadata { path, key } => self.metadata(&path.0, key),
            Request::SetMetadata { path, key, json } => done(self.set_metadata(&path.0, key, json)),
            Request::RemoveMetadata { path, key } => done(self.remove_metadata(&path.0, key)),
            Request::ListMetadata { path } => done(self.list_metadata(&path.0, exchange)),
            Request::Find { conditions, under } => done(self.find_by_metadata(conditions, &under.0, exchange)),
            Request::WorkList { list, under, limit } => done(self.work_list(*list, &under.0, *limit, exchange)),
            Request::WorkCounts { under } => self.view.work_counts(&under.0).map(Reply::WorkCounts),
            Request::WorkGraph { under } => done(self.work_graph(&under.0, exchange)),
            Request::ClaimNext { under, worker, lease, wait } => self.claim_next(&under.0, worker, *lease, *wait),
            Request::ClaimItem { item, under, worker, lease } => self.claim_item(&item.0, &under.0, worker, *lease),
            Request::MoveItem { item, under, to, claim } => self.move_item(&item.0, &under.0, *to, *claim),
            Request::WorkChanges { under, after, wait } => self.work_changes(&under.0, *after, *wait, exchange),
            Request::Archive { source, target } => self.archive(&source.0, target.as_ref().map(|path| &path.0)),
            Request::Stats => self.stats(exchange),
            Request::Verify { path, after } => self.verify(&path.0, *after, exchange),
            Request::Export(selection) => self.export(selection, exchange),
            Request::Lacks(digests) => self.lacks(digests),
            Request::Import(rules) => self.import(*rules, exchange),
            Request::Sync => done(self.view.vfs().sync()),
            Request::Status
            | Request::HandOver
            | Request::Mount(_)
            | Request::Unmount { .. }
            | Request::Mounts
            | Request::Stop { .. } => {
                Err(Error::new(ErrorKind::Unsupported, "what concerns the process that has the store, not its files"))
            }
        }
    }
}

fn done(outcome: Result<()>) -> Result<Reply> {
    outcome.map(|()| Reply::Done)
}

/// The error in the words of the request: what the filesystem says of names and nodes becomes the reason, where it adds
/// something to the kind.
fn explain(error: &Error, request: &Request) -> Error {
    let below = advice::reason(error);
    let plain = matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::NotEmpty
            | ErrorKind::ReadOnly
            | ErrorKind::NoAttribute
    );
    let reason = match (plain, below.is_empty()) {
        (true, true) => String::new(),
        (_, false) => format!("{}: {below}", error.context()),
        (false, true) => error.context().to_owned(),
    };
    advice::refusal(error.kind(), request.describe(), reason, advice::hint(error).unwrap_or_default())
}
