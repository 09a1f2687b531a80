//! Costs that hide in the average: fsync(2) after every append, and creating files on top of very many others.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::content::{BLOCK_BYTES, Body, mix};
use crate::phase::{self, Caches, Timing};
use crate::{Failure, Options};

const FILES_PER_DIRECTORY: usize = 1000;

/// The last and the first tenth are compared.
const TENTHS: usize = 10;

/// Appends 4 KiB and waits for the disk, `count` times.
pub(crate) fn run_fsync(options: &Options) -> Result<(), Failure> {
    let path = options.directory.join("log");
    let mut body = Body::new(mix(options.seed), BLOCK_BYTES);
    let mut log = OpenOptions::new().append(true).create_new(true).open(&path)?;
    phase::prepare(Caches::Warm)?;
    let timing = phase::alone(options, "append-fsync", || {
        for number in 0..options.count as u64 {
            log.write_all(body.stamped(number))?;
            log.sync_all()?;
        }
        Ok(options.count as u64)
    })?;
    drop(log);

    phase::prepare(Caches::Cold)?;
    let mut written = Vec::new();
    File::open(&path)?.read_to_end(&mut written)?;
    if written.len() != options.count * BLOCK_BYTES || !body.matches(0, &written) {
        return Err("append-fsync: the log holds other bytes than were written".into());
    }
    phase::report("append-fsync", timing, 0)
}

/// Creates `count` files and reports the first tenth, the last tenth and the whole. They are left in place: the
/// driver looks at the daemon's memory, then throws the store away.
pub(crate) fn run_scale(options: &Options) -> Result<(), Failure> {
    let tenth = options.count / TENTHS;
    if tenth == 0 {
        return Err("scale needs a --count of at least 10".into());
    }
    let count = tenth * TENTHS;
    let directory = |index: usize| options.directory.join(format!("d{:04}", index / FILES_PER_DIRECTORY));
    let path = |index: usize| -> PathBuf { directory(index).join(format!("f{index:07}")) };
    for index in (0..count).step_by(FILES_PER_DIRECTORY) {
        fs::create_dir(directory(index))?;
    }
    let mut body = Body::new(mix(options.seed), options.size);
    phase::prepare(Caches::Warm)?;

    let mut marks = Vec::with_capacity(TENTHS + 1);
    let whole = phase::alone(options, "create-all", || {
        marks.push(Instant::now());
        for index in 0..count {
            let path = path(index);
            let mut file = File::create_new(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            file.write_all(body.stamped((index as u64) << 20))?;
            drop(file);
            if (index + 1) % tenth == 0 {
                marks.push(Instant::now());
            }
        }
        Ok(count as u64)
    })?;

    let mut found = 0;
    for index in (0..count).step_by(FILES_PER_DIRECTORY) {
        found += fs::read_dir(directory(index))?.count();
        if !body.whole((index as u64) << 20, &fs::read(path(index))?) {
            return Err(format!("create: {} holds other bytes than were written", path(index).display()).into());
        }
    }
    if found != count {
        return Err(format!("create: {found} files listed instead of {count}").into());
    }
    let timing = |from: usize, to: usize| Timing {
        ops: ((to - from) * tenth) as u64,
        elapsed: marks[to].duration_since(marks[from]),
    };
    phase::report("create-all", whole, 0)?;
    phase::report("create-first-tenth", timing(0, 1), 0)?;
    phase::report("create-last-tenth", timing(TENTHS - 1, TENTHS), 0)
}
