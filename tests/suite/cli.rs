//! The command line against the real binary: what it says, how it exits, and the life of a mount from outside.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything that happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory for one test, with a `mnt` in it; what was mounted below it is gone at its end.
struct Place {
    directory: TempDir,
}

/// How a command ended.
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

impl Outcome {
    /// Insists on the exit code and on words among the errors.
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        let Self { code: actual, out, err } = &self;
        assert_eq!(*actual, code, "stdout: {out}\nstderr: {err}");
        for word in words {
            assert!(err.contains(word), "'{word}' is not in: {err}");
        }
        self
    }

    /// Insists on success without a word of error.
    #[track_caller]
    fn fine(self) -> Self {
        let outcome = self.expect(0, &[]);
        assert_eq!(outcome.err, "");
        outcome
    }
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("mnt")).unwrap();
        Self { directory }
    }

    /// With an empty store in `nexus-data`.
    fn with_store() -> Self {
        let place = Self::new();
        place.run(&["init"]).fine();
        place
    }

    /// With that store mounted on `mnt`.
    fn mounted() -> Self {
        let place = Self::with_store();
        place.run(&["mount", "mnt"]).fine();
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(below)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        for (name, _) in std::env::vars_os() {
            if name.as_bytes().starts_with(b"NEXUS_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(&self.directory).env("HOME", self.path("home"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(&mut self.command(arguments))
    }

    /// The daemon, as its record names it.
    fn daemon(&self) -> u32 {
        let record = fs::read_to_string(self.path("nexus-data/nexus.pid")).unwrap();
        record.lines().next().unwrap().parse().unwrap()
    }

    fn is_mounted(&self) -> bool {
        mounts_below(self.directory.path()) > 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Mounts can lie on top of each other.
        for _ in 0..8 {
            if !self.is_mounted() {
                break;
            }
            for name in ["mnt", "mnt2", "mount point"] {
                let mut umount = Command::new("umount");
                umount.arg("-l").arg(self.directory.path().join(name)).stderr(Stdio::null());
                drop(umount.status());
            }
        }
    }
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Outcome {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn mounts_below(directory: &Path) -> usize {
    let directory = directory.canonicalize().unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(directory.to_str().unwrap())).count()
}

/// Whether a process has ended with all its threads; one that only waits for its parent to take note has.
fn has_ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads <= 1 && stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// A process that works in a directory until it is dropped.
struct Resident(Child);

impl Resident {
    fn of(directory: &Path) -> Self {
        let child = Command::new("sleep").arg("1000").current_dir(directory).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

// What was typed.

#[test]
fn help_and_version_are_results() {
    let place = Place::new();
    let version = concat!("nexus ", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.run(&["version"]).fine().out, format!("{version} (store format {})\n", nexus::meta::FORMAT));
    assert_eq!(place.run(&["--version"]).fine().out, format!("{version}\n"));
    assert!(place.run(&["--help"]).fine().out.contains("Exit codes"));
    assert!(place.run(&["mount", "--help"]).fine().out.contains("cache_seconds=N"));
    assert!(place.run(&["fsck", "--help"]).fine().out.contains("--repair"));
}

#[test]
fn wrong_usage_is_2_and_of_fsck_16() {
    let place = Place::new();
    place.run(&[]).expect(2, &["Usage"]);
    place.run(&["mout"]).expect(2, &["mount"]);
    place.run(&["mount"]).expect(2, &["MOUNTPOINT"]);
    place.run(&["umount", "a", "b"]).expect(2, &[]);
    place.run(&["fsck", "--mend"]).expect(16, &["--mend"]);
    let option = |words| place.run(&["mount", "mnt", "-o", words]);
    option("ro,alow_other").expect(2, &["alow_other", "hint: did you mean 'allow_other'?"]);
    option("fsname=mine").expect(2, &["always nexus:DATA_DIR"]);
    option("cache_seconds=soon").expect(2, &["cache_seconds=soon"]);
}

#[test]
fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
    let place = Place::new();
    // true(1) has ended before the sleep has.
    let script = "(sleep 0.1; \"$0\" version; echo $? >code) | true; cat code";
    let mut piped = Command::new("sh");
    piped.args(["-c", script, env!("CARGO_BIN_EXE_nexus")]).current_dir(place.path(""));
    assert_eq!(outcome(&mut piped).fine().out, "0\n");

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = place.command(&["version"]).stdout(full).stderr(Stdio::null()).status();
    assert_eq!(status.unwrap().code(), Some(6));
}

// Configuration.

#[test]
fn a_configuration_that_cannot_be_honoured_stops_every_command() {
    let place = Place::new();
    let write = |text: &str| fs::write(place.path("nexus.yaml"), text).unwrap();
    write("mode: remote\n");
    place.run(&["mount", "mnt"]).expect(9, &["mode", "nexus.yaml", "hint:"]);
    place.run(&["init"]).expect(9, &["mode"]);
    place.run(&["fsck"]).expect(8, &["mode"]);
    write("data_dri: x\n");
    place.run(&["mount", "mnt"]).expect(9, &["data_dri", "hint: did you mean 'data_dir'?"]);
    write("data_dir: x\n");
    let mode = fs::Permissions::from_mode(0o666);
    fs::set_permissions(place.path("nexus.yaml"), mode).unwrap();
    place.run(&["mount", "mnt"]).expect(9, &["others can write it", "hint: if you trust it"]);
    fs::remove_file(place.path("nexus.yaml")).unwrap();

    outcome(place.command(&["init"]).env("NEXUS_IS_ADMIN", "perhaps")).expect(9, &["NEXUS_IS_ADMIN"]);
    assert!(!place.path("nexus-data").exists());
}

#[test]
fn the_store_is_found_where_the_nearest_source_says() {
    let place = Place::new();
    fs::write(place.path("nexus.yaml"), "data_dir: ${WHERE:-from-file}\n").unwrap();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.path("nexus.yaml"), mode).unwrap();
    place.run(&["init"]).fine();
    outcome(place.command(&["init"]).env("NEXUS_DATA_DIR", "from-environment")).fine();
    outcome(place.command(&["init", "from-argument"]).env("NEXUS_DATA_DIR", "x")).fine();
    for store in ["from-file", "from-environment", "from-argument"] {
        place.run(&["fsck", store]).fine();
    }
}

// Stores.

#[test]
fn init_makes_a_store_once_and_only_in_an_empty_place() {
    let place = Place::new();
    let data_dir = place.path("nexus-data");
    assert!(place.run(&["init"]).fine().out.contains(data_dir.to_str().unwrap()));
    place.run(&["init"]).expect(5, &["hint: to use it: nexus mount"]);
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/file"), "").unwrap();
    place.run(&["init", "full"]).expect(5, &["full", "hint:"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.run(&["init", "empty"]).fine();
}

#[test]
fn fsck_has_the_exit_codes_of_fsck_8() {
    let place = Place::with_store();
    assert!(place.run(&["fsck"]).fine().out.ends_with(": clean\n"));
    assert!(place.run(&["fsck", "--repair"]).fine().out.ends_with(": clean\n"));
    place.run(&["fsck", "none"]).expect(8, &["none", "hint:"]);
    place.run(&["mount", "mnt"]).fine();
    let (daemon, mountpoint) = (place.daemon().to_string(), place.path("mnt"));
    let hint = format!("hint: it is mounted: nexus umount {}", mountpoint.display());
    place.run(&["fsck"]).expect(8, &[&daemon, &hint]);
}

// What is refused before a mount is attempted.

#[test]
fn a_mount_needs_a_store_and_leaves_nothing_where_there_is_none() {
    let place = Place::new();
    place.run(&["mount", "mnt"]).expect(3, &["there is no store in", "hint:", "nexus init"]);
    assert!(!place.path("nexus-data").exists());
    fs::create_dir(place.path("empty")).unwrap();
    place.run(&["mount", "mnt", "--data-dir", "empty"]).expect(3, &["nexus init"]);
    assert_eq!(fs::read_dir(place.path("empty")).unwrap().count(), 0);
    assert!(!place.is_mounted());
}

#[test]
fn a_mountpoint_is_a_directory_apart_from_the_store() {
    let place = Place::new();
    fs::create_dir_all(place.path("above/store/below")).unwrap();
    fs::write(place.path("file"), "").unwrap();
    let mount = |mountpoint| place.run(&["mount", mountpoint, "--data-dir", "above/store"]);
    mount("none").expect(3, &["none", "hint: to make it: mkdir -p none"]);
    mount("file").expect(1, &["only a directory"]);
    mount("above/store").expect(2, &["the data directory itself"]);
    mount("above/store/below").expect(2, &["below the data directory"]);
    mount("above").expect(2, &["would be hidden"]);
    mount("above/store/../../above").expect(2, &["would be hidden"]);
}

#[test]
fn a_store_and_a_mountpoint_are_taken_once() {
    let place = Place::mounted();
    fs::create_dir(place.path("mnt2")).unwrap();
    let daemon = place.daemon();
    place.run(&["mount", "mnt"]).expect(8, &["nexus-data is mounted there already"]);
    // Another place is one more mount of the same process.
    place.run(&["mount", "mnt2", "-o", "locks=local"]).fine();
    assert_eq!(place.daemon(), daemon);
    place.run(&["umount", "mnt2"]).fine();
    place.run(&["fsck"]).expect(8, &[&daemon.to_string(), "hint: it is mounted: nexus umount"]);
    place.run(&["init", "other"]).fine();
    let taken = place.run(&["mount", "mnt", "--data-dir", "other"]);
    taken.expect(8, &["nexus-data is mounted there already"]);
    // The refused attempts did no harm.
    fs::write(place.path("mnt/file"), "still there").unwrap();
    place.run(&["umount", "mnt"]).fine();
    place.run(&["fsck"]).fine();
}

// The life of a mount.

#[test]
fn a_mount_answers_and_an_unmount_leaves_nothing_behind() {
    let place = Place::mounted();
    fs::write(place.path("mnt/file"), "kept").unwrap();
    let daemon = place.daemon();
    assert!(!has_ended(daemon));
    place.run(&["umount", "mnt"]).fine();
    assert!(has_ended(daemon), "umount returned before the daemon was gone");
    assert!(!place.path("nexus-data/nexus.pid").exists());
    assert_eq!(fs::read_dir(place.path("mnt")).unwrap().count(), 0);
    place.run(&["fsck"]).fine();

    place.run(&["mount", "mnt"]).fine();
    assert_eq!(fs::read_to_string(place.path("mnt/file")).unwrap(), "kept");
    // 'unmount' is what a hand types.
    place.run(&["unmount", "mnt"]).fine();
}

#[test]
fn df_shows_the_store_and_the_type() {
    let place = Place::mounted();
    let mut df = Command::new("df");
    df.args(["--output=source,fstype"]).arg(place.path("mnt"));
    let shown = outcome(&mut df).fine().out;
    let source = format!("nexus:{}", place.path("nexus-data").display());
    let fields: Vec<_> = shown.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(fields, [source.as_str(), "fuse.nexus"]);
}

#[test]
fn names_that_the_mount_table_escapes_are_found_again() {
    let place = Place::new();
    let data_dir = "data dir\twith\\040#, all";
    fs::create_dir(place.path("mount point")).unwrap();
    place.run(&["init", data_dir]).fine();
    place.run(&["mount", "mount point", "--data-dir", data_dir]).fine();
    let record = place.path(data_dir).join("nexus.pid");
    assert!(record.exists());
    place.run(&["umount", "mount point"]).fine();
    assert!(!record.exists());
}

#[test]
fn the_daemon_keeps_nothing_of_its_starter() {
    let place = Place::with_store();
    // A descriptor without close-on-exec, as a shell leaves it with `exec 9<file`.
    let script = "exec 9</etc/passwd; \"$0\" mount mnt";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_nexus")]).current_dir(place.path(""));
    outcome(shell.env("HOME", place.path("home"))).fine();

    let process = PathBuf::from(format!("/proc/{}", place.daemon()));
    let link = |name: &str| fs::read_link(process.join(name)).unwrap();
    assert_eq!(link("cwd"), Path::new("/"));
    assert_eq!(link("fd/0"), Path::new("/dev/null"));
    assert_eq!(link("fd/1"), place.path("nexus-data/nexus.log"));
    assert_eq!(link("fd/2"), place.path("nexus-data/nexus.log"));
    for descriptor in fs::read_dir(process.join("fd")).unwrap() {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap();
        assert_ne!(target, Path::new("/etc/passwd"));
    }
    let stat = fs::read_to_string(process.join("stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Fields 6 and 7 of proc_pid_stat(5): a session of its own, and no terminal.
    assert_eq!(fields[3..5], [place.daemon().to_string().as_str(), "0"]);
    let log = fs::metadata(place.path("nexus-data/nexus.log")).unwrap();
    assert_eq!(log.mode() & 0o777, 0o600);
}

#[test]
fn mount_options_reach_the_kernel() {
    let place = Place::with_store();
    let shown = |arguments: &[&str]| {
        place.run(&[&["mount", "mnt"], arguments].concat()).fine();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mnt = place.path("mnt");
        let line = table.lines().find(|line| line.contains(mnt.to_str().unwrap())).unwrap();
        place.run(&["umount", "mnt"]).fine();
        line.replace(' ', ",").split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |shown: &[String], word: &str| shown.iter().any(|option| option == word);
    let plain = shown(&[]);
    assert!(["rw", "nosuid", "nodev"].iter().all(|word| has(&plain, word)), "{plain:?}");
    assert!(!has(&plain, "allow_other") && !has(&plain, "noexec"), "{plain:?}");
    let other = shown(&["--allow-other", "-o", "suid,dev,noexec", "-o", "noatime,nofail,x-a=b"]);
    assert!(["allow_other", "noexec", "noatime"].iter().all(|word| has(&other, word)), "{other:?}");
    assert!(!has(&other, "nosuid") && !has(&other, "nodev"), "{other:?}");
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let place = Place::mounted();
    fs::write(place.path("mnt/file"), "kept").unwrap();
    place.run(&["umount", "mnt"]).fine();
    place.run(&["mount", "mnt", "--read-only"]).fine();
    assert_eq!(fs::read_to_string(place.path("mnt/file")).unwrap(), "kept");
    let error = fs::write(place.path("mnt/new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    place.run(&["umount", "mnt"]).fine();
}

#[test]
fn unmounting_what_is_not_ours_is_refused() {
    let place = Place::new();
    place.run(&["umount", "mnt"]).expect(3, &["nothing is mounted there"]);
    place.run(&["umount", "none"]).expect(3, &["no such directory"]);
    place.run(&["umount", "/proc"]).expect(2, &["no mount of nexus, but of type proc"]);
    assert!(Path::new("/proc/self").exists());
}

#[test]
fn a_mount_in_use_stays_unless_lazily_unmounted() {
    let place = Place::mounted();
    let daemon = place.daemon();
    let resident = Resident::of(&place.path("mnt"));
    let who = format!("sleep ({})", resident.0.id());
    place.run(&["umount", "mnt"]).expect(8, &[&who, "hint:", "--lazy"]);
    fs::write(place.path("mnt/file"), "kept").unwrap();

    let lazy = place.command(&["umount", "--lazy", "mnt"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the name is gone", || !place.is_mounted());
    assert!(!has_ended(daemon), "it still has a user");
    drop(resident);
    assert!(lazy.wait_with_output().unwrap().status.success());
    assert!(has_ended(daemon));
    place.run(&["fsck"]).fine();
    place.run(&["mount", "mnt"]).fine();
    assert_eq!(fs::read_to_string(place.path("mnt/file")).unwrap(), "kept");
}

#[test]
fn a_signal_does_what_an_unmount_does() {
    for name in ["-TERM", "-INT"] {
        let place = Place::mounted();
        fs::write(place.path("mnt/file"), "kept").unwrap();
        let daemon = place.daemon();
        signal(daemon, name);
        eventually("the daemon is gone", || has_ended(daemon));
        assert!(!place.is_mounted());
        assert!(!place.path("nexus-data/nexus.pid").exists());
        place.run(&["fsck"]).fine();
        place.run(&["mount", "mnt"]).fine();
        assert_eq!(fs::read_to_string(place.path("mnt/file")).unwrap(), "kept");
    }
}

#[test]
fn a_signal_ends_a_mount_in_use_and_a_second_one_ends_it_now() {
    for signals in 1..=2 {
        let place = Place::mounted();
        let daemon = place.daemon();
        let _resident = Resident::of(&place.path("mnt"));
        signal(daemon, "-TERM");
        eventually("the name is gone", || !place.is_mounted());
        let start = Instant::now();
        if signals == 2 {
            signal(daemon, "-TERM");
        }
        eventually("the daemon is gone", || has_ended(daemon));
        // Its users are given ten seconds.
        assert_eq!(start.elapsed() < Duration::from_secs(8), signals == 2);
        assert!(!place.path("nexus-data/nexus.pid").exists());
        place.run(&["fsck"]).fine();
    }
}

#[test]
fn in_the_foreground_it_ends_with_an_interrupt() {
    let place = Place::with_store();
    let mut daemon = place.command(&["mount", "-f", "mnt"]).spawn().unwrap();
    eventually("it is mounted", || place.path("nexus-data/nexus.pid").exists());
    fs::write(place.path("mnt/file"), "kept").unwrap();
    assert_eq!(place.daemon(), daemon.id());
    signal(daemon.id(), "-INT");
    assert!(daemon.wait().unwrap().success());
    assert!(!place.is_mounted());
    assert!(!place.path("nexus-data/nexus.log").exists());
}

#[test]
fn a_dead_mount_is_cleared_by_the_next_one() {
    let place = Place::mounted();
    let daemon = place.daemon();
    // So that the kernel has attributes of the root, which it goes on believing.
    fs::metadata(place.path("mnt")).unwrap();
    signal(daemon, "-KILL");
    eventually("the daemon is gone", || has_ended(daemon));
    let error = fs::read_dir(place.path("mnt")).unwrap_err().raw_os_error();
    // The kernel gives the others to whoever comes while it ends the connection, and the rings.
    assert!([Some(libc::ENOTCONN), Some(libc::ECONNABORTED), Some(libc::ECANCELED)].contains(&error), "{error:?}");

    place.run(&["mount", "mnt"]).expect(0, &["clearing the dead mount"]);
    fs::write(place.path("mnt/file"), "").unwrap();
    assert_eq!(mounts_below(&place.path("mnt")), 1);
    place.run(&["umount", "mnt"]).fine();
    assert!(!place.is_mounted());
}

#[test]
fn a_dead_mount_is_unmounted_with_a_word_about_it() {
    let place = Place::mounted();
    let daemon = place.daemon();
    signal(daemon, "-KILL");
    eventually("the daemon is gone", || has_ended(daemon));
    place.run(&["umount", "mnt"]).expect(0, &["had been killed"]);
    assert!(!place.is_mounted());
}

#[test]
fn a_daemon_killed_before_it_was_done_is_reported() {
    let place = Place::mounted();
    let daemon = place.daemon();
    // Stopped, it cannot finish.
    signal(daemon, "-STOP");
    let umount = place.command(&["umount", "mnt"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the name is gone", || !place.is_mounted());
    signal(daemon, "-KILL");
    let output = umount.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("process {daemon} was killed")), "{said}");
    assert!(said.contains("hint: what was fsynced is safe"), "{said}");
}

/// Everything an ordinary user does, in a mount namespace of its own, in which /dev/fuse is open to all as udev(7) makes
/// it: containers often have it otherwise, and a test does not change the machine.
const ORDINARY_USER: &str = r#"
set -eu
mkdir dev
mount -t tmpfs -o dev,mode=755 tmpfs dev
mknod -m 666 dev/fuse c 10 229
mount --bind dev/fuse /dev/fuse
cd home
trap 'if mountpoint -q mnt; then umount -l mnt; fi' EXIT
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME="$PWD" "$@"; }
nobody ../nexus init
nobody ../nexus mount mnt
nobody sh -c 'echo kept >mnt/file && cat mnt/file'
nobody df --output=fstype mnt
nobody ../nexus umount mnt
nobody ../nexus fsck
if nobody ../nexus mount -o suid mnt; then exit 99; fi
chmod 600 /dev/fuse
if nobody ../nexus mount mnt; then exit 99; fi
! grep "$PWD/mnt" /proc/self/mountinfo
"#;

#[test]
fn an_ordinary_user_mounts_through_fusermount3() {
    let place = Place::new();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path(""), mode).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_nexus"), place.path("nexus")).unwrap();
    for path in [place.path("home"), place.path("home/mnt")] {
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", ORDINARY_USER]);
    let ended = outcome(unshare.current_dir(place.path("")));
    let ended = ended.expect(0, &["root only", "chmod 666 /dev/fuse"]);
    assert!(ended.out.contains("kept\n") && ended.out.contains("fuse.nexus"), "{}", ended.out);
    assert!(ended.out.ends_with(": clean\n"), "{}", ended.out);
}
