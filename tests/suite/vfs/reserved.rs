//! "`/.work` is reserved at the root": every operation that makes a name, held against it.

use nexus::error::{ErrorKind, Result};
use nexus::model::{Kind, Name, NodeId};
use nexus::vfs::{RenameMode, Taken, Vfs};

use super::{CALLER, Store, WRITE, kind};

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

/// Makes the name `new` in the directory `at`. The root holds the directories `d` and `e` and the file `f`.
type Make = fn(&Vfs, at: NodeId, new: &str) -> Result<()>;

/// Moves what stands under a name of the root.
fn rename(vfs: &Vfs, from: &str, at: NodeId, new: &str, mode: RenameMode) -> Result<()> {
    vfs.rename(NodeId::ROOT, name(from), at, name(new), mode)
}

const MAKERS: &[(&str, Make)] = &[
    ("create", |vfs, at, new| {
        let (_, opened) = vfs.create(&CALLER, at, name(new), 0o644, WRITE)?;
        vfs.release(opened.handle)
    }),
    ("put", |vfs, at, new| vfs.put(&CALLER, (at, name(new)), 0o644, Taken::Replace, &mut || Ok(None)).map(drop)),
    ("copy", |vfs, at, new| {
        let file = vfs.lookup(NodeId::ROOT, name("f"))?.id;
        vfs.copy(&CALLER, file, (at, name(new)), Taken::Replace).map(drop)
    }),
    ("mknod, file", |vfs, at, new| vfs.mknod(&CALLER, at, name(new), Kind::File, 0o644, 0).map(drop)),
    ("mknod, fifo", |vfs, at, new| vfs.mknod(&CALLER, at, name(new), Kind::Fifo, 0o644, 0).map(drop)),
    ("mknod, socket", |vfs, at, new| vfs.mknod(&CALLER, at, name(new), Kind::Socket, 0o644, 0).map(drop)),
    ("mknod, device", |vfs, at, new| vfs.mknod(&CALLER, at, name(new), Kind::CharDevice, 0o644, 259).map(drop)),
    ("mkdir", |vfs, at, new| vfs.mkdir(&CALLER, at, name(new), 0o755).map(drop)),
    ("symlink", |vfs, at, new| vfs.symlink(&CALLER, at, name(new), b"f").map(drop)),
    ("link", |vfs, at, new| {
        let file = vfs.lookup(NodeId::ROOT, name("f"))?;
        vfs.link(file.id, at, name(new)).map(drop)
    }),
    ("rename of a file", |vfs, at, new| rename(vfs, "f", at, new, RenameMode::Replace)),
    ("rename of a directory", |vfs, at, new| rename(vfs, "e", at, new, RenameMode::Replace)),
    ("rename without replacing", |vfs, at, new| rename(vfs, "f", at, new, RenameMode::NoReplace)),
];

#[test]
fn no_operation_makes_the_reserved_name() {
    for (operation, make) in MAKERS {
        for (directory, new, expected) in [
            ("/", ".work", Some(ErrorKind::NotPermitted)),
            ("/", ".works", None),
            ("/", "work", None),
            ("/d", ".work", None),
        ] {
            let store = Store::new();
            store.mkdir("/d");
            store.mkdir("/e");
            store.put("/f", b"body");
            let made = make(store.vfs(), store.id(directory), new);
            assert_eq!(kind(made), expected, "{operation}: {new} in {directory}");
            assert_eq!(store.attr(&format!("{directory}/{new}")).is_ok(), expected.is_none(), "{operation}");
            // What was refused has changed nothing.
            assert!(expected.is_none() || store.get("/f") == b"body", "{operation}");
            store.end();
        }
    }
}

#[test]
fn an_exchange_puts_nothing_under_the_reserved_name() {
    let store = Store::new();
    store.mkdir("/d");
    store.put("/d/.work", b"deeper");
    store.put("/f", b"body");
    let (root, deep) = (NodeId::ROOT, store.id("/d"));
    let swap = |from, one, to, other| store.vfs().rename(from, name(one), to, name(other), RenameMode::Exchange);
    assert_eq!(kind(swap(root, "f", root, ".work")), Some(ErrorKind::NotPermitted));
    assert_eq!(kind(swap(root, ".work", root, "f")), Some(ErrorKind::NotPermitted));
    swap(root, "f", deep, ".work").unwrap();
    assert_eq!((store.get("/f"), store.get("/d/.work")), (b"deeper".to_vec(), b"body".to_vec()));
    store.end();
}

#[test]
fn the_reserved_name_is_refused_whatever_else_is_wrong() {
    let store = Store::new();
    let renamed = rename(store.vfs(), "missing", NodeId::ROOT, ".work", RenameMode::Replace);
    assert_eq!(kind(renamed), Some(ErrorKind::NotPermitted));
    assert_eq!(kind(store.vfs().lookup(NodeId::ROOT, name(".work"))), Some(ErrorKind::NotFound));
    store.end();
}
