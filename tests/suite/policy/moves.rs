//! Moving and linking from one scope to another, and what is remembered of places meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nexus::error::ErrorKind;
use nexus::model::{Name, NodeId};
use nexus::vfs::{RenameMode, XattrMode};
use nexus::view::{Sight, View};

use super::{CALLER, READ, WRITE, end, make_all, path, put, store, view};

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

/// Renames by path.
fn mv(view: &View, from: &str, to: &str) -> Result<(), ErrorKind> {
    let (from, to) = (path(from), path(to));
    let ((above, last), (new_above, new_last)) = (from.split_last().unwrap(), to.split_last().unwrap());
    let parents = view.resolve(&above).and_then(|old| Ok((old.id, view.resolve(&new_above)?.id)));
    let moved = parents.and_then(|(old, new)| view.rename(&CALLER, (old, last), (new, new_last), RenameMode::Replace));
    moved.map_err(|e| e.kind())
}

fn link(view: &View, from: &str, to: &str) -> Result<(), ErrorKind> {
    let to = path(to);
    let (above, last) = to.split_last().unwrap();
    let linked = view.resolve(&path(from)).and_then(|from| {
        let above = view.resolve(&above)?.id;
        view.link(from.id, above, last)
    });
    linked.map(drop).map_err(|e| e.kind())
}

fn exists(view: &View, text: &str) -> bool {
    view.resolve(&path(text)).is_ok()
}

#[test]
fn a_name_more_does_not_open_a_file_to_others() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    for place in ["/workspace/acme/a1", "/workspace/acme/a2", "/shared/acme", "/docs", "/plain/x", "/models/acme"] {
        put(&vfs, make_all(&vfs, place), "f", b"1");
    }
    let cross = Err(ErrorKind::CrossScope);
    for who in ["", "+", "acme"] {
        let view = view(&vfs, who, Sight::Hidden);
        assert_eq!(link(&view, "/workspace/acme/a1/f", "/workspace/acme/a2/g"), cross, "{who}");
        assert_eq!(link(&view, "/workspace/acme/a1/f", "/shared/acme/g"), cross, "{who}");
        assert_eq!(link(&view, "/docs/f", "/shared/acme/g"), cross, "{who}");
        assert_eq!(link(&view, "/shared/acme/f", "/docs/g"), cross, "{who}");
        // Open to the same: all of the tenant's agents; everybody.
        let names = [format!("/models/acme/{}g", who.len()), format!("/plain/x/{}g", who.len())];
        assert_eq!(link(&view, "/shared/acme/f", &names[0]), Ok(()), "{who}");
        assert_eq!(link(&view, "/docs/f", &names[1]), Ok(()), "{who}");
    }
    end(&vfs);
}

#[test]
fn a_move_to_another_scope_needs_both_and_takes_all_names_along() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    for place in ["/workspace/acme/a1/t/u", "/workspace/acme/a2", "/shared/acme", "/shared/globex", "/docs/d/e"] {
        put(&vfs, make_all(&vfs, place), "f", b"1");
    }
    let (admin, tenant, agent) =
        (view(&vfs, "+", Sight::Hidden), view(&vfs, "acme", Sight::Hidden), view(&vfs, "acme/a1", Sight::Hidden));
    // Both have to be one's own.
    assert_eq!(mv(&agent, "/shared/acme/f", "/shared/globex/g"), Err(ErrorKind::NotFound));
    assert_eq!(mv(&agent, "/workspace/acme/a1/t/u/f", "/shared/globex"), Err(ErrorKind::Denied));
    assert_eq!(mv(&agent, "/workspace/acme/a2/f", "/docs/g"), Err(ErrorKind::NotFound));
    assert_eq!(mv(&agent, "/workspace/acme/a1/t/u/f", "/shared/acme/g"), Ok(()));
    assert_eq!(mv(&tenant, "/shared/acme/g", "/workspace/acme/a2/g"), Ok(()));
    assert!(exists(&tenant, "/workspace/acme/a2/g") && !exists(&agent, "/workspace/acme/a2/g"));
    // Of a file with two names, deep in a tree, one would stay behind.
    let inner = make_all(&vfs, "/docs/d/e");
    let file = vfs.lookup(inner, name("f")).unwrap().id;
    vfs.link(file, make_all(&vfs, "/docs"), name("outside")).unwrap();
    for view in [&admin, &tenant] {
        assert_eq!(mv(view, "/docs/d", "/shared/acme/d"), Err(ErrorKind::CrossScope));
        assert_eq!(mv(view, "/docs/outside", "/shared/acme/o"), Err(ErrorKind::CrossScope));
    }
    assert_eq!(mv(&tenant, "/docs/d", "/plain"), Ok(()), "open to the same");
    assert_eq!(mv(&tenant, "/plain", "/docs/d"), Ok(()));
    // With all names inside it moves, and still does not where they would stand apart.
    vfs.unlink(make_all(&vfs, "/docs"), name("outside")).unwrap();
    vfs.link(file, make_all(&vfs, "/docs/d"), name("beside")).unwrap();
    assert_eq!(mv(&tenant, "/docs/d", "/shared/acme/d"), Ok(()));
    vfs.link(file, make_all(&vfs, "/shared/acme/d/a8"), name("f")).unwrap();
    vfs.mkdir(&CALLER, make_all(&vfs, "/workspace"), name("initech"), 0o755).unwrap();
    assert_eq!(mv(&admin, "/shared/acme/d", "/workspace/initech"), Err(ErrorKind::CrossScope));
    end(&vfs);
}

/// The directories in which tenants and agents lie beside each other are nobody's to take away: what a tenant is answered
/// must not depend on what is in them.
#[test]
fn what_may_hold_others_is_not_moved_by_one_of_them() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    for place in ["/workspace/acme/a1", "/shared/acme", "/docs/d", "/models"] {
        make_all(&vfs, place);
    }
    for others in [false, true] {
        if others {
            make_all(&vfs, "/workspace/globex/a1");
            make_all(&vfs, "/workspace/acme/a2");
            make_all(&vfs, "/models/globex");
        }
        let denied = Err(ErrorKind::Denied);
        for who in ["acme", "acme/a1"] {
            let view = view(&vfs, who, Sight::Hidden);
            assert_eq!(mv(&view, "/workspace", "/docs/w"), denied, "{who} {others}");
            assert_eq!(mv(&view, "/models", "/docs/m"), denied, "{who} {others}");
            assert_eq!(mv(&view, "/docs/d", "/models"), denied, "{who} {others}");
            let removed = view.rmdir(NodeId::ROOT, name("models")).map_err(|e| e.kind());
            assert_eq!(removed, denied, "{who} {others}");
        }
        let agent = view(&vfs, "acme/a1", Sight::Hidden);
        assert_eq!(mv(&agent, "/workspace/acme", "/shared/acme/w"), denied, "{others}");
        assert_eq!(mv(&agent, "/docs/d", "/workspace/acme"), denied, "{others}");
    }
    end(&vfs);
}

/// What is remembered of a place goes when a directory above it moves, in every view.
#[test]
fn a_move_counts_at_once_for_every_view() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    let deep = make_all(&vfs, "/shared/acme/p/q/r");
    let file = put(&vfs, deep, "f", b"1");
    make_all(&vfs, "/shared/globex");
    let (acme, globex, admin) =
        (view(&vfs, "acme", Sight::Hidden), view(&vfs, "globex/a1", Sight::Hidden), view(&vfs, "+", Sight::Hidden));
    let listing = acme.opendir(deep).unwrap();
    for round in 0..3 {
        assert!(acme.getattr(file).is_ok() && globex.getattr(file).is_err(), "{round}");
        mv(&admin, "/shared/acme/p", "/shared/globex/p").unwrap();
        assert!(acme.getattr(file).is_err() && globex.getattr(file).is_ok(), "{round}");
        assert!(acme.getattr(deep).is_err() && acme.lookup(deep, name("f")).is_err());
        assert!(acme.readdir(listing, 0, false, &mut |_| true).is_err(), "a listing ends");
        mv(&admin, "/shared/globex/p", "/shared/acme/p").unwrap();
    }
    acme.releasedir(listing).unwrap();
    // An open file goes on, wherever its name is, and when it has none.
    let open = acme.open(&CALLER, file, READ).unwrap().handle;
    mv(&admin, "/shared/acme/p", "/shared/globex/p").unwrap();
    assert_eq!(acme.read(open, 0, &mut [0; 4]).unwrap(), 1);
    acme.release(open).unwrap();
    let gone = acme.create(&CALLER, make_all(&vfs, "/shared/acme"), name("t"), 0o600, WRITE).unwrap();
    acme.unlink(make_all(&vfs, "/shared/acme"), name("t")).unwrap();
    assert_eq!(acme.getattr(gone.0.id).unwrap().nlink, 0);
    assert_eq!(globex.getattr(gone.0.id).unwrap_err().kind(), ErrorKind::NotFound);
    // It stays where it was, whatever moves elsewhere; and what was moved away before is another's.
    let away = acme.open(&CALLER, put(&vfs, make_all(&vfs, "/shared/acme/o"), "f", b"1"), READ).unwrap();
    let away_id = vfs.resolve(&path("/shared/acme/o/f")).unwrap().id;
    mv(&admin, "/shared/acme/o", "/shared/globex/o").unwrap();
    globex.unlink(make_all(&vfs, "/shared/globex/o"), name("f")).unwrap();
    assert_eq!(acme.getattr(gone.0.id).unwrap().nlink, 0);
    assert_eq!(acme.getattr(away_id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(globex.getattr(away_id).unwrap().nlink, 0);
    acme.release(away.handle).unwrap();
    acme.release(gone.1.handle).unwrap();
    end(&vfs);
}

/// A change that was admitted for one scope does not happen in another.
#[test]
fn no_change_slips_into_a_scope_after_the_move() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    let file = put(&vfs, make_all(&vfs, "/shared/acme/p"), "f", b"1");
    make_all(&vfs, "/shared/globex");
    let (acme, admin) = (view(&vfs, "acme", Sight::Hidden), view(&vfs, "+", Sight::Hidden));
    let over = AtomicBool::new(false);
    let (mut marks, mut refused) = (0_u64, 0_u64);
    thread::scope(|scope| {
        let marking = scope.spawn(|| {
            let (mut marks, mut refused) = (0_u64, 0_u64);
            while !over.load(Ordering::Relaxed) {
                match acme.setxattr(file, b"user.mark", &(marks + 1).to_be_bytes(), XattrMode::Set) {
                    Ok(()) => marks += 1,
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::NotFound);
                        refused += 1;
                    }
                }
            }
            (marks, refused)
        });
        for _ in 0..2_000 {
            mv(&admin, "/shared/acme/p", "/shared/globex/p").unwrap();
            let mark = admin.getxattr(file, b"user.mark").ok();
            thread::yield_now();
            assert_eq!(admin.getxattr(file, b"user.mark").ok(), mark, "changed by who has no access any more");
            mv(&admin, "/shared/globex/p", "/shared/acme/p").unwrap();
        }
        over.store(true, Ordering::Relaxed);
        (marks, refused) = marking.join().unwrap();
    });
    println!("{marks} changes, {refused} refused");
    assert!(marks > 0);
    end(&vfs);
}

#[test]
fn a_finished_tree_is_archived_as_a_whole_and_stays() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let vfs = store(directory.path(), "store");
    let run = make_all(&vfs, "/workspace/acme/a1/run/logs");
    let file = put(&vfs, run, "f", b"1");
    put(&vfs, make_all(&vfs, "/shared/globex"), "g", b"1");
    let agent = view(&vfs, "acme/a1", Sight::Open);
    let archive = |source: &str, target: Option<&str>| {
        let done = agent.archive(&CALLER, &path(source), target.map(path).as_ref());
        done.map(|path| path.to_string()).map_err(|e| e.kind())
    };
    // Not yet finished.
    let writer = agent.open(&CALLER, file, WRITE).unwrap().handle;
    assert_eq!(archive("/workspace/acme/a1/run", None), Err(ErrorKind::InUse));
    agent.write(writer, 0, &[9; 300_000]).unwrap();
    agent.release(writer).unwrap();
    // Not one's own, not an archive, not there.
    assert_eq!(archive("/shared/globex/g", None), Err(ErrorKind::Denied));
    assert_eq!(archive("/workspace/acme/a1/run", Some("/archives/globex/run")), Err(ErrorKind::Denied));
    assert_eq!(archive("/workspace/acme/a1/run", Some("/frozen/acme/run")), Err(ErrorKind::Invalid));
    assert_eq!(archive("/workspace/acme/a1/run", Some("/archives/acme")), Err(ErrorKind::Invalid));
    assert_eq!(archive("/workspace/acme/a1/none", None), Err(ErrorKind::NotFound));
    assert_eq!(archive("/", None), Err(ErrorKind::Invalid));
    // A name outside of the tree could go on changing it.
    let outside = make_all(&vfs, "/workspace/acme/a1");
    vfs.link(file, outside, name("outside")).unwrap();
    assert_eq!(archive("/workspace/acme/a1/run", None), Err(ErrorKind::CrossScope));
    vfs.unlink(outside, name("outside")).unwrap();

    let target = "/archives/acme/2026/run";
    assert_eq!(archive("/workspace/acme/a1/run", Some(target)), Ok(target.to_owned()));
    assert!(!exists(&agent, "/workspace/acme/a1/run"));
    assert_eq!(agent.getattr(file).unwrap().size, 300_000);
    for who in ["acme/a1", "+"] {
        let view = view(&vfs, who, Sight::Hidden);
        assert_eq!(view.open(&CALLER, file, WRITE).unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(mv(&view, target, "/workspace/acme/a1/back"), Err(ErrorKind::ReadOnly));
    }
    assert_eq!(archive(target, Some("/archives/acme/again")), Err(ErrorKind::ReadOnly));
    put(&vfs, make_all(&vfs, "/workspace/acme/a1/run"), "f", b"1");
    assert_eq!(archive("/workspace/acme/a1/run", Some(target)), Err(ErrorKind::Exists));
    assert_eq!(archive("/workspace/acme/a1/run", None), Ok("/archives/acme/run".to_owned()));
    // Of no tenant: it has to be said where to.
    put(&vfs, make_all(&vfs, "/docs"), "f", b"1");
    let nobody = view(&vfs, "", Sight::Open);
    assert_eq!(nobody.archive(&CALLER, &path("/docs/f"), None).unwrap_err().kind(), ErrorKind::Invalid);
    nobody.archive(&CALLER, &path("/docs/f"), Some(&path("/archives/acme/f"))).unwrap();
    end(&vfs);
}
