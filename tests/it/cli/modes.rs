//! Two sides that speak different modes: one clear line each, and the right exit code.

use super::tool::{Tool, WATCHDOG, start_thread};
use securestream::wire::codec::Writer;
use securestream::wire::packet::{
    ConnectionId, Decoded, LongType, VERSION_PLAIN, VERSION_SECURE, decode, encode_long, encode_version_negotiation,
    long_header_bytes,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

/// The first packet of a client of the secure mode, as far as anybody else can read it.
fn secure_hello() -> Vec<u8> {
    let mut packet = vec![0x5a; 1200];
    let sealed = packet.len() - long_header_bytes(LongType::Initial, 0);
    let mut writer = Writer::new(&mut packet);
    let (to, from) = (ConnectionId([1; 8]), ConnectionId([2; 8]));
    encode_long(&mut writer, LongType::Initial, VERSION_SECURE, to, from, &[], sealed, 0);
    packet
}

/// What a listener of the secure mode answers to a first packet of another.
fn secure_answer(hello: &[u8]) -> Vec<u8> {
    let Ok(Decoded::Long(header)) = decode(hello) else {
        panic!("the sender's first packet has a long header");
    };
    let mut answer = vec![0; 64];
    let mut writer = Writer::new(&mut answer);
    encode_version_negotiation(&mut writer, header.source_id, header.destination_id, &[VERSION_SECURE]);
    let bytes = writer.position();
    answer.truncate(bytes);
    answer
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut packet).unwrap();
    packet
}

fn write_frame(stream: &mut TcpStream, packet: &[u8]) {
    let length = (packet.len() as u32).to_le_bytes();
    stream.write_all(&[&length, packet].concat()).unwrap();
}

#[test]
fn a_plain_sender_says_that_the_peer_speaks_secure_and_ends_with_4() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = socket.local_addr().unwrap().port().to_string();
    start_thread("secure-udp", move || {
        let mut hello = [0; 2048];
        let (bytes, peer) = socket.recv_from(&mut hello).unwrap();
        socket.send_to(&secure_answer(&hello[..bytes]), peer).unwrap();
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_port = listener.local_addr().unwrap().port().to_string();
    start_thread("secure-tcp", move || {
        let (mut stream, _) = listener.accept().unwrap();
        let hello = read_frame(&mut stream);
        write_frame(&mut stream, &secure_answer(&hello));
        let _ = stream.read(&mut [0]);
    });
    for (carrier, port) in [(&["--udp"][..], udp_port), (&[], tcp_port)] {
        let sender = Tool::sender(&port, carrier).end();
        sender.assert_code(4);
        assert!(
            sender.stderr.contains("the peer speaks secure, this side plain"),
            "{}",
            sender.stderr
        );
    }
}

#[test]
fn a_plain_receiver_reports_a_secure_peer_and_goes_on_waiting() {
    for carrier in [&["--udp"][..], &[]] {
        let (mut receiver, port) = Tool::receiver(carrier);
        let answer = if carrier.is_empty() {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
            stream.set_read_timeout(Some(WATCHDOG)).unwrap();
            write_frame(&mut stream, &secure_hello());
            read_frame(&mut stream)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(WATCHDOG)).unwrap();
            socket.send_to(&secure_hello(), format!("127.0.0.1:{port}")).unwrap();
            let mut answer = [0; 2048];
            let bytes = socket.recv(&mut answer).unwrap();
            answer[..bytes].to_vec()
        };
        let Ok(Decoded::VersionNegotiation { mut versions, .. }) = decode(&answer) else {
            panic!("the answer tells what the receiver speaks: {answer:02x?}");
        };
        assert_eq!(versions.next(), Some(VERSION_PLAIN));
        receiver.line("the peer speaks secure, this side plain");
        let mut sender = Tool::sender(&port, carrier);
        sender.input(b"still there");
        let sender = sender.end();
        sender.assert_code(0);
        let receiver = receiver.end();
        receiver.assert_code(0);
        assert_eq!(receiver.stdout, b"still there");
    }
}
