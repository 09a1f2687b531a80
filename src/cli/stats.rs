//! `nexus stats`: what the process that has a store has counted.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nexus::advice::refusal;
use nexus::client;
use nexus::error::{ErrorKind, Result};
use nexus::stats::Report;

use super::{configuration, output};

mod json;
mod table;

/// The shortest time between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest: a day.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// Tell what the process that has the store has counted
///
/// Requests of the kernel by kind, and how long they took inside the process: half of them at most p50, 99 of 100 at most
/// p99. Commits, seals, caches, bytes. p50, p90 and p99 may be told too large by up to an eighth.
///
/// Caches: 'database pages' are those in the memory of SQLite; 'live files' counts opens of files that are open already;
/// 'bodies' reads of what was read and verified since the file was opened; 'kernel pages' opens at which the kernel could keep
/// what it had of the file; 'places' looks at where a file stands, where tenants are kept apart.
///
/// Exits with 3 when nobody has the store. Tenants and agents may not look, unless with --admin. The same counters are in
/// /system/metrics on a mount of an administrator.
#[derive(Debug, Args)]
pub(crate) struct StatsCommand {
    /// Look again each second, or every so many, and tell what came in between
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = pause)]
    watch: Option<Duration>,
    /// As a JSON object; with --watch one on each line
    #[arg(long)]
    json: bool,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// A look, as it is shown.
struct Shown {
    data_dir: PathBuf,
    report: Report,
    /// Whether it tells all since the process began, not what came since the last look.
    is_all: bool,
}

impl StatsCommand {
    pub(crate) fn run(self) -> Result<()> {
        let config = configuration(self.data_dir)?;
        let look = || {
            client::stats(&config.data_dir, &config.principal)?.ok_or_else(|| {
                refusal(
                    ErrorKind::NotFound,
                    format!("asking for the statistics of {}", config.data_dir.display()),
                    "nobody has the store open, so nothing is counted",
                    "mount it, or use it from a program",
                )
            })
        };
        let mut last: Option<Report> = None;
        loop {
            let report = look()?;
            let since = last.as_ref().and_then(|last| report.since(last));
            let is_first = last.is_none();
            let is_all = since.is_none();
            last = Some(report.clone());
            let shown = Shown { data_dir: config.data_dir.clone(), report: since.unwrap_or(report), is_all };
            if self.json {
                output::json(&json::of(&shown))?;
            } else {
                output::page(&table::of(&shown), is_first, self.watch.is_some())?;
            }
            let Some(pause) = self.watch else { return Ok(()) };
            if output::is_unread_after(pause)? {
                return Ok(());
            }
        }
    }
}

/// The pause between two looks.
fn pause(typed: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = typed.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    let pause = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
    if (PAUSE_MIN..=PAUSE_MAX).contains(&pause) {
        return Ok(pause);
    }
    Err(format!("from {} to {} seconds", PAUSE_MIN.as_secs_f64(), PAUSE_MAX.as_secs()))
}
