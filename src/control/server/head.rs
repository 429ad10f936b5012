//! The head of a request, read strictly (RFC 9112). What two programs could read in two ways is refused, for that is how
//! one request is smuggled in another.

use super::super::message::{MAX_BODY_BYTES, Response};
use std::fmt::Write;

/// The largest head.
pub(super) const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 100;
/// Chunks of a body, with their sizes, may take so much more than what is in them.
const MAX_CHUNKED_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Chunks of a body. They are read anew with every piece that comes, so that many tiny ones would cost much.
const MAX_CHUNKS: usize = 1024;

/// Headers that mean something here. No other gets any further.
const KNOWN: [&str; 8] = [
    "accept",
    "authorization",
    "content-type",
    "host",
    "last-event-id",
    "origin",
    "sec-fetch-site",
    "user-agent",
];

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
}

/// A head that was found to be good.
#[derive(Debug)]
pub(super) struct Head {
    method: String,
    target: String,
    /// Those of [`KNOWN`].
    headers: Vec<(&'static str, String)>,
    length: Length,
    /// The client waits for a word before it sends the body.
    pub(super) expects_continue: bool,
    /// Where the body begins.
    bytes: usize,
}

fn bad(text: &str) -> Response {
    Response::error(400, text)
}

/// Reads a head from the beginning of what has come. `None` if its end is not there yet.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Response> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(Response::error(
                431,
                format!("the head of the request is larger than {MAX_HEAD_BYTES} bytes"),
            ));
        }
        return Ok(None);
    };
    if end > MAX_HEAD_BYTES {
        return Err(Response::error(
            431,
            format!("the head of the request is larger than {MAX_HEAD_BYTES} bytes"),
        ));
    }
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("the head of the request is no text"))?;
    let mut lines = text.split("\r\n");
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let mut head = Head {
        method,
        target,
        headers: Vec::new(),
        length: Length::Known(0),
        expects_continue: false,
        bytes: end + 4,
    };
    let (mut length, mut encoding) = (None, None);
    for (index, line) in lines.enumerate() {
        if index >= MAX_HEADERS {
            return Err(Response::error(431, format!("more than {MAX_HEADERS} headers")));
        }
        let (name, value) = header_line(line)?;
        match name.as_str() {
            "content-length" => {
                if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(bad("Content-Length is no number"));
                }
                if length.replace(value).is_some() {
                    return Err(bad("Content-Length is there twice"));
                }
            }
            "transfer-encoding" => {
                if encoding.replace(value).is_some() {
                    return Err(bad("Transfer-Encoding is there twice"));
                }
            }
            "expect" => {
                if !value.eq_ignore_ascii_case("100-continue") {
                    return Err(Response::error(417, "nothing is known of what is expected"));
                }
                head.expects_continue = true;
            }
            _ => {
                if let Some(known) = KNOWN.into_iter().find(|known| **known == *name) {
                    if head.headers.iter().any(|(there, _)| *there == known) {
                        return Err(bad("a header is there twice that may be there once"));
                    }
                    head.headers.push((known, value.to_owned()));
                }
            }
        }
    }
    head.length = match (length, encoding) {
        (Some(_), Some(_)) => {
            return Err(bad(
                "Content-Length and Transfer-Encoding exclude each other: it is not known where this request ends",
            ));
        }
        (_, Some(encoding)) if encoding.eq_ignore_ascii_case("chunked") => Length::Chunked,
        (_, Some(_)) => return Err(Response::error(501, "of all transfer encodings only chunked is known")),
        (Some(length), None) => match length.parse() {
            Ok(length) if length <= MAX_BODY_BYTES => Length::Known(length),
            _ => return Err(super::super::guard::too_large()),
        },
        (None, None) => Length::Known(0),
    };
    Ok(Some(head))
}

fn request_line(line: &str) -> Result<(String, String), Response> {
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(bad("the first line is not \"METHOD /path HTTP/1.1\""));
    };
    if method.is_empty() || method.len() > 16 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(bad("the method is no word in capitals"));
    }
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return Err(bad(
            "the target of a request is a path that begins with / and has printable characters only",
        ));
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Response::error(
            505,
            "only the versions 1.0 and 1.1 of HTTP are spoken here",
        ));
    }
    Ok((method.to_owned(), target.to_owned()))
}

/// Name, in small letters, and value.
fn header_line(line: &str) -> Result<(String, &str), Response> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(bad("a header has no colon"));
    };
    // A blank before the colon, or at the start of a line, is read in several ways.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(bad("the name of a header has characters that it may not have"));
    }
    let value = value.trim_matches([' ', '\t']);
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(bad("the value of a header has control characters"));
    }
    Ok((name.to_ascii_lowercase(), value))
}

impl Head {
    /// The body, if it is all there.
    pub(super) fn body(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Response> {
        let rest = &bytes[self.bytes.min(bytes.len())..];
        match self.length {
            Length::Known(length) => Ok(rest.get(..length).map(<[u8]>::to_vec)),
            Length::Chunked => chunked(rest),
        }
    }

    /// The request in the one form that `tiny_http` gets to see.
    pub(super) fn rewritten(&self, body: &[u8]) -> Vec<u8> {
        let Self { method, target, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &self.headers {
            // tiny_http takes ASCII only; nothing that means anything here has more.
            let value: String = value.chars().filter(char::is_ascii).collect();
            write!(text, "{name}: {value}\r\n").expect("a string takes everything");
        }
        write!(text, "content-length: {}\r\nconnection: close\r\n\r\n", body.len()).expect("a string takes everything");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Takes a body out of its chunks (RFC 9112, section 7.1). `None` if its end is not there yet.
fn chunked(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, Response> {
    let (all, mut body, mut chunks) = (bytes.len(), Vec::new(), 0);
    loop {
        let Some(end) = find(bytes, b"\r\n") else {
            return unfinished(all);
        };
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("the size of a chunk is no number"))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let is_hex = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        let size = size.ok_or_else(|| bad("the size of a chunk is no number"))?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            // Trailers mean nothing here; they end with an empty line.
            let is_over = bytes.starts_with(b"\r\n") || find(bytes, b"\r\n\r\n").is_some();
            return if is_over { Ok(Some(body)) } else { unfinished(all) };
        }
        if body.len() + size > MAX_BODY_BYTES {
            return Err(super::super::guard::too_large());
        }
        chunks += 1;
        if chunks > MAX_CHUNKS {
            return Err(Response::error(413, format!("more than {MAX_CHUNKS} chunks")));
        }
        let Some(data) = bytes.get(..size + 2) else {
            return unfinished(all);
        };
        if !data.ends_with(b"\r\n") {
            return Err(bad("a chunk does not end where its size says"));
        }
        body.extend_from_slice(&data[..size]);
        bytes = &bytes[size + 2..];
    }
}

fn unfinished(bytes: usize) -> Result<Option<Vec<u8>>, Response> {
    if bytes > MAX_CHUNKED_BYTES {
        return Err(super::super::guard::too_large());
    }
    Ok(None)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(text: &str) -> u16 {
        let head = match head(text.as_bytes()) {
            Ok(head) => head.expect("it is whole"),
            Err(refused) => return refused.status,
        };
        head.body(text.as_bytes())
            .map_or_else(|refused| refused.status, |_| 200)
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let with = |headers: &str| status(&format!("POST /config HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        assert_eq!(with("Content-Length: 2\r\n"), 200);
        assert_eq!(with("Transfer-Encoding: chunked\r\n"), 200);
        for (headers, expected) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: 0x5\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("Content-Length : 5\r\n", 400),
            ("Transfer-Encoding: gzip\r\n", 501),
            ("Transfer-Encoding: chunked, gzip\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
            ("Transfer-Encoding : chunked\r\n", 400),
            ("Transfer-Encoding:\u{b}chunked\r\n", 400),
            (" folded: 1\r\n", 400),
            ("a\tb: 1\r\n", 400),
            ("no colon\r\n", 400),
            ("a: b\0c\r\n", 400),
            ("a: b\nx: c\r\n", 400),
            ("a: b\rx: c\r\n", 400),
            ("Host: b\r\n", 400),
            ("Expect: magic\r\n", 417),
            ("Content-Length: 65537\r\n", 413),
            ("Content-Length: 99999999999999999999999\r\n", 413),
        ] {
            assert_eq!(with(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_first_line_is_as_it_should_be() {
        let with = |line: &str| status(&format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(with("GET / HTTP/1.1"), 200);
        assert_eq!(with("GET /v1/x?since=1 HTTP/1.0"), 200);
        for (line, expected) in [
            ("GET /", 400),
            ("GET / HTTP/1.1 x", 400),
            ("GET  / HTTP/1.1", 400),
            ("get / HTTP/1.1", 400),
            ("GET http://evil/ HTTP/1.1", 400),
            ("GET /\u{e9} HTTP/1.1", 400),
            ("GET /#x HTTP/1.1", 400),
            ("CONNECT a:1 HTTP/1.1", 400),
            ("GET / HTTP/2.0", 505),
            ("", 400),
        ] {
            assert_eq!(with(line), expected, "{line}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(head(long.as_bytes()).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(head(many.as_bytes()).unwrap_err().status, 431);
    }

    #[test]
    fn only_known_headers_get_through_and_the_length_is_ours() {
        let text = "POST /config HTTP/1.1\r\nHost: a\r\nX-Odd: 1\r\nUser-Agent: caf\u{e9}\r\nTransfer-Encoding: chunked\r\n\
                    \r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\ntrailer: 1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
        let head = head(text.as_bytes()).unwrap().unwrap();
        let body = head.body(text.as_bytes()).unwrap().unwrap();
        assert_eq!(body, b"abcde");
        assert_eq!(
            String::from_utf8(head.rewritten(&body)).unwrap(),
            "POST /config HTTP/1.1\r\nhost: a\r\nuser-agent: caf\r\ncontent-length: 5\r\nconnection: close\r\n\r\nabcde"
        );
    }

    #[test]
    fn chunks_end_where_they_say() {
        let with = |body: &str| chunked(body.as_bytes()).map_err(|refused| refused.status);
        assert_eq!(with("0\r\n\r\n"), Ok(Some(Vec::new())));
        assert_eq!(with("3\r\nab"), Ok(None));
        assert_eq!(with("3"), Ok(None));
        assert_eq!(with("3\r\nabcd\r\n"), Err(400));
        assert_eq!(with("-1\r\n\r\n"), Err(400));
        assert_eq!(with("\r\n\r\n"), Err(400));
        assert_eq!(with("fffffffff\r\n"), Err(400));
        assert_eq!(with("10001\r\n"), Err(413));
        let many = "1\r\na\r\n".repeat(MAX_CHUNKS);
        assert!(matches!(with(&format!("{many}0\r\n\r\n")), Ok(Some(body)) if body.len() == MAX_CHUNKS));
        assert_eq!(with(&format!("{many}1\r\n")), Err(413));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[ -~\r\n:]{0,200}\r\n\r\n.{0,20}") {
            let _ = head(&bytes);
            let _ = chunked(&bytes);
            if let Ok(Some(head)) = head(text.as_bytes()) {
                let _ = head.body(text.as_bytes());
            }
        }
    }
}
