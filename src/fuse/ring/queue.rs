//! The life of a thread: a channel of its own to the queue of its core, registered when told to, served until the end.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use log::error;

use super::channel::Channel;
use super::dispatch;
use super::relief::Relief;
use super::seat::Seat;
use crate::fuse::control::Abort;
use crate::fuse::handlers::Handlers;

/// What a thread is told to do next; no more orders mean to end.
#[derive(Debug)]
pub(super) enum Order {
    /// Register with the mount behind this device.
    Register(Arc<OwnedFd>),
    /// Serve until the mount ends.
    Serve {
        /// What serves.
        handlers: Arc<Handlers>,
        /// The kernel's number of the mount.
        connection: u64,
        /// Who steps in for a thread that waits.
        relief: Arc<Relief>,
    },
}

/// A thread, as those see it who started it.
#[derive(Debug)]
pub(super) struct Thread {
    core: u16,
    orders: Sender<Order>,
    handle: JoinHandle<io::Result<()>>,
}

impl Thread {
    /// Starts a thread for the queue of `core`. It says in `report` when its channel is made, and when it is registered,
    /// or why not.
    pub(super) fn start(core: u16, number: u16, report: Sender<io::Result<()>>) -> io::Result<Self> {
        let (orders, told) = channel();
        let handle = Builder::new().name(format!("ring-{core}-{number}")).spawn(move || live(core, &report, &told))?;
        Ok(Self { core, orders, handle })
    }

    /// The core whose requests it serves.
    pub(super) fn core(&self) -> u16 {
        self.core
    }

    /// Tells the thread what to do next.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| io::Error::other("a thread of the ring has ended"))
    }

    /// Waits for its end, which comes with the end of the mount, or at once if it does not serve yet.
    ///
    /// # Errors
    /// Why it broke off.
    pub(super) fn join(self) -> io::Result<()> {
        drop(self.orders);
        self.handle.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the ring panicked")))
    }
}

fn live(core: u16, report: &Sender<io::Result<()>>, told: &Receiver<Order>) -> io::Result<()> {
    let mut seat = Seat::take(core);
    // Nobody listens to a report any more once another thread's was bad.
    let mut channel = match Channel::new(core) {
        Ok(channel) => channel,
        Err(error) => {
            report.send(Err(error)).ok();
            return Ok(());
        }
    };
    report.send(Ok(())).ok();
    while let Ok(order) = told.recv() {
        match order {
            Order::Register(device) => drop(report.send(channel.register(device))),
            Order::Serve { handlers, connection, relief } => {
                let ended = serve(&mut channel, &handlers, &relief, &mut seat);
                relief.end();
                if let Err(error) = &ended {
                    error!("serve the queue of core {core}: {error}; the mount ends");
                    abort(connection);
                }
                return ended;
            }
        }
    }
    Ok(())
}

fn serve(channel: &mut Channel, handlers: &Handlers, relief: &Arc<Relief>, seat: &mut Seat) -> io::Result<()> {
    let (patience, company) = (Some((relief, seat.core())), relief.company());
    while channel.serve(|header, arguments, payload, filled| {
        // Who asks matters only then, and this is a line of memory that all cores write.
        if handlers.wakeful().is_awake() {
            company.note(header.pid);
        }
        dispatch::serve(handlers, header, arguments, payload, filled, patience)
    })? {
        seat.set_free(company.is_alone() && handlers.wakeful().is_awake());
    }
    Ok(())
}

/// Ends a mount from below: fuse.rst in the kernel's documentation.
fn abort(connection: u64) {
    if let Err(error) = Abort::of(connection).and_then(Abort::end) {
        error!("end the connection {connection}: {error}; unmount it by hand");
    }
}
