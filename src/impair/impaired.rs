//! A subsystem whose incoming packets pass a chain of filters.

use super::Arrival;
use super::regroup::{packets, regroup};
use crate::filter::{Chain, ChainCounters, Packet};
use crate::subsystem::{Batch, Halves, MAX_PACKET, PacketRx, Pool, Properties, Subsystem, Waker};
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The most packets in a batch that is put together again, as many as the kernel's receive offload merges.
const MAX_SEGMENTS: usize = 64;
const UNUSED_BUFFERS: usize = 16;

/// Any subsystem, with a chain of filters at its *receiving* end. To impair both directions wrap both ends:
///
/// ```
/// use securestream::filter::{Direction, Spec, SpecError};
/// use securestream::impair::Impaired;
/// use securestream::subsystem::Subsystem;
///
/// # fn example<S: Subsystem>(client: S, server: S) -> Result<(), SpecError> {
/// let spec: Spec = "delay 20ms 2ms; loss 5%".parse()?;
/// let server = Impaired::new(server, spec.chain(1, Direction::Upstream));
/// let client = Impaired::new(client, spec.chain(1, Direction::Downstream));
/// # Ok(())
/// # }
/// ```
///
/// Sending is not touched, and neither are the properties: a *reliable* carrier (TCP) still says that it is, so that
/// corrupted packets on it count as a broken peer.
///
/// Errors: when the carrier has ended (`UnexpectedEof`), what the chain still holds is delivered first, each packet
/// in its time, as on a slow link the end of a connection comes behind its data. Any other error is returned at once;
/// the chain keeps what it holds, for calls after it.
#[derive(Debug)]
pub struct Impaired<S> {
    inner: S,
    chain: Arc<Mutex<Chain<Arrival>>>,
}

/// Changes the chain of an [`Impaired`] while it is in use, from any thread.
#[derive(Clone, Debug)]
pub struct Control {
    chain: Arc<Mutex<Chain<Arrival>>>,
}

impl<S: Subsystem> Impaired<S> {
    /// Lets what `inner` receives pass `chain`. With an empty chain batches pass as they are.
    pub fn new(inner: S, chain: Chain<Arrival>) -> Self {
        Self {
            inner,
            chain: Arc::new(Mutex::new(chain)),
        }
    }

    /// As `new`, and a handle to change the chain later.
    pub fn with_control(inner: S, chain: Chain<Arrival>) -> (Self, Control) {
        let impaired = Self::new(inner, chain);
        let control = Control {
            chain: Arc::clone(&impaired.chain),
        };
        (impaired, control)
    }
}

impl Control {
    /// Packets that arrive from now on pass `chain`. Returns the chain so far; what it holds is not delivered.
    pub fn replace(&self, chain: Chain<Arrival>) -> Chain<Arrival> {
        std::mem::replace(&mut self.chain.lock(), chain)
    }

    /// What the chain of now has done so far. An empty chain counts nothing.
    pub fn counters(&self) -> ChainCounters {
        self.chain.lock().counters()
    }
}

impl<S: Subsystem> Subsystem for Impaired<S> {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self { inner, chain } = *self;
        let Halves { tx, rx, waker } = Box::new(inner).split()?;
        let (ring, bell) = crossbeam_channel::bounded(1);
        let rx = ImpairedRx {
            inner: rx,
            chain,
            bell,
            _ring: ring.clone(),
            pool: Pool::new(MAX_PACKET, UNUSED_BUFFERS),
            through: Vec::new(),
            ready: VecDeque::new(),
            ended: None,
        };
        Ok(Halves {
            tx,
            rx: Box::new(rx),
            waker: Arc::new(ImpairedWaker { ring, inner: waker }),
        })
    }

    fn properties(&self) -> Properties {
        self.inner.properties()
    }
}

/// Rings before it wakes the inner receiver. The bell tells a wake-up from a deadline of the chain when both come at
/// the same moment, and it wakes where the inner receiver is not asked any more.
struct ImpairedWaker {
    ring: Sender<()>,
    inner: Arc<dyn Waker>,
}

impl Waker for ImpairedWaker {
    fn wake(&self) {
        // A full bell is as good as a new ring.
        let _ = self.ring.try_send(());
        self.inner.wake();
    }
}

struct ImpairedRx {
    inner: Box<dyn PacketRx>,
    chain: Arc<Mutex<Chain<Arrival>>>,
    bell: Receiver<()>,
    /// So that the bell stays silent, rather than broken, when the last waker has gone.
    _ring: Sender<()>,
    pool: Arc<Pool>,
    /// Kept for its capacity; empty between calls.
    through: Vec<Packet<Arrival>>,
    /// Batches that have come through.
    ready: VecDeque<Batch>,
    /// The carrier has ended with this error, to be returned once the chain holds nothing.
    ended: Option<io::Error>,
}

impl ImpairedRx {
    /// Takes from the chain what is due by now, and says when more will be.
    fn poll_chain(&mut self) -> Option<Instant> {
        let mut chain = self.chain.lock();
        // The clock is read only where somebody waits for it.
        chain.next_timeout()?;
        chain.poll(now(), &mut self.through);
        let due = chain.next_timeout();
        drop(chain);
        self.regroup();
        due
    }

    /// Feeds a batch to the chain, or gives it back if there is no filter.
    fn feed(&mut self, batch: Batch) -> Option<Batch> {
        let mut chain = self.chain.lock();
        if chain.is_empty() {
            return Some(batch);
        }
        let now = now();
        for packet in packets(&batch) {
            chain.handle(packet, now, &mut self.through);
        }
        drop(chain);
        self.regroup();
        None
    }

    fn regroup(&mut self) {
        regroup(self.through.drain(..), &self.pool, |_| MAX_SEGMENTS, &mut self.ready);
    }

    /// Waits for the carrier, or after its end for the chain alone. What came is in `ready` afterwards, unless it
    /// passes as it is. The second value says that a waker ended the wait.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<(Option<Batch>, bool)> {
        if let (Some(_), Some(until)) = (&self.ended, until) {
            return Ok((None, self.bell.recv_deadline(until).is_ok()));
        }
        match self.inner.recv(until) {
            Ok(Some(batch)) => Ok((self.feed(batch), false)),
            // Too early without a ring: somebody has a waker of the inner subsystem.
            Ok(None) => Ok((
                None,
                self.bell.try_recv().is_ok() || until.is_none_or(|until| now() < until),
            )),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.ended = Some(error);
                Ok((None, false))
            }
            Err(error) => Err(error),
        }
    }
}

impl PacketRx for ImpairedRx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let due = self.poll_chain();
            if !self.ready.is_empty() {
                continue;
            }
            if due.is_none()
                && let Some(error) = self.ended.take()
            {
                return Err(error);
            }
            let (untouched, woken) = self.wait(deadline.into_iter().chain(due).min())?;
            if untouched.is_some() || woken {
                return Ok(untouched);
            }
            // Also after packets that were all dropped: a flood of them must not hold the caller.
            if deadline.is_some_and(|deadline| deadline <= now()) {
                self.poll_chain();
                return Ok(self.ready.pop_front());
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver of the chain")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Event, batch, bytes};
    use super::*;
    use crate::filter::{Direction, Spec};
    use crate::subsystem::Ecn;
    use std::time::Duration;

    const LONG: &str = "delay 3600s";

    fn chain(text: &str) -> Chain<Arrival> {
        text.parse::<Spec>().expect(text).chain(1, Direction::Upstream)
    }

    /// The two ends of a test: what the carrier delivers, and the impaired receiver.
    fn impaired(text: &str) -> (Sender<Event>, Halves, Control) {
        let (bench, events, _) = Bench::new();
        let (impaired, control) = Impaired::with_control(bench, chain(text));
        (events, Box::new(impaired).split().expect("a bench splits"), control)
    }

    fn deliver(events: &Sender<Event>, packets: &[&[u8]]) {
        events.send(Ok(batch(packets))).expect("the receiver lives");
    }

    /// A deadline that no test reaches unless it fails.
    fn soon() -> Instant {
        now() + Duration::from_secs(60)
    }

    #[test]
    fn without_a_filter_batches_pass_as_they_are() {
        let (events, mut halves, control) = impaired("");
        let sent = batch(&[b"aa", b"bb", b"c"]);
        let address = sent.buffer.as_ptr();
        events.send(Ok(sent)).expect("the receiver lives");
        let received = halves.rx.recv(Some(soon())).expect("no error").expect("a batch");
        assert_eq!(received.buffer.as_ptr(), address);
        assert_eq!(control.counters(), ChainCounters::default());
    }

    #[test]
    fn what_the_chain_lets_through_comes_in_one_batch_with_its_mark() {
        let (events, mut halves, control) = impaired("drop 2");
        let mut sent = batch(&[b"aa", b"bb", b"cc", b"d"]);
        sent.ecn = Some(Ecn::Ce);
        events.send(Ok(sent)).expect("the receiver lives");
        let received = halves.rx.recv(Some(soon())).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [&b"aa"[..], b"cc", b"d"]);
        assert_eq!(received.ecn, Some(Ecn::Ce));
        let counters = control.counters();
        assert_eq!((counters.sent, counters.delivered, counters.dropped), (4, 3, 1));
    }

    #[test]
    fn a_delayed_packet_comes_in_its_time_without_another_arrival() {
        let (events, mut halves, _) = impaired("delay 30ms");
        deliver(&events, &[b"late"]);
        let sent_at = now();
        let received = halves.rx.recv(None).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [b"late"]);
        assert!(sent_at.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_deadline_before_that_of_the_chain_ends_the_wait() {
        let (events, mut halves, control) = impaired(LONG);
        deliver(&events, &[b"held"]);
        let deadline = now() + Duration::from_millis(5);
        assert!(halves.rx.recv(Some(deadline)).expect("no error").is_none());
        assert!(now() >= deadline);
        assert_eq!(control.counters().in_flight, 1);
    }

    #[test]
    fn a_deadline_in_the_past_takes_what_has_arrived() {
        let (events, mut halves, _) = impaired("duplicate 100%");
        deliver(&events, &[b"x"]);
        let past = Some(now());
        let received = halves.rx.recv(past).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [b"x", b"x"]);
        assert!(halves.rx.recv(past).expect("no error").is_none());
    }

    #[test]
    fn a_flood_of_dropped_packets_does_not_hold_the_caller() {
        let (events, mut halves, _) = impaired("blackhole");
        for _ in 0..100 {
            deliver(&events, &[b"x"]);
        }
        assert!(halves.rx.recv(Some(now())).expect("no error").is_none());
        assert!(!events.is_empty());
    }

    #[test]
    fn a_waker_ends_the_wait_whether_or_not_the_chain_holds_packets() {
        for text in ["", LONG] {
            let (events, mut halves, _) = impaired(text);
            if !text.is_empty() {
                deliver(&events, &[b"held"]);
                assert!(halves.rx.recv(Some(now())).expect("no error").is_none());
            }
            let waker = Arc::clone(&halves.waker);
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| halves.rx.recv(Some(soon())));
                waker.wake();
                let woken = waiting.join().expect("the receiver does not panic");
                assert!(woken.expect("no error").is_none());
            });
            // The wake-up is used up: the next call waits for its deadline.
            let deadline = now() + Duration::from_millis(5);
            assert!(halves.rx.recv(Some(deadline)).expect("no error").is_none());
            assert!(now() >= deadline);
        }
    }

    #[test]
    fn the_end_of_the_carrier_comes_behind_the_packets_that_are_held() {
        let (events, mut halves, _) = impaired("delay 20ms");
        deliver(&events, &[b"last"]);
        events
            .send(Err(io::ErrorKind::UnexpectedEof))
            .expect("the receiver lives");
        let received = halves.rx.recv(Some(soon())).expect("no error yet").expect("a batch");
        assert_eq!(bytes(&received), [b"last"]);
        let error = halves.rx.recv(Some(soon())).expect_err("the carrier has ended");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn after_the_end_deadlines_and_wakers_still_end_the_wait() {
        let (events, mut halves, control) = impaired(LONG);
        deliver(&events, &[b"held"]);
        events
            .send(Err(io::ErrorKind::UnexpectedEof))
            .expect("the receiver lives");
        let deadline = now() + Duration::from_millis(5);
        assert!(halves.rx.recv(Some(deadline)).expect("no error").is_none());
        halves.waker.wake();
        assert!(halves.rx.recv(Some(soon())).expect("no error").is_none());
        // Nobody waits for packets that will not come any more.
        control.replace(Chain::new());
        assert!(halves.rx.recv(Some(soon())).is_err());
    }

    #[test]
    fn any_other_error_comes_at_once_and_the_chain_keeps_its_packets() {
        let (events, mut halves, _) = impaired("delay 20ms");
        deliver(&events, &[b"held"]);
        events
            .send(Err(io::ErrorKind::ConnectionRefused))
            .expect("the receiver lives");
        let error = halves.rx.recv(Some(soon())).expect_err("the error comes first");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let received = halves.rx.recv(Some(soon())).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [b"held"]);
    }

    #[test]
    fn a_replaced_chain_is_in_force_at_once_and_its_packets_are_gone() {
        let (events, mut halves, control) = impaired(LONG);
        deliver(&events, &[b"old"]);
        assert!(halves.rx.recv(Some(now())).expect("no error").is_none());
        let before = control.replace(chain("drop 1"));
        assert_eq!(before.counters().in_flight, 1);
        deliver(&events, &[b"a", b"b"]);
        let received = halves.rx.recv(Some(soon())).expect("no error").expect("a batch");
        assert_eq!(bytes(&received), [b"b"]);
        assert_eq!(control.counters().dropped, 1);
    }
}
