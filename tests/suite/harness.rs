//! A store with a mount for one test, and the few acts that all tests share.
//!
//! A test that panics leaves no mount behind, and a filesystem that hangs does not hang the tests: after [`TEST_SECONDS_MAX`] the daemon
//! is killed, and whoever waits for it gets an error. It does not look into the store; that is for `nexus fsck`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod command;
mod content;
mod switch;

pub(crate) use command::{Outcome, nexus, run, run_within, shell, tool, wait_until};
pub(crate) use content::{Random, bytes, disk_usage, files_below, seed, sha256, xattr_text};
pub(crate) use switch::Switch;

/// Both ways in which requests come, as `nexus mount` spells them.
pub(crate) const TRANSPORTS: [&str; 2] = ["io_uring", "dev_fuse"];

/// After this long a test is taken to hang. The slowest of them needs a third of it on two busy cores.
const TEST_SECONDS_MAX: u64 = 600;
/// How often an unmount that meets a busy mount is tried again. A process that another test is just starting holds, between fork and exec,
/// a copy of every descriptor of this process, those of files on the mount included.
const BUSY_TRIES_MAX: u32 = 50;

/// A store on the disk below, mounted.
pub(crate) struct Mounted {
    base: TempDir,
    data_dir: PathBuf,
    arguments: Vec<String>,
    /// Dropped when the test is over, which ends the watchdog.
    _over: Sender<()>,
}

impl Mounted {
    /// A fresh store, mounted as a user would: over io_uring where the kernel has it, unless the environment says `NEXUS_TRANSPORT`.
    /// A test that means one of [`TRANSPORTS`] says so: [`Mounted::over`].
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same over this transport and no other, with further arguments.
    pub(crate) fn over(transport: &str, arguments: &[&str]) -> Self {
        Self::with(&[&["--transport", transport], arguments].concat())
    }

    /// The same with further arguments to `nexus mount`.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let base = scratch();
        let data_dir = base.path().join("data");
        let mut fresh = Self::initialised(base, data_dir, arguments);
        fresh.mount();
        fresh
    }

    /// A fresh store in `data_dir`, not mounted yet; the mountpoint is below `base`.
    pub(crate) fn initialised(base: TempDir, data_dir: PathBuf, arguments: &[&str]) -> Self {
        let (over, watch) = channel();
        let fresh =
            Self { arguments: arguments.iter().map(ToString::to_string).collect(), base, data_dir, _over: over };
        fs::create_dir_all(fresh.root()).unwrap();
        fs::create_dir_all(fresh.outside()).unwrap();
        run(nexus().arg("init").arg(fresh.data_dir())).ok();
        let (data_dir, test) = (fresh.data_dir(), test_name());
        thread::spawn(move || watchdog(&watch, &data_dir, &test));
        fresh
    }

    /// The mountpoint.
    pub(crate) fn root(&self) -> PathBuf {
        self.base.path().join("mnt")
    }

    /// A path on the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The directory of the store.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// A plain directory on the disk below, for what is not to be on the mount.
    pub(crate) fn outside(&self) -> PathBuf {
        self.base.path().join("outside")
    }

    /// A directory that holds the mountpoint and [`Mounted::outside`].
    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// The plain directory, then the mount: what both must do alike is tested on both, so that a test asks for what Linux does and not
    /// for what somebody believes it does.
    pub(crate) fn places(&self) -> [PathBuf; 2] {
        [self.outside(), self.root()]
    }

    /// `nexus mount` with the arguments of this test.
    pub(crate) fn mount_command(&self) -> Command {
        let mut command = nexus();
        command.arg("mount").arg(self.root()).arg("--data-dir").arg(self.data_dir()).args(&self.arguments);
        command
    }

    /// Mounts; the mount must answer when the command is back.
    pub(crate) fn mount(&mut self) {
        let _on = Switch::on();
        run(&mut self.mount_command()).ok();
        assert!(is_mounted(&self.root()), "mount succeeded, and nothing is mounted");
    }

    /// Unmounts; the daemon must be gone when the command is back.
    pub(crate) fn umount(&mut self) {
        let pid = self.daemon();
        let mut tries = 0;
        loop {
            let outcome = run(nexus().arg("umount").arg(self.root()));
            if outcome.code != 0 && outcome.stderr.contains("busy") && tries < BUSY_TRIES_MAX {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            outcome.ok();
            break;
        }
        assert!(!is_running(pid), "umount is back, and daemon {pid} still runs");
        assert!(!is_mounted(&self.root()), "umount is back, and the mount is still there");
    }

    /// From the next mount on, requests come over this transport.
    pub(crate) fn next_over(&mut self, transport: &str) {
        if let Some(at) = self.arguments.iter().position(|argument| argument == "--transport") {
            self.arguments.drain(at..at + 2);
        }
        self.arguments.extend(["--transport".to_owned(), transport.to_owned()]);
    }

    /// Unmounts and mounts again with other arguments to `nexus mount`.
    pub(crate) fn remount_with(&mut self, arguments: &[&str]) {
        self.umount();
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.mount();
    }

    /// Unmounts and mounts again: nothing the kernel has cached is left.
    pub(crate) fn remount(&mut self) {
        self.umount();
        self.mount();
    }

    /// The process id of the daemon.
    pub(crate) fn daemon(&self) -> i32 {
        pid_in(&self.data_dir()).expect("nexus.pid holds the process id of the daemon")
    }

    /// SIGKILL to the daemon. The dead mount stays, for the next [`Mounted::mount`] to clear.
    pub(crate) fn kill(&mut self) {
        let pid = self.daemon();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        wait_until("the killed daemon is gone", 30, || !is_running(pid));
        // Its rings go some milliseconds before its connection: until then the mount is neither alive nor dead.
        wait_until("its mount is dead", 30, || {
            matches!(rustix::fs::statfs(self.root()), Err(Errno::NOTCONN | Errno::CONNABORTED))
        });
    }

    /// What the log holds.
    pub(crate) fn log(&self) -> String {
        match fs::read(self.data_dir().join("nexus.log")) {
            Ok(log) => String::from_utf8_lossy(&log).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// `nexus fsck`: the exit code and what it said.
    pub(crate) fn fsck(&self) -> Outcome {
        run(nexus().arg("fsck").arg(self.data_dir()))
    }

    /// The end of every test: a clean unmount, a clean store, a log without a complaint.
    pub(crate) fn finish(mut self) {
        self.umount();
        self.fsck().ok();
        self.assert_quiet_log();
    }

    /// The end of a test that gives nexus reason to complain: as [`Mounted::finish`], but the log may.
    pub(crate) fn finish_after_complaints(mut self) {
        self.umount();
        self.fsck().ok();
    }

    /// No line of the log is an error or a warning.
    pub(crate) fn assert_quiet_log(&self) {
        let log = self.log();
        let complaints: Vec<_> = log
            .lines()
            .filter(|line| line.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == "ERROR" || word == "WARN"))
            .collect();
        assert!(complaints.is_empty(), "the log complains:\n{}", complaints.join("\n"));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the end of nexus.log of {}", test_name());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
        unmount_below(self.base());
    }
}

/// Unmounts, lazily, whatever a failed test has left below `dir`: it is about to be deleted, and what is mounted there must not be.
pub(crate) fn unmount_below(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for place in places.filter(|place| Path::new(place).starts_with(dir)) {
        let gone = Command::new("umount").arg("-l").arg(place).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{place} is still mounted");
        }
    }
}

/// Kills the daemon of a test that does not end, so that whatever waits for it fails instead of waiting for ever.
fn watchdog(over: &Receiver<()>, data_dir: &Path, test: &str) {
    if over.recv_timeout(Duration::from_secs(TEST_SECONDS_MAX)) == Err(RecvTimeoutError::Timeout) {
        eprintln!("{test} hangs: no end after {TEST_SECONDS_MAX} s, its daemon is killed");
        if let Some(pid) = pid_in(data_dir).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn test_name() -> String {
    thread::current().name().unwrap_or("a test").to_owned()
}

fn pid_in(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("nexus.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Whether a process runs; one that has ended and was not waited for does not.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Whether something is mounted on `path`, alive or dead.
pub(crate) fn is_mounted(path: &Path) -> bool {
    mount_entry(path).is_some()
}

/// The type and source of what is mounted on `path`, from proc(5).
pub(crate) fn mount_entry(path: &Path) -> Option<(String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().rev().find_map(|line| {
        let (place, rest) = line.split_once(" - ")?;
        let mut kind_and_source = rest.split(' ');
        (Path::new(place.split(' ').nth(4)?) == path)
            .then(|| Some((kind_and_source.next()?.to_owned(), kind_and_source.next()?.to_owned())))?
    })
}

/// A directory on a real disk that other users can pass through: pjdfstest changes its user, and passthrough wants a disk.
pub(crate) fn scratch() -> TempDir {
    let below = std::env::var_os("NEXUS_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let dir = tempfile::Builder::new().prefix("nexus-test-").tempdir_in(below).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}
