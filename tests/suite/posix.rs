//! Two public suites on the mount: pjdfstest (errors, modes, owners, times of every call) and fsx (random operations on one file against a
//! copy in memory).

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::harness::{Mounted, Outcome, run_within, tool};

/// The users it switches between are `nobody` and `tests`; naptime is longer than the tick that file times are taken from.
const PJDFSTEST_CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.02
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["tests", "tests"]]
"#;

const PJDFSTEST_TOTAL: usize = 398;
/// ext4 passes 385 in this configuration. The tests that remount read-only are skipped there and here, and here also the one that needs
/// to know how many links a file can have, which FUSE has no way to tell.
const PJDFSTEST_PASSED: usize = 384;

#[test]
fn pjdfstest_passes_with_the_usual_caches() {
    pjdfstest("dev_fuse", "dev,suid");
}

#[test]
fn pjdfstest_passes_over_io_uring() {
    pjdfstest("io_uring", "dev,suid");
}

#[test]
fn pjdfstest_passes_without_caches() {
    pjdfstest("dev_fuse", "dev,suid,cache_seconds=0");
}

fn pjdfstest(transport: &str, options: &str) {
    let mounted = Mounted::over(transport, &["--allow-other", "-o", options]);
    let configuration = mounted.base().join("pjdfstest.toml");
    fs::write(&configuration, PJDFSTEST_CONFIGURATION).unwrap();
    let outcome = run_within(
        tool("pjdfstest")
            .arg("-c")
            .arg(&configuration)
            .arg("-p")
            .arg(mounted.root())
            .arg("-s")
            .arg(mounted.outside())
            .env("NO_COLOR", "1"),
        300,
    );
    let counts = PjdfstestCounts::of(&outcome);
    println!(
        "pjdfstest with {options}: {} passed, {} skipped, {} failed",
        counts.passed,
        counts.skipped,
        counts.failed.len()
    );
    assert!(counts.failed.is_empty(), "pjdfstest with {options} failed:\n{}", counts.failed.join("\n"));
    assert_eq!(counts.passed + counts.skipped, PJDFSTEST_TOTAL, "{}{}", outcome.stdout, outcome.stderr);
    assert!(counts.passed >= PJDFSTEST_PASSED, "skipped:\n{}", counts.skipped_names.join("\n"));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    mounted.finish();
}

/// What pjdfstest's lines say: a name and a verdict each, reasons on indented lines below.
struct PjdfstestCounts {
    passed: usize,
    skipped: usize,
    skipped_names: Vec<String>,
    /// Name and reason.
    failed: Vec<String>,
}

impl PjdfstestCounts {
    fn of(outcome: &Outcome) -> Self {
        let mut counts = Self { passed: 0, skipped: 0, skipped_names: Vec::new(), failed: Vec::new() };
        let mut lines = outcome.stdout.lines().peekable();
        while let Some(line) = lines.next() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(verdict)) = (words.next(), words.next()) else {
                continue;
            };
            match verdict {
                "ok" => counts.passed += 1,
                "skipped" => {
                    counts.skipped += 1;
                    counts.skipped_names.push(name.to_owned());
                }
                "FAILED" => {
                    let reason = lines.next_if(|next| next.starts_with('\t')).unwrap_or_default();
                    counts.failed.push(format!("{name}: {}", reason.trim()));
                }
                _ => {}
            }
        }
        counts
    }
}

/// Reopening lets bodies be sealed and taken back in between; every way to change a file that fsx knows is on.
const FSX_CONFIGURATION: &str = "
flen = 600000

[opsize]
max = 65536

[weights]
close_open = 2
invalidate = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 5
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 2
punch_hole = 2
sendfile = 2
posix_fadvise = 1
copy_file_range = 3
";

const FSX_SEEDS: [u64; 4] = [1, 22, 333, 4444];
const FSX_OPERATIONS_EACH: u64 = 50_000;

#[test]
fn fsx_finds_no_mismatch_with_passthrough() {
    fsx("io_uring", &[]);
}

#[test]
fn fsx_finds_no_mismatch_without_passthrough() {
    fsx("dev_fuse", &["-o", "no_passthrough"]);
}

#[test]
fn fsx_finds_no_mismatch_over_io_uring() {
    fsx("io_uring", &["-o", "no_passthrough"]);
}

fn fsx(transport: &str, arguments: &[&str]) {
    let mounted = Mounted::over(transport, arguments);
    let configuration = mounted.base().join("fsx.toml");
    fs::write(&configuration, FSX_CONFIGURATION).unwrap();
    let start = |seed: u64| -> Child {
        let log = fs::File::create(mounted.outside().join(format!("{seed}.log"))).unwrap();
        command_of_fsx()
            .arg("-f")
            .arg(&configuration)
            .args(["-N", &FSX_OPERATIONS_EACH.to_string(), "-S", &seed.to_string()])
            .arg("-P")
            .arg(mounted.outside())
            .arg(mounted.path(&format!("fsx-{seed}")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    };
    // All are started before the first is waited for.
    let running: Vec<_> = FSX_SEEDS.map(|seed| (seed, start(seed))).into_iter().collect();
    let mut mismatches = Vec::new();
    for (seed, mut child) in running {
        if !child.wait().unwrap().success() {
            let log = fs::read_to_string(mounted.outside().join(format!("{seed}.log"))).unwrap();
            let lines: Vec<_> = log.lines().collect();
            mismatches.push(format!("seed {seed}:\n{}", lines[lines.len().saturating_sub(25)..].join("\n")));
        }
    }
    assert!(mismatches.is_empty(), "fsx with {arguments:?}:\n{}", mismatches.join("\n"));
    mounted.finish();
}

fn command_of_fsx() -> Command {
    let mut fsx = tool("fsx");
    fsx.env_remove("RUST_LOG");
    fsx
}
