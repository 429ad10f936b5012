//! What the asynchronous ones share.

use crate::Fallible;
use std::future::Future;

/// Size of the socket buffers that are asked for, as ours asks.
pub const SOCKET_BUFFER: usize = 4 << 20;
/// Windows of streams and connections: larger ones were slower on loopback.
pub const WINDOW: u32 = 2_000_000;
/// Payload of a datagram.
pub const DATAGRAM: u16 = 1452;

/// One thread each side: with two processors a second one only takes time from the other process.
pub fn block_on<T>(work: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
