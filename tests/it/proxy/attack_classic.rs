//! Each attack against classic streams does what it says. There is nothing there that could fail with a counter.

use super::*;
use crate::classic::{arq, payload};
use securestream::attack::Attack;
use securestream::classic::{Builder, Listener, Scheme};
use std::io::{self, Read, Write};

/// Data in a full packet.
const PACKET_BYTES: usize = 2048;
const PAYLOAD_BYTES: usize = 60_000;

struct Scene {
    listener: Listener,
    proxy: Proxy,
}

impl Scene {
    fn new(attack: Attack) -> Self {
        // A silence ends reading: the longest pause between two packets of a sender that only waits for a processor.
        let server = Builder::new().idle_timeout(Duration::from_secs(3));
        let listener = server.listen_udp("127.0.0.1:0").unwrap();
        let builder = ProxyBuilder::new(listener.local_addr().unwrap()).unwrap();
        let (builder, armed) = attack.arm(builder);
        let proxy = builder.start_local().unwrap();
        armed.aim(&proxy);
        Self { listener, proxy }
    }

    /// Sends `payload`; what the sender is told, and what the receiver read until silence or a gap.
    fn transfer(&self, payload: &[u8]) -> (io::Result<()>, io::Result<()>, Vec<u8>) {
        let (addr, payload) = (self.proxy.local_addr(), payload.to_vec());
        let client = Builder::new().arq(arq(Scheme::GoBackN, 200));
        let sender = thread::spawn(move || {
            let mut stream = client.connect_udp(addr)?;
            stream.write_all(&payload)?;
            stream.finish(Duration::from_secs(10))
        });
        let mut stream = self.listener.accept(Some(WATCHDOG)).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut came = Vec::new();
        let mut chunk = [0; 4096];
        let read = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break Ok(()),
                Ok(bytes) => came.extend_from_slice(&chunk[..bytes]),
                Err(error) => break Err(error),
            }
        };
        (sender.join().unwrap(), read, came)
    }
}

/// How every stream of this carrier ends: nobody says anything any more.
#[track_caller]
fn assert_silence(read: &io::Result<()>) {
    let error = read.as_ref().expect_err("there is no end mark");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
}

#[test]
fn a_flipped_bit_is_not_noticed() {
    let payload = payload(PAYLOAD_BYTES);
    let (told, read, came) = Scene::new(Attack::BitFlip).transfer(&payload);
    assert!(told.is_ok(), "{told:?}");
    assert_silence(&read);
    assert_eq!(came.len(), payload.len());
    assert!(came != payload);
}

#[test]
fn yesterday_s_words_are_said_again() {
    let first = payload(PAYLOAD_BYTES);
    let second: Vec<u8> = first.iter().map(|byte| byte ^ 0x55).collect();
    let scene = Scene::new(Attack::Replay);
    let (told, _, came) = scene.transfer(&first);
    assert!(told.is_ok() && came == first, "{told:?}");
    let (told, read, came) = scene.transfer(&second);
    assert!(told.is_ok(), "{told:?}");
    assert_silence(&read);
    assert!(came == first);
}

#[test]
fn a_forged_acknowledgement_makes_a_lost_file_look_sent() {
    let payload = payload(PAYLOAD_BYTES);
    let (told, _, came) = Scene::new(Attack::ForgeAck).transfer(&payload);
    assert!(told.is_ok(), "the sender believes that all has arrived: {told:?}");
    assert!(came == payload[..3 * PACKET_BYTES], "{} bytes", came.len());
}

#[test]
fn a_part_looks_like_the_whole() {
    let payload = payload(PAYLOAD_BYTES);
    let (told, read, came) = Scene::new(Attack::Truncate).transfer(&payload);
    assert!(told.is_ok(), "{told:?}");
    assert_silence(&read);
    assert!(came == payload[..5 * PACKET_BYTES], "{} bytes", came.len());
}

#[test]
fn a_stranger_who_comes_first_is_the_client() {
    let (told, read, came) = Scene::new(Attack::Spoof).transfer(&payload(PAYLOAD_BYTES));
    assert!(told.is_err(), "nobody listens to the real one");
    assert_silence(&read);
    assert_eq!(came, b"[these bytes are not from the client] ");
}

#[test]
fn there_is_nothing_to_talk_a_client_out_of() {
    let payload = payload(PAYLOAD_BYTES);
    let (told, read, came) = Scene::new(Attack::Downgrade).transfer(&payload);
    assert!(told.is_ok(), "{told:?}");
    assert_silence(&read);
    assert!(came == payload);
}
