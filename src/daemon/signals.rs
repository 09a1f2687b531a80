//! The signals that ask a daemon to stop, signal(7).

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

/// SIGTERM, SIGINT and SIGHUP (the terminal of a foreground mount was closed), from now on kept for [`Self::forward`].
#[derive(Debug)]
pub(super) struct StopSignals(Signals);

impl StopSignals {
    /// Catches the signals. One that comes before they are forwarded is not lost.
    ///
    /// # Errors
    /// `Io` when sigaction(2) fails.
    pub(super) fn register() -> Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Self).map_err(|e| Error::io("catching signals", e))
    }

    /// Calls `stop` on each signal, on a thread of its own, for the rest of the process.
    ///
    /// # Errors
    /// `Io` when no thread can be started.
    pub(super) fn forward(mut self, stop: impl Fn() + Send + 'static) -> Result<()> {
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in self.0.forever() {
                    log::info!("signal {signal}: stopping");
                    stop();
                }
            })
            .map(drop)
            .map_err(|e: io::Error| Error::io("starting the thread for signals", e))
    }
}
