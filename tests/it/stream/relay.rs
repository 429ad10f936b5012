//! A middle box in front of a listener: a NAT that may forget, a wire that may be tapped.
//!
//! Each client has a port of its own towards the listener, and what comes back there goes to the client.

use super::*;
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How long a thread of the relay waits before it looks around.
const LOOK: Duration = Duration::from_millis(20);

struct State {
    target: SocketAddr,
    /// Port towards the listener of each client.
    backs: HashMap<SocketAddr, Arc<UdpSocket>>,
    /// Clients of whom nothing is forwarded any more.
    forgotten: HashSet<SocketAddr>,
    /// Copies of what clients send go out from here, first.
    tap: Option<UdpSocket>,
    /// The newest packet from the listener.
    last_down: Vec<u8>,
}

/// See the module. Ends when it is dropped.
pub(super) struct Relay {
    pub(super) addr: SocketAddr,
    front: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
}

impl Relay {
    pub(super) fn to(target: SocketAddr) -> Self {
        let front = Arc::new(socket());
        let relay = Self {
            addr: front.local_addr().expect("bound"),
            front,
            state: Arc::new(Mutex::new(State {
                target,
                backs: HashMap::new(),
                forgotten: HashSet::new(),
                tap: None,
                last_down: Vec::new(),
            })),
            over: Arc::default(),
        };
        let (front, state, over) = relay.parts();
        thread::spawn(move || forward(&front, &state, &over));
        relay
    }

    fn parts(&self) -> (Arc<UdpSocket>, Arc<Mutex<State>>, Arc<AtomicBool>) {
        (Arc::clone(&self.front), Arc::clone(&self.state), Arc::clone(&self.over))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the relay panics")
    }

    /// Packets of all clients come from new ports from now on. What is sent to the old ones is lost.
    pub(super) fn change_ports(&self) {
        self.state().backs.clear();
    }

    /// Nothing of the clients so far is forwarded any more, in either direction.
    pub(super) fn forget_clients(&self) {
        let mut state = self.state();
        let clients: Vec<_> = state.backs.drain().map(|(client, _)| client).collect();
        state.forgotten.extend(clients);
    }

    /// Everything goes to another listener from now on, from the same ports.
    pub(super) fn retarget(&self, target: SocketAddr) {
        self.state().target = target;
    }

    /// Copies of what clients send go out from `socket`, ahead of the packets themselves.
    pub(super) fn tap(&self, socket: UdpSocket) {
        self.state().tap = Some(socket);
    }

    /// Sends `datagram` to all clients, as if from the listener.
    pub(super) fn inject(&self, datagram: &[u8]) {
        for client in self.state().backs.keys() {
            self.front.send_to(datagram, client).expect("loopback");
        }
    }

    pub(super) fn last_down(&self) -> Vec<u8> {
        self.state().last_down.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

pub(super) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(LOOK)).expect("a time-out");
    socket
}

fn forward(front: &Arc<UdpSocket>, state: &Arc<Mutex<State>>, over: &Arc<AtomicBool>) {
    let mut buffer = vec![0; 65536];
    while !over.load(Ordering::Relaxed) {
        let Ok((bytes, client)) = front.recv_from(&mut buffer) else {
            continue;
        };
        let mut held = state.lock().expect("no thread of the relay panics");
        if held.forgotten.contains(&client) {
            continue;
        }
        let back = Arc::clone(held.backs.entry(client).or_insert_with(|| {
            let back = Arc::new(socket());
            let (front, state, over, back_too) = (
                Arc::clone(front),
                Arc::clone(state),
                Arc::clone(over),
                Arc::clone(&back),
            );
            thread::spawn(move || backward(&front, &state, &over, &back_too, client));
            back
        }));
        if let Some(tap) = &held.tap {
            let _ = tap.send_to(&buffer[..bytes], held.target);
        }
        let _ = back.send_to(&buffer[..bytes], held.target);
    }
}

fn backward(front: &UdpSocket, state: &Mutex<State>, over: &AtomicBool, back: &Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65536];
    while !over.load(Ordering::Relaxed) {
        let received = back.recv(&mut buffer);
        let mut state = state.lock().expect("no thread of the relay panics");
        if !state.backs.get(&client).is_some_and(|now| Arc::ptr_eq(now, back)) {
            return;
        }
        if let Ok(bytes) = received {
            buffer[..bytes].clone_into(&mut state.last_down);
            let _ = front.send_to(&buffer[..bytes], client);
        }
    }
}
