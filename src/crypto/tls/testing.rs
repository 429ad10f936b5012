//! What tests of secure mode share: identities, and modes that trust each other.

use std::sync::{Arc, OnceLock};

use super::{SecureMode, SecureOptions};
use crate::crypto::engine::{Engine, KeyChange, Keys, Mode, Side};
use crate::crypto::identity::{PrivateKey, PublicKey};
use crate::crypto::trust::{Pinned, Unauthenticated, Verify};

/// Keys cost a tenth of a second each.
fn key(which: usize) -> PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 3] = [const { OnceLock::new() }; 3];
    KEYS[which]
        .get_or_init(|| PrivateKey::generate(2048).expect("a common size"))
        .clone()
}

/// The client.
pub(crate) fn alice() -> PrivateKey {
    key(0)
}

/// The server.
pub(crate) fn bob() -> PrivateKey {
    key(1)
}

/// Somebody else.
pub(crate) fn mallory() -> PrivateKey {
    key(2)
}

pub(crate) fn pinned(key: &PublicKey) -> Arc<dyn Verify> {
    Arc::new(Pinned::new(key.clone()))
}

pub(crate) fn anybody() -> Arc<dyn Verify> {
    Arc::new(Unauthenticated)
}

pub(crate) fn mode(identity: PrivateKey, trust: Arc<dyn Verify>) -> SecureMode {
    SecureMode::new(identity, trust, &SecureOptions::default()).expect("the defaults fit together")
}

/// A client and a server that know each other.
pub(crate) fn modes() -> (SecureMode, SecureMode) {
    modes_with(&SecureOptions::default())
}

pub(crate) fn modes_with(options: &SecureOptions) -> (SecureMode, SecureMode) {
    let (client, server) = (alice(), bob());
    let (trust_client, trust_server) = (pinned(client.public()), pinned(server.public()));
    (
        SecureMode::new(client, trust_server, options).expect("good options"),
        SecureMode::new(server, trust_client, options).expect("good options"),
    )
}

/// The 1-RTT keys of a client and a server that know each other.
pub(crate) fn one_rtt_keys(options: &SecureOptions) -> (Keys, Keys) {
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
    let (client, server) = modes_with(options);
    let mut client = client.engine(Side::Client, Vec::new()).expect("good");
    let mut server = server.engine(Side::Server, Vec::new()).expect("good");
    pump(&mut *client, &mut *server);
    let of_server = pump(&mut *server, &mut *client).expect("the server has said all");
    let of_client = pump(&mut *client, &mut *server).expect("so has the client");
    (of_client, of_server)
}
