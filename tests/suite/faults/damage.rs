//! Damage to what is stored: an error for the damaged file, never wrong bytes, and a refusal where the whole store cannot be trusted.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::harness::{Mounted, bytes, files_below, is_mounted, nexus, run, shell, wait_until, xattr_text};

#[test]
fn a_damaged_body_is_an_error_and_never_wrong_bytes() {
    let mut mounted = Mounted::new();
    fs::create_dir(mounted.path("dir")).unwrap();
    // One that is a file of the store, one that is a row of its database.
    for (name, length) in [("dir/large", 2_000_000), ("dir/small", 3_000), ("large", 2_000_001), ("small", 3_001)] {
        fs::write(mounted.path(name), bytes(length as u64, length)).unwrap();
    }
    fs::hard_link(mounted.path("dir/large"), mounted.path("another name")).unwrap();
    let digest = xattr_text(&mounted.path("dir/large"), "user.nexus.etag");
    mounted.umount();
    mounted.fsck().ok();
    flip_byte(&body_file(&mounted, &digest), 1_000_000);
    flip_stored(&mounted, &bytes(3_000, 3_000)[100..164]);
    mounted.mount();

    for name in ["dir/large", "dir/small", "another name"] {
        let error = fs::read(mounted.path(name)).expect_err(name);
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{name}: {error}");
    }
    for (name, length) in [("large", 2_000_001), ("small", 3_001)] {
        assert!(fs::read(mounted.path(name)).unwrap() == bytes(length as u64, length), "{name} is another file");
    }
    wait_until("the log names every path of a damaged body", 10, || {
        let log = mounted.log();
        ["/dir/large", "/dir/small", "/another name"].iter().all(|path| log.contains(path))
    });
    // The metadata of a damaged file is not damaged, and the same content mends it.
    assert_eq!(fs::metadata(mounted.path("dir/large")).unwrap().len(), 2_000_000);
    mounted.umount();
    let found = mounted.fsck();
    assert_eq!(found.code, 4, "fsck(8): errors left uncorrected\n{}{}", found.stdout, found.stderr);
    mounted.mount();
    for (name, length) in [("healed-large", 2_000_000), ("healed-small", 3_000)] {
        fs::write(mounted.path(name), bytes(length as u64, length)).unwrap();
        xattr_text(&mounted.path(name), "user.nexus.etag");
    }
    for (name, length) in [("dir/large", 2_000_000), ("dir/small", 3_000), ("another name", 2_000_000)] {
        // Sealing a big body takes a moment after its last close.
        wait_until("the content that was stored again heals", 10, || fs::read(mounted.path(name)).is_ok());
        assert!(fs::read(mounted.path(name)).unwrap() == bytes(length as u64, length));
    }
    mounted.finish_after_complaints();
}

#[test]
fn verify_prints_each_damaged_body_with_every_path() {
    let mut mounted = Mounted::new();
    fs::create_dir(mounted.path("dir")).unwrap();
    for (name, length) in [("dir/large", 700_000), ("dir/small", 3_000), ("large", 700_001), ("small", 3_001)] {
        fs::write(mounted.path(name), bytes(length as u64, length)).unwrap();
    }
    fs::hard_link(mounted.path("dir/large"), mounted.path("another name")).unwrap();
    fs::copy(mounted.path("dir/small"), mounted.path("dir/copy")).unwrap();
    let digests = ["dir/large", "dir/small"].map(|name| xattr_text(&mounted.path(name), "user.nexus.etag"));
    let verify =
        |mounted: &Mounted, path: &str| run(nexus().arg("verify").arg("--data-dir").arg(mounted.data_dir()).arg(path));
    // Beside the mount, and without one.
    assert_eq!(verify(&mounted, "/").ok().stdout, "/: 4 bodies of 1.34 MiB verified, all right\n");
    mounted.umount();
    assert_eq!(verify(&mounted, "/").ok().stdout, "/: 4 bodies of 1.34 MiB verified, all right\n");
    flip_byte(&body_file(&mounted, &digests[0]), 350_000);
    flip_stored(&mounted, &bytes(3_000, 3_000)[100..164]);

    verify(&mounted, "/large").ok();
    let missing = verify(&mounted, "/nowhere");
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    missing.refused(&["/nowhere"]);
    verify(&mounted, "../relative").refused(&["does not begin with /"]);
    let found = verify(&mounted, "/");
    assert_eq!(found.code, 7, "{}{}", found.stdout, found.stderr);
    let lines: Vec<_> = found.stdout.lines().collect();
    let [large, small] = digests;
    let mut expected = vec![
        format!("body {large} of 700000 bytes does not hash to its name: /another name, /dir/large"),
        format!("body {small} of 3000 bytes does not hash to its name: /dir/copy, /dir/small"),
    ];
    expected.sort_by_key(|line| lines.iter().position(|found| found == line));
    assert_eq!(lines[..lines.len() - 1], expected);
    assert_eq!(lines[2], "/: 4 bodies of 1.34 MiB verified, 2 damaged");
    assert_eq!(files_below(&mounted.data_dir().join("quarantine")).len(), 2);
    // They stay what they are until the same content comes.
    assert_eq!(verify(&mounted, "/dir").code, 7);
    mounted.mount();
    for (name, length) in [("healed-large", 700_000), ("healed-small", 3_000)] {
        fs::write(mounted.path(name), bytes(length as u64, length)).unwrap();
    }
    mounted.umount();
    verify(&mounted, "/").ok();
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn a_missing_body_fails_its_own_file_only() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("gone"), bytes(1, 500_000)).unwrap();
    fs::write(mounted.path("kept"), bytes(2, 500_000)).unwrap();
    let digest = xattr_text(&mounted.path("gone"), "user.nexus.etag");
    mounted.umount();
    fs::remove_file(body_file(&mounted, &digest)).unwrap();
    mounted.mount();
    let error = fs::read(mounted.path("gone")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    assert!(fs::read(mounted.path("kept")).unwrap() == bytes(2, 500_000));
    wait_until("the log names the path", 10, || mounted.log().contains("/gone"));
    fs::remove_file(mounted.path("gone")).unwrap();
    mounted.finish_after_complaints();
}

#[test]
fn a_damaged_database_is_refused() {
    type Damage = fn(&File);
    let damages: [(&str, Damage); 3] = [
        ("a header of garbage", |file| {
            file.write_all_at(&bytes(1, 100), 0).unwrap();
        }),
        ("cut to half", |file| {
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("empty", |file| file.set_len(0).unwrap()),
    ];
    for (name, damage) in damages {
        let mut mounted = Mounted::new();
        fs::write(mounted.path("file"), b"body").unwrap();
        mounted.umount();
        let database = database(&mounted);
        let intact = fs::read(&database).unwrap();
        damage(&OpenOptions::new().write(true).open(&database).unwrap());
        run(&mut mounted.mount_command()).refused(&[&mounted.data_dir().display().to_string()]);
        assert!(!is_mounted(&mounted.root()), "{name}");
        assert_ne!(mounted.fsck().code, 0, "{name}: fsck");
        // The refusal has changed nothing: who has a copy of the database puts it back.
        fs::write(&database, intact).unwrap();
        mounted.mount();
        assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body", "{name}");
        mounted.finish_after_complaints();
    }
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let mut mounted = Mounted::new();
    fs::write(mounted.path("file"), b"body").unwrap();
    mounted.umount();
    let database = database(&mounted);
    let present = shell(mounted.base(), &format!("sqlite3 {} 'PRAGMA user_version'", database.display()));
    let set = |version: &str| {
        shell(mounted.base(), &format!("sqlite3 {} 'PRAGMA user_version={version}'", database.display()))
    };
    set("9999");
    run(&mut mounted.mount_command()).refused(&["9999", "version"]);
    assert!(!is_mounted(&mounted.root()));
    assert_ne!(mounted.fsck().code, 0);
    set(present.trim());
    mounted.mount();
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body");
    mounted.finish_after_complaints();
}

pub(super) fn database(mounted: &Mounted) -> PathBuf {
    mounted.data_dir().join("metadata.db")
}

/// The file of the store that holds a body.
fn body_file(mounted: &Mounted, digest: &str) -> PathBuf {
    let stored = files_below(&mounted.data_dir().join("cas"));
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(digest));
    stored.iter().find(named).unwrap_or_else(|| panic!("no body {digest} in {stored:?}")).clone()
}

/// Changes a byte of `piece` wherever the database and its companions hold it.
fn flip_stored(mounted: &Mounted, piece: &[u8]) {
    let mut found = 0;
    for path in files_below(&mounted.data_dir()) {
        let content = fs::read(&path).unwrap();
        for place in
            content.windows(piece.len()).enumerate().filter(|(_, window)| *window == piece).map(|(place, _)| place)
        {
            flip_byte(&path, place as u64);
            found += 1;
        }
    }
    assert_ne!(found, 0, "the body is nowhere in {}", mounted.data_dir().display());
}

fn flip_byte(path: &Path, place: u64) {
    // Bodies may be kept read-only; root writes all the same.
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
}
