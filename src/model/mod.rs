//! The nouns of nexus: values without I/O and without a clock.
//!
//! A value of one of these types is valid because it exists: names, paths and digests are parsed once, at the edge.

mod change;
mod digest;
mod limits;
pub mod metadata;
mod node;
mod path;
mod principal;
mod time;
mod transport;
pub mod work;

pub use change::Change;
pub use digest::{Digest, Hasher};
pub use limits::*;
pub use node::{Attr, AttrChange, Caller, Kind, NodeId, SetTime, perm};
pub use path::{Name, VPath};
pub use principal::Principal;
pub use time::{Timestamp, rfc3339};
pub use transport::Transport;
