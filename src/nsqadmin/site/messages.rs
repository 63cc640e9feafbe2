//! Publishing a message by hand, and looking at messages that wait.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AdminSite;
use super::act::{Audit, is_name, read};
use super::reply;
use crate::http::client::{Cause, V1Error};
use crate::http::respond::{Failure, Response, v1_json};
use crate::http::server::Request;
use crate::nsqadmin::actions::{Done, Outcome, Stopped, Subject};
use crate::nsqadmin::cluster::{Cluster, Failed, Kind, Node, Unanswered, each, escape, warning};

/// The largest message.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The longest that one may be put off; nodes have bounds of their own.
const DEFER_MS_MAX: u64 = 366 * 24 * 3600 * 1000;
/// Messages that are shown when nobody says how many, and at most.
const PEEK_COUNT: usize = 10;
/// As above.
const PEEK_COUNT_MAX: usize = 100;
/// As much of a message as is shown.
const PEEK_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct PublishBody {
    #[serde(default)]
    topic: String,
    body: Option<String>,
    body_base64: Option<String>,
    defer_ms: Option<u64>,
    node: Option<String>,
}

impl PublishBody {
    fn message(&self) -> Result<Vec<u8>, Failure> {
        let message = match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => {
                BASE64.decode(text).map_err(|_| Failure::bad_request("INVALID_BODY"))?
            }
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => return Err(Failure::bad_request("INVALID_BODY")),
        };
        match message.len() {
            0 => Err(Failure::bad_request("MSG_EMPTY")),
            bytes if bytes > MESSAGE_BYTES_MAX => Err(Failure::too_large("MSG_TOO_BIG")),
            _ => Ok(message),
        }
    }
}

/// Publishes one message to one node.
pub async fn publish(site: &AdminSite, request: &Request<'_>) -> Result<Response, Failure> {
    if !site.access.offers_publish() {
        return Err(Failure::new(StatusCode::FORBIDDEN, "PUBLISH_DISABLED"));
    }
    let body: PublishBody =
        read(&request.body).map_err(|_| Failure::bad_request("INVALID_BODY"))?;
    if !is_name(&body.topic) {
        return Err(Failure::bad_request("INVALID_TOPIC"));
    }
    let message = Bytes::from(body.message()?);
    let mut path = format!("pub?topic={}", escape(&body.topic));
    if let Some(defer_ms) = body.defer_ms {
        if defer_ms > DEFER_MS_MAX {
            return Err(Failure::bad_request("INVALID_DEFER"));
        }
        path.push_str(&format!("&defer={defer_ms}"));
    }
    let done = send(&site.cluster, &body, &path, message).await;
    let subject = Subject { topic: &body.topic, channel: None };
    Audit { site, request }.log("publish", subject, body.node.as_deref(), &done);
    Ok(reply::done(&done))
}

/// Gives the message to the first node that takes it, or to the one that was named.
async fn send(cluster: &Cluster, body: &PublishBody, path: &str, message: Bytes) -> Done {
    let mut done = Done::default();
    let mut nodes = match cluster.nodes().await {
        Ok(found) => {
            done.failed = found.failed;
            found.value
        }
        Err(nobody) => return Done { stopped: Some(Stopped::Unanswered(nobody)), ..done },
    };
    if let Some(wanted) = &body.node {
        // Nothing is sent to an address that somebody just typed.
        nodes.retain(|node| node.http_address() == *wanted);
        if nodes.is_empty() {
            return Done { stopped: Some(Stopped::UnknownNode), ..done };
        }
    }
    let has = |node: &Node| node.topics.iter().any(|of| of.topic == body.topic && !of.tombstoned);
    nodes.sort_by_key(|node| !has(node));
    for node in nodes {
        let address = node.http_address();
        let call = (Method::POST, path);
        let sent = cluster.call(Kind::Nsqd, &address, call, message.clone()).await;
        let tries_next = sent.as_ref().err().is_some_and(cannot_have_come);
        done.outcomes.push(outcome(address, sent.as_ref().err()));
        if !tries_next {
            break;
        }
    }
    let ok = done.outcomes.last().is_some_and(|last| last.ok);
    if !ok {
        let failed = done.outcomes.iter().map(|outcome| Failed {
            kind: Kind::Nsqd,
            address: outcome.address.clone(),
            error: outcome.error.clone(),
            status: None,
        });
        let failed = failed.collect();
        done.stopped = Some(Stopped::Unanswered(Unanswered { kind: Kind::Nsqd, failed }));
    }
    done
}

/// Whether another node may be given the message without it being there twice.
fn cannot_have_come(error: &V1Error) -> bool {
    match error {
        V1Error::NoAnswer(error) => {
            matches!(error.cause(), Cause::Connect { .. } | Cause::Resolve { .. } | Cause::Tls(_))
        }
        V1Error::Refused { status, .. } => status.is_server_error(),
        V1Error::BadUrl { .. } => true,
        V1Error::Undecodable(_) => false,
    }
}

fn outcome(address: String, error: Option<&V1Error>) -> Outcome {
    let status = match error {
        None => 200,
        Some(error) => error.status().map_or(0, |status| status.as_u16()),
    };
    Outcome {
        kind: Kind::Nsqd,
        address,
        ok: error.is_none(),
        error: error.map(V1Error::to_string).unwrap_or_default(),
        status,
    }
}

/// A message that waits somewhere.
#[derive(Debug, PartialEq, Serialize)]
struct Seen {
    node: String,
    id: String,
    timestamp_ns: Option<i64>,
    attempts: Option<i64>,
    state: String,
    body_base64: String,
    size: usize,
    truncated: bool,
}

/// Which messages to look at.
struct Peek<'a> {
    topic: &'a str,
    channel: &'a str,
    state: &'a str,
    limit: usize,
}

impl Peek<'_> {
    fn path(&self) -> String {
        let Peek { topic, channel, state, limit } = self;
        let (topic, channel) = (escape(topic), escape(channel));
        format!("channel/messages?topic={topic}&channel={channel}&state={state}&limit={limit}")
    }
}

/// Messages that wait in a channel, of those nodes that show them.
pub async fn peek(site: &AdminSite, request: &Request<'_>) -> Result<Response, Failure> {
    if !site.access.offers_peek() {
        return Err(Failure::new(StatusCode::FORBIDDEN, "PEEK_DISABLED"));
    }
    let query = request.query()?;
    let text = |name| query.get(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let invalid = |code| move || Failure::bad_request(code);
    let topic = text("topic").filter(|name| is_name(name)).ok_or_else(invalid("INVALID_TOPIC"))?;
    let channel =
        text("channel").filter(|name| is_name(name)).ok_or_else(invalid("INVALID_CHANNEL"))?;
    let state = text("state").unwrap_or_else(|| "ready".to_owned());
    if !["ready", "inflight", "deferred", "dead"].contains(&state.as_str()) {
        return Err(Failure::bad_request("INVALID_STATE"));
    }
    let limit = match text("limit") {
        None => PEEK_COUNT,
        Some(text) => text.parse().map_err(|_| Failure::bad_request("INVALID_LIMIT"))?,
    };
    let limit = limit.clamp(1, PEEK_COUNT_MAX);
    let peek = Peek { topic: &topic, channel: &channel, state: &state, limit };
    Ok(look(&site.cluster, &peek, text("node").as_deref()).await)
}

async fn look(cluster: &Cluster, peek: &Peek<'_>, only: Option<&str>) -> Response {
    let found = match cluster.topic_nodes(peek.topic).await {
        Ok(found) => found,
        Err(nobody) => return reply::unanswered("get topic producers", &nobody),
    };
    if !found.value.known {
        return reply::refused(StatusCode::NOT_FOUND, "TOPIC_NOT_FOUND", &found.failed);
    }
    let mut addresses: Vec<String> = found.value.nodes.iter().map(Node::http_address).collect();
    addresses.retain(|address| only.is_none_or(|only| address == only));
    let path = peek.path();
    let said = each(addresses, |address| async {
        let said = cluster.get::<Value>(Kind::Nsqd, &address, &path).await;
        (address, said)
    })
    .await;
    let (mut messages, mut failed, mut supported) = (Vec::new(), found.failed, false);
    for (address, said) in said {
        match said {
            Ok(said) => {
                supported = true;
                let list = said["messages"].as_array().cloned().unwrap_or_default();
                messages.extend(list.iter().map(|message| seen(&address, peek.state, message)));
            }
            Err(error) if is_unknown_path(&error) => {}
            Err(error) => {
                failed.push(Failed::new(Kind::Nsqd, address, &error));
            }
        }
    }
    messages.truncate(peek.limit);
    let message = warning(&[&failed]);
    v1_json(&json!({
        "messages": messages,
        "supported": supported,
        "message": message,
        "failed": failed,
    }))
}

/// Whether the node does not know of looking at messages, as the original does not.
fn is_unknown_path(error: &V1Error) -> bool {
    match error {
        V1Error::Refused { status, body, .. } => {
            *status == StatusCode::NOT_FOUND && body.contains(r#"\"NOT_FOUND\""#)
        }
        _ => false,
    }
}

/// A message as a node tells it; its body is a text, or base64.
fn seen(node: &str, state: &str, said: &Value) -> Seen {
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    let body = match (text("body_base64"), text("body")) {
        (Some(packed), _) => BASE64.decode(packed).unwrap_or_default(),
        (None, Some(plain)) => plain.into_bytes(),
        (None, None) => Vec::new(),
    };
    let told = said["size"].as_u64().and_then(|size| usize::try_from(size).ok());
    let size = told.unwrap_or(body.len()).max(body.len());
    let shown = &body[..body.len().min(PEEK_BYTES_MAX)];
    Seen {
        node: node.to_owned(),
        id: text("id").unwrap_or_default(),
        timestamp_ns: said["timestamp_ns"].as_i64().or(said["timestamp"].as_i64()),
        attempts: said["attempts"].as_i64(),
        state: text("state").unwrap_or_else(|| state.to_owned()),
        body_base64: BASE64.encode(shown),
        size,
        truncated: shown.len() < size,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PEEK_BYTES_MAX, Peek, PublishBody, seen};

    fn message(json: serde_json::Value) -> Result<Vec<u8>, String> {
        let body: PublishBody = serde_json::from_value(json).unwrap();
        body.message().map_err(|failure| failure.message.into_owned())
    }

    #[test]
    fn a_message_is_text_or_bytes() {
        assert_eq!(message(json!({"body": "ü"})).unwrap(), "ü".as_bytes());
        assert_eq!(message(json!({"body_base64": "AAE="})).unwrap(), [0, 1]);
        for (wrong, code) in [
            (json!({}), "MSG_EMPTY"),
            (json!({"body": ""}), "MSG_EMPTY"),
            (json!({"body_base64": "%"}), "INVALID_BODY"),
            (json!({"body": "a", "body_base64": "AAE="}), "INVALID_BODY"),
            (json!({"body": "x".repeat((1 << 20) + 1)}), "MSG_TOO_BIG"),
        ] {
            assert_eq!(message(wrong).unwrap_err(), code);
        }
    }

    #[test]
    fn messages_are_shown_up_to_a_length() {
        let said = json!({"id": "0123", "timestamp": 5, "attempts": 2, "body": "hi"});
        let short = seen("a:1", "ready", &said);
        assert_eq!(
            (short.id.as_str(), short.timestamp_ns, short.attempts),
            ("0123", Some(5), Some(2))
        );
        assert_eq!((short.body_base64.as_str(), short.size, short.truncated), ("aGk=", 2, false));
        let said = json!({"body": "x".repeat(PEEK_BYTES_MAX + 1)});
        assert!(seen("a:1", "ready", &said).truncated);
        let said = json!({"body_base64": "aGk=", "size": 900});
        let cut = seen("a:1", "ready", &said);
        assert!(cut.truncated && cut.size == 900);
        assert_eq!(seen("a:1", "dead", &json!(null)).state, "dead");
    }

    #[test]
    fn names_cannot_add_parameters() {
        let peek = Peek { topic: "t&x=1", channel: "c#ephemeral", state: "ready", limit: 5 };
        let wanted = "channel/messages?topic=t%26x%3D1&channel=c%23ephemeral&state=ready&limit=5";
        assert_eq!(peek.path(), wanted);
    }
}
