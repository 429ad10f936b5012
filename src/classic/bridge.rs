//! Two subsystems with a packet filter in each direction: the heart of the original's proxy.
//!
//! ```text
//!   a --recv--> THREAD "bridge-ab": ab_filter --send--> b
//!   a <--send-- THREAD "bridge-ba": ba_filter <--recv-- b
//! ```

use crate::impair::PacketFilter;
use crate::subsystem::{Batch, Halves, PacketRx, PacketTx, Sent, Subsystem, Waker};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// A bridge in use. It falls when one side ends, when it is closed, or when this is dropped.
pub struct Bridge {
    threads: Vec<JoinHandle<io::Result<()>>>,
    closing: Arc<Closing>,
}

/// Tells both threads to leave.
struct Closing {
    asked: AtomicBool,
    wakers: [Arc<dyn Waker>; 2],
}

impl Closing {
    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.wakers.iter().for_each(|waker| waker.wake());
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Moves every packet that `a` receives through `ab_filter` to `b`, and the other way round through `ba_filter`, until one
/// side ends; then the other one closes, too. Each side must have one peer: a server takes it from
/// [`UdpServerSingleRemote`](crate::subsystem::UdpServerSingleRemote) or
/// [`TcpServerSingleRemote`](crate::subsystem::TcpServerSingleRemote).
///
/// # Errors
/// What the system says when the halves or the threads cannot be made.
pub fn bridge(
    a: impl Subsystem + 'static,
    b: impl Subsystem + 'static,
    ab_filter: PacketFilter,
    ba_filter: PacketFilter,
) -> io::Result<Bridge> {
    let a: Halves = Box::new(a).split()?;
    let b: Halves = Box::new(b).split()?;
    let closing = Arc::new(Closing {
        asked: AtomicBool::new(false),
        wakers: [a.waker, b.waker],
    });
    let mut bridge = Bridge {
        threads: Vec::new(),
        closing,
    };
    bridge.start("bridge-ab", a.rx, b.tx, ab_filter)?;
    bridge.start("bridge-ba", b.rx, a.tx, ba_filter)?;
    Ok(bridge)
}

impl Bridge {
    fn start(
        &mut self,
        name: &str,
        from: Box<dyn PacketRx>,
        to: Box<dyn PacketTx>,
        filter: PacketFilter,
    ) -> io::Result<()> {
        let closing = Arc::clone(&self.closing);
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let result = run(from, to, filter, &closing);
            closing.ask();
            result
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until one side has ended.
    ///
    /// # Errors
    /// What went wrong, unless it was the regular end of a carrier.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// Closes both sides.
    ///
    /// # Errors
    /// What had gone wrong before.
    pub fn close(mut self) -> io::Result<()> {
        self.closing.ask();
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            let result = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread of the bridge failed")));
            outcome = outcome.and(result);
        }
        outcome
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.closing.ask();
        // Nobody is left to hear of errors.
        let _ = self.join();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

fn run(
    mut from: Box<dyn PacketRx>,
    mut to: Box<dyn PacketTx>,
    mut filter: PacketFilter,
    closing: &Closing,
) -> io::Result<()> {
    while !closing.is_asked() {
        let batch = match from.recv(None) {
            Ok(Some(batch)) => batch,
            Ok(None) => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            // Of an earlier packet: nobody was there. Perhaps somebody comes.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        for packet in batch.iter() {
            let mut packet = packet.to_vec();
            if filter(&mut packet) {
                send(&mut *to, Batch::single(packet.into(), batch.path), closing)?;
            }
        }
    }
    Ok(())
}

fn send(to: &mut dyn PacketTx, batch: Batch, closing: &Closing) -> io::Result<()> {
    let mut sent = to.send(batch);
    loop {
        match sent {
            Ok(Sent::Taken) => return Ok(()),
            Ok(Sent::Pending) if closing.is_asked() => return Ok(()),
            Ok(Sent::Pending) => sent = to.flush(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
