//! Frames that the kernel would never send, on a real store: each gets one answer of legal size, and nothing panics.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::abi::*;
use super::*;
use crate::model::{Principal, Timestamp, perm};
use crate::stats::Traffic;
use crate::vfs::{StoreOptions, Vfs};
use crate::view::View;

/// Large enough for every answer but the largest reads, small enough that those are refused.
const PAYLOAD_BYTES: usize = 1 << 16;
/// What lies behind the payload, and must still be there.
const GUARD: [u8; 64] = [0xa5; 64];
const ROOT: u64 = 1;
const NO_ARGUMENTS: [u8; ARGUMENT_BYTES] = [0; ARGUMENT_BYTES];

struct Subject {
    handlers: Handlers,
    vfs: Arc<Vfs>,
    _directory: TempDir,
}

impl Subject {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let data_dir = directory.path().join("store");
        Vfs::init(&data_dir, Caller { uid: 0, gid: 0 }, Timestamp::now).unwrap();
        let options = StoreOptions { data_dir, read_only: false, clock: Timestamp::now };
        let vfs = Vfs::open_store(options).unwrap();
        let (view, traffic) = (View::new(Arc::clone(&vfs), Principal::default()), Traffic::new(Vec::new(), |_| ""));
        let nowhere = tempfile::tempfile().unwrap();
        let handlers = Handlers::new(view, nowhere, None, Duration::from_secs(1), false, traffic.into());
        Self { handlers, vfs, _directory: directory }
    }

    /// One request; the answer, and the payload it left.
    fn ask(&self, code: u32, node: u64, arguments: &[u8], brought: &[u8], filled: usize) -> (Answer, Vec<u8>) {
        let mut fixed = NO_ARGUMENTS;
        let length = arguments.len().min(ARGUMENT_BYTES);
        fixed[..length].copy_from_slice(&arguments[..length]);
        let mut memory = vec![0; PAYLOAD_BYTES];
        let length = brought.len().min(PAYLOAD_BYTES);
        memory[..length].copy_from_slice(&brought[..length]);
        memory.extend_from_slice(&GUARD);
        let header = InHeader { opcode: code, node, uid: 7, gid: 8, unique: 9, ..InHeader::default() };
        let answer = serve(&self.handlers, &header, &fixed, &mut memory[..PAYLOAD_BYTES], filled, None);
        assert_eq!(memory[PAYLOAD_BYTES..], GUARD);
        assert!(answer.length <= PAYLOAD_BYTES, "{answer:?}");
        // What the kernel takes: nothing above 0 and nothing from ERESTARTSYS on.
        assert!((-511..=0).contains(&answer.error), "{answer:?}");
        assert!(answer.error == 0 || answer.length == 0, "{answer:?}");
        memory.truncate(PAYLOAD_BYTES);
        (answer, memory)
    }

    /// Nothing is wrong with the store.
    fn end(self) {
        self.vfs.settle().unwrap();
        let report = self.vfs.check().unwrap();
        assert!(report.problems.is_empty(), "{report:#?}");
        self.vfs.close().unwrap();
    }

    /// A file with a handle, and a directory with one.
    fn open(&self) -> (u64, u64, u64) {
        let arguments = bytes_of(CreateIn { flags: libc::O_RDWR as u32, mode: 0o100_644, ..CreateIn::default() });
        let (answer, memory) = self.ask(opcode::CREATE, ROOT, &arguments, b"file\0", 5);
        assert_eq!(answer, Answer { error: 0, length: 144 });
        let file = EntryOut::take(&mut &memory[..]).unwrap();
        let open = OpenOut::take(&mut &memory[128..]).unwrap();
        let (answer, memory) = self.ask(opcode::OPENDIR, ROOT, &NO_ARGUMENTS, b"", 0);
        assert_eq!(answer, Answer { error: 0, length: 16 });
        (file.node, open.handle, OpenOut::take(&mut &memory[..]).unwrap().handle)
    }
}

fn bytes_of<T: Field>(value: T) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<T>()];
    value.put(&mut &mut bytes[..]).unwrap();
    bytes
}

/// One valid frame of each kind, for the nodes and handles of [`Subject::open`].
fn valid(file: u64, handle: u64, directory: u64) -> Vec<(u32, u64, Vec<u8>, Vec<u8>)> {
    let write = WriteIn { handle, offset: 3, size: 4, ..WriteIn::default() };
    let read = ReadIn { handle, size: 4096, ..ReadIn::default() };
    let list = ReadIn { handle: directory, size: 4096, ..ReadIn::default() };
    let change = SetattrIn { valid: fattr::MODE | fattr::SIZE | fattr::ATIME, size: 70_000, ..SetattrIn::default() };
    let copy =
        CopyRangeIn { handle, to_node: file, to_handle: handle, to_offset: 100, length: 4, ..Default::default() };
    let key = b"user.key\0".to_vec();
    vec![
        (opcode::LOOKUP, ROOT, vec![], b"file\0".to_vec()),
        (opcode::GETATTR, file, vec![0; 16], vec![]),
        (opcode::SETATTR, file, bytes_of(change), vec![]),
        (opcode::SYMLINK, ROOT, vec![], b"link\0target\0".to_vec()),
        (opcode::MKNOD, ROOT, bytes_of(MknodIn { mode: 0o10_644, ..MknodIn::default() }), b"fifo\0".to_vec()),
        (opcode::MKDIR, ROOT, bytes_of(MkdirIn { mode: perm::ALL, umask: 0 }), b"dir\0".to_vec()),
        (opcode::WRITE, file, bytes_of(write), b"data".to_vec()),
        (opcode::READ, file, bytes_of(read), vec![]),
        (opcode::FSYNC, file, bytes_of(FsyncIn { handle, ..FsyncIn::default() }), vec![]),
        (opcode::LSEEK, file, bytes_of(LseekIn { handle, whence: 3, ..LseekIn::default() }), vec![]),
        (opcode::FALLOCATE, file, bytes_of(FallocateIn { handle, length: 9000, ..FallocateIn::default() }), vec![]),
        (opcode::COPY_FILE_RANGE, file, bytes_of(copy), vec![]),
        (opcode::COPY_FILE_RANGE_64, file, bytes_of(copy), vec![]),
        (opcode::SETXATTR, file, bytes_of(SetxattrIn { size: 3, flags: 0 }), [&key[..], b"a\0b"].concat()),
        (opcode::GETXATTR, file, bytes_of(GetxattrIn { size: 64, padding: 0 }), key.clone()),
        (opcode::GETXATTR, file, bytes_of(GetxattrIn::default()), key.clone()),
        (opcode::LISTXATTR, file, bytes_of(GetxattrIn { size: 64, padding: 0 }), vec![]),
        (opcode::REMOVEXATTR, file, vec![], key),
        (opcode::READDIR, ROOT, bytes_of(list), vec![]),
        (opcode::READDIRPLUS, ROOT, bytes_of(list), vec![]),
        (opcode::STATFS, ROOT, vec![], vec![]),
        (opcode::RENAME, ROOT, bytes_of(RenameIn { new_parent: ROOT }), b"link\0moved\0".to_vec()),
        (opcode::RENAME2, ROOT, bytes_of(Rename2In { new_parent: ROOT, flags: 1, padding: 0 }), b"moved\0l\0".to_vec()),
        (opcode::LINK, ROOT, bytes_of(LinkIn { node: file }), b"second\0".to_vec()),
        (opcode::OPEN, file, bytes_of(OpenIn::default()), vec![]),
        (opcode::UNLINK, ROOT, vec![], b"second\0".to_vec()),
        (opcode::RMDIR, ROOT, vec![], b"dir\0".to_vec()),
        (opcode::POLL, file, bytes_of(PollIn { handle, ..PollIn::default() }), vec![]),
        (opcode::RELEASE, file, bytes_of(ReleaseIn { handle, ..ReleaseIn::default() }), vec![]),
        (opcode::FSYNCDIR, ROOT, bytes_of(FsyncIn { handle: directory, ..FsyncIn::default() }), vec![]),
        (opcode::RELEASEDIR, ROOT, bytes_of(ReleaseIn { handle: directory, ..ReleaseIn::default() }), vec![]),
    ]
}

#[test]
fn every_kind_of_request_is_served() {
    let subject = Subject::new();
    let (file, handle, directory) = subject.open();
    for (code, node, arguments, payload) in valid(file, handle, directory) {
        let (answer, memory) = subject.ask(code, node, &arguments, &payload, payload.len());
        assert_eq!(answer.error, 0, "{}", kind(code).word());
        let length = match code {
            opcode::LOOKUP | opcode::SYMLINK | opcode::MKNOD | opcode::MKDIR | opcode::LINK => 128,
            opcode::GETATTR | opcode::SETATTR => 104,
            opcode::OPEN => 16,
            opcode::STATFS => 80,
            opcode::READ => 4096,
            opcode::WRITE | opcode::POLL | opcode::LSEEK | opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => 8,
            opcode::GETXATTR => [3, 8][usize::from(arguments[0] == 0)],
            opcode::LISTXATTR => 9,
            opcode::READDIR => answer.length.next_multiple_of(8).max(4 * 32),
            opcode::READDIRPLUS => answer.length.next_multiple_of(8).max(4 * 160),
            _ => 0,
        };
        assert_eq!(answer.length, length, "{}", kind(code).word());
        if code == opcode::READ {
            assert_eq!(memory[3..7], *b"data");
        }
    }
    // A name that is missing may be remembered; what the kernel does alone is refused in a way that it remembers.
    let (answer, memory) = subject.ask(opcode::LOOKUP, ROOT, &[], b"none\0", 5);
    assert_eq!((answer, EntryOut::take(&mut &memory[..]).unwrap().node), (Answer { error: 0, length: 128 }, 0));
    for code in [25, 31, 34, 37, 50, 51, 52, 99] {
        assert_eq!(subject.ask(code, ROOT, &[], b"", 0).0.error, -libc::ENOSYS);
    }
    assert_eq!(subject.ask(opcode::IOCTL, file, &[], b"", 0).0.error, -libc::ENOTTY);
    subject.end();
}

#[test]
fn a_frame_that_is_none_is_an_error() {
    let subject = Subject::new();
    let (file, handle, _) = subject.open();
    let lies: [(u32, Vec<u8>, &[u8], usize); 6] = [
        (opcode::LOOKUP, vec![], b"name without an end", 19),
        (opcode::LOOKUP, vec![], b"name\0", PAYLOAD_BYTES + 1),
        (opcode::LOOKUP, vec![], b"", usize::MAX),
        (opcode::RENAME, bytes_of(RenameIn { new_parent: ROOT }), b"one\0", 4),
        (opcode::WRITE, bytes_of(WriteIn { handle, size: 5, ..WriteIn::default() }), b"data", 4),
        (opcode::READ, bytes_of(ReadIn { handle, size: u32::MAX, ..ReadIn::default() }), b"", 0),
    ];
    for (code, arguments, payload, filled) in lies {
        assert_eq!(subject.ask(code, file, &arguments, payload, filled).0.error, -libc::EIO, "{}", kind(code).word());
    }
    subject.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes without any sense.
    #[test]
    fn noise_is_answered(
        frames in vec((0_u32..64, 0_u64..4, vec(any::<u8>(), ARGUMENT_BYTES), vec(any::<u8>(), 0..600), 0_usize..700), 60)
    ) {
        let subject = Subject::new();
        subject.open();
        for (code, node, arguments, payload, filled) in frames {
            subject.ask(code, node, &arguments, &payload, filled);
        }
        subject.end();
    }

    /// Valid frames, each with a few bytes changed, cut, or said to be longer than it is.
    #[test]
    fn damaged_frames_are_answered(
        damage in vec((any::<u8>(), any::<u8>(), any::<bool>(), 0_usize..300, 0_usize..40), 200)
    ) {
        let subject = Subject::new();
        let (file, handle, directory) = subject.open();
        let frames = valid(file, handle, directory);
        for (which, byte, in_payload, at, filled) in damage {
            let (code, node, mut arguments, mut payload) = frames[usize::from(which) % frames.len()].clone();
            let target = if in_payload { &mut payload } else { &mut arguments };
            let at_byte = at % 48;
            // Sizes of gigabytes are legal, and would be allocated and hashed; those beyond are refused.
            let gigabytes = !in_payload && (3..6).contains(&(at_byte % 8));
            if let Some(place) = target.get_mut(at_byte).filter(|_| !gigabytes) {
                *place = byte;
            }
            let length = if at % 3 == 0 { filled } else { payload.len() };
            subject.ask(code, node, &arguments, &payload, length);
        }
        subject.end();
    }
}
