//! The integration tests, one binary: what the library and a mount promise.

#![allow(clippy::unwrap_used, reason = "everything here is a test or serves one")]

mod cli;
mod model;
mod regressions;
mod vfs;
