//! Counters: what programs do shows in them, in `nexus stats` and in `/system/metrics`, over both transports.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Mounted, Outcome, TRANSPORTS, bytes, nexus, run, scratch, unmount_below, wait_until};

/// Above the size up to which bodies are kept in the database and drafts in memory.
const BIG: usize = 300_000;

fn stats(data_dir: &Path, arguments: &[&str]) -> Outcome {
    run(nexus().arg("stats").arg("--data-dir").arg(data_dir).args(arguments))
}

fn look(data_dir: &Path) -> Value {
    serde_json::from_str(&stats(data_dir, &["--json"]).ok().stdout).unwrap()
}

/// The number at a place in JSON, 0 where nothing was counted.
fn number(counters: &Value, place: &str) -> u64 {
    counters.pointer(place).map_or(0, |value| value.as_u64().unwrap())
}

/// How many requests of a kind came on one way.
fn requests(counters: &Value, transport: &str, kind: &str) -> u64 {
    number(counters, &format!("/mounts/0/requests/{transport}/{kind}/count"))
}

/// Where the kernel knows sleeping states of its processors, they are kept awake while requests come densely.
#[test]
fn a_burst_of_requests_keeps_processors_awake() {
    let can = Path::new("/sys/devices/system/cpu/cpu0/cpuidle").exists() && Path::new("/dev/cpu_dma_latency").exists();
    for (options, expected) in [("low_latency", can), ("no_low_latency", false)] {
        let mounted = Mounted::with(&["-o", options]);
        let root = mounted.root().to_owned();
        let kept = |mounted: &Mounted| number(&look(&mounted.data_dir()), "/mounts/0/kept_awake");
        // However slow the machine: many together are dense, sooner or later, and the last burst has to end to count.
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            (0..200).for_each(|at| drop(fs::metadata(root.join(format!("nobody-{at}-{:?}", Instant::now())))));
            let kept = kept(&mounted) > 0;
            assert!(expected || !kept, "{options}");
            if kept || !expected {
                break;
            }
            assert!(Instant::now() < deadline, "2,000 requests a second were never reached");
        }
        mounted.finish();
    }
}

/// Each change in a directory makes the kernel forget its mode bits, and ask for them before the next.
#[test]
fn without_the_checks_of_the_kernel_nobody_asks_for_mode_bits() {
    for transport in TRANSPORTS {
        for (options, asks) in [("default_permissions", true), ("no_default_permissions", false)] {
            let mounted = Mounted::over(transport, &["-o", options]);
            (0..20).for_each(|at| drop(File::create(mounted.path(&format!("f{at}"))).unwrap()));
            let counters = look(&mounted.data_dir());
            assert_eq!(requests(&counters, transport, "create"), 20, "{counters}");
            assert_eq!(requests(&counters, transport, "getattr") >= 19, asks, "{options}: {counters}");
            mounted.finish();
        }
    }
}

/// The kernel opens directories by itself and keeps their listings; what was not listed before is asked for.
#[test]
fn a_tree_that_was_walked_is_walked_again_without_a_request() {
    for transport in TRANSPORTS {
        let mounted = Mounted::over(transport, &[]);
        for directory in 0..5 {
            fs::create_dir(mounted.path(&format!("d{directory}"))).unwrap();
            (0..50).for_each(|at| drop(File::create(mounted.path(&format!("d{directory}/f{at}"))).unwrap()));
        }
        let walk = || {
            for directory in 0..5 {
                let path = mounted.path(&format!("d{directory}"));
                assert_eq!(
                    fs::read_dir(path).unwrap().filter(|entry| entry.as_ref().unwrap().metadata().is_ok()).count(),
                    50
                );
            }
        };
        let asked = || {
            let counters = look(&mounted.data_dir());
            let count = |kind| requests(&counters, transport, kind);
            (count("opendir"), count("readdirplus"), count("lookup"), count("getattr"))
        };
        walk();
        assert_eq!(asked().0, 1, "one to learn that it need not ask");
        walk();
        // Having read a directory has changed its access time, which opendir(3) asks for along with the rest.
        let before = asked();
        walk();
        assert_eq!(asked(), before);
        mounted.finish();
    }
}

/// A small body comes along with the opening, where to have read it makes no difference to the access time.
#[test]
fn a_small_file_is_read_without_a_request_for_its_body() {
    for transport in TRANSPORTS {
        for noatime in [true, false] {
            let mut mounted = Mounted::over(transport, if noatime { &["-o", "noatime"] } else { &[] });
            let sizes = [1, 4096, 16_384, 16_385];
            let reads = |mounted: &Mounted| {
                for (seed, size) in sizes.into_iter().enumerate() {
                    let read = fs::read(mounted.path(&format!("f{size}"))).unwrap();
                    assert!(read == bytes(seed as u64, size), "{size} over {transport}");
                }
                let counters = look(&mounted.data_dir());
                (requests(&counters, transport, "read"), number(&counters, "/mounts/0/bodies_given"))
            };
            for (seed, size) in sizes.into_iter().enumerate() {
                fs::write(mounted.path(&format!("f{size}")), bytes(seed as u64, size)).unwrap();
            }
            // Nothing is given of a file that somebody has open, and a close is heard of later.
            let open = |mounted: &Mounted| number(&look(&mounted.data_dir()), "/now/open_handles");
            wait_until("all is closed", 60, || open(&mounted) == 0);
            // The first read after a change counts, with relatime, and has to be seen.
            let (asked, given) = reads(&mounted);
            assert_eq!(given, if noatime { 3 } else { 0 }, "over {transport}, {asked} asked for");
            assert_eq!(asked >= 3, !noatime, "over {transport}: {asked}");
            assert_eq!(reads(&mounted), (asked, given), "what is there is neither asked for nor given again");
            mounted.remount();
            let (asked, given) = reads(&mounted);
            assert_eq!((asked <= 1, given), (true, 3), "over {transport}, {asked} asked for");
            mounted.finish();
        }
    }
}

#[test]
fn requests_are_counted_one_by_one() {
    for transport in TRANSPORTS {
        let mut mounted = Mounted::over(transport, &["-o", "no_passthrough"]);
        let sizes = [10, 1000, 5000, 20_000, 100_000];
        for (at, size) in sizes.iter().enumerate() {
            File::create(mounted.path(&format!("f{at}"))).unwrap().write_all(&bytes(at as u64, *size)).unwrap();
        }
        fs::create_dir(mounted.path("full")).unwrap();
        fs::create_dir(mounted.path("full/below")).unwrap();
        fs::remove_dir(mounted.path("full")).unwrap_err();
        fs::rename(mounted.path("f0"), mounted.path("g0")).unwrap();
        fs::hard_link(mounted.path("f1"), mounted.path("full/f1")).unwrap();
        symlink("f1", mounted.path("link")).unwrap();
        fs::remove_file(mounted.path("f1")).unwrap();
        fs::remove_file(mounted.path("link")).unwrap();
        for value in ["1", "2", "3"] {
            xattr::set(mounted.path("g0"), "user.key", value.as_bytes()).unwrap();
        }
        File::open(mounted.path("f2")).unwrap().sync_all().unwrap();

        let counters = look(&mounted.data_dir());
        let expected = [
            ("create", 5),
            ("write", 5),
            ("mkdir", 2),
            ("rmdir", 1),
            ("link", 1),
            ("symlink", 1),
            ("unlink", 2),
            ("setxattr", 3),
            ("fsync", 1),
            ("removexattr", 0),
        ];
        for (kind, count) in expected {
            assert_eq!(requests(&counters, transport, kind), count, "{kind} over {transport}: {counters}");
        }
        assert_eq!(requests(&counters, transport, "rename"), 1, "{counters}");
        assert_eq!(number(&counters, "/mounts/0/bytes_written"), sizes.iter().sum::<usize>() as u64);
        assert_eq!(number(&counters, &format!("/mounts/0/requests/{transport}/rmdir/errors")), 1);
        assert_eq!(number(&counters, &format!("/mounts/0/requests/{transport}/mkdir/errors")), 0);
        assert_eq!(number(&counters, "/mounts/0/errors/ENOTEMPTY"), 1);
        assert_eq!(counters["mounts"][0]["mountpoint"], mounted.root().to_str().unwrap());
        // Over the ring only what needs no answer comes on the old way.
        let other = TRANSPORTS.into_iter().find(|other| *other != transport).unwrap();
        let others = counters["mounts"][0]["requests"][other].as_object().unwrap();
        assert!(others.keys().all(|kind| kind == "forget"), "{others:?}");
        let of_create = &counters["mounts"][0]["requests"][transport]["create"];
        let times = ["p50_ns", "p90_ns", "p99_ns", "max_ns"].map(|name| of_create[name].as_u64().unwrap());
        assert!(times[0] > 0 && times.is_sorted(), "{of_create}");

        // A new process counts anew; each byte is asked for once.
        mounted.remount();
        let whole = fs::read(mounted.path("f4")).unwrap().len() as u64;
        let counters = look(&mounted.data_dir());
        assert_eq!(number(&counters, "/mounts/0/bytes_read"), whole);
        assert_eq!((requests(&counters, transport, "open"), requests(&counters, transport, "create")), (1, 0));
        mounted.finish();
    }
}

#[test]
fn bodies_commits_and_seals_are_counted() {
    let mounted = Mounted::new();
    let counted = |place: &str| number(&look(&mounted.data_dir()), place);
    for name in ["a", "b", "c"] {
        fs::write(mounted.path(name), "the same").unwrap();
        fs::write(mounted.path(&format!("big-{name}")), bytes(1, BIG)).unwrap();
    }
    // A close is told after it has returned, and big drafts are sealed when they have been left alone for a moment.
    wait_until("small bodies are stored", 60, || counted("/bodies_in_database/shared") == 2);
    wait_until("big bodies are stored", 60, || counted("/bodies_in_files/shared") == 2);
    wait_until("what is written is committed", 60, || counted("/now/uncommitted") == 0);
    wait_until("nothing is to be done", 60, || counted("/now/to_seal") + counted("/now/to_remove") == 0);
    let counters = look(&mounted.data_dir());
    let expected = [
        ("/bodies_in_database/stored", 1),
        ("/bodies_in_database/stored_bytes", 8),
        ("/bodies_in_database/shared_bytes", 16),
        ("/bodies_in_files/stored", 1),
        ("/bodies_in_files/stored_bytes", BIG as u64),
        ("/bodies_in_files/shared_bytes", 2 * BIG as u64),
        ("/seals/count", 3),
        ("/now/open_handles", 0),
        ("/now/memory_drafts", 0),
        ("/now/memory_draft_bytes", 0),
    ];
    for (place, count) in expected {
        assert_eq!(number(&counters, place), count, "{place}: {counters}");
    }
    let (commits, operations) = (number(&counters, "/commits/count"), number(&counters, "/commits/operations"));
    assert!(commits > 0 && operations >= 12 && operations >= commits, "{counters}");
    assert!(number(&counters, "/log_syncs/count") > 0 && number(&counters, "/page_cache_bytes") > 0, "{counters}");
    assert!(number(&counters, "/caches/database_pages/hits") > 0, "{counters}");

    let draft = File::create(mounted.path("draft")).unwrap();
    (&draft).write_all(&[7; 1000]).unwrap();
    let counters = look(&mounted.data_dir());
    let now = ["open_handles", "memory_drafts", "memory_draft_bytes"]
        .map(|name| number(&counters["now"], &format!("/{name}")));
    assert_eq!(now, [1, 1, 1000]);
    // Sealed, it is the kernel that reads it.
    let before = number(&counters, "/mounts/0/passthrough_granted");
    let mut open = File::open(mounted.path("big-a")).unwrap();
    let mut again = vec![0; BIG];
    open.read_exact(&mut again).unwrap();
    assert_eq!(counted("/mounts/0/passthrough_granted") - before, 1);
    assert_eq!((counted("/mounts/0/passthrough_refused"), counted("/mounts/0/bytes_read")), (0, 0));
    drop((open, draft));
    mounted.finish();
}

#[test]
fn metrics_tell_the_same() {
    for transport in TRANSPORTS {
        let mounted = Mounted::over(transport, &["--admin"]);
        (0..7).for_each(|number| fs::create_dir(mounted.path(&format!("d{number}"))).unwrap());
        fs::remove_dir(mounted.path("d0")).unwrap();
        fs::write(mounted.path("file"), [1; 1234]).unwrap();
        let metrics = fs::read_to_string(mounted.path("system/metrics")).unwrap();
        let counters = look(&mounted.data_dir());
        let mount = format!("mount=\"{}\"", mounted.root().display());
        for kind in ["mkdir", "rmdir", "create", "write"] {
            let count = requests(&counters, transport, kind);
            let labels = format!("{{{mount},transport=\"{transport}\",kind=\"{kind}\"}}");
            let line = format!("\nnexus_request_seconds_count{labels} {count}\n");
            assert!(count > 0 && metrics.contains(&line), "{line}{metrics}");
        }
        assert!(metrics.contains(&format!("\nnexus_written_bytes_total{{{mount}}} 1234\n")), "{metrics}");
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok() && name.starts_with("nexus_"), "{line}");
            let family = name.split('{').next().unwrap();
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| family.strip_suffix(part)).unwrap_or(family);
            assert!(metrics.contains(&format!("# TYPE {family} ")), "{line}");
        }
        mounted.finish();
    }
}

#[test]
fn a_watch_tells_what_came_in_between_until_nobody_reads() {
    let mounted = Mounted::new();
    let watch = |arguments: &[&str]| {
        let mut command = nexus();
        command.arg("stats").arg("--data-dir").arg(mounted.data_dir()).arg("--watch").arg("0.05").args(arguments);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut child = watch(&["--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["since"], "start");
    fs::create_dir(mounted.path("directory")).unwrap();
    let mut made = 0;
    wait_until("the new directory shows", 60, || {
        let counters = next();
        assert_eq!(counters["since"], "last_look");
        made += TRANSPORTS.iter().map(|transport| requests(&counters, transport, "mkdir")).sum::<u64>();
        made == 1
    });
    let counters = next();
    assert!(TRANSPORTS.iter().all(|transport| requests(&counters, transport, "mkdir") == 0), "told twice: {counters}");
    drop(lines);
    wait_until("the watch ends", 60, || child.try_wait().unwrap().is_some_and(|status| status.success()));

    let mut child = watch(&[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut block = || {
        let mut block = lines.next().unwrap().unwrap();
        // Parts of a block have an empty line between them, too: its last line tells what is to be done.
        while !block.contains("to commit: ") {
            block.push_str(&lines.next().unwrap().unwrap());
        }
        block
    };
    assert!(block().contains("since the start"));
    assert!(block().contains("since the last look"));
    drop(lines);
    wait_until("the watch ends", 60, || child.try_wait().unwrap().is_some_and(|status| status.success()));

    // Whoever has the store goes: then there is nothing more to watch.
    let mut child = watch(&["--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    mounted.finish();
    wait_until("the watch ends", 60, || {
        // Read on: a full pipe would hold it up.
        lines.by_ref().take(1).for_each(drop);
        child.try_wait().unwrap().is_some_and(|status| status.code() == Some(3))
    });
}

#[test]
fn who_may_look_and_at_what() {
    let mounted = Mounted::new();
    let data_dir = mounted.data_dir();
    let text = stats(&data_dir, &[]).ok().stdout;
    for words in ["since the start", &mounted.root().display().to_string(), "p99", "database pages", "to seal: 0"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let tenant = stats(&data_dir, &["--tenant", "acme"]).refused(&["denied", "every tenant", "--admin"]);
    assert_eq!(tenant.code, 4);
    stats(&data_dir, &["--tenant", "acme", "--admin"]).ok();
    assert_eq!(stats(&data_dir, &["--watch", "0"]).refused(&["0.01 to 86400"]).code, 2);
    mounted.finish();

    let base = scratch();
    let missing = base.path().join("none");
    assert_eq!(stats(&missing, &[]).refused(&["there is none"]).code, 3);
    let nobody = base.path().join("store");
    let nx = nexus::connect(&nexus::Config::at(&nobody).unwrap()).unwrap();
    nx.write("/a", "body").unwrap();
    let counters = look(&nobody);
    assert_eq!(counters["mounts"], Value::Array(Vec::new()));
    assert_eq!((number(&counters, "/library_requests/count"), number(&counters, "/bodies_in_database/stored")), (1, 1));
    assert_eq!(counters["pid"], std::process::id());
    nx.close().unwrap();
    for arguments in [&[][..], &["--json"], &["--watch"]] {
        assert_eq!(stats(&nobody, arguments).refused(&["nobody has the store open"]).code, 3);
    }
}

/// Each mount has its counters, and those of a mount that hears of another's changes tell so.
#[test]
fn each_mount_is_told_apart() {
    let base = scratch();
    let (data_dir, one, two) = (base.path().join("store"), base.path().join("one"), base.path().join("two"));
    [&one, &two].iter().for_each(|place| fs::create_dir(place).unwrap());
    run(nexus().arg("init").arg(&data_dir)).ok();
    run(nexus().arg("mount").args([&one, &two]).arg("--data-dir").arg(&data_dir)).ok();
    fs::write(one.join("file"), "before").unwrap();
    assert_eq!(fs::read(two.join("file")).unwrap(), b"before");
    fs::write(one.join("file"), "after").unwrap();
    assert_eq!(fs::read(two.join("file")).unwrap(), b"after");
    let counters = look(&data_dir);
    let places = [0, 1].map(|at| counters["mounts"][at]["mountpoint"].as_str().unwrap().to_owned());
    assert_eq!(places, [&one, &two].map(|place| place.display().to_string()));
    assert_eq!([0, 1].map(|at| number(&counters["mounts"][at], "/bytes_written")), [11, 0]);
    assert!(number(&counters["mounts"][1], "/notices") > 0, "{counters}");
    assert!(number(&counters["mounts"][1], "/bytes_read") >= 11, "{counters}");
    run(Command::new(env!("CARGO_BIN_EXE_nexus")).args(["umount", "--all", "--data-dir"]).arg(&data_dir)).ok();
    run(nexus().arg("fsck").arg(&data_dir)).ok();
    unmount_below(base.path());
}
