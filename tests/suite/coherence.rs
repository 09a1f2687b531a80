//! Many mounts of one store, and the library beside them: a change made through one is seen through every other by the
//! next system call.
//!
//! The mounts live in this process, so that the library is one of those who look and the requests can be counted.

mod crowd;
mod steps;
mod store;
