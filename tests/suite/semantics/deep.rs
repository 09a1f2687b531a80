//! A tree deeper than any path is long: made, moved, told of and removed a step at a time.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with, statat};
use rustix::io::Errno;

use crate::harness::{Mounted, run_within};

/// More than twice the levels of the longest path.
const LEVELS: usize = 10_000;
/// No child of another test may inherit it: the mount would be busy.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

#[test]
fn a_tree_may_be_deeper_than_a_path_is_long() {
    let mut mounted = Mounted::new();
    let root = mounted.root();
    let top = root.join("top");
    fs::create_dir(&top).unwrap();
    let mut at = openat(CWD, &top, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
    }
    let bottom = at;
    mkdirat(&bottom, "last", Mode::RWXU).unwrap();
    fs::write(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&bottom)) + "/file", b"at the bottom")
        .unwrap();

    // Within its directory, from the bottom to the top, and back.
    renameat(&bottom, "last", &bottom, "renamed").unwrap();
    fs::create_dir(root.join("other")).unwrap();
    renameat(&bottom, "renamed", CWD, root.join("other/last")).unwrap();
    renameat(CWD, root.join("other"), &bottom, "other").unwrap();
    statat(&bottom, "other/last", AtFlags::SYMLINK_NOFOLLOW).unwrap();
    // What is above does not go below itself, at any distance.
    assert_eq!(renameat(CWD, &top, &bottom, "cycle"), Err(Errno::INVAL));
    assert_eq!(renameat(CWD, top.join("d/d"), &bottom, "cycle"), Err(Errno::INVAL));
    assert_eq!(renameat(&bottom, "other", CWD, &top), Err(Errno::NOTEMPTY));
    assert_eq!(renameat_with(&bottom, "other", CWD, &top, RenameFlags::EXCHANGE), Err(Errno::INVAL));

    File::from(bottom.as_fd().try_clone_to_owned().unwrap()).sync_all().unwrap();
    drop(bottom);
    mounted.umount();
    mounted.fsck().ok();
    mounted.mount();
    let removed = run_within(Command::new("rm").arg("-r").arg(mounted.path("top")), 300);
    removed.ok();
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0);
    mounted.finish();
}
