//! Our own streams, in secure mode, with the settings that everybody gets.

use super::rows::Row;
use super::run::{DATAGRAM, Received, Session, Transport};
use securestream::identity::PrivateKey;
use securestream::trust::{Pinned, Trust};
use securestream::{Listener, Security, Stream, StreamBuilder};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK: usize = 64 * 1024;

/// Both ends, which know each other's key.
pub(crate) struct Ours {
    client: StreamBuilder,
    server: StreamBuilder,
}

impl Ours {
    /// With keys of the size that `stream-rsagen` makes.
    pub(crate) fn new() -> Self {
        let [one, other] = [(); 2].map(|()| PrivateKey::generate(3072).expect("there is randomness"));
        let trust = |key: &PrivateKey| Trust::Pinned(Pinned::new(key.public().clone()));
        let (trust_one, trust_other) = (trust(&one), trust(&other));
        let [client, server] =
            [Security::secure(one, trust_other), Security::secure(other, trust_one)].map(|security| {
                let end = StreamBuilder::new(security).udp().max_datagram(DATAGRAM);
                // A farewell may be lost on such a link: nobody waits for one.
                end.linger(Some(Duration::ZERO))
            });
        Self { client, server }
    }
}

impl Transport for Ours {
    fn open(&self, _: &Row) -> io::Result<Box<dyn Session>> {
        Ok(Box::new(Open {
            client: self.client.clone(),
            listener: self.server.clone().bind("127.0.0.1:0")?,
            streams: Vec::new(),
            over: Arc::default(),
            threads: Vec::new(),
        }))
    }
}

struct Open {
    client: StreamBuilder,
    listener: Listener,
    streams: Vec<Stream>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Session for Open {
    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    fn begin(&mut self, proxy: SocketAddr, controller: &str, goal: Option<u64>) -> io::Result<Arc<Received>> {
        let connected = self.client.clone().congestion(controller)?.connect(proxy)?;
        let (accepted, _) = self.listener.accept()?;
        let received = Received::new(goal);
        self.streams.extend([connected.try_clone()?, accepted.try_clone()?]);
        let (over, counter) = (Arc::clone(&self.over), Arc::clone(&received));
        self.threads.push(thread::spawn(move || read(accepted, &counter)));
        self.threads.push(thread::spawn(move || write(connected, goal, &over)));
        Ok(received)
    }

    fn end(self: Box<Self>) {
        self.over.store(true, Ordering::Relaxed);
        for stream in &self.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop((self.streams, self.listener));
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn read(mut stream: Stream, received: &Received) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n) = stream.read(&mut buffer)
        && n > 0
    {
        received.add(n);
    }
}

fn write(mut stream: Stream, goal: Option<u64>, over: &AtomicBool) {
    let chunk = vec![0x5a; CHUNK];
    let mut left = goal.unwrap_or(u64::MAX);
    while left > 0 && !over.load(Ordering::Relaxed) {
        let n = left.min(CHUNK as u64);
        if stream.write_all(&chunk[..n as usize]).is_err() {
            return;
        }
        left -= n;
    }
    // What was written has to arrive: the stream stays.
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
}
