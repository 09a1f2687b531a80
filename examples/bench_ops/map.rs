//! The big file through a memory map: what a linker, a database or a model loader does.
//!
//! Faults are served by the page cache where the kernel has the page, so these rows show what a filesystem adds to a
//! fault, and whether it lets the kernel keep pages at all. Nobody but this program touches the file.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

use crate::Failure;
use crate::content::{BLOCK_BYTES, Body};

/// A whole file, mapped shared.
struct Map {
    start: *mut u8,
    len_bytes: usize,
}

impl Map {
    fn of(file: &File, protection: ProtFlags) -> Result<Self, Failure> {
        let len_bytes = usize::try_from(file.metadata()?.len())?;
        // SAFETY: the kernel chooses a free place, and the length is that of the file.
        let start = unsafe { mmap(std::ptr::null_mut(), len_bytes, protection, MapFlags::SHARED, file, 0)? };
        Ok(Self { start: start.cast(), len_bytes })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, has this length, lives as long as `self`, and nobody writes to the file
        // while the slice lives: the one writer is `write`, which borrows `self` mutably.
        unsafe { std::slice::from_raw_parts(self.start, self.len_bytes) }
    }

    fn write(&mut self, offset: usize, block: &[u8]) {
        assert!(offset + block.len() <= self.len_bytes, "a block lies inside the file");
        // SAFETY: the range was just checked, the mapping is writable where this is called, and `block` is memory of
        // this program.
        unsafe { std::ptr::copy_nonoverlapping(block.as_ptr(), self.start.add(offset), block.len()) };
    }

    fn sync(&mut self) -> Result<(), Failure> {
        // SAFETY: exactly the mapping.
        unsafe { msync(self.start.cast(), self.len_bytes, MsyncFlags::SYNC)? };
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping, and no slice of it outlives `self`. It can fail only for a range that is none.
        unsafe { munmap(self.start.cast(), self.len_bytes) }.expect("the range was mapped");
    }
}

/// Copies the whole file out of the map, `chunk_bytes` at a time; returns the number of chunks.
pub(crate) fn read_all(path: &Path, body: &Body, chunk_bytes: usize) -> Result<u64, Failure> {
    let map = Map::of(&File::open(path)?, ProtFlags::READ)?;
    let mut buffer = vec![0; chunk_bytes];
    let blocks = (chunk_bytes / BLOCK_BYTES) as u64;
    let mut number = 0;
    for chunk in map.bytes().chunks_exact(chunk_bytes) {
        buffer.copy_from_slice(chunk);
        if !body.matches(number * blocks, &buffer) {
            return Err(format!("the map holds other bytes than were written in chunk {number}").into());
        }
        number += 1;
    }
    Ok(number)
}

/// Reads the pages `numbers`.
pub(crate) fn read_random(path: &Path, body: &Body, numbers: impl Iterator<Item = u64>) -> Result<u64, Failure> {
    let map = Map::of(&File::open(path)?, ProtFlags::READ)?;
    let mut ops = 0;
    for number in numbers {
        let offset = usize::try_from(number)? * BLOCK_BYTES;
        if !body.matches(number, &map.bytes()[offset..offset + BLOCK_BYTES]) {
            return Err(format!("the map holds other bytes than were written in block {number}").into());
        }
        ops += 1;
    }
    Ok(ops)
}

/// Writes the pages `numbers`, each stamped with its number and `mark`, then waits for the disk.
pub(crate) fn write_random(
    path: &Path,
    block: &mut Body,
    numbers: impl Iterator<Item = u64>,
    mark: u64,
) -> Result<u64, Failure> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut map = Map::of(&file, ProtFlags::READ | ProtFlags::WRITE)?;
    let mut ops = 0;
    for number in numbers {
        map.write(usize::try_from(number)? * BLOCK_BYTES, block.stamped(number + mark));
        ops += 1;
    }
    map.sync()?;
    Ok(ops)
}
