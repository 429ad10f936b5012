//! Blocking on a socket until a deadline, such that another thread can end it. It knows no packets.
//!
//! A socket time-out counts in ticks of the kernel (4 ms at 250 Hz); `ppoll` is exact. The sockets themselves are
//! non-blocking, so that this is the only place where a subsystem blocks.

use super::{Pool, Sent, Waker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A receiver that has waited this long gives its unused buffers back.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The socket is ready, or has an error to tell.
    Ready,
    /// Another thread asked for it.
    Asked,
    /// The time is over.
    Expired,
}

/// Pushes until the carrier has taken everything, and waits for room in between. [`Sent::Pending`]: not by `deadline`,
/// or another thread asked us to come back.
pub(super) fn push_all(
    socket: &impl AsFd,
    wake: &Wake,
    deadline: Option<Instant>,
    mut push: impl FnMut() -> io::Result<Sent>,
) -> io::Result<Sent> {
    loop {
        if wake.take() {
            return Ok(Sent::Pending);
        }
        if push()? == Sent::Taken {
            return Ok(Sent::Taken);
        }
        match wait(socket, PollFlags::OUT, wake, deadline)? {
            Waited::Ready => {}
            Waited::Asked | Waited::Expired => return Ok(Sent::Pending),
        }
    }
}

/// A request to one waiting thread to come back. Stays until it is taken.
#[derive(Debug, Default)]
pub(super) struct Wake {
    asked: AtomicBool,
    /// Ends a `poll`. Made by the waiting thread when it blocks for the first time: most senders never do.
    pipe: OnceLock<(UnixStream, UnixStream)>,
}

impl Wake {
    /// Takes the request, if there is one. Costs one load if not.
    pub(super) fn take(&self) -> bool {
        if !self.asked.load(Ordering::SeqCst) {
            return false;
        }
        let asked = self.asked.swap(false, Ordering::SeqCst);
        // This may swallow the byte of a request that came just now. Its flag stays, and is looked at before `poll`.
        self.drain();
        asked
    }

    /// Takes the descriptors now rather than when they may be used up.
    pub(super) fn prepare(&self) -> io::Result<()> {
        self.readable().map(drop)
    }

    /// The end of the pipe that becomes readable. Called by the waiting thread only.
    fn readable(&self) -> io::Result<&UnixStream> {
        if self.pipe.get().is_none() {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            let _ = self.pipe.set((reader, writer));
        }
        // Pairs with the fence in `wake`: either that thread sees the pipe, or this one sees the flag.
        fence(Ordering::SeqCst);
        Ok(&self.pipe.get().expect("set above").0)
    }

    fn drain(&self) {
        if let Some((reader, _)) = self.pipe.get() {
            let _ = (&*reader).read(&mut [0; 64]);
        }
    }
}

impl Waker for Wake {
    fn wake(&self) {
        // A request that is still there has its byte on the way.
        if self.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        fence(Ordering::SeqCst);
        if let Some((_, writer)) = self.pipe.get() {
            // A full pipe is readable, which is all that matters.
            let _ = (&*writer).write(&[1]);
        }
    }
}

/// Wakes both halves of a subsystem.
pub(super) struct WakeBoth {
    pub(super) tx: Arc<Wake>,
    pub(super) rx: Arc<Wake>,
}

impl Waker for WakeBoth {
    fn wake(&self) {
        self.tx.wake();
        self.rx.wake();
    }
}

/// Blocks until `socket` has one of `events`, `wake` was asked (takes the request), or the deadline has passed.
pub(super) fn wait(socket: impl AsFd, events: PollFlags, wake: &Wake, deadline: Option<Instant>) -> io::Result<Waited> {
    if is_past(deadline) {
        // Only a look. Whoever never blocks needs no pipe.
        return Ok(if wake.take() { Waited::Asked } else { Waited::Expired });
    }
    let pipe = wake.readable()?;
    loop {
        if wake.take() {
            return Ok(Waited::Asked);
        }
        let left = match deadline.map(time_left) {
            Some(None) => return Ok(Waited::Expired),
            Some(Some(left)) => Some(left),
            None => None,
        };
        // A time that the kernel cannot express is as good as no limit.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&socket, events), PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(Waited::Ready);
        }
        if !fds[1].revents().is_empty() && !wake.take() {
            // The late byte of a request that was taken before.
            wake.drain();
        } else if !fds[1].revents().is_empty() {
            return Ok(Waited::Asked);
        }
    }
}

/// Waits for something to read. A long wait gives the unused buffers of `pool` back to the system.
pub(super) fn wait_readable(
    socket: impl AsFd,
    wake: &Wake,
    deadline: Option<Instant>,
    pool: &Pool,
) -> io::Result<Waited> {
    if pool.unused() > 0 {
        let soon = after(IDLE);
        if deadline.is_none_or(|deadline| deadline > soon) {
            match wait(&socket, PollFlags::IN, wake, Some(soon))? {
                Waited::Expired => pool.trim(),
                other => return Ok(other),
            }
        }
    }
    wait(socket, PollFlags::IN, wake, deadline)
}

/// Whether the deadline has passed.
pub(super) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| time_left(deadline).is_none())
}

#[expect(clippy::disallowed_methods, reason = "blocking calls turn deadlines into time-outs")]
fn time_left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

/// The moment `delay` from now.
#[expect(clippy::disallowed_methods, reason = "blocking calls turn time-outs into deadlines")]
pub(super) fn after(delay: Duration) -> Instant {
    Instant::now() + delay
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::testing::watchdog;

    #[test]
    fn a_wake_before_the_wait_ends_it_once() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let wake = Wake::default();
        wake.wake();
        let woken = wait(&socket, PollFlags::IN, &wake, watchdog()).unwrap();
        assert_eq!(woken, Waited::Asked);
        let soon = Some(after(Duration::from_millis(1)));
        let woken = wait(&socket, PollFlags::IN, &wake, soon).unwrap();
        assert_eq!(woken, Waited::Expired);
    }

    #[test]
    fn a_request_that_was_taken_leaves_no_byte_that_ends_a_later_wait() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let wake = Wake::default();
        // The first wait makes the pipe, so that the wake writes to it.
        let _ = wait(&socket, PollFlags::IN, &wake, Some(after(Duration::ZERO)));
        wake.wake();
        wake.asked.store(false, Ordering::SeqCst);
        let soon = Some(after(Duration::from_millis(1)));
        let woken = wait(&socket, PollFlags::IN, &wake, soon).unwrap();
        assert_eq!(woken, Waited::Expired);
    }

    #[test]
    fn the_socket_ends_the_wait() {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let wake = Wake::default();
        let woken = wait(&socket, PollFlags::IN, &wake, watchdog()).unwrap();
        assert_eq!(woken, Waited::Ready);
    }

    #[test]
    fn a_wait_ends_no_earlier_than_its_deadline() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let deadline = after(Duration::from_micros(1500));
        let woken = wait(&socket, PollFlags::IN, &Wake::default(), Some(deadline)).unwrap();
        assert_eq!(woken, Waited::Expired);
        assert!(is_past(Some(deadline)));
    }

    #[test]
    fn a_long_wait_gives_unused_buffers_back() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let pool = Pool::new(16, 4);
        drop(pool.take());
        assert_eq!(pool.unused(), 1);
        let later = Some(after(IDLE + Duration::from_millis(1)));
        let woken = wait_readable(&socket, &Wake::default(), later, &pool).unwrap();
        assert_eq!((woken, pool.unused()), (Waited::Expired, 0));
    }
}
