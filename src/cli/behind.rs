//! Output whose reader may be slow: what is written is kept on the disk, and a thread of its own hands it on.
//!
//! Whoever has a store is not to wait for one who reads a page of it at a time.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Bytes handed on at a time.
const PIECE_BYTES: usize = 1 << 16;

/// What is written, and how far the reader is behind.
pub(super) struct Behind {
    kept: Arc<Kept>,
    written: u64,
    reader: JoinHandle<io::Result<()>>,
}

struct Kept {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    written: u64,
    /// Nothing more is written.
    complete: bool,
    /// Nothing more can be handed on.
    stuck: bool,
}

impl Behind {
    /// Hands on to `out`.
    ///
    /// # Errors
    /// When there can be no file, or no thread.
    pub(super) fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let state = Mutex::default();
        let kept = Arc::new(Kept { file: tempfile::tempfile()?, state, changed: Condvar::new() });
        let shared = Arc::clone(&kept);
        let reader = std::thread::Builder::new().name("hand-on".into()).spawn(move || {
            let handed_on = shared.hand_on(&mut out);
            shared.change(|state| state.stuck = true);
            handed_on
        })?;
        Ok(Self { kept, written: 0, reader })
    }

    /// Waits until the reader has everything.
    ///
    /// # Errors
    /// What writing to it reported.
    pub(super) fn finish(self) -> io::Result<()> {
        self.kept.change(|state| state.complete = true);
        self.reader.join().unwrap_or_else(|_| Err(io::Error::other("the thread that hands on has panicked")))
    }
}

impl Kept {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn hand_on(&self, out: &mut dyn Write) -> io::Result<()> {
        let (mut piece, mut done) = (vec![0; PIECE_BYTES], 0);
        loop {
            let written = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let waits = |state: &mut State| state.written == done && !state.complete;
                let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
                if state.written == done {
                    return out.flush();
                }
                state.written
            };
            while done < written {
                let room = piece.len().min(usize::try_from(written - done).unwrap_or(usize::MAX));
                self.file.read_exact_at(&mut piece[..room], done)?;
                out.write_all(&piece[..room])?;
                done += room as u64;
            }
            out.flush()?;
        }
    }
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kept.state.lock().unwrap_or_else(PoisonError::into_inner).stuck {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.kept.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        self.kept.change(|state| state.written = self.written);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a byte for each permission.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.1.lock().unwrap().push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_reader_gets_everything_and_one_that_leaves_is_noticed() {
        let (permit, permits) = mpsc::channel();
        let got = Arc::<Mutex<Vec<u8>>>::default();
        let mut behind = Behind::new(Slow(permits, Arc::clone(&got))).unwrap();
        let text: Vec<u8> = (0..200).collect();
        // All of it is taken before the reader has had a byte.
        text.chunks(7).for_each(|piece| behind.write_all(piece).unwrap());
        text.iter().for_each(|_| permit.send(()).unwrap());
        behind.finish().unwrap();
        assert_eq!(*got.lock().unwrap(), text);

        let (permit, permits) = mpsc::channel();
        let mut behind = Behind::new(Slow(permits, got)).unwrap();
        drop(permit);
        behind.write_all(b"x").unwrap();
        while behind.write_all(b"y").is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(behind.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
