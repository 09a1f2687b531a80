//! Many at once through four mounts: nothing hangs, and one of many racers wins.
