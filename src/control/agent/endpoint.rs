//! A sender or a receiver and its controller.

use super::link::{Dialect, OLD_POLL, Over, POLL_SECONDS, Patience, REPORT_TIME, Reporter};
use super::pace::Pace;
use super::threads::threads;
use crate::control::client::{Address, Client, Refused};
use crate::control::clock;
use crate::control::state::config::MAX_DELAY_SECONDS;
use crate::stats::{BlockedBy, Stats};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Threads are told once a second.
const THREADS_EVERY: u32 = 10;

/// Which end of a stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It connects: the client.
    Sender,
    /// It listens: the server.
    Receiver,
}

impl Role {
    /// The word of the original.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sender => "client",
            Self::Receiver => "server",
        }
    }
}

/// Packets sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    sent: u64,
    received: u64,
}

impl Totals {
    fn of(stats: &Stats) -> Self {
        Self {
            sent: stats.packets_sent,
            received: stats.packets_received,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            received: self.received + other.received,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(other.sent),
            received: self.received.saturating_sub(other.received),
        }
    }

    fn value(self, role: Role) -> Value {
        let word = role.word();
        json!({(format!("{word}_sent")): self.sent, (format!("{word}_recv")): self.received})
    }
}

type Look = Box<dyn FnMut() -> Stats + Send>;

/// What is looked at.
#[derive(Default)]
struct Watched {
    /// The streams of now with their numbers, the newest last.
    open: Vec<(u64, Look)>,
    streams: u64,
    /// Of the streams that have ended.
    past: Totals,
    /// Of the last stream.
    last: Option<Stats>,
}

impl Watched {
    fn look(&mut self) -> (Totals, Option<Stats>, &'static str) {
        let mut totals = self.past;
        for (_, look) in &mut self.open {
            let stats = look();
            totals = totals.and(Totals::of(&stats));
            self.last = Some(stats);
        }
        let state = match (self.open.is_empty(), self.streams) {
            (false, _) => "connected",
            (true, 0) => "waiting",
            (true, _) => "closed",
        };
        (totals, self.last, state)
    }
}

/// Tells a controller of a sender or receiver. What is known at the end is told when it is dropped, for which it waits a
/// second at most, and not at all if the controller never answered.
pub struct EndpointAgent {
    watched: Arc<Mutex<Watched>>,
    over: Arc<Over>,
    pace: Pace,
    reporter: Reporter,
}

impl EndpointAgent {
    /// Begins to tell the controller there. `mode` is secure, plain or classic, `carrier` udp or tcp. It need not be there
    /// yet, or for ever.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(address: &Address, role: Role, mode: &str, carrier: &str) -> io::Result<Self> {
        let (watched, over) = (Arc::<Mutex<Watched>>::default(), Arc::<Over>::default());
        let pace = Pace::default();
        let client = Client::new(address);
        if role == Role::Receiver {
            let (client, over, pace) = (client.clone(), Arc::clone(&over), pace.clone());
            // It ends with its poll; nothing waits for it.
            std::thread::Builder::new()
                .name("control-config".to_owned())
                .spawn(move || follow_config(&client, &over, &pace))?;
        }
        let mut teller = Teller {
            client,
            role,
            about: json!({
                "source": format!("{}-{:08x}", role.word(), rand::random::<u32>()),
                "role": role.word(),
                "mode": mode,
                "carrier": carrier,
                "pid": std::process::id(),
            }),
            dialect: None,
            instance: None,
            seq: 0,
            counted: Totals::default(),
            pending: None,
            ticks: 0,
        };
        let reporter = Reporter::start("control-report", {
            let (watched, over) = (Arc::clone(&watched), Arc::clone(&over));
            move || run(&mut teller, &watched, &over)
        })?;
        Ok(Self {
            watched,
            over,
            pace,
            reporter,
        })
    }

    /// Looks at a stream from now on, by its statistics, until what is returned is dropped. Of several at one time all
    /// packets are counted, and the gauges are those of the newest.
    ///
    /// `stats` is called ten times a second; it may keep the stream open.
    pub fn follow(&self, stats: impl FnMut() -> Stats + Send + 'static) -> Followed {
        let mut watched = self.watched.lock();
        watched.streams += 1;
        let number = watched.streams;
        watched.open.push((number, Box::new(stats)));
        drop(watched);
        Followed {
            watched: Arc::clone(&self.watched),
            number,
        }
    }

    /// How slowly the controller wants to be read.
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }
}

impl Watched {
    /// Takes the last look at those that are meant.
    fn end(&mut self, is_meant: impl Fn(u64) -> bool) {
        for (_, mut look) in self.open.extract_if(.., |(number, _)| is_meant(*number)) {
            let stats = look();
            self.past = self.past.and(Totals::of(&stats));
            self.last = Some(stats);
        }
    }
}

impl Drop for EndpointAgent {
    fn drop(&mut self) {
        self.watched.lock().end(|_| true);
        self.over.end();
        self.pace.end();
        self.reporter.farewell(&self.over);
    }
}

impl fmt::Debug for EndpointAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointAgent").finish_non_exhaustive()
    }
}

/// A stream that is looked at. When it is dropped the last look is taken.
#[must_use]
pub struct Followed {
    watched: Arc<Mutex<Watched>>,
    number: u64,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.watched.lock().end(|number| number == self.number);
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A batch under way: told again as it was until it is known to have come.
#[derive(Clone, Copy, Debug)]
struct Batch {
    seq: u64,
    deltas: Totals,
    up_to: Totals,
}

struct Teller {
    client: Client,
    role: Role,
    about: Value,
    dialect: Option<Dialect>,
    /// The controller that knows all that is in `counted`.
    instance: Option<String>,
    seq: u64,
    counted: Totals,
    pending: Option<Batch>,
    ticks: u32,
}

/// THREAD `control-report`.
fn run(teller: &mut Teller, watched: &Mutex<Watched>, over: &Over) {
    let (mut due, mut patience) = (clock::now(), Patience::new());
    loop {
        let is_over = over.wait_until(due);
        if is_over && !over.is_worth_a_word() {
            return;
        }
        let seen = watched.lock().look();
        let told = teller.tell(&seen, is_over);
        if is_over {
            // What was under way went first; now the rest.
            if told.is_ok() && teller.is_behind(seen.0) {
                let _ = teller.tell(&seen, true);
            }
            return;
        }
        due = match told {
            Ok(()) => {
                patience.worked();
                over.note_answer();
                (due + REPORT_TIME).max(clock::now())
            }
            Err(error) => {
                log::debug!("the controller was not told: {error}");
                over.note_failure();
                clock::now() + patience.failed()
            }
        };
    }
}

impl Teller {
    fn is_behind(&self, totals: Totals) -> bool {
        self.pending.is_some() || totals != self.counted
    }

    fn tell(&mut self, seen: &(Totals, Option<Stats>, &'static str), is_over: bool) -> Result<(), Refused> {
        let dialect = match self.dialect {
            Some(dialect) => dialect,
            None => Dialect::of(&self.client).ok_or_else(|| Refused {
                status: None,
                text: "no controller answers".to_owned(),
            })?,
        };
        self.dialect = Some(dialect);
        let batch = self.pending.take().unwrap_or_else(|| {
            self.seq += 1;
            Batch {
                seq: self.seq,
                deltas: seen.0.without(self.counted),
                up_to: seen.0,
            }
        });
        self.pending = Some(batch);
        let body = match dialect {
            Dialect::Old if batch.deltas == Totals::default() => {
                self.pending = None;
                return Ok(());
            }
            Dialect::Old => batch.deltas.value(self.role),
            Dialect::Ours => self.whole(batch, seen, is_over),
        };
        let answer = match self.client.post("/statistics", &body) {
            Ok(answer) => answer,
            Err(error) => {
                // Whoever answers next may be another one.
                self.dialect = None;
                return Err(error);
            }
        };
        self.pending = None;
        let instance = answer["instance"].as_str().map(str::to_owned);
        let is_another = self.instance.is_some() && instance != self.instance;
        // One that began anew knows of this batch only.
        self.counted = if is_another { batch.deltas } else { batch.up_to };
        if instance.is_some() {
            self.instance = instance;
        }
        self.ticks = self.ticks.wrapping_add(1);
        Ok(())
    }

    fn whole(&self, batch: Batch, (_, stats, state): &(Totals, Option<Stats>, &'static str), is_over: bool) -> Value {
        let mut body = self.about.clone();
        body["seq"] = json!(batch.seq);
        body["deltas"] = batch.deltas.value(self.role);
        body["gauges"] = stats.as_ref().map_or_else(|| json!({}), gauges);
        body["gauges"]["state"] = json!(state);
        if self.ticks.is_multiple_of(THREADS_EVERY) {
            body["threads"] = json!(threads());
        }
        if is_over {
            body["gone"] = json!(true);
        }
        body
    }
}

/// The names of the gauges, with the numbers of a stream.
fn gauges(stats: &Stats) -> Value {
    let micros = |time: Duration| time.as_micros() as u64;
    json!({
        "cwnd_bytes": stats.cwnd_bytes,
        "ssthresh_bytes": (stats.ssthresh_bytes != u64::MAX).then_some(stats.ssthresh_bytes),
        "in_flight_bytes": stats.in_flight_bytes,
        "rwnd_bytes": stats.rwnd_bytes,
        "srtt_us": micros(stats.smoothed_rtt),
        "rttvar_us": micros(stats.rttvar),
        "min_rtt_us": micros(stats.min_rtt),
        "latest_rtt_us": micros(stats.latest_rtt),
        "pto_us": micros(stats.pto),
        "pto_count": stats.probe_timeouts,
        "probe_timeouts": stats.probe_timeouts,
        "delivered_bytes": stats.delivered_bytes,
        "retransmitted_bytes": stats.retransmitted_bytes,
        "lost_packets": stats.lost_packets,
        "spurious_losses": stats.spurious_losses,
        "pacing_bps": stats.pacing_bytes_per_sec.saturating_mul(8),
        "mtu": stats.pmtu_bytes,
        "send_buf_bytes": stats.send_buffer_bytes,
        "recv_buf_bytes": stats.recv_buffer_bytes,
        "blocked_by": match stats.blocked_by {
            BlockedBy::Application => "app",
            BlockedBy::CongestionWindow => "cwnd",
            BlockedBy::ReceiveWindow => "rwnd",
            BlockedBy::Pacing => "pacing",
            BlockedBy::Carrier => "carrier",
            BlockedBy::Nothing => "nothing",
        },
        "auth_failures": stats.auth_failures,
        "replays_rejected": stats.replays_rejected,
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "bytes_sent": stats.bytes_sent,
        "bytes_received": stats.bytes_received,
        "acknowledged_bytes": stats.acknowledged_bytes,
    })
}

/// The delay that is wanted, if it makes sense: whoever answers must not stop the reader for good.
fn delay_of(config: &Value) -> Option<Duration> {
    let seconds = config["recv_delay"].as_f64()?;
    let is_good = (0.0..=MAX_DELAY_SECONDS).contains(&seconds);
    is_good.then(|| Duration::from_secs_f64(seconds))
}

/// THREAD `control-config`.
fn follow_config(client: &Client, over: &Over, pace: &Pace) {
    let mut patience = Patience::new();
    let mut revision = None;
    while !over.is_over() {
        let asked = match revision {
            Some(since) => {
                let path = format!("/config?since={since}&wait={POLL_SECONDS}");
                client.get_within(&path, Duration::from_secs(POLL_SECONDS + 5))
            }
            None => client.get("/config"),
        };
        let pause = if let Ok(config) = asked {
            patience.worked();
            if let Some(delay) = delay_of(&config) {
                pace.set(delay);
            }
            let since = std::mem::replace(&mut revision, config["revision"].as_u64());
            match revision {
                None => OLD_POLL,
                // A controller with too many polls answers at once.
                Some(_) if revision == since => REPORT_TIME,
                Some(_) => Duration::ZERO,
            }
        } else {
            revision = None;
            patience.failed()
        };
        if !pause.is_zero() {
            over.wait_until(clock::now() + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_side_by_side_are_all_counted_and_each_once() {
        let sent = |packets_sent| Stats {
            packets_sent,
            ..Stats::default()
        };
        let mut watched = Watched {
            streams: 2,
            ..Watched::default()
        };
        assert_eq!(watched.look().2, "closed");
        watched.open.push((1, Box::new(move || sent(10))));
        watched.open.push((2, Box::new(move || sent(1))));
        let (totals, newest, state) = watched.look();
        assert_eq!((totals.sent, newest, state), (11, Some(sent(1)), "connected"));
        watched.end(|number| number == 1);
        assert_eq!(watched.look().0.sent, 11);
        watched.end(|_| true);
        assert_eq!((watched.look().0.sent, watched.look().2), (11, "closed"));
    }

    #[test]
    fn only_delays_that_make_sense_are_taken() {
        let of = |delay: Value| delay_of(&json!({"recv_delay": delay}));
        assert_eq!(of(json!(0)), Some(Duration::ZERO));
        assert_eq!(of(json!(0.25)), Some(Duration::from_millis(250)));
        assert_eq!(of(json!(60)), Some(Duration::from_secs(60)));
        for wrong in [json!(1e19), json!(1e9), json!(60.1), json!(-1), json!("1"), json!(null)] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }
}
