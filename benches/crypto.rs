//! What it costs to seal and to open a packet, header protection included.
//!
//! `cargo bench --bench crypto`; a word after `--` selects.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use securestream::Suite;
use securestream::crypto::engine::{Engine, KeyChange, Keys, Mode, Side};
use securestream::crypto::plain::PlainMode;
use securestream::crypto::tls::{SecureMode, SecureOptions};
use securestream::identity::PrivateKey;
use securestream::trust::Unauthenticated;
use securestream::wire::params::TransportParams;
use std::sync::Arc;

/// Of our short header with a packet number of two bytes.
const PN_OFFSET: usize = 9;
const PN_BYTES: usize = 2;
const HEADER: usize = PN_OFFSET + PN_BYTES;

fn main_keys(client: &dyn Mode, server: &dyn Mode) -> (Keys, Keys) {
    fn pump(from: &mut dyn Engine, to: &mut dyn Engine) -> Option<Keys> {
        let mut last = None;
        loop {
            let mut flight = Vec::new();
            let change = from.write_handshake(&mut flight);
            if flight.is_empty() && change.is_none() {
                return last;
            }
            to.read_handshake(&flight).expect("they trust each other");
            if let Some(KeyChange::OneRtt(keys)) = change {
                last = Some(keys);
            }
        }
    }
    let params = TransportParams::default().encode();
    let mut client = client.engine(Side::Client, params.clone()).expect("good options");
    let mut server = server.engine(Side::Server, params).expect("good options");
    let (mut of_client, mut of_server) = (None, None);
    while of_client.is_none() || of_server.is_none() {
        of_client = pump(&mut *client, &mut *server).or(of_client);
        of_server = pump(&mut *server, &mut *client).or(of_server);
    }
    (of_client.expect("it has them"), of_server.expect("it has them"))
}

fn secure(suite: Suite) -> (Keys, Keys) {
    let options = SecureOptions {
        suites: vec![suite],
        ..SecureOptions::default()
    };
    let [client, server] = [(); 2].map(|()| {
        let key = PrivateKey::generate(2048).expect("there is randomness");
        SecureMode::new(key, Arc::new(Unauthenticated), &options).expect("good options")
    });
    main_keys(&client, &server)
}

fn measure(c: &mut Criterion, name: &str, first_byte: u8, keys: (Keys, Keys)) {
    let (mut client, mut server) = keys;
    let mut group = c.benchmark_group(name);
    for bytes in [1452, 16_384] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut packet = vec![0x5a; bytes];
        let mut pn = 0_u64;
        let sealer = &mut client.sealer;
        let mut seal = |packet: &mut [u8]| {
            pn += 1;
            packet[0] = first_byte;
            packet[PN_OFFSET..HEADER].copy_from_slice(&(pn as u16).to_be_bytes());
            sealer.seal(pn, packet, PN_OFFSET, PN_BYTES).expect("the key is fresh");
            pn
        };
        group.bench_function(format!("seal {bytes}"), |b| b.iter(|| seal(&mut packet)));
        let opener = &mut server.opener;
        group.bench_function(format!("open {bytes}"), |b| {
            b.iter_batched_ref(
                || {
                    let mut sealed = packet.clone();
                    let pn = seal(&mut sealed);
                    (pn, sealed)
                },
                |(pn, sealed)| {
                    let pn_bytes = opener.unprotect_header(sealed, PN_OFFSET).expect("long enough");
                    opener.open(*pn, sealed, PN_OFFSET + pn_bytes).expect("authentic")
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn modes(c: &mut Criterion) {
    // Short headers: 0 1 0 for secure, 0 0 1 for plain; the low bits are the length of the packet number less one.
    measure(c, "AES-128-GCM", 0b0100_0001, secure(Suite::Aes128Gcm));
    measure(c, "AES-256-GCM", 0b0100_0001, secure(Suite::Aes256Gcm));
    measure(c, "ChaCha20-Poly1305", 0b0100_0001, secure(Suite::ChaCha20Poly1305));
    let plain = [Side::Client, Side::Server].map(|side| PlainMode.initial_keys(side, &[7; 8]));
    measure(c, "plain", 0b0010_0001, plain.into());
}

criterion_group!(benches, modes);
criterion_main!(benches);
