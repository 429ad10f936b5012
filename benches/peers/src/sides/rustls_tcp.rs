//! Blocking rustls over the TCP of the system.

use super::{any_port, say_listening, tcp};
use crate::work::Task;
use crate::{Fallible, keys};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

pub fn run(task: &Task) -> Fallible<()> {
    if task.is_server() {
        let config = Arc::new(keys::server_config(&task.keys)?);
        let listener = TcpListener::bind(any_port())?;
        say_listening(listener.local_addr()?)?;
        let (stream, _) = listener.accept()?;
        tcp::prepare(&stream)?;
        let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        tcp::receive(&mut stream, task.work)
    } else {
        let config = Arc::new(keys::client_config(&task.keys)?);
        let stream = TcpStream::connect(task.server()?)?;
        tcp::prepare(&stream)?;
        let name = ServerName::try_from("peers").expect("a valid name");
        let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        tcp::send(&mut stream, task.work, |stream| {
            stream.conn.send_close_notify();
            stream.flush()?;
            stream.sock.shutdown(Shutdown::Write)?;
            // It closes when it has read everything.
            match stream.sock.read(&mut [0]) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
                _ => Ok(()),
            }
        })
    }
}
