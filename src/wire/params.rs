//! Transport parameters: what each side tells the other once, in the handshake (RFC 9000, sections 7.4 and 18).
//!
//! A list of (id, length, value), id and length as variable-length integers, in any order. Numbers are
//! variable-length integers that fill their value. Ids are QUIC's; `max_channels` has the id of
//! `initial_max_streams_bidi`, for a channel is what QUIC calls a bidirectional stream.

use std::time::Duration;

use super::DecodeError;
use super::codec::{MAX_VARINT, Reader, Writer, varint_bytes};
use super::packet::ConnectionId;

/// No endpoint takes less than this in a datagram (RFC 9000, section 14).
pub const MIN_PACKET_BYTES: u64 = 1200;

/// The largest datagram that UDP can carry, and the value of `max_packet_bytes` where it is not sent (RFC 9000,
/// section 18.2).
pub const DEFAULT_MAX_PACKET_BYTES: u64 = 65_527;

/// `max_ack_delay` where it is not sent (RFC 9000, section 18.2).
pub const DEFAULT_MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// `max_ack_delay` stays below this (RFC 9000, section 18.2).
const MAX_ACK_DELAY_LIMIT: Duration = Duration::from_millis(1 << 14);

/// A count of channels stays at or below this (RFC 9000, section 4.6).
const MAX_CHANNELS_LIMIT: u64 = 1 << 60;

/// Ids of RFC 9000, section 18.2, and RFC 9221.
mod id {
    pub(super) const ORIGINAL_DESTINATION_ID: u64 = 0x00;
    pub(super) const MAX_IDLE_TIMEOUT: u64 = 0x01;
    pub(super) const STATELESS_RESET_TOKEN: u64 = 0x02;
    pub(super) const MAX_PACKET_BYTES: u64 = 0x03;
    pub(super) const INITIAL_MAX_DATA: u64 = 0x04;
    pub(super) const MAX_CHANNELS: u64 = 0x08;
    pub(super) const MAX_ACK_DELAY: u64 = 0x0b;
    pub(super) const INITIAL_SOURCE_ID: u64 = 0x0f;
    pub(super) const RETRY_SOURCE_ID: u64 = 0x10;
    pub(super) const MAX_DATAGRAM_FRAME: u64 = 0x20;
    /// All known ids are below this, so that one word remembers which were seen.
    pub(super) const END: u64 = 64;
}

/// What one side tells the other. The default is what holds for everything that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportParams {
    /// After this long without a packet the connection is dead; zero for never. Whole milliseconds on the wire.
    pub max_idle_timeout: Duration,
    /// Bytes that the peer may send before the first `MAX_DATA`.
    pub initial_max_data: u64,
    /// How many channels the peer may use, at least 1.
    pub max_channels: u64,
    /// The longest that this side waits with an ACK, below 16.384 s. Whole milliseconds on the wire.
    pub max_ack_delay: Duration,
    /// The largest datagram that this side takes, at least 1200.
    pub max_packet_bytes: u64,
    /// From the server: the destination id of the client's very first packet.
    pub original_destination_id: Option<ConnectionId>,
    /// The source id of this side's first packet.
    pub initial_source_id: Option<ConnectionId>,
    /// From the server: the source id of its Retry, if it sent one.
    pub retry_source_id: Option<ConnectionId>,
    /// From the server: what a stateless reset of this connection will end with.
    pub stateless_reset_token: Option<[u8; 16]>,
    /// The largest DATAGRAM frame that this side takes, type and length included; 0 for none.
    pub max_datagram_frame: u64,
}

impl Default for TransportParams {
    fn default() -> Self {
        Self {
            max_idle_timeout: Duration::ZERO,
            initial_max_data: 0,
            max_channels: 1,
            max_ack_delay: DEFAULT_MAX_ACK_DELAY,
            max_packet_bytes: DEFAULT_MAX_PACKET_BYTES,
            original_destination_id: None,
            initial_source_id: None,
            retry_source_id: None,
            stateless_reset_token: None,
            max_datagram_frame: 0,
        }
    }
}

impl TransportParams {
    /// Writes all of them. Durations are rounded up to milliseconds. Panics if a number is above [`MAX_VARINT`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_number(&mut out, id::MAX_IDLE_TIMEOUT, whole_millis(self.max_idle_timeout));
        put_number(&mut out, id::INITIAL_MAX_DATA, self.initial_max_data);
        put_number(&mut out, id::MAX_CHANNELS, self.max_channels);
        put_number(&mut out, id::MAX_ACK_DELAY, whole_millis(self.max_ack_delay));
        put_number(&mut out, id::MAX_PACKET_BYTES, self.max_packet_bytes);
        put_number(&mut out, id::MAX_DATAGRAM_FRAME, self.max_datagram_frame);
        for (id, connection_id) in [
            (id::ORIGINAL_DESTINATION_ID, self.original_destination_id),
            (id::INITIAL_SOURCE_ID, self.initial_source_id),
            (id::RETRY_SOURCE_ID, self.retry_source_id),
        ] {
            if let Some(connection_id) = connection_id {
                put(&mut out, id, &connection_id.0);
            }
        }
        if let Some(token) = self.stateless_reset_token {
            put(&mut out, id::STATELESS_RESET_TOKEN, &token);
        }
        out
    }

    /// Reads what the peer sent. Ids that are not known are skipped (RFC 9000, section 7.4.2).
    ///
    /// # Errors
    /// [`DecodeError`] when the list is cut, a known parameter comes twice, has the wrong length, or a value that is
    /// not allowed (the fields say which are).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut params = Self::default();
        let mut seen = 0u64;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let id = reader.varint()?;
            let value = reader.varint_bytes()?;
            match id {
                id::MAX_IDLE_TIMEOUT => {
                    params.max_idle_timeout = Duration::from_millis(number(value)?);
                }
                id::INITIAL_MAX_DATA => params.initial_max_data = number(value)?,
                id::MAX_CHANNELS => params.max_channels = number(value)?,
                id::MAX_ACK_DELAY => params.max_ack_delay = Duration::from_millis(number(value)?),
                id::MAX_PACKET_BYTES => params.max_packet_bytes = number(value)?,
                id::MAX_DATAGRAM_FRAME => params.max_datagram_frame = number(value)?,
                id::ORIGINAL_DESTINATION_ID => {
                    params.original_destination_id = Some(ConnectionId(exact(value)?));
                }
                id::INITIAL_SOURCE_ID => {
                    params.initial_source_id = Some(ConnectionId(exact(value)?));
                }
                id::RETRY_SOURCE_ID => params.retry_source_id = Some(ConnectionId(exact(value)?)),
                id::STATELESS_RESET_TOKEN => params.stateless_reset_token = Some(exact(value)?),
                _ => continue,
            }
            debug_assert!(id < id::END, "known ids fit the word");
            let bit = 1 << id;
            if seen & bit != 0 {
                return Err(DecodeError);
            }
            seen |= bit;
        }
        let is_sane = (1..=MAX_CHANNELS_LIMIT).contains(&params.max_channels)
            && params.max_ack_delay < MAX_ACK_DELAY_LIMIT
            && params.max_packet_bytes >= MIN_PACKET_BYTES;
        if is_sane { Ok(params) } else { Err(DecodeError) }
    }
}

/// Rounded up, so that a short time does not become zero, which means "never".
fn whole_millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).min(MAX_VARINT)
}

fn number(value: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(value);
    let number = reader.varint()?;
    if reader.is_empty() {
        Ok(number)
    } else {
        Err(DecodeError)
    }
}

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError)
}

fn put_number(out: &mut Vec<u8>, id: u64, number: u64) {
    let mut value = [0; 8];
    Writer::new(&mut value).varint(number);
    put(out, id, &value[..varint_bytes(number)]);
}

fn put(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    let mut head = [0; 16];
    let mut writer = Writer::new(&mut head);
    writer.varint(id);
    writer.varint(value.len() as u64);
    let head_bytes = writer.position();
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::tests::any_varint;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn any_id() -> impl Strategy<Value = Option<ConnectionId>> {
        option::of(any::<[u8; 8]>().prop_map(ConnectionId))
    }

    fn any_params() -> impl Strategy<Value = TransportParams> {
        (
            (any_varint(), any_varint(), 1..=MAX_CHANNELS_LIMIT, 0u64..1 << 14),
            (MIN_PACKET_BYTES..=MAX_VARINT, any_varint()),
            (any_id(), any_id(), any_id(), option::of(any::<[u8; 16]>())),
        )
            .prop_map(
                |((idle, data, channels, ack_delay), (packet, datagram), ids)| TransportParams {
                    max_idle_timeout: Duration::from_millis(idle),
                    initial_max_data: data,
                    max_channels: channels,
                    max_ack_delay: Duration::from_millis(ack_delay),
                    max_packet_bytes: packet,
                    original_destination_id: ids.0,
                    initial_source_id: ids.1,
                    retry_source_id: ids.2,
                    stateless_reset_token: ids.3,
                    max_datagram_frame: datagram,
                },
            )
    }

    #[test]
    fn an_empty_list_is_the_default() {
        assert_eq!(TransportParams::decode(&[]), Ok(TransportParams::default()));
    }

    #[test]
    fn parameters_stand_on_the_wire_as_drawn() {
        let params = TransportParams {
            max_idle_timeout: Duration::from_secs(40),
            initial_max_data: 262_144,
            initial_source_id: Some(ConnectionId(*b"my name ")),
            ..TransportParams::default()
        };
        let drawn = [
            &[0x01, 4, 0x80, 0x00, 0x9c, 0x40][..],
            &[0x04, 4, 0x80, 0x04, 0x00, 0x00],
            &[0x08, 1, 1],
            &[0x0b, 1, 25],
            &[0x03, 4, 0x80, 0x00, 0xff, 0xf7],
            &[0x20, 1, 0],
            b"\x0f\x08my name ",
        ];
        assert_eq!(params.encode(), drawn.concat());
    }

    #[test]
    fn a_short_time_is_rounded_up_and_does_not_become_never() {
        let params = TransportParams {
            max_idle_timeout: Duration::from_micros(1),
            max_ack_delay: Duration::from_micros(1001),
            ..TransportParams::default()
        };
        let decoded = TransportParams::decode(&params.encode()).expect("valid");
        assert_eq!(decoded.max_idle_timeout, Duration::from_millis(1));
        assert_eq!(decoded.max_ack_delay, Duration::from_millis(2));
    }

    #[test]
    fn an_endless_time_is_the_longest_that_can_be_said() {
        let params = TransportParams {
            max_idle_timeout: Duration::MAX,
            ..TransportParams::default()
        };
        let decoded = TransportParams::decode(&params.encode()).expect("valid");
        assert_eq!(decoded.max_idle_timeout, Duration::from_millis(MAX_VARINT));
    }

    #[test]
    fn unknown_parameters_are_skipped_even_twice() {
        let bytes = [0x1f, 2, 9, 9, 0x04, 1, 7, 0x1f, 0, 0x7f, 0xff, 0];
        let params = TransportParams::decode(&bytes).expect("valid");
        assert_eq!(params.initial_max_data, 7);
    }

    #[test]
    fn what_no_correct_peer_sends_is_refused() {
        let refused: &[(&str, &[u8])] = &[
            ("twice", &[0x04, 1, 7, 0x04, 1, 7]),
            ("no value", &[0x04, 0]),
            ("a number that does not fill its value", &[0x04, 2, 7, 7]),
            ("a number that is cut", &[0x04, 1, 0x40]),
            ("an id of 7 bytes", &[0x0f, 7, 1, 2, 3, 4, 5, 6, 7]),
            (
                "a token of 15 bytes",
                &[0x02, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("a length beyond the end", &[0x04, 8, 7]),
            ("no length", &[0x04]),
            ("no channel at all", &[0x08, 1, 0]),
            ("packets below 1200 bytes", &[0x03, 2, 0x44, 0xaf]),
            ("an ack delay of 16.384 s", &[0x0b, 4, 0x80, 0, 0x40, 0]),
        ];
        for (what, bytes) in refused {
            assert_eq!(TransportParams::decode(bytes), Err(DecodeError), "{what}");
        }
        assert!(TransportParams::decode(&[0x03, 2, 0x44, 0xb0]).is_ok());
    }

    proptest! {
        #[test]
        fn every_set_round_trips(params in any_params()) {
            prop_assert_eq!(TransportParams::decode(&params.encode()), Ok(params));
        }

        #[test]
        fn every_cut_is_refused_or_lacks_only_what_was_cut(params in any_params()) {
            let bytes = params.encode();
            // A list has no length of its own: cut between two parameters it is a shorter list.
            let mut ends = vec![0];
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                reader.varint().and_then(|_| reader.varint_bytes()).expect("we encoded it");
                ends.push(reader.position());
            }
            for cut in 0..bytes.len() {
                let decoded = TransportParams::decode(&bytes[..cut]);
                prop_assert_eq!(decoded.is_ok(), ends.contains(&cut));
            }
        }

        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_says_the_same_when_sent_again(
            mut bytes in prop_oneof![vec(any::<u8>(), 0..100), any_params().prop_map(|params| params.encode())],
            broken in option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            if let (Some((at, value)), false) = (broken, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(params) = TransportParams::decode(&bytes) {
                prop_assert_eq!(TransportParams::decode(&params.encode()), Ok(params));
            }
        }
    }
}
