//! Blocking datagrams without any protocol: what the kernel alone takes for question and answer.

use super::{any_port, ping, say_listening, say_report};
use crate::Fallible;
use crate::work::{PING_BYTES, Task, Work};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

/// A connected socket as a stream of equal messages.
struct Messages(UdpSocket);

impl Read for Messages {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf)
    }
}

impl Write for Messages {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn run(task: &Task) -> Fallible<()> {
    let Work::Ping { count } = task.work else {
        return task.unknown();
    };
    let socket = UdpSocket::bind(any_port())?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    if task.is_server() {
        say_listening(socket.local_addr()?)?;
        let (_, peer) = socket.peek_from(&mut [0; PING_BYTES])?;
        socket.connect(peer)?;
        say_report(&ping::answer(&mut Messages(socket), count)?)
    } else {
        socket.connect(task.server()?)?;
        say_report(&ping::ask(&mut Messages(socket), count)?)
    }
}
