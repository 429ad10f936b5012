//! KCP over tokio: no encryption, no congestion control, the fastest of its settings.

use super::quic::{SOCKET_BUFFER, block_on};
use super::{any_port, bulk_bytes, check_whole, say_listening, say_report};
use crate::Fallible;
use crate::meter::Meter;
use crate::work::{Report, Task};
use socket2::{Domain, Protocol, Socket, Type};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio_kcp::{KcpConfig, KcpListener, KcpNoDelayConfig, KcpStream};

/// Segments under way in each direction.
const WINDOW_SEGMENTS: u16 = 1024;
/// What an application hands over at a time: more is refused.
const CHUNK: usize = 64 * 1024;
/// What its packets may have: 1,452 bytes of payload.
const MTU: usize = 1452;

pub fn run(task: &Task) -> Fallible<()> {
    let Some(bytes) = bulk_bytes(task.work) else {
        return task.unknown();
    };
    let config = KcpConfig {
        mtu: MTU,
        nodelay: KcpNoDelayConfig::fastest(),
        wnd_size: (WINDOW_SEGMENTS, WINDOW_SEGMENTS),
        session_expire: Duration::from_secs(90),
        flush_write: true,
        flush_acks_input: true,
        stream: true,
        ..KcpConfig::default()
    };
    block_on(async {
        if task.is_server() {
            let mut listener = KcpListener::from_socket(config, socket()?).await?;
            say_listening(listener.local_addr()?)?;
            let (mut stream, _) = listener.accept().await?;
            let mut buffer = vec![0; CHUNK];
            let meter = Meter::start();
            // It has no end mark that both would agree on: the length is known.
            let mut read = 0;
            while read < bytes {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    n => read += n as u64,
                }
            }
            let report = meter.stop();
            check_whole(read, bytes)?;
            stream.write_all(&[1]).await?;
            stream.flush().await?;
            say_report(&Report { bytes, ..report })?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            let mut stream = KcpStream::connect_with_socket(&config, socket()?, task.server()?).await?;
            let chunk = vec![0x5a; CHUNK];
            let meter = Meter::start();
            let mut left = bytes;
            while left > 0 {
                let n = left.min(CHUNK as u64) as usize;
                stream.write_all(&chunk[..n]).await?;
                left -= n as u64;
            }
            stream.flush().await?;
            stream.read_exact(&mut [0]).await?;
            say_report(&Report { bytes, ..meter.stop() })?;
        }
        Ok(())
    })
}

fn socket() -> Fallible<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&any_port().into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}
