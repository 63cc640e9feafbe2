//! Why a request has no answer, in Go's words: `Get "http://h:1/x": dial tcp h:1: …`.

use std::net::SocketAddr;

use thiserror::Error;

use super::request::Url;

/// A request that came to nothing.
#[derive(Debug, Error)]
#[error("{name} \"{url}\": {cause}")]
pub struct ClientError {
    /// `Get`, `Post`, ….
    pub(super) name: String,
    /// What was asked for first, before any redirect.
    pub(super) url: Box<Url>,
    /// What went wrong.
    pub(super) cause: Cause,
}

impl ClientError {
    /// What went wrong, without saying what with.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

/// What can go wrong.
#[derive(Debug, Error)]
pub enum Cause {
    /// The name has no address, or could not be looked up.
    #[error("dial tcp: lookup {host}: {text}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        text: String,
    },
    /// No connection.
    #[error("dial tcp {address}: {text}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        text: String,
    },
    /// A TLS handshake that failed.
    #[error("tls: {0}")]
    Tls(String),
    /// It took longer than allowed.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Deadline,
    /// The connection broke, or the answer is no HTTP.
    #[error("{0}")]
    Broken(String),
    /// The body is larger than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Redirected too often.
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    /// Redirected to nowhere.
    #[error("failed to parse Location header {location:?}: {text}")]
    Location {
        /// The header.
        location: String,
        /// Why.
        text: String,
    },
    /// A request that cannot be sent.
    #[error("{0}")]
    Unsendable(String),
}
