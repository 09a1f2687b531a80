//! A thread that brings messages to the kernel of one mount, in their order, and those who wait until it has.
//!
//! Sending waits for locks of the kernel which a request may hold that is still to be answered (`notice.rs`), so a thread
//! that answers requests hands over, and waits for a bounded time. It sends by itself only what cannot wait: attributes,
//! pages of a file that nobody has open, and those of a directory whose listing comes to its end.
//!
//! A process that is killed is gone only when its last thread is, and a thread that waits for a lock in the kernel dies only
//! when it has it. If it shared the descriptors of the process, the device would stay open, and the request that holds the lock
//! would wait for an answer for ever. So the thread has descriptors of its own: a clone of the device and nothing else. Where
//! even that clone is too much, because the request is not ended with the descriptor it was read from, a
//! [`Guard`](super::Guard) ends the connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, warn};
use parking_lot::{Condvar, Mutex};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::known::{Known, Message};
use super::notice::{self, Held};
use crate::stats::Traffic;

/// `FUSE_DEV_IOC_CLONE` of linux/fuse.h.
const CLONE_DEVICE: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(229, 0);

/// After how long a node is named again that the kernel is about to take up: its answer was on the way.
const AGAIN: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];

/// Messages and their thread.
#[derive(Debug)]
pub(super) struct Courier {
    desk: Arc<Desk>,
    device: Arc<File>,
    known: Arc<Known>,
    traffic: Arc<Traffic>,
    name: &'static str,
}

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    /// Something is to be sent, or it is the end.
    wake: Condvar,
    /// Something was sent.
    sent: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// To be sent, the first one being sent.
    waiting: VecDeque<Message>,
    /// To be sent once more, and which time it will be.
    again: Vec<(Instant, usize, Message)>,
    /// Handed over so far.
    handed: u64,
    /// Sent so far.
    sent: u64,
    running: bool,
    stopped: bool,
    /// The device, until the end: see [`Device::take_over`].
    lent: Option<Arc<File>>,
}

impl Courier {
    pub(super) fn new(name: &'static str, device: Arc<File>, known: Arc<Known>, traffic: Arc<Traffic>) -> Self {
        Self { desk: Arc::default(), device, known, traffic, name }
    }

    /// Takes messages over; the number to wait for, which stands for all that were handed over before, too.
    pub(super) fn hand_over(&self, messages: impl IntoIterator<Item = Message>) -> u64 {
        let mut state = self.desk.state.lock();
        let before = state.waiting.len();
        state.waiting.extend(messages);
        let added = state.waiting.len() - before;
        state.handed += added as u64;
        if added > 0 {
            self.ensure_running(&mut state);
            self.desk.wake.notify_one();
        }
        state.handed
    }

    /// Sends a message a few times in the next moments, for what may arrive behind it. Nobody waits for that.
    pub(super) fn repeat(&self, message: &Message) {
        let now = Instant::now();
        let mut state = self.desk.state.lock();
        state.again.extend(AGAIN.iter().map(|delay| (now + *delay, AGAIN.len(), message.clone())));
        self.ensure_running(&mut state);
        self.desk.wake.notify_one();
    }

    fn ensure_running(&self, state: &mut State) {
        if !state.running && !state.stopped {
            state.running = true;
            state.stopped = !self.start();
        }
    }

    /// Waits until everything up to a number is sent. Whether it is.
    pub(super) fn wait(&self, number: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.desk.state.lock();
        while state.sent < number && !state.stopped {
            if self.desk.sent.wait_until(&mut state, deadline).timed_out() {
                return state.sent >= number || state.stopped;
            }
        }
        true
    }

    /// Sends nothing more. Does not wait for the thread: the kernel may hold it up until the mount is gone.
    pub(super) fn stop(&self) {
        let lent = {
            let mut state = self.desk.state.lock();
            state.stopped = true;
            state.lent.take()
        };
        drop(lent);
        self.desk.wake.notify_all();
        self.desk.sent.notify_all();
    }

    /// Starts the thread; whether that succeeded.
    fn start(&self) -> bool {
        let (desk, known, traffic) = (Arc::clone(&self.desk), Arc::clone(&self.known), Arc::clone(&self.traffic));
        let Some(mut device) = self.device_for_thread() else { return false };
        // Not waited for: what the thread does first may have to be answered by whoever calls this.
        let spawned = std::thread::Builder::new().name(self.name.into()).spawn(move || match device.take_over(&desk) {
            Ok(device) => desk.run(&device, &known, &traffic),
            Err(e) => {
                warn!("other mounts may show changes late: open the device for notices: {e}");
                desk.give_up();
            }
        });
        match spawned {
            Ok(_) => true,
            Err(e) => {
                warn!("other mounts may show changes late: start a thread for notices: {e}");
                false
            }
        }
    }
}

impl Desk {
    fn run(&self, device: &File, known: &Known, traffic: &Traffic) {
        while let Some((message, time)) = self.next() {
            traffic.told();
            match send(device, &message) {
                // The kernel knows nothing of a node that it was given: the answer is on its way, or the news that it forgot.
                Ok(Held::Nothing) => {
                    if let Message::Attributes(node) | Message::Pages(node, ..) | Message::Listing(node) = message
                        && known.holds(node)
                        && time < AGAIN.len()
                    {
                        self.state.lock().again.push((Instant::now() + AGAIN[time], time + 1, message));
                    }
                }
                Ok(Held::Something) => {}
                Err(e) => debug!("tell the kernel {message:?}: {e}"),
            }
            if time == 0 {
                let mut state = self.state.lock();
                state.waiting.pop_front();
                state.sent += 1;
                self.sent.notify_all();
            }
        }
    }

    /// The next message, and how often it was sent before; `None` at the end.
    fn next(&self) -> Option<(Message, usize)> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(message) = state.waiting.front() {
                return Some((message.clone(), 0));
            }
            let now = Instant::now();
            let due = (0..state.again.len()).min_by_key(|index| state.again[*index].0);
            match due.map(|index| (index, state.again[index].0)) {
                Some((index, at)) if at <= now => {
                    let (_, time, message) = state.again.swap_remove(index);
                    return Some((message, time));
                }
                Some((_, at)) => {
                    self.wake.wait_until(&mut state, at);
                }
                None => self.wake.wait(&mut state),
            }
        }
    }

    fn give_up(&self) {
        self.state.lock().stopped = true;
        self.sent.notify_all();
    }
}

fn send(device: &File, message: &Message) -> io::Result<Held> {
    match message {
        Message::Attributes(node) => notice::attributes(device, *node),
        Message::Pages(node, from, length) => notice::pages(device, *node, *from, *length),
        Message::Listing(node) => notice::pages(device, *node, 0, 0),
        Message::Name(parent, name) => notice::name(device, *parent, name),
        Message::AllNames => notice::all_names(device).map(|()| Held::Something),
    }
}

/// The device on its way to a thread.
enum Device {
    /// As it stands in the descriptors of the process, kept open until the thread has taken it from there.
    Lent(Option<Arc<File>>),
    /// To be used as it is, in the descriptors of the process: a killed daemon may then hang until its mounts are taken away.
    Shared(Option<File>),
}

impl Courier {
    fn device_for_thread(&self) -> Option<Device> {
        let number = self.device.as_raw_fd();
        // Tried out first, because a thread that has its own descriptors has no way back.
        if descriptor_of_process(number).is_ok() {
            return Some(Device::Lent(Some(Arc::clone(&self.device))));
        }
        match self.device.try_clone() {
            Ok(file) => Some(Device::Shared(Some(file))),
            Err(e) => {
                warn!("other mounts may show changes late: duplicate the device for notices: {e}");
                None
            }
        }
    }
}

impl Device {
    /// Gives this thread descriptors of its own, the standard streams and a clone of the device. The kernel copies some of
    /// the others all the same, and closes them: where the process has files open on its own mounts it asks itself then.
    fn take_over(&mut self, desk: &Desk) -> io::Result<File> {
        let lent = match self {
            Self::Lent(lent) => lent.take().ok_or(io::ErrorKind::NotFound)?,
            Self::Shared(file) => return file.take().ok_or_else(|| io::ErrorKind::NotFound.into()),
        };
        let number = lent.as_raw_fd();
        // Given back, because this thread could close it for itself only.
        desk.state.lock().lent = Some(lent);
        own_descriptors()?;
        let device = descriptor_of_process(number)?;
        // Where this process may not open /dev/fuse, the device itself has to do.
        match File::options().read(true).write(true).open("/dev/fuse") {
            Ok(clone) if clone_into(&clone, device.as_raw_fd()).is_ok() => Ok(clone),
            _ => Ok(File::from(device)),
        }
    }
}

/// Gives this thread descriptors of its own: copies of the standard streams, and nothing else. What it borrows from others
/// of the process is closed for it.
pub(crate) fn own_descriptors() -> io::Result<()> {
    let unshare = libc::CLOSE_RANGE_UNSHARE.cast_signed();
    // SAFETY: the descriptors of the process stay as they are; this thread gets a table with the first three, and whoever
    // calls this uses no other one that was opened before.
    if unsafe { libc::close_range(3, u32::MAX, unshare) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A descriptor of this process, wherever this thread has its own, pidfd_getfd(2).
fn descriptor_of_process(number: RawFd) -> io::Result<OwnedFd> {
    let process = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?)
}

fn clone_into(clone: &File, device: RawFd) -> io::Result<()> {
    let number = device.unsigned_abs();
    // SAFETY: the call reads one `u32`, the number of an open device of FUSE, and keeps no pointer to it.
    let done = unsafe { libc::ioctl(clone.as_raw_fd(), libc::Ioctl::from(CLONE_DEVICE), &raw const number) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
