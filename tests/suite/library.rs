//! The library: one process has the store, the others are its clients, and nobody can tell which is which.
//!
//! Programs are played by this very test binary, started again ([`program`]). Every test ends in a clean `nexus fsck`.

mod bodies;
mod coherence;
mod commands;
mod owners;
pub(crate) mod program;
mod races;

#[path = "../../examples/embedded_demo.rs"]
mod embedded_demo;
#[path = "../../examples/tenants.rs"]
mod tenants;

use std::path::{Path, PathBuf};

use nexus::{Config, Nexus};
use tempfile::TempDir;

use crate::harness::{Random, nexus, run, scratch, seed};

/// A store without a mount.
struct Place {
    base: TempDir,
    data_dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        let base = scratch();
        let data_dir = base.path().join("store");
        run(nexus().arg("init").arg(&data_dir)).ok();
        Self { base, data_dir }
    }

    fn connect(&self) -> Nexus {
        connect(&self.data_dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// The end of every test: a store without a complaint, and no socket that nobody listens on.
    fn finish(self) {
        assert!(!self.data_dir.join("nexus.sock").exists(), "the last owner has left its socket");
        run(nexus().arg("fsck").arg(&self.data_dir)).ok();
    }
}

pub(crate) fn connect(data_dir: &Path) -> Nexus {
    nexus::connect(&Config::at(data_dir).unwrap()).unwrap()
}

/// Chance, with the seed printed.
fn random() -> Random {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    Random(seed)
}

#[test]
fn the_examples_run() {
    embedded_demo::main().unwrap();
    tenants::main().unwrap();
}
