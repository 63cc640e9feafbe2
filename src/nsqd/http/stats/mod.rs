//! `/stats`: what all shards say about their topics, as text or as JSON.

mod gather;
mod json;
mod text;

use std::borrow::Cow;
use std::time::Duration;

use shards::stats::{ClientStats, StatsQuery, TopicStats};

use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json, v1_text};

use super::Call;
use super::desk::Desk;
use super::memory::{self, MemoryStats};

/// How long a shard may take to say its numbers. Without them the answer would be wrong, so there
/// is none.
pub const SHARD_ANSWER_MAX: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Debug)]
struct Report {
    /// Sorted by name; `None` when a topic was asked for that does not exist.
    topics: Option<Vec<TopicStats>>,
    /// `None` when there are none or none were asked for.
    producers: Option<Vec<ClientStats>>,
    health: String,
    memory: Option<MemoryStats>,
}

/// Answers `/stats`.
///
/// # Errors
/// A malformed query, or a shard that does not answer in time.
pub async fn stats<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let with_memory = flag(&query, "include_mem");
    let wanted = StatsQuery {
        topic: filter(&query, "topic"),
        channel: filter(&query, "channel"),
        without_clients: !flag(&query, "include_clients"),
    };
    let found = gather::gather(call, wanted).await?;
    let facts = call.desk.facts();
    let report = Report {
        topics: found.topics,
        producers: found.producers,
        health: facts.health.to_string(),
        memory: with_memory.then(memory::read),
    };
    if query.get("format").as_deref() == Some(b"json") {
        return Ok(v1_json(&json::Document::new(facts, &report)));
    }
    Ok(v1_text(text::render(facts, &report, &text::Present::now(facts))))
}

/// An empty name is no filter.
fn filter(query: &Query<'_>, name: &str) -> Option<String> {
    let value = query.get(name).filter(|value| !value.is_empty())?;
    Some(match String::from_utf8_lossy(&value) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    })
}

/// Only plain words mean no; everything else means yes.
fn flag(query: &Query<'_>, name: &str) -> bool {
    !matches!(query.get(name).as_deref(), Some(b"false" | b"0"))
}
