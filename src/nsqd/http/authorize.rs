//! Whether a request may publish, where `--http-require-auth` wants that to be asked.
//!
//! A request proves itself with `Authorization: Bearer <secret>`, and the secret is what AUTH
//! would have been given over TCP.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use shards::auth::{Action, Question, Secret};
use shards::wire::names::Name;

use super::Call;
use super::desk::Desk;
use crate::http::respond::Failure;
use crate::nsqd::control::auth::Outcome;

/// The common name in a client's certificate, known when the handshake is over.
pub type CommonName = Rc<OnceCell<String>>;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `ip:port`, or `@` for a unix socket.
    pub remote: String,
    /// `None` for a connection that is not encrypted.
    pub secure: Option<CommonName>,
}

impl Origin {
    fn question(&self, secret: Secret) -> Question {
        let address: Option<SocketAddr> = self.remote.parse().ok();
        let name = self.secure.as_ref().and_then(|name| name.get());
        Question {
            secret,
            remote_ip: address.map(|address| address.ip().to_string()).unwrap_or_default(),
            tls: self.secure.is_some(),
            common_name: name.cloned().unwrap_or_default(),
        }
    }
}

/// Whether a request may publish to a topic.
///
/// # Errors
/// 401 without a secret, 403 when it may not, 503 when nobody could be asked.
pub async fn authorize<D: Desk>(call: &Call<'_, D>, topic: &Name) -> Result<(), Failure> {
    if !call.desk.facts().publish_needs_auth {
        return Ok(());
    }
    let secret = bearer(&call.parts.headers);
    let secret = secret.ok_or(Failure::new(StatusCode::UNAUTHORIZED, "AUTH_REQUIRED"))?;
    match call.desk.authorize(call.origin.question(secret)).await {
        Outcome::Granted(grant) if grant.rules.allow(Action::Publish(topic)) => Ok(()),
        Outcome::Granted(_) => Err(Failure::new(StatusCode::FORBIDDEN, "UNAUTHORIZED")),
        Outcome::Denied => Err(Failure::new(StatusCode::FORBIDDEN, "AUTH_FAILED")),
        Outcome::Failed => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "AUTH_FAILED")),
    }
}

/// The secret in the headers.
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, secret) = value.split_at_checked("Bearer ".len())?;
    let secret = secret.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !secret.is_empty()).then(|| Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::{CommonName, Origin, bearer};
    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
    use shards::auth::Secret;

    #[test]
    fn secrets_are_borne() {
        let secret = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(|secret| String::from_utf8(secret.reveal().to_vec()).unwrap())
        };
        assert_eq!(secret("Bearer s3cret").as_deref(), Some("s3cret"));
        assert_eq!(secret("bearer  a b ").as_deref(), Some("a b"));
        for none in ["", "Bearer", "Bearer ", "Basic eDp5", "Bearers3cret"] {
            assert_eq!(secret(none), None, "{none:?}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_question_says_where_a_request_comes_from() {
        let name = CommonName::default();
        let origin = Origin { remote: "[::1]:80".to_owned(), secure: Some(name.clone()) };
        assert_eq!(origin.question(Secret::new(b"x")).common_name, "");
        name.set("me".to_owned()).unwrap();
        let asked = origin.question(Secret::new(b"x"));
        assert_eq!((asked.remote_ip.as_str(), asked.tls), ("::1", true));
        assert_eq!(asked.common_name, "me");
        let unix = Origin { remote: "@".to_owned(), secure: None };
        assert_eq!(unix.question(Secret::new(b"x")).remote_ip, "");
    }
}
