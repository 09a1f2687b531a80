//! Commands: run within a limit, and judged by exit code and words.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// After this long a command of nexus is taken to hang.
const COMMAND_SECONDS_MAX: u64 = 120;

/// The binary under test.
pub(crate) fn nexus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nexus"))
}

/// A program that the tests need, in PATH or where cargo installs.
pub(crate) fn tool(name: &str) -> Command {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let installed = cargo_home.map(|home| home.join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .chain(installed)
        .chain([Path::new("/usr/sbin").join(name)])
        .find(|candidate| candidate.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{name} is not installed; scripts/test installs it")))
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; that of a signal as a shell shows it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
}

impl Outcome {
    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{} failed\n{}{}", self.shown, self.stdout, self.stderr);
        self
    }

    /// It must have refused, in words a user can act on: each of `words` is there, and nothing that only a programmer can read.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) -> Self {
        assert_ne!(self.code, 0, "{} succeeded\n{}", self.shown, self.stdout);
        assert!(self.code < 101, "{} crashed with {}\n{}", self.shown, self.code, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{}: the message does not say `{word}`:\n{}", self.shown, self.stderr);
        }
        for noise in ["panicked", "RUST_BACKTRACE", "Error {", "unwrap"] {
            assert!(!self.stderr.contains(noise), "{}: `{noise}` in a message for users:\n{}", self.shown, self.stderr);
        }
        self
    }
}

/// Runs a command to its end, or kills it when it hangs. Output goes through files: a daemon that keeps its parent's descriptors open must
/// not make this wait.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Outcome {
    run_within(command, COMMAND_SECONDS_MAX)
}

/// The same with a limit of its own, for programs that have much to do.
#[track_caller]
pub(crate) fn run_within(command: &mut Command, seconds_max: u64) -> Outcome {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let deadline = Instant::now() + Duration::from_secs(seconds_max);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{shown} hangs: killed after {seconds_max} s\n{}", text(&mut stderr));
        }
        thread::sleep(Duration::from_millis(3));
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    Outcome {
        code: status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
        shown,
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs a shell script in `dir` with `set -eu`; it must succeed. What it printed is the result.
#[track_caller]
pub(crate) fn shell(dir: &Path, script: &str) -> String {
    let script = format!("set -eu\n{script}");
    run(Command::new("bash").arg("-c").arg(script).current_dir(dir)).ok().stdout
}

/// Waits for what happens in the background, and fails when it does not.
#[track_caller]
pub(crate) fn wait_until(what: &str, seconds_max: u64, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds_max);
    while !holds() {
        assert!(Instant::now() < deadline, "not within {seconds_max} s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
