//! Shoal's own questions: the overview, the history, the health of the cluster, of this program.

use hyper::StatusCode;
use serde_json::json;

use super::AdminSite;
use super::reply::with_status;
use crate::http::query::Query;
use crate::http::respond::{Failure, Response, v1_json};
use crate::nsqadmin::cluster::warning;
use crate::nsqadmin::health::{check, findings};
use crate::nsqadmin::history::{Key, history_json, overview_json};

/// All topics with their numbers and rates, from the last poll.
pub async fn overview(site: &AdminSite) -> Response {
    site.poller.freshen(&site.cluster).await;
    match overview_json(&site.poller.history().borrow()) {
        Some(overview) => v1_json(&overview),
        None => with_status(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"message": "NOT_YET_POLLED", "failed": []}),
        ),
    }
}

/// The numbers of the last polls.
pub fn history(site: &AdminSite, query: Query<'_>) -> Result<Response, Failure> {
    let text = |name| query.get(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let key = match (text("topic"), text("channel"), text("node")) {
        (None, None, None) => Key::Cluster,
        (None, None, Some(node)) => Key::Node(node),
        (Some(topic), None, None) => Key::Topic(topic),
        (Some(topic), Some(channel), None) => Key::Channel(topic, channel),
        _ => return Err(Failure::bad_request("INVALID_REQUEST")),
    };
    Ok(v1_json(&history_json(&site.poller.history().borrow(), &key)))
}

/// What is wrong with the cluster.
pub async fn health(site: &AdminSite) -> Response {
    site.poller.freshen(&site.cluster).await;
    let checkup = check(&site.cluster).await;
    let findings = findings(&checkup, site.poller.history().borrow().totals());
    let message = match &checkup.unanswered {
        Some(text) => format!("UPSTREAM_ERROR: {text}"),
        None => warning(&[&checkup.failed]),
    };
    v1_json(&json!({
        "nodes": checkup.nodes,
        "lookupds": checkup.lookupds,
        "findings": findings,
        "message": message,
        "failed": checkup.failed,
    }))
}

/// This program runs, and that is all.
pub fn healthz() -> Response {
    crate::http::health::healthz()
}

/// Whether anybody in the cluster answers.
pub async fn readyz(site: &AdminSite) -> Response {
    site.poller.freshen(&site.cluster).await;
    let history = site.poller.history().borrow();
    let reason = match history.last() {
        None => Some("the cluster has not been looked at yet".to_owned()),
        Some(poll) => poll.unanswered.clone(),
    };
    let reasons: Vec<String> = reason.into_iter().collect();
    crate::http::health::readyz(&reasons, serde_json::Map::new())
}
