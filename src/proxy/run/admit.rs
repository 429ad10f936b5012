//! How clients come: each gets a flow, links, and a socket of its own towards the target.

use super::super::flow::{Flow, Way};
use super::super::hub::{Command, Notice, join};
use super::super::port::{Ends, Outlet, Side, Source};
use super::{Outlets, Runner, STACK_BYTES, now};
use crate::filter::Direction;
use crate::subsystem::PathId;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long nobody is accepted after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Runner {
    /// Lets TCP clients in.
    pub(super) fn accept(&mut self) {
        if !std::mem::take(&mut self.listener_ready) {
            return;
        }
        loop {
            let accepted = match &self.listener {
                Some(listener) => listener.accept(),
                None => return,
            };
            match accepted {
                Ok((stream, client)) => self.welcome(stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    self.hub.notice(Notice::Trouble {
                        why: format!("cannot accept a client: {error}"),
                    });
                    self.accept_after = Some(now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, client: SocketAddr) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let Some(flow) = self.hub.open(client, PathId::ONLY, now() - self.hub.start) else {
            return;
        };
        let ends = match Ends::tcp(stream) {
            Ok(ends) => ends,
            Err(error) => {
                self.hub.close(&flow, &format!("cannot be served ({error})"));
                return;
            }
        };
        // The thread downstream has the outlet before the first packet can come.
        let outlet = Command::Outlet(flow.id, ends.tx, ends.line.clone());
        self.hub.door(Direction::Downstream).ask(outlet);
        let way = self.reach_target(&flow);
        // It is gone again where the target could not be reached.
        if self.hub.flows.lock().contains_key(&flow.id) {
            self.sources.push(Source::new(Some(way), ends.rx, ends.line));
        }
    }

    /// Connects a new client with the target: at once over UDP, by a thread of its own over TCP.
    fn reach_target(&mut self, flow: &Arc<Flow>) -> Arc<Way> {
        if let Outlets::Own(outlets) = &mut self.outlets {
            outlets.insert(flow.id, Outlet::connecting(self.hub.front));
        }
        let (hub, flow_too) = (Arc::clone(&self.hub), Arc::clone(flow));
        let dial = move || match Ends::dial(hub.back, &hub.target) {
            Ok(ends) => join(&hub, &flow_too, ends, false),
            Err(error) => {
                hub.notice(Notice::NoTarget {
                    client: flow_too.client,
                    why: error.to_string(),
                });
                hub.close(&flow_too, "the target cannot be reached");
            }
        };
        match self.hub.back {
            Side::Udp => {
                dial();
                // The outlet waits in our own inbox: the first packet shall find it.
                self.obey();
            }
            Side::Tcp => {
                let thread = Builder::new().name("proxy-dial".to_owned()).stack_size(STACK_BYTES);
                if let Err(error) = thread.spawn(dial) {
                    self.hub
                        .close(flow, &format!("no thread to reach the target ({error})"));
                }
            }
        }
        Way::of(flow)
    }

    /// The flow of a UDP client, new ones included.
    pub(super) fn client_of(&mut self, path: PathId, came: Instant) -> Option<Arc<Way>> {
        let client = path.remote()?;
        if let Some(way) = self.clients.get(&client) {
            return Some(Arc::clone(way));
        }
        let flow = self.hub.open(client, path, came - self.hub.start)?;
        let way = self.reach_target(&flow);
        // A target that cannot be reached has ended the flow already.
        if self.hub.flows.lock().contains_key(&flow.id) {
            self.clients.insert(client, Arc::clone(&way));
        }
        Some(way)
    }
}
