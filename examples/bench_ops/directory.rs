//! One directory with very many entries, worked on in an order that is not the one it was filled in.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;

use crate::content::mix;
use crate::phase::{self, Caches};
use crate::{Failure, Options};

/// Creates `count` empty files, lists them, asks for the attributes of each at random, and removes them at random.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = options.directory.join("many");
    fs::create_dir(&directory)?;
    let names: Vec<PathBuf> = (0..options.count).map(|index| directory.join(format!("entry{index:07}"))).collect();
    let order = shuffled(options.count, options.seed);
    let count = options.count as u64;

    phase::prepare(Caches::Warm)?;
    let timing = phase::alone(options, "create", || {
        for name in &names {
            File::create_new(name).map_err(|error| format!("{}: {error}", name.display()))?;
        }
        Ok(count)
    })?;
    phase::prepare(Caches::NamesDropped)?;
    let mut listed = Vec::with_capacity(options.count);
    let listing = phase::alone(options, "list", || {
        for entry in fs::read_dir(&directory)? {
            listed.push(entry?.file_name());
        }
        Ok(listed.len() as u64)
    })?;
    let found: HashSet<&OsString> = listed.iter().collect();
    if listed.len() != names.len()
        || names.iter().any(|name| !name.file_name().is_some_and(|own| found.contains(&own.to_os_string())))
    {
        return Err(
            format!("list: {} entries, {} of them different, instead of {count}", listed.len(), found.len()).into()
        );
    }
    phase::report("create", timing, 0)?;
    phase::report("list", listing, 0)?;

    phase::prepare(Caches::NamesDropped)?;
    let timing = phase::alone(options, "stat-random", || {
        for &index in &order {
            let attributes = fs::symlink_metadata(&names[index]).map_err(|error| format!("stat-random: {error}"))?;
            if !attributes.is_file() || attributes.len() != 0 {
                return Err(format!("{}: not an empty file", names[index].display()).into());
            }
        }
        Ok(count)
    })?;
    phase::report("stat-random", timing, 0)?;

    phase::prepare(Caches::Warm)?;
    let timing = phase::alone(options, "remove", || {
        for &index in &order {
            fs::remove_file(&names[index]).map_err(|error| format!("{}: {error}", names[index].display()))?;
        }
        Ok(count)
    })?;
    let left = fs::read_dir(&directory)?.count();
    if left != 0 {
        return Err(format!("remove: {left} entries are still listed").into());
    }
    phase::report("remove", timing, 0)
}

/// The numbers `0..count` in an order fixed by the seed (Fisher and Yates).
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // Both fit: `count` came from a usize.
        let other = mix(seed ^ mix(last as u64)) % (last as u64 + 1);
        order.swap(last, other as usize);
    }
    order
}
