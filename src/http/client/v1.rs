//! NSQ's conventions on top: JSON answers, errors with their text, and nodes that want TLS.

use bytes::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Client, ClientError, Reply, Request, Url};

/// What asks for answers in NSQ's format.
pub const ACCEPT_V1: HeaderValue = HeaderValue::from_static("application/vnd.nsq; version=1.0");
/// As much of an error's body as is quoted.
const QUOTED_BYTES_MAX: usize = 1024;

/// A call that did not work.
#[derive(Debug, Error)]
pub enum V1Error {
    /// There is no answer.
    #[error(transparent)]
    NoAnswer(#[from] ClientError),
    /// The URL is none.
    #[error("parse {url:?}: {text}")]
    BadUrl {
        /// What was given.
        url: String,
        /// Why it is none.
        text: String,
    },
    /// An answer that says no.
    #[error("got response {status_text} {body}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The status with its reason.
        status_text: String,
        /// The body, quoted as Go quotes it.
        body: String,
    },
    /// An answer that makes no sense.
    #[error("{0}")]
    Undecodable(String),
}

impl V1Error {
    /// The status of an answer that says no.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            V1Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl Client {
    /// `GET` of a URL whose answer is JSON.
    ///
    /// # Errors
    /// No answer, a status other than 200, or JSON of another shape.
    pub async fn get_v1<T: DeserializeOwned>(&self, url: &str) -> Result<T, V1Error> {
        let reply = self.call_v1(Method::GET, url, Bytes::new()).await?;
        decode(&reply.body)
    }

    /// `POST` whose answer says only that it worked.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    pub async fn post_v1(&self, url: &str, body: impl Into<Bytes>) -> Result<(), V1Error> {
        self.call_v1(Method::POST, url, body.into()).await.map(drop)
    }

    /// Any call; the answer has status 200.
    ///
    /// A node that serves TLS only answers 403 with the port where it does; it is asked there.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    pub async fn call_v1(&self, method: Method, url: &str, body: Bytes) -> Result<Reply, V1Error> {
        let bad_url = |text| V1Error::BadUrl { url: url.to_owned(), text };
        let url = Url::parse(url).map_err(bad_url)?;
        let mut request = Request::new(method, url).header(ACCEPT, ACCEPT_V1);
        request.body = body;
        self.send_v1(request).await
    }

    /// The same for a request that is whole.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    pub async fn send_v1(&self, mut request: Request) -> Result<Reply, V1Error> {
        let mut reply = self.send(request.clone()).await?;
        if reply.status == StatusCode::FORBIDDEN
            && !request.url.https
            && let Some(port) = https_port(&reply.body)
        {
            request.url = request.url.over_tls(port);
            reply = self.send(request).await?;
        }
        if reply.status == StatusCode::OK {
            return Ok(reply);
        }
        let body = quoted(&reply.body);
        Err(V1Error::Refused { status: reply.status, status_text: reply.status_text, body })
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, V1Error> {
    serde_json::from_slice(body).map_err(|error| V1Error::Undecodable(error.to_string()))
}

/// The port in `{"message": "TLS_REQUIRED", "https_port": 4152}`.
fn https_port(body: &[u8]) -> Option<u16> {
    #[derive(Deserialize)]
    struct Hint {
        https_port: u16,
    }
    let hint: Hint = serde_json::from_slice(body).ok()?;
    (hint.https_port != 0).then_some(hint.https_port)
}

/// Bytes as Go's `%q` shows them, cut off where they are long.
fn quoted(body: &[u8]) -> String {
    let cut = body.len() > QUOTED_BYTES_MAX;
    let shown = String::from_utf8_lossy(&body[..body.len().min(QUOTED_BYTES_MAX)]);
    let mut text = String::from("\"");
    for c in shown.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push_str(if cut { "\"…" } else { "\"" });
    text
}

#[cfg(test)]
mod tests {
    use super::{https_port, quoted};

    #[test]
    fn bodies_are_quoted_as_in_go() {
        assert_eq!(quoted(b"{\"message\":\"X\"}\n"), r#""{\"message\":\"X\"}\n""#);
        assert_eq!(quoted(&[b'a'; 2000]).chars().filter(|c| *c == 'a').count(), 1024);
    }

    #[test]
    fn the_port_for_tls_is_found() {
        assert_eq!(https_port(br#"{"message": "TLS_REQUIRED", "https_port": 14132}"#), Some(14132));
        assert_eq!(https_port(br#"{"message":"FORBIDDEN"}"#), None);
        assert_eq!(https_port(br#"{"https_port":0}"#), None);
        assert_eq!(https_port(b"no"), None);
    }
}
