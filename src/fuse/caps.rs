//! What is agreed with the kernel in the handshake (FUSE_INIT).
//!
//! An allow-list: a capability is asked for only when everything that follows from it is done. Not asked for, and why:
//! - `WRITEBACK_CACHE`: excludes passthrough, and the daemon would see sizes and times late;
//! - `POSIX_LOCKS`, `FLOCK_LOCKS` where one mount is alone: without them the kernel locks by itself, and a close is no
//!   request;
//! - `SETXATTR_EXT`, `SECURITY_CTX`, `CREATE_SUPP_GROUP`, `ALLOW_IDMAP`, `HAS_RESEND`: bring request fields that fuser
//!   does not hand on;
//! - `AUTO_INVAL_DATA`: every change is made or announced by this daemon (`teller`), nothing has to be guessed from times:
//!   a time that was set back would hide a change, and a mount's own writes would drop its own pages;
//! - `READDIRPLUS_AUTO`: with long lifetimes the attributes of a listing are not wasted even when nobody asks at once.

use fuser::{InitFlags, KernelConfig};
use log::debug;

/// Largest write, and largest read, in one request: what fits into the 256 pages that Linux allows by default
/// (`/proc/sys/fs/fuse/max_pages_limit`).
pub(super) const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Most requests that readahead and the like may have outstanding; the default of 12 starves a fast disk below.
const BACKGROUND_MAX: u16 = 128;

/// What is asked for where the kernel offers it; asynchronous reads, big writes and many pages are fuser's own default.
const WANTED: [InitFlags; 8] = [
    // Truncating while opening is one request, not two; and with two, who reads meanwhile can be shown zeros, because the
    // kernel believes the old size until it has heard the answer (`FUSE_I_SIZE_UNSTABLE`).
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    // A listing brings the attributes of its entries along.
    InitFlags::FUSE_DO_READDIRPLUS,
    // Lookups and listings of one directory at once.
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    // Who reads a file that another is writing past the page cache gets no cache either, and may map it all the same.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Without it the kernel asks for `security.capability` before each single write, passed through or not, which costs
    // as much as the write. What follows from it is in `Handlers::setattr` and `open`.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
];

/// Whether the kernel reads directories that it was told not to open.
pub(super) fn directories_need_not_be_opened(config: &mut KernelConfig) -> bool {
    config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok()
}

/// Answers the kernel's offer. `stack_depth`: how deep the store's own filesystem is stacked where passthrough is wanted.
/// `locks`: they are kept in the store. `ring`: requests are wanted over io_uring; says whether they will come there. After
/// that answer the kernel holds all requests back until the queues are there.
pub(super) fn negotiate(config: &mut KernelConfig, stack_depth: Option<u32>, locks: bool, ring: bool) -> bool {
    for wanted in WANTED {
        if config.add_capabilities(wanted).is_err() {
            debug!("this kernel does not know {wanted:?}");
        }
    }
    if locks && config.add_capabilities(InitFlags::FUSE_POSIX_LOCKS | InitFlags::FUSE_FLOCK_LOCKS).is_err() {
        debug!("this kernel keeps locks by itself");
    }
    if let Some(depth) = stack_depth {
        // An older kernel does not know passthrough; the probe that follows finds out.
        if config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok() {
            config.set_max_stack_depth(depth).ok();
        }
    }
    // Each of these fails only on a value out of range, and then the default stands.
    config.set_max_write(TRANSFER_BYTES_MAX).ok();
    config.set_max_background(BACKGROUND_MAX).ok();
    // fuser starts from what the kernel offers and refuses more.
    config.set_max_readahead(TRANSFER_BYTES_MAX).ok();
    ring && config.add_capabilities(InitFlags::FUSE_OVER_IO_URING).is_ok()
}
