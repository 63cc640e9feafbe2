//! An HTTP server for programs off the message path: hyper on a [light thread](crate::net::thread).
//!
//! A program is a [`Site`]: a table of endpoints and an async function that answers them. Requests
//! come with their whole body, responses leave whole. Everything that a client can hold is bounded:
//! connections, heads, bodies, and the time it takes with each.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT};
use hyper::http::request::Parts;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use matchit::Params;

use super::body::{Body, BodyError};
use super::dispatch::{self, CLOSE, HEAD_BYTES_MAX, READ_BYTES_MAX, Step};
use super::query::Query;
use super::respond::{Failure, Response};
use super::router::Router;
use crate::net::carrier::Carrier;
use crate::net::connections::{
    Connection, Interim, LINGER, Listening, Watch, listen, listen_interim,
};
use crate::net::listeners::BoundListener;
use crate::net::stream::{discard, shutdown};
use crate::tls::{ServerTls, TlsStream};

/// What a program serves. Handlers run on one thread, many at a time.
pub trait Site: 'static {
    /// What a route stands for.
    type Endpoint: Copy + 'static;

    /// All routes.
    fn routes(&self) -> &Router<Self::Endpoint>;

    /// The most bytes of body that an endpoint takes; what is longer is answered with 413. `None`:
    /// it does not look at bodies, whatever their size.
    fn body_bytes_max(&self, endpoint: Self::Endpoint) -> Option<u64>;

    /// Whether the endpoint's requests are logged.
    fn is_logged(&self, endpoint: Self::Endpoint) -> bool;

    /// Answers a request. A panic costs this request only. A handler that waits should have a
    /// deadline of its own: the server has none for it.
    fn handle(
        &self,
        endpoint: Self::Endpoint,
        request: Request<'_>,
    ) -> impl Future<Output = Result<Response, Failure>>;
}

/// A request whose route was found and whose body has arrived.
#[derive(Debug)]
#[allow(dead_code, reason = "nsqlookupd's requests have neither bodies nor such paths")]
pub struct Request<'a> {
    /// Method, URI and headers.
    pub parts: &'a Parts,
    /// Parameters in the path.
    pub params: Params<'a, 'a>,
    /// The body; empty for endpoints that do not look at it.
    pub body: Vec<u8>,
    /// The other side's `ip:port`, or `@` for a unix socket.
    pub remote: &'a str,
}

impl Request<'_> {
    /// The parameters in the query string.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn query(&self) -> Result<Query<'_>, Failure> {
        dispatch::query(self.parts)
    }
}

/// How much and how long a server bears its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections_max: usize,
    /// How long a connection may be without a request.
    pub idle: Duration,
    /// How long a request may take to arrive once it has begun, head and body.
    pub request: Duration,
    /// How long a client may take none of an answer.
    pub answer: Duration,
    /// Whether a connection may be used for another request.
    pub keep_alive: bool,
}

/// Serves `site` at a listener, on this thread's executor, until the result is
/// [stopped](Listening::stop).
///
/// # Errors
/// When the process has no descriptor left.
pub fn serve<S: Site>(
    listener: BoundListener,
    site: Rc<S>,
    limits: Limits,
) -> Result<Listening, String> {
    listen(listener, limits.connections_max, move |connection| {
        serve_connection(connection, None, site.clone(), limits)
    })
}

/// The same until somebody else is to accept from the listener; with `tls` around it.
///
/// # Errors
/// When the process has no descriptor left.
pub fn serve_interim<S: Site>(
    listener: &BoundListener,
    tls: Option<Arc<ServerTls>>,
    site: Rc<S>,
    limits: Limits,
) -> Result<Interim, String> {
    listen_interim(listener, limits.connections_max, move |connection| {
        serve_connection(connection, tls.clone(), site.clone(), limits)
    })
}

async fn serve_connection<S: Site>(
    connection: Connection,
    tls: Option<Arc<ServerTls>>,
    site: Rc<S>,
    limits: Limits,
) {
    let Connection { watch, stream, remote } = connection;
    watch.within(Some(limits.request));
    let carrier = match tls {
        None => Carrier::Plain(stream),
        Some(tls) => match TlsStream::accept(stream, tls.config()).await {
            Ok(stream) => Carrier::Tls(Box::new(stream)),
            Err(error) => {
                return tracing::warn!("http: TLS handshake error from {remote}: {error}");
            }
        },
    };
    let served = Served::new(watch, carrier, remote, limits);
    let service = service_fn(|request| answer(served.clone(), site.clone(), request));
    // Without hyper's timer: the watch on the connection knows when it takes too long.
    let outcome = http1::Builder::new()
        .title_case_headers(true)
        .half_close(true)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .keep_alive(limits.keep_alive)
        .serve_connection(Socket(served.clone()), service)
        .await;
    if let Err(error) = outcome {
        tracing::debug!("HTTP connection of {} ended - {error}", served.remote);
    }
    served.linger().await;
}

async fn answer<S: Site>(
    served: Rc<Served>,
    site: Rc<S>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let (parts, incoming) = request.into_parts();
    let mut body = Body::new(incoming, parts.headers.contains_key(EXPECT));
    let mut response = route(&served, &*site, &parts, &mut body).await;
    served.enter(Phase::Answer);
    if !body.discard().await || served.watch.is_stopping() {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    Ok(response)
}

async fn route<S: Site>(served: &Served, site: &S, parts: &Parts, body: &mut Body) -> Response {
    let path = match dispatch::path(parts) {
        Ok(path) => path,
        Err(text) => return dispatch::bad_request(text),
    };
    let (endpoint, params) = match dispatch::step(site.routes(), parts, &path, &served.remote) {
        Step::Run(endpoint, params) => (endpoint, params),
        Step::Answer(response) => return response,
    };
    let start = Instant::now();
    let response = dispatch::guarded(async {
        let body = match site.body_bytes_max(endpoint) {
            Some(most) => read(body, most).await?,
            None => Vec::new(),
        };
        served.enter(Phase::Work);
        site.handle(endpoint, Request { parts, params, body, remote: &served.remote }).await
    })
    .await;
    if site.is_logged(endpoint) {
        dispatch::log(response.status(), parts, &served.remote, start.elapsed());
    }
    response
}

async fn read(body: &mut Body, most: u64) -> Result<Vec<u8>, Failure> {
    if body.declared_bytes().is_some_and(|bytes| bytes > most) {
        return Err(Failure::too_large("BODY_TOO_BIG"));
    }
    body.read(most).await.map_err(|error| match error {
        BodyError::TooLong => Failure::too_large("BODY_TOO_BIG"),
        BodyError::Broken => Failure::bad_request("INVALID_BODY"),
    })
}

/// What a connection is at, for its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of a request is there.
    Idle,
    /// A request arrives.
    Request,
    /// A handler runs.
    Work,
    /// An answer leaves.
    Answer,
    /// All is said; what still comes is thrown away.
    Linger,
}

/// A connection, shared by hyper's socket, the handlers and the task that ends it.
#[derive(Debug)]
struct Served {
    watch: Watch,
    carrier: RefCell<Carrier>,
    remote: String,
    limits: Limits,
    phase: Cell<Phase>,
    /// The other side sends no more.
    ended: Cell<bool>,
}

impl Served {
    fn new(watch: Watch, carrier: Carrier, remote: String, limits: Limits) -> Rc<Served> {
        let served = Served {
            watch,
            carrier: RefCell::new(carrier),
            remote,
            limits,
            phase: Cell::new(Phase::Idle),
            ended: Cell::new(false),
        };
        served.enter(Phase::Idle);
        Rc::new(served)
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.watch.within(match phase {
            Phase::Idle => Some(self.limits.idle),
            Phase::Request => Some(self.limits.request),
            Phase::Work => None,
            Phase::Answer => Some(self.limits.answer),
            Phase::Linger => Some(LINGER),
        });
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(self.carrier.borrow_mut().reader().poll_read(cx, buf));
        match outcome {
            Ok(0) | Err(_) => self.ended.set(true),
            Ok(_) if self.phase.get() == Phase::Idle => self.enter(Phase::Request),
            Ok(_) => {}
        }
        Poll::Ready(outcome)
    }

    /// Throws away what still comes, for a while.
    async fn linger(&self) {
        if !self.ended.get() {
            self.enter(Phase::Linger);
            shutdown(self.carrier.borrow().as_raw_fd(), Shutdown::Write);
            discard(|cx, buffer| self.poll_read(cx, buffer)).await;
        }
    }
}

/// A connection as hyper sees it.
struct Socket(Rc<Served>);

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.0.poll_read(cx, buf.initialize_unfilled()))?;
        // SAFETY: that many bytes were just written to the front of what is unfilled.
        unsafe { buf.advance(read) };
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// So that hyper sends large bodies from where they are.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut carrier = self.0.carrier.borrow_mut();
        let written = ready!(carrier.writer().poll_write_vectored(cx, bufs))?;
        if self.0.phase.get() == Phase::Answer {
            self.0.enter(Phase::Answer);
        }
        Poll::Ready(Ok(written))
    }

    /// hyper flushes when everything is written: the answer, after which the next request counts,
    /// or `100 Continue`, after which this one goes on.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.phase.get() == Phase::Answer {
            self.0.enter(Phase::Idle);
        }
        self.0.carrier.borrow_mut().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.carrier.borrow_mut().writer().poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
