//! The carriers: one transfer each, from a thread of its own to the caller.

use super::super::super::exit::Failure;
use super::tls::{self, Tls};
use crate::crypto::identity::PrivateKey;
use crate::crypto::tls::{SecureMode, SecureOptions, Suite};
use crate::crypto::trust::{Pinned, Trust};
use crate::stream::{Carrier as Packets, Security, StreamBuilder};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

/// What an application hands over at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// How long the last bytes may take.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY_BITS: usize = 2048;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Ours.
    Stream { packets: Packets, secure: bool },
    /// That of the system.
    Tcp { secure: bool },
}

/// All of them, in the order of the table.
pub(super) const CARRIERS: [Carrier; 6] = [
    Carrier::Stream {
        packets: Packets::Udp,
        secure: true,
    },
    Carrier::Stream {
        packets: Packets::Tcp,
        secure: true,
    },
    Carrier::Tcp { secure: true },
    Carrier::Stream {
        packets: Packets::Udp,
        secure: false,
    },
    Carrier::Stream {
        packets: Packets::Tcp,
        secure: false,
    },
    Carrier::Tcp { secure: false },
];

/// Who the two sides are, in each way of protecting what they send.
pub(super) struct Ends {
    plain: [StreamBuilder; 2],
    secure: [StreamBuilder; 2],
    tls: Tls,
}

impl Ends {
    /// Makes keys.
    pub(super) fn new() -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| Failure::runtime(format!("cannot make keys: {error}"));
        let make = || PrivateKey::ephemeral(KEY_BITS).map_err(|error| unusable(&error));
        let (one, other) = (make()?, make()?);
        let options = SecureOptions {
            suites: vec![Suite::Aes128Gcm],
            ..SecureOptions::default()
        };
        let pinned = |key: &PrivateKey| Pinned::new(key.public().clone());
        let security = |own: &PrivateKey, peer: &PrivateKey| {
            Security::secure_with(own.clone(), Trust::Pinned(pinned(peer)), &options).map_err(|error| unusable(&error))
        };
        let mode = |own: &PrivateKey, peer: &PrivateKey| {
            SecureMode::new(own.clone(), Arc::new(pinned(peer)), &options).map_err(|error| unusable(&error))
        };
        Ok(Self {
            plain: [(); 2].map(|()| StreamBuilder::new(Security::plain())),
            secure: [
                StreamBuilder::new(security(&one, &other)?),
                StreamBuilder::new(security(&other, &one)?),
            ],
            tls: Tls::new(&mode(&one, &other)?, &mode(&other, &one)?),
        })
    }
}

impl Carrier {
    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream {
                packets: Packets::Udp,
                secure: true,
            } => "stream on UDP, secure",
            Self::Stream {
                packets: Packets::Tcp,
                secure: true,
            } => "stream on TCP, secure",
            Self::Stream {
                packets: Packets::Udp,
                secure: false,
            } => "stream on UDP, plain",
            Self::Stream {
                packets: Packets::Tcp,
                secure: false,
            } => "stream on TCP, plain",
            Self::Tcp { secure: true } => "rustls on TCP",
            Self::Tcp { secure: false } => "TCP alone",
        }
    }

    pub(super) fn packets(self) -> Packets {
        match self {
            Self::Stream { packets, .. } => packets,
            Self::Tcp { .. } => Packets::Tcp,
        }
    }

    pub(super) fn is_secure(self) -> bool {
        match self {
            Self::Stream { secure, .. } | Self::Tcp { secure } => secure,
        }
    }

    /// Sends so many bytes, and returns how long it took until all had arrived.
    pub(super) fn transfer(self, ends: &Ends, bytes: u64) -> io::Result<Duration> {
        match self {
            Self::Stream { packets, secure } => {
                let ends = if secure { &ends.secure } else { &ends.plain };
                let [client, server] = ends.clone().map(|end| end.carrier(packets));
                let listener = server.bind((Ipv4Addr::LOCALHOST, 0))?;
                let addr = listener.local_addr()?;
                let client = move || {
                    let mut stream = client.connect(addr)?;
                    write(&mut stream, bytes)?;
                    stream.finish(PATIENCE).map(|_| ())
                };
                both(client, || read(listener.accept_timeout(PATIENCE)?.0, bytes))
            }
            Self::Tcp { secure } => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let addr = listener.local_addr()?;
                let (client_tls, server_tls) = (ends.tls.clone(), ends.tls.clone());
                let client = move || {
                    let mut stream = TcpStream::connect(addr)?;
                    if secure {
                        let mut stream = client_tls.client(stream)?;
                        write(&mut stream, bytes)?;
                        return tls::end(&mut stream);
                    }
                    write(&mut stream, bytes)?;
                    stream.shutdown(Shutdown::Write)
                };
                both(client, move || {
                    let (stream, _) = listener.accept()?;
                    if secure {
                        read(server_tls.server(stream)?, bytes)
                    } else {
                        read(stream, bytes)
                    }
                })
            }
        }
    }
}

/// Runs `client` in a thread and `server` here.
fn both(
    client: impl FnOnce() -> io::Result<()> + Send + 'static,
    server: impl FnOnce() -> io::Result<Duration>,
) -> io::Result<Duration> {
    let client = Builder::new().name("bench-sender".to_owned()).spawn(client)?;
    let received = server();
    let sent = join(client);
    // A sender that failed is why the receiver failed.
    sent.and(received)
}

fn join(thread: thread::JoinHandle<io::Result<()>>) -> io::Result<()> {
    let panicked = |_| Err(io::Error::other("the sender's thread failed"));
    thread.join().unwrap_or_else(panicked)
}

fn write(stream: &mut impl Write, bytes: u64) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(CHUNK_BYTES as u64) as usize;
        stream.write_all(&chunk[..some])?;
        left -= some as u64;
    }
    stream.flush()
}

fn read(mut stream: impl Read, bytes: u64) -> io::Result<Duration> {
    let start = now();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut read = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            some => read += some as u64,
        }
    }
    if read == bytes {
        Ok(now() - start)
    } else {
        Err(io::Error::other(format!("{read} of {bytes} bytes arrived")))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time that a transfer takes is what is measured"
)]
fn now() -> Instant {
    Instant::now()
}
