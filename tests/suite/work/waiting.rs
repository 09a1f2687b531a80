//! Waiting for the queue on a mount: poll(2) on `status.json`, and inotify(7) on the directories.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;

use crate::harness::{Mounted, TRANSPORTS, nexus, run};

/// How long something that comes may take on a busy machine.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

fn set(mounted: &Mounted, path: &str, key: &str, value: &str) {
    setxattr(mounted.path(path), format!("user.{key}"), value.as_bytes(), XattrFlags::empty()).unwrap();
}

fn status(file: &File) -> Value {
    let mut bytes = [0; 4096];
    let length = file.read_at(&mut bytes, 0).unwrap();
    serde_json::from_slice(&bytes[..length]).unwrap()
}

/// Whether there is news within so long.
fn is_news(file: &File, wanted: PollFlags, within: Timespec) -> bool {
    let mut asked = [PollFd::new(file, wanted)];
    let count = poll(&mut asked, Some(&within)).unwrap();
    assert_eq!(count > 0, asked[0].revents().intersects(wanted));
    count > 0
}

#[test]
fn whoever_has_read_the_counts_can_wait_for_others() {
    for transport in TRANSPORTS {
        let mounted = Mounted::over(transport, &[]);
        for name in ["a", "b", "c"] {
            std::fs::write(mounted.path(name), name).unwrap();
        }
        let file = File::open(mounted.path(".work/status.json")).unwrap();
        // What was not read yet is news.
        assert!(is_news(&file, PollFlags::IN, NOT_AT_ALL));
        assert_eq!(status(&file)["total"], 0);
        assert!(!is_news(&file, PollFlags::IN, NOT_AT_ALL));
        assert!(!is_news(&file, PollFlags::PRI, NOT_AT_ALL));

        let waits = |wanted: PollFlags, change: &dyn Fn()| {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| is_news(&file, wanted, PATIENCE));
                change();
                assert!(waiting.join().unwrap(), "over {transport}");
            });
            assert!(is_news(&file, wanted, NOT_AT_ALL), "until it is read");
            let counts = status(&file);
            assert!(!is_news(&file, wanted, NOT_AT_ALL));
            counts
        };
        assert_eq!(waits(PollFlags::IN, &|| set(&mounted, "a", "status", "ready"))["ready"], 1);
        set(&mounted, "b", "depends_on", "/a");
        assert_eq!(waits(PollFlags::PRI, &|| set(&mounted, "b", "status", "ready"))["blocked"], 1);
        // A command, which comes by another way.
        let work = |verb| drop(run(nexus().args(["work", verb, "/a"]).env("NEXUS_DATA_DIR", mounted.data_dir())).ok());
        assert_eq!(waits(PollFlags::IN, &|| work("claim"))["in_progress"], 1);
        // What completes one makes the other ready, and that is one change.
        let counts = waits(PollFlags::IN, &|| work("complete"));
        assert_eq!((&counts["completed"], &counts["ready"]), (&1.into(), &1.into()));
        // A lease that runs out is no change that anybody made.
        waits(PollFlags::IN, &|| set(&mounted, "b", "status", "in_progress"));
        assert_eq!(waits(PollFlags::IN, &|| set(&mounted, "b", "lease_until", "2020-01-01T00:00:00Z"))["ready"], 1);

        // Two who wait are both woken, and neither by the other's reading.
        let second = File::open(mounted.path(".work/status.json")).unwrap();
        assert_eq!(status(&second), status(&file));
        std::thread::scope(|scope| {
            let both = [&file, &second].map(|file| scope.spawn(|| is_news(file, PollFlags::IN, PATIENCE)));
            set(&mounted, "c", "status", "pending");
            both.into_iter().for_each(|waiting| assert!(waiting.join().unwrap()));
        });
        // Whatever is no wait is answered as everywhere else.
        let plain = File::open(mounted.path("a")).unwrap();
        assert!(is_news(&plain, PollFlags::IN, NOT_AT_ALL) && is_news(&plain, PollFlags::OUT, NOT_AT_ALL));
        assert!(!is_news(&plain, PollFlags::PRI, NOT_AT_ALL));
        drop((file, second, plain));
        mounted.finish();
    }
}

/// What moves in another tenant's queue is no news.
#[test]
fn a_tenant_is_told_of_its_own_items() {
    let mounted = Mounted::with(&["--tenant", "acme", "--agent", "a1"]);
    let as_tenant = |words: &[&str], tenant: &str, agent: &str| {
        let identity = ["--tenant", tenant, "--agent", agent];
        run(nexus().args(words).args(identity).env("NEXUS_DATA_DIR", mounted.data_dir())).ok();
    };
    as_tenant(&["write", "/workspace/globex/g1/job"], "globex", "g1");
    as_tenant(&["write", "/workspace/acme/a1/job"], "acme", "a1");
    let file = File::open(mounted.path(".work/status.json")).unwrap();
    assert_eq!(status(&file)["total"], 0);
    as_tenant(&["meta", "set", "/workspace/globex/g1/job", "status", "ready"], "globex", "g1");
    assert!(!is_news(&file, PollFlags::IN, NOT_AT_ALL));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| is_news(&file, PollFlags::IN, PATIENCE));
        as_tenant(&["work", "claim"], "globex", "g1");
        as_tenant(&["meta", "set", "/workspace/acme/a1/job", "status", "ready"], "acme", "a1");
        assert!(waiting.join().unwrap());
    });
    assert_eq!((&status(&file)["ready"], &status(&file)["total"]), (&1.into(), &1.into()));
    drop(file);
    mounted.finish();
}

/// The moves that are made through the mount, with their names; what is changed by other ways moves no name in the kernel.
#[test]
fn a_watch_of_the_directories_sees_the_moves() {
    for transport in TRANSPORTS {
        let mounted = Mounted::over(transport, &[]);
        for name in ["a", "b"] {
            std::fs::write(mounted.path(name), name).unwrap();
            set(&mounted, name, "status", "ready");
        }
        let watch = inotify::init(CreateFlags::NONBLOCK).unwrap();
        let directory = |name| mounted.path(".work").join(name);
        let add = |name| inotify::add_watch(&watch, directory(name), WatchFlags::MOVE | WatchFlags::CREATE).unwrap();
        let (ready, progress, completed) = (add("ready"), add("in_progress"), add("completed"));
        let mut names: Vec<_> =
            std::fs::read_dir(directory("ready")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let (first, second) = (&names[0], &names[1]);
        std::fs::rename(directory("ready").join(first), directory("in_progress").join(first)).unwrap();
        std::fs::rename(directory("in_progress").join(first), directory("completed").join(first)).unwrap();
        // By another way, and then one more that is seen.
        run(nexus().args(["work", "claim"]).env("NEXUS_DATA_DIR", mounted.data_dir())).ok();
        std::fs::rename(directory("in_progress").join(second), directory("completed").join(second)).unwrap();

        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&watch, &mut room);
        let (mut seen, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
        while seen.len() < 6 {
            match reader.next() {
                Ok(event) => seen.push((event.wd(), event.events(), event.file_name().unwrap().to_owned())),
                Err(rustix::io::Errno::AGAIN) => assert!(Instant::now() < deadline, "{seen:?}"),
                Err(e) => panic!("{e}"),
            }
        }
        let name = |name: &std::ffi::OsStr| std::ffi::CString::new(name.as_encoded_bytes()).unwrap();
        let (from, to) = (ReadFlags::MOVED_FROM, ReadFlags::MOVED_TO);
        let expected = [
            (ready, from, name(first)),
            (progress, to, name(first)),
            (progress, from, name(first)),
            (completed, to, name(first)),
            (progress, from, name(second)),
            (completed, to, name(second)),
        ];
        assert_eq!(seen, expected, "over {transport}");
        assert!(reader.next().is_err(), "and nothing else");
        drop(watch);
        mounted.finish();
    }
}
