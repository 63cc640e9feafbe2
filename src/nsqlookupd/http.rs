//! The HTTP interface: the original's endpoints, and beside them metrics, health, and a `/lookup`
//! that waits for a change.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Map, json};
use shards::wire::names::Name;

use super::limits::{LARGE_ANSWER_BYTES, LARGE_ANSWERS_BYTES_MAX};
use super::metrics;
use super::registry::Full;
use super::run::Gauges;
use super::shared::Shared;
use crate::config::duration::parse_go_duration;
use crate::config::version::NSQ_VERSION;
use crate::http::health;
use crate::http::profiles::{self, Profile};
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, plain_text, v1_empty, v1_json, v1_json_text};
use crate::http::router::{Route, Router};
use crate::http::server::{Request, Site};

/// The number of a topic's last change, in answers to requests that wait or might.
const INDEX: HeaderName = HeaderName::from_static("x-nsq-index");
/// No name in a write: the original deletes everything when it finds it there.
const WILDCARD: &[u8] = b"*";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Is the process there?
    Ping,
    /// Which version is it?
    Info,
    /// Who has a topic?
    Lookup,
    /// Which topics are there?
    Topics,
    /// Which channels has a topic?
    Channels,
    /// Which producers are there?
    Nodes,
    /// Everything.
    Debug,
    /// Create a topic.
    CreateTopic,
    /// Delete a topic.
    DeleteTopic,
    /// Create a channel.
    CreateChannel,
    /// Delete a channel.
    DeleteChannel,
    /// Hide a producer of a topic.
    Tombstone,
    /// Numbers for Prometheus.
    Metrics,
    /// Does the process work?
    Healthz,
    /// Should it be asked?
    Readyz,
    /// A profile.
    Profile(Profile),
}

fn table() -> Vec<Route<Endpoint>> {
    use Endpoint as E;
    let (get, post) = (Method::GET, Method::POST);
    let routes = [
        (&get, "/ping", E::Ping),
        (&get, "/info", E::Info),
        (&get, "/lookup", E::Lookup),
        (&get, "/topics", E::Topics),
        (&get, "/channels", E::Channels),
        (&get, "/nodes", E::Nodes),
        (&get, "/debug", E::Debug),
        (&post, "/topic/create", E::CreateTopic),
        (&post, "/topic/delete", E::DeleteTopic),
        (&post, "/channel/create", E::CreateChannel),
        (&post, "/channel/delete", E::DeleteChannel),
        (&post, "/topic/tombstone", E::Tombstone),
        (&get, "/metrics", E::Metrics),
        (&get, "/healthz", E::Healthz),
        (&get, "/readyz", E::Readyz),
    ];
    let mut table = profiles::routes("/debug/pprof", E::Profile);
    table.extend(routes.map(|(method, pattern, endpoint)| (method.clone(), pattern, endpoint)));
    table
}

/// nsqlookupd as HTTP clients see it.
#[derive(Debug)]
pub struct LookupSite {
    routes: Router<Endpoint>,
    shared: Rc<Shared>,
    gauges: Rc<Gauges>,
    wait_max: Duration,
    /// Bytes of large answers that have not left yet.
    large_bytes: Arc<AtomicUsize>,
}

impl Site for LookupSite {
    type Endpoint = Endpoint;

    fn routes(&self) -> &Router<Endpoint> {
        &self.routes
    }

    fn body_bytes_max(&self, _: Endpoint) -> Option<u64> {
        None
    }

    fn is_logged(&self, endpoint: Endpoint) -> bool {
        use Endpoint::{Healthz, Metrics, Profile, Readyz};
        !matches!(endpoint, Profile(_) | Metrics | Healthz | Readyz)
    }

    async fn handle(&self, endpoint: Endpoint, request: Request<'_>) -> Result<Response, Failure> {
        match endpoint {
            Endpoint::Ping => Ok(plain_text(StatusCode::OK, "OK")),
            Endpoint::Info => Ok(v1_json(&json!({ "version": NSQ_VERSION }))),
            Endpoint::Lookup => self.lookup(&request.query()?).await,
            Endpoint::Topics => self.large(self.shared.with(|registry, _| registry.topics())),
            Endpoint::Channels => self.channels(&request.query()?),
            Endpoint::Nodes => self.large(self.shared.with(|registry, now| registry.nodes(now))),
            Endpoint::Debug => self.large(self.shared.with(|registry, _| registry.debug())),
            Endpoint::CreateTopic => self.create_topic(&request.query()?),
            Endpoint::DeleteTopic => self.delete_topic(&request.query()?),
            Endpoint::CreateChannel => self.create_channel(&request.query()?),
            Endpoint::DeleteChannel => self.delete_channel(&request.query()?),
            Endpoint::Tombstone => self.tombstone(&request.query()?),
            Endpoint::Metrics => metrics::answer(&self.gauges.statistics(&self.shared)),
            Endpoint::Healthz => Ok(health::healthz()),
            Endpoint::Readyz => Ok(self.ready()),
            Endpoint::Profile(profile) => profiles::answer(profile),
        }
    }
}

impl LookupSite {
    /// The site of a registry. A client may wait for a change no longer than `wait_max` at once.
    pub fn new(shared: Rc<Shared>, gauges: Rc<Gauges>, wait_max: Duration) -> LookupSite {
        let routes = Router::new(&table());
        LookupSite { routes, shared, gauges, wait_max, large_bytes: Arc::default() }
    }

    async fn lookup(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let topic = topic(query)?;
        let Some(wait) = self.wait(query)? else { return self.found(&topic) };
        if let Some(index) = index(query)? {
            self.shared.changed(&topic, index, wait).await;
        }
        // Before the answer is made, so that what changes meanwhile counts as another change.
        let current = self.shared.with(|registry, _| registry.index_of(&topic));
        let mut response = self.found(&topic).unwrap_or_else(|failure| failure.v1());
        response.headers_mut().insert(INDEX, HeaderValue::from(current));
        Ok(response)
    }

    fn found(&self, topic: &str) -> Result<Response, Failure> {
        let found = self.shared.with(|registry, now| registry.lookup(topic, now));
        self.large(found.ok_or(Failure::not_found("TOPIC_NOT_FOUND"))?)
    }

    /// How long a client is willing to wait, which makes it one that wants to know the index.
    fn wait(&self, query: &Query<'_>) -> Result<Option<Duration>, Failure> {
        let Some(text) = query.get("wait") else {
            return Ok(query.get("index").map(|_| Duration::ZERO));
        };
        let nanoseconds = std::str::from_utf8(&text).ok().and_then(|text| {
            let nanoseconds = parse_go_duration(text).ok()?;
            u64::try_from(nanoseconds).ok()
        });
        let nanoseconds = nanoseconds.ok_or(Failure::bad_request("INVALID_ARG_WAIT"))?;
        Ok(Some(Duration::from_nanos(nanoseconds).min(self.wait_max)))
    }

    fn channels(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let topic = topic(query)?;
        self.large(self.shared.with(|registry, _| registry.channels(&topic)))
    }

    fn create_topic(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let topic = topic_name(query)?;
        tracing::info!("DB: adding topic({topic})");
        self.shared.with(|registry, _| registry.create(topic.as_str(), None)).map_err(full)?;
        Ok(v1_empty())
    }

    fn create_channel(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let (topic, channel) = (topic_name(query)?, channel_name(query)?);
        tracing::info!("DB: adding channel({channel}) in topic({topic})");
        tracing::info!("DB: adding topic({topic})");
        self.shared
            .with(|registry, _| registry.create(topic.as_str(), Some(channel.as_str())))
            .map_err(full)?;
        Ok(v1_empty())
    }

    fn delete_topic(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let topic = no_wildcard(topic(query)?)?;
        let deleted = self.shared.with(|registry, _| registry.delete_topic(&topic));
        for channel in deleted.iter().flat_map(|deleted| &deleted.channels) {
            tracing::info!("DB: removing channel({channel}) from topic({topic})");
        }
        if deleted.is_some_and(|deleted| deleted.topic) {
            tracing::info!("DB: removing topic({topic})");
        }
        Ok(v1_empty())
    }

    fn delete_channel(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let (topic, channel) = (topic_name(query)?, channel_name(query)?);
        let (topic, channel) = (topic.as_str(), channel.as_str());
        if !self.shared.with(|registry, _| registry.delete_channel(topic, channel)) {
            return Err(Failure::not_found("CHANNEL_NOT_FOUND"));
        }
        tracing::info!("DB: removing channel({channel}) from topic({topic})");
        Ok(v1_empty())
    }

    fn tombstone(&self, query: &Query<'_>) -> Result<Response, Failure> {
        let topic = no_wildcard(topic(query)?)?;
        let node = text(query, "node").ok_or(Failure::bad_request("MISSING_ARG_NODE"))?;
        tracing::info!("DB: setting tombstone for producer@{node} of topic({topic})");
        self.shared.with(|registry, now| registry.tombstone(&topic, &node, now));
        Ok(v1_empty())
    }

    fn ready(&self) -> Response {
        let stopping = self.shared.is_stopping().then(|| "stopping".to_owned());
        health::readyz(stopping.as_slice(), Map::new())
    }

    /// JSON that may be large: what is on its way to slow clients is bounded in all.
    fn large(&self, json: String) -> Result<Response, Failure> {
        let bytes = json.len();
        if bytes < LARGE_ANSWER_BYTES {
            return Ok(v1_json_text(json));
        }
        let before = self.large_bytes.fetch_add(bytes, Ordering::Relaxed);
        let answer = LargeAnswer { json, all: self.large_bytes.clone() };
        if before > 0 && before + bytes > LARGE_ANSWERS_BYTES_MAX {
            let busy = "TOO_MANY_LARGE_ANSWERS";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, busy));
        }
        Ok(v1_json_text(Bytes::from_owner(answer)))
    }
}

/// Counts until it is dropped, which is when it has left or its client has.
struct LargeAnswer {
    json: String,
    all: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for LargeAnswer {
    fn as_ref(&self) -> &[u8] {
        self.json.as_bytes()
    }
}

impl Drop for LargeAnswer {
    fn drop(&mut self) {
        self.all.fetch_sub(self.json.len(), Ordering::Relaxed);
    }
}

fn full(_: Full) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_REGISTRATIONS")
}

/// A parameter as text. What is not UTF-8 names nothing that exists.
fn text<'q>(query: &Query<'q>, name: &str) -> Option<Cow<'q, str>> {
    query.get(name).map(|value| match value {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

fn topic<'q>(query: &Query<'q>) -> Result<Cow<'q, str>, Failure> {
    text(query, "topic").ok_or(Failure::bad_request("MISSING_ARG_TOPIC"))
}

fn topic_name(query: &Query<'_>) -> Result<Name, Failure> {
    let raw = query.get("topic").ok_or(Failure::bad_request("MISSING_ARG_TOPIC"))?;
    Name::parse(&raw).ok_or(Failure::bad_request("INVALID_ARG_TOPIC"))
}

fn channel_name(query: &Query<'_>) -> Result<Name, Failure> {
    let raw = query.get("channel").ok_or(Failure::bad_request("MISSING_ARG_CHANNEL"))?;
    Name::parse(&raw).ok_or(Failure::bad_request("INVALID_ARG_CHANNEL"))
}

fn no_wildcard(topic: Cow<'_, str>) -> Result<Cow<'_, str>, Failure> {
    if topic.as_bytes() == WILDCARD {
        return Err(Failure::bad_request("INVALID_ARG_TOPIC"));
    }
    Ok(topic)
}

/// The number of the change that the client knows of; `None` when it knows of none.
fn index(query: &Query<'_>) -> Result<Option<u64>, Failure> {
    match text(query, "index") {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Failure::bad_request("INVALID_ARG_INDEX")),
    }
}
