//! THREAD `http-gate`: the only one that talks to clients. It waits for all of them at once and never for one.

use super::connection::{Connection, Next};
use super::door::Doors;
use crate::control::clock;
use crate::control::message::Response;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Clients accepted before the others have their turn.
const TURN: usize = 32;
/// How long nobody is accepted after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the kernel keeps for a client that does not read. A larger one would hide for long that a client stalls.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// How the gate does.
#[derive(Debug, Default)]
pub(in crate::control) struct Counts {
    /// Connections now.
    pub(in crate::control) connections: AtomicUsize,
    /// Connections that had to make room, or found none.
    pub(in crate::control) turned_away: AtomicU64,
}

/// The running gate. It closes when it is dropped.
#[derive(Debug)]
pub(in crate::control) struct Gate {
    bell: UnixStream,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    pub(in crate::control) fn open(listener: TcpListener, doors: Arc<Doors>, counts: Arc<Counts>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (hear, bell) = UnixStream::pair()?;
        hear.set_nonblocking(true)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            listener,
            hear,
            doors,
            counts,
            connections: Vec::new(),
            accept_after: None,
        };
        let thread = Builder::new().name("http-gate".to_owned()).spawn({
            let is_over = Arc::clone(&is_over);
            move || run(keeper, &is_over)
        })?;
        Ok(Self {
            bell,
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // A full socket rings as well.
        let _ = self.bell.write(&[1]);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

struct Keeper {
    listener: TcpListener,
    hear: UnixStream,
    doors: Arc<Doors>,
    counts: Arc<Counts>,
    connections: Vec<Connection>,
    accept_after: Option<Instant>,
}

/// What a connection is ready for.
struct Ready {
    client: PollFlags,
    door: PollFlags,
}

fn run(mut keeper: Keeper, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let (may_accept, ready) = keeper.wait();
        let now = clock::now();
        keeper.serve(&ready, now);
        keeper.expire(now);
        if may_accept {
            keeper.accept(now);
        }
        let connections = keeper.connections.len();
        keeper.counts.connections.store(connections, Ordering::Relaxed);
    }
}

impl Keeper {
    /// Waits for the next thing: whether somebody wants to come in, and what each connection is ready for.
    fn wait(&mut self) -> (bool, Vec<Ready>) {
        let now = clock::now();
        let listens = self.accept_after.is_none_or(|at| at <= now);
        if listens {
            self.accept_after = None;
        }
        let mut fds = vec![PollFd::new(&self.hear, PollFlags::IN)];
        if listens {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let own = fds.len();
        for connection in &self.connections {
            let (client, door) = connection.interest();
            fds.push(PollFd::new(&connection.client, client));
            // A closed door is ready whatever is asked, so one that nothing is wanted of is not asked.
            if let Some(stream) = connection.door.as_ref().filter(|_| !door.is_empty()) {
                fds.push(PollFd::new(stream, door));
            }
        }
        let deadlines = self.connections.iter().filter_map(Connection::deadline);
        let until = deadlines.chain(self.accept_after).min();
        let left = until.map(|until| until.saturating_duration_since(now));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        if poll(&mut fds, left.as_ref()).is_err() {
            // Interrupted; everything is looked at again.
            return (false, Vec::new());
        }
        if !fds[0].revents().is_empty() {
            let _ = (&self.hear).read(&mut [0; 64]);
        }
        let may_accept = listens && !fds[1].revents().is_empty();
        let mut events = fds[own..].iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let ready = self.connections.iter().map(|connection| Ready {
            client: next(),
            door: if connection.door.is_some() && !connection.interest().1.is_empty() {
                next()
            } else {
                PollFlags::empty()
            },
        });
        (may_accept, ready.collect())
    }

    fn serve(&mut self, ready: &[Ready], now: Instant) {
        let mut ready = ready.iter();
        let doors = Arc::clone(&self.doors);
        self.connections.retain_mut(|connection| {
            let Some(ready) = ready.next() else { return true };
            serve_one(connection, ready, &doors, now)
        });
    }

    fn expire(&mut self, now: Instant) {
        self.connections.retain_mut(|connection| {
            let is_late = connection.deadline().is_some_and(|deadline| deadline <= now);
            !is_late || connection.expire(now) != Next::Drop
        });
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..TURN {
            match self.listener.accept() {
                Ok((client, from)) => self.welcome(client, from, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // One that has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::warn!("nobody can be accepted for now: {error}");
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, client: TcpStream, from: SocketAddr, now: Instant) {
        if client.set_nonblocking(true).is_err() {
            return;
        }
        // Small answers are waited for; and it is no harm if one of these fails.
        let _ = client.set_nodelay(true);
        let _ = socket2::SockRef::from(&client).set_send_buffer_size(SEND_BUFFER_BYTES);
        let mut connection = Connection::new(client, now);
        if self.connections.len() >= MAX_CONNECTIONS {
            self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
            // Whoever has been slowest makes room.
            let all = || self.connections.iter().enumerate();
            let idle = all().filter(|(_, other)| other.may_go());
            let idle = idle.min_by_key(|(_, other)| other.opened);
            // Else whoever keeps what it gets waiting for longest.
            let slow = all().filter_map(|(index, other)| Some((index, other.slow_since(now)?)));
            let slow = slow.min_by_key(|(_, since)| *since);
            if let Some(index) = idle.map(|(index, _)| index).or(slow.map(|(index, _)| index)) {
                self.connections.remove(index);
            } else {
                log::info!("{from} finds {MAX_CONNECTIONS} connections and no room");
                let response = Response::error(503, format!("{MAX_CONNECTIONS} connections are open already"));
                let _ = connection.answer(&response, now);
                return;
            }
        }
        // Most requests are there already.
        let ready = Ready {
            client: PollFlags::IN,
            door: PollFlags::empty(),
        };
        if serve_one(&mut connection, &ready, &self.doors, now) {
            self.connections.push(connection);
        }
    }
}

/// Whether the connection stays.
fn serve_one(connection: &mut Connection, ready: &Ready, doors: &Doors, now: Instant) -> bool {
    let broken = PollFlags::ERR | PollFlags::NVAL;
    if ready.client.intersects(broken) {
        return false;
    }
    let mut next = Next::Stay;
    if ready.client.intersects(PollFlags::IN | PollFlags::HUP) {
        next = connection.read_client(now);
    }
    if next == Next::Stay && ready.door.contains(PollFlags::OUT) {
        next = connection.write_door();
    }
    if next == Next::Stay && ready.client.contains(PollFlags::OUT) {
        next = connection.push_client(now);
    }
    if next == Next::Stay && ready.door.intersects(PollFlags::IN | PollFlags::HUP | broken) {
        next = connection.read_door(now);
    }
    if next == Next::Connect {
        next = match doors.connect() {
            Ok(door) => connection.connect(door, now),
            Err(error) => {
                log::warn!("a request finds no door: {error}");
                let response = Response::error(503, "the controller is not ready; ask again");
                connection.answer(&response, now)
            }
        };
    }
    next != Next::Drop
}
