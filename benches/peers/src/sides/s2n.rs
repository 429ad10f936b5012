//! s2n-quic with the same windows and datagrams.

use super::quic::{DATAGRAM, SOCKET_BUFFER, WINDOW, block_on};
use super::{any_port, bulk_bytes, check_whole, say_listening, say_report};
use crate::meter::Meter;
use crate::work::{CHUNK, Report, Task};
use crate::{Fallible, keys};
use bytes::Bytes;
use s2n_quic::client::Connect;
use s2n_quic::provider::io::tokio::Builder;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls as tls;
use s2n_quic::{Client, Server};

/// Headers of IPv4 and UDP: here the MTU is that of the network.
const HEADERS: u16 = 28;

pub fn run(task: &Task) -> Fallible<()> {
    let Some(bytes) = bulk_bytes(task.work) else {
        return task.unknown();
    };
    block_on(async {
        if task.is_server() {
            let mut server = Server::builder()
                .with_tls(tls::Server::from(keys::server_config(&task.keys)?))?
                .with_io(io()?)?
                .with_limits(limits()?)?
                .start()?;
            say_listening(server.local_addr()?)?;
            let mut connection = server.accept().await.ok_or("the endpoint is closed")?;
            let meter = Meter::start();
            let mut stream = connection
                .accept_receive_stream()
                .await?
                .ok_or("the connection is closed")?;
            let mut read = 0;
            while let Some(chunk) = stream.receive().await? {
                read += chunk.len() as u64;
            }
            let report = meter.stop();
            check_whole(read, bytes)?;
            say_report(&Report { bytes, ..report })?;
            let _ = connection.accept_receive_stream().await;
        } else {
            let client = Client::builder()
                .with_tls(tls::Client::from(keys::client_config(&task.keys)?))?
                .with_io(io()?)?
                .with_limits(limits()?)?
                .start()?;
            let connect = Connect::new(task.server()?).with_server_name("peers");
            let mut connection = client.connect(connect).await?;
            let mut stream = connection.open_send_stream().await?;
            let chunk = Bytes::from(vec![0x5a; CHUNK]);
            let meter = Meter::start();
            let mut left = bytes;
            while left > 0 {
                let n = left.min(CHUNK as u64);
                stream.send(chunk.slice(..n as usize)).await?;
                left -= n;
            }
            stream.close().await?;
            say_report(&Report { bytes, ..meter.stop() })?;
        }
        Ok(())
    })
}

fn io() -> Fallible<s2n_quic::provider::io::tokio::Provider> {
    Ok(Builder::default()
        .with_receive_address(any_port())?
        .with_send_buffer_size(SOCKET_BUFFER)?
        .with_recv_buffer_size(SOCKET_BUFFER)?
        .with_max_mtu(DATAGRAM + HEADERS)?
        .with_initial_mtu(DATAGRAM + HEADERS)?
        .build()?)
}

fn limits() -> Fallible<Limits> {
    let window = u64::from(WINDOW);
    Ok(Limits::new()
        .with_data_window(window)?
        .with_unidirectional_data_window(window)?
        .with_max_send_buffer_size(WINDOW)?)
}
