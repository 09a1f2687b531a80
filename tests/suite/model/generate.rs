//! Random operations: mostly on what exists, with offsets and sizes at the borders where an implementation changes
//! its mind.

use super::ops::{Access, Allocate, How, Op, Path, Rename, SLOTS, SetMode, intern};
use super::reference::{Reference, Shape};

const NAMES: [&str; 4] = ["a", "b", "c", "é"];
/// Every symbolic link dangles, because its first component is a name that no run makes: following one is ENOENT
/// anywhere, and the reference needs no walk through links.
const TARGETS: [&str; 3] = ["nowhere/1", "nowhere/two", "nowhere/../nowhere"];
const KEYS: [&str; 3] = ["user.a", "user.é", "trusted.t"];
/// Values stay small enough that all keys of a node fit into the inode of any ext4.
const VALUE_LENGTHS: [usize; 4] = [0, 1, 8, 200];
/// Creation modes are the same under any usual umask.
const CREATE_MODES: [u32; 3] = [0o600, 0o700, 0o400];
/// No set-ID bits: when those go away depends on the caller's privileges.
const CHMOD_MODES: [u32; 5] = [0o644, 0o755, 0o000, 0o1777, 0o640];
/// In November 2023.
pub(crate) const LATEST_SET_NANOS: i64 = 1_700_000_000_123_456_789;
/// All lie in the past, so that a time that was set differs from one that the clock gave.
const TIMES: [i64; 5] = [0, 1, 1_000_000_001, LATEST_SET_NANOS, -1];
/// New nodes are made at most this deep; renames of directories take them deeper.
const DEPTH_MAX: usize = 3;

/// Page borders.
const SMALL: [u64; 8] = [0, 1, 2, 100, 4095, 4096, 4097, 5000];
/// Bodies above 16 KiB leave the database.
const MIDDLE: [u64; 5] = [8192, 16383, 16384, 16385, 65536];
/// Drafts above 256 KiB leave memory; 131,072 is one readahead of the kernel.
const LARGE: [u64; 6] = [131_072, 262_143, 262_144, 262_145, 300_000, 600_001];

/// SplitMix64 (Steele, Lea and Flood 2014): small, and its output is the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// An offset or a length.
    fn extent(&mut self) -> u64 {
        match self.below(100) {
            0..65 => self.pick(&SMALL),
            65..90 => self.pick(&MIDDLE),
            _ => self.pick(&LARGE),
        }
    }

    fn len(&mut self) -> usize {
        self.extent() as usize
    }
}

/// The next operation of a run that has led to `state`.
pub(crate) fn random_op(rng: &mut Rng, state: &Reference) -> Op {
    let mut draw = Draw { rng, state };
    let any = draw.slot(|_| true);
    let (readable, writable) = (draw.slot(Access::reads), draw.slot(Access::writes));
    match draw.rng.below(1000) {
        0..130 => {
            let how = draw.rng.pick(&[
                How::Existing,
                How::Existing,
                How::Truncate,
                How::Create,
                How::CreateTruncate,
                How::CreateNew,
            ]);
            let path = if how.creates() && draw.rng.percent(60) { draw.fresh() } else { draw.existing(Shape::File) };
            let access = draw.rng.pick(&[Access::Read, Access::Write, Access::ReadWrite, Access::ReadWrite]);
            let mode = draw.rng.pick(&CREATE_MODES);
            let slot = draw.rng.below(SLOTS);
            Op::Open { slot, path, access, how, append: draw.rng.percent(20), mode }
        }
        130..155 => Op::Close { slot: any },
        155..260 => Op::Read { slot: readable, offset: draw.rng.extent(), len: draw.rng.len() },
        260..420 => {
            Op::Write { slot: writable, offset: draw.rng.extent(), len: draw.rng.len(), fill: draw.rng.below(4) as u8 }
        }
        420..450 => Op::TruncateOpen { slot: writable, size: draw.rng.extent() },
        450..460 => Op::Fsync { slot: any },
        460..475 => Op::StatOpen { slot: any },
        475..485 => Op::SeekData { slot: any, offset: draw.rng.extent() },
        485..495 => Op::SeekHole { slot: any, offset: draw.rng.extent() },
        495..520 => {
            let how = draw.rng.pick(&[
                Allocate::Grow,
                Allocate::KeepSize,
                Allocate::PunchHole,
                Allocate::ZeroRange,
                Allocate::ZeroRangeKeepSize,
            ]);
            Op::Fallocate { slot: writable, how, offset: draw.rng.extent(), len: draw.rng.extent() }
        }
        520..550 => {
            let (from, to) = (readable, writable);
            // Whole files are what cp asks for, and what can share a digest.
            let whole = draw.rng.percent(50);
            let (from_offset, to_offset) = if whole { (0, 0) } else { (draw.rng.extent(), draw.rng.extent()) };
            let len = if whole { 1 << 20 } else { draw.rng.len() };
            Op::Copy { from, from_offset, to, to_offset, len }
        }
        550..575 => Op::Truncate { path: draw.existing(Shape::File), size: draw.rng.extent() },
        575..600 => Op::Mkdir { path: draw.fresh(), mode: draw.rng.pick(&CREATE_MODES) },
        600..630 => Op::Rmdir { path: draw.existing(Shape::Directory) },
        630..680 => Op::Unlink { path: draw.existing_or(Shape::File, Shape::Symlink) },
        680..740 => {
            let from = draw.any_existing();
            let to = if draw.rng.percent(50) { draw.fresh() } else { draw.any_existing() };
            let how = draw.rng.pick(&[
                Rename::Replace,
                Rename::Replace,
                Rename::Replace,
                Rename::NoReplace,
                Rename::Exchange,
            ]);
            Op::Rename { from, to, how }
        }
        740..760 => Op::Link { from: draw.existing_or(Shape::File, Shape::Symlink), to: draw.fresh() },
        760..775 => Op::Symlink { target: draw.rng.pick(&TARGETS), path: draw.fresh() },
        775..780 => Op::Readlink { path: draw.existing(Shape::Symlink) },
        780..795 => Op::Chmod { path: draw.node(), mode: draw.rng.pick(&CHMOD_MODES) },
        795..805 => Op::Chown { path: draw.node(), uid: draw.rng.below(3) as u32, gid: draw.rng.below(3) as u32 },
        805..825 => Op::SetTimes { path: draw.node(), nanos: draw.rng.pick(&TIMES) },
        825..865 => Op::Stat { path: draw.node() },
        865..870 => Op::List { path: draw.node() },
        870..880 => Op::List { path: draw.existing(Shape::Directory) },
        880..905 => {
            let how = draw.rng.pick(&[SetMode::Either, SetMode::Either, SetMode::CreateOnly, SetMode::ReplaceOnly]);
            let (path, key) = (draw.node(), draw.rng.pick(&KEYS));
            Op::SetXattr { path, key, len: draw.rng.pick(&VALUE_LENGTHS), fill: draw.rng.below(4) as u8, how }
        }
        905..920 => Op::GetXattr { path: draw.node(), key: draw.rng.pick(&KEYS) },
        920..925 => Op::ListXattr { path: draw.node() },
        925..935 => Op::RemoveXattr { path: draw.node(), key: draw.rng.pick(&KEYS) },
        935..965 => Op::Cat { path: draw.existing(Shape::File) },
        965..980 => Op::Etag { path: draw.existing(Shape::File) },
        980..990 => Op::Survey,
        990..997 => Op::Settle,
        _ => Op::Remount,
    }
}

/// Draws paths from a tree.
struct Draw<'a> {
    rng: &'a mut Rng,
    state: &'a Reference,
}

impl Draw<'_> {
    /// A slot that is open and can do it; now and then, and when there is none, any slot.
    fn slot(&mut self, can: impl Fn(Access) -> bool) -> usize {
        let fitting: Vec<usize> = (0..SLOTS).filter(|slot| self.state.access(*slot).is_some_and(&can)).collect();
        if fitting.is_empty() || self.rng.percent(5) { self.rng.below(SLOTS) } else { self.rng.pick(&fitting) }
    }

    /// The path of a node of that shape; now and then, and when there is none, any path at all.
    fn existing(&mut self, shape: Shape) -> Path {
        let fitting: Vec<Path> =
            self.state.paths().into_iter().filter(|(_, is)| *is == shape).map(|(path, _)| path).collect();
        match fitting.len() {
            0 => self.any(),
            _ if self.rng.percent(5) => self.any(),
            _ => self.rng.pick(&fitting),
        }
    }

    fn existing_or(&mut self, usual: Shape, other: Shape) -> Path {
        let shape = if self.rng.percent(80) { usual } else { other };
        self.existing(shape)
    }

    /// The root or anything else.
    fn node(&mut self) -> Path {
        if self.rng.percent(5) { "." } else { self.any_existing() }
    }

    /// Anything but the root, which cannot be moved or linked.
    fn any_existing(&mut self) -> Path {
        let shape = self.rng.pick(&[Shape::File, Shape::File, Shape::Directory, Shape::Symlink]);
        self.existing(shape)
    }

    /// A name in an existing directory, perhaps taken.
    fn fresh(&mut self) -> Path {
        if self.rng.percent(5) {
            return self.any();
        }
        let roomy = |path: &Path| path.split('/').count() < DEPTH_MAX;
        let paths = self.state.paths().into_iter();
        let mut parents: Vec<Path> =
            paths.filter(|(path, is)| *is == Shape::Directory && roomy(path)).map(|(path, _)| path).collect();
        // As many at the root as elsewhere, so that names meet.
        parents.resize(parents.len() * 2 + 1, ".");
        let (parent, name) = (self.rng.pick(&parents), self.rng.pick(&NAMES));
        join(parent, name)
    }

    /// A name below anything, directory or not, or two names that probably lead nowhere.
    fn any(&mut self) -> Path {
        let mut nodes: Vec<Path> = self.state.paths().into_iter().map(|(path, _)| path).collect();
        nodes.push(".");
        let (parent, name) = (self.rng.pick(&nodes), self.rng.pick(&NAMES));
        let one = join(parent, name);
        if self.rng.percent(20) { join(one, self.rng.pick(&NAMES)) } else { one }
    }
}

fn join(parent: Path, name: &str) -> Path {
    if parent == "." { intern(name) } else { intern(&format!("{parent}/{name}")) }
}
