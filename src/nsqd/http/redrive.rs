//! `/channel/redrive`: bringing back what waits on a channel of a dead-letter topic.

use hyper::Method;
use serde::Serialize;
use shards::redrive::RATE_MAX;
use shards::request::{Redriving, Reply, Request};

use super::Call;
use super::desk::Desk;
use super::manage::names;
use super::publish::refusal;
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json};

/// How far it is.
#[derive(Serialize)]
struct Progress {
    rate: u64,
    left: u64,
    moved: u64,
    kept: u64,
    depth: u64,
}

/// POST begins, changes the rate, or ends with a rate of 0; GET tells how far it is.
///
/// # Errors
/// Bad names, no such topic or channel, a bad rate, or a shard that refuses.
pub async fn redrive<D: Desk>(call: &Call<'_, D>) -> Result<Response, Failure> {
    let query = call.query()?;
    let (topic, channel) = names(&query)?;
    let request = if call.parts.method == Method::GET {
        Request::RedriveStatus(topic, channel)
    } else {
        let rate = number(&query, "rate", RATE_MAX)?;
        let rate = rate.ok_or(Failure::bad_request("MISSING_ARG_RATE"))?;
        let most = number(&query, "max", u64::MAX)?.unwrap_or(u64::MAX);
        Request::Redrive(topic, channel, rate, most)
    };
    let shard = call.desk.owner(topic.as_bytes());
    match call.desk.ask(shard, request).await {
        Reply::Redriving(Redriving { rate, left, moved, kept, depth }) => {
            Ok(v1_json(&Progress { rate, left, moved, kept, depth }))
        }
        reply => Err(refusal(reply)),
    }
}

fn number(query: &Query<'_>, name: &str, most: u64) -> Result<Option<u64>, Failure> {
    let Some(value) = query.get(name) else { return Ok(None) };
    let text = String::from_utf8_lossy(&value);
    let number: Option<u64> = text.parse().ok().filter(|&number| number <= most);
    let wrong =
        || Failure::invalid(name, &format!("must be a number from 0 to {most}, not {text:?}"));
    number.map(Some).ok_or_else(wrong)
}
