//! A small process that ends the mounts when this one is killed, so that nobody waits for answers that will not come.
//!
//! A process is gone when its last thread is. One that tells a kernel which pages are out of date may wait there for a page
//! that a request has locked, and keeps the connection open while it does: the request would stay unanswered, the page
//! locked, and everybody who uses the mount would hang. Nobody in the killed process can mend that.
//!
//! The guardian is told of each connection when it comes and when it has ended, and keeps its file `abort` open; it has
//! nothing else of the daemon, neither the device nor the store nor its lock. What it does then is in `duty`. It is this
//! program once more, under another word: only where `main` has asked [`guard_if_asked`] is that known to do no harm.
//!
//! Promises: a connection of a living daemon is never ended by it; a daemon that ends does not leave it behind, nor wait for
//! it without bound. Without a guardian mounts are as good as with one until the daemon is killed.

mod duty;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fleet::Event;
use super::spawn;
use crate::error::{Error, Result};
use crate::fuse::Guard;

/// What the guardian is called, in its arguments and in the list of processes. Not `nexus`, which `killall -9 nexus` means.
const WORD: &str = "mount-guard";

/// How long an answer may take: a file is opened.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long its end may take, and then that of a kill.
const END_MAX: Duration = Duration::from_secs(1);

/// The pause between two looks whether it has ended.
const END_PAUSE: Duration = Duration::from_millis(1);

/// How often one that was killed is replaced. Somebody who means it is not to be fought.
const STARTS_MAX: u32 = 8;

/// Whether this program has said that it does a guardian's duty when asked to.
static MAY_BE_ASKED: AtomicBool = AtomicBool::new(false);

/// Does a guardian's duty to its end, if that is what this process was started for: `true`, and `main` should return. To be
/// asked first by every program that mounts, with its arguments; one that does not has mounts without a guardian.
#[must_use]
pub fn guard_if_asked(arguments: &[OsString]) -> bool {
    if let [_, word, daemon, _] = arguments
        && word == WORD
        && let Some(daemon) = daemon.to_str().and_then(|number| number.parse().ok())
    {
        duty::keep(daemon);
        return true;
    }
    MAY_BE_ASKED.store(true, Ordering::Relaxed);
    false
}

/// The daemon's end.
#[derive(Debug)]
pub(super) struct Guardian {
    data_dir: PathBuf,
    events: Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: there is none, and mounts are not watched.
    post: Option<Post>,
    /// What it watches.
    connections: BTreeSet<u64>,
    starts: u32,
}

/// One that was started.
#[derive(Debug)]
struct Post {
    process: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Guardian {
    /// Starts one. To be called on the thread that lives as long as the mounts: the kernel tells a process of the end of
    /// the thread that started it, prctl(2) `PR_SET_PDEATHSIG`.
    pub(super) fn start(data_dir: &Path, events: Sender<Event>) -> Self {
        let guardian = Self { data_dir: data_dir.to_owned(), events, state: Mutex::default() };
        if MAY_BE_ASKED.load(Ordering::Relaxed) {
            guardian.begin(&mut guardian.state.lock());
        } else {
            log::debug!("mounts without a guardian: this program did not ask whether it is one");
        }
        guardian
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.state.lock().post.is_some()
    }

    fn begin(&self, state: &mut State) {
        state.starts += 1;
        match Post::take_up(&self.data_dir, &self.events) {
            Ok(post) => state.post = Some(post),
            Err(e) => {
                log::warn!("mounts without a guardian: programs that use them may hang if this process is killed: {e}");
            }
        }
    }

    /// It is gone, and nobody here ended it: another takes over, on the thread that calls.
    pub(super) fn replace(&self) {
        let mut state = self.state.lock();
        let Some(mut gone) = state.post.take() else { return };
        let how = gone.ended_within(END_MAX).unwrap_or_else(|| "ended".to_owned());
        if state.starts >= STARTS_MAX {
            log::warn!(
                "the guardian of the mounts {how}, as {STARTS_MAX} did; programs may hang if this process is killed"
            );
            return;
        }
        self.begin(&mut state);
        let State { post: Some(post), connections, .. } = &mut *state else { return };
        log::warn!("the guardian of the mounts {how}; process {} takes its place", post.process.id());
        for connection in connections.iter() {
            if let Err(e) = post.watch(*connection) {
                log::warn!("a mount without a guardian: {e}");
            }
        }
    }

    /// Ends it. Whatever is still mounted it goes on watching, until this process has ended.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        let Some(Post { mut process, orders, .. }) = state.post.take() else { return };
        drop(orders);
        if !state.connections.is_empty() || ended_within(&mut process, END_MAX).is_some() {
            return;
        }
        if process.kill().is_err() || ended_within(&mut process, END_MAX).is_none() {
            log::warn!("the guardian of the mounts, process {}, does not end", process.id());
        }
    }
}

impl Guard for Guardian {
    fn watch(&self, connection: u64) -> bool {
        let mut state = self.state.lock();
        let Some(post) = &mut state.post else { return false };
        match post.watch(connection) {
            Ok(()) => {
                state.connections.insert(connection);
                true
            }
            Err(e) => {
                log::debug!("a mount without a guardian: {e}");
                // It may be that it was only late.
                post.order(duty::Order::Leave(connection)).ok();
                false
            }
        }
    }

    fn leave(&self, connection: u64) {
        let mut state = self.state.lock();
        state.connections.remove(&connection);
        // Should it be gone, another is told of what there is then.
        if let Some(post) = &mut state.post {
            post.order(duty::Order::Leave(connection)).ok();
        }
    }
}

impl Post {
    fn take_up(data_dir: &Path, events: &Sender<Event>) -> Result<Self> {
        let failed = |e: io::Error| Error::io("starting the guardian of the mounts", e);
        // The program that runs, whatever stands in its place by now. All but these three descriptors close by themselves.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("nexus").arg(WORD).arg(std::process::id().to_string()).arg(data_dir);
        // What a terminal sends to this process is not meant for it. Its standard error would keep a caller's pipe open.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(failed)?;
        let (Some(orders), Some(said)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        // One that takes no orders must not hold up whoever gives them.
        rustix::io::ioctl_fionbio(&orders, true).map_err(|e| failed(e.into()))?;
        let ((tell, answers), events) = (channel(), events.clone());
        spawn("guardian", move || {
            for line in BufReader::new(said).lines().map_while(io::Result::ok) {
                tell.send(line).ok();
            }
            // Nobody waits any more when it is this process that ends.
            events.send(Event::Unguarded).ok();
        })?;
        Ok(Self { process, orders, answers })
    }

    fn order(&mut self, order: duty::Order) -> io::Result<()> {
        self.orders.write_all(order.to_string().as_bytes())
    }

    fn watch(&mut self, connection: u64) -> Result<()> {
        let failed = |e: io::Error, process: &Child| {
            Error::io(format!("watching the connection {connection} from process {}", process.id()), e)
        };
        self.order(duty::Order::Watch(connection)).map_err(|e| failed(e, &self.process))?;
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(patience);
            let answer = answer.map_err(|_| failed(io::ErrorKind::TimedOut.into(), &self.process))?;
            // An answer about another one is late, and was given up.
            if let Some(done) = duty::answer_about(connection, &answer) {
                return done.map_err(|why| failed(io::Error::other(why), &self.process));
            }
        }
    }

    fn ended_within(&mut self, patience: Duration) -> Option<String> {
        ended_within(&mut self.process, patience)
    }
}

/// How a process has ended, in words, if it has by then.
fn ended_within(process: &mut Child, patience: Duration) -> Option<String> {
    let deadline = Instant::now() + patience;
    loop {
        match process.try_wait() {
            Ok(Some(status)) => return Some(format!("ended ({status})")),
            // Taken note of by somebody else, wait(2) `ECHILD`.
            Err(_) => return Some("ended".to_owned()),
            Ok(None) if Instant::now() >= deadline => return None,
            Ok(None) => std::thread::sleep(END_PAUSE),
        }
    }
}
