//! HTTP before there is a shard: while files are read, whoever asks hears that the process lives,
//! that it is not ready, and how far it is. Everything else is put off.
//!
//! It runs on a thread of its own and accepts from the listeners of the workers, who do so when it
//! has left. Connections that it has by then are answered by it and closed; no answer lets a
//! connection live on, so that nobody stays with the wrong one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::{Map, json};

use crate::http::exposition;
use crate::http::health;
use crate::http::respond::{self, Failure, Response};
use crate::http::router::Router;
use crate::http::server::{self, Limits, Request, Site};
use crate::net::connections::Interim;
use crate::net::listeners::{BoundListener, ListenerSocket};
use crate::net::thread::{LightThread, StopSignal};
use crate::nsqd::http::facts::Facts;
use crate::nsqd::http::routes::{Endpoint, ROUTES};
use crate::nsqd::statistics::early_metrics;
use crate::tls::ServerTls;

/// What clients may hold.
const LIMITS: Limits = Limits {
    connections_max: 1024,
    idle: Duration::from_secs(20),
    request: Duration::from_secs(20),
    answer: Duration::from_secs(5),
    keep_alive: false,
};
/// How long those that are left may take to say what they want, and to hear.
const GRACE: Duration = Duration::from_secs(20);
/// How long it may take to leave: it looks for connections that often, and more on a busy machine.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

/// HTTP until the workers serve it.
#[derive(Debug)]
pub struct Reception {
    /// Ends by itself once it has left and nobody is left; with the process at the latest.
    thread: LightThread,
    left: flume::Receiver<()>,
}

impl Reception {
    /// Serves at these listeners, if there are any. TLS is around those that are for HTTPS.
    ///
    /// # Errors
    /// When there is no thread or no descriptor to be had.
    pub fn open<'a>(
        listeners: impl IntoIterator<Item = &'a BoundListener>,
        facts: &Arc<Facts>,
        tls: Option<&Arc<ServerTls>>,
    ) -> Result<Option<Reception>, String> {
        let listeners = listeners.into_iter().map(twin).collect::<Result<Vec<_>, _>>()?;
        if listeners.is_empty() {
            return Ok(None);
        }
        let (facts, tls) = (facts.clone(), tls.cloned());
        let (leave, left) = flume::bounded(1);
        let (ready, readiness) = flume::bounded(1);
        let thread = LightThread::start("reception", move |stop| async move {
            let serving = serve(&listeners, &facts, tls.as_ref());
            drop(listeners);
            match serving {
                Ok(serving) => {
                    // The starting thread waits for it.
                    let _ = ready.send(Ok(()));
                    end(serving, &stop, leave).await;
                }
                Err(problem) => drop(ready.send(Err(problem))),
            }
        })?;
        readiness.recv().unwrap_or_else(|_| Err("it ended at its start".to_owned()))?;
        Ok(Some(Reception { thread, left }))
    }

    /// Leaves the listeners to the workers.
    ///
    /// # Errors
    /// When it does not: then nobody may accept from them.
    pub fn leave(self) -> Result<(), String> {
        let Reception { thread, left } = self;
        // Dropping is the signal.
        drop(thread);
        left.recv_timeout(LEAVE_PATIENCE)
            .map_err(|_| "the thread that serves HTTP during recovery does not end".to_owned())
    }
}

fn twin(bound: &BoundListener) -> Result<BoundListener, String> {
    let socket: ListenerSocket =
        bound.another().map_err(|error| format!("cannot listen - {error}"))?;
    let BoundListener { name, address, .. } = bound;
    Ok(BoundListener { name, socket, address: address.clone(), unix_file: None })
}

fn serve(
    listeners: &[BoundListener],
    facts: &Arc<Facts>,
    tls: Option<&Arc<ServerTls>>,
) -> Result<Vec<Interim>, String> {
    let serve = |bound: &BoundListener| {
        let tls = tls.filter(|_| bound.name == "HTTPS").cloned();
        let site = WaitingRoom { facts: facts.clone(), secure: tls.is_some() };
        server::serve_interim(bound, tls, Rc::new(site), LIMITS)
    };
    listeners.iter().map(serve).collect()
}

async fn end(serving: Vec<Interim>, stop: &StopSignal, leave: flume::Sender<()>) {
    stop.wait().await;
    let mut leaving = Vec::new();
    for interim in serving {
        leaving.push(interim.leave(GRACE).await);
    }
    // The process is ending anyway when nobody waits for it.
    let _ = leave.send(());
    for rest in leaving {
        rest.end().await;
    }
}

/// What is answered meanwhile.
struct WaitingRoom {
    facts: Arc<Facts>,
    /// Requests come in TLS.
    secure: bool,
}

impl Site for WaitingRoom {
    type Endpoint = Endpoint;

    fn routes(&self) -> &Router<Endpoint> {
        &ROUTES
    }

    fn body_bytes_max(&self, _endpoint: Endpoint) -> Option<u64> {
        None
    }

    fn is_logged(&self, endpoint: Endpoint) -> bool {
        endpoint.is_logged()
    }

    async fn handle(&self, endpoint: Endpoint, _: Request<'_>) -> Result<Response, Failure> {
        if let Some(port) = self.facts.https_required_port.filter(|_| !self.secure) {
            return Ok(respond::https_hint(port));
        }
        match endpoint {
            Endpoint::Healthz => Ok(health::healthz()),
            Endpoint::Ping | Endpoint::Readyz => Ok(self.not_ready()),
            Endpoint::Metrics => early_metrics(&self.facts)
                .map(exposition::response)
                .map_err(|error| exposition::failed(&error)),
            _ => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "RECOVERING")),
        }
    }
}

impl WaitingRoom {
    fn not_ready(&self) -> Response {
        let (life, progress) = (&self.facts.life, &self.facts.progress);
        let (done_bytes, bytes) = progress.bytes();
        let mut details = Map::new();
        details.insert("shards".to_owned(), life.shards().into());
        details.insert("listeners".to_owned(), life.listeners().into());
        details.insert("draining".to_owned(), false.into());
        let recovery = json!({
            "step": progress.step().name(),
            "done_bytes": done_bytes,
            "bytes": bytes,
            "elapsed_ms": u64::try_from(progress.took().as_millis()).unwrap_or(u64::MAX),
        });
        details.insert("recovery".to_owned(), recovery);
        let mut response = health::readyz(&[progress.text()], details);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}
