//! The kernel keeps listings and asks for them without opening directories: what it shows is true at every moment all the
//! same, also to whoever holds a directory open, works in it, or reads it while it changes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nexus::model::Transport;
use rustix::fs::{AtFlags, Dir, Timespec, Timestamps, XattrFlags};

use super::store::Shared;

/// Changes of one directory in each case.
const CHANGES: usize = 60;
/// More than an answer of the kernel's largest listing takes.
const MANY: usize = 1_000;

fn names(directory: &mut Dir) -> BTreeSet<String> {
    directory.rewind();
    directory
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

fn listed(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Files with long names, so that a program is given them in several parts.
fn fill(directory: &Path) {
    fs::create_dir(directory).unwrap();
    (0..MANY).for_each(|number| drop(File::create(directory.join(format!("{number:0100}"))).unwrap()));
}

fn make_ready(job: &Path) {
    fs::write(job, "work").unwrap();
    rustix::fs::setxattr(job, "user.status", b"ready", XattrFlags::empty()).unwrap();
}

fn both_ways(count: usize, check: impl Fn(Shared)) {
    for transport in [Transport::IoUring, Transport::DevFuse] {
        for default_permissions in [true, false] {
            check(Shared::new(count, |_, options| {
                options.transport = transport;
                options.manner.default_permissions = default_permissions;
            }));
        }
    }
}

/// Sets the time of a directory to what it is.
fn set_back(directory: &Path, times: &Timestamps) {
    rustix::fs::utimensat(rustix::fs::CWD, directory, times, AtFlags::empty()).unwrap();
}

#[test]
fn what_another_mount_changes_is_listed_although_its_time_is_set_back() {
    both_ways(2, |shared| {
        let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = Timestamps { last_access: old, last_modification: old };
        for round in 0..CHANGES {
            // Each is kept by the kernel when the other mount changes it for the first time.
            let (here, there) = (shared.place(0).join(format!("d{round}")), shared.place(1).join(format!("d{round}")));
            fs::create_dir(&here).unwrap();
            fs::write(here.join("first"), "").unwrap();
            set_back(&here, &times);
            let mut held = Dir::read_from(File::open(&here).unwrap().as_fd()).unwrap();
            let mut expected: BTreeSet<_> = ["first".to_owned()].into();
            let mut as_expected = |expected: &BTreeSet<String>| {
                for _ in 0..2 {
                    assert_eq!((&names(&mut held), &listed(&here)), (expected, expected), "round {round}");
                }
            };
            as_expected(&expected);
            for name in ["n0", "n1"] {
                fs::write(there.join(name), "").unwrap();
                set_back(&there, &times);
                expected.insert(name.to_owned());
                as_expected(&expected);
            }
            fs::remove_file(there.join("n0")).unwrap();
            set_back(&there, &times);
            expected.remove("n0");
            as_expected(&expected);
        }
        shared.finish();
    });
}

/// Whoever lists while others change sees the truth as soon as they are done.
#[test]
fn a_listing_that_was_on_its_way_is_not_kept() {
    both_ways(2, |shared| {
        let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = Timestamps { last_access: old, last_modification: old };
        for round in 0..CHANGES {
            // What was changed elsewhere once is never kept again.
            let (here, there) = (shared.place(0).join(format!("d{round}")), shared.place(1).join(format!("d{round}")));
            fs::create_dir(&here).unwrap();
            set_back(&here, &times);
            let begun = AtomicUsize::new(0);
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !over.load(Ordering::SeqCst) {
                            listed(&here);
                            begun.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
                while begun.load(Ordering::SeqCst) < 4 {
                    thread::yield_now();
                }
                fs::write(there.join("new"), "").unwrap();
                set_back(&there, &times);
                over.store(true, Ordering::SeqCst);
            });
            assert_eq!(listed(&here).len(), 1, "round {round}");
        }
        shared.finish();
    });
}

#[test]
fn a_view_shows_what_is_so_now_to_whoever_holds_it_open() {
    both_ways(1, |shared| {
        let root = shared.place(0);
        let ready = root.join(".work/ready");
        let mut held = Dir::read_from(File::open(&ready).unwrap().as_fd()).unwrap();
        for count in 0..CHANGES / 4 {
            assert_eq!(names(&mut held).len(), count);
            assert_eq!(names(&mut held), listed(&ready));
            make_ready(&root.join(format!("job{count}")));
        }
        drop(held);
        shared.finish();
    });
}

/// Two who read one view at a time have each their own, though the kernel names neither.
#[test]
fn two_readers_of_a_view_do_not_disturb_each_other() {
    both_ways(1, |shared| {
        let root = shared.place(0);
        (0..MANY).for_each(|number| make_ready(&root.join(format!("b{number}"))));
        let ready = root.join(".work/ready");
        let mut first = Dir::read_from(File::open(&ready).unwrap().as_fd()).unwrap();
        let some: Vec<_> = first.by_ref().take(10).map(Result::unwrap).collect();
        // What comes first in the view moves all that follows, for who begins now.
        for number in 0..20 {
            let job = root.join(format!("a{number}"));
            make_ready(&job);
            rustix::fs::setxattr(&job, "user.priority", b"0", XattrFlags::empty()).unwrap();
        }
        assert_eq!(listed(&ready).len(), MANY + 20);
        let rest: Vec<_> = first.by_ref().map(Result::unwrap).collect();
        let seen: BTreeSet<_> = some.iter().chain(&rest).map(|entry| entry.file_name().to_owned()).collect();
        assert_eq!(seen.len(), some.len() + rest.len(), "an entry came twice");
        assert_eq!(seen.len(), MANY + 2, "with . and ..");
        drop(first);
        shared.finish();
    });
}

/// Workers that look at the beginning of a view and go away do not take the place from one who reads all of it.
#[test]
fn many_who_look_do_not_disturb_one_who_reads() {
    both_ways(1, |shared| {
        let root = shared.place(0);
        (0..MANY).for_each(|number| make_ready(&root.join(format!("job{number}"))));
        let ready = root.join(".work/ready");
        let mut seen = BTreeSet::new();
        for entry in Dir::read_from(File::open(&ready).unwrap().as_fd()).unwrap() {
            let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
            if name.starts_with('.') {
                continue;
            }
            // Done at once: what follows moves up.
            rustix::fs::setxattr(ready.join(&name), "user.status", b"completed", XattrFlags::empty()).unwrap();
            assert!(seen.insert(name), "a job came twice");
            if seen.len() % 10 == 0 {
                drop(Dir::read_from(File::open(&ready).unwrap().as_fd()).unwrap().next());
            }
        }
        assert_eq!(seen.len(), MANY);
        shared.finish();
    });
}

/// Also where others list it meanwhile.
#[test]
fn renaming_what_is_listed_comes_to_an_end() {
    both_ways(1, |shared| {
        let directory = shared.place(0).join("d");
        fill(&directory);
        let mut renamed = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            fs::rename(&path, path.with_extension(format!("{renamed}"))).unwrap();
            renamed += 1;
            assert!(renamed <= MANY, "a new name was listed");
            if renamed % 100 == 0 {
                assert_eq!(listed(&directory).len(), MANY);
            }
        }
        assert_eq!((renamed, listed(&directory).len()), (MANY, MANY));
        shared.finish();
    });
}

#[test]
fn a_listing_that_has_come_to_its_end_goes_back_to_a_place() {
    both_ways(2, |shared| {
        let (here, there) = (shared.place(0).join("d"), shared.place(1).join("d"));
        fill(&here);
        let mut held = Dir::read_from(File::open(&here).unwrap().as_fd()).unwrap();
        // As the kernel keeps it, and as it asks for it when another mount has changed it.
        for gone in 0..3 {
            held.rewind();
            let entries: Vec<_> = held.by_ref().map(Result::unwrap).collect();
            for at in [0, 1, 2, 99, MANY / 2, MANY - 10] {
                held.seek(entries[at].offset()).unwrap();
                let rest: Vec<_> = held.by_ref().map(|entry| entry.unwrap().file_name().to_owned()).collect();
                assert!(rest.iter().map(AsRef::as_ref).eq(entries[at + 1..].iter().map(|entry| entry.file_name())));
            }
            fs::remove_file(there.join(format!("{gone:0100}"))).unwrap();
        }
        // What was removed may be synced, too.
        let open = File::open(&here).unwrap();
        open.sync_all().unwrap();
        fs::remove_dir_all(&there).unwrap();
        open.sync_all().unwrap();
        drop((held, open));
        shared.finish();
    });
}
