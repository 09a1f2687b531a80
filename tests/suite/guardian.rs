//! The guardian: a daemon that is killed leaves nobody waiting, even where something keeps its connection open, as a thread of
//! it does that waits in the kernel. Here that something is the test, which has taken the device out of the daemon.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::harness::{
    Mounted, Switch, TRANSPORTS, is_mounted, is_running, nexus, run, scratch, shell, unmount_below, wait_until,
};

/// Long enough to see that something does not happen; nothing depends on its length.
const A_WHILE: Duration = Duration::from_millis(300);

/// The guardian of a daemon, if there is one.
fn guardian_of(daemon: i32) -> Option<i32> {
    let words = format!("nexus\0mount-guard\0{daemon}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    numbers.find(|number| {
        let is_it = fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| line.starts_with(words.as_bytes()));
        is_it && is_running(*number)
    })
}

fn signal(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

/// A field of proc_pid_stat(5).
fn stat_field(process: i32, number: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(number - 3).unwrap().to_owned()
}

/// A process of Python, with arguments, that has said that it is ready. It is killed when this is dropped.
///
/// Nothing here is kept open by the tests themselves: what they start has for a moment copies of all of their descriptors,
/// and closing one of a file on a mount that nobody serves waits.
struct Helper(Child);

impl Helper {
    fn start(code: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-I", "-c", code]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut helper = Self(command.stderr(Stdio::null()).spawn().unwrap());
        helper.0.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).expect("the helper says ready");
        helper
    }

    /// Every descriptor of the device that a daemon has, kept open: while one is, the kernel waits for answers.
    fn with_devices_of(daemon: i32) -> Self {
        // 438 is pidfd_getfd(2).
        let code = "import ctypes, os, sys
pid = sys.argv[1]
process, call = os.pidfd_open(int(pid)), ctypes.CDLL(None).syscall
devices = [n for n in os.listdir(f'/proc/{pid}/fd') if os.readlink(f'/proc/{pid}/fd/{n}') == '/dev/fuse']
taken = [call(438, process, int(n), 0) for n in devices]
assert taken and min(taken) >= 0
print('ready', flush=True)
sys.stdin.read()";
        Self::start(code, &[&daemon.to_string()])
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_dead(mountpoint: &Path) -> bool {
    matches!(rustix::fs::statfs(mountpoint), Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// A process that asks for a name which the kernel does not know.
fn asks(mountpoint: &Path) -> Child {
    let mut command = Command::new("stat");
    command.arg(mountpoint.join("unheard-of")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_connection_that_outlives_a_killed_daemon_is_ended() {
    for transport in TRANSPORTS {
        // With nobody to end it whoever uses it waits: this is what the guardian is for.
        kill_while_the_connection_is_held(transport, false);
        kill_while_the_connection_is_held(transport, true);
    }
}

fn kill_while_the_connection_is_held(transport: &str, guarded: bool) {
    let mut mounted = Mounted::over(transport, &["-o", "locks=store"]);
    fs::write(mounted.path("file"), b"text").unwrap();
    shell(&mounted.root(), "sync file .");
    let (daemon, root, file) = (mounted.daemon(), mounted.root(), mounted.path("file").display().to_string());
    let guardian = guardian_of(daemon).unwrap();
    // The daemon has a request in its hands when it dies: it gives a lock only when that can be had. Over the ring what it
    // has not taken yet fails with the ring; over /dev/fuse all requests wait, those too that come later.
    let lock = "import fcntl, sys
file = open(sys.argv[1])
if sys.argv[2] == 'waits': print('ready', flush=True)
fcntl.flock(file, fcntl.LOCK_EX)
if sys.argv[2] == 'holds': print('ready', flush=True)
sys.stdin.read()";
    let _holds = Helper::start(lock, &[&file, "holds"]);
    let threads = || fs::read_dir(format!("/proc/{daemon}/task")).unwrap().count();
    let before = threads();
    let mut waits = Helper::start(lock, &[&file, "waits"]);
    if transport == "io_uring" {
        wait_until("somebody steps in for the thread that waits for the lock", 60, || threads() > before);
    }
    // The first to be dropped: with the last descriptor the kernel ends the connection by itself.
    let held = Helper::with_devices_of(daemon);
    if !guarded {
        // It cannot be replaced by a daemon that does not run.
        signal(daemon, Signal::STOP);
        signal(guardian, Signal::KILL);
        wait_until("the guardian is gone", 60, || !is_running(guardian));
    }
    signal(daemon, Signal::KILL);
    wait_until("the daemon is gone", 60, || !is_running(daemon));
    if guarded {
        wait_until("who waited is told", 60, || waits.has_ended());
        wait_until("the mount is dead", 60, || is_dead(&root));
        wait_until("the guardian ends", 60, || !is_running(guardian));
    } else {
        thread::sleep(A_WHILE);
        assert!(!waits.has_ended(), "{transport}: nobody ends it");
    }
    drop(held);
    wait_until("who waited is told", 60, || waits.has_ended());
    assert!(!waits.0.wait().unwrap().success(), "{transport}: nobody gave the lock");
    mounted.mount();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"text");
    mounted.finish_after_complaints();
}

#[test]
fn who_still_uses_a_mount_that_was_taken_away_is_told_too() {
    let mut mounted = Mounted::with(&["-o", "no_passthrough"]);
    fs::write(mounted.path("file"), vec![7; 3_000_000]).unwrap();
    mounted.remount();
    let (daemon, root) = (mounted.daemon(), mounted.root());
    let read = "import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.read(1)
try: os.read(file, 1000)
except OSError as error: os._exit(error.errno)";
    let mut reader = Helper::start(read, &[mounted.path("file").to_str().unwrap()]);
    run(nexus().args(["umount", "--lazy"]).arg(&root)).ok();
    assert!(!is_mounted(&root) && is_running(daemon));
    let held = Helper::with_devices_of(daemon);
    signal(daemon, Signal::KILL);
    wait_until("the daemon is gone", 60, || !is_running(daemon));
    // Nobody else would end this read.
    drop(reader.0.stdin.take());
    wait_until("who reads is told", 60, || reader.has_ended());
    let code = reader.0.wait().unwrap().code();
    assert!(matches!(code, Some(libc::ENOTCONN | libc::ECONNABORTED)), "{code:?}");
    drop(held);
    wait_until("the guardian ends", 60, || guardian_of(daemon).is_none());
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn an_orderly_end_leaves_no_guardian() {
    let mut mounted = Mounted::new();
    for lazy in [false, true] {
        let daemon = mounted.daemon();
        let guardian = guardian_of(daemon).unwrap();
        assert_eq!(fs::read_to_string(format!("/proc/{guardian}/comm")).unwrap(), "mount-guard\n");
        // Not the device, nor the store, nor its lock.
        for entry in fs::read_dir(format!("/proc/{guardian}/fd")).unwrap().flatten() {
            let to = fs::read_link(entry.path()).unwrap_or_default();
            let is_harmless =
                ["pipe:", "socket:", "/dev/null"].iter().any(|kind| to.to_string_lossy().starts_with(kind));
            assert!(is_harmless || to.ends_with("abort"), "{}", to.display());
        }
        if lazy {
            signal(daemon, Signal::TERM);
            wait_until("the daemon ends", 60, || !is_running(daemon));
        } else {
            mounted.umount();
        }
        // Waited for by the daemon, but not for ever.
        wait_until("its guardian has ended with the daemon", 60, || !is_running(guardian));
        mounted.mount();
    }
    mounted.finish();
}

#[test]
fn a_guardian_that_is_killed_is_replaced() {
    let mut mounted = Mounted::new();
    let (daemon, root) = (mounted.daemon(), mounted.root());
    let first = guardian_of(daemon).unwrap();
    signal(first, Signal::KILL);
    wait_until("another takes its place", 60, || guardian_of(daemon).is_some_and(|second| second != first));
    let second = guardian_of(daemon).unwrap();
    wait_until("it is noted", 60, || mounted.log().contains(&format!("process {second} takes its place")));
    fs::write(mounted.path("file"), b"text").unwrap();
    let abort = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to.ends_with("abort"));
    let watches = || fs::read_dir(format!("/proc/{second}/fd")).unwrap().flatten().any(abort);
    wait_until("it watches what there is", 60, watches);
    let held = Helper::with_devices_of(daemon);
    signal(daemon, Signal::KILL);
    wait_until("the mount is dead", 60, || !is_running(daemon) && is_dead(&root));
    drop(held);
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn a_daemon_that_only_pauses_is_left_alone() {
    let mounted = Mounted::new();
    fs::write(mounted.path("file"), b"text").unwrap();
    let daemon = mounted.daemon();
    let guardian = guardian_of(daemon).unwrap();
    signal(daemon, Signal::STOP);
    // What whoever ends a group of processes sends it; the last is the kernel's sign of a death, which this is not.
    for harmless in [Signal::INT, Signal::HUP, Signal::QUIT, Signal::TERM, Signal::USR1] {
        signal(guardian, harmless);
    }
    thread::sleep(A_WHILE);
    let mut waits = asks(&mounted.root());
    thread::sleep(A_WHILE);
    assert!(waits.try_wait().unwrap().is_none(), "a daemon that is stopped answers nobody");
    signal(daemon, Signal::CONT);
    wait_until("it goes on", 60, || waits.try_wait().unwrap().is_some());
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"text");
    assert_eq!(guardian_of(daemon), Some(guardian));
    mounted.finish();
}

#[test]
fn what_a_terminal_sends_ends_the_daemon_and_not_the_guardian_first() {
    let base = scratch();
    let data_dir = base.path().join("data");
    let mounted = Mounted::initialised(base, data_dir, &[]);
    let mut command = mounted.mount_command();
    // In a group of its own, as a shell starts it: the guardian is in another.
    command.arg("--foreground").process_group(0).stdin(Stdio::null()).stderr(Stdio::piped());
    let on = Switch::on();
    let mut child = command.spawn().unwrap();
    wait_until("it is mounted", 60, || is_mounted(&mounted.root()));
    wait_until("there is a record", 60, || mounted.data_dir().join("nexus.pid").exists());
    drop(on);
    let daemon = mounted.daemon();
    assert_eq!(daemon, i32::try_from(child.id()).unwrap());
    let guardian = guardian_of(daemon).unwrap();
    assert_eq!((stat_field(daemon, 5), stat_field(guardian, 5)), (daemon.to_string(), guardian.to_string()));
    fs::write(mounted.path("file"), b"text").unwrap();
    kill_process_group(Pid::from_raw(daemon).unwrap(), Signal::INT).unwrap();
    wait_until("it ends", 60, || child.try_wait().unwrap().is_some());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.is_empty(), "{said}");
    assert!(!is_mounted(&mounted.root()));
    wait_until("its guardian has ended with it", 60, || !is_running(guardian));
    let mut mounted = mounted;
    mounted.mount();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"text");
    mounted.finish();
}

/// How the requests of each mount of a store come.
fn transports(data_dir: &Path) -> Vec<String> {
    let text = run(nexus().args(["mounts", "--json", "--data-dir"]).arg(data_dir)).ok().stdout;
    let mounts: Value = serde_json::from_str(&text).unwrap();
    mounts.as_array().unwrap().iter().map(|mount| mount["transport"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn several_mounts_take_the_ring_where_there_is_a_guardian() {
    let base = scratch();
    let data_dir = base.path().join("data");
    run(nexus().arg("init").arg(&data_dir)).ok();
    let places: Vec<PathBuf> = (0..4).map(|number| base.path().join(format!("mnt{number}"))).collect();
    places.iter().for_each(|place| fs::create_dir(place).unwrap());
    let mount = |places: &[PathBuf], transport: &str| {
        let _on = Switch::on();
        let mut command = nexus();
        command.arg("mount").args(places).args(["--transport", transport, "--data-dir"]).arg(&data_dir);
        run(&mut command).ok();
    };
    mount(&places[..2], "auto");
    assert_eq!(transports(&data_dir), ["io_uring", "io_uring"]);
    mount(&places[2..3], "dev_fuse");
    assert_eq!(transports(&data_dir)[2], "/dev/fuse");

    // One that does not answer is none.
    let record = fs::read_to_string(data_dir.join("nexus.pid")).unwrap();
    let daemon: i32 = record.lines().next().unwrap().parse().unwrap();
    let guardian = guardian_of(daemon).unwrap();
    signal(guardian, Signal::STOP);
    mount(&places[3..], "auto");
    let unguarded = transports(&data_dir).remove(3);
    assert!(
        unguarded.starts_with("/dev/fuse, not io_uring: ") && unguarded.contains("nobody to end them"),
        "{unguarded}"
    );
    // The daemon does not wait for it for ever either.
    run(nexus().args(["umount", "--all", "--data-dir"]).arg(&data_dir)).ok();
    wait_until("both have ended", 60, || !is_running(daemon) && !is_running(guardian));
    run(nexus().arg("fsck").arg(&data_dir)).ok();
    unmount_below(base.path());
}
