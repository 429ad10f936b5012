//! Streams in secure mode: whom they talk to, what goes through, and who is sent away.

use super::*;
use crate::keys::{alice, bob, client, mallory, only, server};
use securestream::crypto::tls::Volume;
use securestream::impair::Filtered;
use securestream::trust::{Trust, Unauthenticated};
use securestream::{Finished, SecureOptions};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn secure() -> (StreamBuilder, StreamBuilder) {
    (StreamBuilder::new(client()), StreamBuilder::new(server()))
}

fn fingerprint(stream: &Stream) -> String {
    let key = stream.peer_identity().expect("in secure mode everybody has one");
    key.fingerprint().to_string()
}

fn echo(client: &Stream, server: &Stream, total: u64) {
    thread::scope(|scope| {
        let echoing = scope.spawn(|| {
            let (mut reader, mut writer) = (server, server);
            let n = std::io::copy(&mut reader, &mut writer).expect("echo");
            server.finish(WATCHDOG).expect("finish");
            n
        });
        let writing = scope.spawn(|| {
            let mut buf = vec![0; 10_000];
            let mut offset = 0;
            while offset < total {
                let n = buf.len().min((total - offset) as usize);
                pattern(1, offset, &mut buf[..n]);
                let mut stream = client;
                stream.write_all(&buf[..n]).expect("write");
                offset += n as u64;
            }
            assert_eq!(client.finish(WATCHDOG).expect("finish"), Finished::Consumed);
        });
        let (mut offset, mut buf, mut expected) = (0, vec![0; 10_000], vec![0; 10_000]);
        loop {
            let mut stream = client;
            let n = stream.read(&mut buf).expect("read");
            if n == 0 {
                break;
            }
            pattern(1, offset, &mut expected[..n]);
            assert!(buf[..n] == expected[..n], "wrong bytes after {offset}");
            offset += n as u64;
        }
        assert_eq!(offset, total);
        assert_eq!(echoing.join().expect("it lives"), total);
        writing.join().expect("it lives");
    });
}

on_each_carrier! {
    both_sides_know_each_other_and_megabytes_come_back => |over| {
        let (client, server) = secure();
        let (client, server) = pair_of(over, &client, &server);
        let name = |key: &securestream::identity::PrivateKey| key.public().fingerprint().to_string();
        assert_eq!(fingerprint(&client), name(&bob()));
        assert_eq!(fingerprint(&server), name(&alice()));
        let own = client.local_identity().expect("it has one");
        assert_eq!(own.fingerprint().to_string(), name(&alice()));
        echo(&client, &server, 5_000_000);
        assert_eq!(client.stats().auth_failures + server.stats().auth_failures, 0);
    };

    keys_change_under_way_while_both_write => |over| {
        let options = SecureOptions {
            volume: Volume { packets: 50, ..Volume::default() },
            ..SecureOptions::default()
        };
        let builder = |key, trust| {
            let security = Security::secure_with(key, trust, &options).expect("good options");
            StreamBuilder::new(security).max_datagram(1200)
        };
        let client = builder(alice(), only(&bob()));
        let server = builder(bob(), only(&alice()));
        let (client, server) = pair_of(over, &client, &server);
        echo(&client, &server, 2_000_000);
        assert_eq!(client.stats().auth_failures + server.stats().auth_failures, 0);
    };

    a_server_that_is_not_the_expected_one_is_refused_and_hears_why => |over| {
        let expects_mallory = StreamBuilder::new(Security::secure(alice(), only(&mallory())));
        refusal(over, &expects_mallory, &StreamBuilder::new(server()), &[bob(), mallory()]);
    };

    a_client_that_is_not_known_is_refused_and_hears_why => |over| {
        let unknown = StreamBuilder::new(Security::secure(mallory(), only(&bob())));
        refusal(over, &unknown, &StreamBuilder::new(server()), &[mallory(), alice()]);
    };
}

/// Both sides are told, with both fingerprints, and nothing is accepted.
fn refusal(over: Over, client: &StreamBuilder, server: &StreamBuilder, keys: &[securestream::identity::PrivateKey; 2]) {
    let names = keys.each_ref().map(|key| key.public().fingerprint().to_string());
    let check = |what: &str, reason: &str| {
        for name in &names {
            assert!(reason.contains(name), "{what}: {reason}");
        }
    };
    if over == Over::Memory {
        let (a, b) = memory::pair();
        let accepting = {
            let server = server.clone();
            thread::spawn(move || server.accept_over(b))
        };
        let error = assert_kind(client.connect_over(a), io::ErrorKind::PermissionDenied);
        check("client", &error.to_string());
        let error = assert_kind(accepting.join().expect("no panic"), io::ErrorKind::PermissionDenied);
        check("server", &error.to_string());
        return;
    }
    let carrier = carrier(over);
    let listener = server.clone().carrier(carrier).bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    let error = assert_kind(
        client.clone().carrier(carrier).connect(addr),
        io::ErrorKind::PermissionDenied,
    );
    assert!(matches!(typed(&error), StreamError::Identity { .. }));
    check("client", &error.to_string());
    let incident = listener.incidents().recv_timeout(WATCHDOG).expect("it is reported");
    check("server", &incident.to_string());
    // And the next one is welcome.
    let good = StreamBuilder::new(self::client()).carrier(carrier);
    let connecting = thread::spawn(move || good.connect(addr).expect("connect"));
    let (accepted, _) = listener.accept_timeout(WATCHDOG).expect("accept");
    assert_eq!(fingerprint(&accepted), alice().public().fingerprint().to_string());
    drop((connecting.join().expect("connected"), accepted));
}

#[test]
fn strangers_can_talk_in_private_and_show_each_other_their_fingerprints() {
    let anybody = |key| StreamBuilder::new(Security::secure(key, Trust::Unauthenticated(Unauthenticated)));
    let (client, server) = pair_of(Over::Memory, &anybody(alice()), &anybody(mallory()));
    assert_eq!(fingerprint(&client), mallory().public().fingerprint().to_string());
    assert_eq!(fingerprint(&server), alice().public().fingerprint().to_string());
}

#[test]
fn in_plain_mode_nobody_is_anybody() {
    let (client, server) = pair(Over::Memory);
    for stream in [client, server] {
        assert!(stream.peer_identity().is_none() && stream.local_identity().is_none());
    }
}

#[test]
fn a_side_in_secure_mode_never_falls_back() {
    let (secure_client, secure_server) = secure();
    for (client, server) in [(plain(), secure_server), (secure_client, plain())] {
        let (a, b) = memory::pair();
        let accepting = thread::spawn(move || server.accept_over(b));
        let error = assert_kind(client.connect_over(a), io::ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("secure") && error.to_string().contains("plain"),
            "{error}"
        );
        assert_kind(accepting.join().expect("no panic"), io::ErrorKind::Unsupported);
    }
}

#[test]
fn a_connection_that_is_cut_or_ended_by_a_forgery_never_looks_whole() {
    // Side by side, for each waits for the idle time-out.
    thread::scope(|scope| {
        for forges in [false, true] {
            for cut in [0, 1, 2, 5, 10, 15] {
                scope.spawn(move || cut_or_forge(cut, forges));
            }
        }
    });
}

/// After `cut` packets those to the server vanish, or are replaced by what somebody on the way can make: the same header,
/// and a made-up rest.
fn cut_or_forge(cut: u64, forges: bool) {
    let begun = Arc::new(AtomicBool::new(false));
    let seen = AtomicU64::new(0);
    let (a, b) = memory::pair();
    let cutting = Arc::clone(&begun);
    let a = Filtered::new(a).transmit(move |packet: &mut Vec<u8>| {
        if !cutting.load(Ordering::SeqCst) || seen.fetch_add(1, Ordering::SeqCst) < cut {
            return true;
        }
        for byte in packet.iter_mut().skip(9) {
            *byte = byte.wrapping_mul(31).wrapping_add(7);
        }
        forges
    });
    let (client, server) = secure();
    // Soon, and not before the first packet of a machine that is only busy.
    let hasty = |builder: StreamBuilder| {
        builder
            .idle_timeout(Duration::from_secs(3))
            .linger(Some(Duration::ZERO))
    };
    let (client, server) = join(&hasty(client), a, &hasty(server), b);
    begun.store(true, Ordering::SeqCst);
    let writing = thread::spawn(move || {
        let _ = (&client).write_all(&[7; 40_000]);
        let _ = client.finish(WATCHDOG);
    });
    let mut all = Vec::new();
    let error = (&server).read_to_end(&mut all).expect_err("an end that is none");
    let case = format!("cut after {cut}, forges: {forges}: {error}");
    assert!(all.len() < 40_000, "{case}");
    assert_ne!(
        error.kind(),
        io::ErrorKind::InvalidData,
        "a forgery is no violation of the peer: {case}"
    );
    if forges {
        assert!(server.stats().auth_failures > 0, "{case}");
    }
    writing.join().expect("no panic");
}
