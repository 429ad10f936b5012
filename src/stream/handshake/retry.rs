//! "Come again with this token": how a listener under load makes a stranger prove its address, and keeps nothing
//! meanwhile.
//!
//! ```text
//! client                                                            listener
//! INITIAL to A                                                   ->
//!                                    <-  Retry from B, token(time, A, B, client's id, address)
//! INITIAL to B, with the token, keys of B                        ->  the address is right; the parameters repeat A, B
//! ```
//!
//! The token is a keyed hash, so whoever has it was given it by us, at this address and not long ago. RFC 9000,
//! sections 8.1.2 to 8.1.4 and 17.2.5.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Config;
use super::stateless::Hello;
use crate::crypto::mac::{self, Mac, TAG_BYTES};
use crate::wire::codec::{Reader, Writer};
use crate::wire::packet::{CONNECTION_ID_BYTES, ConnectionId, PLAIN_TAG_BYTES, SECURE_TAG_BYTES, encode_retry};

/// A token is good for this long: longer than a round trip, shorter than anybody needs to gather many.
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(10);
/// The secret is replaced so often. The one before stays good, so that no token dies before its time.
const SECRET_LIFETIME: Duration = Duration::from_secs(60);
/// Issue time in milliseconds, and the destination id of the client's first packet.
const BODY_BYTES: usize = 8 + CONNECTION_ID_BYTES;
const TOKEN_BYTES: usize = BODY_BYTES + TAG_BYTES;
/// First byte, version, two ids with their lengths, the length of the token.
const RETRY_HEADER_BYTES: usize = 1 + 4 + 2 * (1 + CONNECTION_ID_BYTES) + 1;

/// What a token says about the packet that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The address is the client's own. The id is that of its very first packet.
    Valid(ConnectionId),
    /// It was good once. The client cannot get another one: it must begin again.
    TooOld,
    /// Not from us, or for somebody else.
    Forged,
}

/// Makes and checks tokens. Time is monotonic and begins with this value: tokens do not survive a restart.
pub(crate) struct Tokens {
    origin: Instant,
    secret: Mac,
    previous: Mac,
    made_at: Instant,
    random: Box<dyn FnMut() -> [u8; 32] + Send>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Secrets come from `random`.
    pub(crate) fn new(mut random: Box<dyn FnMut() -> [u8; 32] + Send>, now: Instant) -> Self {
        Self {
            origin: now,
            secret: Mac::new(&random()),
            previous: Mac::new(&random()),
            made_at: now,
            random,
        }
    }

    /// A token for a client at `address`. `retry_source_id` is the destination id that it shall use from now on.
    pub(crate) fn issue(
        &mut self,
        hello: &Hello,
        retry_source_id: ConnectionId,
        address: Option<SocketAddr>,
        now: Instant,
    ) -> Vec<u8> {
        if now.saturating_duration_since(self.made_at) >= SECRET_LIFETIME {
            self.previous = std::mem::replace(&mut self.secret, Mac::new(&(self.random)()));
            self.made_at = now;
        }
        let mut token = vec![0; BODY_BYTES];
        let mut writer = Writer::new(&mut token);
        writer.u64(self.millis(now));
        writer.bytes(&hello.destination_id.0);
        let tag = tag(&self.secret, &token, retry_source_id, hello.source_id, address);
        token.extend_from_slice(&tag);
        token
    }

    /// Checks the token of a packet from `address`.
    pub(crate) fn check(&self, hello: &Hello, token: &[u8], address: Option<SocketAddr>, now: Instant) -> Verdict {
        let Some((body, theirs)) = token.split_last_chunk::<TAG_BYTES>() else {
            return Verdict::Forged;
        };
        if token.len() != TOKEN_BYTES {
            return Verdict::Forged;
        }
        let is_ours = [&self.secret, &self.previous].into_iter().any(|secret| {
            let ours = tag(secret, body, hello.destination_id, hello.source_id, address);
            mac::is_same(&ours, theirs)
        });
        if !is_ours {
            return Verdict::Forged;
        }
        let mut reader = Reader::new(body);
        let (Ok(issued_ms), Ok(first)) = (reader.u64(), reader.array()) else {
            return Verdict::Forged;
        };
        let age_ms = self.millis(now).saturating_sub(issued_ms);
        if u128::from(age_ms) > TOKEN_LIFETIME.as_millis() {
            return Verdict::TooOld;
        }
        Verdict::Valid(ConnectionId(first))
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64
    }
}

fn tag(
    secret: &Mac,
    body: &[u8],
    retry_source_id: ConnectionId,
    client_id: ConnectionId,
    address: Option<SocketAddr>,
) -> [u8; TAG_BYTES] {
    // The port too: a NAT that changes it between two packets of a handshake is rarer than many peers at one address.
    let (ip, port) = address.map_or(([0; 16], 0), |address| {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        (ip.octets(), address.port())
    });
    secret.tag(&[body, &retry_source_id.0, &client_id.0, &ip, &port.to_be_bytes()])
}

/// The answer that makes a client come again with `token`, to `retry_source_id`. `None` if it were larger than the
/// `trigger_bytes` that it answers.
pub(crate) fn retry(
    hello: &Hello,
    config: &Config,
    retry_source_id: ConnectionId,
    token: &[u8],
    trigger_bytes: usize,
) -> Option<Vec<u8>> {
    let mut packet = vec![0; RETRY_HEADER_BYTES + token.len()];
    let mut writer = Writer::new(&mut packet);
    encode_retry(
        &mut writer,
        config.mode.version(),
        hello.source_id,
        retry_source_id,
        token,
    );
    let tag = config.mode.retry_tag(&hello.destination_id.0, &packet);
    debug_assert!(matches!(tag.len(), PLAIN_TAG_BYTES | SECURE_TAG_BYTES));
    packet.extend_from_slice(&tag);
    (packet.len() <= trigger_bytes).then_some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::plain::PlainMode;
    use crate::wire::packet::{Decoded, decode};
    use crate::wire::params::TransportParams;
    use std::sync::Arc;

    const FROM: ConnectionId = ConnectionId(*b"client--");
    const FIRST: ConnectionId = ConnectionId(*b"random--");
    const AGAIN: ConnectionId = ConnectionId(*b"retry---");

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn tokens(now: Instant) -> Tokens {
        let mut counter = 0;
        let random = move || {
            counter += 1;
            [counter; 32]
        };
        Tokens::new(Box::new(random), now)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_token_is_good_for_its_holder_for_ten_seconds() {
        let now = epoch();
        let mut tokens = tokens(now);
        let home = Some(address("192.0.2.1:4433"));
        let token = tokens.issue(&Hello::of(FIRST, FROM), AGAIN, home, now);
        let hello = Hello::of(AGAIN, FROM);
        let late = now + TOKEN_LIFETIME;
        for at in [now, late] {
            assert_eq!(tokens.check(&hello, &token, home, at), Verdict::Valid(FIRST));
        }
        let too_late = late + Duration::from_millis(1);
        assert_eq!(tokens.check(&hello, &token, home, too_late), Verdict::TooOld);
        for other in ["192.0.2.1:4434", "192.0.2.2:4433"].map(address) {
            assert_eq!(tokens.check(&hello, &token, Some(other), now), Verdict::Forged);
        }
        assert_eq!(tokens.check(&hello, &token, None, now), Verdict::Forged);
        for other in [Hello::of(FIRST, FROM), Hello::of(AGAIN, FIRST)] {
            assert_eq!(tokens.check(&other, &token, home, now), Verdict::Forged);
        }
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tokens.check(&hello, &changed, home, now), Verdict::Forged, "bit {bit}");
        }
        for end in 0..token.len() {
            assert_eq!(tokens.check(&hello, &token[..end], home, now), Verdict::Forged);
        }
        let longer = [&token[..], &[0]].concat();
        assert_eq!(tokens.check(&hello, &longer, home, now), Verdict::Forged);
    }

    #[test]
    fn a_new_secret_lets_the_last_tokens_of_the_old_one_live_out_their_time() {
        let now = epoch();
        let mut tokens = tokens(now);
        let home = Some(address("[2001:db8::1]:9"));
        let (first, again) = (Hello::of(FIRST, FROM), Hello::of(AGAIN, FROM));
        let before = now + SECRET_LIFETIME.saturating_sub(Duration::from_secs(1));
        let old = tokens.issue(&first, AGAIN, home, before);
        let after = now + SECRET_LIFETIME;
        let new = tokens.issue(&first, AGAIN, home, after);
        assert_ne!(old[BODY_BYTES..], new[BODY_BYTES..]);
        for token in [&old, &new] {
            assert_eq!(tokens.check(&again, token, home, after), Verdict::Valid(FIRST));
        }
        // After another change nobody remembers the first secret.
        tokens.issue(&first, AGAIN, home, after + SECRET_LIFETIME);
        assert_eq!(
            tokens.check(&again, &old, home, after + SECRET_LIFETIME),
            Verdict::Forged
        );
    }

    #[test]
    fn a_retry_decodes_and_is_never_larger_than_what_it_answers() {
        let config = Config::new(Arc::new(PlainMode), TransportParams::default());
        let hello = Hello::of(FIRST, FROM);
        let token = [7; TOKEN_BYTES];
        let packet = retry(&hello, &config, AGAIN, &token, 1200).expect("small enough");
        let Ok(Decoded::Retry(decoded)) = decode(&packet) else {
            panic!("not a Retry: {packet:?}");
        };
        assert_eq!(
            (decoded.destination_id, decoded.source_id, decoded.token),
            (FROM, AGAIN, &token[..])
        );
        assert_eq!(
            decoded.tag,
            config.mode.retry_tag(&FIRST.0, &packet[..decoded.tag_offset])
        );
        assert_eq!(retry(&hello, &config, AGAIN, &token, packet.len() - 1), None);
    }
}
