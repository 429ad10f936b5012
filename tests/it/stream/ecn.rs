//! ECN marks between real sockets.

use super::*;
use std::io::{Read, Write};

/// Whether marks pass from socket to socket here, alone and many at once, is for the platform to say; where they do they are
/// counted, and the sender goes on marking.
#[test]
fn marks_pass_between_sockets_and_are_counted() {
    within(WATCHDOG, || {
        let (client, server) = pair(Over::Udp);
        let reader = thread::spawn(move || {
            let mut buf = vec![0; 256 << 10];
            while (&server).read(&mut buf).expect("read") > 0 {}
            server
        });
        for _ in 0..64 {
            (&client).write_all(&[7; 256 << 10]).expect("write");
        }
        let stats = client.stats();
        println!("{stats:?}");
        assert_eq!(stats.is_ecn_capable, cfg!(target_os = "linux"));
        client.shutdown(std::net::Shutdown::Write).expect("shutdown");
        drop(reader.join().expect("it reads to the end"));
    });
}

#[test]
fn tcp_shows_no_marks_and_does_without() {
    within(WATCHDOG, || {
        let (client, server) = pair(Over::Tcp);
        let reader = thread::spawn(move || {
            let mut bytes = 0;
            let mut buf = vec![0; 256 << 10];
            while bytes < 4 << 20 {
                bytes += (&server).read(&mut buf).expect("read");
            }
            server
        });
        (&client).write_all(&[7; 4 << 20]).expect("write");
        let server = reader.join().expect("it reads everything");
        assert!(!client.stats().is_ecn_capable);
        drop((client, server));
    });
}
