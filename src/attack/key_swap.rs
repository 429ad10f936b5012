//! The oldest attack of all: two streams back to back. To the client the attacker is the server, to the server it is the
//! client, and each of them is encrypted perfectly. Only who knows the right key beforehand notices.
//!
//! ```text
//!   client ==(stream with a key of ours)==> [clear text] ==(stream with a key of ours)==> server
//! ```
//!
//! THREAD `key-swap` accepts; each victim has two threads, one for each direction.

use crate::identity::{KeyError, PrivateKey};
use crate::trust::{Trust, Unauthenticated};
use crate::{Carrier, CloseHandle, Listener, Security, Stream, StreamBuilder};
use parking_lot::Mutex;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const KEY_BITS: usize = 2048;
const CHUNK_BYTES: usize = 64 << 10;
/// What is kept of the text that was read.
const LOOT_BYTES: usize = 1 << 20;
/// For each side to hear of the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// See the module. It ends when it is dropped; streams under way are aborted.
pub struct KeySwap {
    local: SocketAddr,
    close: CloseHandle,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    loot: Mutex<Vec<u8>>,
    log: Mutex<Vec<String>>,
    streams: Mutex<Vec<Stream>>,
}

impl KeySwap {
    /// Listens for clients on their way to `target`.
    ///
    /// # Errors
    /// The address is in use, or the system gives no threads.
    pub fn start(listen: impl ToSocketAddrs, target: impl ToSocketAddrs, carrier: Carrier) -> io::Result<Self> {
        let key = PrivateKey::generate(KEY_BITS).map_err(|error: KeyError| io::Error::other(error))?;
        let builder =
            StreamBuilder::new(Security::secure(key, Trust::Unauthenticated(Unauthenticated))).carrier(carrier);
        let target: Vec<_> = target.to_socket_addrs()?.collect();
        let listen: Vec<_> = listen.to_socket_addrs()?.collect();
        let listener = builder.bind(&listen[..])?;
        let shared = Arc::new(Shared::default());
        let (local, close) = (listener.local_addr()?, listener.close_handle());
        let thread = Builder::new().name("key-swap".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&listener, &builder, &target, &shared)
        })?;
        Ok(Self {
            local,
            close,
            shared,
            thread: Some(thread),
        })
    }

    /// Where clients come.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What was read so far, both directions mixed; the first MiB of it.
    pub fn loot(&self) -> Vec<u8> {
        self.shared.loot.lock().clone()
    }

    /// What happened since the last call, in sentences.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock())
    }
}

impl Drop for KeySwap {
    fn drop(&mut self) {
        self.close.close();
        self.shared.streams.lock().drain(..).for_each(|stream| stream.abort());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn run(listener: &Listener, builder: &StreamBuilder, target: &[SocketAddr], shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    while let Ok((client, peer)) = listener.accept() {
        let peer = peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        let server = match builder.connect(target) {
            Ok(server) => server,
            Err(error) => {
                shared
                    .log
                    .lock()
                    .push(format!("{peer}: the target was not fooled: {error}"));
                client.abort();
                continue;
            }
        };
        shared
            .log
            .lock()
            .push(format!("{peer} was fooled, and so was the target"));
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        for (from, to) in [(client_too, server_too), (server, client)] {
            shared.streams.lock().extend(from.try_clone());
            let shared = Arc::clone(shared);
            let pump = Builder::new()
                .name("key-swap-pump".to_owned())
                .spawn(move || pump(from, to, &shared));
            pumps.extend(pump);
        }
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

/// From one side to the other, reading along.
fn pump(mut from: Stream, mut to: Stream, shared: &Shared) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => {
                // The other side is told of the end, and this one of what became of it.
                let _ = to.finish(FAREWELL);
                return;
            }
            Ok(read) => {
                let mut loot = shared.loot.lock();
                let room = LOOT_BYTES.saturating_sub(loot.len());
                loot.extend_from_slice(&chunk[..read.min(room)]);
                drop(loot);
                if to.write_all(&chunk[..read]).is_err() {
                    from.abort();
                    return;
                }
            }
            Err(error) => {
                shared.log.lock().push(format!("a victim has gone: {error}"));
                to.abort();
                return;
            }
        }
    }
}
