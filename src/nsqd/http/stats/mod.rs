//! `/stats`: what all shards say about their topics, as text or as JSON; and `/metrics`. Both are
//! written elsewhere (`statistics`); what `/stats` looks like is here.

mod json;
mod text;

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use shards::stats::{ClientStats, Latency, ShardStats, StatsQuery, TopicStats};

use crate::http::query::Query;
use crate::http::respond::{Failure, Response};
use crate::nsqd::statistics::page::Detail;
use crate::nsqd::statistics::{Page, Wanted};

use super::Call;
use super::desk::Desk;
use super::facts::Facts;
use super::memory::MemoryStats;

/// How long a page may take to come, the wait for its turn included.
pub const PAGE_MAX: Duration = Duration::from_secs(15);

/// What is shown.
#[derive(Debug)]
pub struct Report {
    /// Sorted by name; `None` when a topic was asked for that does not exist.
    topics: Option<Vec<TopicStats>>,
    /// `None` when there are none or none were asked for.
    producers: Option<Vec<ClientStats>>,
    memory: Option<MemoryStats>,
}

impl Report {
    /// What is shown of what the shards said.
    #[must_use]
    pub fn new(stats: ShardStats, query: &StatsQuery, memory: Option<MemoryStats>) -> Report {
        let ShardStats { mut topics, producers, .. } = stats;
        if query.topic.is_some() && topics.is_empty() {
            return Report { topics: None, producers: None, memory };
        }
        if query.channel.is_some() {
            topics.retain(|topic| !topic.channels.is_empty());
        }
        let is_shown = !(query.without_clients || producers.is_empty());
        Report { topics: Some(topics), producers: is_shown.then_some(producers), memory }
    }
}

/// The page; `percentiles` are those that the shards measured.
#[must_use]
pub fn render(facts: &Facts, percentiles: &[f64], report: &Report, json: bool) -> Page {
    let health = facts.health.to_string();
    if !json {
        let present = text::Present::now(facts);
        return Page::Text(text::render(facts, &health, report, &present).into_bytes());
    }
    match serde_json::to_vec(&json::Document::new(facts, &health, percentiles, report)) {
        Ok(json) => Page::Json(json),
        Err(error) => {
            tracing::error!("failed to encode a response - {error}");
            Page::Failed(Failure::internal())
        }
    }
}

/// Answers `/stats`.
///
/// # Errors
/// A malformed query, or a shard that does not answer in time.
pub async fn stats<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let wanted = Wanted::Stats {
        memory: flag(&query, "include_mem"),
        json: query.get("format").as_deref() == Some(b"json"),
        query: StatsQuery {
            topic: filter(&query, "topic"),
            channel: filter(&query, "channel"),
            without_clients: !flag(&query, "include_clients"),
        },
    };
    order(call, wanted).await
}

/// Answers `/metrics`.
///
/// # Errors
/// A malformed query, or a detail that there is not.
pub async fn metrics<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let mut detail = Detail::default();
    for word in query.get("detail").unwrap_or_default().split(|&byte| byte == b',') {
        match word {
            b"clients" => detail.clients = true,
            b"shards" => detail.shards = true,
            b"" => {}
            _ => return Err(Failure::bad_request("INVALID_DETAIL")),
        }
    }
    order(call, Wanted::Metrics(detail)).await
}

/// The page, unless it takes too long to come.
async fn order<D: Desk>(call: &Call<'_, D>, wanted: Wanted) -> Result<Response, Failure> {
    let mut page = pin!(call.desk.page(wanted));
    let mut too_late = pin!(call.timers.sleep(PAGE_MAX));
    let page = poll_fn(|cx| match page.as_mut().poll(cx) {
        Poll::Ready(page) => Poll::Ready(page),
        Poll::Pending => too_late.as_mut().poll(cx).map(|()| Page::too_busy()),
    });
    page.await.response()
}

/// The configured percentiles with their values; none where nobody measures.
fn percentiles<'a>(
    percentiles: &'a [f64],
    latency: Option<&'a Latency>,
) -> impl Iterator<Item = (f64, u64)> + 'a {
    let values = latency.map_or(&[][..], |latency| &latency.values_ns);
    percentiles.iter().copied().zip(values.iter().copied())
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
