//! One big file: written and read in sequence, then read and written at random, by system calls and through a map.
//!
//! Every block read anywhere is recognised by its stamp, and after the random writes the whole file is read once more
//! from the disk: each block must be its newest version.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::content::{BLOCK_BYTES, Body, mix};
use crate::phase::{self, Caches, wanted};
use crate::{Failure, Options, map};

/// What `cp` and `dd bs=1M` hand over at once.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_BLOCKS: u64 = (CHUNK_BYTES / BLOCK_BYTES) as u64;

/// How long a filesystem may do something about a file that was written.
const AFTER_WRITING: Duration = Duration::from_secs(3);

/// Mark the second and the third version of a block: far beyond any block number.
const REWRITTEN: u64 = 1 << 60;
const MAPPED: u64 = 1 << 61;

/// Runs the phases asked for; the file is written in any case, and `size` is rounded down to whole MiB.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let path = options.directory.join("big");
    let chunks = (options.size / CHUNK_BYTES) as u64;
    if chunks == 0 {
        return Err("the big file needs a --size of at least 1048576".into());
    }
    let bytes = chunks * CHUNK_BYTES as u64;
    let mut body = Body::new(mix(options.seed), CHUNK_BYTES);
    let blocks = Blocks { count: chunks * CHUNK_BLOCKS, seed: options.seed };

    phase::prepare(Caches::Warm)?;
    let timing = phase::alone(options, "write-seq", || write_all(&path, &mut body, chunks))?;
    if path.metadata()?.len() != bytes {
        return Err("write-seq: the file has not the size that was written".into());
    }
    phase::report("write-seq", timing, bytes)?;
    // Who hashes or moves a file once it is closed shall not be measured as a reader, nor warm the pages for one.
    std::thread::sleep(AFTER_WRITING);

    if wanted(options, "read-warm") {
        read_all(&path, &body, chunks)?;
        phase::prepare(Caches::Warm)?;
        phase::report("read-warm", phase::alone(options, "read-warm", || read_all(&path, &body, chunks))?, bytes)?;
    }
    if wanted(options, "read-cold") {
        phase::prepare(Caches::Cold)?;
        phase::report("read-cold", phase::alone(options, "read-cold", || read_all(&path, &body, chunks))?, bytes)?;
    }
    if wanted(options, "random-read-cold") {
        phase::prepare(Caches::Cold)?;
        let timing =
            phase::alone(options, "random-read-cold", || read_random(&path, &body, blocks.random(options.count)))?;
        phase::report("random-read-cold", timing, 0)?;
    }
    if wanted(options, "random-read-warm") {
        read_all(&path, &body, chunks)?;
        phase::prepare(Caches::Warm)?;
        let timing =
            phase::alone(options, "random-read-warm", || read_random(&path, &body, blocks.random(options.count)))?;
        phase::report("random-read-warm", timing, 0)?;
    }
    if wanted(options, "map-read-cold") {
        phase::prepare(Caches::Cold)?;
        phase::report(
            "map-read-cold",
            phase::alone(options, "map-read-cold", || map::read_all(&path, &body, CHUNK_BYTES))?,
            bytes,
        )?;
    }
    if wanted(options, "map-read-warm") {
        read_all(&path, &body, chunks)?;
        phase::prepare(Caches::Warm)?;
        let timing =
            phase::alone(options, "map-read-warm", || map::read_random(&path, &body, blocks.random(options.count)))?;
        phase::report("map-read-warm", timing, 0)?;
    }
    if wanted(options, "random-write") {
        phase::prepare(Caches::Warm)?;
        let timing = phase::alone(options, "random-write", || write_random(&path, &blocks, options))?;
        phase::prepare(Caches::Cold)?;
        verify_rewritten(&path, &body, &blocks, options, REWRITTEN)
            .map_err(|failure| format!("random-write: {failure}"))?;
        phase::report("random-write", timing, 0)?;
    }
    if wanted(options, "map-write") {
        let mut block = Body::new(mix(options.seed), BLOCK_BYTES);
        phase::prepare(Caches::Warm)?;
        let timing = phase::alone(options, "map-write", || {
            map::write_random(&path, &mut block, blocks.random(options.count), MAPPED)
        })?;
        phase::prepare(Caches::Cold)?;
        // The blocks are those of random-write, so nothing else of the file has changed, whether that ran or not.
        verify_rewritten(&path, &body, &blocks, options, MAPPED).map_err(|failure| format!("map-write: {failure}"))?;
        phase::report("map-write", timing, 0)?;
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

/// Open, write, fsync(2), close: the figure counts bytes that are on the disk.
fn write_all(path: &Path, body: &mut Body, chunks: u64) -> Result<u64, Failure> {
    let mut file = File::create_new(path)?;
    for chunk in 0..chunks {
        file.write_all(body.stamped(chunk * CHUNK_BLOCKS))?;
    }
    file.sync_all()?;
    Ok(chunks)
}

fn read_all(path: &Path, body: &Body, chunks: u64) -> Result<u64, Failure> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    for chunk in 0..chunks {
        file.read_exact(&mut buffer)?;
        if !body.matches(chunk * CHUNK_BLOCKS, &buffer) {
            return Err(format!("other bytes than were written in MiB {chunk}").into());
        }
    }
    if file.read(&mut buffer)? != 0 {
        return Err("more bytes than were written".into());
    }
    Ok(chunks)
}

fn read_random(path: &Path, body: &Body, numbers: impl Iterator<Item = u64>) -> Result<u64, Failure> {
    let file = File::open(path)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut ops = 0;
    for number in numbers {
        file.read_exact_at(&mut buffer, number * BLOCK_BYTES as u64)?;
        if !body.matches(number, &buffer) {
            return Err(format!("other bytes than were written in block {number}").into());
        }
        ops += 1;
    }
    Ok(ops)
}

/// Open, write here and there, fsync(2), close.
fn write_random(path: &Path, blocks: &Blocks, options: &Options) -> Result<u64, Failure> {
    let file = OpenOptions::new().write(true).open(path)?;
    let mut block = Body::new(mix(options.seed), BLOCK_BYTES);
    for number in blocks.random(options.count) {
        file.write_all_at(block.stamped(number + REWRITTEN), number * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    Ok(options.count as u64)
}

fn verify_rewritten(path: &Path, body: &Body, blocks: &Blocks, options: &Options, mark: u64) -> Result<(), Failure> {
    let mut rewritten = vec![false; usize::try_from(blocks.count)?];
    for number in blocks.random(options.count) {
        rewritten[usize::try_from(number)?] = true;
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    for (number, rewritten) in (0..).zip(rewritten) {
        file.read_exact(&mut buffer)?;
        let version = if rewritten { number + mark } else { number };
        if !body.matches(version, &buffer) {
            return Err(format!("block {number} is not its newest version").into());
        }
    }
    Ok(())
}

/// The blocks of the file, and the random order in which they are visited: the same for every caller of a run.
struct Blocks {
    count: u64,
    seed: u64,
}

impl Blocks {
    fn random(&self, ops: usize) -> impl Iterator<Item = u64> {
        let (count, seed) = (self.count, mix(self.seed ^ 0x5eed));
        (0..ops as u64).map(move |step| mix(seed ^ step) % count)
    }
}
