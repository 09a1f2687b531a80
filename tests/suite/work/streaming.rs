//! Long directories of `/.work`: read as they are asked for, and looked into cheaply.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, XattrFlags, openat, setxattr};
use rustix::io::Errno;
use serde_json::Value;

use nexus::model::{Caller, Kind, Name, NodeId, Timestamp};
use nexus::vfs::{StoreOptions, Vfs, XattrMode};

use crate::harness::{Mounted, TRANSPORTS, nexus, run, shell};

/// Items of the long queue.
const ITEMS: usize = 100_000;
/// Files in a directory.
const IN_DIRECTORY: usize = 1000;
/// Bytes of memory that an item takes in a listing which was read to its end; whole entries would be four times as much.
const BYTES_OF_ITEM_MAX: usize = 120;

/// Where an item is.
fn file(number: usize) -> String {
    format!("d{}/f{number}", number / IN_DIRECTORY)
}

/// Makes ready items of one priority through the library, which takes a mount some time.
fn fill(data_dir: &Path, items: usize) {
    let caller = Caller { uid: 0, gid: 0 };
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options).unwrap();
    let mut directory = NodeId::ROOT;
    for number in 0..items {
        if number.is_multiple_of(IN_DIRECTORY) {
            let name = format!("d{}", number / IN_DIRECTORY);
            directory = vfs.mkdir(&caller, NodeId::ROOT, Name::new(name.as_bytes()).unwrap(), 0o755).unwrap().id;
        }
        let name = format!("f{number}");
        let made = vfs.mknod(&caller, directory, Name::new(name.as_bytes()).unwrap(), Kind::File, 0o644, 0).unwrap();
        vfs.setxattr(made.id, b"user.priority", b"5", XattrMode::Set).unwrap();
        vfs.setxattr(made.id, b"user.status", b"ready", XattrMode::Set).unwrap();
    }
    vfs.close().unwrap();
}

fn filled(mut mounted: Mounted, items: usize) -> Mounted {
    mounted.umount();
    fill(&mounted.data_dir(), items);
    mounted.mount();
    mounted
}

fn set(mounted: &Mounted, number: usize, key: &str, value: &str) {
    let path = mounted.path(&file(number));
    setxattr(path, format!("user.{key}"), value.as_bytes(), XattrFlags::empty()).unwrap();
}

fn open(mounted: &Mounted) -> Dir {
    let directory = mounted.path(".work/ready");
    Dir::new(openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()).unwrap()
}

/// The next entry, and the place behind it.
fn next(stream: &mut Dir) -> Option<(String, i64)> {
    stream.by_ref().map(Result::unwrap).find_map(|entry| {
        let name = entry.file_name().to_str().unwrap().to_owned();
        (!name.starts_with('.')).then(|| (name, entry.offset()))
    })
}

/// The file that an entry leads to, by its number.
fn number(name: &str) -> usize {
    name.rsplit_once("-f").unwrap().1.parse().unwrap()
}

/// Memory of the daemon in bytes.
fn memory(mounted: &Mounted) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", mounted.daemon())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// What came after the first answers is in the listing, and what left is not: it is read while it is given out.
#[test]
fn a_hundred_thousand_are_listed_as_they_are_asked_for() {
    let mounted = filled(Mounted::new(), ITEMS);
    let mut listing = open(&mounted);
    let (first, _) = next(&mut listing).unwrap();
    assert_eq!(number(&first), 0);
    // One that was given leaves and comes back, another one comes last now.
    set(&mounted, 0, "status", "pending");
    set(&mounted, 0, "status", "ready");
    set(&mounted, 1, "priority", "9");
    // Of those to come some leave, and one of these comes back where it was; another one is new.
    for gone in [ITEMS / 2, ITEMS - 2, ITEMS - 1] {
        set(&mounted, gone, "status", "completed");
    }
    set(&mounted, ITEMS / 2, "status", "ready");
    fs::write(mounted.path("f100000"), "").unwrap();
    setxattr(mounted.path("f100000"), "user.status", b"ready", XattrFlags::empty()).unwrap();

    let mut seen = vec![first];
    while let Some((name, _)) = next(&mut listing) {
        seen.push(name);
    }
    // In the order of the queue, each once.
    let numbers: Vec<_> = seen.iter().map(|name| number(name)).collect();
    let mut expected: Vec<_> = (0..ITEMS - 2).chain([ITEMS]).collect();
    if numbers[1] != 1 {
        // Where the first answer was so short that it had not been given.
        expected.remove(1);
        expected.insert(ITEMS - 3, 1);
    }
    assert!(numbers == expected, "{} of {}", numbers.len(), expected.len());
    drop(listing);

    // Listings that are given up have cost little, and those that were read to the end are no copy of the queue.
    let before = memory(&mounted);
    let mut given_up: Vec<_> = (0..50).map(|_| open(&mounted)).collect();
    given_up.iter_mut().for_each(|listing| assert!(next(listing).is_some()));
    let taken = memory(&mounted).saturating_sub(before);
    assert!(taken < 50 * ITEMS * BYTES_OF_ITEM_MAX / 10, "{taken} bytes for 50 listings");
    drop(given_up);
    let before = memory(&mounted);
    let mut whole: Vec<_> = (0..4).map(|_| open(&mounted)).collect();
    whole.iter_mut().for_each(|listing| assert_eq!(std::iter::from_fn(|| next(listing)).count(), ITEMS - 1));
    let taken = memory(&mounted).saturating_sub(before);
    assert!(taken < 4 * ITEMS * BYTES_OF_ITEM_MAX, "{taken} bytes for 4 listings");
    drop(whole);
    mounted.finish();
}

/// Also far behind what is kept of a listing.
#[test]
fn a_listing_goes_back_to_a_place_and_to_the_beginning() {
    const SOME: usize = 5000;
    let mounted = filled(Mounted::new(), SOME);
    let mut listing = open(&mounted);
    let all: Vec<_> = std::iter::from_fn(|| next(&mut listing)).collect();
    assert_eq!(all.iter().map(|(name, _)| number(name)).collect::<Vec<_>>(), (0..SOME).collect::<Vec<_>>());
    let (_, place) = &all[99];
    listing.seek(*place).unwrap();
    let again: Vec<_> = std::iter::from_fn(|| next(&mut listing)).collect();
    assert!(again == all[100..], "{} again", again.len());
    // What leaves in front of a place hides nothing behind it.
    for gone in 0..50 {
        set(&mounted, gone * 2, "status", "failed");
    }
    listing.seek(*place).unwrap();
    let again: Vec<_> = std::iter::from_fn(|| next(&mut listing)).map(|(name, _)| number(&name)).collect();
    assert_eq!(again, (100..SOME).collect::<Vec<_>>());
    listing.rewind();
    let again: HashSet<_> = std::iter::from_fn(|| next(&mut listing)).map(|(name, _)| number(&name)).collect();
    assert_eq!(again, (0..SOME).filter(|number| *number >= 100 || number % 2 == 1).collect());
    drop(listing);
    mounted.finish();
}

/// The directories are looked up once and not for every link, and what a link shows is as new as the question.
#[test]
fn looking_at_each_link_asks_for_links_alone() {
    const SOME: usize = 300;
    for transport in TRANSPORTS {
        let mounted = filled(Mounted::over(transport, &[]), SOME);
        let out = shell(&mounted.root(), "ls -l .work/ready | grep -c ' -> ../../d0/f'");
        assert_eq!(out.trim(), SOME.to_string());
        let counters = run(nexus().arg("stats").arg("--data-dir").arg(mounted.data_dir()).arg("--json")).ok().stdout;
        let counters: Value = serde_json::from_str(&counters).unwrap();
        let asked = |kind: &str| {
            let place = format!("/mounts/0/requests/{transport}/{kind}/count");
            counters.pointer(&place).map_or(0, |count| count.as_u64().unwrap() as usize)
        };
        // Once for lstat(2), once for readlink(2).
        assert!((SOME..SOME * 2 + 50).contains(&asked("lookup")), "{} over {transport}", asked("lookup"));
        assert!(asked("getattr") < SOME * 3 + 50, "{} over {transport}", asked("getattr"));

        let link = mounted.path(".work/ready").join(next(&mut open(&mounted)).unwrap().0);
        let changed = || fs::metadata(mounted.path(".work/ready")).unwrap().modified().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let before = changed();
        set(&mounted, 0, "status", "pending");
        assert_eq!(rustix::fs::readlink(&link, Vec::new()).unwrap_err(), Errno::NOENT);
        assert!(fs::symlink_metadata(&link).is_err() && changed() > before);
        set(&mounted, 0, "status", "ready");
        std::os::unix::fs::chown(mounted.path(&file(0)), Some(77), None).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::symlink_metadata(&link).unwrap()), 77);
        mounted.finish();
    }
}
