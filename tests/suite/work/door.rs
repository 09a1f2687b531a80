//! `/.work` on a mount, with the programs of a shell.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::{Arc, Barrier};

use rustix::fs::{RenameFlags, XattrFlags, renameat_with, setxattr};
use rustix::io::Errno;
use serde_json::{Value, json};

use nexus::model::work::{Status, Transition};

use crate::harness::{Mounted, shell, xattr_text};

fn names(mounted: &Mounted, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(mounted.path(".work").join(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn counts(mounted: &Mounted) -> Value {
    serde_json::from_slice(&fs::read(mounted.path(".work/status.json")).unwrap()).unwrap()
}

fn item(mounted: &Mounted, path: &str, attributes: &[(&str, &str)]) {
    fs::write(mounted.path(path), path).unwrap();
    for (key, value) in attributes {
        let set = setxattr(mounted.path(path), format!("user.{key}"), value.as_bytes(), XattrFlags::empty());
        set.unwrap_or_else(|e| panic!("{key}={value} of {path}: {e}"));
    }
}

fn rename(mounted: &Mounted, from: &str, to: &str) -> Result<(), Errno> {
    rustix::fs::rename(mounted.path(".work").join(from), mounted.path(".work").join(to))
}

/// The seed's example of dependencies, by setfattr, ls and mv.
#[test]
fn a_worker_that_is_a_shell_script() {
    let mounted = Mounted::new();
    fs::create_dir(mounted.path("jobs")).unwrap();
    let script = r#"
        echo '{"task": "data_prep"}' > jobs/step1.json
        echo '{"task": "training"}' > jobs/step2.json
        setfattr -n user.status -v ready jobs/step1.json
        setfattr -n user.priority -v 1 jobs/step1.json
        setfattr -n user.status -v blocked jobs/step2.json
        setfattr -n user.depends_on -v "$(getfattr --only-values -n user.nexus.path_id jobs/step1.json)" jobs/step2.json
        test "$(ls .work/ready | wc -l)" = 1
        ls .work/ready | grep -q '^0000000001-[0-9]*-step1.json$'
        getfattr --only-values -n user.nexus.why jobs/step2.json | grep -q 'ready /jobs/step1.json'
        while job=$(ls .work/ready | head -n 1) && test -n "$job"; do
            mv ".work/ready/$job" .work/in_progress/
            cat ".work/in_progress/$job" >> /dev/null
            readlink ".work/in_progress/$job"
            mv ".work/in_progress/$job" .work/completed/
        done
        ls .work/completed | cut -d- -f3
    "#;
    let done = shell(&mounted.root(), script);
    assert_eq!(done, "../../jobs/step1.json\n../../jobs/step2.json\nstep1.json\nstep2.json\n");
    assert_eq!(counts(&mounted)["completed"], 2);
    assert_eq!(xattr_text(&mounted.path("jobs/step1.json"), "user.worker_id"), "uid:0");
    mounted.finish();
}

/// The seed's examples of detection, of the worker loop and of export and import, in a shell: setfattr for
/// `set_file_metadata`, ls for the queries, and the commands as they stand there.
#[test]
fn the_examples_of_the_seed_in_a_shell() {
    let mut mounted = Mounted::new();
    let script = r#"
        mkdir jobs
        echo '{"task": "process_data"}' > jobs/task1.json
        echo '{"task": "train_model"}' > jobs/task2.json
        setfattr -n user.status -v ready jobs/task1.json
        setfattr -n user.priority -v 1 jobs/task1.json
        setfattr -n user.status -v in_progress jobs/task2.json
        setfattr -n user.worker_id -v worker-001 jobs/task2.json
        setfattr -n user.started_at -v "$(date -u +%Y-%m-%dT%H:%M:%S.%N)" jobs/task2.json
        for item in .work/ready/*; do echo "Ready: $(readlink "$item"), Priority: $(getfattr --only-values -n user.priority "$(readlink -f "$item")")"; done
        for item in .work/in_progress/*; do echo "Processing: $(readlink "$item"), Worker: $(getfattr --only-values -n user.worker_id "$(readlink -f "$item")")"; done
        ls .work/blocked
        # The worker loop, which sets the status by hand.
        while item=$(ls .work/ready | head -n 1) && test -n "$item"; do
            path=$(readlink -f ".work/ready/$item")
            setfattr -n user.status -v in_progress "$path"
            setfattr -n user.worker_id -v worker-007 "$path"
            ls .work/in_progress | wc -l
            setfattr -n user.status -v completed "$path"
        done
        ls .work/completed | cut -d- -f3
    "#;
    let expected = "Ready: ../../jobs/task1.json, Priority: 1\nProcessing: ../../jobs/task2.json, Worker: worker-001\n2\ntask1.json\n";
    assert_eq!(shell(&mounted.root(), script), expected);
    mounted.umount();
    let script = r#"
        export NEXUS_DATA_DIR="$PWD/data"
        nexus export metadata-backup.jsonl
        nexus export jobs-backup.jsonl --prefix /jobs
        cmp metadata-backup.jsonl jobs-backup.jsonl
        cut -d'"' -f4 metadata-backup.jsonl
        nexus meta set /jobs/task2.json worker_id other
        nexus import metadata-backup.jsonl
        nexus meta get /jobs/task2.json worker_id && echo
        nexus import metadata-backup.jsonl --overwrite
        nexus export - | cmp - metadata-backup.jsonl
        nexus work ready --limit 10
        for list in pending blocked; do nexus work $list; done
        nexus work in-progress --json | grep -c worker-001
        nexus work status --json
    "#;
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_nexus")).parent().unwrap().display();
    let told = shell(mounted.base(), &format!("PATH={bin}:$PATH\n{script}"));
    let lines: Vec<_> = told.lines().filter(|line| !line.starts_with("created")).collect();
    let status = r#"{"ready":0,"pending":0,"blocked":0,"in_progress":1,"completed":1,"failed":0,"total":2}"#;
    let exported = "exported 2 files";
    let expected = [exported, exported, "/jobs/task1.json", "/jobs/task2.json", "worker-001", "1", status];
    assert_eq!(lines, expected, "{told}");
    mounted.mount();
    mounted.finish();
}

#[test]
fn the_directories_show_the_queue_in_its_order() {
    let mounted = Mounted::new();
    assert_eq!(counts(&mounted)["total"], 0);
    for (name, priority) in [("none", None), ("ten", Some("10")), ("two", Some("2")), ("minus", Some("-3"))] {
        item(&mounted, name, &[("status", "ready")]);
        if let Some(priority) = priority {
            item(&mounted, name, &[("priority", priority)]);
        }
    }
    item(&mounted, "waits", &[("depends_on", "[\"/two\"]"), ("status", "ready")]);
    let ready = names(&mounted, "ready");
    let ends: Vec<_> = ready.iter().map(|name| name.rsplit('-').next().unwrap()).collect();
    assert_eq!(ends, ["minus", "two", "ten", "none"]);
    assert!(
        ready[0].starts_with("-999999997-")
            && ready[1].starts_with("0000000002-")
            && ready[3].starts_with("9999999999-")
    );
    assert_eq!(names(&mounted, "blocked").len(), 1);
    assert_eq!(names(&mounted, "by_priority").len(), 5);
    let expected =
        json!({"ready": 4, "pending": 0, "blocked": 1, "in_progress": 0, "completed": 0, "failed": 0, "total": 5});
    assert_eq!(counts(&mounted), expected);
    let link = mounted.path(".work/ready").join(&ready[1]);
    assert_eq!(fs::read(&link).unwrap(), b"two");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    // A file that is renamed is linked to at once, also where the kernel has seen the old link.
    fs::create_dir(mounted.path("d")).unwrap();
    fs::rename(mounted.path("two"), mounted.path("d/two")).unwrap();
    assert_eq!(fs::read_link(&link).unwrap().to_str().unwrap(), "../../d/two");
    assert_eq!(fs::read(&link).unwrap(), b"two");
    fs::rename(mounted.path("d"), mounted.path("e")).unwrap();
    assert_eq!(fs::read(&link).unwrap(), b"two");
    assert!(!names(&mounted, "").is_empty());
    // It is not listed, so that cp -a and rm -r of the whole mount do not walk into it.
    assert!(fs::read_dir(mounted.root()).unwrap().all(|entry| entry.unwrap().file_name() != ".work"));
    mounted.finish();
}

/// "A transition that is not offered is EPERM."
#[test]
fn moving_a_link_is_a_transition_or_eperm() {
    let mounted = Mounted::new();
    for from in Status::ALL {
        for to in Status::ALL.into_iter().filter(|to| *to != from) {
            let file = format!("{from}-{to}");
            item(&mounted, &file, &[("status", from.word())]);
            let name = names(&mounted, from.word()).into_iter().find(|name| name.ends_with(&file)).unwrap();
            let moved = rename(&mounted, &format!("{from}/{name}"), &format!("{to}/{name}"));
            let now = xattr_text(&mounted.path(&file), "user.status");
            match Transition::between(from, to) {
                Some(_) => assert_eq!((moved, now.as_str()), (Ok(()), to.word()), "{file}"),
                None => assert_eq!((moved, now.as_str()), (Err(Errno::PERM), from.word()), "{file}"),
            }
            fs::remove_file(mounted.path(&file)).unwrap();
        }
    }
    item(&mounted, "a", &[("status", "ready")]);
    let name = names(&mounted, "ready").remove(0);
    let (ready, progress) = (format!("ready/{name}"), format!("in_progress/{name}"));
    for (from, to, refused) in [
        ("ready/nothing", "in_progress/nothing", Errno::NOENT),
        (progress.as_str(), ready.as_str(), Errno::NOENT),
        (ready.as_str(), "in_progress/other", Errno::PERM),
        (ready.as_str(), "by_priority/x", Errno::PERM),
        (ready.as_str(), "x", Errno::PERM),
        (ready.as_str(), "../x", Errno::XDEV),
        ("../a", "ready/a", Errno::XDEV),
        ("ready", "other", Errno::PERM),
        ("status.json", "ready/x", Errno::PERM),
    ] {
        assert_eq!(rename(&mounted, from, to), Err(refused), "{from} to {to}");
    }
    let all = format!("by_priority/{name}");
    assert_eq!(rename(&mounted, &all, &progress), Err(Errno::PERM));
    let work = mounted.path(".work");
    for refused in [
        fs::write(work.join("ready/new"), "").err(),
        fs::create_dir(work.join("other")).err(),
        fs::remove_file(work.join(&ready)).err(),
        fs::remove_dir(work.join("ready")).err(),
        symlink("x", work.join("ready/link")).err(),
        fs::write(work.join("status.json"), "").err(),
    ] {
        assert_eq!(refused.and_then(|e| e.raw_os_error()), Some(Errno::PERM.raw_os_error()));
    }
    let exchange =
        renameat_with(rustix::fs::CWD, work.join(&ready), rustix::fs::CWD, work.join("pending"), RenameFlags::EXCHANGE);
    assert_eq!(exchange, Err(Errno::PERM));
    assert_eq!(names(&mounted, "ready"), [name.as_str()]);
    mounted.finish();
}

#[test]
fn of_many_who_claim_one_gets_it() {
    let mounted = Mounted::new();
    for n in 0..20 {
        item(&mounted, &format!("{n}"), &[("status", "ready")]);
    }
    for name in names(&mounted, "ready") {
        let start = Arc::new(Barrier::new(8));
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (root, name, start) = (mounted.path(".work"), name.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    rustix::fs::rename(root.join("ready").join(&name), root.join("in_progress").join(&name))
                })
            })
            .collect();
        let outcomes: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(Errno::NOENT))), "{outcomes:?}");
    }
    assert_eq!(counts(&mounted)["in_progress"], 20);
    mounted.finish();
}

/// Who may not write to a file may not move it through the queue either.
#[test]
fn a_foreign_file_cannot_be_claimed() {
    let mounted = Mounted::with(&["--allow-other"]);
    item(&mounted, "a", &[("status", "ready")]);
    let name = names(&mounted, "ready").remove(0);
    let root = mounted.path(".work");
    let mv = |uid: u32| {
        let mut command = Command::new("mv");
        command.arg(root.join("ready").join(&name)).arg(root.join("in_progress/"));
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        command.output().unwrap()
    };
    let refused = mv(65534);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");
    std::os::unix::fs::chown(mounted.path("a"), Some(65534), None).unwrap();
    assert!(mv(65534).status.success());
    assert_eq!(xattr_text(&mounted.path("a"), "user.worker_id"), "uid:65534");
    mounted.finish();
}

#[test]
fn attributes_of_items_have_the_errno_of_their_mistake() {
    let mounted = Mounted::new();
    item(&mounted, "a", &[]);
    item(&mounted, "b", &[("depends_on", "/a")]);
    let set = |key: &str, value: &str| {
        setxattr(mounted.path("a"), format!("user.{key}"), value.as_bytes(), XattrFlags::empty())
    };
    assert_eq!(set("status", "done"), Err(Errno::INVAL));
    assert_eq!(set("priority", "high"), Err(Errno::INVAL));
    assert_eq!(set("depends_on", "/nothing"), Err(Errno::INVAL));
    assert_eq!(set("depends_on", "/b"), Err(Errno::LOOP));
    assert_eq!(set("nexus.claim", "1"), Err(Errno::PERM));
    assert_eq!(set("status", "ready"), Ok(()));
    // What an item is goes along with it.
    shell(&mounted.root(), "cp -a a copy && mv copy moved");
    assert_eq!(names(&mounted, "ready").len(), 2);
    mounted.finish();
}

/// More than one page of a listing, and what is listed stays where it was listed while the directory is open.
#[test]
fn a_long_queue_is_listed_whole() {
    let mounted = Mounted::new();
    for n in 0..1500 {
        item(&mounted, &format!("f{n}"), &[("status", "ready")]);
    }
    let listed = fs::read_dir(mounted.path(".work/ready")).unwrap();
    let files = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: Vec<_> = files.map(|name| name.rsplit_once("-f").unwrap().1.parse::<usize>().unwrap()).collect();
    assert_eq!(files, (0..1500).collect::<Vec<_>>(), "in the order of the queue");
    let out = shell(&mounted.root(), "ls -l .work/ready | grep -c ' -> ../../f'");
    assert_eq!(out.trim(), "1500");
    mounted.finish();
}
