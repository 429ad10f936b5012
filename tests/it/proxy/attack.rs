//! Each attack against plain mode does what it says, and against secure mode fails with the right counter.

use super::*;
use securestream::attack::{Attack, KeySwap};
use securestream::filter::Direction;
use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust, Unauthenticated};
use securestream::{Carrier, Finished, Listener, Security, Stats, Stream, StreamBuilder};
use std::io::{self, Read, Write};

/// Both ends know each other's key.
fn friends() -> [Security; 2] {
    let [one, other] = [(); 2].map(|()| PrivateKey::generate(2048).unwrap());
    let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
    let (trust_one, trust_other) = (trust(&one), trust(&other));
    [Security::secure(one, trust_other), Security::secure(other, trust_one)]
}

/// Encrypted, and nobody knows with whom.
pub(super) fn strangers() -> [Security; 2] {
    [(); 2].map(|()| {
        Security::secure(
            PrivateKey::generate(2048).unwrap(),
            Trust::Unauthenticated(Unauthenticated),
        )
    })
}

fn plain() -> [Security; 2] {
    [Security::plain(), Security::plain()]
}

/// A listener behind an attacker.
struct Scene {
    client: StreamBuilder,
    listener: Listener,
    proxy: Proxy,
}

impl Scene {
    fn new(security: [Security; 2], attack: Attack) -> Self {
        let [client, server] = security.map(|security| StreamBuilder::new(security).udp());
        let listener = server.bind("127.0.0.1:0").unwrap();
        let builder = ProxyBuilder::new(listener.local_addr().unwrap()).unwrap();
        let (builder, armed) = attack.arm(builder);
        let proxy = builder.start_local().unwrap();
        armed.aim(&proxy);
        Self {
            client,
            listener,
            proxy,
        }
    }

    /// Sends `payload`; what the sender is told, what the receiver read, and what both counted.
    fn transfer(&self, payload: &[u8], patience: Duration) -> Outcome {
        let (builder, addr, payload) = (self.client.clone(), self.proxy.local_addr(), payload.to_vec());
        let sender = thread::spawn(move || {
            let mut stream = builder.connect(addr).unwrap();
            let told = stream.write_all(&payload).and_then(|()| stream.finish(patience));
            (told, stream.stats(), stream)
        });
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut came = Vec::new();
        let read = read_all(&mut stream, &mut came);
        let (told, sent, client) = sender.join().unwrap();
        let received = stream.stats();
        client.abort();
        stream.abort();
        Outcome {
            told,
            read,
            came,
            sent,
            received,
        }
    }
}

struct Outcome {
    told: io::Result<Finished>,
    /// Whether the end was seen.
    read: io::Result<()>,
    came: Vec<u8>,
    sent: Stats,
    received: Stats,
}

impl Outcome {
    #[track_caller]
    fn assert_whole(&self, payload: &[u8]) {
        assert_eq!(*self.told.as_ref().unwrap(), Finished::Consumed);
        assert!(self.read.is_ok(), "{:?}", self.read);
        assert!(self.came == payload);
    }
}

fn read_all(stream: &mut Stream, came: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            bytes => came.extend_from_slice(&chunk[..bytes]),
        }
    }
}

fn payload(mark: u8) -> Vec<u8> {
    (0..60_000_u32).map(|byte| (byte % 249) as u8 ^ mark).collect()
}

const SHORT: Duration = Duration::from_secs(3);

#[test]
fn bit_flips_damage_plain_streams_unnoticed_and_secure_ones_never() {
    let payload = payload(0);
    let fooled = Scene::new(plain(), Attack::BitFlip).transfer(&payload, WATCHDOG);
    assert_eq!(
        fooled.told.unwrap(),
        Finished::Consumed,
        "both believe that all is well"
    );
    assert_eq!(fooled.came.len(), payload.len());
    assert!(fooled.came != payload);
    let safe = Scene::new(friends(), Attack::BitFlip).transfer(&payload, WATCHDOG);
    safe.assert_whole(&payload);
    assert!(safe.received.auth_failures > 0, "{:?}", safe.received);
}

#[test]
fn a_replay_repeats_what_another_client_said_in_plain_and_nothing_in_secure() {
    let (first, second) = (payload(0), payload(0x55));
    let scene = Scene::new(plain(), Attack::Replay);
    scene.transfer(&first, WATCHDOG).assert_whole(&first);
    let fooled = scene.transfer(&second, WATCHDOG);
    assert_eq!(fooled.told.unwrap(), Finished::Consumed);
    assert!(fooled.came == first, "yesterday's words in today's stream");
    let scene = Scene::new(friends(), Attack::Replay);
    let safe = scene.transfer(&first, WATCHDOG);
    safe.assert_whole(&first);
    assert!(safe.received.replays_rejected > 0, "{:?}", safe.received);
    let safe = scene.transfer(&second, WATCHDOG);
    safe.assert_whole(&second);
    assert!(safe.received.auth_failures > 0, "{:?}", safe.received);
}

#[test]
fn a_forged_acknowledgement_fools_a_plain_sender_and_no_secure_one() {
    let payload = payload(0);
    let fooled = Scene::new(plain(), Attack::ForgeAck).transfer(&payload, SHORT);
    assert_eq!(
        fooled.told.unwrap(),
        Finished::Acknowledged,
        "it believes that all has arrived"
    );
    assert!(fooled.read.is_err() && fooled.came.len() < payload.len());
    let safe = Scene::new(friends(), Attack::ForgeAck).transfer(&payload, WATCHDOG);
    safe.assert_whole(&payload);
    assert!(safe.sent.auth_failures > 0, "{:?}", safe.sent);
    assert!(safe.sent.lost_packets > 0, "the stolen packet was sent again");
}

#[test]
fn a_truncated_plain_stream_looks_whole_to_both_and_a_secure_one_never_does() {
    let payload = payload(0);
    let fooled = Scene::new(plain(), Attack::Truncate).transfer(&payload, WATCHDOG);
    assert_eq!(fooled.told.unwrap(), Finished::Consumed);
    assert!(fooled.read.is_ok(), "the receiver saw an end");
    assert!(fooled.came == payload[..10_000]);
    let safe = Scene::new(friends(), Attack::Truncate).transfer(&payload, SHORT);
    assert!(
        safe.told.is_err() && safe.read.is_err(),
        "{:?} {:?}",
        safe.told,
        safe.read
    );
    assert!(payload.starts_with(&safe.came) && safe.came.len() < payload.len());
    assert!(safe.received.auth_failures > 0, "{:?}", safe.received);
    assert!(
        safe.sent.lost_packets > 0 || safe.sent.probe_timeouts > 0,
        "{:?}",
        safe.sent
    );
}

#[test]
fn a_stranger_can_speak_in_the_name_of_a_plain_client_and_of_no_secure_one() {
    let payload = payload(0);
    let fooled = Scene::new(plain(), Attack::Spoof).transfer(&payload, WATCHDOG);
    assert!(fooled.came.windows(20).any(|window| window == b"these bytes are not "));
    let safe = Scene::new(friends(), Attack::Spoof).transfer(&payload, WATCHDOG);
    safe.assert_whole(&payload);
    assert!(safe.received.auth_failures > 0, "{:?}", safe.received);
}

#[test]
fn a_secure_client_is_not_talked_into_plain() {
    let scene = Scene::new(friends(), Attack::Downgrade);
    let client = scene.client.clone().connect_timeout(WATCHDOG);
    let error = client.connect(scene.proxy.local_addr()).map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    // The endpoints have no stream that could count. The proxy has: every hello was taken, and nothing else came.
    let attack = &scene.proxy.rules(Direction::Upstream)[0].counters;
    assert!(attack.dropped > 0 && attack.dropped == attack.seen, "{attack:?}");
    assert_eq!(scene.proxy.status().link(Direction::Upstream).sent_pkts, 0);
    // Plain clients pass: there is nothing to win.
    let payload = payload(0);
    Scene::new(plain(), Attack::Downgrade)
        .transfer(&payload, WATCHDOG)
        .assert_whole(&payload);
}

#[test]
fn swapped_keys_read_everything_between_strangers_and_nothing_between_friends() {
    let words = b"the secret of strangers";
    for (security, is_fooled) in [(strangers(), true), (friends(), false)] {
        let [client, server] = security.map(|security| StreamBuilder::new(security).carrier(Carrier::Udp));
        let listener = server.bind("127.0.0.1:0").unwrap();
        let attacker = KeySwap::start("127.0.0.1:0", listener.local_addr().unwrap(), Carrier::Udp).unwrap();
        let addr = attacker.local_addr();
        let sender = thread::spawn(move || -> io::Result<Finished> {
            let mut stream = client.connect(addr)?;
            stream.write_all(words)?;
            stream.finish(WATCHDOG)
        });
        if is_fooled {
            let (mut stream, _) = listener.accept().unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).unwrap();
            assert_eq!(came, words);
            drop(stream);
            assert_eq!(sender.join().unwrap().unwrap(), Finished::Consumed);
            assert_eq!(attacker.loot(), words);
        } else {
            let error = sender.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            assert!(attacker.loot().is_empty());
        }
    }
}
