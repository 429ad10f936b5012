//! Why a connection was closed: the code of `CONNECTION_CLOSE`. Numbers below 0x100 are those of RFC 9000, section 20.1.

/// Nothing is wrong: the stream ended.
pub const NO_ERROR: u64 = 0x00;
/// The closing side has a bug, or ran out of something.
pub const INTERNAL: u64 = 0x01;
/// The server takes no more connections now.
pub const REFUSED: u64 = 0x02;
/// More was sent than `max_data` allows.
pub const FLOW_CONTROL: u64 = 0x03;
/// The final size of a direction changed, or data lies behind it.
pub const FINAL_SIZE: u64 = 0x06;
/// A frame could not be read.
pub const FRAME_ENCODING: u64 = 0x07;
/// Transport parameters could not be read, or contradict the packets.
pub const TRANSPORT_PARAMETER: u64 = 0x08;
/// Another rule was broken.
pub const PROTOCOL_VIOLATION: u64 = 0x0a;
/// Handshake bytes lie too far ahead.
pub const CRYPTO_BUFFER_EXCEEDED: u64 = 0x0d;
/// Too many packets were not authentic for the keys to be used any longer.
pub const AEAD_LIMIT: u64 = 0x0f;
/// No path to the peer is left.
pub const NO_VIABLE_PATH: u64 = 0x10;
/// The peer's identity was refused.
pub const IDENTITY: u64 = 0x101;
/// The peer speaks another version.
pub const VERSION: u64 = 0x102;
/// The peer speaks another mode.
pub const MODE: u64 = 0x103;
/// The application aborted the stream.
pub const ABORTED: u64 = 0x104;
/// The application went away without reading to the end.
pub const APPLICATION_GONE: u64 = 0x105;

/// A few words for people.
pub const fn name(code: u64) -> &'static str {
    match code {
        NO_ERROR => "no error",
        INTERNAL => "internal error",
        REFUSED => "busy",
        FLOW_CONTROL => "flow control error",
        FINAL_SIZE => "final size error",
        FRAME_ENCODING => "frame encoding error",
        TRANSPORT_PARAMETER => "transport parameter error",
        PROTOCOL_VIOLATION => "protocol violation",
        CRYPTO_BUFFER_EXCEEDED => "handshake buffer exceeded",
        AEAD_LIMIT => "too many forged packets",
        NO_VIABLE_PATH => "no viable path",
        IDENTITY => "identity refused",
        VERSION => "version mismatch",
        MODE => "mode mismatch",
        ABORTED => "aborted",
        APPLICATION_GONE => "application gone",
        _ => "unknown code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_of_its_own() {
        let codes = [
            NO_ERROR,
            INTERNAL,
            REFUSED,
            FLOW_CONTROL,
            FINAL_SIZE,
            FRAME_ENCODING,
            TRANSPORT_PARAMETER,
            PROTOCOL_VIOLATION,
            CRYPTO_BUFFER_EXCEEDED,
            AEAD_LIMIT,
            NO_VIABLE_PATH,
            IDENTITY,
            VERSION,
            MODE,
            ABORTED,
            APPLICATION_GONE,
        ];
        let mut words: Vec<_> = codes.map(name).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), codes.len());
        assert!(!words.contains(&name(0x999)));
    }

    #[test]
    fn the_document_lists_every_code_with_its_number() {
        let document = include_str!("../../docs/protocol.md");
        let rows = [
            (NO_ERROR, "NO_ERROR"),
            (INTERNAL, "INTERNAL"),
            (REFUSED, "REFUSED"),
            (FLOW_CONTROL, "FLOW_CONTROL"),
            (FINAL_SIZE, "FINAL_SIZE"),
            (FRAME_ENCODING, "FRAME_ENCODING"),
            (TRANSPORT_PARAMETER, "TRANSPORT_PARAMETER"),
            (PROTOCOL_VIOLATION, "PROTOCOL_VIOLATION"),
            (CRYPTO_BUFFER_EXCEEDED, "CRYPTO_BUFFER_EXCEEDED"),
            (NO_VIABLE_PATH, "NO_VIABLE_PATH"),
            (IDENTITY, "IDENTITY"),
            (VERSION, "VERSION"),
            (MODE, "MODE"),
            (ABORTED, "ABORTED"),
            (APPLICATION_GONE, "APPLICATION_GONE"),
        ];
        for (number, name) in rows {
            assert!(document.contains(&format!("| `{number:#04x}` | {name} |")), "{name}");
        }
    }
}
