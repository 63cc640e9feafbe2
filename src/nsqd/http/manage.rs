//! Creating, deleting, emptying and pausing topics and channels.

use std::borrow::Cow;

use shards::request::{ChannelAction, Reply, Request, TopicAction};
use shards::wire::names::Name;

use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_empty};

use super::Call;
use super::desk::Desk;
use super::publish::{create, refusal};
use super::seek::create_from;

/// `/topic/create`.
///
/// # Errors
/// A bad name, or a shard that refuses.
pub async fn create_topic<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let name = valid_topic(&topic_argument(&query)?)?;
    create(call, name).await?;
    Ok(v1_empty())
}

/// The other operations on topics. Only `Empty` looks at whether the name is valid; for the others
/// an impossible name is a topic that does not exist.
///
/// # Errors
/// No such topic, a bad name, or a shard that refuses.
pub async fn topic<D: Desk>(call: &Call<'_, D>, action: TopicAction) -> Result<Response, Failure> {
    let query = call.query()?;
    let name = topic_argument(&query)?;
    if action == TopicAction::Empty {
        valid_topic(&name)?;
    }
    let shard = call.desk.owner(&name);
    let name = String::from_utf8_lossy(&name).into_owned();
    done(call.desk.ask(shard, Request::Topic(name, action)).await)
}

/// `/channel/create`; the topic must exist. With `from` the channel must not, and starts there.
///
/// # Errors
/// Bad names, no such topic, or a shard that refuses.
pub async fn create_channel<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let (topic, channel) = names(&query)?;
    if let Some(from) = query.get("from") {
        return create_from(call, (topic, channel), &from).await;
    }
    let shard = call.desk.owner(topic.as_bytes());
    done(call.desk.ask(shard, Request::CreateChannel(topic, channel)).await)
}

/// The other operations on channels.
///
/// # Errors
/// Bad names, no such topic or channel, or a shard that refuses.
pub async fn channel<D: Desk>(
    call: &Call<'_, D>,
    action: ChannelAction,
) -> Result<Response, Failure> {
    let (topic, channel) = names(&call.query()?)?;
    let shard = call.desk.owner(topic.as_bytes());
    done(call.desk.ask(shard, Request::Channel(topic, channel, action)).await)
}

fn done(reply: Reply) -> Result<Response, Failure> {
    match reply {
        Reply::Done => Ok(v1_empty()),
        reply => Err(refusal(reply)),
    }
}

/// The name of a topic, which may not be valid.
///
/// # Errors
/// It is missing.
pub fn topic_argument<'q>(query: &Query<'q>) -> Result<Cow<'q, [u8]>, Failure> {
    query.get("topic").ok_or(Failure::bad_request("MISSING_ARG_TOPIC"))
}

/// The name of a topic.
///
/// # Errors
/// It is not valid.
pub fn valid_topic(name: &[u8]) -> Result<Name, Failure> {
    Name::parse(name).ok_or(Failure::bad_request("INVALID_TOPIC"))
}

/// Topic and channel, checked in this order; the codes differ from those of topics alone.
///
/// # Errors
/// A missing or bad name.
pub fn names(query: &Query<'_>) -> Result<(Name, Name), Failure> {
    let topic = topic_argument(query)?;
    let topic = Name::parse(&topic).ok_or(Failure::bad_request("INVALID_ARG_TOPIC"))?;
    let channel = query.get("channel").ok_or(Failure::bad_request("MISSING_ARG_CHANNEL"))?;
    let channel = Name::parse(&channel).ok_or(Failure::bad_request("INVALID_ARG_CHANNEL"))?;
    Ok((topic, channel))
}
