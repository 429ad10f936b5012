//! A listener under load: the client is asked to come again with a token.

use super::*;
use crate::crypto::tls::testing::modes;
use std::net::SocketAddr;

const AGAIN: ConnectionId = ConnectionId(*b"retry---");

fn home() -> SocketAddr {
    "192.0.2.7:4433".parse().expect("an address")
}

fn tokens(now: Instant) -> Tokens {
    Tokens::new(Box::new(|| [7; 32]), now)
}

/// Both modes.
fn all_configs() -> [(Config, Config); 2] {
    let (client, server) = modes();
    [
        (config(PlainMode, 1), config(PlainMode, 2)),
        (config(client, 1), config(server, 2)),
    ]
}

fn sent(client: &mut Client, now: Instant) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| client.poll_transmit(now)).collect()
}

fn ask_again(tokens: &mut Tokens, config: &Config, datagram: &[u8], now: Instant) -> Vec<u8> {
    let hello = Hello::decode(datagram, config).expect("a first packet");
    assert!(hello.token(datagram).is_empty());
    let token = tokens.issue(&hello, AGAIN, Some(home()), now);
    let packet = retry(&hello, config, AGAIN, &token, datagram.len()).expect("it is small");
    assert!(packet.len() <= datagram.len());
    packet
}

/// A server for a client that brought its token.
fn admit(tokens: &Tokens, config: &Config, datagram: &[u8], now: Instant) -> Server {
    let mut hello = Hello::decode(datagram, config).expect("a first packet");
    assert_eq!(hello.destination_id, AGAIN);
    match tokens.check(&hello, hello.token(datagram), Some(home()), now) {
        Verdict::Valid(first) => hello.retried_from = Some(first),
        other => panic!("{other:?}"),
    }
    Server::new(config, REMOTE, &hello, datagram, now).expect("authentic")
}

/// Everything up to the outcome of both sides, without delay. The server's `HANDSHAKE_DONE` is its stream's.
fn complete(client: &mut Client, server: &mut Server, now: Instant) -> Result<Established, StreamError> {
    let mut outcome = None;
    for _ in 0..50 {
        while let Some(work) = server.poll_work() {
            server.handle_done(work.run(), now);
        }
        while let Some(datagram) = server.poll_transmit(now) {
            client.handle_datagram(&datagram, now);
        }
        if outcome.is_none() {
            outcome = server.poll_outcome();
        }
        for datagram in sent(client, now) {
            server.handle_datagram(&datagram, now);
        }
        if let Some(Err(error)) = client.poll_outcome() {
            return Err(error);
        }
    }
    outcome.expect("the server's outcome")
}

#[test]
fn a_client_that_is_asked_again_comes_with_the_token_and_both_sides_agree_on_the_ids() {
    for (client_config, server_config) in all_configs() {
        let now = epoch();
        let mut tokens = tokens(now);
        let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
        let flight = sent(&mut client, now);
        let answer = ask_again(&mut tokens, &server_config, &flight[0], now);
        let now = now + ONE_WAY;
        client.handle_datagram(&answer, now);
        let again = sent(&mut client, now);
        assert!(again.len() >= flight.len());
        for datagram in &again {
            assert_eq!(datagram.len(), DATAGRAM_BYTES, "padded, and not beyond");
        }
        let mut server = admit(&tokens, &server_config, &again[0], now);
        assert_eq!(server.initial_destination_id(), AGAIN);
        for datagram in &again[1..] {
            server.handle_datagram(datagram, now);
        }
        let established = complete(&mut client, &mut server, now).expect("complete");
        assert_eq!(established.local_params.retry_source_id, Some(AGAIN));
        assert_eq!(established.local_params.original_destination_id, Some(FIRST));
        assert_eq!(established.peer_params.retry_source_id, None);
    }
}

#[test]
fn the_token_shows_the_address_so_nothing_holds_the_server_back() {
    let now = epoch();
    let (client_config, mut server_config) = (config(Ballast(7000), 1), config(Ballast(7000), 2));
    server_config.connect_timeout = Duration::from_secs(1);
    let mut tokens = tokens(now);
    let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
    let first = sent(&mut client, now);
    client.handle_datagram(&ask_again(&mut tokens, &server_config, &first[0], now), now);
    let again = sent(&mut client, now);
    let mut server = admit(&tokens, &server_config, &again[0], now);
    for datagram in &again[1..] {
        server.handle_datagram(datagram, now);
    }
    let bytes: usize = std::iter::from_fn(|| server.poll_transmit(now))
        .map(|datagram| datagram.len())
        .sum();
    assert!(bytes > 7000, "{bytes}");
}

#[test]
fn a_damaged_retry_changes_nothing() {
    for (client_config, server_config) in all_configs() {
        let now = epoch();
        let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
        let flight = sent(&mut client, now);
        let answer = ask_again(&mut tokens(now), &server_config, &flight[0], now);
        let mut wrong: Vec<_> = (0..answer.len() * 8)
            .map(|bit| {
                let mut changed = answer.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                changed
            })
            .collect();
        wrong.extend((0..answer.len()).map(|end| answer[..end].to_vec()));
        wrong.push([&answer[..], &[0]].concat());
        for datagram in wrong {
            // The low four bits of a Retry mean nothing, but the tag covers them.
            client.handle_datagram(&datagram, now);
            assert_eq!(sent(&mut client, now), Vec::<Vec<u8>>::new(), "{datagram:02x?}");
            assert!(client.poll_outcome().is_none());
        }
        client.handle_datagram(&answer, now);
        assert!(!sent(&mut client, now).is_empty(), "the right one is still taken");
    }
}

#[test]
fn one_retry_is_followed_and_none_after_another_packet() {
    let (client_config, server_config) = (config(PlainMode, 1), config(PlainMode, 2));
    let now = epoch();
    let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
    let flight = sent(&mut client, now);
    let answer = ask_again(&mut tokens(now), &server_config, &flight[0], now);
    client.handle_datagram(&answer, now);
    let again = sent(&mut client, now);
    client.handle_datagram(&answer, now);
    assert_eq!(sent(&mut client, now), Vec::<Vec<u8>>::new());
    // A second listener answers the new packet, and lists versions.
    let hello = Hello::decode(&again[0], &server_config).expect("a first packet");
    let second = retry(&hello, &server_config, REMOTE, b"another token", 1200).expect("small");
    client.handle_datagram(&second, now);
    let versions = version_negotiation(&again[0], &[VERSION_SECURE]).expect("small");
    client.handle_datagram(&versions, now);
    assert_eq!(sent(&mut client, now), Vec::<Vec<u8>>::new());
    assert!(client.poll_outcome().is_none());
    assert_eq!(client.dropped(), 3);

    let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
    let flight = sent(&mut client, now);
    let hello = Hello::decode(&flight[0], &server_config).expect("a first packet");
    let mut server = Server::new(&server_config, REMOTE, &hello, &flight[0], now).expect("authentic");
    client.handle_datagram(&server.poll_transmit(now).expect("its hello"), now);
    sent(&mut client, now);
    client.handle_datagram(&answer, now);
    assert_eq!(client.dropped(), 1, "a Retry after an answer is late");
}

#[test]
fn a_server_that_does_not_tell_of_the_retry_is_refused() {
    for (client_config, server_config) in all_configs() {
        let now = epoch();
        let mut client = Client::new(&client_config, LOCAL, FIRST, now).expect("good options");
        let flight = sent(&mut client, now);
        // Somebody on the way sends the Retry, and the server takes the second packet for a first one.
        let answer = ask_again(&mut tokens(now), &server_config, &flight[0], now);
        client.handle_datagram(&answer, now);
        let again = sent(&mut client, now);
        let hello = Hello::decode(&again[0], &server_config).expect("a first packet");
        let mut server = Server::new(&server_config, REMOTE, &hello, &again[0], now).expect("authentic");
        for datagram in &again[1..] {
            server.handle_datagram(datagram, now);
        }
        let error = complete(&mut client, &mut server, now).expect_err("the ids do not fit");
        assert!(matches!(error, StreamError::Violation { .. }), "{error:?}");
    }
}
