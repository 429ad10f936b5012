//! Blocking rustls over the TCP of the system, tuned: by itself it reads 4 KiB at a time.

use super::tcp;
use crate::work::Task;
use crate::{Fallible, keys};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// As much as it takes of one write by itself. Four times as much made both sides slower, a quarter as well.
const READ_BYTES: usize = 64 << 10;

pub fn run(task: &Task) -> Fallible<()> {
    if task.is_server() {
        let config = Arc::new(keys::server_config(&task.keys)?);
        let stream = tcp::accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config)?, Buffered::new(stream));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        tcp::receive(&mut stream, task.work)
    } else {
        let config = Arc::new(keys::client_config(&task.keys)?);
        let stream = tcp::connect(task.server()?)?;
        let name = ServerName::try_from("peers").expect("a valid name");
        let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, Buffered::new(stream));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        tcp::send(&mut stream, task.work, |stream| {
            stream.conn.send_close_notify();
            stream.flush()?;
            stream.sock.0.get_ref().shutdown(Shutdown::Write)?;
            // It closes when it has read everything.
            match stream.sock.read(&mut [0]) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
                _ => Ok(()),
            }
        })
    }
}

/// Reads large pieces of the connection.
struct Buffered(BufReader<TcpStream>);

impl Buffered {
    fn new(stream: TcpStream) -> Self {
        Self(BufReader::with_capacity(READ_BYTES, stream))
    }
}

impl Read for Buffered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Buffered {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(buf)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
