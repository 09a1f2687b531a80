//! The counters for people.

use std::fmt::Write as _;

use nexus::stats::{BodyReport, CacheReport, Distribution, StoreReport, TrafficReport, Via};

use super::Shown;

/// All of it, ending with a line's end.
pub(super) fn of(shown: &Shown) -> String {
    let store = &shown.report.store;
    let seconds = store.nanos as f64 / 1e9;
    let span = if shown.is_all { "since the start" } else { "since the last look" };
    let mut text =
        format!("{}, process {}: {} {span}\n", shown.data_dir.display(), shown.report.pid, duration(store.nanos),);
    for one in &shown.report.mounts {
        mount(&mut text, one, seconds);
    }
    work(&mut text, store, seconds);
    state(&mut text, store);
    text
}

fn mount(text: &mut String, mount: &TrafficReport, seconds: f64) {
    let place = String::from_utf8_lossy(&mount.mountpoint);
    // Writing to a text cannot fail.
    writeln!(text, "\nmount on {}", place.escape_debug()).ok();
    for via in [Via::IoUring, Via::DevFuse] {
        let requests: Vec<_> = mount.requests.iter().filter(|request| request.via == via).collect();
        if !requests.is_empty() {
            head(text, &format!("over {}", via.word()), true);
        }
        for request in requests {
            row(text, &request.kind, &request.took, seconds, Some(request.errors));
        }
    }
    if !mount.errors.is_empty() {
        let errors: Vec<_> = mount.errors.iter().map(|(word, count)| format!("{word} {count}")).collect();
        writeln!(text, "  errors: {}", errors.join(", ")).ok();
    }
    writeln!(
        text,
        "  read {}, written {}; opens for the kernel alone {}, refused {}; bodies given along {}; notices {}; processors kept awake {} times, {}",
        size(mount.bytes_read),
        size(mount.bytes_written),
        mount.passthrough_granted,
        mount.passthrough_refused,
        mount.bodies_given,
        mount.notices,
        mount.kept_awake,
        duration(mount.awake_nanos),
    )
    .ok();
}

/// What the store does by itself, or for the library.
fn work(text: &mut String, store: &StoreReport, seconds: f64) {
    let all = [
        ("library requests", &store.library),
        ("commits", &store.commits.took),
        ("syncs of the log", &store.log_syncs),
        ("checkpoints", &store.checkpoints),
        ("seals", &store.seals),
    ];
    text.push('\n');
    head(text, "store", false);
    all.iter().for_each(|(name, took)| row(text, name, took, seconds, None));
    let operations = &store.commits.operations;
    if operations.count() > 0 {
        let (middle, most) = (operations.quantile(0.5), operations.max);
        writeln!(text, "  operations in a commit: half at most {middle}, all at most {most}").ok();
    }
}

/// Bodies, caches, and what is open.
fn state(text: &mut String, store: &StoreReport) {
    let bodies = |text: &mut String, place: &str, seen: BodyReport| {
        let (bytes, shared) = (size(seen.bytes), size(seen.shared_bytes));
        writeln!(text, "  in {place}: {} ({bytes}), stored already: {} ({shared})", seen.stored, seen.shared).ok();
    };
    text.push_str("\nbodies\n");
    bodies(text, "files", store.big);
    bodies(text, "the database", store.small);
    text.push_str("\ncaches\n");
    store.caches.iter().for_each(|cache| writeln!(text, "  {}", hits(cache)).unwrap_or_default());
    let now = store.backlog;
    let (files, handles, drafts) = (now.live_files, now.open_handles, now.memory_drafts);
    let (draft_bytes, pages) = (size(now.memory_draft_bytes), size(store.page_bytes));
    let (waiting, seals, removals) = (now.uncommitted, now.to_seal, now.to_remove);
    writeln!(
        text,
        "\nnow\n  open: {files} files, {handles} handles; in memory: {drafts} drafts ({draft_bytes}), database pages ({pages})"
    )
    .ok();
    writeln!(text, "  to commit: {waiting} operations; to seal: {seals} drafts; to remove: {removals} files").ok();
}

fn hits(cache: &CacheReport) -> String {
    let all = cache.hits.saturating_add(cache.misses);
    let share = if all == 0 { "-".into() } else { format!("{:.1} %", cache.hits as f64 * 100.0 / all as f64) };
    format!("{:<16} {share:>8} of {all}", cache.name.replace('_', " "))
}

fn head(text: &mut String, what: &str, errors: bool) {
    let errors = if errors { format!(" {:>9}", "errors") } else { String::new() };
    let columns = ["count", "/s", "p50", "p90", "p99", "max"];
    let [count, rate, columns @ ..] = columns;
    let columns: String = columns.iter().map(|name| format!(" {name:>9}")).collect();
    writeln!(text, "  {what:<18} {count:>10} {rate:>9}{columns}{errors}").ok();
}

fn row(text: &mut String, name: &str, took: &Distribution, seconds: f64, errors: Option<u64>) {
    let count = took.count();
    let columns = [took.quantile(0.5), took.quantile(0.9), took.quantile(0.99), took.max];
    let shown = |value| if count == 0 { "-".into() } else { duration(value) };
    let columns: String = columns.iter().map(|value| format!(" {:>9}", shown(*value))).collect();
    let errors = errors.map(|errors| format!(" {errors:>9}")).unwrap_or_default();
    writeln!(text, "  {name:<18} {count:>10} {:>9.1}{columns}{errors}", rate(count, seconds)).ok();
}

/// So many in a second.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// A duration with three figures and a unit.
fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => figures(nanos as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => figures(nanos as f64 / 1e6, "ms"),
        _ => figures(nanos as f64 / 1e9, "s"),
    }
}

/// A number of bytes with three figures and a unit.
fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(power, _)| bytes >> power > 0);
    unit.map_or_else(|| format!("{bytes} B"), |(power, unit)| figures(bytes as f64 / (1_u64 << power) as f64, unit))
}

fn figures(value: f64, unit: &str) -> String {
    if value < 10.0 {
        format!("{value:.2} {unit}")
    } else if value < 100.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures() {
        let shown = [999, 1_000, 12_345, 999_999, 1_500_000, 2_000_000_000, 4_000_000_000_000].map(duration);
        assert_eq!(shown, ["999 ns", "1.00 us", "12.3 us", "1000 us", "1.50 ms", "2.00 s", "4000 s"]);
        assert_eq!([0, 1023, 1536, 5 << 40].map(size), ["0 B", "1023 B", "1.50 KiB", "5.00 TiB"]);
    }
}
