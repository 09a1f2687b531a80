//! The guardian: a daemon that is killed leaves nobody waiting, even where something keeps its connection open, as a thread of
//! it does that waits in the kernel. Here that something is the test, which has taken the device out of the daemon.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, kill_process_group, pidfd_getfd, pidfd_open,
};
use serde_json::Value;

use crate::harness::{
    Mounted, Switch, TRANSPORTS, is_mounted, is_running, nexus, run, scratch, unmount_below, wait_until,
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

/// Every descriptor of the device that a daemon has. While one is open the kernel waits for answers.
fn devices_of(daemon: i32) -> Vec<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(daemon).unwrap(), PidfdFlags::empty()).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().flatten();
    let devices = descriptors.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new("/dev/fuse")));
    let taken: Vec<_> = devices
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()
        })
        .collect();
    assert!(!taken.is_empty(), "daemon {daemon} has no device");
    taken
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
        let mut mounted = Mounted::over(transport, &["-o", "locks=store"]);
        fs::write(mounted.path("file"), b"text").unwrap();
        let (daemon, root) = (mounted.daemon(), mounted.root());
        let guardian = guardian_of(daemon).unwrap();
        let held = devices_of(daemon);
        // As if there were none.
        signal(guardian, Signal::STOP);
        signal(daemon, Signal::KILL);
        wait_until("the daemon is gone", 60, || !is_running(daemon));
        let mut waits = asks(&root);
        thread::sleep(A_WHILE);
        assert!(waits.try_wait().unwrap().is_none(), "{transport}: without a guardian nobody answers");
        signal(guardian, Signal::CONT);
        wait_until("who waited is told", 60, || waits.try_wait().unwrap().is_some());
        wait_until("the mount is dead", 60, || is_dead(&root));
        wait_until("the guardian ends", 60, || !is_running(guardian));
        drop(held);
        mounted.mount();
        assert_eq!(fs::read(mounted.path("file")).unwrap(), b"text");
        mounted.finish_after_complaints();
    }
}

#[test]
fn who_still_uses_a_mount_that_was_taken_away_is_told_too() {
    let mut mounted = Mounted::with(&["-o", "no_passthrough"]);
    fs::write(mounted.path("file"), vec![7; 3_000_000]).unwrap();
    let (daemon, root) = (mounted.daemon(), mounted.root());
    mounted.remount();
    assert_ne!(mounted.daemon(), daemon);
    let daemon = mounted.daemon();
    let mut file = fs::File::open(mounted.path("file")).unwrap();
    run(nexus().args(["umount", "--lazy"]).arg(&root)).ok();
    assert!(!is_mounted(&root) && is_running(daemon));
    let held = devices_of(daemon);
    signal(daemon, Signal::KILL);
    // Nobody else would end this read.
    let mut bytes = Vec::new();
    let refused = file.read_to_end(&mut bytes).unwrap_err();
    assert!(matches!(refused.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED)), "{refused}");
    drop((held, file));
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
        assert!(!is_running(guardian), "daemon {daemon} is gone, and its guardian is not");
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
    let held = devices_of(daemon);
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
    assert!(!is_running(guardian) && !is_mounted(&mounted.root()));
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
    let devices: Vec<_> = places.iter().map(|place| fs::metadata(place).unwrap().dev()).collect();
    assert_eq!(devices.len(), 4);
    // The daemon does not wait for it for ever either.
    run(nexus().args(["umount", "--all", "--data-dir"]).arg(&data_dir)).ok();
    wait_until("both have ended", 60, || !is_running(daemon) && !is_running(guardian));
    run(nexus().arg("fsck").arg(&data_dir)).ok();
    unmount_below(base.path());
}
