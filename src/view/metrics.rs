//! `/system/metrics`: figures and counters in the text format of Prometheus, version 0.0.4.
//!
//! A histogram is told at every second power of two nanoseconds, where the counters know it exactly. Durations are whole
//! nanoseconds, so the largest value below such a power is one less.

use std::fmt::Write as _;

use crate::error::Result;
use crate::stats::{Distribution, StoreReport, TrafficReport};
use crate::vfs::Vfs;

/// The powers of two, in nanoseconds, at which durations are told: from 1 us to 17 s.
const DURATIONS: [u32; 13] = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34];
/// Those at which numbers of operations are told: from 1 to 4095.
const NUMBERS: [u32; 7] = [1, 2, 4, 6, 8, 10, 12];
/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// All of it.
///
/// # Errors
/// What counting the files of the store reports.
pub(super) fn text(vfs: &Vfs) -> Result<String> {
    let mut page = Page::default();
    figures(&mut page, vfs)?;
    let done = vfs.done();
    store(&mut page, &done);
    caches_and_bodies(&mut page, &done);
    mounts(&mut page, &vfs.stats().mounts());
    Ok(page.0)
}

/// The text as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a text cannot fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    /// `labels` is empty, or in braces.
    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{name}{labels} {value}").ok();
    }

    fn single(&mut self, kind: &str, (name, help, value): (&str, &str, u64)) {
        self.family(kind, name, help);
        self.sample(name, "", value);
    }

    /// `unit`: by what values are divided to be told.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], seen: &Distribution, powers: &[u32], unit: f64) {
        for power in powers {
            let end = ((1_u64 << power) - 1) as f64 / unit;
            let labels = braces(labels, Some(&end.to_string()));
            self.sample(&format!("{name}_bucket"), &labels, seen.below_power(*power));
        }
        self.sample(&format!("{name}_bucket"), &braces(labels, Some("+Inf")), seen.count());
        self.sample(&format!("{name}_sum"), &braces(labels, None), seen.sum as f64 / unit);
        self.sample(&format!("{name}_count"), &braces(labels, None), seen.count());
    }
}

/// Labels in braces; nothing without any.
fn braces(labels: &[(&str, &str)], end: Option<&str>) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let all = labels.iter().copied().chain(end.map(|end| ("le", end)));
    let all: Vec<_> = all.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

/// What the store holds.
fn figures(page: &mut Page, vfs: &Vfs) -> Result<()> {
    let figures = vfs.figures()?;
    let room = vfs.statfs()?;
    let free = room.blocks_available * u64::from(room.block_size);
    let gauges = [
        ("nexus_directories", "Directories in the store.", figures.directories),
        ("nexus_files", "Regular files in the store.", figures.files),
        ("nexus_file_bytes", "Bytes of all files, each counted by itself.", figures.file_bytes),
        ("nexus_bodies", "Distinct bodies in the store.", figures.bodies),
        ("nexus_body_bytes", "Bytes of distinct bodies.", figures.body_bytes),
        ("nexus_small_bodies", "Distinct bodies kept in the database.", figures.small_bodies),
        ("nexus_drafts", "Files whose body is a draft on the disk.", figures.drafts),
        ("nexus_failed", "1 when nothing more is written because the disk failed.", vfs.is_broken().into()),
        ("nexus_disk_free_bytes", "Room on the disk of the store.", free),
    ];
    gauges.into_iter().for_each(|gauge| page.single("gauge", gauge));
    page.single("counter", ("nexus_changes_total", "Changes since the store was opened.", vfs.operations_written()));
    Ok(())
}

/// What it does, and has still to do.
fn store(page: &mut Page, done: &StoreReport) {
    let now = &done.backlog;
    let gauges = [
        ("nexus_live_files", "Files that are open or being sealed.", now.live_files),
        ("nexus_open_handles", "Open files, and directories that are being read.", now.open_handles),
        ("nexus_memory_drafts", "Drafts in memory.", now.memory_drafts),
        ("nexus_memory_draft_bytes", "Bytes of drafts in memory.", now.memory_draft_bytes),
        ("nexus_uncommitted_operations", "Operations that wait for the next commit.", now.uncommitted),
        ("nexus_seals_waiting", "Drafts that wait for being sealed.", now.to_seal),
        ("nexus_removals_waiting", "Dead bodies and drafts that wait for being removed.", now.to_remove),
        ("nexus_page_cache_bytes", "Memory that pages of the database take.", done.page_bytes),
    ];
    gauges.into_iter().for_each(|gauge| page.single("gauge", gauge));
    let histograms = [
        ("nexus_library_request_seconds", "Requests of the library.", &done.library),
        ("nexus_commit_seconds", "Commits of the database.", &done.commits.took),
        ("nexus_log_sync_seconds", "Syncs of the database's log.", &done.log_syncs),
        ("nexus_checkpoint_seconds", "Moves of the log into the database.", &done.checkpoints),
        ("nexus_seal_seconds", "Seals of big drafts in the background.", &done.seals),
    ];
    for (name, help, seen) in histograms {
        page.family("histogram", name, help);
        page.histogram(name, &[], seen, &DURATIONS, SECOND);
    }
    page.family("histogram", "nexus_commit_operations", "Operations in each commit.");
    page.histogram("nexus_commit_operations", &[], &done.commits.operations, &NUMBERS, 1.0);
}

fn caches_and_bodies(page: &mut Page, done: &StoreReport) {
    let places = [("file", done.big), ("database", done.small)];
    let families = [
        ("nexus_bodies_stored_total", "Bodies that were stored.", places.map(|(_, seen)| seen.stored)),
        ("nexus_bodies_stored_bytes_total", "Bytes of bodies that were stored.", places.map(|(_, seen)| seen.bytes)),
        ("nexus_bodies_shared_total", "Bodies that were stored already.", places.map(|(_, seen)| seen.shared)),
        (
            "nexus_bodies_shared_bytes_total",
            "Bytes of bodies that were stored already.",
            places.map(|(_, seen)| seen.shared_bytes),
        ),
    ];
    for (name, help, values) in families {
        page.family("counter", name, help);
        for ((place, _), value) in places.iter().zip(values) {
            page.sample(name, &braces(&[("place", place)], None), value);
        }
    }
    page.family("counter", "nexus_cache_hits_total", "Times that what was wanted was in the cache.");
    for cache in &done.caches {
        page.sample("nexus_cache_hits_total", &braces(&[("cache", &cache.name)], None), cache.hits);
    }
    page.family("counter", "nexus_cache_misses_total", "Times that it was not.");
    for cache in &done.caches {
        page.sample("nexus_cache_misses_total", &braces(&[("cache", &cache.name)], None), cache.misses);
    }
}

/// One of the numbers of a mount.
type Of = fn(&TrafficReport) -> u64;

/// What the kernel asked for through each mount.
fn mounts(page: &mut Page, mounts: &[TrafficReport]) {
    let named: Vec<_> = mounts.iter().map(|mount| (String::from_utf8_lossy(&mount.mountpoint), mount)).collect();
    page.family("histogram", "nexus_request_seconds", "Requests of the kernel, without the way through it.");
    for (place, mount) in &named {
        for request in &mount.requests {
            let labels = [("mount", &**place), ("transport", request.via.word()), ("kind", &request.kind)];
            page.histogram("nexus_request_seconds", &labels, &request.took, &DURATIONS, SECOND);
        }
    }
    page.family("counter", "nexus_request_errors_total", "Requests that were answered with an error.");
    for (place, mount) in &named {
        for request in &mount.requests {
            let labels = [("mount", &**place), ("transport", request.via.word()), ("kind", &request.kind)];
            page.sample("nexus_request_errors_total", &braces(&labels, None), request.errors);
        }
    }
    page.family("counter", "nexus_errors_total", "Errors that were answered.");
    for (place, mount) in &named {
        for (error, count) in &mount.errors {
            page.sample("nexus_errors_total", &braces(&[("mount", place), ("error", error)], None), count);
        }
    }
    let families: [(&str, &str, Of); 6] = [
        ("nexus_read_bytes_total", "Bytes that requests have read.", |mount| mount.bytes_read),
        ("nexus_written_bytes_total", "Bytes that requests have written.", |mount| mount.bytes_written),
        ("nexus_passthrough_opens_total", "Opens that the kernel serves by itself.", |mount| mount.passthrough_granted),
        ("nexus_passthrough_refusals_total", "Opens that it would not serve by itself.", |mount| {
            mount.passthrough_refused
        }),
        ("nexus_bodies_given_total", "Small bodies given along with an open, not asked for.", |mount| {
            mount.bodies_given
        }),
        ("nexus_notices_total", "Messages to the kernel about changes from elsewhere.", |mount| mount.notices),
    ];
    for (name, help, value) in families {
        page.family("counter", name, help);
        for (place, mount) in &named {
            page.sample(name, &braces(&[("mount", place)], None), value(mount));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::{Op, Traffic, Via};

    #[test]
    fn a_histogram_is_told_in_steps_that_grow() {
        let mount = Traffic::new(b"/a \"b\"\\c\n".to_vec(), |_| "ENOENT");
        for micros in [1, 1, 5, 100_000] {
            mount.answered(Via::IoUring, Op::Lookup, Duration::from_micros(micros), None);
        }
        mount.answered(Via::IoUring, Op::Lookup, Duration::from_secs(40), Some(2));
        let mut page = Page::default();
        mounts(&mut page, &[mount.look()]);
        let labels = r#"mount="/a \"b\"\\c\n",transport="io_uring",kind="lookup""#;
        for (end, count) in [("0.000001023", 2), ("0.000016383", 3), ("0.268435455", 4), ("+Inf", 5)] {
            let line = format!("nexus_request_seconds_bucket{{{labels},le=\"{end}\"}} {count}\n");
            assert!(page.0.contains(&line), "{line}{}", page.0);
        }
        assert!(page.0.contains(&format!("nexus_request_seconds_sum{{{labels}}} 40.100007\n")), "{}", page.0);
        assert!(page.0.contains(&format!("nexus_request_errors_total{{{labels}}} 1\n")));
        assert!(page.0.contains("error=\"ENOENT\"} 1\n"));
    }
}
