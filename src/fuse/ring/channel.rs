//! What one thread and the kernel share: a small io_uring and the memory of one request. All `unsafe` of the ring is here.
//!
//! Guarantees that Rust and the kernel never see the memory at the same time. The kernel copies into and out of it in the
//! task that submitted the command only (fs/fuse/dev_uring.c), and with `IORING_SETUP_DEFER_TASKRUN` such work runs
//! nowhere but inside io_uring_enter(2) of the one task that may issue, io_uring_setup(2). A channel cannot leave its
//! thread, and nothing borrows the memory while it enters the kernel; when the thread closes the ring, commands are
//! cancelled without a copy, and the memory goes after that.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::abi::{
    ARGUMENT_BYTES, COMMIT_AND_FETCH, Field, HEADER_BYTES, IN_OUT_BYTES, InHeader, OutHeader, REGISTER, RingCommand,
    RingEntry,
};
use super::dispatch::Answer;
use crate::fuse::caps::TRANSFER_BYTES_MAX;

/// How much one request or answer carries besides its headers. The kernel refuses less than its largest transfer.
const PAYLOAD_BYTES: usize = TRANSFER_BYTES_MAX as usize;
/// Where the kernel is told of both areas, behind the headers.
const AREAS_AT: usize = 512;
/// Where the payload begins: on a page of its own.
const PAYLOAD_AT: usize = 4096;
const MEMORY_BYTES: usize = PAYLOAD_AT + PAYLOAD_BYTES;
/// One command is under way at a time, and the next is put in after it has come back.
const SUBMISSIONS_MAX: u32 = 2;
/// Where io_uring.h has `len` in an entry; the crate has no setter for it on this command.
const LEN_AT: usize = 24;

const _: () = assert!(HEADER_BYTES <= AREAS_AT && AREAS_AT + 2 * size_of::<libc::iovec>() <= PAYLOAD_AT);

/// One entry of a queue: takes one request, and with its answer waits for the next.
#[derive(Debug)]
pub(super) struct Channel {
    // Before the memory: closed first.
    ring: Ring,
    memory: Memory,
    queue: u16,
    /// Open for as long as commands name it.
    device: Option<Arc<OwnedFd>>,
    /// Raw pointers do not leave their thread, and so neither does this.
    _here: PhantomData<*const ()>,
}

struct Ring(IoUring<squeue::Entry128, cqueue::Entry>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "io_uring {}", self.0.as_raw_fd())
    }
}

/// Memory from the kernel, zeroed, and taking no room before it is touched.
#[derive(Debug)]
struct Memory(NonNull<u8>);

impl Channel {
    /// A channel to a queue, not yet registered. It belongs to the thread that makes it.
    ///
    /// # Errors
    /// When the kernel has no io_uring of this kind, or refuses this process one.
    pub(super) fn new(queue: u16) -> io::Result<Self> {
        // One thread issues, and is interrupted by nothing before it asks: what a queue pinned to its core needs.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .build(SUBMISSIONS_MAX)?;
        Ok(Self { ring: Ring(ring), memory: Memory::new()?, queue, device: None, _here: PhantomData })
    }

    /// Offers the channel to the mount behind `device`. Requests come when every queue of the machine has one.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn register(&mut self, device: Arc<OwnedFd>) -> io::Result<()> {
        self.device = Some(device);
        let mut entry = self.command(REGISTER, 0, Some(self.memory.areas()));
        // SAFETY: `Entry128` has the layout of `struct io_uring_sqe` with 64 bytes behind it, 128 bytes in all, and is
        // borrowed mutably here; `LEN_AT` is the place of the `u32` named `len`, and every bit pattern is a number.
        unsafe { (&raw mut entry).cast::<u8>().add(LEN_AT).cast::<u32>().write(2) };
        self.push(&entry)?;
        self.ring.0.submit()?;
        // What is taken comes back with its first request; what is refused comes back at once.
        match self.result() {
            Some(result) if result < 0 => Err(io::Error::from_raw_os_error(-result)),
            Some(_) => Err(io::Error::other("a request came before the mount was ready")),
            None => Ok(()),
        }
    }

    /// Sends the answer before, waits for a request and has it answered; `false` when the mount has ended.
    ///
    /// # Errors
    /// When the kernel broke off for another reason.
    pub(super) fn serve(
        &mut self,
        serve: impl FnOnce(&InHeader, &[u8; ARGUMENT_BYTES], &mut [u8], usize) -> Answer,
    ) -> io::Result<bool> {
        let result = loop {
            match self.ring.0.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                // A signal may have ended the wait.
                _ => {}
            }
            if let Some(result) = self.result() {
                break result;
            }
        };
        match -result {
            0 => {}
            // Unmounted, aborted, or this thread is ending.
            libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED => return Ok(false),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        let (headers, payload) = self.memory.parts();
        let commit_id = answer_in(headers, payload, serve)
            .ok_or_else(|| io::Error::other("the kernel sent a request without a header"))?;
        let entry = self.command(COMMIT_AND_FETCH, commit_id, None);
        self.push(&entry)?;
        Ok(true)
    }

    fn command(&self, command: u32, commit_id: u64, areas: Option<*const libc::iovec>) -> squeue::Entry128 {
        let mut bytes = [0; 80];
        let body = RingCommand { flags: 0, commit_id, queue: self.queue, padding: [0; 6] };
        body.put(&mut &mut bytes[..]).expect("80 bytes hold 24");
        let device = self.device.as_ref().map_or(-1, |device| device.as_raw_fd());
        opcode::UringCmd80::new(types::Fd(device), command).cmd(bytes).addr(areas.map(|at| at as u64)).build()
    }

    fn push(&mut self, entry: &squeue::Entry128) -> io::Result<()> {
        // SAFETY: the memory that a command names lives in `self` and goes after the ring, see the head of this file, and
        // so does the device.
        unsafe { self.ring.0.submission().push(entry) }.map_err(io::Error::other)
    }

    fn result(&mut self) -> Option<i32> {
        self.ring.0.completion().next().map(|completion| completion.result())
    }
}

/// Has the request in `headers` and `payload` answered in its place, and says under which number the answer goes back.
fn answer_in(
    headers: &mut [u8; HEADER_BYTES],
    payload: &mut [u8],
    serve: impl FnOnce(&InHeader, &[u8; ARGUMENT_BYTES], &mut [u8], usize) -> Answer,
) -> Option<u64> {
    let (in_out, rest) = headers.split_first_chunk_mut::<IN_OUT_BYTES>()?;
    let (arguments, mut ring_entry) = rest.split_first_chunk_mut::<ARGUMENT_BYTES>()?;
    let header = InHeader::take(&mut &in_out[..])?;
    let entry = RingEntry::take(&mut &*ring_entry)?;
    let answer = serve(&header, arguments, payload, entry.payload_bytes as usize);
    let length = u32::try_from(answer.length).ok()?;
    let out = OutHeader {
        length: u32::try_from(size_of::<OutHeader>()).ok()? + length,
        error: answer.error,
        unique: header.unique,
    };
    out.put(&mut &mut in_out[..])?;
    RingEntry { payload_bytes: length, ..entry }.put(&mut ring_entry)?;
    Some(entry.commit_id)
}

impl Memory {
    fn new() -> io::Result<Self> {
        // NORESERVE: a machine may have many more cores than are ever busy with this mount.
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a null hint lets the kernel choose a place where nothing is.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), MEMORY_BYTES, access, kind) }?;
        let memory = Self(NonNull::new(start.cast()).ok_or(Errno::NOMEM)?);
        let area = |at: usize, iov_len: usize| libc::iovec { iov_base: memory.at(at).as_ptr().cast(), iov_len };
        let areas = [area(0, HEADER_BYTES), area(PAYLOAD_AT, PAYLOAD_BYTES)];
        // SAFETY: the mapping is ours alone, and by the assertion above the two areas lie within it and before the
        // payload; a page is aligned for every type, and 512 is a multiple of the alignment of a pointer.
        unsafe { memory.at(AREAS_AT).cast::<[libc::iovec; 2]>().write(areas) };
        Ok(memory)
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < MEMORY_BYTES);
        // SAFETY: every caller names one of the constants of this file, all of which lie within the mapping.
        unsafe { self.0.add(offset) }
    }

    /// Both areas as the kernel wants them described.
    fn areas(&self) -> *const libc::iovec {
        self.at(AREAS_AT).as_ptr().cast()
    }

    /// The headers and the payload.
    fn parts(&mut self) -> (&mut [u8; HEADER_BYTES], &mut [u8]) {
        // SAFETY: both lie within the mapping, which is initialised, and do not overlap; the borrow of `self` keeps
        // anything else from reaching them, and the kernel does not while this thread is not in it, see the head of
        // this file.
        unsafe {
            let payload = NonNull::slice_from_raw_parts(self.at(PAYLOAD_AT), PAYLOAD_BYTES).as_mut();
            (self.at(0).cast::<[u8; HEADER_BYTES]>().as_mut(), payload)
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, whole, and no borrow of it outlives `self`. It fails only for
        // arguments that are no mapping.
        unsafe { munmap(self.0.as_ptr().cast(), MEMORY_BYTES) }.ok();
    }
}
