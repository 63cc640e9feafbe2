//! `/config/<option>`: looking at options, and changing the two that can change.

use hyper::Method;
use serde_json::Value;

use crate::http::respond::{Failure, Response, v1_json, v1_text};

use super::Call;
use super::desk::Desk;
use super::facts::NotSet;
use crate::http::body::{Body, BodyError};

/// GET shows the option's value; PUT sets it from the body and shows it.
///
/// # Errors
/// No such option, or a value that it cannot have.
pub async fn config<D: Desk>(
    call: &Call<'_, D>,
    option: &str,
    body: &mut Body,
) -> Result<Response, Failure> {
    let facts = call.desk.facts();
    if call.parts.method == Method::PUT {
        let value = read_value(body, facts.limits.msg_size_max).await?;
        facts.options.set(option, &value).map_err(|not_set| match not_set {
            NotSet::Option => Failure::bad_request("INVALID_OPTION"),
            NotSet::Value => Failure::bad_request("INVALID_VALUE"),
        })?;
    }
    match facts.options.get(option) {
        Some(Value::String(text)) => Ok(v1_text(text)),
        Some(value) => Ok(v1_json(&value)),
        None => Err(Failure::bad_request("INVALID_OPTION")),
    }
}

async fn read_value(body: &mut Body, most: u64) -> Result<Vec<u8>, Failure> {
    const INVALID: Failure = Failure::too_large("INVALID_VALUE");
    match body.read(most).await {
        Ok(value) if value.is_empty() => Err(INVALID),
        Ok(value) => Ok(value),
        Err(BodyError::TooLong) => Err(INVALID),
        Err(BodyError::Broken) => Err(Failure::internal()),
    }
}
