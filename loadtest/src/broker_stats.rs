//! What the broker itself says about a topic: `GET /stats`, to check a run against.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Error, Result, STALL_MAX, Target, codec};

/// The broker's own counts for the target's topic and channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicStats {
    /// Messages published to the topic since the broker started.
    pub message_count: u64,
    /// Messages that wait in the topic itself, because it has no channel yet.
    pub depth: u64,
    /// Of these and of the channel's, those on disk.
    pub backend_depth: u64,
    /// Messages that wait in the channel.
    pub channel_depth: u64,
    /// Messages delivered and not finished.
    pub in_flight: u64,
    /// Deliveries that timed out.
    pub timeouts: u64,
    /// Deliveries that came back.
    pub requeues: u64,
}

/// Asks for them.
pub fn topic(target: &Target) -> Result<TopicStats> {
    let path = format!("/stats?format=json&topic={}", target.topic);
    let stats: Value = serde_json::from_str(&get(target, &path)?)
        .map_err(|error| Error::Protocol(format!("/stats is not JSON: {error}")))?;
    // Before 1.0 the answer had an envelope.
    let stats = stats.get("data").unwrap_or(&stats);
    let topic = named(stats, "topics", "topic_name", &target.topic);
    let Some(topic) = topic else {
        return Ok(TopicStats::default());
    };
    let mut found = TopicStats {
        message_count: number(topic, "message_count"),
        depth: number(topic, "depth"),
        backend_depth: number(topic, "backend_depth"),
        ..TopicStats::default()
    };
    if let Some(channel) = named(topic, "channels", "channel_name", &target.channel) {
        found.backend_depth += number(channel, "backend_depth");
        found.channel_depth = number(channel, "depth");
        found.in_flight = number(channel, "in_flight_count");
        found.timeouts = number(channel, "timeout_count");
        found.requeues = number(channel, "requeue_count");
    }
    Ok(found)
}

/// Waits until the channel holds `count` messages and the topic none, so that handing them from
/// one to the other is not counted as delivery.
pub fn wait_for_depth(target: &Target, count: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let stats = topic(target)?;
        if stats.channel_depth == count && stats.depth == 0 {
            return Ok(());
        }
        if begun.elapsed() >= STALL_MAX {
            return Err(Error::Miscount(format!("{count} were published, /stats says {stats:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
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

fn named<'v>(parent: &'v Value, list: &str, key: &str, name: &str) -> Option<&'v Value> {
    let members = parent.get(list)?.as_array()?;
    members.iter().find(|member| member.get(key).and_then(Value::as_str) == Some(name))
}

fn number(parent: &Value, key: &str) -> u64 {
    parent.get(key).and_then(Value::as_u64).unwrap_or(0)
}
