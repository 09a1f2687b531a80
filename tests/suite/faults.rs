//! Bad input: a clear refusal each, and nothing lost. Damage to a store is tested in `damage`.

use std::fs::{self, File};
use std::io;
use std::process::Command;

use crate::harness::{Mounted, is_mounted, is_running, nexus, run, scratch, shell, wait_until};

mod damage;

use damage::database;

#[test]
fn a_place_that_is_no_store_is_refused() {
    let base = scratch();
    let place = |name: &str| base.path().join(name);
    fs::create_dir(place("mnt")).unwrap();
    fs::create_dir(place("empty")).unwrap();
    fs::create_dir(place("foreign")).unwrap();
    fs::write(place("foreign/letter"), b"not a store").unwrap();
    fs::write(place("file"), b"").unwrap();
    for name in ["none", "empty", "foreign", "file"] {
        let shown = place(name).display().to_string();
        run(nexus().arg("mount").arg(place("mnt")).arg("--data-dir").arg(place(name))).refused(&[&shown]);
        assert!(!is_mounted(&place("mnt")), "{name}");
    }
    for name in ["foreign", "file"] {
        run(nexus().arg("init").arg(place(name))).refused(&[&place(name).display().to_string()]);
    }
    assert_eq!(fs::read_dir(place("foreign")).unwrap().count(), 1, "nothing was put beside the letter");
    run(nexus().arg("init").arg(place("store"))).ok();
    run(nexus().arg("init").arg(place("store"))).refused(&[&place("store").display().to_string()]);
}

#[test]
fn a_store_that_may_not_be_read_is_refused() {
    let base = scratch();
    let store = base.path().join("store");
    fs::create_dir(base.path().join("mnt")).unwrap();
    run(nexus().arg("init").arg(&store)).ok();
    shell(base.path(), "chmod 700 store; chown tests mnt");
    // The user cannot go where the binary was built.
    let binary = base.path().join("nexus");
    fs::copy(env!("CARGO_BIN_EXE_nexus"), &binary).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "tests", "--regid", "tests", "--clear-groups"]).arg(binary);
    command.arg("mount").arg(base.path().join("mnt")).arg("--data-dir").arg(&store).current_dir("/");
    run(&mut command).refused(&[&store.display().to_string(), "denied"]);
    assert!(!is_mounted(&base.path().join("mnt")));
}

#[test]
fn a_wrong_option_or_mountpoint_is_refused() {
    let mut mounted = Mounted::new();
    mounted.umount();
    for (option, word) in [
        ("nonsense", "nonsense"),
        ("cache_seconds=soon", "cache_seconds"),
        ("threads=0", "threads"),
        ("threads", "threads"),
    ] {
        run(mounted.mount_command().args(["-o", option])).refused(&[word]);
        assert!(!is_mounted(&mounted.root()), "{option}");
    }
    let file = mounted.outside().join("file");
    fs::write(&file, b"").unwrap();
    for mountpoint in [mounted.outside().join("missing"), file] {
        run(nexus().arg("mount").arg(&mountpoint).arg("--data-dir").arg(mounted.data_dir()))
            .refused(&[&mountpoint.display().to_string()]);
    }
    let inside = mounted.data_dir().join("mnt");
    fs::create_dir(&inside).unwrap();
    for mountpoint in [inside.clone(), mounted.base().to_owned(), mounted.data_dir()] {
        run(nexus().arg("mount").arg(&mountpoint).arg("--data-dir").arg(mounted.data_dir()))
            .refused(&[&mountpoint.display().to_string()]);
        assert!(!is_mounted(&mountpoint), "{}", mountpoint.display());
    }
    fs::remove_dir(inside).unwrap();
    run(nexus().arg("umount").arg(mounted.root())).refused(&[&mounted.root().display().to_string()]);
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn a_busy_mount_says_so_and_goes_when_it_is_free() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("file"), b"body").unwrap();
    let mut holder = Command::new("sleep").arg("300").current_dir(mounted.root()).spawn().unwrap();
    run(nexus().arg("umount").arg(mounted.root())).refused(&["busy", &mounted.root().display().to_string()]);
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body", "a refused unmount changes nothing");
    holder.kill().unwrap();
    holder.wait().unwrap();
    mounted.remount();

    // Lazily: the name is free at once, the daemon goes with the last user.
    let daemon = mounted.daemon();
    let mut open = File::open(mounted.path("file")).unwrap();
    run(nexus().arg("umount").arg("--lazy").arg(mounted.root())).ok();
    assert!(!is_mounted(&mounted.root()));
    let mut read = String::new();
    io::Read::read_to_string(&mut open, &mut read).unwrap();
    assert_eq!(read, "body", "an open file goes on after a lazy unmount");
    drop(open);
    wait_until("the daemon is gone after the last file was closed", 30, || !is_running(daemon));
    mounted.mount();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body");
    mounted.finish();
}

#[test]
fn a_store_in_use_is_refused_and_its_holder_named() {
    let mounted = Mounted::new();
    let holder = format!("is held by process {} (nexus mount)", mounted.daemon());
    run(nexus().arg("fsck").arg(mounted.data_dir())).refused(&[&holder, "nexus umount"]);
    fs::write(mounted.path("file"), b"the first goes on").unwrap();
    mounted.finish();
}

#[test]
fn a_dead_mount_is_cleared() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("file"), b"body").unwrap();
    File::open(mounted.path("file")).unwrap().sync_all().unwrap();
    mounted.kill();
    // A request on its way when the daemon dies is aborted, or canceled with its ring; later ones find nobody.
    let errno = fs::read(mounted.path("file")).unwrap_err().raw_os_error();
    assert!(matches!(errno, Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED)), "{errno:?}");
    mounted.mount();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body");
    let entries = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let here = format!(" {} ", mounted.root().display());
    assert_eq!(
        entries.lines().filter(|line| line.contains(&here)).count(),
        1,
        "the dead mount is not below the new one"
    );

    // And by umount, when nobody wants to mount again.
    mounted.kill();
    run(nexus().arg("umount").arg(mounted.root())).ok();
    assert!(!is_mounted(&mounted.root()));
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("file"), b"body").unwrap();
    mounted.umount();
    let database = database(&mounted);
    let before = fs::read(&database).unwrap();
    run(mounted.mount_command().arg("--read-only")).ok();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body");
    let attempts = [
        fs::write(mounted.path("new"), b"").unwrap_err(),
        fs::write(mounted.path("file"), b"").unwrap_err(),
        fs::remove_file(mounted.path("file")).unwrap_err(),
        fs::create_dir(mounted.path("dir")).unwrap_err(),
        xattr::set(mounted.path("file"), "user.a", b"1").unwrap_err(),
    ];
    for error in attempts {
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
    mounted.umount();
    assert!(fs::read(&database).unwrap() == before, "the database has changed");
    mounted.mount();
    mounted.finish();
}
