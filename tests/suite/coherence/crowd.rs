//! Many at once through four mounts: nothing hangs, one of many racers wins, and the end is the same everywhere.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nexus::model::Transport;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};

use super::store::Shared;
use crate::harness::{Random, wait_until};

const MOUNTS: usize = 4;
const RACERS: usize = 64;
const ROUNDS: usize = 12;
/// Operations of each of eight threads in one directory.
const OPERATIONS: u64 = 400;
/// Both ways in which requests come.
const TRANSPORTS: [Transport; 2] = [Transport::IoUring, Transport::DevFuse];

#[test]
fn four_mounts_change_one_directory_at_once() {
    let shared = Shared::new(MOUNTS, |_, options| options.store_locks = true);
    fs::create_dir(shared.place(0).join("d")).unwrap();
    let failed = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..2 * MOUNTS {
            let dir = shared.place(number % MOUNTS).join("d");
            let failed = &failed;
            scope.spawn(move || {
                let mut random = Random(number as u64 + 1);
                for _ in 0..OPERATIONS {
                    let name = |random: &mut Random| dir.join(format!("f{}", random.below(6)));
                    let (one, two) = (name(&mut random), name(&mut random));
                    let done = match random.below(6) {
                        0 => fs::write(&one, [number as u8; 100]),
                        1 => fs::remove_file(&one),
                        2 => fs::rename(&one, &two),
                        3 => fs::hard_link(&one, &two),
                        4 => fs::set_permissions(&one, fs::Permissions::from_mode(0o600 | number as u32)),
                        _ => fs::read_dir(&dir).and_then(|mut entries| entries.try_for_each(|entry| entry.map(drop))),
                    };
                    match done.map_err(|e| e.kind()) {
                        Ok(()) | Err(ErrorKind::NotFound | ErrorKind::AlreadyExists) => {}
                        // The kernel asks once more when a name has come or gone between its look and its request; that
                        // it happens twice running is no fault.
                        Err(ErrorKind::StaleNetworkFileHandle) => {}
                        Err(other) => {
                            eprintln!("{}: {other:?}", one.display());
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0);
    same_everywhere(&shared, Path::new("d"));
    shared.finish();
}

/// All mounts list and describe the same.
#[track_caller]
fn same_everywhere(shared: &Shared, dir: &Path) {
    let look = |place: &Path| {
        let mut seen: Vec<_> = fs::read_dir(place.join(dir))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = fs::symlink_metadata(entry.path()).unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
                (entry.file_name(), meta.ino(), meta.nlink(), meta.mode(), times, bytes)
            })
            .collect();
        seen.sort();
        seen
    };
    let first = look(shared.place(0));
    for place in &shared.places()[1..] {
        assert_eq!(look(place), first, "{}", place.display());
    }
}

/// A process that tries something once and says by its exit code whether it won.
fn racer(code: &str, place: &Path, round: usize, number: usize) -> Command {
    let mut command = Command::new("python3");
    let name = |what: &str| place.join(format!("{what}{round}"));
    command.args(["-c", code]).arg(name("target")).arg(name("source")).arg(number.to_string());
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn of_64_processes_one_wins() {
    let shared = Shared::new(MOUNTS, |index, options| {
        options.store_locks = true;
        options.transport = TRANSPORTS[index % TRANSPORTS.len()];
    });
    let create = "import os, sys\nos.open(sys.argv[1], os.O_CREAT | os.O_EXCL | os.O_WRONLY)";
    // One source for all, so that the others find it gone.
    let rename = "import os, sys\nos.rename(sys.argv[2], sys.argv[1] + '.' + sys.argv[3])";
    let flock = "import fcntl, sys\nf = open(sys.argv[1], 'r+')\nfcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\nsys.stdin.read()";
    let record = "import fcntl, sys\nf = open(sys.argv[1], 'r+')\nfcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 4)\nsys.stdin.read()";
    for (round, code) in [create, rename, flock, record].into_iter().cycle().take(ROUNDS).enumerate() {
        fs::write(shared.place(round % MOUNTS).join(format!("source{round}")), b"").unwrap();
        if round % 4 >= 2 {
            fs::write(shared.place(0).join(format!("target{round}")), b"0123456789").unwrap();
        }
        let children: Vec<_> = (0..RACERS)
            .map(|number| racer(code, shared.place(number % MOUNTS), round, number).spawn().unwrap())
            .collect();
        // Whoever has a lock holds it until all have tried.
        let (mut children, mut won) = (children, 0);
        wait_until("all but one have tried", 120, || {
            children.retain_mut(|child| match child.try_wait().unwrap() {
                Some(status) => {
                    won += usize::from(status.success());
                    false
                }
                None => true,
            });
            children.len() <= 1
        });
        for mut child in children {
            drop(child.stdin.take());
            won += usize::from(child.wait().unwrap().success());
        }
        assert_eq!(won, 1, "round {round}");
    }
    shared.finish();
}

#[test]
fn a_lock_is_waited_for_across_mounts_and_a_waiter_can_be_killed() {
    for (here, there) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
        wait_across_mounts(TRANSPORTS[here], TRANSPORTS[there]);
    }
}

/// A lock is held on a mount of one transport, and waited for on one of the other.
fn wait_across_mounts(one: Transport, other: Transport) {
    let shared = Shared::new(2, |index, options| {
        options.store_locks = true;
        options.transport = if index == 0 { one } else { other };
    });
    let (here, there) = (shared.place(0).join("f"), shared.place(1).join("f"));
    fs::write(&here, b"").unwrap();
    let code = "import fcntl, signal, sys\nif sys.argv[3] == 'handler': signal.signal(signal.SIGUSR1, lambda *a: sys.exit(7))\nf = open(sys.argv[1], 'r+')\nprint('opened', flush=True)\ngetattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX)\nprint('held', flush=True)";
    for lock in ["flock", "lockf"] {
        let file = OpenOptions::new().read(true).write(true).open(&here).unwrap();
        // The same owner whatever the kind: over /dev/fuse both are records.
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let start = |how: &str| {
            let mut command = Command::new("python3");
            command.args(["-c", code]).arg(&there).args([lock, how]).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut said = [0; 7];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
            child
        };
        let (mut waits, mut killed, mut handles) = (start("waits"), start("killed"), start("handler"));
        thread::sleep(Duration::from_millis(300));
        for child in [&mut waits, &mut killed, &mut handles] {
            assert_eq!(child.try_wait().unwrap(), None, "{lock}: it waits");
        }
        killed.kill().unwrap();
        wait_until("who is killed goes", 10, || killed.try_wait().unwrap().is_some());
        let pid = rustix::process::Pid::from_raw(handles.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        wait_until("a handler runs", 10, || handles.try_wait().unwrap().is_some());
        assert_eq!(handles.wait().unwrap().code(), Some(7));
        assert_eq!(waits.try_wait().unwrap(), None, "{lock}: it still waits");
        drop(file);
        wait_until("the lock is granted", 10, || waits.try_wait().unwrap().is_some());
        assert!(waits.wait().unwrap().success());
    }
    shared.finish();
}

/// A page of a file, shared with whoever maps it.
struct Page(*mut u8);

impl Page {
    fn new(file: &File) -> Self {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of one page, of a file that is as long, at an address of the kernel's choice.
        let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, flags, MapFlags::SHARED, file, 0) };
        Self(at.unwrap().cast())
    }

    fn get(&self) -> u8 {
        // SAFETY: the mapping lives as long as `self`; volatile, because others change it.
        unsafe { self.0.read_volatile() }
    }

    fn set(&self, byte: u8) {
        // SAFETY: as in `get`.
        unsafe { self.0.write_volatile(byte) };
        // SAFETY: the mapping is one page.
        unsafe { rustix::mm::msync(self.0.cast(), 4096, MsyncFlags::SYNC) }.unwrap();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        unsafe { rustix::mm::munmap(self.0.cast(), 4096) }.unwrap();
    }
}

#[test]
fn maps_agree_after_msync() {
    for passthrough in [true, false] {
        let shared = Shared::new(MOUNTS, |_, options| options.manner.passthrough = passthrough);
        for (name, size) in [("small", 4096), ("big", 40_000)] {
            fs::write(shared.place(0).join(name), vec![0; size]).unwrap();
            shared.library.vfs().settle().unwrap();
            let open = |place: &Path| OpenOptions::new().read(true).write(true).open(place.join(name)).unwrap();
            // A reader first: then the kernels serve a big file, where they may.
            let _reader = File::open(shared.place(0).join(name)).unwrap();
            let files: Vec<_> = shared.places().iter().map(|place| open(place)).collect();
            let pages: Vec<_> = files.iter().map(Page::new).collect();
            for round in 1..20_u8 {
                let (writer, reader) = (usize::from(round) % MOUNTS, usize::from(round / 4 + round + 1) % MOUNTS);
                pages[writer].set(round);
                let mut byte = [0];
                files[reader].read_exact_at(&mut byte, 0).unwrap();
                assert_eq!(byte[0], round, "{name}: read through mount {reader}");
                wait_until("the map shows it", 5, || pages[reader].get() == round);
                files[writer].write_all_at(&[round + 100], 0).unwrap();
                wait_until("the map shows what was written", 5, || pages[reader].get() == round + 100);
            }
        }
        shared.finish();
    }
}

#[test]
fn one_of_four_leaves_under_load() {
    let mut shared = Shared::new(MOUNTS, |index, options| {
        options.store_locks = true;
        options.transport = TRANSPORTS[index % TRANSPORTS.len()];
    });
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..MOUNTS - 1)
        .map(|index| {
            let (dir, stop) = (shared.place(index).to_owned(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut rounds = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let path = dir.join(format!("f{}", rounds % 5));
                    // Also where another mount has just made the file: everybody here may write it.
                    fs::write(&path, rounds.to_le_bytes()).unwrap();
                    drop(fs::remove_file(dir.join(format!("f{}", (rounds + 2) % 5))));
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    for _ in 0..3 {
        let last = MOUNTS - 1;
        for name in ["f0", "f1", "f2"] {
            drop(fs::read(shared.place(last).join(name)));
        }
        shared.swap_last();
    }
    stop.store(true, Ordering::Relaxed);
    let rounds: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert!(rounds > 0, "nobody worked");
    same_everywhere(&shared, Path::new("."));
    shared.finish();
}
