//! SIGKILL for the daemon under load: what was fsynced is there, whole and under its name, and the store needs no repair.
//!
//! Each writer keeps to a pattern whose outcome can be told exactly, and keeps its records outside the mount. The disk below survives, so
//! this shows that nothing acknowledged was only in the daemon's memory; it does not show what a power cut does.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Mounted, Random, TRANSPORTS, bytes, files_below, seed};

const ROUNDS: u64 = 20;
/// The length of one record of a log.
const RECORD_BYTES: usize = 100;

/// What a writer may rely on when the daemon is gone.
enum Promise {
    /// `path` holds exactly `bytes(seed, length)`.
    Whole { path: PathBuf, seed: u64, length: usize },
    /// `path` holds the first records of writer `seed`, and these at least.
    Log { path: PathBuf, seed: u64, records: usize },
    /// `path` holds one complete generation of writer `seed`, between these two.
    Generation { path: PathBuf, seed: u64, oldest: u64, newest: u64 },
    /// Nothing is there.
    Gone { path: PathBuf },
}

type Writer = fn(&Path, u64, &AtomicBool, &mut Vec<Promise>) -> io::Result<()>;

const WRITERS: [(&str, Writer); 5] = [
    ("once", write_once),
    ("log", append),
    ("replace", replace),
    ("plain-replace", replace_unsynced),
    ("names", change_names),
];

#[test]
fn what_was_fsynced_survives_a_killed_daemon() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut mounted = Mounted::new();
    let mut earlier: Vec<Promise> = Vec::new();
    for round in 0..ROUNDS {
        // What comes next, this round's mount after the kill and the next round's, has the other transport.
        mounted.next_over(TRANSPORTS[round as usize / 2 % 2]);
        let promises = one_round(&mut mounted, round, &mut random);
        let broken: Vec<_> = promises.iter().chain(&earlier).filter_map(|promise| promise.broken().err()).collect();
        assert!(broken.is_empty(), "seed {seed}, round {round}:\n{}", broken.join("\n"));
        // Whatever else is there must be readable, finished or not.
        for file in files_below(&mounted.root()) {
            fs::read(&file).unwrap_or_else(|error| panic!("seed {seed}, round {round}: {}: {error}", file.display()));
        }
        // Clean after an orderly stop, and as it lies there after another kill.
        if round % 2 == 0 {
            mounted.umount();
        } else {
            mounted.kill();
        }
        mounted.fsck().ok();
        mounted.mount();
        if round >= 1 {
            fs::remove_dir_all(round_dir(&mounted, round - 1)).unwrap();
        }
        earlier = promises;
    }
    // A log that names the crash it recovered from is a good log.
    mounted.finish_after_complaints();
}

fn round_dir(mounted: &Mounted, round: u64) -> PathBuf {
    mounted.path(&format!("round-{round}"))
}

/// Writers at work, a kill at a random moment, and a mount at once. What the writers may rely on is the result.
fn one_round(mounted: &mut Mounted, round: u64, random: &mut Random) -> Vec<Promise> {
    let dir = round_dir(mounted, round);
    fs::create_dir(&dir).unwrap();
    let over = AtomicBool::new(false);
    let after = Duration::from_millis(50 + random.below(1_500));
    let seeds: Vec<_> = WRITERS.iter().map(|_| random.next() >> 1).collect();
    let promises = thread::scope(|scope| {
        let mut running = Vec::new();
        for ((name, writer), seed) in WRITERS.iter().zip(seeds) {
            let (dir, over) = (dir.join(name), &over);
            running.push(scope.spawn(move || {
                let mut promises = Vec::new();
                // The first error is the end of the daemon; afterwards nothing is promised any more.
                let end = fs::create_dir(&dir).and_then(|()| writer(&dir, seed, over, &mut promises));
                assert!(end.is_err() || over.load(Ordering::Relaxed), "{name} stopped while the daemon was alive");
                promises
            }));
        }
        thread::sleep(after);
        mounted.kill();
        over.store(true, Ordering::Relaxed);
        running.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    mounted.mount();
    promises
}

/// Files that are written once and fsynced, of every size class.
fn write_once(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>) -> io::Result<()> {
    let mut random = Random(seed);
    while !over.load(Ordering::Relaxed) {
        let seed = random.next();
        let class = random.below(10);
        let length = match class {
            0..6 => random.below(8 << 10),
            6..9 => random.below(200 << 10),
            _ => random.below(3 << 20),
        } as usize;
        let path = dir.join(format!("{seed:x}"));
        let mut file = File::create_new(&path)?;
        file.write_all(&bytes(seed, length))?;
        file.sync_all()?;
        promises.push(Promise::Whole { path, seed, length });
    }
    Ok(())
}

/// One log that grows; sometimes fsynced, sometimes closed and opened again.
fn append(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>) -> io::Result<()> {
    let mut random = Random(seed);
    let path = dir.join("log");
    let open = || OpenOptions::new().append(true).create(true).open(&path);
    let mut file = open()?;
    for written in 1.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        file.write_all(&record(seed, written - 1))?;
        match random.below(40) {
            0..3 => {
                file.sync_data()?;
                promises.clear();
                promises.push(Promise::Log { path: path.clone(), seed, records: written });
            }
            3 => {
                drop(file);
                file = open()?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn record(seed: u64, number: usize) -> Vec<u8> {
    let mut record = format!("{seed:016x} {number:012} ").into_bytes();
    for byte in bytes(seed ^ number as u64, RECORD_BYTES - 1 - record.len()) {
        record.push(b'a' + byte % 26);
    }
    record.push(b'\n');
    record
}

/// The way of editors: write another file, fsync it, rename it over the old one, fsync the directory now and then.
fn replace(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>) -> io::Result<()> {
    replace_with(dir, seed, over, promises, true)
}

/// The same without any fsync of the file: the tree is a prefix of what was acknowledged, so the name never shows half a file.
fn replace_unsynced(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>) -> io::Result<()> {
    replace_with(dir, seed, over, promises, false)
}

fn replace_with(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>, sync: bool) -> io::Result<()> {
    let mut random = Random(seed);
    let (path, new) = (dir.join("current"), dir.join("new"));
    let directory = File::open(dir)?;
    fs::write(&path, generation(seed, 0))?;
    File::open(&path)?.sync_all()?;
    let mut oldest = 0;
    promises.push(Promise::Generation { path: path.clone(), seed, oldest, newest: 0 });
    for newest in 1.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut file = File::create(&new)?;
        file.write_all(&generation(seed, newest))?;
        if sync {
            file.sync_all()?;
        }
        drop(file);
        // The promise comes before the rename, whose answer the crash may swallow.
        promises.clear();
        promises.push(Promise::Generation { path: path.clone(), seed, oldest, newest });
        fs::rename(&new, &path)?;
        if sync && random.below(3) == 0 {
            directory.sync_all()?;
            oldest = newest;
            promises.clear();
            promises.push(Promise::Generation { path: path.clone(), seed, oldest, newest });
        }
    }
    Ok(())
}

/// The number, then bytes that only this generation has: small, middling and large ones in turn.
fn generation(seed: u64, number: u64) -> Vec<u8> {
    let length = [500, 40_000, 700_000][number as usize % 3] + number as usize;
    let mut body = number.to_le_bytes().to_vec();
    body.extend_from_slice(&bytes(seed ^ number.rotate_left(32), length));
    body
}

/// Directories and names that are made, moved and removed; fsync(file) covers its present name, fsync(dir) what is gone from it.
fn change_names(dir: &Path, seed: u64, over: &AtomicBool, promises: &mut Vec<Promise>) -> io::Result<()> {
    let mut random = Random(seed);
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (sub, seed, length) = (dir.join(format!("{number}/a")), random.next(), random.below(2_000) as usize);
        fs::create_dir_all(&sub)?;
        let (first, second) = (sub.join("first"), dir.join(format!("{number}/second")));
        let mut file = File::create_new(&first)?;
        file.write_all(&bytes(seed, length))?;
        if random.below(2) == 0 {
            fs::rename(&first, &second)?;
            file.sync_all()?;
            promises.push(Promise::Whole { path: second, seed, length });
            promises.push(Promise::Gone { path: first });
        } else {
            file.sync_all()?;
            fs::remove_file(&first)?;
            fs::remove_dir(&sub)?;
            File::open(dir.join(number.to_string()))?.sync_all()?;
            promises.push(Promise::Gone { path: sub });
        }
    }
    Ok(())
}

impl Promise {
    /// What the store shows instead, when the promise is not kept.
    fn broken(&self) -> Result<(), String> {
        match self {
            Self::Whole { path, seed, length } => {
                let found = read(path)?;
                if found == bytes(*seed, *length) {
                    return Ok(());
                }
                Err(difference(path, &found, &bytes(*seed, *length)))
            }
            Self::Log { path, seed, records } => {
                let found = read(path)?;
                let expected: Vec<u8> =
                    (0..found.len().div_ceil(RECORD_BYTES)).flat_map(|number| record(*seed, number)).collect();
                if found.len() < records * RECORD_BYTES {
                    return Err(format!(
                        "{}: {} bytes, {} were fsynced",
                        path.display(),
                        found.len(),
                        records * RECORD_BYTES
                    ));
                }
                if found == expected[..found.len()] {
                    return Ok(());
                }
                Err(difference(path, &found, &expected[..found.len()]))
            }
            Self::Generation { path, seed, oldest, newest } => {
                let found = read(path)?;
                let number = found.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
                if !(*oldest..=*newest).contains(&number) {
                    return Err(format!(
                        "{}: generation {number} of {} bytes, not {oldest} to {newest}",
                        path.display(),
                        found.len()
                    ));
                }
                if found == generation(*seed, number) {
                    return Ok(());
                }
                Err(difference(path, &found, &generation(*seed, number)))
            }
            Self::Gone { path } if path.symlink_metadata().is_ok() => Err(format!("{} is back", path.display())),
            Self::Gone { .. } => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn difference(path: &Path, found: &[u8], expected: &[u8]) -> String {
    let place = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let mut said = format!("{}: {} bytes instead of {}", path.display(), found.len(), expected.len());
    if let Some(place) = place {
        write!(said, ", the first different one at {place}").unwrap();
    }
    said
}
