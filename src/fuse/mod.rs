//! The kernel's protocol: mounting, requests, answers.
//!
//! The only room that knows fuser and errno numbers. It takes no decision about files: a request is decoded, one method
//! of [`Vfs`](crate::vfs::Vfs) is called, its answer encoded. It guarantees that every request is answered, that a bug
//! costs one request and not the mount, and that an unmount takes away its own mount only. It does not open or close
//! stores, keep locks, check permissions (the kernel does both), or tell the kernel of changes from elsewhere.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | [`Mount`]: from mounting to the end, [`Unmounter`], [`unmount_at`] |
//! | `options` | [`MountOptions`], the [`Manner`] in it, and their spellings for mount(2) and fusermount3(1) |
//! | `device` | mounting and unmounting, by system call or through fusermount3 |
//! | `mountinfo` | what is mounted where |
//! | `caps` | what is agreed in the handshake, and why the rest is not |
//! | `frontend` | the requests as fuser delivers them, over /dev/fuse |
//! | `ring` | the requests over io_uring, where the kernel offers it |
//! | `place` | how the kernel spells a mountpoint, and what is dead there |
//! | `handlers` | one plain function for each request, shared by all front-ends |
//! | `convert` | flags and modes of the kernel in the words of the filesystem |
//! | `fuser_types` | types of fuser from and to ours |
//! | `errno` | the table of errno numbers, and the guard round each request |
//! | `counting` | counting each request on its way through that guard |
//! | `wakeful` | keeping processors awake while requests come densely |
//! | `programs` | files from which programs run |
//! | `existing` | files that are there although they were to be made |
//! | `backing` | files handed to the kernel (passthrough) |
//! | `locking` | locks that hold across mounts |
//! | `control` | ending a connection from outside, and who does when this process is killed |
//! | `known` | what the kernel of a mount may believe |
//! | `teller`, `courier`, `notice` | telling it of changes made elsewhere: when to wait, on which thread, in which bytes |

mod backing;
mod caps;
mod control;
mod convert;
mod counting;
mod courier;
mod device;
mod errno;
mod existing;
mod frontend;
mod fuser_types;
mod handlers;
mod known;
mod listings;
mod locking;
mod mountinfo;
mod notice;
mod options;
mod place;
mod polls;
mod programs;
mod ring;
mod session;
mod teller;
mod wakeful;

pub use control::{Abort, Guard};
pub(crate) use courier::own_descriptors;
pub use mountinfo::{MountEntry, mounts, mounts_at};
pub use options::{FILESYSTEM_TYPE, Manner, MountOptions};
pub use place::{clear_dead, is_dead, spelled_by_kernel};
pub use session::{Mount, TransportInUse, Unmounter, unmount_at};
