//! The five SQL views, each with all items in it, as a tool of somebody else reads them: a connection of its own to the
//! database file, every column of every row.

use std::collections::HashSet;

use nexus::Config;
use nexus::model::Digest;
use rusqlite::types::ValueRef;

use crate::make::{in_order, make, path};
use crate::{Failure, Options, Timed, Took, expect, tell};

/// Each view, and the status that brings an item there.
const VIEWS: [(&str, &str); 5] = [
    ("pending_work_items", "pending"),
    ("blocked_work_items", "blocked"),
    ("in_progress_work", "in_progress"),
    ("ready_work_items", "ready"),
    ("work_by_priority", "ready"),
];
/// How often each is read.
const TIMES: usize = 5;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    make(options)?;
    for (view, status) in VIEWS {
        let nx = nexus::connect(&Config::at(&options.directory)?)?;
        for number in 0..options.items {
            nx.metadata().set(path(number), "status", status)?;
        }
        nx.close()?;
        let (took, rows) = read(options, view)?;
        expect(&rows.len(), &options.items)?;
        right(&rows, status == "in_progress")?;
        tell(&format!("view-{}", status_of(view, status)), TIMES, took);
    }
    Ok(())
}

/// The name of the row.
fn status_of<'a>(view: &str, status: &'a str) -> &'a str {
    if view == "work_by_priority" { "by_priority" } else { status }
}

/// Times reading a view some times; the paths and the digests of once more.
fn read(options: &Options, view: &str) -> Result<(Took, Vec<(String, String)>), Failure> {
    let database = rusqlite::Connection::open(options.directory.join("metadata.db"))?;
    let timed = Timed::begin()?;
    for _ in 0..TIMES {
        each(&database, view, &mut |_, _| Ok(()))?;
    }
    let took = timed.end()?;
    let mut found = Vec::new();
    each(&database, view, &mut |path, digest| {
        found.push((path.as_str()?.to_owned(), digest.as_str()?.to_owned()));
        Ok(())
    })?;
    Ok((took, found))
}

/// Reads all columns of all rows, and hands on the path and the digest of each.
fn each(
    database: &rusqlite::Connection,
    view: &str,
    take: &mut dyn FnMut(ValueRef<'_>, ValueRef<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut query = database.prepare(&format!("SELECT * FROM {view}"))?;
    let columns = query.column_count();
    let (path, digest) = (query.column_index("virtual_path")?, query.column_index("content_hash")?);
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let filled = (0..columns).filter(|at| row.get_ref(*at).is_ok_and(|value| value != ValueRef::Null));
        if filled.count() < 6 {
            return Err(format!("{view} has a row of next to nothing").into());
        }
        take(row.get_ref(path)?, row.get_ref(digest)?)?;
    }
    Ok(())
}

/// Whether they are the items in the order of the queue, or of their start, with the bodies they were made with.
fn right(rows: &[(String, String)], by_start: bool) -> Result<(), Failure> {
    let order = in_order(rows.len());
    let all: HashSet<_> = rows.iter().map(|(path, _)| path).collect();
    expect(&all.len(), &rows.len())?;
    for (number, (found, digest)) in order.into_iter().zip(rows) {
        // Those started last come first, and the clock may have given two the same time.
        let number = if by_start { found[found.len() - 6..].parse()? } else { number };
        expect(found, &path(number))?;
        expect(digest, &Digest::of(format!("what item {number} is about").as_bytes()).to_string())?;
    }
    Ok(())
}
