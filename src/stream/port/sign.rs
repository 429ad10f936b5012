//! A few threads for the slow steps of handshakes: a signature takes a millisecond, and the port thread has others to
//! serve meanwhile.
//!
//! The queue to them is short. What finds no room waits in the handshake that it belongs to, whose number is limited.

use crate::stream::connection::spawn;
use crate::stream::handshake::{Done, Work};
use crate::subsystem::Waker;
use crate::wire::packet::ConnectionId;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// More threads than these would take the processor from the streams.
const MAX_THREADS: usize = 4;
/// Steps that wait for a thread.
const QUEUE: usize = 16;

/// See the module.
pub(super) struct Pool {
    /// `None` once the pool ends.
    work: Option<Sender<(ConnectionId, Work)>>,
    done: Receiver<(ConnectionId, Done)>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads, as many as there are processors. `waker` is used after each step.
    pub(super) fn start(waker: &Arc<dyn Waker>) -> io::Result<Self> {
        let (work, steps) = bounded(QUEUE);
        // Never more than were given out.
        let (give, done) = unbounded();
        let mut pool = Self {
            work: Some(work),
            done,
            threads: Vec::new(),
        };
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        for number in 0..threads {
            let (steps, give, waker) = (Receiver::clone(&steps), Sender::clone(&give), Arc::clone(waker));
            match spawn(format!("ss-sign-{number}"), move || run(&steps, &give, &*waker)) {
                Ok(thread) => pool.threads.push(thread),
                // One is enough.
                Err(_) if number > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(pool)
    }

    /// Whether a step may be given.
    pub(super) fn has_room(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.is_full())
    }

    /// Gives a step. Only when there is room.
    pub(super) fn give(&self, local_id: ConnectionId, work: Work) {
        if let Some(queue) = &self.work {
            // Nobody else gives, so there still is room.
            let _ = queue.try_send((local_id, work));
        }
    }

    /// A step that was taken.
    pub(super) fn poll_done(&self) -> Option<(ConnectionId, Done)> {
        self.done.try_recv().ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Takes steps until nobody can give any more.
fn run(steps: &Receiver<(ConnectionId, Work)>, give: &Sender<(ConnectionId, Done)>, waker: &dyn Waker) {
    for (local_id, work) in steps {
        // A panic costs the handshake, which runs into its time limit, and not the thread.
        if let Ok(done) = panic::catch_unwind(AssertUnwindSafe(|| work.run())) {
            let _ = give.send((local_id, done));
            waker.wake();
        }
    }
}
