//! The switch of the kernel for requests over io_uring. It is one for the whole machine, and other tests mount meanwhile: who mounts
//! holds it where it is, and who turns it off keeps the others from mounting.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};

const SWITCH: &str = "/sys/module/fuse/parameters/enable_uring";

/// The switch, held until this is dropped; then it is on again.
pub(crate) struct Switch {
    /// `None` on a kernel that has none: a test that needs the ring fails there, for nexus refuses.
    _held: Option<File>,
}

impl Switch {
    /// On: the kernel offers the ring.
    pub(crate) fn on() -> Self {
        let switch = Self::hold(FlockOperation::LockShared);
        if fs::read_to_string(SWITCH).is_ok_and(|state| state.trim() == "N") {
            turn("Y");
        }
        switch
    }

    /// Off: it does not.
    pub(crate) fn off() -> Self {
        let switch = Self::hold(FlockOperation::LockExclusive);
        assert!(switch._held.is_some(), "this kernel has no {SWITCH}; the tests need Linux 6.14 or later");
        turn("N");
        switch
    }

    fn hold(how: FlockOperation) -> Self {
        let file = File::open(SWITCH).ok();
        if let Some(file) = &file {
            flock(file, how).unwrap();
        }
        Self { _held: file }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if fs::read_to_string(SWITCH).is_ok_and(|state| state.trim() == "N") {
            turn("Y");
        }
    }
}

fn turn(state: &str) {
    fs::write(SWITCH, state).unwrap_or_else(|error| panic!("{SWITCH}: {error}"));
}
