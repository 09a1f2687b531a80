//! Locks between processes: flock(2) and fcntl(2).

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::harness::{Mounted, wait_until};

#[test]
fn flock_keeps_other_processes_out() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("lock");
        fs::write(&path, b"").unwrap();
        let holder = Holder::start(&path, "fcntl.flock(f, fcntl.LOCK_EX)");
        let file = File::open(&path).unwrap();
        assert_eq!(
            flock(&file, FlockOperation::NonBlockingLockExclusive),
            Err(Errno::WOULDBLOCK),
            "{}",
            place.display()
        );
        assert_eq!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK), "{}", place.display());
        // A lock that was waited for is granted when the holder goes, killed or not.
        let waiter = std::thread::spawn(move || flock(&file, FlockOperation::LockExclusive));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiter.is_finished());
        holder.kill();
        wait_until("the waiting lock is granted", 10, || waiter.is_finished());
        assert_eq!(waiter.join().unwrap(), Ok(()));
        let shared = Holder::start(&path, "fcntl.flock(f, fcntl.LOCK_SH)");
        assert_eq!(flock(File::open(&path).unwrap(), FlockOperation::NonBlockingLockShared), Ok(()));
        shared.kill();
    }
    mounted.finish();
}

#[test]
fn record_locks_keep_other_processes_out_of_a_range() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("lock");
        fs::write(&path, b"0123456789").unwrap();
        let holder = Holder::start(&path, "fcntl.lockf(f, fcntl.LOCK_EX, 4, 2)");
        let attempt = |start: u32, length: u32| {
            let code = format!(
                "import fcntl, sys\nf = open(sys.argv[1], 'r+')\nfcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, {length}, {start})"
            );
            Command::new("python3").args(["-c", &code]).arg(&path).stderr(Stdio::null()).status().unwrap().success()
        };
        assert!(attempt(0, 2), "before the range on {}", place.display());
        assert!(attempt(6, 4), "behind the range on {}", place.display());
        assert!(!attempt(5, 1), "in the range on {}", place.display());
        holder.kill();
        assert!(attempt(5, 1), "after the holder was killed on {}", place.display());
    }
    mounted.finish();
}

/// Another process that holds a lock until it is killed.
struct Holder {
    child: Child,
}

impl Holder {
    fn start(path: &Path, lock: &str) -> Self {
        let code = format!(
            "import fcntl, sys, time\nf = open(sys.argv[1], 'r+')\n{lock}\nprint('held', flush=True)\ntime.sleep(60)"
        );
        let mut child = Command::new("python3").args(["-c", &code]).arg(path).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self { child }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_lock_in_one_process_is_per_open_file() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path).unwrap();
        let (one, two) = (open(), open());
        assert_eq!(flock(&one, FlockOperation::LockExclusive), Ok(()));
        assert_eq!(flock(&two, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
        assert_eq!(flock(&one, FlockOperation::Unlock), Ok(()));
        assert_eq!(flock(&two, FlockOperation::NonBlockingLockExclusive), Ok(()));
    }
    mounted.finish();
}
