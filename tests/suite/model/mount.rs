//! A mount as subject.

use std::path::{Path, PathBuf};

use super::answer::{Answer, Value};
use super::directory::{Directory, Place};
use crate::harness::Mounted;

impl Place for Mounted {
    fn path(&self) -> PathBuf {
        self.root()
    }

    fn remount(&mut self) {
        self.remount();
    }

    fn etag(&self, path: &Path) -> Answer {
        let mut etag = vec![0; 64];
        let len = rustix::fs::getxattr(path, "user.nexus.etag", &mut etag[..])?;
        etag.truncate(len);
        Ok(Value::Bytes(etag))
    }

    /// A node's number is its `path_id`, which is never given again.
    fn reuses_numbers(&self) -> bool {
        false
    }

    /// Unmounts, and `nexus fsck` finds nothing.
    fn finish(self) -> Result<(), String> {
        self.finish();
        Ok(())
    }
}

#[test]
fn mount() {
    super::runs("mount", || Directory::new(Mounted::over("dev_fuse", &[])), &[1, 2, 3], 5_000);
}

#[test]
fn mount_without_the_checks_of_the_kernel() {
    let mount = || Directory::new(Mounted::over("io_uring", &["-o", "no_default_permissions"]));
    super::runs("mount_without_the_checks_of_the_kernel", mount, &[7], 5_000);
}

#[test]
fn mount_over_io_uring() {
    super::runs("mount_over_io_uring", || Directory::new(Mounted::over("io_uring", &[])), &[4, 5, 6], 5_000);
}
