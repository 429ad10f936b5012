//! The server's side: it answers a first packet, sends little until the client's address is validated, and is through
//! when the client's Finished is verified.
//!
//! Made from a datagram that [`Hello::decode`] has looked at. RFC 9000, sections 7.2, 8.1 and 10.2; RFC 9001, section
//! 4.1.2.

use std::time::Instant;

use super::early::Early;
use super::exchange::Exchange;
use super::ids::Ids;
use super::stateless::{Hello, NotHello};
use super::work::{Done, Work};
use super::{Config, Established, MAX_EARLY_DATAGRAMS};
use crate::crypto::engine::Side;
use crate::error::StreamError;
use crate::wire::packet::{ConnectionId, Decoded, LongType, decode};

/// A handshake that a client began.
#[derive(Debug)]
pub(crate) struct Server {
    exchange: Exchange,
    /// 1-RTT packets before the client's Finished: not to be opened yet (RFC 9001, section 5.7).
    early_one_rtt: Early,
}

impl Server {
    /// Answers the first datagram of a client. `local_id` is eight random bytes, how the client shall call us from now
    /// on; until it has heard of them its packets carry `hello.destination_id`.
    ///
    /// # Errors
    /// [`NotHello::NotAuthentic`] for a datagram that was damaged on the way: no state is made.
    /// [`NotHello::Config`] if the mode cannot work as configured.
    pub(crate) fn new(
        config: &Config,
        local_id: ConnectionId,
        hello: &Hello,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Self, NotHello> {
        if !hello.is_authentic(&*config.mode, datagram) {
            return Err(NotHello::NotAuthentic);
        }
        let ids = Ids {
            local: local_id,
            remote: hello.source_id,
            original_destination: hello.retried_from.unwrap_or(hello.destination_id),
            retry_source: hello.retried_from.map(|_| hello.destination_id),
        };
        let exchange = Exchange::new(config, Side::Server, ids, now).map_err(NotHello::Config)?;
        let mut server = Self {
            exchange,
            early_one_rtt: Early::default(),
        };
        server.handle_datagram(datagram, now);
        Ok(server)
    }

    /// Takes a datagram from the client's address. What is not for this handshake or not authentic is dropped and
    /// counted.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        if self.is_drained() {
            return;
        }
        self.exchange.handle_bytes(datagram.len(), now);
        let ids = self.exchange.ids;
        match decode(datagram) {
            Ok(Decoded::Long(header))
                if header.version == self.exchange.version
                    && header.source_id == ids.remote
                    && (header.destination_id == ids.local
                        || header.long_type == LongType::Initial
                            && header.destination_id == ids.initial_destination()) =>
            {
                self.exchange.handle_long(datagram, &header, now, now);
            }
            Ok(Decoded::Short(header))
                if header.destination_id == ids.local
                    && self.early_one_rtt.keep(datagram, now, MAX_EARLY_DATAGRAMS) => {}
            _ => self.exchange.dropped += 1,
        }
    }

    /// Says that `now` has come. To be called at [`Server::next_timeout`] or any time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.exchange.handle_timeout(now);
    }

    /// A step that takes long, to be run elsewhere and given back to [`Server::handle_done`]. Call after every datagram.
    pub(crate) fn poll_work(&mut self) -> Option<Work> {
        self.exchange.poll_work()
    }

    /// Takes a step back.
    pub(crate) fn handle_done(&mut self, done: Done, now: Instant) {
        self.exchange.handle_done(done, now);
    }

    /// The next datagram to send. Call until `None`, also after an error: the client must hear why.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.exchange.poll_transmit(now)
    }

    /// When [`Server::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.exchange.next_timeout()
    }

    /// How it ended, once. After an error keep the server until [`Server::is_drained`]: it repeats its reason.
    pub(crate) fn poll_outcome(&mut self) -> Option<Result<Established, StreamError>> {
        if let Some(error) = self.exchange.poll_error() {
            return Some(Err(error));
        }
        let early = &mut self.early_one_rtt;
        self.exchange.finish(|| early.take()).map(Ok)
    }

    /// Turns the client away, for example because the listener closes. The outcome is [`StreamError::Aborted`].
    pub(crate) fn abandon(&mut self, code: u64, reason: &str, now: Instant) {
        self.exchange.abandon(code, reason, now);
    }

    /// Whether nothing will be sent or received any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.exchange.is_over()
    }

    /// Whether [`Server::poll_work`] has something to give.
    pub(crate) fn has_work(&self) -> bool {
        self.exchange.has_work()
    }

    /// How the client calls us until it has heard of our own id.
    pub(crate) fn initial_destination_id(&self) -> ConnectionId {
        self.exchange.ids.initial_destination()
    }
}
