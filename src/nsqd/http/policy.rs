//! `/topic/config` and `/channel/config`: what is asked of a topic or channel beyond NSQ.
//!
//! GET shows it; POST changes what it names, all of it or nothing. A parameter without a value goes
//! back to its default. Whoever has dead letters go somewhere takes turns with all others that do,
//! in the whole process, and looks at every shard first: so no circle comes about.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Serialize;
use shards::policy::{Change, OnFull, circle};
use shards::request::{Reply, Request, Settings};
use shards::wire::names::{NAME_BYTES_MAX, Name};

use super::Call;
use super::desk::Desk;
use super::manage::{names, topic_argument, valid_topic};
use super::publish::refusal;
use super::routes::Subject;
use crate::config::duration::{NS_PER_MS, parse_go_duration};
use crate::config::number::parse_bytes;
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json};
use crate::nsqd::metadata::policy::way;

/// How long a change waits for another one, and how often it looks.
const TURN_TIME_MAX: Duration = Duration::from_secs(5);
const TURN_LOOK: Duration = Duration::from_millis(10);

/// What only one at a time may pass.
#[derive(Debug, Default)]
pub struct Turnstile(AtomicBool);

/// Passing; over when it is dropped.
struct Turn<'a>(&'a AtomicBool);

impl Turnstile {
    fn enter(&self) -> Option<Turn<'_>> {
        let free = self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then_some(Turn(&self.0))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What is asked of a topic or channel, as GET shows it. Only what it can have is there.
#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    max_bytes: u64,
    max_messages: u64,
    max_age: String,
    on_full: &'static str,
    dead_letter_topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_backoff: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_age: Option<String>,
}

/// `/topic/config` and `/channel/config`.
///
/// # Errors
/// Bad names, no such topic or channel, a parameter that cannot be what was asked for, or a shard
/// that refuses.
pub async fn policy<D: Desk>(call: &Call<'_, D>, subject: Subject) -> Result<Response, Failure> {
    let query = call.query()?;
    let (topic, channel) = match subject {
        Subject::Topic => (valid_topic(&topic_argument(&query)?)?, None),
        Subject::Channel => {
            let (topic, channel) = names(&query)?;
            (topic, Some(channel))
        }
    };
    let shard = call.desk.owner(topic.as_bytes());
    if call.parts.method == Method::GET {
        return shown(
            call.desk.ask(shard, Request::Settings(topic, channel)).await,
            topic,
            channel,
        );
    }
    let change = change(&query, subject)?;
    let _turn = match change.dead_letter_topic.flatten() {
        Some(target) => Some(turn_without_circle(call, topic, target).await?),
        None => None,
    };
    let request = Request::Configure(topic, channel, Box::new(change));
    shown(call.desk.ask(shard, request).await, topic, channel)
}

fn shown(reply: Reply, topic: Name, channel: Option<Name>) -> Result<Response, Failure> {
    let Reply::Settings(settings) = reply else { return Err(refusal(reply)) };
    let Settings { policy, limit, keep } = *settings;
    let is_topic = channel.is_none();
    let target = policy.dead_letter_topic;
    Ok(v1_json(&Shown {
        topic: topic.as_str(),
        channel: channel.as_ref().map(Name::as_str),
        max_bytes: limit.max_bytes,
        max_messages: limit.max_messages,
        max_age: duration_text(limit.max_age_ms),
        on_full: limit.on_full.as_str(),
        dead_letter_topic: target.as_ref().map_or("", Name::as_str),
        max_attempts: channel.map(|_| policy.max_attempts),
        retry_backoff: channel
            .map(|_| policy.retry_backoff_ms.iter().map(|&ms| duration_text(ms)).collect()),
        retention_bytes: is_topic.then_some(keep.bytes),
        retention_age: is_topic.then(|| duration_text(keep.age_ms)),
    }))
}

/// A duration as it can be given back.
pub fn duration_text(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// Reads all parameters but the names.
fn change(query: &Query<'_>, subject: Subject) -> Result<Change, Failure> {
    let mut change = Change::default();
    let mut seen = Vec::new();
    for (key, value) in query.pairs() {
        let key = String::from_utf8_lossy(&key).into_owned();
        if key == "topic" || (key == "channel" && subject == Subject::Channel) {
            continue;
        }
        if seen.contains(&key) {
            return Err(Failure::invalid(&key, "is given twice"));
        }
        let value = String::from_utf8_lossy(&value);
        let known = set(&mut change, subject, &key, value.trim())
            .map_err(|text| Failure::invalid(&key, &text))?;
        if !known {
            return Err(Failure::invalid(&key, "is no setting"));
        }
        seen.push(key);
    }
    Ok(change)
}

/// Reads one parameter. False when there is none of this name.
fn set(change: &mut Change, subject: Subject, key: &str, value: &str) -> Result<bool, String> {
    match (key, subject) {
        ("max_bytes", _) => change.max_bytes = Some(optional(value, bytes)?),
        ("max_messages", _) => change.max_messages = Some(optional(value, count)?),
        ("max_age", _) => change.max_age_ms = Some(optional(value, milliseconds)?),
        ("on_full", _) => change.on_full = Some(optional(value, on_full)?),
        ("dead_letter_topic", _) => {
            change.dead_letter_topic = Some(optional(value, topic_name)?);
        }
        ("retention_bytes", Subject::Topic) => {
            change.retention_bytes = Some(optional(value, bytes)?);
        }
        ("retention_age", Subject::Topic) => {
            change.retention_age_ms = Some(optional(value, milliseconds)?);
        }
        ("max_attempts", Subject::Channel) => {
            change.max_attempts = Some(optional(value, count)?.unwrap_or(0));
        }
        ("retry_backoff", Subject::Channel) => {
            let delays = value.split(',').map(str::trim).filter(|delay| !delay.is_empty());
            change.retry_backoff_ms = Some(delays.map(milliseconds).collect::<Result<_, _>>()?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Nothing is the default.
fn optional<T>(value: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some) }
}

fn bytes(value: &str) -> Result<u64, String> {
    parse_bytes(value).ok_or_else(|| format!("must be a size like 512MB or 4GB, not {value:?}"))
}

fn count(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("must be a number from 0 on, not {value:?}"))
}

fn milliseconds(value: &str) -> Result<u64, String> {
    let wrong = || format!("must be a duration from 0 on like 90s or 24h, not {value:?}");
    let duration_ns = parse_go_duration(value).map_err(|_| wrong())?;
    let duration_ns = u64::try_from(duration_ns).map_err(|_| wrong())?;
    Ok(duration_ns.div_ceil(NS_PER_MS))
}

fn on_full(value: &str) -> Result<OnFull, String> {
    OnFull::parse(value)
        .ok_or_else(|| format!("must be reject, drop-oldest or dead-letter, not {value:?}"))
}

fn topic_name(value: &str) -> Result<Name, String> {
    Name::parse(value.as_bytes()).ok_or_else(|| {
        let bytes = value.len();
        format!("must be a topic's name of at most {NAME_BYTES_MAX} bytes, not {value:?} ({bytes})")
    })
}

/// The right to have dead letters of a topic go to another one: nobody else may change such things
/// until it is done.
async fn turn_without_circle<'a, D: Desk>(
    call: &Call<'a, D>,
    topic: Name,
    target: Name,
) -> Result<Turn<'a>, Failure> {
    let start = call.timers.now();
    let turnstile = &call.desk.facts().policy_changes;
    let turn = loop {
        if let Some(turn) = turnstile.enter() {
            break turn;
        }
        if call.timers.now().duration_since(start) > TURN_TIME_MAX {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY"));
        }
        call.timers.sleep(TURN_LOOK).await;
    };
    let mut edges = vec![(topic, target)];
    for shard in 0..call.desk.shards() {
        match call.desk.ask(shard, Request::DeadLetterEdges).await {
            Reply::Edges(mut more) => edges.append(&mut more),
            reply => return Err(refusal(reply)),
        }
    }
    match circle(&edges, &topic) {
        Some(topics) if topics.len() > 2 => {
            let text = format!("makes a circle: {}", way(&topics));
            Err(Failure::invalid("dead_letter_topic", &text))
        }
        _ => Ok(turn),
    }
}

#[cfg(test)]
mod tests {
    use super::{Turnstile, duration_text, milliseconds};

    #[test]
    fn what_is_shown_can_be_given_back() {
        for ms in [0, 1, 999, 1000, 61_000, 120_000, 3_600_000, 90_000_000_000] {
            assert_eq!(milliseconds(&duration_text(ms)), Ok(ms));
        }
    }

    #[test]
    fn one_passes_at_a_time() {
        let turnstile = Turnstile::default();
        let turn = turnstile.enter();
        assert!(turn.is_some() && turnstile.enter().is_none());
        drop(turn);
        assert!(turnstile.enter().is_some());
    }
}
