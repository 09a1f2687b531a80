//! How requests of the kernel reach the process that serves a mount.

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Over io_uring where the kernel offers it, otherwise over `/dev/fuse`.
    #[default]
    Auto,
    /// Over io_uring, or not at all.
    IoUring,
    /// Over `/dev/fuse`.
    DevFuse,
}

impl Transport {
    /// Every word and what it means.
    pub const WORDS: [(&str, Self); 3] =
        [("auto", Self::Auto), ("io_uring", Self::IoUring), ("dev_fuse", Self::DevFuse)];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::DevFuse => "dev_fuse",
        }
    }

    /// What a word means; `None` for one that means nothing.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, transport)| *transport)
    }
}
