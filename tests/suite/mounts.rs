//! `nexus mount`, `mounts` and `umount` where a daemon lives already, and mounts that the configuration names.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Dir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Outcome, is_mounted, is_running, nexus, run, scratch, shell, unmount_below, wait_until};

/// More files than the kernel takes in one answer to a program that lists.
const HUNDREDS: usize = 700;

/// A store in `data`, directories to mount it on, and a configuration that names it.
struct Place {
    base: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { base: scratch() };
        place.configure("");
        place.run(&["init"]).ok();
        ["a", "b", "c"].iter().for_each(|name| fs::create_dir(place.path(name)).unwrap());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("nexus.yaml"), format!("data_dir: data\n{text}")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = nexus();
        command.args(arguments).current_dir(self.base.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    fn mounts(&self) -> Vec<Value> {
        let text = self.run(&["mounts", "--json", "--data-dir", "data"]).ok().stdout;
        serde_json::from_str(&text).unwrap()
    }

    fn daemon(&self) -> i32 {
        let pids: Vec<_> = self.mounts().iter().map(|mount| mount["pid"].as_i64()).collect();
        let first = pids.first().copied().flatten().expect("a daemon with mounts");
        assert!(pids.iter().all(|pid| *pid == Some(first)), "one process has the store: {pids:?}");
        i32::try_from(first).unwrap()
    }

    /// The end of every test: no mount, no daemon, a clean store.
    fn finish(self) {
        self.run(&["umount", "--all"]).ok();
        assert!(self.mounts().is_empty());
        self.run(&["fsck"]).ok();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

const TWO: &str = "\
mounts:
- {mountpoint: a, tenant_id: acme, options: [noatime, noexec], transport: dev_fuse}
- {mountpoint: b, is_admin: true, read_only: true}
";

#[test]
fn all_that_the_configuration_names_is_mounted() {
    let place = Place::new();
    let none = place.run(&["mount", "--all"]);
    assert_eq!(none.code, 9);
    none.refused(&["'mounts' has no entries (the default)", "mounts:\n  - mountpoint: /mnt/nexus"]);

    place.configure(TWO);
    assert_eq!(place.run(&["mount", "--all", "c"]).code, 2);
    assert_eq!(place.run(&["mount"]).code, 2);
    place.run(&["--admin", "mount", "--all"]).refused(&["--admin with --all"]);
    place.run(&["mount", "--all"]).ok();
    let daemon = place.daemon();
    let [first, second] = place.mounts().try_into().unwrap();
    assert_eq!(first["mountpoint"].as_str(), place.path("a").to_str());
    assert_eq!(first["data_dir"].as_str(), place.path("data").to_str());
    assert_eq!((first["tenant_id"].as_str(), first["is_admin"].as_bool()), (Some("acme"), Some(false)));
    assert_eq!((first["read_only"].as_bool(), first["transport"].as_str()), (Some(false), Some("/dev/fuse")));
    assert!(first["since"].as_str().unwrap().ends_with('Z'), "{first}");
    assert_eq!((second["is_admin"].as_bool(), second["read_only"].as_bool()), (Some(true), Some(true)));
    assert!(options_of(&place.path("a")).contains("noexec"));
    // The tenant's own directories were made, and the administrator sees what it writes.
    shell(&place.path("a"), "echo mine > shared/acme/f");
    assert_eq!(
        shell(&place.path("b"), "cat shared/acme/f; ls system"),
        "mine\nconfig.yaml\nmetrics\nstatus.json\nversion\n"
    );

    // Again: what is there stays, what is missing comes.
    assert!(place.run(&["mount", "--all"]).ok().stderr.contains("everything is mounted already"));
    place.run(&["umount", "a"]).ok();
    place.run(&["mount", "-a"]).ok();
    assert_eq!(place.daemon(), daemon);
    assert_eq!(shell(&place.path("a"), "cat shared/acme/f"), "mine\n");
    // What is there and is to be something else is not passed over in silence.
    place.configure(&TWO.replace("acme", "globex"));
    let other = place.run(&["mount", "--all"]);
    assert_eq!(other.code, 8);
    other.refused(&["/a: in use", "for tenant acme, and is to be writable for tenant globex", "nexus umount"]);
    place.configure(TWO);
    place.finish();
}

#[test]
fn an_entry_that_cannot_be_is_named() {
    let place = Place::new();
    let wrong = format!("{TWO}- {{mountpoint: c, options: [noexek]}}\n");
    place.configure(&wrong);
    for arguments in [&["mount", "--all"][..], &["config", "check", "nexus.yaml"]] {
        let refused = place.run(arguments);
        assert_eq!(refused.code, 9);
        refused.refused(&["mounts[2] (", "/c): mount option 'noexek'", "did you mean 'noexec'?"]);
    }
    place.configure(&TWO.replace("mountpoint: b", "mountpoint: nowhere"));
    place.run(&["mount", "--all"]).refused(&["nowhere", "there is no such directory"]);
    assert!(!is_mounted(&place.path("a")), "all or none");
    place.finish();
}

#[test]
fn a_second_mount_joins_the_first() {
    let place = Place::new();
    place.run(&["mount", "a"]).ok();
    let daemon = place.daemon();
    let said = place.run(&["--tenant", "acme", "mount", "b", "-o", "noexec,cache_seconds=60,threads=1"]).ok().stderr;
    assert!(said.contains("locks taken through") && said.contains("/a do not hold here"), "{said}");
    assert_eq!(place.daemon(), daemon);
    assert!(options_of(&place.path("b")).contains("noexec"));
    shell(&place.path("b"), "echo joined > shared/acme/f");
    assert_eq!(shell(&place.path("a"), "cat shared/acme/f"), "joined\n");

    let again = place.run(&["mount", "b"]);
    assert_eq!(again.code, 8);
    again.refused(&["is mounted there already", "nexus umount"]);
    // All or none, here too.
    place.run(&["mount", "c", "data/cas"]).refused(&["it lies below the data directory"]);
    assert!(!is_mounted(&place.path("c")));
    // Other rules than those of the process that keeps them cannot be promised.
    place.configure("namespaces: [{name: secret, admin_only: true}]\n");
    let rules = place.run(&["mount", "c"]);
    assert_eq!(rules.code, 9);
    rules.refused(&["/c", "started with other namespaces", "nexus umount --all"]);
    place.configure("");

    place.run(&["umount", "a"]).ok();
    assert!(is_running(daemon) && !is_mounted(&place.path("a")));
    assert_eq!(shell(&place.path("b"), "cat shared/acme/f"), "joined\n");
    place.run(&["umount", "b"]).ok();
    assert!(!is_running(daemon));
    place.finish();
}

#[test]
fn in_the_foreground_a_joined_mount_is_waited_for() {
    let place = Place::new();
    place.run(&["mount", "a", "-o", "locks=store"]).ok();
    let daemon = place.daemon();
    let foreground = || {
        let mut child =
            place.command(&["mount", "-f", "b"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 1];
        let told =
            format!("nexus: process {daemon}, which has the store, serves the mount; waiting until it has gone\n");
        for byte in told.bytes() {
            // Not a line at a time: what follows belongs to the one who waits for the end.
            child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
            assert_eq!(char::from(said[0]), char::from(byte));
        }
        assert!(is_mounted(&place.path("b")));
        child
    };
    let child = foreground();
    place.run(&["umount", "b"]).ok();
    assert_eq!(ended(child), (0, String::new()));

    let child = foreground();
    signal(child.id(), Signal::INT);
    assert_eq!(ended(child), (0, String::new()));
    assert!(!is_mounted(&place.path("b")) && is_mounted(&place.path("a")));

    let child = foreground();
    let mut stays = Command::new("sleep").arg("60").current_dir(place.path("b")).spawn().unwrap();
    signal(child.id(), Signal::TERM);
    let (code, said) = ended(child);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("/b is in use: it goes when its last user has"), "{said}");
    stays.kill().unwrap();
    stays.wait().unwrap();

    wait_until("the mount in use has gone", 30, || place.mounts().len() == 1);
    let child = foreground();
    kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
    let (code, said) = ended(child);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("process {daemon}, which did, was killed")), "{said}");
    // What they were stands in the record.
    wait_until("they are dead", 30, || place.mounts().iter().all(|mount| mount["pid"].is_null()));
    assert!(place.mounts().iter().all(|mount| mount["since"].is_string()));
    place.finish();
}

#[test]
fn of_many_who_mount_at_once_one_serves_all() {
    let place = Place::new();
    let names: Vec<_> = (0..6).map(|number| format!("many{number}")).collect();
    names.iter().for_each(|name| fs::create_dir(place.path(name)).unwrap());
    let children: Vec<_> = names
        .iter()
        .map(|name| place.command(&["mount", name]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let (code, said) = ended(child);
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(place.mounts().len(), names.len());
    place.daemon();
    shell(&place.path("many0"), "echo x > f");
    assert!(names.iter().all(|name| fs::read(place.path(name).join("f")).unwrap() == b"x\n"));
    place.finish();
}

#[test]
fn a_store_that_another_command_has_is_waited_for_or_refused_with_its_name() {
    let place = Place::new();
    let mut other = Holder::of(&place.path("data/nexus.lock"));
    let refused = place.run(&["mount", "a"]);
    assert_eq!(refused.code, 8);
    refused.refused(&["is held by process", "(sleep 1000)", "wait until that process has ended"]);
    let waits = place.command(&["mount", "a"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    other.end();
    let (code, said) = ended(waits);
    assert_eq!(code, 0, "{said}");
    place.finish();
}

/// A program that holds the lock of a store.
struct Holder(Child);

impl Holder {
    fn of(lock: &Path) -> Self {
        let mut command = Command::new("flock");
        command.arg("--no-fork").arg(lock).args(["sleep", "1000"]).stdin(Stdio::null());
        let mut holder = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the lock is taken", 30, || {
            assert_eq!(holder.0.try_wait().unwrap(), None);
            let how = rustix::fs::FlockOperation::NonBlockingLockShared;
            fs::File::open(lock).is_ok_and(|file| rustix::fs::flock(&file, how).is_err())
        });
        holder
    }

    fn end(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

/// What mount(8) shows in parentheses.
fn options_of(mountpoint: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().rev().find(|line| line.split(' ').nth(1) == mountpoint.to_str());
    line.and_then(|line| line.split(' ').nth(3)).expect("it is mounted").to_owned()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// How a program ended that was started with its errors in a pipe, and what it said.
fn ended(mut child: Child) -> (i32, String) {
    wait_until("the command has ended", 60, || child.try_wait().unwrap().is_some());
    let outcome = child.wait_with_output().unwrap();
    (outcome.status.code().expect("no signal"), String::from_utf8(outcome.stderr).unwrap())
}

/// Nothing is left out of what a mount lists, until something is there that it may not see.
#[test]
fn what_comes_to_be_hidden_is_not_listed_by_who_saw_everything_before() {
    // By a kernel that keeps listings, and by one that opens each directory.
    what_comes_to_be_hidden("cache_seconds=60");
    what_comes_to_be_hidden("cache_seconds=0");
}

fn what_comes_to_be_hidden(options: &str) {
    let place = Place::new();
    place.configure("namespaces: [{name: vault, admin_only: true}]\n");
    place.run(&["mount", "a", "-o", options]).ok();
    place.run(&["--admin", "mount", "b"]).ok();
    let root = place.path("a");
    (0..HUNDREDS).for_each(|at| fs::write(root.join(format!("f{at}")), "").unwrap());
    let list = |directory: &mut Dir| {
        directory.rewind();
        directory.filter(|entry| !entry.as_ref().unwrap().file_name().to_bytes().starts_with(b".")).count()
    };
    let mut held = Dir::read_from(File::open(&root).unwrap().as_fd()).unwrap();
    let before = list(&mut held);
    assert_eq!(list(&mut held), before);
    let mut begun = Dir::read_from(File::open(&root).unwrap().as_fd()).unwrap();
    let some: Vec<_> = begun.by_ref().take(10).map(|entry| entry.unwrap().file_name().to_owned()).collect();
    fs::create_dir(place.path("b/vault")).unwrap();
    fs::write(place.path("b/last"), "").unwrap();
    assert!(shell(&place.path("b"), "ls").contains("vault\n"));

    assert_eq!(list(&mut held), before + 1);
    assert!(!shell(&root, "ls").contains("vault"));
    let mut seen: HashSet<_> = some.into_iter().collect();
    for entry in begun {
        assert!(seen.insert(entry.unwrap().file_name().to_owned()), "an entry came twice");
    }
    assert!(!seen.contains(c"vault"));
    assert!((0..HUNDREDS).all(|at| seen.contains(CString::new(format!("f{at}")).unwrap().as_c_str())));
    drop(held);
    place.finish();
}
