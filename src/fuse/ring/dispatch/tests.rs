//! Frames that the kernel would never send, on a real store: each gets one answer of legal size, and nothing panics.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::abi::*;
use super::*;
use crate::fuse::handlers::Terms;
use crate::fuse::wakeful::Wakeful;
use crate::model::{AttrChange, Name, Principal, Timestamp, perm};
use crate::stats::Traffic;
use crate::vfs::{StoreOptions, Vfs, XattrMode};
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
        Self::of(Principal::default())
    }

    /// As somebody sees it.
    fn of(principal: Principal) -> Self {
        let directory = TempDir::new().unwrap();
        let data_dir = directory.path().join("store");
        Vfs::init(&data_dir, Caller { uid: 0, gid: 0 }, Timestamp::now).unwrap();
        let options = StoreOptions { data_dir, read_only: false, clock: Timestamp::now };
        let vfs = Vfs::open_store(options).unwrap();
        let (view, traffic) = (View::new(Arc::clone(&vfs), principal), Arc::new(Traffic::new(Vec::new(), |_| "")));
        let wakeful = Wakeful::new(false, &traffic);
        let terms = Terms { lifetime: Duration::from_secs(1), locks: false, noatime: false, default_permissions: true };
        let nowhere = tempfile::tempfile().unwrap();
        let handlers = Handlers::new(view, nowhere, None, terms, traffic, wakeful);
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

impl Subject {
    /// A file of 4 bytes that somebody else makes.
    fn made_elsewhere(&self, parent: NodeId, name: &str, uid: u32, mode: u32) -> NodeId {
        let (name, caller) = (Name::new(name.as_bytes()).unwrap(), Caller { uid, gid: 8 });
        let open = crate::fuse::convert::open_mode(libc::O_WRONLY, false);
        let (attr, opened) = self.vfs.create(&caller, parent, name, mode, open).unwrap();
        self.vfs.write(opened.handle, 0, b"text").unwrap();
        self.vfs.release(opened.handle).unwrap();
        attr.id
    }

    /// open(2) of user 7 where the kernel knows no such name: the error, and what it is told otherwise.
    fn create(&self, parent: NodeId, name: &str, flags: i32) -> Result<(EntryOut, OpenOut), i32> {
        let flags = (flags | libc::O_CREAT) as u32;
        let arguments = bytes_of(CreateIn { flags, mode: 0o100_644, ..CreateIn::default() });
        let brought = [name.as_bytes(), b"\0"].concat();
        let (answer, memory) = self.ask(opcode::CREATE, parent.0, &arguments, &brought, brought.len());
        if answer.error != 0 {
            return Err(-answer.error);
        }
        let entry = EntryOut::take(&mut &memory[..]).unwrap();
        Ok((entry, OpenOut::take(&mut &memory[128..]).unwrap()))
    }

    fn size(&self, node: NodeId) -> u64 {
        self.vfs.getattr(node).unwrap().size
    }
}

/// Whatever the kernel believes of the mode, it says with each write whether the writer has CAP_FSETID; of an allocation and a
/// copy it says only who asks.
#[test]
fn a_write_without_privilege_takes_set_id_bits_and_capabilities() {
    let subject = Subject::new();
    let (file, handle, _) = subject.open();
    let node = NodeId(file);
    let write = |write_flags| {
        let write = WriteIn { handle, size: 4, write_flags, ..WriteIn::default() };
        (opcode::WRITE, bytes_of(write), &b"data"[..])
    };
    let allocate = FallocateIn { handle, length: 9000, ..FallocateIn::default() };
    let copy = CopyRangeIn { handle, to_handle: handle, to_offset: 100, length: 4, ..CopyRangeIn::default() };
    let ends = [
        write(WRITE_UNPRIVILEGED),
        (opcode::FALLOCATE, bytes_of(allocate), &b""[..]),
        (opcode::COPY_FILE_RANGE, bytes_of(copy), &b""[..]),
    ];
    let root = Caller { uid: 0, gid: 0 };
    let give = |mode: u32| {
        subject.vfs.setattr(&root, node, &AttrChange { mode: Some(mode), ..AttrChange::default() }).unwrap();
        subject.vfs.setxattr(node, b"security.capability", b"some", XattrMode::Set).unwrap();
    };
    let has = || {
        let capable = subject.vfs.getxattr(node, b"security.capability").is_ok();
        (subject.vfs.getattr(node).unwrap().mode, capable)
    };
    let ask = |(code, arguments, brought): &(u32, Vec<u8>, &[u8])| {
        assert_eq!(subject.ask(*code, file, arguments, brought, brought.len()).0.error, 0);
    };
    for end in &ends {
        // Each time anew, also when it was looked at before.
        for (mode, left) in [(0o6775, 0o775), (0o4644, 0o644), (0o2644, 0o2644), (0o2755, 0o755), (0o644, 0o644)] {
            give(mode);
            ask(&write(0));
            assert_eq!(has(), (mode, true), "a privileged one takes nothing");
            ask(end);
            assert_eq!(has(), (left, false), "{mode:o}, by {}", kind(end.0).word());
        }
    }
    // The group's bit stayed for one of its members; it goes when somebody else writes.
    give(0o2644);
    subject
        .vfs
        .setattr(&root, node, &AttrChange { gid: Some(9), mode: Some(0o2644), ..AttrChange::default() })
        .unwrap();
    ask(&ends[0]);
    assert_eq!(has(), (0o644, false));
    subject.end();
}

/// truncate(2) names no open file, ftruncate(2) does.
#[test]
fn a_change_of_size_by_name_is_a_version_of_its_own() {
    let subject = Subject::new();
    let (file, handle, _) = subject.open();
    let version = || subject.vfs.getxattr(NodeId(file), b"user.nexus.version").unwrap();
    let cut = |by: u32, size| {
        let asked = SetattrIn { valid: fattr::SIZE | by, handle, size, ..SetattrIn::default() };
        assert_eq!(subject.ask(opcode::SETATTR, file, &bytes_of(asked), b"", 0).0.error, 0);
    };
    cut(fattr::HANDLE, 10);
    assert_eq!(version(), b"1");
    cut(0, 5);
    assert_eq!(version(), b"2", "whether the close of the writer was heard of or not");
    let release = bytes_of(ReleaseIn { handle, ..ReleaseIn::default() });
    assert_eq!(subject.ask(opcode::RELEASE, file, &release, b"", 0).0.error, 0);
    assert_eq!(version(), b"2");
    cut(0, 3);
    assert_eq!(version(), b"3");
    subject.end();
}

#[test]
fn what_another_was_faster_to_make_is_opened_as_the_kernel_would() {
    let subject = Subject::new();
    let own = subject.made_elsewhere(NodeId::ROOT, "own", 7, 0o600);
    assert_eq!(subject.create(NodeId::ROOT, "own", libc::O_RDWR | libc::O_EXCL).unwrap_err(), libc::EEXIST);
    let (entry, open) = subject.create(NodeId::ROOT, "own", libc::O_RDWR).unwrap();
    assert_eq!((entry.node, entry.attr.size, entry.entry_valid, entry.attr_valid), (own.0, 4, 0, 0));
    let release = |node: NodeId, handle| {
        let arguments = bytes_of(ReleaseIn { handle, ..ReleaseIn::default() });
        assert_eq!(subject.ask(opcode::RELEASE, node.0, &arguments, b"", 0).0.error, 0);
    };
    let read = bytes_of(ReadIn { handle: open.handle, size: 4096, ..ReadIn::default() });
    let (answer, memory) = subject.ask(opcode::READ, own.0, &read, b"", 0);
    assert_eq!((answer.length, &memory[..4]), (4, &b"text"[..]));
    release(own, open.handle);
    // A file that the kernel knows it has to look at again; nothing has happened to it.
    assert_eq!(subject.create(NodeId::ROOT, "own", libc::O_WRONLY | libc::O_TRUNC).unwrap_err(), libc::ESTALE);
    assert_eq!(subject.size(own), 4);
    subject.handlers.forget(own, 1);
    // O_TRUNC is done here, and the kernel is told of the file as it is then.
    let (entry, open) = subject.create(NodeId::ROOT, "own", libc::O_WRONLY | libc::O_TRUNC).unwrap();
    assert_eq!((entry.node, entry.attr.size, subject.size(own)), (own.0, 0, 0));
    release(own, open.handle);

    // Everything else stays as it was, and the kernel is given nothing.
    let others = subject.made_elsewhere(NodeId::ROOT, "others", 9, 0o644);
    let read_only = subject.made_elsewhere(NodeId::ROOT, "read-only", 7, 0o444);
    let (anybody, name) = (Caller { uid: 7, gid: 8 }, |name: &'static str| Name::new(name.as_bytes()).unwrap());
    subject.vfs.mkdir(&anybody, NodeId::ROOT, name("directory"), 0o755).unwrap();
    subject.vfs.symlink(&anybody, NodeId::ROOT, name("link"), b"own").unwrap();
    for (name, flags) in [
        ("others", libc::O_WRONLY),
        ("others", libc::O_RDONLY | libc::O_TRUNC),
        ("read-only", libc::O_RDWR),
        ("directory", libc::O_RDONLY),
        ("link", libc::O_RDONLY),
    ] {
        assert_eq!(subject.create(NodeId::ROOT, name, flags).unwrap_err(), libc::ESTALE, "{name}");
    }
    for node in [others, read_only] {
        assert!(subject.size(node) == 4 && !subject.handlers.known().holds(node));
    }
    let (entry, open) = subject.create(NodeId::ROOT, "others", libc::O_RDONLY).unwrap();
    assert_eq!(entry.node, others.0);
    release(others, open.handle);
    // Names of other kinds are there or not, as everywhere.
    let mkdir = bytes_of(MkdirIn { mode: 0o755, umask: 0 });
    assert_eq!(subject.ask(opcode::MKDIR, ROOT, &mkdir, b"own\0", 4).0.error, -libc::EEXIST);
    assert_eq!(subject.ask(opcode::SYMLINK, ROOT, &[], b"own\0target\0", 11).0.error, -libc::EEXIST);
    subject.end();
}

#[test]
fn a_foreign_file_is_not_opened_by_making_it() {
    let acme = Principal::new(Some("acme".into()), None, false).unwrap();
    let subject = Subject::of(acme);
    let maker = Caller { uid: 7, gid: 8 };
    let mkdir = |parent, name: &[u8]| subject.vfs.mkdir(&maker, parent, Name::new(name).unwrap(), 0o777).unwrap().id;
    let shared = mkdir(NodeId::ROOT, b"shared");
    let (own, foreign) = (mkdir(shared, b"acme"), mkdir(shared, b"globex"));
    subject.made_elsewhere(shared, "initech", 7, 0o666);
    let secret = subject.made_elsewhere(foreign, "file", 7, 0o666);
    let file = subject.made_elsewhere(own, "file", 7, 0o666);
    for (parent, name) in [(shared, "initech"), (shared, "umbrella"), (foreign, "file"), (foreign, "none")] {
        let one = subject.create(parent, name, libc::O_WRONLY | libc::O_TRUNC).unwrap_err();
        let other = subject.create(parent, "never-made", libc::O_WRONLY).unwrap_err();
        assert_eq!(one, other, "{name}: whether it is there shows");
    }
    assert_eq!(subject.create(shared, "initech", libc::O_RDONLY).unwrap_err(), libc::EACCES);
    assert_eq!(subject.size(secret), 4);
    assert_eq!(subject.create(own, "file", libc::O_RDWR).unwrap().0.node, file.0);
    subject.vfs.settle().unwrap();
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
