//! From a request to its handler and back, alike for all programs: paths, methods, panics, the
//! line in the log.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};
use matchit::Params;
use percent_encoding::percent_decode_str;

use super::duration::GoDuration;
use super::query::{Query, bad_escape};
use super::respond::{self, Failure, Response};
use super::router::{Found, Router};
use crate::net::shield::panic_text;

/// The most bytes of a request's first line and headers.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of a connection that hyper keeps, head or body; also the largest piece in which
/// a body is handled. (The number of headers is bounded by hyper, at 100.)
pub const READ_BYTES_MAX: usize = 128 * 1024;

/// The connection ends with this response.
pub const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What a request's path and method lead to.
#[derive(Debug)]
pub enum Step<'r, 'p, E> {
    /// A handler, and the parameters in the path.
    Run(E, Params<'r, 'p>),
    /// An answer without one.
    Answer(Response),
}

/// The path of a request without escapes.
///
/// # Errors
/// When the `Host` is missing or an escape is malformed: with the text of [`bad_request`].
pub fn path(parts: &Parts) -> Result<Cow<'_, str>, &'static str> {
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(HOST) {
        return Err("400 Bad Request: missing required Host header");
    }
    let path = parts.uri.path();
    if bad_escape(path).is_some() {
        return Err("400 Bad Request");
    }
    // No path of ours has other than ASCII, so what becomes of the rest does not matter.
    Ok(percent_decode_str(path).decode_utf8_lossy())
}

/// Looks a request up. What no handler answers is logged, for `remote`.
pub fn step<'r, 'p, E: Copy>(
    routes: &'r Router<E>,
    parts: &Parts,
    path: &'p str,
    remote: &str,
) -> Step<'r, 'p, E> {
    Step::Answer(match routes.find(&parts.method, path) {
        Found::Endpoint(endpoint, params) => return Step::Run(endpoint, params),
        Found::Elsewhere(path) => respond::redirect(&parts.method, &path, parts.uri.query()),
        Found::Options(allow) => respond::options(&allow),
        Found::OtherMethods(allow) => {
            log(StatusCode::METHOD_NOT_ALLOWED, parts, remote, Duration::ZERO);
            respond::method_not_allowed(&allow)
        }
        Found::Nothing if parts.method == Method::OPTIONS && path == "*" => Response::default(),
        Found::Nothing => {
            log(StatusCode::NOT_FOUND, parts, remote, Duration::ZERO);
            Failure::not_found("NOT_FOUND").v1()
        }
    })
}

/// The answer to what is not quite HTTP.
#[must_use]
pub fn bad_request(text: &'static str) -> Response {
    let mut response = respond::plain_text(StatusCode::BAD_REQUEST, text);
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}

/// Runs a handler to its response. One that panics costs its request only.
///
/// What it held is not looked at again; what it shares with others has to survive a panic.
pub async fn guarded(handler: impl Future<Output = Result<Response, Failure>>) -> Response {
    let mut handler = pin!(handler);
    let outcome =
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                tracing::error!("panic in HTTP handler - {}", panic_text(&*panic));
                Poll::Ready(Err(Failure::internal()))
            }
        })
        .await;
    outcome.unwrap_or_else(|failure| failure.v1())
}

/// The parameters of a request.
///
/// # Errors
/// When the query string is malformed.
pub fn query(parts: &Parts) -> Result<Query<'_>, Failure> {
    Query::parse(parts.uri.query().unwrap_or_default()).map_err(|fault| {
        tracing::error!("failed to parse request params - {fault}");
        Failure::bad_request("INVALID_REQUEST")
    })
}

/// The line in the log about a request that was answered.
pub fn log(status: StatusCode, parts: &Parts, remote: &str, elapsed: Duration) {
    let uri = parts.uri.path_and_query().map_or("*", |uri| uri.as_str());
    let (status, method) = (status.as_u16(), &parts.method);
    tracing::info!("{status} {method} {uri} ({remote}) {}", GoDuration(elapsed));
}
