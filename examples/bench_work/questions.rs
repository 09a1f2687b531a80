//! What a program asks of the queue and does to it, through the library.

use std::time::Duration;

use nexus::{Config, Nexus};

use crate::make::{in_order, make, path};
use crate::{Failure, Options, expect, time};

/// How often a short question is asked, for a mean that means something.
const TIMES: usize = 200;
/// Of so many items one is claimed.
const ONE_IN: usize = 10;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    time("make", options.files + options.items, || make(options), Ok)?;
    let nx = nexus::connect(&Config::at(&options.directory)?)?;
    let (items, order) = (options.items, in_order(options.items));
    let paths: Vec<_> = (0..items).map(path).collect();
    let wanted = |from: usize, count: usize| order.iter().skip(from).take(count).map(|n| paths[*n].as_str());

    let set = || Ok(paths.iter().try_for_each(|path| nx.metadata().set(path, "status", "ready"))?);
    time("set-status", items, set, |()| counts(&nx, [items, 0, 0]))?;
    let ready = |limit: usize| {
        let mut last = Vec::new();
        for _ in 0..TIMES {
            last = nx.work().ready(Some(limit))?;
        }
        Ok(last)
    };
    for (workload, limit) in [("first-ready", 1), ("100-ready", 100)] {
        time(
            workload,
            TIMES,
            || ready(limit),
            |found| {
                expect(
                    &found.iter().map(|item| item.virtual_path.as_str()).collect(),
                    &wanted(0, limit).collect::<Vec<_>>(),
                )
            },
        )?;
    }
    let status = || (1..TIMES).try_fold(nx.work().status()?, |_, _| Ok(nx.work().status()?));
    time("status", TIMES, status, |counts| expect(&(counts.ready, counts.total), &(items as u64, items as u64)))?;

    let count = (items / ONE_IN).max(1);
    let mut claims = Vec::with_capacity(count);
    let claim = || {
        for _ in 0..count {
            claims.push(nx.work().claim("bench", None, Duration::ZERO)?.ok_or("nothing is ready")?);
        }
        Ok(())
    };
    time("claim", count, claim, |()| counts(&nx, [items - count, count, 0]))?;
    let found: Vec<_> = claims.iter().map(|claim| claim.item.virtual_path.as_str()).collect();
    expect(&found, &wanted(0, count).collect())?;
    let complete = || {
        for claim in &claims {
            nx.work().complete(&claim.item.virtual_path, Some(claim.claim))?;
        }
        Ok(())
    };
    time("complete", count, complete, |()| counts(&nx, [items - count, 0, count]))?;
    Ok(nx.close()?)
}

/// Whether as many items are ready, in progress and completed.
fn counts(nx: &Nexus, expected: [usize; 3]) -> Result<(), Failure> {
    let counts = nx.work().status()?;
    expect(&[counts.ready, counts.in_progress, counts.completed], &expected.map(|count| count as u64))
}
