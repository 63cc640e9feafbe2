//! Requests that change something: read, carried out, told, and written into the log.

use hyper::header::{HOST, HeaderMap, HeaderName, USER_AGENT};
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shards::wire::names::Name;

use super::AdminSite;
use super::reply;
use crate::http::respond::{Failure, Response};
use crate::http::server::Request;
use crate::nsqadmin::access::basic_user;
use crate::nsqadmin::actions::{self, Done, Notice, Stopped, Subject, Verb};
use crate::nsqadmin::cluster::unix_seconds;

const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");

/// A name in a log line is cut off here.
const LOGGED_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
struct CreateBody {
    #[serde(default)]
    topic: String,
    #[serde(default)]
    channel: String,
}

#[derive(Deserialize)]
struct ChangeBody {
    #[serde(default)]
    action: String,
}

#[derive(Deserialize)]
struct TombstoneBody {
    #[serde(default)]
    topic: String,
}

/// Creates a topic, and a channel where one is named.
pub async fn create(site: &AdminSite, request: &Request<'_>) -> Result<Response, Failure> {
    let body: CreateBody = read(&request.body)?;
    if !is_name(&body.topic) {
        return Err(Failure::bad_request("INVALID_TOPIC"));
    }
    let channel = Some(body.channel.as_str()).filter(|name| !name.is_empty());
    if channel.is_some_and(|name| !is_name(name)) {
        return Err(Failure::bad_request("INVALID_CHANNEL"));
    }
    let subject = Subject { topic: &body.topic, channel };
    let done = actions::create(&site.cluster, subject).await;
    let audit = Audit { site, request };
    let topic = Subject { channel: None, ..subject };
    audit.log("create", subject, None, &done);
    if !is_upstream_error(&done) {
        audit.tell("create_topic", topic, None);
        if channel.is_some() {
            audit.tell("create_channel", subject, None);
        }
    }
    Ok(reply::done(&done))
}

/// Pauses, unpauses or empties.
pub async fn change(
    site: &AdminSite,
    request: &Request<'_>,
    subject: Subject<'_>,
) -> Result<Response, Failure> {
    let body: ChangeBody = read(&request.body)?;
    let verb = Verb::parse(&body.action).ok_or(Failure::bad_request("INVALID_ACTION"))?;
    let done = actions::change(&site.cluster, subject, verb).await;
    let audit = Audit { site, request };
    audit.log(verb.name(), subject, None, &done);
    // As in the original, also when it came to nothing.
    audit.tell(&format!("{}_{}", verb.name(), subject.noun()), subject, None);
    Ok(reply::done(&done))
}

/// Deletes a topic or a channel.
pub async fn delete(site: &AdminSite, request: &Request<'_>, subject: Subject<'_>) -> Response {
    let done = actions::delete(&site.cluster, subject).await;
    let audit = Audit { site, request };
    audit.log("delete", subject, None, &done);
    if done.stopped.is_none() {
        audit.tell(&format!("delete_{}", subject.noun()), subject, None);
    }
    reply::done(&done)
}

/// Takes a topic away from a node.
pub async fn tombstone(
    site: &AdminSite,
    request: &Request<'_>,
    node: &str,
) -> Result<Response, Failure> {
    let body: TombstoneBody =
        read(&request.body).map_err(|_| Failure::bad_request("INVALID_BODY"))?;
    if !is_name(&body.topic) {
        return Err(Failure::bad_request("INVALID_TOPIC"));
    }
    let subject = Subject { topic: &body.topic, channel: None };
    let done = actions::tombstone(&site.cluster, &body.topic, node).await;
    let audit = Audit { site, request };
    audit.log("tombstone", subject, Some(node), &done);
    if done.stopped.is_none() {
        audit.tell("tombstone_topic_producer", subject, Some(node));
    }
    Ok(reply::done(&done))
}

fn is_upstream_error(done: &Done) -> bool {
    matches!(done.stopped, Some(Stopped::Unanswered(_)))
}

/// Whether NSQ takes this for a name.
pub fn is_name(text: &str) -> bool {
    Name::parse(text.as_bytes()).is_some()
}

/// JSON of a request; errors are told as they are, as in the original. What follows the first value
/// is not looked at, and `null` is an object without fields, as there.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let wrong = |error: serde_json::Error| Failure {
        status: StatusCode::BAD_REQUEST,
        message: error.to_string().into(),
    };
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let value = match values.next() {
        None => return Err(Failure::bad_request("EOF")),
        Some(value) => value.map_err(wrong)?,
    };
    match value {
        Value::Null => serde_json::from_str("{}").map_err(wrong),
        Value::Object(_) => serde_json::from_value(value).map_err(wrong),
        _ => Err(Failure::bad_request("json: cannot unmarshal the value into an object")),
    }
}

/// Who did it, for the log and for the endpoint that is told.
pub struct Audit<'a> {
    /// Where it was done.
    pub site: &'a AdminSite,
    /// With what.
    pub request: &'a Request<'a>,
}

impl Audit<'_> {
    /// A line in the log for an action, whatever became of it.
    pub fn log(&self, action: &str, subject: Subject<'_>, node: Option<&str>, done: &Done) {
        let (ok, failed) = done.counts();
        let headers = &self.request.parts.headers;
        let user = self.site.access.user(headers, self.request.remote).map(str::to_owned);
        let user = user.or_else(|| basic_user(headers)).unwrap_or_default();
        let outcome = match &done.stopped {
            None if failed == 0 => "done",
            None if ok == 0 => "failed",
            None => "partly",
            Some(_) => "refused",
        };
        self.site.count_action(outcome);
        tracing::info!(
            "AUDIT: {action} {} topic={:?} channel={:?} node={:?} user={:?} from={} \
             agent={:?} {outcome} ok={ok} failed={failed}",
            subject.noun(),
            cut(subject.topic),
            cut(subject.channel.unwrap_or_default()),
            cut(node.unwrap_or_default()),
            cut(&user),
            self.request.remote,
            cut(text(headers, &USER_AGENT)),
        );
    }

    fn tell(&self, action: &str, subject: Subject<'_>, node: Option<&str>) {
        let parts = &self.request.parts;
        let headers = &parts.headers;
        let user = self.site.access.user(headers, self.request.remote);
        self.site.notifier.tell(Notice {
            action: action.to_owned(),
            topic: subject.topic.to_owned(),
            channel: subject.channel.unwrap_or_default().to_owned(),
            node: node.unwrap_or_default().to_owned(),
            timestamp: unix_seconds(),
            user: basic_user(headers).unwrap_or_default(),
            acl_user: user.unwrap_or_default().to_owned(),
            remote_ip: self.request.remote.to_owned(),
            user_agent: text(headers, &USER_AGENT).to_owned(),
            url: called_url(headers, &parts.uri),
            via: self.site.hostname.clone(),
        });
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LOGGED_CHARS_MAX).collect()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The URL as the client had it, as far as it can be known.
fn called_url(headers: &HeaderMap, uri: &Uri) -> String {
    let scheme = if text(headers, &X_SCHEME) == "https" { "https" } else { "http" };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    format!("{scheme}://{}{target}", text(headers, &HOST))
}

#[cfg(test)]
mod tests {
    use super::{ChangeBody, CreateBody, is_name, read};

    #[test]
    fn bodies_are_read_as_in_the_original() {
        let body: CreateBody = read(br#"{"topic":"t","channel":"c","x":1} more"#).unwrap();
        assert_eq!((body.topic.as_str(), body.channel.as_str()), ("t", "c"));
        assert_eq!(read::<ChangeBody>(b"{}").unwrap().action, "");
        assert_eq!(read::<ChangeBody>(b"null").unwrap().action, "");
        assert_eq!(read::<ChangeBody>(b"").err().unwrap().message, "EOF");
        assert_eq!(read::<ChangeBody>(b" \n").err().unwrap().message, "EOF");
        assert_eq!(read::<ChangeBody>(b"junk").err().unwrap().status, 400);
        for wrong in [&b"[]"[..], b"1", b"\"x\"", b"{\"action\":1}", b"{"] {
            assert_eq!(read::<ChangeBody>(wrong).err().unwrap().status, 400);
        }
    }

    #[test]
    fn names_are_nsqs() {
        for (name, wanted) in
            [("a.b-c_9#ephemeral", true), ("", false), ("a b", false), ("<x>", false), ("*", false)]
        {
            assert_eq!(is_name(name), wanted, "{name}");
        }
        assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
    }
}
