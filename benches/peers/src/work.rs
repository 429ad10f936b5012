//! What two sides do with each other, and what a side tells about it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What an application hands over at a time.
pub const CHUNK: usize = 256 * 1024;
/// Bytes of a question, and of its answer.
pub const PING_BYTES: usize = 64;

/// The application. The client begins, and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// One stream, so many bytes.
    Bulk { bytes: u64 },
    /// So many questions, one after the other.
    Ping { count: u32 },
    /// Handshake, one byte, close: for so long, by so many clients at a time.
    Handshakes { millis: u64, at_a_time: u32 },
    /// So many streams on one listener, silent for so long.
    Idle { streams: u32, millis: u64 },
    /// So many streams; when all are connected, each sends so many bytes.
    Fanout { streams: u32, bytes: u64 },
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// Ours on UDP, packets of 1,452 bytes.
    OursUdp1452,
    /// Ours on UDP, as it comes.
    OursUdp,
    /// Ours on TCP.
    OursTcp,
    /// The same three; applications give bytes away and take them where they are, as those of quinn do.
    OwnedUdp1452,
    OwnedUdp,
    OwnedTcp,
    Quinn,
    S2n,
    Kcp,
    RustlsTcp,
    PlainTcp,
    /// Blocking datagrams without any protocol.
    RawUdp,
}

impl Transport {
    /// Ours, without copies of the application.
    pub fn is_owned(self) -> bool {
        matches!(self, Self::OwnedUdp1452 | Self::OwnedUdp | Self::OwnedTcp)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Server,
    Client,
}

/// What the parent tells a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub role: Role,
    pub transport: Transport,
    pub work: Work,
    /// Folder with the keys of both.
    pub keys: PathBuf,
    /// Where the server is; for clients.
    pub addr: Option<std::net::SocketAddr>,
}

/// What a child tells at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// From the first moment of the work to its last.
    pub wall_secs: f64,
    /// Processor time of the whole process in that time.
    pub cpu_secs: f64,
    /// Largest resident set of the process in its life.
    pub peak_bytes: u64,
    /// Resident set at the end of the work.
    pub resident_bytes: u64,
    /// Payload.
    pub bytes: u64,
    /// Questions answered, or handshakes completed, or streams that were whole.
    pub count: u64,
    /// Of a ping.
    pub p50_secs: f64,
    pub p99_secs: f64,
}
