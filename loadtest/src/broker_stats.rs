//! What the broker itself says about the topics of a load: `GET /stats`, to check a run against.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::window::StallWatch;
use crate::{Error, Result, STALL_MAX, Target, codec};

/// The broker's own counts for the target's topics and channels, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicStats {
    /// Messages published to the topics since the broker started.
    pub message_count: u64,
    /// Messages that wait in the topics themselves, because they have no channel yet.
    pub depth: u64,
    /// Of these and of the channel's, those on disk.
    pub backend_depth: u64,
    /// Messages that wait in the channels.
    pub channel_depth: u64,
    /// Messages in the channels that are not due yet.
    pub deferred: u64,
    /// Messages delivered and not finished.
    pub in_flight: u64,
    /// Deliveries that timed out.
    pub timeouts: u64,
    /// Deliveries that came back.
    pub requeues: u64,
}

/// Asks for them.
pub fn totals(target: &Target) -> Result<TopicStats> {
    let path = match target.topics {
        1 => format!("/stats?format=json&topic={}", target.topic),
        _ => "/stats?format=json".to_owned(),
    };
    let stats: Value = serde_json::from_str(&get(target, &path)?)
        .map_err(|error| Error::Protocol(format!("/stats is not JSON: {error}")))?;
    // Before 1.0 the answer had an envelope.
    let stats = stats.get("data").unwrap_or(&stats);
    let topics: HashSet<String> = target.topic_names().into_iter().collect();
    let channels: HashSet<String> = target.channel_names().into_iter().collect();
    let mut found = TopicStats::default();
    for topic in named(stats, "topics", "topic_name", &topics) {
        found.message_count += number(topic, "message_count");
        found.depth += number(topic, "depth");
        found.backend_depth += number(topic, "backend_depth");
        for channel in named(topic, "channels", "channel_name", &channels) {
            found.backend_depth += number(channel, "backend_depth");
            found.channel_depth += number(channel, "depth");
            found.deferred += number(channel, "deferred_count");
            found.in_flight += number(channel, "in_flight_count");
            found.timeouts += number(channel, "timeout_count");
            found.requeues += number(channel, "requeue_count");
        }
    }
    Ok(found)
}

/// Waits until every channel holds `count` messages, due or not, and the topics none, so that
/// handing them from one to the other is not counted as delivery.
pub fn wait_for_depth(target: &Target, count: u64) -> Result<()> {
    let count = count * target.channels as u64;
    let mut watch = StallWatch::new();
    loop {
        let stats = totals(target)?;
        let held = stats.channel_depth + stats.deferred;
        if held == count && stats.depth == 0 {
            return Ok(());
        }
        watch.check(held, || format!("{count} were to be held, /stats says {stats:?}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The value of one of the broker's options, as `/config` tells it.
pub fn option(target: &Target, name: &str) -> Result<String> {
    Ok(get(target, &format!("/config/{name}"))?.trim().to_owned())
}

/// The broker's version, as `/info` tells it.
pub fn version(target: &Target) -> Option<String> {
    let info: Value = serde_json::from_str(&get(target, "/info").ok()?).ok()?;
    // Before 1.0 the answer had an envelope.
    Some(info.get("data").unwrap_or(&info).get("version")?.as_str()?.to_owned())
}

/// The broker answers `/ping` with 200.
pub fn ping(target: &Target) -> Result<()> {
    get(target, "/ping").map(drop)
}

/// One request on a connection of its own; HTTP/1.0, so that no answer is chunked.
fn get(target: &Target, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(target.http)?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", target.http)?;
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while !codec::is_whole_http_answer(&answer) {
        match stream.read(&mut some)? {
            0 => break,
            came => answer.extend_from_slice(&some[..came]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| Error::Protocol(format!("no HTTP header in {answer:?}")))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Error::Refused(format!("GET {path}: {status}")));
    }
    Ok(body.to_owned())
}

fn named<'v>(
    parent: &'v Value,
    list: &str,
    key: &'v str,
    names: &'v HashSet<String>,
) -> impl Iterator<Item = &'v Value> {
    let members = parent.get(list).and_then(Value::as_array).into_iter().flatten();
    members.filter(move |member| {
        member.get(key).and_then(Value::as_str).is_some_and(|name| names.contains(name))
    })
}

fn number(parent: &Value, key: &str) -> u64 {
    parent.get(key).and_then(Value::as_u64).unwrap_or(0)
}
