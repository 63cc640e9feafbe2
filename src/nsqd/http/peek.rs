//! `/channel/messages`: looking at messages without consuming them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use shards::policy::Note;
use shards::request::{Peek, PeekState, Reply, Request, Seen, SeenMessage};

use shards::wire::names::Name;

use super::Call;
use super::desk::Desk;
use super::manage::names;
use super::publish::refusal;
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json};

/// Messages that are shown when nobody says how many.
const COUNT: usize = 10;

/// Messages of a channel in one state; they stay as they are.
///
/// # Errors
/// Bad arguments, no such topic or channel, or a shard that refuses.
pub async fn messages<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    if !call.desk.facts().shows_messages {
        return Err(Failure::new(StatusCode::FORBIDDEN, "PEEK_DISABLED"));
    }
    let query = call.query()?;
    let (topic, channel) = names(&query)?;
    let (state, shown) = state(&query)?;
    let peek = Peek { topic, channel, state, limit: limit(&query)? };
    let shard = call.desk.owner(topic.as_bytes());
    match call.desk.ask(shard, Request::Peek(peek)).await {
        Reply::Seen(seen) => Ok(v1_json(&told(&seen, shown))),
        Reply::Refused(_) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_PEEKS")),
        reply => Err(refusal(reply)),
    }
}

fn state(query: &Query<'_>) -> Result<(PeekState, &'static str), Failure> {
    match query.get("state").as_deref() {
        None | Some(b"ready") => Ok((PeekState::Ready, "ready")),
        Some(b"inflight") => Ok((PeekState::InFlight, "inflight")),
        Some(b"deferred") => Ok((PeekState::Deferred, "deferred")),
        Some(b"dead") => Ok((PeekState::Dead, "dead")),
        Some(_) => Err(Failure::bad_request("INVALID_STATE")),
    }
}

/// More than a look shows is as much as it shows.
fn limit(query: &Query<'_>) -> Result<usize, Failure> {
    let Some(text) = query.get("limit") else { return Ok(COUNT) };
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    number.filter(|&limit| limit > 0).ok_or(Failure::bad_request("INVALID_LIMIT"))
}

fn told(seen: &Seen, state: &str) -> Value {
    let messages: Vec<Value> = seen.messages.iter().map(|message| shown(message, state)).collect();
    json!({"messages": messages, "unreadable": seen.unreadable})
}

/// A body that is text is shown as it is, any other in base64.
fn shown(message: &SeenMessage, state: &str) -> Value {
    let mut said = Map::new();
    said.insert("id".to_owned(), String::from_utf8_lossy(&message.id).into());
    said.insert("timestamp".to_owned(), message.timestamp_ns.into());
    said.insert("attempts".to_owned(), json!(message.attempts));
    said.insert("state".to_owned(), state.into());
    if let Some(due_in_ms) = message.due_in_ms {
        said.insert("due_in_ms".to_owned(), due_in_ms.into());
    }
    let truncated = message.body.len() < message.size;
    match std::str::from_utf8(&message.body) {
        // What is cut off within a letter is no text any more.
        Ok(text) => said.insert("body".to_owned(), text.into()),
        Err(_) => said.insert("body_base64".to_owned(), BASE64.encode(&message.body).into()),
    };
    said.insert("size".to_owned(), message.size.into());
    said.insert("truncated".to_owned(), truncated.into());
    if let Some(Note { reason, attempts, origin }) = &message.note {
        let origin = json!({
            "reason": reason.as_str(),
            "attempts": attempts,
            "topic": origin.topic.as_str(),
            "channel": origin.channel.as_ref().map(Name::as_str),
            "id": String::from_utf8_lossy(&shards::id::text(origin.id)),
            "timestamp": origin.timestamp_ns,
        });
        said.insert("dead_letter".to_owned(), origin);
    }
    said.into()
}

#[cfg(test)]
mod tests {
    use super::shown;
    use serde_json::json;
    use shards::request::SeenMessage;

    #[test]
    fn bodies_are_text_or_base64() {
        let mut message = SeenMessage {
            id: *b"0123456789abcdef",
            timestamp_ns: 5,
            attempts: Some(2),
            due_in_ms: None,
            body: b"\xc3\xbc".to_vec(),
            size: 2,
            note: None,
        };
        assert_eq!(
            shown(&message, "ready"),
            json!({
                "id": "0123456789abcdef",
                "timestamp": 5,
                "attempts": 2,
                "state": "ready",
                "body": "ü",
                "size": 2,
                "truncated": false,
            })
        );
        message = SeenMessage { body: b"\xc3".to_vec(), attempts: None, ..message };
        message.due_in_ms = Some(7);
        let said = shown(&message, "deferred");
        assert_eq!(said["body_base64"], "ww==");
        assert_eq!((&said["truncated"], &said["due_in_ms"]), (&json!(true), &json!(7)));
        assert!(said["attempts"].is_null() && said["body"].is_null());
    }
}
