//! Requests that are made to deceive.

use super::{client, connect, controller, raw, status, until};
use std::io::{Read, Write};

#[test]
fn a_page_is_served_with_what_a_browser_needs_to_keep_it_safe() {
    let controller = controller();
    let answer = raw(controller.local_addr(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&answer), 200);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Security-Policy: default-src 'self';"), "{head}");
    assert!(head.contains("X-Content-Type-Options: nosniff"), "{head}");
    assert!(
        body.starts_with("<!doctype html>") || body.starts_with("<!DOCTYPE html>"),
        "{body:.40}"
    );
    let head_only = raw(controller.local_addr(), b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        head_only.ends_with("\r\n\r\n") && status(&head_only) == 200,
        "{head_only}"
    );
}

#[test]
fn what_two_programs_would_read_in_two_ways_is_refused() {
    let controller = controller();
    let to = controller.local_addr();
    let json = "Host: localhost\r\nContent-Type: application/json\r\n";
    let smuggled = "GET /v1/reset HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (request, expected) in [
        (
            format!(
                "POST /config HTTP/1.1\r\n{json}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            400,
        ),
        (
            format!("POST /config HTTP/1.1\r\n{json}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{smuggled}"),
            501,
        ),
        (
            format!("POST /config HTTP/1.1\r\n{json}Content-Length: 2\r\nContent-Length: 0\r\n\r\n{{}}"),
            400,
        ),
        (
            format!("POST /config HTTP/1.1\r\n{json}Content-Length : 2\r\n\r\n{{}}"),
            400,
        ),
        (
            format!("GET /config HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n{smuggled}"),
            400,
        ),
        (
            format!("GET /config HTTP/1.1\r\nHost: localhost\nX: bare line feed\r\n\r\n{smuggled}"),
            400,
        ),
        (
            format!("POST /config HTTP/1.1\r\n{json}Content-Length: 65537\r\n\r\n{{"),
            413,
        ),
        (
            format!("POST /config HTTP/1.1\r\n{json}Transfer-Encoding: chunked\r\n\r\n10001\r\n"),
            413,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(17_000)),
            431,
        ),
        (
            "GET http://localhost/config HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /config HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /config HTTP/3.0\r\nHost: localhost\r\n\r\n".to_owned(), 505),
        ("\u{16}\u{3}\u{1}\0 a TLS hello\r\n\r\n".to_owned(), 400),
    ] {
        let answer = raw(to, request.as_bytes());
        assert_eq!(status(&answer), expected, "{request:?}\n{answer}");
        assert!(answer.contains("\"error\":\""), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer: {answer}");
    }
    assert_eq!(client(&controller).get("/v1/health").unwrap()["ok"], true);
}

#[test]
fn a_second_request_behind_the_first_is_not_answered() {
    let controller = controller();
    let first = "POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let second = "DELETE /statistics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for request in [
        format!("{first}Content-Length: 2\r\n\r\n{{}}{second}"),
        format!("{first}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{second}"),
        format!("GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n{second}"),
    ] {
        let answer = raw(controller.local_addr(), request.as_bytes());
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("Connection: close"), "{answer}");
    }
    let marks = client(&controller).get("/v1/state").unwrap()["marks"].to_string();
    assert_eq!(marks, "[]", "nothing was zeroed");
}

#[test]
fn nothing_of_a_request_gets_into_a_header() {
    let controller = controller();
    for target in [
        "/%0d%0aSet-Cookie:%20a=b",
        "/config?token=%0d%0aSet-Cookie:%20a=b",
        "/v1/capture.pcapng?proxy=%0d%0aSet-Cookie:%20a=b",
        "/v1/proxies/%0d%0aSet-Cookie:%20a=b/rules",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Set-Cookie: a=b\r\n\r\n");
        let answer = raw(controller.local_addr(), request.as_bytes());
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("Set-Cookie"), "{answer}");
    }
}

#[test]
fn other_machines_pages_and_forms_are_turned_away() {
    let controller = controller();
    let to = controller.local_addr();
    let post = "Content-Length: 2\r\n\r\n{}";
    for (request, expected) in [
        ("GET /config HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        (
            format!(
                "POST /config HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Type: application/json\r\n{post}"
            ),
            403,
        ),
        (
            "GET /config HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n".to_owned(),
            403,
        ),
        (
            format!("POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{post}"),
            415,
        ),
        (
            format!("POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{post}"),
            200,
        ),
        ("DELETE /statistics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200),
    ] {
        let answer = raw(to, request.as_bytes());
        assert_eq!(status(&answer), expected, "{request}\n{answer}");
    }
    let guarded = securestream::control::Controller::builder()
        .token("s3cret")
        .start()
        .unwrap();
    let ask = |rest: &str| status(&raw(guarded.local_addr(), format!("GET {rest}\r\n\r\n").as_bytes()));
    assert_eq!(ask("/config HTTP/1.1\r\nHost: localhost"), 401);
    assert_eq!(
        ask("/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret"),
        200
    );
    assert_eq!(ask("/config?token=s3cret HTTP/1.1\r\nHost: localhost"), 200);
    assert_eq!(ask("/config?token=other HTTP/1.1\r\nHost: localhost"), 401);
    assert!(guarded.url().ends_with("/?token=s3cret"));
}

#[test]
fn a_request_that_comes_in_pieces_is_one_request() {
    let controller = controller();
    let request =
        b"POST /statistics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
                    Transfer-Encoding: chunked\r\n\r\nF\r\n{\"client_sent\":\r\n3\r\n 7}\r\n0\r\n\r\n";
    let mut stream = connect(controller.local_addr());
    stream.set_nodelay(true).unwrap();
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\"client_sent\":7"), "{answer}");
}

#[test]
fn a_controller_that_others_can_reach_needs_a_token() {
    let open = securestream::control::Controller::builder()
        .bind([0, 0, 0, 0].into())
        .start();
    assert_eq!(open.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    let guarded = securestream::control::Controller::builder()
        .bind([0, 0, 0, 0].into())
        .token("t")
        .start()
        .unwrap();
    until("it answers with its token", || client(&guarded).get("/config").is_ok());
}
