//! The socket of a store, `nexus.sock` in its data directory: how two processes talk.
//!
//! Both ends first say which version of the protocol they speak, in a form that all versions share. Then one request at a
//! time goes one way, with its body in pieces, and items and one answer come back. Everything is bounded: the size of a
//! frame, the time it may take, the time a connection may be idle, the number of connections. Bytes from the other end
//! are never trusted: whatever they are, they cost at most a frame of memory and the connection. What is larger than a frame, the
//! lines and bodies of an import, goes to the disk; of it, only one line is in memory at a time.
//!
//! | file | what it holds |
//! |---|---|
//! | `frame` | frames, the greeting, errors on their way |
//! | `socket` | the socket itself: its place, who may connect |
//! | `link` | the client's end of a connection |
//! | `server`, `incoming` | the owner's end of all connections |

mod frame;
mod incoming;
mod link;
mod server;
mod socket;

pub(super) use frame::Identity;
pub(super) use link::{Link, Outcome, outcome_unknown};
pub(super) use server::Server;
pub(super) use socket::connect;
