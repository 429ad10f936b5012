//! Plain mode: packets in clear with a checksum, for looking at them. It protects against accidents, not against people.
//!
//! A CRC-32C (big endian, over header and payload) stands where the tag of an AEAD would. The engine walks through the
//! same levels as TLS 1.3 (RFC 9001, section 4.1), so that drivers cannot tell the modes apart; it carries the transport
//! parameters and proves nothing about anybody.
//!
//! ```text
//! client                                     server
//! INITIAL    hello(parameters)        ->
//!                                     <-     INITIAL    hello
//!                                     <-     HANDSHAKE  parameters, finished
//! HANDSHAKE  finished                 ->
//! ```
//!
//! A message is a type byte, a length of three bytes, and a body (RFC 8446, section 4). This file must not know frames,
//! nor what the transport parameters mean.

use super::engine::{Engine, EngineError, KeyChange, Keys, Mode, OpenError, Opener, SealError, Sealer, Side};

/// Version field of the long headers of plain mode.
const VERSION: u32 = 0x5350_0001;

/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// The low bits of the first byte hold the packet number's length - 1 (RFC 9000, section 17.2).
const PN_LENGTH_MASK: u8 = 0b11;

/// Message types; the numbers are those of TLS 1.3 (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const PARAMETERS: u8 = 8;
const FINISHED: u8 = 20;

/// Type byte and length.
const MESSAGE_HEADER_BYTES: usize = 4;

/// No honest message is longer: the transport parameters take less than 200 bytes.
const MAX_BODY_BYTES: usize = 4096;

/// The mode without secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainMode;

impl Mode for PlainMode {
    fn version(&self) -> u32 {
        VERSION
    }

    fn name(&self) -> &'static str {
        "plain"
    }

    fn engine(&self, side: Side, local_params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        if local_params.len() > MAX_BODY_BYTES {
            return Err(EngineError::Config(format!(
                "{} bytes of transport parameters, at most {MAX_BODY_BYTES} fit",
                local_params.len()
            )));
        }
        let state = match side {
            Side::Client => State::SendClientHello,
            Side::Server => State::ExpectClientHello,
        };
        Ok(Box::new(PlainEngine {
            state,
            local_params,
            peer_params: None,
            received: Vec::new(),
        }))
    }

    fn initial_keys(&self, _side: Side, _client_destination_id: &[u8]) -> Keys {
        keys()
    }

    fn retry_tag(&self, original_destination_id: &[u8], retry: &[u8]) -> Vec<u8> {
        let id_bytes = u8::try_from(original_destination_id.len()).expect("a connection id has at most 20 bytes");
        let crc = crc32c::crc32c(&[id_bytes]);
        let crc = crc32c::crc32c_append(crc, original_destination_id);
        crc32c::crc32c_append(crc, retry).to_be_bytes().to_vec()
    }
}

/// The same checksum serves all levels and both directions.
fn keys() -> Keys {
    Keys {
        sealer: Box::new(Checksum),
        opener: Box::new(Checksum),
    }
}

/// Seals with a checksum and opens by comparing it.
struct Checksum;

impl Sealer for Checksum {
    fn tag_bytes(&self) -> usize {
        CHECKSUM_BYTES
    }

    fn seal(&mut self, _pn: u64, packet: &mut [u8], _pn_offset: usize, _pn_bytes: usize) -> Result<(), SealError> {
        let (covered, tag) = packet
            .split_last_chunk_mut::<CHECKSUM_BYTES>()
            .expect("the caller left room for the checksum");
        *tag = crc32c::crc32c(covered).to_be_bytes();
        Ok(())
    }
}

impl Opener for Checksum {
    fn tag_bytes(&self) -> usize {
        CHECKSUM_BYTES
    }

    fn unprotect_header(&mut self, packet: &mut [u8], pn_offset: usize) -> Result<usize, OpenError> {
        let pn_bytes = usize::from(packet.first().ok_or(OpenError)? & PN_LENGTH_MASK) + 1;
        if packet.len() < pn_offset + pn_bytes + CHECKSUM_BYTES {
            return Err(OpenError);
        }
        Ok(pn_bytes)
    }

    fn open(&mut self, _pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
        let (covered, tag) = packet.split_last_chunk::<CHECKSUM_BYTES>().ok_or(OpenError)?;
        let payload_bytes = covered.len().checked_sub(header_bytes).ok_or(OpenError)?;
        if crc32c::crc32c(covered).to_be_bytes() == *tag {
            Ok(payload_bytes)
        } else {
            Err(OpenError)
        }
    }
}

/// What comes next. The order of the variants is the order of one side's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SendClientHello,
    ExpectServerHello,
    EnterHandshake,
    ExpectParameters,
    ExpectServerFinished,
    SendClientFinished,

    ExpectClientHello,
    SendServerHello,
    SendParameters,
    ExpectClientFinished,

    Complete,
}

struct PlainEngine {
    state: State,
    local_params: Vec<u8>,
    peer_params: Option<Vec<u8>>,
    /// The beginning of a message whose end has not arrived.
    received: Vec<u8>,
}

impl PlainEngine {
    fn handle_message(&mut self, message_type: u8, body: &[u8]) -> Result<(), EngineError> {
        self.state = match (self.state, message_type) {
            (State::ExpectClientHello, CLIENT_HELLO) => {
                self.peer_params = Some(body.to_vec());
                State::SendServerHello
            }
            (State::ExpectParameters, PARAMETERS) => {
                self.peer_params = Some(body.to_vec());
                State::ExpectServerFinished
            }
            (State::ExpectServerHello, SERVER_HELLO) if body.is_empty() => State::EnterHandshake,
            (State::ExpectServerFinished, FINISHED) if body.is_empty() => State::SendClientFinished,
            (State::ExpectClientFinished, FINISHED) if body.is_empty() => State::Complete,
            (state, _) => {
                return Err(EngineError::Protocol(format!(
                    "message {message_type} of {} bytes where {state:?} was next",
                    body.len()
                )));
            }
        };
        Ok(())
    }
}

impl Engine for PlainEngine {
    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        match self.state {
            State::SendClientHello => {
                write_message(out, CLIENT_HELLO, &self.local_params);
                self.state = State::ExpectServerHello;
                None
            }
            State::EnterHandshake => {
                self.state = State::ExpectParameters;
                Some(KeyChange::Handshake(keys()))
            }
            State::SendClientFinished => {
                write_message(out, FINISHED, &[]);
                self.state = State::Complete;
                Some(KeyChange::OneRtt(keys()))
            }
            State::SendServerHello => {
                write_message(out, SERVER_HELLO, &[]);
                self.state = State::SendParameters;
                Some(KeyChange::Handshake(keys()))
            }
            State::SendParameters => {
                write_message(out, PARAMETERS, &self.local_params);
                write_message(out, FINISHED, &[]);
                self.state = State::ExpectClientFinished;
                Some(KeyChange::OneRtt(keys()))
            }
            _ => None,
        }
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let Some((&[message_type, high, middle, low], behind)) = rest.split_first_chunk::<MESSAGE_HEADER_BYTES>()
        {
            let body_bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
            if body_bytes > MAX_BODY_BYTES {
                return Err(EngineError::Protocol(format!(
                    "message {message_type} of {body_bytes} bytes"
                )));
            }
            let Some((body, behind)) = behind.split_at_checked(body_bytes) else {
                break;
            };
            self.handle_message(message_type, body)?;
            rest = behind;
        }
        self.received = rest.to_vec();
        Ok(())
    }

    fn is_handshaking(&self) -> bool {
        self.state != State::Complete
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.peer_params.as_deref()
    }

    fn is_slow(&self) -> bool {
        false
    }
}

fn write_message(out: &mut Vec<u8>, message_type: u8, body: &[u8]) {
    let body_bytes = u32::try_from(body.len()).expect("bodies are at most MAX_BODY_BYTES long");
    let [_, high, middle, low] = body_bytes.to_be_bytes();
    out.extend_from_slice(&[message_type, high, middle, low]);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PN_OFFSET: usize = 9;
    const PN_BYTES: usize = 2;

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0, 7];
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + CHECKSUM_BYTES, 0);
        keys()
            .sealer
            .seal(7, &mut packet, PN_OFFSET, PN_BYTES)
            .expect("plain keys have no limit");
        packet
    }

    fn open(packet: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut packet = packet.to_vec();
        let mut opener = keys().opener;
        let pn_bytes = opener.unprotect_header(&mut packet, PN_OFFSET)?;
        let payload_bytes = opener.open(7, &mut packet, PN_OFFSET + pn_bytes)?;
        Ok(packet[PN_OFFSET + pn_bytes..][..payload_bytes].to_vec())
    }

    #[test]
    fn what_was_sealed_opens() {
        for payload in [&b""[..], b"x", b"a longer payload than the checksum"] {
            assert_eq!(open(&sealed(payload)).as_deref(), Ok(payload));
        }
    }

    #[test]
    fn the_checksum_is_crc32c_in_network_order() {
        // Check value of CRC-32C, RFC 3720 appendix B.4 names the polynomial: "123456789" gives e3069283.
        let mut packet = b"123456789\0\0\0\0".to_vec();
        keys()
            .sealer
            .seal(0, &mut packet, 1, 1)
            .expect("plain keys have no limit");
        assert_eq!(packet[9..], [0xe3, 0x06, 0x92, 0x83]);
    }

    #[test]
    fn one_bit_flipped_anywhere_is_noticed() {
        let packet = sealed(b"payload");
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&flipped), Err(OpenError), "bit {bit}");
        }
    }

    #[test]
    fn truncation_and_extension_are_noticed() {
        let packet = sealed(b"payload");
        for bytes in 0..packet.len() {
            assert_eq!(open(&packet[..bytes]), Err(OpenError), "cut to {bytes} bytes");
        }
        for added in 1..40 {
            let mut longer = packet.clone();
            longer.resize(packet.len() + added, 0);
            assert_eq!(open(&longer), Err(OpenError), "{added} bytes added");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_open_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            // A random match has a chance of 2^-32.
            prop_assert_eq!(open(&bytes), Err(OpenError));
        }

        #[test]
        fn random_handshake_bytes_never_panic(
            pieces in proptest::collection::vec(proptest::collection::vec(0u8..24, 0..12), 0..6),
            client in any::<bool>(),
        ) {
            let side = if client { Side::Client } else { Side::Server };
            let mut engine = PlainMode.engine(side, vec![1, 2, 3]).expect("short parameters fit");
            let mut out = Vec::new();
            for piece in pieces {
                while engine.write_handshake(&mut out).is_some() {}
                if engine.read_handshake(&piece).is_err() {
                    break;
                }
            }
        }
    }

    /// Everything that `engine` wants to send now: (level, bytes); level 0 INITIAL, 1 HANDSHAKE, 2 1-RTT.
    fn flight(engine: &mut dyn Engine, level: &mut usize) -> Vec<(usize, Vec<u8>)> {
        let mut flight = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let change = engine.write_handshake(&mut bytes);
            let quiet = bytes.is_empty() && change.is_none();
            if !bytes.is_empty() {
                flight.push((*level, bytes));
            }
            match change {
                Some(KeyChange::Handshake(_)) => *level = 1,
                Some(KeyChange::OneRtt(_)) => *level = 2,
                None if quiet => return flight,
                None => {}
            }
        }
    }

    #[test]
    fn both_sides_walk_through_the_levels_of_tls() {
        let mut client = PlainMode.engine(Side::Client, b"of the client".to_vec()).expect("fits");
        let mut server = PlainMode.engine(Side::Server, b"of the server".to_vec()).expect("fits");
        let (mut client_level, mut server_level) = (0, 0);
        assert!(
            flight(&mut *server, &mut server_level).is_empty(),
            "the server speaks second"
        );

        let hello = flight(&mut *client, &mut client_level);
        assert_eq!(hello.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [0]);
        // In pieces of one byte: messages are found wherever frames cut them.
        for byte in &hello[0].1 {
            server.read_handshake(&[*byte]).expect("a correct hello");
        }
        assert_eq!(server.peer_params(), Some(&b"of the client"[..]));

        let answer = flight(&mut *server, &mut server_level);
        assert_eq!(answer.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [0, 1]);
        client.read_handshake(&answer[0].1).expect("a correct hello");
        assert!(flight(&mut *client, &mut client_level).is_empty());
        assert_eq!(client_level, 1);
        client.read_handshake(&answer[1].1).expect("correct parameters");
        assert_eq!(client.peer_params(), Some(&b"of the server"[..]));
        let finished = flight(&mut *client, &mut client_level);
        assert_eq!(finished.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [1]);
        assert!(!client.is_handshaking());

        assert!(server.is_handshaking(), "not before the client's finished");
        server.read_handshake(&finished[0].1).expect("a correct finished");
        assert!(!server.is_handshaking());
    }

    #[test]
    fn malformed_and_unexpected_messages_are_protocol_errors() {
        let cases: [&[u8]; 5] = [
            &[FINISHED, 0, 0, 0],
            &[SERVER_HELLO, 0, 0, 0],
            &[CLIENT_HELLO, 0xff, 0xff, 0xff],
            &[99, 0, 0, 1, 5],
            // Right, with a second one behind it.
            &[CLIENT_HELLO, 0, 0, 0, CLIENT_HELLO, 0, 0, 0],
        ];
        for bytes in cases {
            let mut server = PlainMode.engine(Side::Server, Vec::new()).expect("fits");
            let result = server.read_handshake(bytes);
            assert!(matches!(result, Err(EngineError::Protocol(_))), "{bytes:?}: {result:?}");
        }
    }

    #[test]
    fn a_finished_with_a_body_is_a_protocol_error() {
        let mut server = PlainMode.engine(Side::Server, Vec::new()).expect("fits");
        server
            .read_handshake(&[CLIENT_HELLO, 0, 0, 0])
            .expect("a correct hello");
        while server.write_handshake(&mut Vec::new()).is_some() {}
        assert!(matches!(
            server.read_handshake(&[FINISHED, 0, 0, 1, 0]),
            Err(EngineError::Protocol(_))
        ));
    }

    #[test]
    fn the_tag_of_a_retry_depends_on_the_packet_that_it_answers() {
        let tag = PlainMode.retry_tag(b"12345678", b"a retry");
        assert_eq!(tag.len(), CHECKSUM_BYTES);
        assert_eq!(tag, crc32c::crc32c(b"\x0812345678a retry").to_be_bytes());
        assert_ne!(tag, PlainMode.retry_tag(b"12345679", b"a retry"));
        assert_ne!(tag, PlainMode.retry_tag(b"12345678", b"a retrz"));
    }

    #[test]
    fn parameters_that_cannot_be_sent_are_a_fault_of_the_configuration() {
        let result = PlainMode.engine(Side::Client, vec![0; MAX_BODY_BYTES + 1]);
        assert!(matches!(result, Err(EngineError::Config(_))));
    }
}
