//! What a request is, as far as it is counted: its kind, and the way on which it came.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($name:ident $word:literal)*) => {
        /// The kind of a request, `enum fuse_opcode` of linux/fuse.h.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Op {
            $(#[doc = concat!("`FUSE_", stringify!($name), "` in its spelling")] $name,)*
        }

        impl Op {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// In small letters, as in the header.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

kinds! {
    Lookup "lookup" Forget "forget" Getattr "getattr" Setattr "setattr" Readlink "readlink" Symlink "symlink"
    Mknod "mknod" Mkdir "mkdir" Unlink "unlink" Rmdir "rmdir" Rename "rename" Link "link" Open "open" Read "read"
    Write "write" Statfs "statfs" Release "release" Fsync "fsync" Setxattr "setxattr" Getxattr "getxattr"
    Listxattr "listxattr" Removexattr "removexattr" Flush "flush" Opendir "opendir" Readdir "readdir"
    Releasedir "releasedir" Fsyncdir "fsyncdir" Getlk "getlk" Setlk "setlk" Access "access" Create "create" Bmap "bmap"
    Ioctl "ioctl" Poll "poll" Fallocate "fallocate" Readdirplus "readdirplus" Lseek "lseek"
    CopyFileRange "copy_file_range" Other "other"
}

/// The way on which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// /dev/fuse.
    DevFuse,
    /// io_uring.
    IoUring,
}

impl Via {
    /// As in configurations.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DevFuse => "dev_fuse",
            Self::IoUring => "io_uring",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        for (place, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, place);
            assert_eq!(Op::ALL.iter().filter(|other| other.word() == op.word()).count(), 1, "{op:?}");
        }
    }
}
