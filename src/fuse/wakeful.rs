//! Keeping processors awake while requests come one upon the other.
//!
//! A program that asks waits for the daemon, and the daemon for the program. Each wait is a few microseconds, for which the
//! kernel halts a processor that has nothing else to do; to start it again takes longer than most requests, in a virtual
//! machine, where halting gives the processor back to the host, many times as long. So while requests come densely, the
//! kernel is asked for a low latency of its processors, by the interface that it has for that (PM QoS,
//! Documentation/power/pm_qos_interface.rst): an idle processor of a virtual machine waits awake then, and one of a real
//! machine in its lightest sleep. A few milliseconds after the last of such requests that ends, and with the process it
//! ends too, however that went. What has something to do on a processor is not delayed: only idle ones wait.
//!
//! It takes root, as the device belongs to root; without it all works, at the pace of processors that sleep.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, park, park_timeout};
use std::time::{Duration, Instant};

use log::{debug, warn};
use parking_lot::Mutex;

use crate::stats::{Pulse, Traffic};

/// The device whose holders say which latency they bear, in microseconds as an `int`, while they have it open.
const DEVICE: &str = "/dev/cpu_dma_latency";

/// Any latency is fine, `PM_QOS_CPU_LATENCY_DEFAULT_VALUE` of linux/pm_qos.h.
const ANY: i32 = 2_000_000_000;

/// So many requests on one core, within [`DENSE_SPAN`], are worth keeping processors awake for: at a lower rate the
/// programs have other things to wait for.
const DENSE: u64 = 8;

/// The span that counts.
const DENSE_SPAN: Duration = Duration::from_millis(4);

/// How long processors are kept awake at least, and how often it is looked whether requests still come.
const HOLD: Duration = Duration::from_millis(10);

/// So many requests in [`HOLD`] keep them awake for another one.
const LIVELY: u64 = 20;

/// Keeps processors awake for one mount, where it can.
#[derive(Debug)]
pub(super) struct Wakeful(Option<Keeper>);

#[derive(Debug)]
struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    pulse: Pulse,
    device: File,
    /// The latency to ask for, in microseconds.
    latency: i32,
    /// Changed under `turn` only, together with what is asked for.
    held: AtomicBool,
    turn: Mutex<()>,
    over: AtomicBool,
    traffic: Arc<Traffic>,
}

impl Wakeful {
    /// For the requests that `traffic` counts; `wanted`: at all.
    pub(super) fn new(wanted: bool, traffic: &Arc<Traffic>) -> Self {
        let keeper = wanted.then(|| Keeper::start(Path::new(DEVICE), latency()?, Arc::clone(traffic))).transpose();
        Self(keeper.unwrap_or_else(|why| {
            debug!("processors are not kept awake: {why}");
            None
        }))
    }

    /// A request came.
    pub(super) fn beat(&self, now: Instant) {
        if let Some(keeper) = &self.0 {
            keeper.beat(now);
        }
    }

    /// Whether they are awake now.
    pub(super) fn is_awake(&self) -> bool {
        self.0.as_ref().is_some_and(|keeper| keeper.shared.held.load(Ordering::Relaxed))
    }
}

impl Keeper {
    fn start(device: &Path, latency: i32, traffic: Arc<Traffic>) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(device)?;
        let (held, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (pulse, turn) = (Pulse::new(DENSE, DENSE_SPAN), Mutex::default());
        let shared = Shared { pulse, device, latency, held, turn, over, traffic };
        let shared = Arc::new(shared);
        let own = Arc::clone(&shared);
        let thread = Builder::new().name("wakeful".into()).spawn(move || own.keep())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn beat(&self, now: Instant) {
        let Shared { pulse, held, .. } = &*self.shared;
        if pulse.beat(now) && !held.load(Ordering::Relaxed) {
            let _turn = self.shared.turn.lock();
            if held.load(Ordering::Relaxed) {
                return;
            }
            self.shared.ask(self.shared.latency);
            self.shared.traffic.keeps_awake();
            held.store(true, Ordering::Release);
            if let Some(thread) = &self.thread {
                thread.thread().unpark();
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                warn!("the thread that keeps processors awake panicked");
            }
        }
    }
}

impl Shared {
    /// Gives processors their sleep back when requests no longer come densely.
    fn keep(&self) {
        loop {
            while !self.held.load(Ordering::Acquire) {
                if self.over.load(Ordering::Acquire) {
                    return;
                }
                park();
            }
            let mut seen = self.pulse.look();
            loop {
                self.hold();
                let now = self.pulse.look();
                if self.over.load(Ordering::Acquire) || now.wrapping_sub(seen) < LIVELY {
                    break;
                }
                seen = now;
            }
            let _turn = self.turn.lock();
            self.ask(ANY);
            self.held.store(false, Ordering::Release);
        }
    }

    /// Waits for [`HOLD`], or for the end.
    fn hold(&self) {
        let began = Instant::now();
        // Whoever began the hold wakes this thread once, maybe only now.
        while let Some(rest) = HOLD.checked_sub(began.elapsed())
            && !self.over.load(Ordering::Acquire)
        {
            park_timeout(rest);
        }
        self.traffic.kept_awake(began.elapsed());
    }

    fn ask(&self, latency: i32) {
        if let Err(error) = (&self.device).write_all(&latency.to_ne_bytes()) {
            debug!("ask for a latency of {latency} us of the processors: {error}");
        }
    }
}

/// The latency to ask for, in microseconds: in a virtual machine none at all; elsewhere that of the lightest sleep, out of
/// which a processor comes within a microsecond or two.
///
/// # Errors
/// Why asking would change nothing.
fn latency() -> io::Result<i32> {
    let states = Path::new("/sys/devices/system/cpu/cpu0/cpuidle");
    let lightest = lightest_sleep(states)?;
    Ok(if is_virtual(&fs::read_to_string("/proc/cpuinfo")?) { 0 } else { lightest })
}

/// The least latency of those states of a processor that have one, in microseconds (Documentation/admin-guide/pm/cpuidle.rst).
fn lightest_sleep(states: &Path) -> io::Result<i32> {
    let mut least: Option<i32> = None;
    for state in fs::read_dir(states)? {
        let text = fs::read_to_string(state?.path().join("latency"))?;
        let latency: i32 = text.trim().parse().map_err(io::Error::other)?;
        if latency > 0 {
            least = Some(least.map_or(latency, |least| least.min(latency)));
        }
    }
    least.ok_or_else(|| io::Error::other("the kernel knows no sleep of its processors"))
}

/// Whether the processors are a virtual machine's, by the flag that hypervisors set (CPUID leaf 1, ECX bit 31).
fn is_virtual(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn the_lightest_sleep_is_the_least_latency_that_is_one() {
        let states = TempDir::new().unwrap();
        assert!(lightest_sleep(states.path()).is_err(), "no states, no sleep");
        for (state, latency) in [("state0", "0\n"), ("state1", "2\n"), ("state2", "133\n")] {
            fs::create_dir(states.path().join(state)).unwrap();
            fs::write(states.path().join(state).join("latency"), latency).unwrap();
        }
        assert_eq!(lightest_sleep(states.path()).unwrap(), 2);
    }

    #[test]
    fn a_virtual_machine_says_so() {
        assert!(is_virtual("processor\t: 0\nflags\t\t: fpu sse2 hypervisor lahf_lm\n"));
        assert!(!is_virtual("processor\t: 0\nflags\t\t: fpu sse2 lahf_lm\n"));
        assert!(!is_virtual("processor\t: 0\nFeatures\t: fp asimd\n"));
    }

    /// With a file in place of the device: it is asked for a low latency once requests come densely, and for any when they
    /// end.
    #[test]
    fn processors_are_awake_while_requests_come_densely() {
        let directory = TempDir::new().unwrap();
        let device = directory.path().join("device");
        fs::write(&device, b"").unwrap();
        let asked = || {
            let bytes = fs::read(&device).unwrap();
            bytes.chunks(4).map(|chunk| i32::from_ne_bytes(chunk.try_into().unwrap())).collect::<Vec<_>>()
        };
        let traffic = Arc::new(Traffic::new(b"/mnt".to_vec(), |_| "error"));
        let low = 2;
        let keeper = Keeper::start(&device, low, Arc::clone(&traffic)).unwrap();
        keeper.beat(Instant::now());
        assert!(asked().is_empty(), "one request is no burst");
        // The same moment each time: on whichever core, eight of them are dense before long.
        let now = Instant::now();
        (0..DENSE * 64).for_each(|_| keeper.beat(now));
        assert_eq!(asked()[0], low);
        let deadline = Instant::now() + Duration::from_secs(60);
        while asked().last() != Some(&ANY) {
            assert!(Instant::now() < deadline, "{:?}", asked());
            std::thread::yield_now();
        }
        drop(keeper);
        assert_eq!(asked(), [low, ANY]);
        assert_eq!(traffic.look().kept_awake, 1);
    }
}
