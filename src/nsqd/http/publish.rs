//! `/pub` and `/mpub`.
//!
//! The original creates a topic as soon as its name is found good, before it looks at what comes
//! after. Here a publish creates it, so a request that fails later asks for that alone.

use hyper::StatusCode;
use shards::request::{LIMIT_REACHED, Publish, Reply, Request};
use shards::wire::names::Name;

use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_text};

use super::Call;
use super::authorize::authorize;
use super::bodies::Share;
use super::desk::Desk;
use super::split::{Batch, BatchLimits, Binary, Lines};
use crate::http::body::{Body, append, space_for};

/// Queues the body as one message.
///
/// # Errors
/// In the order in which the original checks: size, emptiness, query, topic, deferral, the shard.
/// Who has to be authorized is, before the body is read.
pub async fn publish<D: Desk>(call: &Call<'_, D>, body: &mut Body) -> Result<Response, Failure> {
    if call.desk.facts().publish_needs_auth {
        authorize(call, &topic(&call.query()?)?).await?;
    }
    let limits = &call.desk.facts().limits;
    let mut share = call.desk.facts().bodies.share();
    let bytes = read_message(call, body, limits.msg_size_max, &mut share).await?;
    let query = call.query()?;
    let topic = topic(&query)?;
    let defer_ms = match defer_ms(&query, limits.req_timeout_max_ms) {
        Ok(defer_ms) => defer_ms,
        Err(failure) => return Err(create_and(call, topic, failure).await),
    };
    let length = u32::try_from(bytes.len()).map_err(|_| Failure::too_large("MSG_TOO_BIG"))?;
    queue(call, Publish { topic, bytes, lengths: vec![length], defer_ms }).await
}

/// Queues a body of several messages.
///
/// # Errors
/// In the order in which the original checks: declared size, query, topic, (the deferral, which
/// it does not know here,) the body, the shard.
pub async fn publish_many<D: Desk>(
    call: &Call<'_, D>,
    body: &mut Body,
) -> Result<Response, Failure> {
    let limits = &call.desk.facts().limits;
    if body.declared_bytes().is_some_and(|length| length > limits.body_size_max) {
        return Err(Failure::too_large("BODY_TOO_BIG"));
    }
    let query = call.query()?;
    let topic = topic(&query)?;
    authorize(call, &topic).await?;
    let defer_ms = match defer_ms(&query, limits.req_timeout_max_ms) {
        Ok(defer_ms) => defer_ms,
        Err(failure) => return Err(create_and(call, topic, failure).await),
    };
    let limits =
        BatchLimits { msg_size_max: limits.msg_size_max, body_size_max: limits.body_size_max };
    let mut share = call.desk.facts().bodies.share();
    let batch = if is_binary(&query) {
        read_binary(call, body, Binary::new(limits), &mut share).await
    } else {
        read_lines(call, body, Lines::new(limits), &mut share).await
    };
    match batch {
        Ok(Batch { lengths, .. }) if lengths.is_empty() => {
            create(call, topic).await?;
            Ok(v1_text("OK"))
        }
        Ok(Batch { bytes, lengths }) => {
            queue(call, Publish { topic, bytes, lengths, defer_ms }).await
        }
        Err(failure) => Err(create_and(call, topic, failure).await),
    }
}

async fn read_message<D>(
    call: &Call<'_, D>,
    body: &mut Body,
    most: u64,
    share: &mut Share<'_>,
) -> Result<Vec<u8>, Failure> {
    const TOO_BIG: Failure = Failure::too_large("MSG_TOO_BIG");
    if body.declared_bytes().is_some_and(|length| length > most) {
        return Err(TOO_BIG);
    }
    let declared = body.declared_bytes();
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await.map_err(|_| Failure::internal())? {
        if (bytes.len() + piece.len()) as u64 > most {
            return Err(TOO_BIG);
        }
        share.resize(space_for(&bytes, piece.len(), declared), call.timers).await?;
        append(&mut bytes, &piece, declared);
    }
    if bytes.is_empty() {
        return Err(Failure::bad_request("MSG_EMPTY"));
    }
    Ok(bytes)
}

async fn read_lines<D>(
    call: &Call<'_, D>,
    body: &mut Body,
    mut lines: Lines,
    share: &mut Share<'_>,
) -> Result<Batch, Failure> {
    let declared = body.declared_bytes();
    while let Some(piece) = body.next().await.map_err(|_| Failure::internal())? {
        share.resize(lines.batch().space_for(piece.len(), declared), call.timers).await?;
        lines.feed(&piece, declared)?;
    }
    let batch = lines.finish()?;
    share.resize(batch.memory_bytes(), call.timers).await?;
    Ok(batch)
}

/// A body that breaks off is a short one, as in the original.
async fn read_binary<D>(
    call: &Call<'_, D>,
    body: &mut Body,
    mut binary: Binary,
    share: &mut Share<'_>,
) -> Result<Batch, Failure> {
    let declared = body.declared_bytes();
    while !binary.is_complete() {
        let Ok(Some(piece)) = body.next().await else { break };
        share.resize(binary.batch().space_for(piece.len(), declared), call.timers).await?;
        binary.feed(&piece, declared)?;
    }
    let batch = binary.finish()?;
    share.resize(batch.memory_bytes(), call.timers).await?;
    Ok(batch)
}

fn topic(query: &Query<'_>) -> Result<Name, Failure> {
    let name = query.get("topic").ok_or(Failure::bad_request("MISSING_ARG_TOPIC"))?;
    Name::parse(&name).ok_or(Failure::bad_request("INVALID_TOPIC"))
}

fn defer_ms(query: &Query<'_>, most_ms: u64) -> Result<u64, Failure> {
    let Some(text) = query.get("defer") else {
        return Ok(0);
    };
    let number: Option<i64> = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    let defer_ms = number.and_then(|number| u64::try_from(number).ok());
    defer_ms.filter(|&ms| ms <= most_ms).ok_or(Failure::bad_request("INVALID_DEFER"))
}

/// Anything that is not a plain yes or no means yes.
fn is_binary(query: &Query<'_>) -> bool {
    let Some(value) = query.get("binary") else {
        return false;
    };
    match &*value {
        b"true" | b"1" => true,
        b"false" | b"0" => false,
        other => {
            let shown = String::from_utf8_lossy(other);
            tracing::warn!("deprecated value '{shown}' used for /mpub binary param");
            true
        }
    }
}

async fn queue<D: Desk>(call: &Call<'_, D>, publish: Publish) -> Result<Response, Failure> {
    debug_assert!(!publish.lengths.is_empty(), "nothing to publish");
    let shard = call.desk.owner(publish.topic.as_bytes());
    match call.desk.ask(shard, Request::Publish(publish)).await {
        Reply::Done => Ok(v1_text("OK")),
        reply => Err(refusal(reply)),
    }
}

/// Creates the topic.
///
/// # Errors
/// When the shard refuses.
pub async fn create<D: Desk>(call: &Call<'_, D>, topic: Name) -> Result<(), Failure> {
    let shard = call.desk.owner(topic.as_bytes());
    match call.desk.ask(shard, Request::CreateTopic(topic)).await {
        Reply::Done => Ok(()),
        reply => Err(refusal(reply)),
    }
}

/// Creates the topic for a request that failed; the first failure is the one to report.
async fn create_and<D: Desk>(call: &Call<'_, D>, topic: Name, failure: Failure) -> Failure {
    if call.desk.facts().life.is_draining() {
        return failure;
    }
    match create(call, topic).await {
        Ok(()) | Err(_) => failure,
    }
}

/// What a reply that is not the expected one means for the client.
#[must_use]
pub fn refusal(reply: Reply) -> Failure {
    match reply {
        Reply::TopicNotFound => Failure::not_found("TOPIC_NOT_FOUND"),
        Reply::ChannelNotFound => Failure::not_found("CHANNEL_NOT_FOUND"),
        Reply::Refused(reason) if reason.starts_with(LIMIT_REACHED) => {
            let message = format!("LIMIT_REACHED: {reason}").into();
            Failure { status: StatusCode::SERVICE_UNAVAILABLE, message }
        }
        Reply::Refused(reason) => {
            tracing::debug!("HTTP request refused - {reason}");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "EXITING")
        }
        Reply::Unacceptable(problem) => Failure::invalid(problem.parameter, &problem.text),
        Reply::Done
        | Reply::Seen(_)
        | Reply::Settings(_)
        | Reply::Edges(_)
        | Reply::Redriving(_)
        | Reply::Sought(_) => {
            tracing::error!("a shard answered something that was not asked");
            Failure::internal()
        }
    }
}
