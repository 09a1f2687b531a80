//! Every row of the table of namespaces, times every identity it distinguishes, times every operation.

use nexus::error::{ErrorKind, Result};
use nexus::model::{AttrChange, Kind, Name, NodeId, VPath};
use nexus::vfs::{RenameMode, Vfs, XattrMode};
use nexus::view::{Sight, View};

use super::{CALLER, READ, WRITE, end, make_all, path, put, store, view};

/// An operation in a directory that holds the file `f`, the link `l` and the empty directory `d`.
type Operation = fn(&View, NodeId) -> Result<()>;

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn file(view: &View, at: NodeId) -> Result<NodeId> {
    Ok(view.lookup(at, name("f"))?.id)
}

const LOOKS: &[(&str, Operation)] = &[
    ("stat", |v, at| v.getattr(at).map(drop)),
    ("look up", |v, at| v.lookup(at, name("f")).map(drop)),
    ("list", |v, at| {
        let handle = v.opendir(at)?;
        v.readdir(handle, 0, true, &mut |_| true)?;
        v.releasedir(handle)
    }),
    ("read", |v, at| {
        let opened = v.open(&CALLER, file(v, at)?, READ)?;
        assert_eq!(v.read(opened.handle, 0, &mut [0; 9])?, 1);
        v.release(opened.handle)
    }),
    ("read link", |v, at| v.readlink(v.lookup(at, name("l"))?.id).map(drop)),
    ("read attribute", |v, at| v.getxattr(file(v, at)?, b"user.nexus.etag").map(drop)),
    ("list attributes", |v, at| v.listxattr(file(v, at)?).map(drop)),
];

const CHANGES: &[(&str, Operation)] = &[
    ("create", |v, at| v.release(v.create(&CALLER, at, name("n"), 0o644, WRITE)?.1.handle)),
    ("write", |v, at| v.release(v.open(&CALLER, file(v, at)?, WRITE)?.handle)),
    ("chmod", |v, at| {
        v.setattr(&CALLER, file(v, at)?, &AttrChange { mode: Some(0o600), ..AttrChange::default() }).map(drop)
    }),
    ("truncate", |v, at| {
        v.setattr(&CALLER, file(v, at)?, &AttrChange { size: Some(1), ..AttrChange::default() }).map(drop)
    }),
    ("set attribute", |v, at| v.setxattr(file(v, at)?, b"user.k", b"v", XattrMode::Set)),
    ("remove attribute", |v, at| v.removexattr(file(v, at)?, b"user.set")),
    ("mkdir", |v, at| v.mkdir(&CALLER, at, name("n"), 0o755).map(drop)),
    ("mknod", |v, at| v.mknod(&CALLER, at, name("n"), Kind::Fifo, 0o644, 0).map(drop)),
    ("symlink", |v, at| v.symlink(&CALLER, at, name("n"), b"x").map(drop)),
    ("link", |v, at| v.link(file(v, at)?, at, name("n")).map(drop)),
    ("rename", |v, at| v.rename(&CALLER, (at, name("f")), (at, name("n")), RenameMode::Replace)),
    ("rename over", |v, at| v.rename(&CALLER, (at, name("f")), (at, name("l")), RenameMode::Replace)),
    ("exchange", |v, at| v.rename(&CALLER, (at, name("f")), (at, name("d")), RenameMode::Exchange)),
    ("unlink", |v, at| v.unlink(at, name("f"))),
    ("rmdir", |v, at| v.rmdir(at, name("d"))),
];

/// What an identity is answered.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Everything works.
    All,
    /// What looks works, what changes is refused as read-only.
    ReadOnly,
    /// A mount says that it is not there, the library that it is denied.
    Foreign,
}
use Answer::{All, Foreign, ReadOnly};

const TABLE: &[(&str, &[(&str, Answer)])] = &[
    // path                    identity and answer: nobody, tenant, its agent, another agent, another tenant, administrators
    (
        "/workspace/acme/a1/x",
        &[("", All), ("acme", All), ("acme/a1", All), ("acme/a2", Foreign), ("globex/a1", Foreign), ("globex+", All)],
    ),
    ("/shared/acme/x", &[("", All), ("acme", All), ("acme/a2", All), ("globex", Foreign), ("+", All)]),
    ("/external/acme/x", &[("", All), ("acme/a1", All), ("globex/a9", All), ("+", All)]),
    ("/archives/acme/x", &[("", ReadOnly), ("acme/a2", ReadOnly), ("globex", Foreign), ("globex+", ReadOnly)]),
    ("/models/acme/x", &[("", All), ("acme/a2", All), ("globex/a1", Foreign), ("globex+", All)]),
    ("/plain/acme/x", &[("", All), ("acme", All), ("globex/a1", All), ("+", All)]),
    ("/audit/x/y", &[("", Foreign), ("acme", Foreign), ("acme/a1+", All)]),
    ("/frozen/x/y", &[("", ReadOnly), ("acme", ReadOnly), ("acme+", ReadOnly)]),
    ("/documents/acme/x", &[("", All), ("acme/a1", All), ("globex", All), ("+", All)]),
];

/// The directory with what the operations need, whatever was done there before.
fn prepare(vfs: &Vfs, at: &VPath) {
    let at = make_all(vfs, &at.to_string());
    for old in ["f", "l", "d", "n"] {
        if vfs.unlink(at, name(old)).is_err() {
            vfs.rmdir(at, name(old)).ok();
        }
    }
    let file = put(vfs, at, "f", b"1");
    vfs.setxattr(file, b"user.set", b"v", XattrMode::Set).unwrap();
    vfs.symlink(&CALLER, at, name("l"), b"f").unwrap();
    vfs.mkdir(&CALLER, at, name("d"), 0o755).unwrap();
}

#[test]
fn every_namespace_answers_every_operation() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    let mut asked = 0;
    for (place, identities) in TABLE {
        let place = path(place);
        for (text, answer) in *identities {
            for sight in [Sight::Hidden, Sight::Open] {
                let foreign = if sight == Sight::Hidden { ErrorKind::NotFound } else { ErrorKind::Denied };
                let (looks, changes) = match answer {
                    All => (None, None),
                    ReadOnly => (None, Some(ErrorKind::ReadOnly)),
                    Foreign => (Some(foreign), Some(foreign)),
                };
                let view = view(&vfs, text, sight);
                for (operations, expected) in [(LOOKS, looks), (CHANGES, changes)] {
                    for (what, operation) in operations {
                        prepare(&vfs, &place);
                        let got = view.resolve(&place).and_then(|at| operation(&view, at.id)).err().map(|e| e.kind());
                        assert_eq!(got, expected, "{what} in {place} as '{text}', {sight:?}");
                        // Whoever knows the number of a node gets no further by it.
                        if matches!(answer, Foreign) {
                            let number = vfs.resolve(&place).unwrap().id;
                            let got = operation(&view, number).unwrap_err().kind();
                            assert_eq!(got, ErrorKind::NotFound, "{what} in node {number}, {place}, as '{text}'");
                        }
                        asked += 1;
                    }
                }
            }
        }
    }
    println!("{asked} answers");
    end(&vfs);
}

/// Making a name that is not one's own to make: the same answer whether it exists or not.
#[test]
fn what_may_not_be_made_is_refused_whether_it_exists_or_not() {
    use ErrorKind::{Denied, ReadOnly as Erofs};
    let table = [
        ("/workspace/globex", "acme/a1", Denied),
        ("/workspace/acme/a2", "acme/a1", Denied),
        ("/shared/globex", "acme", Denied),
        ("/models/globex", "acme", Denied),
        ("/archives/globex", "acme", Erofs),
        ("/archives/acme", "acme", Erofs),
        ("/audit", "acme", Denied),
        ("/audit/x", "", ErrorKind::NotFound),
        ("/frozen", "+", Erofs),
        ("/system", "acme", Denied),
        ("/system", "+", Erofs),
        ("/system/x", "+", Erofs),
    ];
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    for above in ["/workspace/acme", "/shared", "/models", "/archives"] {
        make_all(&vfs, above);
    }
    for exists in [false, true] {
        for (place, text, expected) in table {
            let view = view(&vfs, text, Sight::Hidden);
            let place = path(place);
            let (above, last) = place.split_last().unwrap();
            let made = view.resolve(&above).and_then(|at| view.mkdir(&CALLER, at.id, last, 0o755));
            assert_eq!(made.unwrap_err().kind(), expected, "{place} as '{text}', exists: {exists}");
        }
        for (place, _, _) in table.iter().filter(|(place, _, _)| !place.starts_with("/system")) {
            make_all(&vfs, place);
        }
    }
    end(&vfs);
}

#[test]
fn administrators_read_about_the_store() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    put(&vfs, make_all(&vfs, "/docs"), "f", b"12345");
    let admin = view(&vfs, "acme+", Sight::Hidden);
    let system = admin.resolve(&path("/system")).unwrap().id;
    let mut names = Vec::new();
    let handle = admin.opendir(system).unwrap();
    admin
        .readdir(handle, 2, true, &mut |entry| {
            names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.attr.unwrap().kind));
            true
        })
        .unwrap();
    admin.releasedir(handle).unwrap();
    assert_eq!(names, ["config.yaml", "metrics", "status.json", "version"].map(|name| (name.to_owned(), Kind::File)));
    let read = |file: &str| {
        let opened = admin.open(&CALLER, admin.lookup(system, name(file)).unwrap().id, READ).unwrap();
        let mut text = vec![0; 65536];
        let length = admin.read(opened.handle, 0, &mut text).unwrap();
        admin.release(opened.handle).unwrap();
        text.truncate(length);
        String::from_utf8(text).unwrap()
    };
    assert_eq!(read("config.yaml"), "mode: embedded\n");
    assert!(read("version").starts_with("nexus "));
    let status: serde_json::Value = serde_json::from_str(&read("status.json")).unwrap();
    assert_eq!((&status["files"], &status["directories"], &status["file_bytes"]), (&1.into(), &2.into(), &5.into()));
    assert_eq!((&status["bodies"], &status["small_bodies"]), (&1.into(), &1.into()));
    let metrics = read("metrics");
    assert!(metrics.contains("# TYPE nexus_files gauge\nnexus_files 1\n"), "{metrics}");
    assert!(metrics.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{metrics}");
    for sight in [Sight::Hidden, Sight::Open] {
        let plain = view(&vfs, "", sight);
        let expected = if sight == Sight::Hidden { ErrorKind::NotFound } else { ErrorKind::Denied };
        assert_eq!(plain.resolve(&path("/system/version")).unwrap_err().kind(), expected);
        assert_eq!(plain.getattr(system).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(plain.opendir(system).unwrap_err().kind(), ErrorKind::NotFound);
    }
    end(&vfs);
}

#[test]
fn strict_namespaces_keep_new_names_out_of_the_root() {
    use nexus::policy::Policy;
    use nexus::view::Settings;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    make_all(&vfs, "/old");
    let policy = std::sync::Arc::new(Policy::new(Vec::new(), true).unwrap());
    let strict = View::with(std::sync::Arc::clone(&vfs), Settings { policy, ..Settings::of(super::who("+")) });
    let make = |text: &str| strict.mkdir(&CALLER, NodeId::ROOT, name(text), 0o755).map(drop).map_err(|e| e.kind());
    assert_eq!(make("new"), Err(ErrorKind::Denied));
    assert_eq!(make("old"), Err(ErrorKind::Exists));
    assert_eq!(make("shared"), Ok(()));
    let old = strict.lookup(NodeId::ROOT, name("old")).unwrap().id;
    strict.mkdir(&CALLER, old, name("in"), 0o755).unwrap();
    let out = strict.rename(&CALLER, (old, name("in")), (NodeId::ROOT, name("out")), RenameMode::Replace);
    assert_eq!(out.unwrap_err().kind(), ErrorKind::Denied);
    let aside = strict.rename(&CALLER, (NodeId::ROOT, name("old")), (NodeId::ROOT, name("older")), RenameMode::Replace);
    assert_eq!(aside.unwrap_err().kind(), ErrorKind::Denied);
    end(&vfs);
}
