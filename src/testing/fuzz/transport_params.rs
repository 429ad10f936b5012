//! Transport parameters: what decodes is allowed, has one spelling of ours, and no cut of it passes unnoticed.

use crate::wire::DecodeError;
use crate::wire::codec::{MAX_VARINT, Reader};
use crate::wire::params::{MIN_PACKET_BYTES, TransportParams};
use std::time::Duration;

/// `1f 0`: an id that nobody knows, without a value.
const UNKNOWN: [u8; 2] = [0x1f, 0];

/// Takes the input as the list that a peer sent.
///
/// # Panics
/// If a promise is broken.
pub fn transport_params(input: &[u8]) {
    let decoded = TransportParams::decode(input);
    assert_eq!(
        decoded,
        TransportParams::decode(&[&UNKNOWN, input].concat()),
        "unknown ids are skipped"
    );
    let Ok(params) = decoded else {
        return;
    };
    check(&params);
    let list = params.encode();
    assert_eq!(
        TransportParams::decode(&list),
        Ok(params.clone()),
        "sent again, it says something else"
    );
    // A list has no length of its own: cut between two parameters it is a shorter list, and anywhere else an error.
    let mut ends = vec![0];
    let mut reader = Reader::new(&list);
    while !reader.is_empty() {
        let start = reader.position();
        reader
            .varint()
            .and_then(|_| reader.varint_bytes())
            .expect("we encoded it");
        ends.push(reader.position());
        let twice = [&list, &list[start..reader.position()]].concat();
        assert_eq!(TransportParams::decode(&twice), Err(DecodeError), "one comes twice");
    }
    for cut in 0..list.len() {
        assert_eq!(
            TransportParams::decode(&list[..cut]).is_ok(),
            ends.contains(&cut),
            "cut at {cut}"
        );
    }
}

fn check(params: &TransportParams) {
    assert!((1..=1 << 60).contains(&params.max_channels), "{params:?}");
    assert!(params.max_ack_delay < Duration::from_millis(1 << 14), "{params:?}");
    assert!(
        (MIN_PACKET_BYTES..=MAX_VARINT).contains(&params.max_packet_bytes),
        "{params:?}"
    );
    assert!(
        params.max_idle_timeout <= Duration::from_millis(MAX_VARINT),
        "{params:?}"
    );
}
