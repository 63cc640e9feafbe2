//! `/healthz` and `/readyz`, alike for all programs: for whatever starts, stops and balances them.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::respond::{Response, v1_json};

/// The program runs and answers, and that is all.
#[must_use]
pub fn healthz() -> Response {
    v1_json(&json!({"ok": true, "status": "ok", "reasons": []}))
}

/// 200 when there is no reason not to send requests here, else 503 with all of them. What else is
/// worth knowing stands beside that.
#[must_use]
pub fn readyz(reasons: &[String], details: Map<String, Value>) -> Response {
    let ready = reasons.is_empty();
    let mut said = Map::new();
    said.insert("ok".to_owned(), ready.into());
    said.insert("status".to_owned(), if ready { "ready" } else { "not ready" }.into());
    said.insert("reasons".to_owned(), reasons.into());
    said.extend(details);
    let mut response = v1_json(&said);
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
