//! quinn, tuned: windows of 2 MB, datagrams of 1,452 bytes, segmentation offload, chunks moved instead of copied.

use super::quic::{DATAGRAM, SOCKET_BUFFER, WINDOW, block_on};
use super::{STOP, any_port, check_whole, hear, ping, say_listening, say_report};
use crate::meter::Meter;
use crate::work::{CHUNK, PING_BYTES, Report, Task, Work};
use crate::{Fallible, keys};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, ServerConfig, TokioRuntime, TransportConfig,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub fn run(task: &Task) -> Fallible<()> {
    block_on(async {
        if task.is_server() {
            let crypto = QuicServerConfig::try_from(keys::server_config(&task.keys)?)?;
            let mut config = ServerConfig::with_crypto(Arc::new(crypto));
            config.transport_config(Arc::new(transport()));
            let endpoint = endpoint(Some(config))?;
            let meter = Meter::start();
            say_listening(endpoint.local_addr()?)?;
            if let Work::Handshakes { .. } = task.work {
                return handshakes_server(&endpoint, meter).await;
            }
            let connection = endpoint.accept().await.ok_or("the endpoint is closed")?.await?;
            serve(task, &connection).await?;
            connection.closed().await;
            endpoint.wait_idle().await;
        } else {
            let crypto = QuicClientConfig::try_from(keys::client_config(&task.keys)?)?;
            let mut config = ClientConfig::new(Arc::new(crypto));
            config.transport_config(Arc::new(transport()));
            let mut endpoint = endpoint(None)?;
            endpoint.set_default_client_config(config);
            if let Work::Handshakes { millis, at_a_time } = task.work {
                return handshakes_client(task, &endpoint, Duration::from_millis(millis), at_a_time).await;
            }
            let connection = endpoint.connect(task.server()?, "peers")?.await?;
            ask(task, &connection).await?;
            connection.close(0_u32.into(), b"");
            endpoint.wait_idle().await;
        }
        Ok(())
    })
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(u64::from(WINDOW))
        .initial_mtu(DATAGRAM)
        .min_mtu(DATAGRAM)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(true);
    transport
}

fn endpoint(server: Option<ServerConfig>) -> Fallible<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&any_port().into())?;
    Ok(Endpoint::new(
        EndpointConfig::default(),
        server,
        socket.into(),
        Arc::new(TokioRuntime),
    )?)
}

async fn ask(task: &Task, connection: &Connection) -> Fallible<()> {
    match task.work {
        Work::Bulk { bytes } => {
            let mut stream = connection.open_uni().await?;
            let chunk = Bytes::from(vec![0x5a; CHUNK]);
            let meter = Meter::start();
            let mut left = bytes;
            while left > 0 {
                let n = left.min(CHUNK as u64);
                stream.write_chunk(chunk.slice(..n as usize)).await?;
                left -= n;
            }
            stream.finish()?;
            stream.stopped().await?;
            say_report(&Report { bytes, ..meter.stop() })
        }
        Work::Ping { count } => {
            let (mut send, mut receive) = connection.open_bi().await?;
            let mut message = [7; PING_BYTES];
            let mut samples = Vec::with_capacity(count as usize);
            let mut meter = Meter::start();
            for number in 0..ping::WARM_UP + count {
                if number == ping::WARM_UP {
                    meter = Meter::start();
                }
                let start = Instant::now();
                send.write_all(&message).await?;
                receive.read_exact(&mut message).await?;
                if number >= ping::WARM_UP {
                    samples.push(start.elapsed());
                }
            }
            say_report(&ping::summary(meter, &mut samples))
        }
        _ => task.unknown(),
    }
}

async fn serve(task: &Task, connection: &Connection) -> Fallible<()> {
    match task.work {
        Work::Bulk { bytes } => {
            let meter = Meter::start();
            let mut stream = connection.accept_uni().await?;
            let mut read = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                read += chunk.bytes.len() as u64;
            }
            let report = meter.stop();
            check_whole(read, bytes)?;
            say_report(&Report { bytes, ..report })
        }
        Work::Ping { count } => {
            let (mut send, mut receive) = connection.accept_bi().await?;
            let mut message = [0; PING_BYTES];
            let meter = Meter::start();
            for _ in 0..ping::WARM_UP + count {
                receive.read_exact(&mut message).await?;
                send.write_all(&message).await?;
            }
            say_report(&Report {
                count: u64::from(count),
                ..meter.stop()
            })
        }
        _ => task.unknown(),
    }
}

async fn handshakes_client(task: &Task, endpoint: &Endpoint, time: Duration, at_a_time: u32) -> Fallible<()> {
    let addr = task.server()?;
    let meter = Meter::start();
    let end = Instant::now() + time;
    let clients: Vec<_> = (0..at_a_time)
        .map(|_| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    let connection = endpoint.connect(addr, "peers")?.await?;
                    let mut stream = connection.open_uni().await?;
                    stream.write_all(&[1]).await?;
                    stream.finish()?;
                    stream.stopped().await?;
                    connection.close(0_u32.into(), b"");
                    count += 1;
                }
                Fallible::Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for client in clients {
        count += client.await??;
    }
    let report = Report { count, ..meter.stop() };
    endpoint.wait_idle().await;
    say_report(&report)
}

async fn handshakes_server(endpoint: &Endpoint, meter: Meter) -> Fallible<()> {
    let count = Arc::new(AtomicU64::new(0));
    let accepting = {
        let (endpoint, count) = (endpoint.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let connection = incoming.await?;
                    let mut stream: RecvStream = connection.accept_uni().await?;
                    if stream.read_to_end(2).await?.len() == 1 {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    connection.closed().await;
                    Fallible::Ok(())
                });
            }
        })
    };
    tokio::task::spawn_blocking(|| hear(STOP)).await??;
    say_report(&Report {
        count: count.load(Ordering::Relaxed),
        ..meter.stop()
    })?;
    endpoint.close(0_u32.into(), b"");
    accepting.await?;
    Ok(())
}
