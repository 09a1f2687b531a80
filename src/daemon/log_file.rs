//! The log of a background daemon: `nexus.log` in the data directory.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The name of the log in the data directory.
const NAME: &str = "nexus.log";

/// At a start a log longer than this is set aside as `nexus.log.1`, so that two of them are all there ever is.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Sends standard output and error to the log, and takes standard input from `/dev/null`.
///
/// Where the log cannot be opened (a read-only disk below), it says so and goes on without one.
///
/// # Errors
/// `Io` when `/dev/null` cannot be opened or dup2(2) fails.
pub(super) fn take_over(data_dir: &Path) -> Result<()> {
    let null =
        OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|e| Error::io("opening /dev/null", e))?;
    let log = match open(data_dir) {
        Ok(log) => log,
        Err(e) => {
            log::warn!("going on without a log: {}: {e}", data_dir.join(NAME).display());
            null.try_clone().map_err(|e| Error::io("duplicating /dev/null", e))?
        }
    };
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&log))
        .and_then(|()| rustix::stdio::dup2_stderr(&log))
        .map_err(|e| Error::io("redirecting the standard streams", e.into()))
}

fn open(data_dir: &Path) -> std::io::Result<File> {
    let path = data_dir.join(NAME);
    if fs::symlink_metadata(&path).is_ok_and(|attributes| attributes.len() > LOG_BYTES_MAX) {
        fs::rename(&path, data_dir.join("nexus.log.1"))?;
    }
    // 0600: it names files. O_NOFOLLOW: a link put here must not make us write elsewhere.
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}
