//! The door under attack, in virtual time. What no address may ever get: more than three times what came from it.

use super::door::Door;
use super::{HAND_ON_AFTER, Held};
use crate::crypto::engine::{Engine, EngineError, Keys, Mode, Side};
use crate::crypto::plain::PlainMode;
use crate::stats::ListenerStats;
use crate::stream::budget::Budget;
use crate::stream::handshake::{Client, Config, TOKEN_LIFETIME};
use crate::stream::limits::Limits;
use crate::stream::listener::{Desk, Incident};
use crate::subsystem::{Batch, PathId, Pool};
use crate::wire::packet::{ConnectionId, Decoded, VERSION_PLAIN, VERSION_SECURE, decode};
use crate::wire::params::TransportParams;
use crossbeam_channel::Receiver;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn epoch() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Plain packets that look like those of secure mode, so that there are resets.
struct Keyed;

impl Mode for Keyed {
    fn version(&self) -> u32 {
        VERSION_SECURE
    }
    fn name(&self) -> &'static str {
        "secure"
    }
    fn engine(&self, side: Side, params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        PlainMode.engine(side, params)
    }
    fn initial_keys(&self, side: Side, id: &[u8]) -> Keys {
        PlainMode.initial_keys(side, id)
    }
    fn retry_tag(&self, id: &[u8], retry: &[u8]) -> Vec<u8> {
        PlainMode.retry_tag(id, retry).repeat(4)
    }
    fn reset_key(&self) -> Option<[u8; 32]> {
        Some([9; 32])
    }
}

fn config() -> Config {
    let params = TransportParams {
        initial_max_data: 256 << 10,
        ..TransportParams::default()
    };
    Config::new(Arc::new(Keyed), params)
}

fn address(number: u64) -> PathId {
    let number = number as u32;
    PathId::to(SocketAddr::from((
        [10, (number >> 16) as u8, (number >> 8) as u8, number as u8],
        4000,
    )))
}

struct Street {
    door: Door,
    now: Instant,
    /// Bytes from and to each address.
    ledger: HashMap<PathId, (usize, usize)>,
    /// Addresses that have proven themselves: they may get more.
    validated: HashSet<PathId>,
    answers: Vec<(Vec<u8>, PathId)>,
    incidents: Receiver<Incident>,
    accepted: Vec<ConnectionId>,
    budget: Arc<Budget>,
}

impl Street {
    fn new(limits: Limits) -> Self {
        let (desk, _, incidents) = Desk::lonely();
        let now = epoch();
        let budget = Budget::new(limits.receive_memory);
        Self {
            door: Door::new(config(), limits, desk, Arc::clone(&budget), [5; 32], now),
            now,
            ledger: HashMap::new(),
            validated: HashSet::new(),
            answers: Vec::new(),
            incidents,
            accepted: Vec::new(),
            budget,
        }
    }

    fn knock(&mut self, datagram: &[u8], path: PathId) {
        self.ledger.entry(path).or_default().0 += datagram.len();
        self.door.handle_datagram(datagram, path, self.now);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.door.handle_timeout(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((local_id, work)) = self.door.poll_work() {
            self.door.handle_done(local_id, work.run(), self.now);
        }
        for newcomer in std::mem::take(&mut self.door.newcomers) {
            self.accepted.push(newcomer.local_id);
            self.validated.insert(newcomer.path);
        }
        for (datagram, path) in self.door.out.drain(..) {
            let (received, sent) = self.ledger.entry(path).or_default();
            *sent += datagram.len();
            assert!(
                self.validated.contains(&path) || *sent <= 3 * *received,
                "{sent} bytes for {received} to {path:?}"
            );
            self.answers.push((datagram, path));
        }
    }

    /// What the door says to `path` since the last call of anybody.
    fn answers(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.answers)
            .into_iter()
            .map(|(datagram, _)| datagram)
            .collect()
    }
}

/// A client that never goes on: its first packet.
fn hello(number: u64, now: Instant) -> (Client, Vec<u8>) {
    let id = |what: u64| ConnectionId((number << 8 | what).to_be_bytes());
    let mut client = Client::new(&config(), id(1), id(2), now).expect("good options");
    let datagram = client.poll_transmit(now).expect("its first packet");
    (client, datagram)
}

fn is_retry(datagram: &[u8]) -> bool {
    matches!(decode(datagram), Ok(Decoded::Retry(_)))
}

/// Connects through a Retry. The client's packet with the token.
fn with_token(street: &mut Street, number: u64, path: PathId) -> (Client, Vec<u8>) {
    let (mut client, datagram) = hello(number, street.now);
    street.answers();
    street.knock(&datagram, path);
    let answers = street.answers();
    assert!(answers.len() == 1 && is_retry(&answers[0]), "{answers:?}");
    client.handle_datagram(&answers[0], street.now);
    let again = client.poll_transmit(street.now).expect("it comes again");
    (client, again)
}

#[test]
fn strangers_are_asked_to_come_again_when_64_handshakes_go_on_and_nothing_is_kept_of_them() {
    let mut street = Street::new(Limits::default());
    for number in 0..10_000 {
        let (_, datagram) = hello(number, street.now);
        street.knock(&datagram, address(number));
        let answers = street.answers();
        assert_eq!(is_retry(&answers[0]), number >= 64, "{number}");
    }
    let stats = street.door.stats();
    assert_eq!((stats.half_open, stats.promised_bytes), (64, 0));
    assert_eq!(stats.retries_sent + stats.answers_withheld, 10_000 - 64);

    // A client that comes again gets in.
    let (mut client, again) = with_token(&mut street, 20_000, address(20_000));
    street.knock(&again, address(20_000));
    for datagram in street.answers() {
        client.handle_datagram(&datagram, street.now);
    }
    while let Some(datagram) = client.poll_transmit(street.now) {
        street.knock(&datagram, address(20_000));
    }
    assert_eq!(street.accepted.len(), 1);
    assert_eq!(street.door.stats().handshakes, 1);

    // Those who never went on are given up, and then nobody is asked any more.
    street.pass(Duration::from_secs(21));
    street.pass(Duration::from_secs(10));
    assert_eq!(street.door.stats().half_open, 0);
    let (_, datagram) = hello(30_000, street.now);
    street.knock(&datagram, address(30_000));
    assert!(!is_retry(&street.answers()[0]));
}

#[test]
fn a_token_is_worth_nothing_to_others_and_after_its_time() {
    let mut street = Street::new(Limits {
        retry_above: 0,
        ..Limits::default()
    });
    let (_, again) = with_token(&mut street, 1, address(1));
    street.knock(&again, address(2));
    assert_eq!(street.answers(), Vec::<Vec<u8>>::new());
    let mut changed = again.clone();
    changed[40] ^= 1;
    street.knock(&changed, address(1));
    assert_eq!(street.answers(), Vec::<Vec<u8>>::new());
    assert_eq!(street.door.stats().dropped_token, 2);
    street.pass(TOKEN_LIFETIME + ms(1));
    street.knock(&again, address(1));
    assert_eq!(street.answers().len(), 1, "it is told to begin again");
    let stats = street.door.stats();
    assert_eq!((stats.half_open, stats.dropped_token, stats.refusals_sent), (0, 3, 1));
    let incident = street.incidents.try_recv().expect("people are told");
    assert!(incident.to_string().contains("too old"), "{incident}");
}

#[test]
fn places_are_limited_and_who_finds_none_is_told() {
    let mut street = Street::new(Limits {
        half_open: 5,
        ..Limits::default()
    });
    for number in 0..5 {
        let (_, datagram) = hello(number, street.now);
        street.knock(&datagram, address(number));
    }
    street.answers();
    let (mut client, datagram) = hello(5, street.now);
    street.knock(&datagram, address(5));
    client.handle_datagram(&street.answers()[0], street.now);
    let error = client.poll_outcome().expect("it is told").expect_err("no place");
    assert_eq!(error.to_string(), "connection refused: too many streams wait here");
    assert_eq!(street.door.stats().half_open, 5);
}

#[test]
fn nobody_is_let_in_when_the_memory_is_promised() {
    let mut street = Street::new(Limits {
        receive_memory: 40 << 10,
        ..Limits::default()
    });
    // Two streams that are open.
    let held: Vec<_> = (0..2).map(|_| street.budget.share(16 << 10)).collect();
    assert!(held.iter().all(Option::is_some));
    let (_, datagram) = hello(100, street.now);
    street.knock(&datagram, address(100));
    assert_eq!(street.door.stats().refusals_sent, 1);
    drop(held);
    let (_, datagram) = hello(101, street.now);
    street.knock(&datagram, address(101));
    assert_eq!(street.door.stats().refusals_sent, 1);
}

#[test]
fn one_household_begins_20_handshakes_a_second_under_load_and_others_go_on() {
    let mut street = Street::new(Limits {
        retry_above: 0,
        ..Limits::default()
    });
    let one = |port: u16| PathId::to(SocketAddr::from(([10, 0, 0, 1], port)));
    for second in 1..=2 {
        for number in 0..50_u16 {
            let (_, again) = with_token(&mut street, u64::from(number) + 1000 * second, one(1000 + number));
            street.validated.insert(one(1000 + number));
            street.knock(&again, one(1000 + number));
        }
        assert_eq!(street.door.stats().half_open, 20 * second);
        assert_eq!(street.door.stats().dropped_source, 30 * second);
        street.pass(Duration::from_secs(1));
    }
    let (_, again) = with_token(&mut street, 1, address(77));
    street.validated.insert(address(77));
    street.knock(&again, address(77));
    assert_eq!(street.door.stats().half_open, 41);
}

#[test]
fn answers_that_cost_nothing_to_provoke_are_few() {
    let mut street = Street::new(Limits::default());
    let mut other_version = hello(1, street.now).1;
    other_version[1..5].copy_from_slice(&VERSION_PLAIN.to_be_bytes());
    let lost = [&[0x41][..], b"unknown-", &[7; 60]].concat();
    for number in 0..1000 {
        street.knock(&other_version, address(number));
        street.knock(&lost, address(number));
    }
    assert_eq!(street.answers().len(), 100);
    let stats = street.door.stats();
    assert_eq!(stats.version_negotiations_sent + stats.resets_sent, 100);
    assert_eq!(stats.answers_withheld, 1900);
    street.pass(Duration::from_secs(1));
    street.knock(&lost, address(1));
    let reset = street.answers().remove(0);
    assert!(reset.len() < lost.len());
}

#[test]
fn two_who_have_forgotten_each_other_fall_silent() {
    let (mut left, mut right) = (Street::new(Limits::default()), Street::new(Limits::default()));
    let mut ball = vec![[&[0x41][..], b"unknown-", &[7; 60]].concat()];
    let mut rounds = 0;
    while let Some(datagram) = ball.pop() {
        rounds += 1;
        assert!(rounds < 100);
        let street = if rounds % 2 == 0 { &mut left } else { &mut right };
        street.knock(&datagram, address(1));
        ball = street.answers();
    }
}

/// Anything that anybody can send, from addresses that he may have forged, at any time.
fn hostile_schedule(seed: u64) -> ListenerStats {
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut street = Street::new(Limits {
        retry_above: rng.random_range(0..8),
        half_open: rng.random_range(1..30),
        ..Limits::default()
    });
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut clients: Vec<(Client, PathId)> = Vec::new();
    for number in 0..1500 {
        let path = address(rng.random_range(0..25));
        let mut datagram = match rng.random_range(0..10) {
            0..=2 => {
                let (client, datagram) = hello(seed << 16 | number, street.now);
                clients.push((client, path));
                datagram
            }
            // A client goes on, from its own address: the others of this address have no proof for it.
            3 | 4 if !clients.is_empty() => {
                let which = rng.random_range(0..clients.len());
                let (client, path) = &mut clients[which];
                let path = *path;
                client.handle_timeout(street.now);
                let Some(datagram) = client.poll_transmit(street.now) else {
                    continue;
                };
                if rng.random_bool(0.5) {
                    seen.push(datagram.clone());
                    // Whoever can answer what was sent there is there.
                    let proves = matches!(
                        decode(&datagram),
                        Ok(Decoded::Long(header)) if !header.token.is_empty()
                            || header.long_type == crate::wire::packet::LongType::Handshake
                    );
                    if proves {
                        street.validated.insert(path);
                    }
                    street.knock(&datagram, path);
                }
                continue;
            }
            5 if !seen.is_empty() => seen[rng.random_range(0..seen.len())].clone(),
            6 => {
                let mut noise = vec![0; rng.random_range(0..1500)];
                rng.fill_bytes(&mut noise);
                noise
            }
            7 => {
                let mut lost = vec![0; rng.random_range(0..100)];
                rng.fill_bytes(&mut lost);
                if let Some(first) = lost.first_mut() {
                    *first = 0x41;
                }
                lost
            }
            8 => {
                let id = ConnectionId(rng.random());
                let close = vec![1; rng.random_range(20..300)];
                street.door.bury(id, Some(close), street.now + ms(500));
                let late = [&[0x41][..], &id.0, &[7; 30]].concat();
                for _ in 0..rng.random_range(1..20) {
                    street.knock(&late, path);
                }
                continue;
            }
            _ => {
                street.pass(ms(rng.random_range(0..400)));
                continue;
            }
        };
        if rng.random_bool(0.2) && !datagram.is_empty() {
            let bit = rng.random_range(0..datagram.len() * 8);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        if rng.random_bool(0.1) {
            datagram.truncate(rng.random_range(0..=datagram.len()));
        }
        seen.push(datagram.clone());
        street.knock(&datagram, path);
        // Answers reach clients only where they really are.
        for (answer, to) in std::mem::take(&mut street.answers) {
            seen.push(answer.clone());
            for (client, at) in &mut clients {
                if *at == to && rng.random_bool(0.7) {
                    client.handle_datagram(&answer, street.now);
                }
            }
        }
        if clients.len() > 40 {
            clients.swap_remove(rng.random_range(0..40));
        }
    }
    let stats = street.door.stats();
    assert!(stats.half_open <= 30, "{stats:?}");
    stats
}

#[test]
fn no_address_gets_more_than_three_times_what_came_from_it_in_any_run() {
    let all: Vec<_> = (0..60).map(hostile_schedule).collect();
    // Everything that is ever answered was.
    let sum = |of: fn(&ListenerStats) -> u64| all.iter().map(of).sum::<u64>();
    assert!(sum(|stats| stats.retries_sent) > 100);
    assert!(sum(|stats| stats.resets_sent) > 100);
    assert!(sum(|stats| stats.handshakes) > 20);
    assert!(sum(|stats| stats.refusals_sent) > 20);
}

/// Each keeps the whole buffer that it was received into.
#[test]
fn few_batches_are_held_however_small_they_are() {
    let pool = Pool::new(1 << 16, 1);
    let mut held = Held::default();
    while held.bytes < HAND_ON_AFTER {
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[0x41; 9]);
        held.push(ConnectionId(*b"the peer"), Batch::single(buffer, PathId::ONLY));
    }
    assert!(held.batches.len() <= 64, "{} batches", held.batches.len());
}
