//! What to do about the packets of strangers: the front door of a port.
//!
//! ```text
//!   length, form, version --> token --> load? --> places, memory --> keys, AEAD --> a handshake
//!        |                      |         |             |               |
//!    negotiation,             drop      Retry        refusal           drop
//!    reset, drop
//! ```
//!
//! The cheapest questions come first, and nothing is kept before the last one. Sans-IO: datagrams and the time in;
//! datagrams, newcomers and deadlines out; the same value runs in the port thread and in tests with virtual time. It
//! knows no open stream but their number.
//!
//! RFC 9000, sections 5.2.2, 6.1, 8.1, 10.3 and 21.

use super::allowance::{Allowance, PerAddress, household};
use super::graves::{Graves, Late};
use super::half_open::{Event, HalfOpens};
use crate::stats::ListenerStats;
use crate::stream::budget::{Budget, Share};
use crate::stream::handshake::{
    Config, Done, Established, Hello, NotHello, Server, TOKEN_LIFETIME, Tokens, Verdict, Work, classic, is_classic,
    mismatch, refuse, retry, version_negotiation,
};
use crate::stream::limits::Limits;
use crate::stream::listener::Desk;
use crate::subsystem::PathId;
use crate::wire::close_code;
use crate::wire::packet::{self, ConnectionId, Decoded, ShortForm, VERSION_PLAIN, VERSION_SECURE};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Copies of a client's first packet come no later than this. Longer than a token lives: a recorded packet with one must
/// not begin a second handshake.
const LATE_COPIES: Duration = TOKEN_LIFETIME.saturating_add(Duration::from_secs(1));
/// Incidents told in a second: nobody reads more, and each costs some work.
const REPORTS_PER_SEC: u32 = 100;

/// Why a client is sent away that did nothing wrong.
const BUSY: &str = "too many streams wait here";
const TOO_OLD: &str = "the retry token is too old, connect again";

/// A handshake is complete: a stream may begin.
pub(super) struct Newcomer {
    pub(super) local_id: ConnectionId,
    pub(super) path: PathId,
    pub(super) established: Established,
    /// What it was promised.
    pub(super) share: Share,
}

/// See the module.
pub(super) struct Door {
    config: Config,
    form: ShortForm,
    /// The receive window that clients are promised if there is memory for it.
    window: u64,
    limits: Limits,
    desk: Desk,
    budget: Arc<Budget>,
    /// Unpredictable, and cheaper than to ask the system for every packet.
    rng: ChaCha20Rng,
    tokens: Tokens,
    answers: Allowance,
    reports: Allowance,
    retries: PerAddress,
    sources: PerAddress,
    half_open: HalfOpens,
    graves: Graves,
    /// Streams that are open now.
    pub(super) open_streams: usize,
    pub(super) stats: ListenerStats,
    /// To be sent.
    pub(super) out: Vec<(Vec<u8>, PathId)>,
    pub(super) newcomers: Vec<Newcomer>,
}

impl Door {
    /// `seed` must be unpredictable.
    pub(super) fn new(
        config: Config,
        limits: Limits,
        desk: Desk,
        budget: Arc<Budget>,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut secrets = ChaCha20Rng::from_rng(&mut rng);
        let secret = move || {
            let mut secret = [0; 32];
            secrets.fill_bytes(&mut secret);
            secret
        };
        let form = if config.mode.version() == VERSION_PLAIN {
            ShortForm::Plain
        } else {
            ShortForm::Secure
        };
        Self {
            window: config.params.initial_max_data,
            config,
            form,
            desk,
            budget,
            rng,
            tokens: Tokens::new(Box::new(secret), now),
            answers: Allowance::new(limits.answers_per_sec),
            reports: Allowance::new(REPORTS_PER_SEC),
            retries: PerAddress::new(limits.answers_per_sec),
            sources: PerAddress::new(limits.per_source_per_sec),
            limits,
            half_open: HalfOpens::default(),
            graves: Graves::default(),
            open_streams: 0,
            stats: ListenerStats::default(),
            out: Vec::new(),
            newcomers: Vec::new(),
        }
    }

    // --- Questions.

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let each = [self.half_open.next_timeout(), self.graves.next_timeout()];
        each.into_iter().flatten().min()
    }

    /// Some late packets would still be answered.
    pub(super) fn is_answering(&self) -> bool {
        self.graves.is_answering()
    }

    /// There are as many streams as there may be.
    pub(super) fn is_crowded(&self) -> bool {
        self.open_streams >= self.limits.connections
    }

    /// Counters and gauges at this moment.
    pub(super) fn stats(&self) -> ListenerStats {
        ListenerStats {
            half_open: self.half_open.len() as u64,
            connections: self.open_streams as u64,
            promised_bytes: self.budget.promised(),
            ..self.stats
        }
    }

    /// Strangers must show that their address is their own.
    fn is_under_load(&self) -> bool {
        !self.config.reliable && self.half_open.len() >= self.limits.retry_above
    }

    // --- Inputs.

    /// Takes a datagram that is for none of the open streams.
    pub(super) fn handle_datagram(&mut self, datagram: &[u8], path: PathId, now: Instant) {
        let Some(id) = packet::destination_id(datagram) else {
            return self.handle_stranger(datagram, path, now);
        };
        if let Some(local_id) = self.half_open.find(id) {
            self.half_open.handle_datagram(local_id, datagram, path, now);
            return self.drive(local_id, now);
        }
        match self.graves.late(id, datagram.len()) {
            Late::Unknown => self.handle_stranger(datagram, path, now),
            Late::Silence => {}
            Late::Answer(answer) => self.out.push((answer, path)),
        }
    }

    /// A deadline has come, or not.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.graves.handle_timeout(now);
        while let Some(local_id) = self.half_open.handle_timeout(now) {
            self.drive(local_id, now);
        }
    }

    /// The next slow step of a handshake, to be given back to [`Door::handle_done`].
    pub(super) fn poll_work(&mut self) -> Option<(ConnectionId, Work)> {
        self.half_open.poll_work()
    }

    pub(super) fn handle_done(&mut self, local_id: ConnectionId, done: Done, now: Instant) {
        self.half_open.handle_done(local_id, done, now);
        self.drive(local_id, now);
    }

    /// Late packets to `id` are answered with `close`, or with silence.
    pub(super) fn bury(&mut self, id: ConnectionId, close: Option<Vec<u8>>, until: Instant) {
        self.graves.bury(id, close, until);
    }

    /// The backlog filled up during the handshake: the client hears it in place of the confirmation.
    pub(super) fn turn_away(&mut self, local_id: ConnectionId, path: PathId, established: Established, now: Instant) {
        let close = established.into_close(self.form, close_code::REFUSED, BUSY);
        if let Some(close) = close.clone() {
            self.out.push((close, path));
            self.stats.refusals_sent += 1;
        }
        self.bury(local_id, close, now + self.config.connect_timeout);
        self.report(path, BUSY.into(), now);
    }

    /// Tells people, unless they have been told enough.
    pub(super) fn report(&mut self, path: PathId, reason: String, now: Instant) {
        self.stats.refused += 1;
        if self.reports.take(now) {
            self.desk.report(path.remote(), reason);
        }
    }

    // --- Strangers.

    /// A datagram of no connection that we know. Cheapest checks first.
    fn handle_stranger(&mut self, datagram: &[u8], path: PathId, now: Instant) {
        let mut hello = match Hello::decode(datagram, &self.config) {
            Ok(hello) => hello,
            Err(reason) => return self.handle_other(&reason, datagram, path, now),
        };
        let token = hello.token(datagram);
        if !token.is_empty() {
            match self.tokens.check(&hello, token, path.remote(), now) {
                Verdict::Valid(first) => hello.retried_from = Some(first),
                Verdict::Forged => {
                    self.stats.dropped_token += 1;
                    return;
                }
                Verdict::TooOld => {
                    self.stats.dropped_token += 1;
                    return self.refuse(datagram, path, TOO_OLD, now);
                }
            }
        }
        if self.desk.is_closed() {
            return self.refuse(datagram, path, "the listener was closed", now);
        }
        if self.is_under_load() {
            if hello.retried_from.is_none() {
                return self.ask_again(&hello, datagram, path, now);
            }
            let source = path.remote().map(|remote| household(remote.ip()));
            if !self.sources.take(source, now) {
                self.stats.dropped_source += 1;
                return;
            }
        }
        let is_full = self.desk.is_full() || self.half_open.len() >= self.limits.half_open || self.is_crowded();
        match self.budget.first_window(self.window, self.limits.half_open) {
            Some(window) if !is_full => self.greet(&hello, window, datagram, path, now),
            _ => self.refuse(datagram, path, BUSY, now),
        }
    }

    /// Begins a handshake, if the packet is authentic.
    fn greet(&mut self, hello: &Hello, window: u64, datagram: &[u8], path: PathId, now: Instant) {
        let local_id = self.random_id();
        self.config.params.initial_max_data = window;
        let server = Server::new(&self.config, local_id, hello, datagram, now);
        match server {
            Ok(server) => {
                self.half_open.insert(local_id, server, path);
                self.drive(local_id, now);
            }
            Err(NotHello::Config(error)) => self.report(path, error.to_string(), now),
            Err(_) => self.stats.dropped_not_authentic += 1,
        }
    }

    /// Sends a Retry, and keeps nothing.
    fn ask_again(&mut self, hello: &Hello, datagram: &[u8], path: PathId, now: Instant) {
        if !self.retries.take(path.remote(), now) {
            self.stats.answers_withheld += 1;
            return;
        }
        let source_id = self.random_id();
        let token = self.tokens.issue(hello, source_id, path.remote(), now);
        if let Some(answer) = retry(hello, &self.config, source_id, &token, datagram.len()) {
            self.stats.retries_sent += 1;
            self.out.push((answer, path));
        }
    }

    /// Sends a client away.
    fn refuse(&mut self, datagram: &[u8], path: PathId, reason: &str, now: Instant) {
        if !self.answers.take(now) {
            self.stats.answers_withheld += 1;
        } else if let Some(answer) = refuse(datagram, &self.config, close_code::REFUSED, reason) {
            self.stats.refusals_sent += 1;
            self.out.push((answer, path));
            self.report(path, reason.into(), now);
        } else {
            self.stats.dropped_not_authentic += 1;
        }
    }

    /// A datagram that begins nothing.
    fn handle_other(&mut self, reason: &NotHello, datagram: &[u8], path: PathId, now: Instant) {
        let ours = self.config.mode.version();
        match reason {
            NotHello::OtherVersion(theirs) => {
                self.stats.dropped_version += 1;
                if !self.answers.take(now) {
                    self.stats.answers_withheld += 1;
                } else if let Some(answer) = version_negotiation(datagram, &[ours]) {
                    self.stats.version_negotiations_sent += 1;
                    self.out.push((answer, path));
                    self.report(path, mismatch(ours, *theirs).to_string(), now);
                }
            }
            _ if is_classic(datagram, false) => {
                self.stats.dropped_version += 1;
                self.report(path, classic(ours).to_string(), now);
            }
            NotHello::Malformed => self.stats.dropped_malformed += 1,
            NotHello::TooSmall => self.stats.dropped_small += 1,
            NotHello::NotInitial => self.handle_unknown(datagram, path, now),
            NotHello::NotAuthentic | NotHello::Config(_) => self.stats.dropped_not_authentic += 1,
        }
    }

    /// A packet of a connection that is not known: perhaps it was, before a restart.
    fn handle_unknown(&mut self, datagram: &[u8], path: PathId, now: Instant) {
        let Ok(Decoded::Short(header)) = packet::decode(datagram) else {
            self.stats.dropped_unknown += 1;
            return;
        };
        if header.form != self.form {
            self.stats.dropped_version += 1;
            let ours = self.config.mode.version();
            let theirs = match header.form {
                ShortForm::Plain => VERSION_PLAIN,
                ShortForm::Secure => VERSION_SECURE,
            };
            return self.report(path, mismatch(ours, theirs).to_string(), now);
        }
        self.stats.dropped_unknown += 1;
        let Some(key) = self.config.reset_key.clone() else {
            return;
        };
        if !self.answers.take(now) {
            self.stats.answers_withheld += 1;
            return;
        }
        let rng = &mut self.rng;
        let answer = key.answer(header.destination_id, datagram.len(), &mut |bytes| {
            rng.fill_bytes(bytes);
        });
        if let Some(answer) = answer {
            self.stats.resets_sent += 1;
            self.out.push((answer, path));
        }
    }

    // --- Handshakes.

    /// Goes on with a handshake after any input.
    fn drive(&mut self, local_id: ConnectionId, now: Instant) {
        let Some(event) = self.half_open.drive(local_id, now, &mut self.out) else {
            return;
        };
        let Event {
            local_id,
            path,
            outcome,
            forgotten,
        } = event;
        if let Some(initial_id) = forgotten {
            // A late copy of the client's first packet must not begin another handshake.
            self.bury(initial_id, None, now + LATE_COPIES);
        }
        match outcome {
            Some(Ok(established)) => match self.budget.share(established.local_params.initial_max_data) {
                Some(share) => {
                    self.stats.handshakes += 1;
                    self.newcomers.push(Newcomer {
                        local_id,
                        path,
                        established,
                        share,
                    });
                }
                None => self.turn_away(local_id, path, established, now),
            },
            Some(Err(error)) => self.report(path, error.to_string(), now),
            None => {}
        }
    }

    fn random_id(&mut self) -> ConnectionId {
        let mut id = ConnectionId([0; 8]);
        self.rng.fill_bytes(&mut id.0);
        id
    }
}
