//! The files and the items, made through the library's own filesystem: a mount would take minutes.

use nexus::model::{Caller, Kind, Name, NodeId, Timestamp};
use nexus::vfs::{OpenMode, StoreOptions, Vfs, XattrMode};

use crate::{Failure, Options};

/// Files in a directory: more make no difference, and fewer would measure directories.
const FILES_PER_DIRECTORY: usize = 1000;
/// Priorities that items have.
const PRIORITIES: usize = 100;

const CALLER: Caller = Caller { uid: 0, gid: 0 };

/// Where item `number` is.
pub(crate) fn path(number: usize) -> String {
    format!("/work{}/item{number:06}", number / FILES_PER_DIRECTORY)
}

/// Its priority.
pub(crate) fn priority(number: usize) -> usize {
    number * 7919 % PRIORITIES
}

/// The items in the order of the queue: by priority, then by age.
pub(crate) fn in_order(items: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..items).collect();
    order.sort_by_key(|number| (priority(*number), *number));
    order
}

/// Makes files and items; these have a priority, and no status yet.
pub(crate) fn make(options: &Options) -> Result<(), Failure> {
    if !options.directory.join("metadata.db").exists() {
        Vfs::init(&options.directory, CALLER, Timestamp::now)?;
    }
    let store = StoreOptions { data_dir: options.directory.clone(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(store)?;
    let directory = |prefix: &str, number: usize| {
        let name = format!("{prefix}{}", number / FILES_PER_DIRECTORY);
        vfs.mkdir(&CALLER, NodeId::ROOT, Name::new(name.as_bytes())?, 0o755).map(|made| made.id)
    };
    let mut parent = NodeId::ROOT;
    for number in 0..options.files {
        if number % FILES_PER_DIRECTORY == 0 {
            parent = directory("files", number)?;
        }
        let name = format!("file{number:07}");
        vfs.mknod(&CALLER, parent, Name::new(name.as_bytes())?, Kind::File, 0o644, 0)?;
    }
    let write = OpenMode { write: true, ..OpenMode::default() };
    for number in 0..options.items {
        if number % FILES_PER_DIRECTORY == 0 {
            parent = directory("work", number)?;
        }
        let name = format!("item{number:06}");
        let (made, opened) = vfs.create(&CALLER, parent, Name::new(name.as_bytes())?, 0o644, write)?;
        vfs.write(opened.handle, 0, format!("what item {number} is about").as_bytes())?;
        vfs.release(opened.handle)?;
        vfs.setxattr(made.id, b"user.priority", priority(number).to_string().as_bytes(), XattrMode::Set)?;
    }
    vfs.close()?;
    Ok(())
}
