//! Who may ask. A page of somebody else, open in the same browser, must not be able to steer a lesson; nor a machine next door.
//!
//! The checks are those against DNS rebinding (`Host`), against requests that another page makes (`Origin`,
//! `Sec-Fetch-Site`, and a content type that no form can send), and a token where the controller is reached from elsewhere.

use super::message::{MAX_BODY_BYTES, Method, Request, Response};
use std::net::IpAddr;

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// Names by which this controller may be called, in small letters and without a port.
    pub(super) hosts: Vec<String>,
    /// It is reached at all addresses of this machine, so that any address may be its own. Names must be known.
    pub(super) any_address: bool,
    pub(super) token: Option<String>,
}

impl Guard {
    /// Whether the request may be looked at.
    ///
    /// # Errors
    /// Not; the response says why.
    pub(super) fn check(&self, request: &Request, is_public: bool) -> Result<(), Response> {
        self.check_host(request)?;
        check_origin(request)?;
        if !is_public {
            self.check_token(request)?;
        }
        check_body(request)
    }

    fn check_host(&self, request: &Request) -> Result<(), Response> {
        let Some(host) = request.header("host") else {
            return Err(Response::error(400, "the header Host is missing"));
        };
        let name = name_of(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_own = match address {
            Ok(ip) => self.any_address || ip.to_canonical().is_loopback(),
            Err(_) => name == "localhost",
        };
        if is_own || self.hosts.contains(&name) {
            return Ok(());
        }
        Err(Response::error(
            403,
            "the header Host names another machine; start stream-controller with --allow-host NAME if that name is \
             really its own",
        ))
    }

    fn check_token(&self, request: &Request) -> Result<(), Response> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            .or_else(|| request.query("token"));
        let text = match given {
            Some(given) if is_same(given.trim(), token) => return Ok(()),
            Some(_) => "the token is another one than that of --token",
            None => {
                "this controller wants its token: send the header \"Authorization: Bearer TOKEN\", or add ?token=TOKEN"
            }
        };
        Err(Response::error(401, text).with_header("WWW-Authenticate", "Bearer"))
    }
}

/// A request that a page made must be from a page of ours.
fn check_origin(request: &Request) -> Result<(), Response> {
    if let Some(origin) = request.header("origin") {
        let host = request.header("host").unwrap_or_default();
        let from = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .unwrap_or_default();
        if from.is_empty() || !from.eq_ignore_ascii_case(host) {
            return Err(Response::error(
                403,
                "the header Origin says that another page makes this request, and only the controller's own may",
            ));
        }
    }
    match request.header("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(Response::error(
            403,
            "the header Sec-Fetch-Site says that another site makes this request; open the controller's page by its \
             address instead",
        )),
    }
}

/// A form of another page can send text, but not this type without asking first.
fn check_body(request: &Request) -> Result<(), Response> {
    if request.body.is_empty() {
        return Ok(());
    }
    if request.body.len() > MAX_BODY_BYTES {
        return Err(too_large());
    }
    if request.method == Method::Get {
        return Err(Response::error(400, "a GET has no body"));
    }
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Response::error(
        415,
        "a body needs the header \"Content-Type: application/json\"",
    ))
}

/// A body of more than is allowed.
pub(super) fn too_large() -> Response {
    Response::error(413, format!("the body is larger than {MAX_BODY_BYTES} bytes"))
}

/// A host without its port: `[::1]:5000` is `[::1]`.
fn name_of(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Takes as long for a token that is nearly right as for one that is not.
fn is_same(given: &str, token: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), token.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(headers: &[(&str, &str)]) -> Request {
        let plain = Request::new(Method::Get, "/config");
        headers
            .iter()
            .fold(plain, |request, (name, value)| request.with_header(name, value))
    }

    fn status(guard: &Guard, request: &Request) -> u16 {
        guard.check(request, false).map_or_else(
            |refused| {
                let text = refused.value()["error"].as_str().unwrap().to_owned();
                assert!(text.len() > 10 && refused.value()["status"] == refused.status, "{text}");
                refused.status
            },
            |()| 200,
        )
    }

    #[test]
    fn only_names_of_its_own_are_answered() {
        let guard = Guard {
            hosts: vec!["lab.example".to_owned()],
            ..Guard::default()
        };
        for (host, expected) in [
            ("127.0.0.1:5000", 200),
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("[::1]:5000", 200),
            ("127.1.2.3", 200),
            ("lab.example:5000", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("localhost.evil.example:5000", 403),
            ("192.168.1.7:5000", 403),
            ("", 403),
        ] {
            assert_eq!(status(&guard, &get(&[("Host", host)])), expected, "{host}");
        }
        assert_eq!(status(&guard, &get(&[])), 400);
        let everywhere = Guard {
            any_address: true,
            ..guard
        };
        assert_eq!(status(&everywhere, &get(&[("Host", "192.168.1.7:5000")])), 200);
        assert_eq!(status(&everywhere, &get(&[("Host", "evil.example")])), 403);
    }

    #[test]
    fn pages_of_others_are_turned_away() {
        let guard = Guard::default();
        let host = ("Host", "127.0.0.1:5000");
        for (name, value, expected) in [
            ("Origin", "http://127.0.0.1:5000", 200),
            ("Origin", "http://127.0.0.1:5001", 403),
            ("Origin", "http://evil.example", 403),
            ("Origin", "null", 403),
            ("Origin", "", 403),
            ("Sec-Fetch-Site", "same-origin", 200),
            ("Sec-Fetch-Site", "none", 200),
            ("Sec-Fetch-Site", "same-site", 403),
            ("Sec-Fetch-Site", "cross-site", 403),
        ] {
            assert_eq!(
                status(&guard, &get(&[host, (name, value)])),
                expected,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_token_is_asked_for_where_one_was_set() {
        let guard = Guard {
            token: Some("secret".to_owned()),
            ..Guard::default()
        };
        let host = ("Host", "localhost");
        assert_eq!(status(&guard, &get(&[host])), 401);
        assert_eq!(status(&guard, &get(&[host, ("Authorization", "Bearer secret")])), 200);
        assert_eq!(status(&guard, &get(&[host, ("Authorization", "Bearer secre")])), 401);
        assert_eq!(status(&guard, &get(&[host, ("Authorization", "secret")])), 401);
        let by_query = Request::new(Method::Get, "/config?token=secret").with_header("Host", "localhost");
        assert_eq!(status(&guard, &by_query), 200);
        assert!(guard.check(&get(&[host]), true).is_ok(), "the page itself is no secret");
    }

    #[test]
    fn a_body_must_be_small_and_say_that_it_is_json() {
        let guard = Guard::default();
        let post = |kind: &str, body: Vec<u8>| {
            Request::new(Method::Post, "/config")
                .with_header("Host", "localhost")
                .with_header("Content-Type", kind)
                .with_body(body)
        };
        assert_eq!(status(&guard, &post("application/json", b"{}".to_vec())), 200);
        assert_eq!(
            status(&guard, &post("Application/JSON; charset=utf-8", b"{}".to_vec())),
            200
        );
        assert_eq!(status(&guard, &post("text/plain", b"{}".to_vec())), 415);
        assert_eq!(
            status(&guard, &post("application/x-www-form-urlencoded", b"a=1".to_vec())),
            415
        );
        assert_eq!(status(&guard, &post("", b"{}".to_vec())), 415);
        assert_eq!(
            status(&guard, &post("text/plain", Vec::new())),
            200,
            "there is nothing to be JSON"
        );
        assert_eq!(
            status(&guard, &post("application/json", vec![b' '; MAX_BODY_BYTES + 1])),
            413
        );
    }
}
