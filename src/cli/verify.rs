//! `nexus verify`: every body hashed now.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use nexus::advice;
use nexus::error::{ErrorKind, Result};
use nexus::model::VPath;
use nexus::vfs::{VerifyEvent, VerifyReport};

use super::store_access::with_nexus;
use super::{Exit, output};

/// Hash every stored body now, and name the files whose bodies are damaged
///
/// Reads everything from the disk, each body once, whatever is known of it. A body that does not hash to its name is put
/// into DATA_DIR/quarantine; reading its files fails until the same content is stored again. The store may be mounted; then
/// it also verifies itself in the background, slowly, and reports to its log.
///
/// Exit codes: 0 all is right, 7 something is damaged, others as for every command.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Only what is at and below this path of the store, such as /documents
    #[arg(default_value = "/")]
    path: PathBuf,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit> {
        let path = VPath::parse(self.path.as_os_str().as_bytes())
            .map_err(|e| advice::with_hint(&e, "PATH is a path inside the store, with the mountpoint as /"))?;
        let report = with_nexus(self.data_dir, |nx| {
            let bar = bar();
            let verified = nx.verify(path.as_bytes(), &mut |event| {
                let told = match event {
                    VerifyEvent::Progress { bytes, bytes_all } => {
                        bar.set_length(bytes_all);
                        bar.set_position(bytes);
                        Ok(())
                    }
                    VerifyEvent::Damaged(damaged) => bar.suspend(|| output::line(damaged)),
                };
                // Without a reader the rest is still verified, and the exit code says what was found.
                drop(told);
                ControlFlow::Continue(())
            });
            bar.finish_and_clear();
            verified
        })?;
        conclude(&path, &report)
    }
}

fn conclude(path: &VPath, report: &VerifyReport) -> Result<Exit> {
    let bodies = match report.bodies {
        1 => "1 body".into(),
        more => format!("{more} bodies"),
    };
    let size = HumanBytes(report.bytes);
    match report.damaged.len() {
        0 => {
            output::line(format_args!("{path}: {bodies} of {size} verified, all right"))?;
            Ok(Exit::OK)
        }
        damaged => {
            output::line(format_args!("{path}: {bodies} of {size} verified, {damaged} damaged"))?;
            output::note("storing the same content again, in any file, heals a damaged body");
            Ok(Exit::of(ErrorKind::Damaged))
        }
    }
}

/// Drawn on standard error, when that is a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
