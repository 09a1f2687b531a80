//! Many mounts of one store, and the library beside them: a change made through one is seen through every other by the
//! next system call.
//!
//! Most of the mounts live in this process, so that the library is one of those who look.

mod archived;
mod crowd;
mod doors;
mod effects;
mod everything;
mod fleet;
mod given;
mod killed;
mod listings;
mod locks;
mod privileges;
mod races;
mod steps;
mod store;
mod truth;
