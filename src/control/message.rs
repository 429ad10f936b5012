//! Requests and responses as values. They know no socket: a handler is a function from the one to the other.

use super::feed::Reader;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The largest body of a request.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Method {
    Get,
    Post,
    Patch,
    Delete,
    /// One that nothing here answers.
    Other,
}

impl Method {
    /// HEAD counts as GET; whoever sends the response leaves out its body.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "GET" | "HEAD" => Self::Get,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "another method",
        }
    }
}

/// A request that came whole.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without the query, as it was sent.
    pub(super) path: String,
    query: Vec<(String, String)>,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// What stands in the path where the table of paths has a place for it, decoded.
    pub(super) parts: Vec<String>,
}

impl Request {
    /// `target` is a path, and perhaps `?` and a query.
    pub(super) fn new(method: Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self {
            method,
            path: path.to_owned(),
            query: pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(key), decoded(value))
                })
                .collect(),
            headers: Vec::new(),
            body: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    pub(super) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// The first header of that name, which is written in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// A value of the query.
    pub(super) fn query(&self, key: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(known, _)| known == key);
        found.next().map(|(_, value)| value.as_str())
    }

    /// A number of the query.
    ///
    /// # Errors
    /// It is no number; the response to that.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, Response> {
        let text = self.query(key);
        let number = text.map(|text| text.parse().map_err(|_| wrong_field(key, "is no whole number")));
        number.transpose()
    }

    /// The object in the body.
    ///
    /// # Errors
    /// There is none; the response to that.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Response> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Response::error(400, "the body is JSON, but no object in braces")),
            Err(error) => Err(Response::error(400, format!("the body is no JSON: {error}"))),
        }
    }
}

/// What is sent back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// Fixed names; values are made here and never taken from a request.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// What a response carries.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Vec<u8>),
    Fixed(&'static [u8]),
    /// Events as they come, until one of both sides ends.
    Events(Reader),
}

impl Response {
    pub(super) fn new(status: u16, content_type: &'static str, body: Body) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::json_with(200, value)
    }

    pub(super) fn json_with(status: u16, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("its keys are strings");
        Self::new(status, "application/json", Body::Whole(text))
    }

    /// Why a request was not done.
    pub(super) fn error(status: u16, text: impl Into<String>) -> Self {
        Self::json_with(status, &json!({"error": text.into(), "status": status}))
    }

    /// As [`Response::error`], for a key of the request.
    pub(super) fn error_of(status: u16, field: &str, text: impl Into<String>) -> Self {
        let body = json!({"error": text.into(), "status": status, "field": field});
        Self::json_with(status, &body)
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The body of a response that is JSON.
    #[cfg(test)]
    pub(super) fn value(&self) -> Value {
        match &self.body {
            Body::Whole(bytes) => serde_json::from_slice(bytes).expect("the body is JSON"),
            other => panic!("{other:?} is no JSON"),
        }
    }
}

/// 400 for a key and its value.
pub(super) fn wrong_field(field: &str, problem: &str) -> Response {
    Response::error_of(400, field, format!("{field} {problem}"))
}

/// `%41` is `A`, and `+` a blank. What is no such code stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let code = match (first, more) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[2..];
            }
            None if *first == b'+' => bytes.push(b' '),
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_and_queries_are_taken_apart() {
        let request = Request::new(Method::Get, "/v1/x?since=7&wait=&name=a%20b+c&odd=%zz%4");
        assert_eq!(request.path, "/v1/x");
        assert_eq!(request.number("since").ok(), Some(Some(7)));
        assert_eq!(request.number("nothing").ok(), Some(None));
        assert_eq!(request.number("wait").unwrap_err().status, 400);
        assert_eq!(request.query("name"), Some("a b c"));
        assert_eq!(request.query("odd"), Some("%zz%4"));
    }

    #[test]
    fn a_body_must_be_an_object() {
        let request = |body: &str| Request::new(Method::Post, "/").with_body(body.into());
        assert!(request("{\"a\": 1}").object().is_ok());
        for body in ["", "[]", "1", "{", "{\"a\": 1} x"] {
            assert_eq!(request(body).object().unwrap_err().status, 400, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_target_makes_it_panic(target: String) {
            let _ = Request::new(Method::Get, &target);
        }
    }
}
