//! `/config/drain`: having this node give out what it has and end, and looking how far it is.

use std::time::Duration;

use hyper::Method;
use serde_json::{Map, Value, json};

use super::Call;
use super::desk::Desk;
use crate::config::duration::parse_go_duration;
use crate::http::body::{Body, BodyError};
use crate::http::respond::{Failure, Response, v1_json};
use crate::nsqd::life::Life;

/// The longest text of a duration.
const DURATION_BYTES_MAX: u64 = 64;

/// GET tells how draining goes. PUT begins it; the body, or `timeout` in the query, may say how
/// long it may take (`10m`; `0` for as long as it takes). Another PUT sets that anew.
///
/// # Errors
/// What is no duration.
pub async fn drain<D: Desk>(call: &Call<'_, D>, body: &mut Body) -> Result<Response, Failure> {
    let life = &call.desk.facts().life;
    if call.parts.method == Method::PUT {
        let timeout = match call.query()?.get("timeout") {
            Some(text) => Some(text.into_owned()),
            None => Some(read(body).await?).filter(|text| !text.is_empty()),
        };
        life.drain(timeout.map(|text| duration(&text)).transpose()?);
    }
    Ok(v1_json(&shown(life)))
}

async fn read(body: &mut Body) -> Result<Vec<u8>, Failure> {
    body.read(DURATION_BYTES_MAX).await.map_err(|error| match error {
        BodyError::TooLong => Failure::too_large("INVALID_VALUE"),
        BodyError::Broken => Failure::internal(),
    })
}

fn duration(text: &[u8]) -> Result<Duration, Failure> {
    let nanoseconds = std::str::from_utf8(text).ok().and_then(|text| {
        let nanoseconds = parse_go_duration(text.trim()).ok()?;
        u64::try_from(nanoseconds).ok()
    });
    nanoseconds.map(Duration::from_nanos).ok_or(Failure::bad_request("INVALID_VALUE"))
}

fn shown(life: &Life) -> Map<String, Value> {
    let progress = life.progress();
    let mut said = Map::new();
    said.insert("draining".to_owned(), progress.is_some().into());
    if let Some(progress) = progress {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        said.insert("elapsed_ms".to_owned(), milliseconds(progress.elapsed).into());
        said.insert("left_ms".to_owned(), json!(progress.left.map(milliseconds)));
        // Until all shards have counted, nobody should take 0 for an end.
        said.insert("counted".to_owned(), progress.counted.into());
        said.insert("waiting".to_owned(), progress.remaining.waiting.into());
        said.insert("in_flight".to_owned(), progress.remaining.in_flight.into());
        said.insert("deferred".to_owned(), progress.remaining.deferred.into());
    }
    said
}
