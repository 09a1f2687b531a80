//! What programs meet on a mount that belongs to a tenant.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::operation::pick;
use crate::harness::{Mounted, Random, nexus, run, seed};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn errno<T>(outcome: io::Result<T>) -> i32 {
    outcome.err().map_or(0, |e| e.raw_os_error().unwrap_or(-1))
}

/// A store in which two tenants and three agents have something each, mounted as `acme/a1`.
fn shared_by_three() -> Mounted {
    let mut mounted = Mounted::with(&["--tenant", "globex", "--agent", "a1"]);
    fs::write(mounted.path("workspace/globex/a1/secret"), "same").unwrap();
    fs::write(mounted.path("shared/globex/team"), "theirs").unwrap();
    mounted.remount_with(&["--tenant", "acme", "--agent", "a2"]);
    fs::write(mounted.path("workspace/acme/a2/secret"), "theirs").unwrap();
    fs::write(mounted.path("shared/acme/team"), "ours").unwrap();
    mounted.remount_with(&["--tenant", "acme", "--agent", "a1"]);
    mounted
}

#[test]
fn a_mount_shows_what_is_its_own() {
    let mut mounted = shared_by_three();
    let at = |name: &str| mounted.path(name);
    assert_eq!(names(&at("")), ["archives", "shared", "workspace"]);
    assert_eq!(names(&at("workspace")), ["acme"]);
    assert_eq!(names(&at("workspace/acme")), ["a1"]);
    assert_eq!(names(&at("shared")), ["acme"]);
    assert_eq!(fs::read_to_string(at("shared/acme/team")).unwrap(), "ours");
    for directory in ["workspace", "workspace/acme", "shared", "archives"] {
        assert_eq!(fs::metadata(at(directory)).unwrap().nlink(), 3, "{directory}");
    }
    fs::write(at("workspace/acme/a1/mine"), "mine").unwrap();
    for foreign in ["workspace/globex", "workspace/globex/a1/secret", "workspace/acme/a2", "shared/globex", "none"] {
        assert_eq!(errno(fs::metadata(at(foreign))), libc::ENOENT, "{foreign}");
        assert_eq!(errno(fs::read_dir(at(foreign))), libc::ENOENT, "{foreign}");
        assert_eq!(errno(fs::remove_file(at(foreign))), libc::ENOENT, "{foreign}");
        assert_eq!(errno(fs::rename(at(foreign), at("workspace/acme/a1/x"))), libc::ENOENT, "{foreign}");
    }
    for foreign in ["workspace/globex", "workspace/initech", "workspace/acme/a2", "workspace/acme/a3", "shared/x"] {
        assert_eq!(errno(fs::create_dir(at(foreign))), libc::EACCES, "{foreign}");
        assert_eq!(errno(fs::write(at(foreign), "x")), libc::EACCES, "{foreign}");
        assert_eq!(errno(fs::rename(at("workspace/acme/a1/mine"), at(foreign))), libc::EACCES, "{foreign}");
        assert_eq!(errno(fs::hard_link(at("workspace/acme/a1/mine"), at(foreign))), libc::EACCES, "{foreign}");
    }
    assert_eq!(errno(fs::hard_link(at("workspace/acme/a1/mine"), at("shared/acme/mine"))), libc::EXDEV);
    assert_eq!(errno(fs::write(at("archives/acme/x"), "x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(at("archives/globex"))), libc::EROFS);
    assert_eq!(errno(fs::read_dir(at("system"))), libc::ENOENT);
    let room = rustix::fs::statvfs(mounted.root().as_path()).unwrap();
    assert_eq!((room.f_blocks - room.f_bfree, room.f_files), (0, 0));

    mounted.remount_with(&["--admin"]);
    assert_eq!(names(&mounted.path("workspace")), ["acme", "globex"]);
    assert_eq!(fs::metadata(mounted.path("workspace")).unwrap().nlink(), 4);
    assert_eq!(fs::read_to_string(mounted.path("workspace/globex/a1/secret")).unwrap(), "same");
    assert_eq!(errno(fs::write(mounted.path("archives/globex/x"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(mounted.path("system/version"), "x")), libc::EROFS);
    assert_eq!(names(&mounted.path("system")), ["config.yaml", "metrics", "status.json", "version"]);
    assert!(fs::read_to_string(mounted.path("system/version")).unwrap().starts_with("nexus "));
    let config = fs::read_to_string(mounted.path("system/config.yaml")).unwrap();
    assert!(config.contains("is_admin: true  # the command line"), "{config}");
    let status: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(mounted.path("system/status.json")).unwrap()).unwrap();
    assert_eq!(status["files"], 5);
    mounted.finish();
}

#[test]
fn a_tree_is_archived_from_the_command_line() {
    let mut mounted = shared_by_three();
    fs::create_dir(mounted.path("workspace/acme/a1/run")).unwrap();
    fs::write(mounted.path("workspace/acme/a1/run/log"), "done").unwrap();
    let data_dir = mounted.data_dir();
    let archive = |words: &[&str]| run(nexus().args(["archive", "--data-dir"]).arg(&data_dir).args(words));
    assert_eq!(archive(&["/workspace/acme/a1/run"]).code, 8, "the store is mounted");
    mounted.umount();
    let foreign = archive(&["--tenant", "globex", "/workspace/acme/a1/run"]);
    assert_eq!(foreign.code, 4);
    assert!(foreign.stderr.contains("it is another tenant's"), "{}", foreign.stderr);
    assert_eq!(archive(&["/workspace/acme/a1/none"]).code, 3);
    let done = archive(&["--tenant", "acme", "/workspace/acme/a1/run"]);
    assert_eq!(done.stdout, "/workspace/acme/a1/run is now /archives/acme/run\n", "{}", done.stderr);
    mounted.mount();
    assert_eq!(fs::read_to_string(mounted.path("archives/acme/run/log")).unwrap(), "done");
    let mode = fs::Permissions::from_mode(0o600);
    assert_eq!(errno(fs::set_permissions(mounted.path("archives/acme/run/log"), mode)), libc::EROFS);
    assert_eq!(errno(fs::remove_file(mounted.path("archives/acme/run/log"))), libc::EROFS);
    mounted.finish();
}

/// Random system calls on two mounts of one identity: others have something in the one store, and nothing in the other.
#[test]
fn system_calls_do_not_tell_of_others() {
    const OPERATIONS: u32 = 3_000;
    let (with, without) = (shared_by_three(), Mounted::with(&["--tenant", "acme", "--agent", "a1"]));
    fs::write(without.path("shared/acme/team"), "ours").unwrap();
    let seed = seed();
    let mut random = Random(seed);
    for step in 0..OPERATIONS {
        let (what, one, other) = (random.below(14), some_path(&mut random), some_path(&mut random));
        let answers = [&with, &without].map(|mounted| call(what, &mounted.path(&one), &mounted.path(&other)));
        assert_eq!(answers[0], answers[1], "seed {seed}, step {step}, operation {what} on {one} and {other}");
    }
    with.finish();
    without.finish();
}

fn some_path(random: &mut Random) -> String {
    let above = [
        "",
        "workspace",
        "workspace/acme",
        "workspace/acme/a1",
        "workspace/acme/a2",
        "workspace/globex",
        "workspace/globex/a1",
        "shared",
        "shared/acme",
        "shared/globex",
        "archives",
        "archives/globex",
        "docs",
    ];
    let name = ["secret", "team", "a1", "a2", "acme", "globex", "d", "docs"];
    let above: PathBuf = pick(random, &above).into();
    above.join(pick(random, &name)).to_str().unwrap().to_owned()
}

/// The answer to one system call: an errno, or what it tells.
fn call(what: u64, one: &Path, other: &Path) -> Result<String, i32> {
    let text = |outcome: io::Result<String>| outcome.map_err(|e| e.raw_os_error().unwrap_or(-1));
    let done = |outcome: io::Result<()>| text(outcome.map(|()| String::new()));
    match what {
        0 => text(fs::symlink_metadata(one).map(|m| format!("{:o} {} {}", m.mode(), m.nlink(), m.len()))),
        1 => text(fs::read_dir(one).map(|_| names(one).join(" "))),
        2 => text(fs::read_to_string(one)),
        3 => done(fs::write(one, "same")),
        4 => done(fs::create_dir(one)),
        5 => done(fs::remove_file(one)),
        6 => done(fs::remove_dir(one)),
        7 => done(fs::rename(one, other)),
        8 => done(fs::hard_link(one, other)),
        9 => text(xattr::get(one, "user.nexus.refs").map(|value| format!("{value:?}"))),
        10 => done(xattr::set(one, "user.k", b"v")),
        11 => text(fs::copy(one, other).map(|length| length.to_string())),
        12 => done(std::os::unix::fs::symlink("x", one)),
        _ => text(fs::metadata(one.join("..")).map(|m| m.nlink().to_string())),
    }
}
