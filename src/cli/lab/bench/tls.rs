//! TLS on TCP, by rustls alone: with the keys, the cipher and the checks of our secure mode.

use crate::crypto::tls::SecureMode;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::DerefMut;
use std::sync::Arc;

/// By itself rustls reads 4 KiB at a time. It takes as much as this of one write; more made both sides slower.
const BUFFER_BYTES: usize = 64 << 10;
/// Raw keys have no names.
const NOBODY: &str = "peer.invalid";

/// Both sides.
#[derive(Clone)]
pub(super) struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    pub(super) fn new(client: &SecureMode, server: &SecureMode) -> Self {
        Self {
            client: client.configs().0,
            server: server.configs().1,
        }
    }

    /// The client's handshake on a connection.
    pub(super) fn client(&self, stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, Buffered>> {
        let name = ServerName::try_from(NOBODY).expect("the constant is a name");
        let connection = ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        begin(StreamOwned::new(connection, Buffered::new(stream)?))
    }

    /// The server's.
    pub(super) fn server(&self, stream: TcpStream) -> io::Result<StreamOwned<ServerConnection, Buffered>> {
        let connection = ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        begin(StreamOwned::new(connection, Buffered::new(stream)?))
    }
}

fn begin<C, D>(mut stream: StreamOwned<C, Buffered>) -> io::Result<StreamOwned<C, Buffered>>
where
    C: DerefMut<Target = ConnectionCommon<D>>,
    D: rustls::SideData,
{
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Says that this was all.
pub(super) fn end(stream: &mut StreamOwned<ClientConnection, Buffered>) -> io::Result<()> {
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.0.get_ref().shutdown(Shutdown::Write)
}

/// A connection that is read in large pieces.
pub(super) struct Buffered(BufReader<TcpStream>);

impl Buffered {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(BUFFER_BYTES, stream)))
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
