//! Locks of the store over io_uring, where each core has a few entries for requests: however many wait for a lock, the
//! request that gives it back is read.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nexus::model::Transport;

use super::store::Shared;
use crate::harness::{run, tool, wait_until};

/// More than any core has entries.
const WAITERS: usize = 40;

/// A process on core 0 that waits for a lock on a file, adds a byte to it, and goes.
fn waiter(file: &Path, lock: &str) -> Child {
    let code = "import fcntl, os, sys\nf = open(sys.argv[1], 'r+b')\nprint('opened', flush=True)\n\
                getattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX)\nn = os.fstat(f.fileno()).st_size\n\
                os.pwrite(f.fileno(), b'x', n)";
    let mut command = tool("taskset");
    command.args(["-c", "0", "python3", "-c", code]).arg(file).arg(lock);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    child
}

/// A process on core 0 that has a lock until its standard input ends.
fn holder(file: &Path, lock: &str) -> Child {
    let code = "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\ngetattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX)\n\
                print('locked', flush=True)\nsys.stdin.read()\ngetattr(fcntl, sys.argv[2])(f, fcntl.LOCK_UN)";
    let mut command: Command = tool("taskset");
    command.args(["-c", "0", "python3", "-c", code]).arg(file).arg(lock);
    // What it says when the mount is gone before it has given the lock back is no news.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    child
}

#[test]
fn more_may_wait_on_a_core_than_it_has_entries() {
    let shared = Shared::new(2, |_, options| {
        options.store_locks = true;
        options.transport = Transport::IoUring;
    });
    for lock in ["flock", "lockf"] {
        let at = |mount: usize| shared.place(mount).join(lock);
        fs::write(at(0), b"").unwrap();
        let mut holder = holder(&at(0), lock);
        let mut waiters: Vec<_> = (0..WAITERS).map(|number| waiter(&at(number % 2), lock)).collect();
        // Who is not there any more waits no longer, and others are served all the while.
        for mut gone in waiters.drain(..8) {
            gone.kill().unwrap();
            wait_until("who is killed goes", 60, || gone.try_wait().unwrap().is_some());
        }
        run(tool("taskset").args(["-c", "0", "ls", "-l"]).arg(shared.place(0))).ok();
        assert!(waiters.iter_mut().all(|waiter| waiter.try_wait().unwrap().is_none()), "{lock}: they wait");
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
        wait_until("all had the lock", 120, || waiters.iter_mut().all(|waiter| waiter.try_wait().unwrap().is_some()));
        assert!(waiters.iter_mut().all(|waiter| waiter.wait().unwrap().success()));
        // One after the other: nobody wrote where another did.
        assert_eq!(fs::read(at(1)).unwrap(), [b'x'; WAITERS - 8], "{lock}");
    }
    shared.finish();
}

/// A mount that goes while processes wait for its locks leaves nobody waiting.
#[test]
fn a_mount_ends_although_somebody_waits_for_its_locks() {
    let shared = Shared::new(2, |_, options| {
        options.store_locks = true;
        options.transport = Transport::IoUring;
    });
    let at = |mount: usize| shared.place(mount).join("f");
    fs::write(at(0), b"").unwrap();
    let mut holder = holder(&at(0), "flock");
    let mut waiters: Vec<_> = (0..12).map(|number| waiter(&at(number % 2), "flock")).collect();
    // From below, as a daemon does that breaks off: each gets an error instead of the lock.
    for place in shared.places() {
        super::store::abort(place);
    }
    wait_until("nobody waits", 60, || waiters.iter_mut().all(|waiter| waiter.try_wait().unwrap().is_some()));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    shared.finish();
}
