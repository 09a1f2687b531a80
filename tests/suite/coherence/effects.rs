//! What an operation changes beside what it was asked for, and what a kernel has cached that it cannot know is old.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use nexus::model::metadata::MetaValue;
use nexus::model::work::Status;
use nexus::model::{NodeId, VPath};
use nexus::vfs::OpenMode;
use nexus::work::ClaimRequest;

use super::store::{ROOT, Shared};
use crate::harness::bytes;

/// A file with these attributes, and its number.
fn item(shared: &Shared, name: &str, attributes: &[(&str, &str)]) -> NodeId {
    let at = shared.place(0).join(name);
    fs::write(&at, name).unwrap();
    for (key, value) in attributes {
        xattr::set(&at, format!("user.{key}"), value.as_bytes()).unwrap();
    }
    NodeId(fs::metadata(&at).unwrap().ino())
}

/// Every mount shows a change time that is not what it was.
#[track_caller]
fn changed_everywhere(shared: &Shared, name: &str, was: i64, what: &str) {
    let id = NodeId(fs::metadata(shared.place(0).join(name)).unwrap().ino());
    let truth = shared.library.vfs().getattr(id).unwrap().ctime.0;
    assert_ne!(truth, was, "{what} changes {name}");
    for place in shared.places() {
        assert_eq!(ctime(&place.join(name)), truth, "{what}: {name} on {}", place.display());
    }
}

fn ctime(at: &Path) -> i64 {
    let meta = fs::metadata(at).unwrap();
    meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
}

/// Of one mount its own kernel has to be told, of several all.
#[test]
fn every_kernel_hears_what_moves_in_the_queue() {
    for mounts in [1, 3] {
        let shared = Shared::new(mounts, |_, _| {});
        let worker = ClaimRequest { worker: "w", lease: None };
        let everywhere = VPath::root();
        let library = &shared.library;
        // Each kernel has the attributes, and would believe them for an hour.
        let seen = |name: &str| {
            let times: Vec<_> = shared.places().iter().map(|place| ctime(&place.join(name))).collect();
            times[0]
        };
        let first = item(&shared, "first", &[("status", "ready")]);
        for (name, how) in [("freed", "unlink"), ("again", "rename"), ("last", "complete")] {
            let needed = item(&shared, "needed", &[("status", "ready")]);
            item(&shared, name, &[("status", "blocked"), ("depends_on", &needed.to_string())]);
            let was = seen(name);
            match how {
                "unlink" => fs::remove_file(shared.place(0).join("needed")).unwrap(),
                "rename" => {
                    fs::write(shared.place(0).join("other"), b"").unwrap();
                    fs::rename(shared.place(0).join("other"), shared.place(0).join("needed")).unwrap();
                }
                _ => {
                    let status = xattr::set(shared.place(0).join("needed"), "user.status", b"completed");
                    status.unwrap();
                }
            }
            assert_eq!(xattr::get(shared.place(0).join(name), "user.status").unwrap().unwrap(), b"ready");
            changed_everywhere(&shared, name, was, how);
        }
        let was = seen("first");
        library.work_claim(first, &everywhere, &worker).unwrap();
        changed_everywhere(&shared, "first", was, "a claim");
        let was = seen("first");
        library.work_transit(first, &everywhere, Status::Ready, None, &worker).unwrap();
        changed_everywhere(&shared, "first", was, "a release");
        let was = seen("first");
        library.meta_set(first, "k", &MetaValue::from_stored(b"v".to_vec(), false)).unwrap();
        changed_everywhere(&shared, "first", was, "metadata");
        let was = seen("first");
        library.meta_remove(first, "k").unwrap();
        changed_everywhere(&shared, "first", was, "metadata that goes");
        // Nobody asks for the end of a lease: whoever looks next makes the item ready.
        let short = ClaimRequest { worker: "w", lease: Some(Duration::from_nanos(1)) };
        library.work_claim(first, &everywhere, &short).unwrap();
        let was = seen("first");
        crate::harness::wait_until("the lease has run out", 60, || {
            library.work_counts(&everywhere).unwrap().in_progress == 0
        });
        if shared.library.vfs().getattr(first).unwrap().ctime.0 != was {
            changed_everywhere(&shared, "first", was, "the end of a lease");
        }
        shared.finish();
    }
}

/// A mount wrote a file past its own cache; another opened it, and the first then believed that its pages were right.
#[test]
fn pages_that_one_mount_has_dropped_are_old_on_another() {
    let shared = Shared::new(2, |_, _| {});
    let (here, there) = (shared.place(0).join("f"), shared.place(1).join("f"));
    let (old, new) = (bytes(1, 70_000), bytes(2, 70_000));
    fs::write(&here, &old).unwrap();
    shared.library.vfs().settle().unwrap();
    let id = NodeId(fs::metadata(&here).unwrap().ino());
    let read = OpenMode { read: true, ..OpenMode::default() };
    // While somebody has it open without the kernel, the kernel serves nobody: the pages fill.
    let by_requests = |work: &dyn Fn()| {
        let opened = shared.library.open(&ROOT, id, read).unwrap();
        work();
        shared.library.release(opened.handle).unwrap();
    };
    by_requests(&|| assert!(fs::read(&here).unwrap() == old));
    // The kernel serves the file, and writes it past those pages.
    let reader = File::open(&here).unwrap();
    OpenOptions::new().write(true).open(&here).unwrap().write_all_at(&new, 0).unwrap();
    drop(reader);
    shared.library.vfs().settle().unwrap();
    by_requests(&|| {
        assert!(fs::read(&there).unwrap() == new, "the other mount");
        assert!(fs::read(&there).unwrap() == new, "the other mount, again");
        assert!(fs::read(&here).unwrap() == new, "the mount that wrote");
    });
    shared.finish();
}
