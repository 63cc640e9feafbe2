//! One connection: hyper at the socket, and each request to its handler.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::http::body::Body;
use crate::http::dispatch::{self, CLOSE, HEAD_BYTES_MAX, READ_BYTES_MAX, Step};
use crate::http::profiles;
use crate::http::query::Query;
use crate::http::respond::{self, Failure, Response};

use super::authorize::Origin;
use super::desk::Desk;
use super::routes::{Endpoint, ROUTES};
use super::socket::HttpSocket;
use super::timers::{HeadTimer, Timers};
use super::{
    config, debug, drain, health, info, manage, peek, policy, publish, redrive, seek, stats,
};

/// How long a request's head may take once it has begun: this long at least, twice as long at most.
pub const HEAD_TIME_MIN: Duration = Duration::from_secs(20);

/// What a handler works with.
#[derive(Debug)]
pub struct Call<'a, D> {
    /// The way to the shards.
    pub desk: &'a D,
    /// The time.
    pub timers: &'a Timers,
    /// The request without its body.
    pub parts: &'a Parts,
    /// Where it comes from.
    pub origin: &'a Origin,
}

impl<'a, D> Call<'a, D> {
    /// The parameters.
    ///
    /// # Errors
    /// When the query string is malformed.
    pub fn query(&self) -> Result<Query<'a>, Failure> {
        dispatch::query(self.parts)
    }
}

/// What the requests of one connection share.
#[derive(Debug)]
struct Connection<D> {
    desk: D,
    timers: Timers,
    origin: Origin,
}

/// Serves a connection until it ends.
pub async fn serve<D: Desk>(socket: HttpSocket, desk: D, timers: Timers, origin: Origin) {
    let head_timer = HeadTimer::new(&timers, HEAD_TIME_MIN, socket.ear());
    let connection = Rc::new(Connection { desk, timers, origin });
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
        tracing::debug!("HTTP connection of {} ended - {error}", connection.origin.remote);
    }
}

async fn answer<D: Desk>(
    connection: Rc<Connection<D>>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (parts, incoming) = request.into_parts();
    let mut body = Body::new(incoming, parts.headers.contains_key(EXPECT));
    let (endpoint, mut response) = match connection.https_hint() {
        Some(hint) => (None, hint),
        None => route(&connection, &parts, &mut body).await,
    };
    connection.desk.count(endpoint, response.status());
    if !body.discard().await {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    Ok(response)
}

impl<D: Desk> Connection<D> {
    fn call<'a>(&'a self, parts: &'a Parts) -> Call<'a, D> {
        Call { desk: &self.desk, timers: &self.timers, parts, origin: &self.origin }
    }

    /// The answer to everything on a plain connection while only TLS is served.
    fn https_hint(&self) -> Option<Response> {
        let port =
            self.desk.facts().https_required_port.filter(|_| self.origin.secure.is_none())?;
        Some(respond::https_hint(port))
    }
}

/// The endpoint that answers, if there is one, and the answer.
async fn route<D: Desk>(
    connection: &Connection<D>,
    parts: &Parts,
    body: &mut Body,
) -> (Option<Endpoint>, Response) {
    let path = match dispatch::path(parts) {
        Ok(path) => path,
        Err(text) => return (None, dispatch::bad_request(text)),
    };
    match dispatch::step(&ROUTES, parts, &path, &connection.origin.remote) {
        Step::Run(endpoint, params) => {
            let option = params.get("opt").unwrap_or_default();
            (Some(endpoint), run(connection, parts, body, (endpoint, option)).await)
        }
        Step::Answer(response) => (None, response),
    }
}

/// Runs a handler. What it shares with the shard (the desk, the timers) is lent for single calls
/// only, so a panic leaves it whole.
async fn run<D: Desk>(
    connection: &Connection<D>,
    parts: &Parts,
    body: &mut Body,
    (endpoint, option): (Endpoint, &str),
) -> Response {
    let start = endpoint.is_logged().then(Instant::now);
    let call = connection.call(parts);
    let response = dispatch::guarded(handle(&call, endpoint, option, body)).await;
    if let Some(start) = start {
        dispatch::log(response.status(), parts, &connection.origin.remote, start.elapsed());
    }
    response
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
        Endpoint::Healthz => Ok(crate::http::health::healthz()),
        Endpoint::Readyz => Ok(health::readyz(call).await),
        Endpoint::Info => Ok(info::info(call.desk.facts())),
        Endpoint::Stats => stats::stats(call).await,
        Endpoint::Metrics => stats::metrics(call).await,
        Endpoint::CreateTopic => manage::create_topic(call).await,
        Endpoint::Topic(action) => manage::topic(call, action).await,
        Endpoint::CreateChannel => manage::create_channel(call).await,
        Endpoint::Channel(action) => manage::channel(call, action).await,
        Endpoint::Messages => peek::messages(call).await,
        Endpoint::Config => config::config(call, option, body).await,
        Endpoint::Drain => drain::drain(call, body).await,
        Endpoint::Profile(profile) => profiles::answer(profile),
        Endpoint::Policy(subject) => policy::policy(call, subject).await,
        Endpoint::Redrive => redrive::redrive(call).await,
        Endpoint::Seek => seek::seek(call).await,
        Endpoint::SetBlockRate => Ok(debug::set_block_rate(call)),
        Endpoint::FreeMemory => Ok(debug::free_memory()),
    }
}
