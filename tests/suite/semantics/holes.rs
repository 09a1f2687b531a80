//! Holes: lseek(2) with SEEK_DATA and SEEK_HOLE, fallocate(2), files of many GiB.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::harness::{Mounted, bytes, disk_usage};

/// Holes are seen in units of a block; these bodies keep well away from its edges.
const PART: u64 = 1 << 20;

#[test]
fn seek_finds_data_and_holes() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        // A hole, data, a hole, data.
        let file = create(&place.join("sparse"));
        file.set_len(4 * PART).unwrap();
        file.write_all_at(&bytes(1, PART as usize), PART).unwrap();
        file.write_all_at(&bytes(2, PART as usize), 3 * PART).unwrap();
        for reopened in [false, true] {
            let file = if reopened { File::open(place.join("sparse")).unwrap() } else { file.try_clone().unwrap() };
            let table = [
                (SeekFrom::Data(0), Ok(PART)),
                (SeekFrom::Hole(0), Ok(0)),
                (SeekFrom::Data(PART + 5), Ok(PART + 5)),
                (SeekFrom::Hole(PART + 5), Ok(2 * PART)),
                (SeekFrom::Data(2 * PART), Ok(3 * PART)),
                (SeekFrom::Hole(3 * PART), Ok(4 * PART)),
                (SeekFrom::Data(4 * PART), Err(Errno::NXIO)),
                (SeekFrom::Hole(4 * PART), Err(Errno::NXIO)),
            ];
            for (from, expected) in table {
                let found = seek(&file, from);
                assert_eq!(found, expected, "{from:?}, reopened {reopened}, on {}", place.display());
            }
        }
    }
    mounted.finish();
}

#[test]
fn seek_on_small_and_empty_files() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        fs::write(place.join("small"), b"some bytes").unwrap();
        let small = File::open(place.join("small")).unwrap();
        assert_eq!(seek(&small, SeekFrom::Data(3)), Ok(3));
        assert_eq!(seek(&small, SeekFrom::Hole(3)), Ok(10), "the end counts as a hole");
        assert_eq!(seek(&small, SeekFrom::Data(10)), Err(Errno::NXIO));
        let empty = create(&place.join("empty"));
        assert_eq!(seek(&empty, SeekFrom::Data(0)), Err(Errno::NXIO));
        assert_eq!(seek(&empty, SeekFrom::Hole(0)), Err(Errno::NXIO));
    }
    mounted.finish();
}

#[test]
fn fallocate_does_what_its_mode_says() {
    let keep = FallocateFlags::KEEP_SIZE;
    let (punch, zero) = (FallocateFlags::PUNCH_HOLE | keep, FallocateFlags::ZERO_RANGE);
    // Mode, offset, length, the size afterwards, and the range that reads as zeros.
    let table = [
        ("grow", FallocateFlags::empty(), 90_000, 30_000, 120_000, 100_000..120_000),
        ("grow within", FallocateFlags::empty(), 0, 50_000, 100_000, 0..0),
        ("keep size", keep, 90_000, 300_000, 100_000, 0..0),
        ("punch", punch, 10_000, 20_000, 100_000, 10_000..30_000),
        ("punch over the end", punch, 90_000, 900_000, 100_000, 90_000..100_000),
        ("punch behind the end", punch, 200_000, 10_000, 100_000, 0..0),
        ("zero", zero, 5, 4_090, 100_000, 5..4_095),
        ("zero and grow", zero, 90_000, 20_000, 110_000, 90_000..110_000),
        ("zero and keep size", zero | keep, 90_000, 20_000, 100_000, 90_000..100_000),
    ];
    let mounted = Mounted::new();
    for place in mounted.places() {
        for (name, mode, offset, length, size, zeros) in table.clone() {
            let path = place.join(name);
            let body = bytes(3, 100_000);
            fs::write(&path, &body).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            fallocate(&file, mode, offset, length)
                .unwrap_or_else(|error| panic!("{name} on {}: {error}", place.display()));
            drop(file);
            let mut expected = body;
            expected.resize(size, 0);
            expected[zeros].fill(0);
            assert!(fs::read(&path).unwrap() == expected, "{name} on {}", place.display());
        }
    }
    mounted.finish();
}

#[test]
fn fallocate_refuses_what_makes_no_sense() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let file = create(&place.join("file"));
        let read_only = File::open(place.join("file")).unwrap();
        let grow = FallocateFlags::empty();
        assert_eq!(fallocate(&file, grow, 0, 0), Err(Errno::INVAL));
        assert_eq!(fallocate(&file, FallocateFlags::PUNCH_HOLE, 0, 10), Err(Errno::OPNOTSUPP));
        assert_eq!(fallocate(&read_only, grow, 0, 10), Err(Errno::BADF));
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
    mounted.finish();
}

#[test]
fn a_punched_hole_gives_its_space_back() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("big");
        fs::write(&path, bytes(4, 8 << 20)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, PART, 6 * PART).unwrap();
        file.sync_all().unwrap();
        let blocks = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(blocks < 3 * PART, "{blocks} bytes on {}", place.display());
        assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(PART), "{}", place.display());
        assert_eq!(seek(&file, SeekFrom::Data(PART)), Ok(7 * PART), "{}", place.display());
    }
    mounted.finish();
}

#[test]
fn a_hole_of_gigabytes_costs_nothing() {
    const GIB: u64 = 1 << 30;
    let mut mounted = Mounted::new();
    for place in mounted.places() {
        let file = create(&place.join("huge"));
        file.write_all_at(b"the start", 0).unwrap();
        file.write_all_at(b"the end", 5 * GIB).unwrap();
        drop(file);
        assert_huge(&place, 5 * GIB);
    }
    assert!(disk_usage(&mounted.data_dir()) < 32 << 20, "the hole takes space");
    mounted.remount();
    assert_huge(&mounted.root(), 5 * GIB);
    mounted.finish();
}

fn assert_huge(place: &Path, end: u64) {
    let file = File::open(place.join("huge")).unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), end + 7);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks on {}", meta.blocks(), place.display());
    let mut read = [1; 7];
    file.read_exact_at(&mut read, end).unwrap();
    assert_eq!(&read, b"the end");
    file.read_exact_at(&mut read, end - 7).unwrap();
    assert_eq!(read, [0; 7]);
    file.read_exact_at(&mut read, (4 << 30) - 3).unwrap();
    assert_eq!(read, [0; 7]);
}

fn create(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap()
}
