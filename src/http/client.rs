//! An HTTP client for what is off the message path: cluster pages, lookups, authorization, tools.
//!
//! It runs inside a glommio executor and belongs to it. A request has one deadline for everything:
//! name, connection, redirects, body. Bodies are bounded. Dropping a request's future ends its
//! connection. What goes wrong is told in the words of the original's client, because operators
//! and their scripts know them.

mod connection;
mod error;
mod io;
mod pool;
mod redirect;
mod request;
pub mod resolve;
#[cfg(test)]
mod tests;
mod v1;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;
use rustls::ClientConfig;

use connection::{Connection, Failed};
use pool::Pool;

pub use error::{Cause, ClientError};
pub use request::{Reply, Request, Url};
pub use v1::{ACCEPT_V1, V1Error};

/// The most redirects that one request follows, as in Go.
const REDIRECTS_MAX: usize = 10;
/// The most bytes of a body that is taken when nobody says otherwise.
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The longest that a connection may take to be made.
    pub connect_timeout: Duration,
    /// The longest that a request may take from its beginning to the last byte of its answer.
    pub request_timeout: Duration,
    /// The largest body that is taken.
    pub reply_bytes_max: usize,
    /// `User-Agent`.
    pub user_agent: String,
    /// What `https` needs; without it such URLs are errors.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for ClientOptions {
    /// The original's timeouts.
    fn default() -> ClientOptions {
        ClientOptions {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            reply_bytes_max: REPLY_BYTES_MAX,
            user_agent: format!("shoal/{}", env!("CARGO_PKG_VERSION")),
            tls: None,
        }
    }
}

/// Sends requests. Clones share the kept connections.
#[derive(Clone, Debug)]
pub struct Client {
    options: Rc<ClientOptions>,
    pool: Rc<RefCell<Pool>>,
}

impl Client {
    /// A client without connections.
    #[must_use]
    pub fn new(options: ClientOptions) -> Client {
        Client { options: Rc::new(options), pool: Rc::default() }
    }

    /// Sends a request and gives the answer to it or, where it is redirected, to its last redirect.
    ///
    /// # Errors
    /// When there is no whole answer in time. A status of 4xx or 5xx is an answer.
    pub async fn send(&self, request: Request) -> Result<Reply, ClientError> {
        let name = request.go_name();
        let first = Box::new(request.url.clone());
        let limit = request.timeout.unwrap_or(self.options.request_timeout);
        let outcome = match within(limit, self.follow(request)).await {
            Some(outcome) => outcome,
            None => Err(Cause::Deadline),
        };
        outcome.map_err(|cause| ClientError { name, url: first, cause })
    }

    async fn follow(&self, mut request: Request) -> Result<Reply, Cause> {
        for _ in 0..=REDIRECTS_MAX {
            let reply = self.exchange(&request).await?;
            if !request.follows {
                return Ok(reply);
            }
            match redirect::next(&request, &reply)? {
                Some(next) => request = next,
                None => return Ok(reply),
            }
        }
        Err(Cause::Redirects(REDIRECTS_MAX))
    }

    /// One request, one answer, without redirects.
    async fn exchange(&self, request: &Request) -> Result<Reply, Cause> {
        let bytes_max = request.reply_bytes_max.unwrap_or(self.options.reply_bytes_max);
        let kept = self.pool.borrow_mut().take(&request.url, Instant::now());
        if let Some(mut connection) = kept {
            match connection.exchange(request, &self.options.user_agent, bytes_max).await {
                Ok(reply) => return Ok(self.keep(request, connection, reply)),
                // The server gave the connection up while it was idle: nobody saw the request,
                // or seeing it twice does no harm.
                Err(Failed { unseen, .. }) if unseen || request.is_idempotent() => {}
                Err(failed) => return Err(failed.cause),
            }
        }
        let ClientOptions { connect_timeout, tls, .. } = &*self.options;
        let mut connection = Connection::dial(&request.url, *connect_timeout, tls.as_ref()).await?;
        let outcome = connection.exchange(request, &self.options.user_agent, bytes_max).await;
        let reply = outcome.map_err(|failed| failed.cause)?;
        Ok(self.keep(request, connection, reply))
    }

    fn keep(&self, request: &Request, mut connection: Connection, reply: Reply) -> Reply {
        if connection.is_reusable() {
            self.pool.borrow_mut().give(&request.url, connection, Instant::now());
        }
        reply
    }
}

/// What `work` comes to, or `None` when it takes longer than `limit`; it is then dropped.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut alarm = Timer::new(limit);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        Pin::new(&mut alarm).poll(cx).map(|_| None)
    })
    .await
}
