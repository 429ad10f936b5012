//! What stands at each end of a simulated network: our endpoint, or a protocol of your own.

use crate::proto::ecn::Mark;
use std::time::Instant;

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Where it goes: 0, or the path of the datagram that it answers.
    pub path: u64,
}

/// One end, without a clock or a socket: datagrams and `now` in, datagrams and a deadline out. Time never runs
/// backwards.
pub trait Node {
    /// Takes a datagram. It came over `path`: 0 until the peer's address changes, then another number.
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], path: u64);

    /// The next datagram to send. Called until `None` after every input, and when the deadline has come.
    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram>;

    /// The ECN mark of the datagram that [`Node::poll_transmit`] gave last.
    fn mark(&self) -> Option<Mark> {
        None
    }

    /// The ECN mark of the datagram that comes next.
    fn handle_mark(&mut self, _mark: Option<Mark>) {}

    /// When it wants to be asked again, if nothing comes before.
    fn next_timeout(&self) -> Option<Instant>;
}
