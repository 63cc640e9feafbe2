//! One connection: hyper at the socket, and each request to its handler.

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;

use crate::http::duration::GoDuration;
use crate::http::query::{Query, bad_escape};
use crate::http::respond::{self, Failure, Response};
use crate::http::router::Found;

use super::body::Body;
use super::desk::Desk;
use super::routes::{Endpoint, ROUTES};
use super::socket::HttpSocket;
use super::timers::{HeadTimer, Timers};
use super::{config, debug, info, manage, publish, stats};

/// The most bytes of a request's first line and headers.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of a connection that hyper keeps, head or body; also the largest piece in which
/// a body is handled. (The number of headers is bounded by hyper, at 100.)
pub const READ_BYTES_MAX: usize = 128 * 1024;

/// How long a request's head may take once it has begun: this long at least, twice as long at most.
pub const HEAD_TIME_MIN: Duration = Duration::from_secs(20);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What a handler works with.
#[derive(Debug)]
pub struct Call<'a, D> {
    /// The way to the shards.
    pub desk: &'a D,
    /// The time.
    pub timers: &'a Timers,
    /// The request without its body.
    pub parts: &'a Parts,
}

impl<'a, D> Call<'a, D> {
    /// The parameters.
    ///
    /// # Errors
    /// When the query string is malformed.
    pub fn query(&self) -> Result<Query<'a>, Failure> {
        Query::parse(self.parts.uri.query().unwrap_or_default()).map_err(|fault| {
            tracing::error!("failed to parse request params - {fault}");
            Failure::bad_request("INVALID_REQUEST")
        })
    }
}

/// What the requests of one connection share.
#[derive(Debug)]
struct Connection<D> {
    desk: D,
    timers: Timers,
    remote: String,
    is_secure: bool,
}

/// Serves a connection until it ends. `remote` is the client's `ip:port`, or `@` for a unix socket;
/// `is_secure` says that it is encrypted.
pub async fn serve<D: Desk>(
    socket: HttpSocket,
    desk: D,
    timers: Timers,
    remote: String,
    is_secure: bool,
) {
    let head_timer = HeadTimer::new(&timers, HEAD_TIME_MIN, socket.ear());
    let connection = Rc::new(Connection { desk, timers, remote, is_secure });
    let service = service_fn(|request| answer(connection.clone(), request));
    // No `pipeline_flush`: it keeps the answer to a malformed request back for good, and the
    // socket gathers what is written in one turn anyway.
    let outcome = http1::Builder::new()
        .title_case_headers(true)
        .half_close(true)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .timer(head_timer)
        .header_read_timeout(HEAD_TIME_MIN)
        .serve_connection(socket, service)
        .await;
    if let Err(error) = outcome {
        tracing::debug!("HTTP connection of {} ended - {error}", connection.remote);
    }
}

async fn answer<D: Desk>(
    connection: Rc<Connection<D>>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (parts, incoming) = request.into_parts();
    let mut body = Body::new(incoming, parts.headers.contains_key(EXPECT));
    let mut response = match connection.https_hint() {
        Some(hint) => hint,
        None => route(&connection, &parts, &mut body).await,
    };
    if !body.discard().await {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    Ok(response)
}

impl<D: Desk> Connection<D> {
    /// The answer to everything on a plain connection while only TLS is served.
    fn https_hint(&self) -> Option<Response> {
        let port = self.desk.facts().https_required_port.filter(|_| !self.is_secure)?;
        // The blanks are the original's; clients compare the text.
        let hint = format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {port}}}");
        let mut response = respond::v1_json_text(hint);
        *response.status_mut() = StatusCode::FORBIDDEN;
        Some(response)
    }

    fn log(&self, status: StatusCode, parts: &Parts, elapsed: Duration) {
        let uri = parts.uri.path_and_query().map_or("*", |uri| uri.as_str());
        let (status, method, remote) = (status.as_u16(), &parts.method, &self.remote);
        tracing::info!("{status} {method} {uri} ({remote}) {}", GoDuration(elapsed));
    }
}

async fn route<D: Desk>(connection: &Connection<D>, parts: &Parts, body: &mut Body) -> Response {
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(HOST) {
        return bad_request("400 Bad Request: missing required Host header");
    }
    let Some(path) = decoded(parts.uri.path()) else {
        return bad_request("400 Bad Request");
    };
    match ROUTES.find(&parts.method, &path) {
        Found::Endpoint(endpoint, params) => {
            let option = params.get("opt").unwrap_or_default();
            run(connection, parts, body, (endpoint, option)).await
        }
        Found::Elsewhere(path) => respond::redirect(&parts.method, &path, parts.uri.query()),
        Found::Options(allow) => respond::options(&allow),
        Found::OtherMethods(allow) => {
            connection.log(StatusCode::METHOD_NOT_ALLOWED, parts, Duration::ZERO);
            respond::method_not_allowed(&allow)
        }
        Found::Nothing if parts.method == Method::OPTIONS && path == "*" => Response::default(),
        Found::Nothing => {
            connection.log(StatusCode::NOT_FOUND, parts, Duration::ZERO);
            Failure::not_found("NOT_FOUND").v1()
        }
    }
}

/// The path without escapes; `None` when they are malformed.
fn decoded(path: &str) -> Option<Cow<'_, str>> {
    if bad_escape(path).is_some() {
        return None;
    }
    // No path of ours has other than ASCII, so what becomes of the rest does not matter.
    Some(percent_decode_str(path).decode_utf8_lossy())
}

/// The answer to what is not quite HTTP.
fn bad_request(text: &'static str) -> Response {
    let mut response = respond::plain_text(StatusCode::BAD_REQUEST, text);
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}

/// Runs a handler. One that panics costs its request only.
async fn run<D: Desk>(
    connection: &Connection<D>,
    parts: &Parts,
    body: &mut Body,
    (endpoint, option): (Endpoint, &str),
) -> Response {
    let start = endpoint.is_logged().then(Instant::now);
    let call = Call { desk: &connection.desk, timers: &connection.timers, parts };
    let mut work = pin!(handle(&call, endpoint, option, body));
    let outcome = poll_fn(|cx| {
        // Unwind safety: what the handler held is not looked at again; the desk and the timers
        // lend themselves for single calls only, which the shard survives or does not.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    })
    .await;
    let response = outcome.unwrap_or_else(|failure| failure.v1());
    if let Some(start) = start {
        connection.log(response.status(), parts, start.elapsed());
    }
    response
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!("panic in HTTP handler - {}", text.unwrap_or("without a text"));
    Failure::internal()
}

async fn handle<D: Desk>(
    call: &Call<'_, D>,
    endpoint: Endpoint,
    option: &str,
    body: &mut Body,
) -> Result<Response, Failure> {
    match endpoint {
        Endpoint::Publish => publish::publish(call, body).await,
        Endpoint::PublishMany => publish::publish_many(call, body).await,
        Endpoint::Ping => Ok(info::ping(call.desk.facts())),
        Endpoint::Info => Ok(info::info(call.desk.facts())),
        Endpoint::Stats => stats::stats(call).await,
        Endpoint::CreateTopic => manage::create_topic(call).await,
        Endpoint::Topic(action) => manage::topic(call, action).await,
        Endpoint::CreateChannel => manage::create_channel(call).await,
        Endpoint::Channel(action) => manage::channel(call, action).await,
        Endpoint::Config => config::config(call, option, body).await,
        Endpoint::Profile => debug::profile(),
        Endpoint::SetBlockRate => Ok(debug::set_block_rate(call)),
        Endpoint::FreeMemory => Ok(debug::free_memory()),
    }
}
