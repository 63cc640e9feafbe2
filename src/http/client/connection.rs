//! One connection: dialled, then used for one request after the other.
//!
//! The task that waits for the answer also moves the bytes, so no task is left behind when it
//! stops waiting, and an idle connection costs nothing.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use glommio::net::TcpStream;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::CONTENT_LENGTH;
use rustls::ClientConfig;

use super::error::Cause;
use super::io::ServerStream;
use super::request::{Reply, Request, Url};
use super::resolve::resolve;
use crate::config::go_text::errno_text;
use crate::net::carrier::Carrier;
use crate::net::stream::Stream;
use crate::tls::{TlsStream, server_name};

/// The most bytes of an answer's head, and of its body that are read at once.
const READ_BYTES_MAX: usize = 256 * 1024;
/// The least time that one of several addresses is given.
const DIAL_TIME_MIN: Duration = Duration::from_millis(500);

type Driver = http1::Connection<ServerStream, Full<Bytes>>;

/// A connection to a server.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes whenever it is polled; `None` once the connection has ended.
    driver: Option<Driver>,
}

/// An exchange that failed.
#[derive(Debug)]
pub struct Failed {
    /// The server cannot have seen anything of the request.
    pub unseen: bool,
    /// What went wrong.
    pub cause: Cause,
}

impl Failed {
    fn seen(cause: Cause) -> Failed {
        Failed { unseen: false, cause }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("open", &self.driver.is_some()).finish()
    }
}

impl Connection {
    /// Connects to a URL's server, trying its addresses one after the other.
    /// A URL of `https` needs `tls`.
    pub async fn dial(
        url: &Url,
        timeout: Duration,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Connection, Cause> {
        let stream = dial_any(url, timeout).await?;
        let stream = match (url.https, tls) {
            (false, _) => Carrier::Plain(stream),
            (true, Some(config)) => {
                Carrier::Tls(Box::new(secure(stream, config, &url.host).await?))
            }
            (true, None) => return Err(Cause::Tls("it is not configured".to_owned())),
        };
        let handshake = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(READ_BYTES_MAX)
            .handshake(ServerStream(stream))
            .await;
        let (sender, driver) = handshake.map_err(|error| Cause::Broken(text(&error)))?;
        Ok(Connection { sender, driver: Some(driver) })
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(
        &mut self,
        request: &Request,
        user_agent: &str,
        bytes_max: usize,
    ) -> Result<Reply, Failed> {
        let unsendable = |text| Failed { unseen: false, cause: Cause::Unsendable(text) };
        let request = request.to_hyper(user_agent).map_err(unsendable)?;
        let answer = self.sender.try_send_request(request);
        let response = match self.drive(answer).await {
            Ok(response) => response,
            Err(mut error) => {
                let unseen = error.take_message().is_some();
                let cause = Cause::Broken(text(error.error()));
                return Err(Failed { unseen, cause });
            }
        };
        let (parts, body) = response.into_parts();
        let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.and_then(|text| text.parse::<usize>().ok()).is_some_and(|n| n > bytes_max) {
            return Err(Failed::seen(Cause::TooLong(bytes_max)));
        }
        let body = self.drive(read(body, bytes_max)).await.map_err(Failed::seen)?;
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let reason = reason.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let known = || parts.status.canonical_reason().unwrap_or_default().to_owned();
        let status_text = format!("{} {}", parts.status.as_u16(), reason.unwrap_or_else(known));
        Ok(Reply { status: parts.status, status_text, headers: parts.headers, body })
    }

    /// Whether another request can be sent; it lets the connection notice that the server closed.
    pub fn is_reusable(&mut self) -> bool {
        self.step(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// What `work` comes to while the connection is moved along.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.step(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    fn step(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        if let Poll::Ready(end) = Pin::new(driver).poll(cx) {
            if let Err(error) = end {
                tracing::debug!("an HTTP connection ended - {error}");
            }
            self.driver = None;
        }
    }
}

async fn dial_any(url: &Url, timeout: Duration) -> Result<Stream, Cause> {
    let until = Instant::now() + timeout;
    let resolved = super::within(timeout, resolve(&url.host, url.port)).await;
    let timed_out = || Cause::Resolve { host: url.host.clone(), text: "i/o timeout".to_owned() };
    let addresses = resolved.ok_or_else(timed_out)??;
    let mut failure = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match dial_one(*address, share.max(DIAL_TIME_MIN.min(left))).await {
            Ok(stream) => return Ok(stream),
            // As in Go, the first failure is the one that is told.
            Err(cause) => failure = failure.or(Some(cause)),
        }
    }
    Err(failure.unwrap_or_else(timed_out))
}

async fn dial_one(address: SocketAddr, timeout: Duration) -> Result<Stream, Cause> {
    let failed = |text: String| Cause::Connect { address, text };
    if timeout.is_zero() {
        return Err(failed("i/o timeout".to_owned()));
    }
    let stream = TcpStream::connect_timeout(address, timeout).await.map_err(|error| {
        let error = std::io::Error::from(error);
        match error.kind() {
            std::io::ErrorKind::TimedOut => failed("i/o timeout".to_owned()),
            _ => failed(format!("connect: {}", errno_text(&error))),
        }
    })?;
    Stream::new(stream).map_err(|error| failed(errno_text(&error)))
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Cause> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Cause::Broken(text(&error)))?;
        // Frames without data are trailers, which nobody asks for.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(Cause::TooLong(bytes_max));
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Greets a server of this name and checks that it is one.
async fn secure(
    stream: Stream,
    config: &Arc<ClientConfig>,
    host: &str,
) -> Result<TlsStream<Stream>, Cause> {
    let name = server_name(host).map_err(|error| Cause::Tls(error.to_string()))?;
    TlsStream::connect(stream, config.clone(), name).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Cause::Tls(error.to_string()),
            None => Cause::Tls(errno_text(&error)),
        }
    })
}

/// What hyper says, with what lies below it: "connection error: connection reset by peer".
fn text(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    match std::error::Error::source(error) {
        Some(source) => match source.downcast_ref::<std::io::Error>() {
            Some(io) => errno_text(io),
            None => format!("{error}: {source}"),
        },
        None => error.to_string(),
    }
}
