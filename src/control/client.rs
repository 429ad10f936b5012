//! Asks a controller: one request at a time, each with a deadline.

use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// The largest answer that is read: a history, or a capture.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// The time for everything that is answered at once, if nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a controller is: `http://HOST[:PORT]/[?token=TOKEN]`, as it prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without a slash at the end.
    base: String,
    token: Option<String>,
}

impl Address {
    /// The same place with this token.
    #[must_use]
    pub fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token.or(self.token);
        self
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a controller's address is http://HOST:PORT, such as http://127.0.0.1:5000".to_owned();
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(wrong()),
            None => text,
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = place.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(is_plain) {
            return Err(wrong());
        }
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        Ok(Self {
            base: format!("http://{authority}"),
            token: token.filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }
}

impl fmt::Display for Address {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// Why a controller did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// The status of its answer; `None` if there was no answer.
    pub status: Option<u16>,
    /// In words, its own if it said any.
    pub text: String,
}

/// Asks one controller.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    address: Address,
    patience: Duration,
}

/// The status and the body of an answer.
type Answer = (u16, Vec<u8>);

impl Client {
    /// Connects only when something is asked. What is answered at once must come within two seconds.
    pub fn new(address: &Address) -> Self {
        Self::patient(address, PATIENCE)
    }

    /// As [`Client::new`], for whoever waits so long instead of two seconds.
    pub fn patient(address: &Address, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The machine of a lesson is next door, whatever the environment says of proxies.
            .proxy(None)
            .max_idle_connections(0)
            .user_agent(concat!("securestream/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(patience))
            .build();
        Self {
            agent: Agent::new_with_config(config),
            address: address.clone(),
            patience,
        }
    }

    /// `GET`, of JSON.
    ///
    /// # Errors
    /// There was no answer, or one that is no success.
    pub fn get(&self, path: &str) -> Result<Value, Refused> {
        self.get_within(path, self.patience)
    }

    /// As [`Client::get`], for what may be waited for.
    ///
    /// # Errors
    /// As there.
    pub fn get_within(&self, path: &str, time: Duration) -> Result<Value, Refused> {
        json_of(&self.fetch(path, time)?)
    }

    /// `GET`, of a file.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn download(&self, path: &str) -> Result<Vec<u8>, Refused> {
        self.fetch(path, Duration::from_secs(60))
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let request = self.agent.post(self.url(path));
        let request = self.signed(request.content_type("application/json"));
        json_of(&success(answer_of(request.send(body.to_string()))?)?)
    }

    /// `PATCH` with JSON.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let request = self.agent.patch(self.url(path));
        let request = self.signed(request.content_type("application/json"));
        json_of(&success(answer_of(request.send(body.to_string()))?)?)
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn delete(&self, path: &str) -> Result<Value, Refused> {
        let request = self.signed(self.agent.delete(self.url(path)));
        json_of(&success(answer_of(request.call())?)?)
    }

    fn fetch(&self, path: &str, time: Duration) -> Result<Vec<u8>, Refused> {
        let request = self.signed(self.agent.get(self.url(path)).header("Accept", "application/json"));
        let request = request.config().timeout_global(Some(time)).build();
        success(answer_of(request.call())?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address.base)
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.address.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

fn answer_of(answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Answer, Refused> {
    let silent = |error: ureq::Error| Refused {
        status: None,
        text: match error {
            ureq::Error::Io(error) => crate_words(&error),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            error => error.to_string(),
        },
    };
    let mut answer = answer.map_err(silent)?;
    let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    Ok((answer.status().as_u16(), body.map_err(silent)?))
}

/// Without the number of the error.
fn crate_words(error: &std::io::Error) -> String {
    let words = error.to_string();
    words.split(" (os error ").next().unwrap_or_default().to_owned()
}

fn success((status, body): Answer) -> Result<Vec<u8>, Refused> {
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let said = serde_json::from_slice::<Value>(&body).ok();
    let said = said.and_then(|said| said["error"].as_str().map(str::to_owned));
    Err(Refused {
        status: Some(status),
        text: said.unwrap_or_else(|| format!("the answer was {status}")),
    })
}

/// An empty answer is null: some servers say nothing where there is nothing to say.
fn json_of(body: &[u8]) -> Result<Value, Refused> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| Refused {
        status: None,
        text: "the answer is no JSON: is that a controller?".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        let address: Address = "http://127.0.0.1:5000/?token=abc".parse().unwrap();
        assert_eq!(
            (address.to_string().as_str(), address.token.as_deref()),
            ("http://127.0.0.1:5000", Some("abc"))
        );
        assert!(
            !format!("{address:?}").contains("abc"),
            "a token does not get into logs"
        );
        assert_eq!(
            "[::1]:5000".parse::<Address>().unwrap().to_string(),
            "http://[::1]:5000"
        );
        for wrong in ["", "http://", "https://a", "ftp://a", "http://a b", "http://u@h", "/x"] {
            assert!(
                wrong.parse::<Address>().unwrap_err().contains("http://127.0.0.1:5000"),
                "{wrong}"
            );
        }
    }
}
