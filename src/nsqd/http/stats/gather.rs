//! Asking all shards at once, and one list out of their answers.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use shards::request::{Reply, Request};
use shards::stats::{ClientStats, ShardStats, StatsQuery, TopicStats};

use crate::http::respond::Failure;

use super::super::Call;
use super::super::desk::Desk;
use super::super::publish::refusal;
use super::SHARD_ANSWER_MAX;

/// The answers of all shards together.
#[derive(Debug, Default)]
pub struct Found {
    /// Sorted by name; `None` when a topic was asked for that does not exist.
    pub topics: Option<Vec<TopicStats>>,
    /// `None` when there are none or none were asked for.
    pub producers: Option<Vec<ClientStats>>,
}

/// Asks every shard.
///
/// # Errors
/// When one of them refuses or takes too long.
pub async fn gather<D: Desk>(call: &Call<'_, D>, query: StatsQuery) -> Result<Found, Failure> {
    let shards = 0..call.desk.shards();
    let asks = shards.map(|shard| call.desk.ask(shard, Request::Stats(query.clone()))).collect();
    let mut found = merge(in_time(call, asks).await?);
    if found.topics.as_ref().is_some_and(Vec::is_empty)
        && let Some(topic) = &query.topic
        && !exists(call, topic, &query).await?
    {
        return Ok(Found::default());
    }
    if query.without_clients || found.producers.as_ref().is_some_and(Vec::is_empty) {
        found.producers = None;
    }
    Ok(found)
}

/// Whether a topic exists that did not come with the answers: it may lack the channel.
async fn exists<D: Desk>(
    call: &Call<'_, D>,
    topic: &str,
    query: &StatsQuery,
) -> Result<bool, Failure> {
    if query.channel.is_none() {
        return Ok(false);
    }
    let shard = call.desk.owner(topic.as_bytes());
    let query = StatsQuery { topic: Some(topic.to_owned()), channel: None, without_clients: true };
    let answers = in_time(call, vec![call.desk.ask(shard, Request::Stats(query))]).await?;
    Ok(answers.iter().any(|stats| !stats.topics.is_empty()))
}

/// All answers, or none.
async fn in_time<D: Desk>(
    call: &Call<'_, D>,
    asks: Vec<impl Future<Output = Reply>>,
) -> Result<Vec<ShardStats>, Failure> {
    let mut asks: Vec<_> = asks.into_iter().map(|ask| (Box::pin(ask), None)).collect();
    let mut too_late = pin!(call.timers.sleep(SHARD_ANSWER_MAX));
    poll_fn(|cx| {
        let waiting = asks.iter_mut().filter_map(|ask| poll_one(ask, cx)).count();
        match waiting {
            0 => Poll::Ready(Ok(())),
            _ => too_late.as_mut().poll(cx).map(|()| Err(waiting)),
        }
    })
    .await
    .map_err(|waiting: usize| {
        tracing::error!("{waiting} shards did not answer within {SHARD_ANSWER_MAX:?}");
        Failure::internal()
    })?;
    asks.into_iter().filter_map(|(_, reply)| reply).map(stats_of).collect()
}

/// Polls a question that has no answer yet; `Some` when it still has none.
fn poll_one<F: Future<Output = Reply>>(
    (ask, reply): &mut (Pin<Box<F>>, Option<Reply>),
    cx: &mut Context<'_>,
) -> Option<()> {
    if reply.is_none()
        && let Poll::Ready(answer) = ask.as_mut().poll(cx)
    {
        *reply = Some(answer);
    }
    reply.is_none().then_some(())
}

fn stats_of(reply: Reply) -> Result<ShardStats, Failure> {
    match reply {
        Reply::Stats(stats) => Ok(stats),
        reply => Err(refusal(reply)),
    }
}

fn merge(answers: Vec<ShardStats>) -> Found {
    let mut topics = Vec::new();
    let mut producers = Vec::new();
    for answer in answers {
        topics.extend(answer.topics);
        producers.extend(answer.producers);
    }
    topics.sort_by_key(|topic| topic.name);
    Found { topics: Some(topics), producers: Some(producers) }
}
