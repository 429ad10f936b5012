//! quinn on bad links: each side one thread with a runtime of its own, datagrams of the size of ours.

use super::rows::Row;
use super::run::{DATAGRAM, Received, Session, Transport};
use super::{Fallible, keys};
use bytes::Bytes;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use securestream::filter::{Direction, Rule};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// Windows of streams and connections: at least so many bytes, and so much more than the link holds. With windows far beyond
/// that, its BBR runs away from its losses and the connection dies.
const WINDOW: u64 = 2_000_000;
const WINDOW_BDPS: f64 = 2.5;
const SOCKET_BUFFER: usize = 4 << 20;
const CHUNK: usize = 64 * 1024;

/// Both ends, which know each other's key.
pub struct Quinn {
    folder: TempDir,
}

impl Quinn {
    pub fn new() -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        keys::make(folder.path())?;
        Ok(Self { folder })
    }

    fn client(&self, controller: &str, window: u32) -> Fallible<ClientConfig> {
        let crypto = QuicClientConfig::try_from(keys::client_config(self.folder.path())?)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(settings(controller, window)?));
        Ok(config)
    }

    fn server(&self, window: u32) -> Fallible<ServerConfig> {
        let crypto = QuicServerConfig::try_from(keys::server_config(self.folder.path())?)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        // It only acknowledges.
        config.transport_config(Arc::new(settings("cubic", window)?));
        Ok(config)
    }
}

fn settings(controller: &str, window: u32) -> Fallible<TransportConfig> {
    let factory: Arc<dyn ControllerFactory + Send + Sync> = match controller {
        "bbr" => Arc::new(BbrConfig::default()),
        "cubic" => Arc::new(CubicConfig::default()),
        _ => return Err(format!("quinn has no {controller}").into()),
    };
    let mut settings = TransportConfig::default();
    settings
        .congestion_controller_factory(factory)
        .stream_receive_window(window.into())
        .receive_window(window.into())
        .send_window(u64::from(window))
        .initial_mtu(DATAGRAM as u16)
        .min_mtu(DATAGRAM as u16)
        .mtu_discovery_config(None)
        .max_idle_timeout(Some(Duration::from_secs(40).try_into()?));
    Ok(settings)
}

fn window(row: &Row) -> u32 {
    let link = &row.changes[0];
    let delay = |rule: &Rule| match rule {
        Rule::Delay { delay, .. } => *delay,
        _ => Duration::ZERO,
    };
    let both = [Direction::Upstream, Direction::Downstream].into_iter();
    let rtt: Duration = both.flat_map(|direction| link.rules.rules(direction)).map(delay).sum();
    let bdp = link.rate_mbit.unwrap_or(0.0) * 1e6 / 8.0 * rtt.as_secs_f64();
    WINDOW.max((WINDOW_BDPS * bdp) as u64) as u32
}

fn endpoint(server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Endpoint::new(EndpointConfig::default(), server, socket.into(), Arc::new(TokioRuntime))
}

/// A thread with a runtime, until `work` is done or the run is over.
fn spawn<F>(mut over: watch::Receiver<bool>, work: impl FnOnce() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = Fallible<()>>,
{
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let ended = async {
                let _ = over.wait_for(|over| *over).await;
            };
            tokio::select! {
                result = work() => if let Err(error) = result {
                    eprintln!("quinn: {error}");
                },
                () = ended => {}
            }
        });
    })
}

impl Transport for Quinn {
    fn open(&self, row: &Row) -> io::Result<Box<dyn Session>> {
        let window = window(row);
        let config = self.server(window).map_err(io::Error::other)?;
        let (over, is_over) = watch::channel(false);
        let (say_addr, addr) = sync_channel(1);
        let waiting: Arc<Mutex<Vec<Arc<Received>>>> = Arc::default();
        let next = Arc::clone(&waiting);
        let server = spawn(is_over.clone(), move || serve(config, say_addr, next));
        Ok(Box::new(Open {
            keys: self.client_configs(window)?,
            addr: hear(&addr)?,
            waiting,
            over,
            is_over,
            threads: vec![server],
        }))
    }
}

impl Quinn {
    fn client_configs(&self, window: u32) -> io::Result<Vec<(&'static str, ClientConfig)>> {
        super::CONTROLLERS
            .into_iter()
            .map(|name| Ok((name, self.client(name, window).map_err(io::Error::other)?)))
            .collect()
    }
}

fn hear<T>(from: &Receiver<T>) -> io::Result<T> {
    from.recv_timeout(Duration::from_secs(60))
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "quinn did not come so far"))
}

struct Open {
    keys: Vec<(&'static str, ClientConfig)>,
    addr: SocketAddr,
    /// The counters of the flows that come next.
    waiting: Arc<Mutex<Vec<Arc<Received>>>>,
    over: watch::Sender<bool>,
    is_over: watch::Receiver<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Session for Open {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn begin(&mut self, proxy: SocketAddr, controller: &str, goal: Option<u64>) -> io::Result<Arc<Received>> {
        let config = self.keys.iter().find(|(name, _)| *name == controller);
        let (_, config) = config.ok_or_else(|| io::Error::other("no such controller"))?;
        let (config, received) = (config.clone(), Received::new(goal));
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Arc::clone(&received));
        drop(waiting);
        let (say_connected, connected) = sync_channel(1);
        let client = spawn(self.is_over.clone(), move || ask(config, proxy, goal, say_connected));
        self.threads.push(client);
        hear(&connected)?;
        Ok(received)
    }

    fn end(self: Box<Self>) {
        let _ = self.over.send(true);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

async fn serve(
    config: ServerConfig,
    say_addr: SyncSender<SocketAddr>,
    waiting: Arc<Mutex<Vec<Arc<Received>>>>,
) -> Fallible<()> {
    let endpoint = endpoint(Some(config))?;
    say_addr.send(endpoint.local_addr()?)?;
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        // One at a time: the next connects when the last has.
        let received = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let received = received.ok_or("nobody was expected")?;
        tokio::spawn(async move {
            let mut stream = connection.accept_uni().await?;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                received.add(chunk.bytes.len());
            }
            connection.closed().await;
            Fallible::Ok(())
        });
    }
    Ok(())
}

async fn ask(
    config: ClientConfig,
    server: SocketAddr,
    goal: Option<u64>,
    say_connected: SyncSender<()>,
) -> Fallible<()> {
    let endpoint = endpoint(None)?;
    let connection = endpoint.connect_with(config, server, "peers")?.await?;
    let mut stream = connection.open_uni().await?;
    say_connected.send(())?;
    let chunk = Bytes::from(vec![0x5a; CHUNK]);
    let mut left = goal.unwrap_or(u64::MAX);
    while left > 0 {
        let n = left.min(CHUNK as u64);
        stream.write_chunk(chunk.slice(..n as usize)).await?;
        left -= n;
    }
    stream.finish()?;
    connection.closed().await;
    Ok(())
}
