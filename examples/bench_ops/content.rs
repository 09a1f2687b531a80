//! Bytes that can be recognised: what is written, and whether it is what comes back.
//!
//! Guarantee: no two bodies, and no two 4 KiB blocks, are equal within a run or between runs of different seeds, so
//! a store that keeps equal content once gains nothing here. Making and checking a body costs a few stores, not
//! a pass over it, because both happen inside timed loops; `whole` is the thorough check for outside of them.

/// The distance between stamps, and the size of a random read or write.
pub(crate) const BLOCK_BYTES: usize = 4096;

const STAMP_BYTES: usize = 8;

/// A well-mixed 64-bit value (the finaliser of splitmix64).
pub(crate) fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A body whose noise is fixed by the seed and whose stamps change from file to file and from block to block.
pub(crate) struct Body {
    seed: u64,
    bytes: Vec<u8>,
}

impl Body {
    /// `len_bytes` of noise that no compression shrinks.
    pub(crate) fn new(seed: u64, len_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(len_bytes + STAMP_BYTES);
        let mut word = mix(seed);
        while bytes.len() < len_bytes {
            word = mix(word);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(len_bytes);
        Self { seed, bytes }
    }

    /// The body as the blocks `first_block..`, each stamped with its number.
    pub(crate) fn stamped(&mut self, first_block: u64) -> &[u8] {
        let seed = self.seed;
        for (number, block) in (first_block..).zip(self.bytes.chunks_mut(BLOCK_BYTES)) {
            if let Some(place) = block.first_chunk_mut::<STAMP_BYTES>() {
                *place = stamp(seed, number);
            }
        }
        &self.bytes
    }

    /// Whether every stamp of `read` is that of the blocks `first_block..`.
    pub(crate) fn matches(&self, first_block: u64, read: &[u8]) -> bool {
        (first_block..)
            .zip(read.chunks(BLOCK_BYTES))
            .all(|(number, block)| block.len() < STAMP_BYTES || block[..STAMP_BYTES] == stamp(self.seed, number))
    }

    /// The body without any stamp of a file: for what is written alike many times.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `read` is, byte for byte, the body as the blocks `first_block..`.
    pub(crate) fn whole(&mut self, first_block: u64, read: &[u8]) -> bool {
        self.stamped(first_block) == read
    }
}

fn stamp(seed: u64, number: u64) -> [u8; STAMP_BYTES] {
    mix(mix(seed) ^ number).to_le_bytes()
}
