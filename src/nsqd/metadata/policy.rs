//! What operators ask of topics and channels, in `nsqd.dat`: one more key, `shoal`, which the
//! original ignores. Where nobody asked for anything it is not there.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shards::policy::{Bounds, OnFull, Policy, Retention};
use shards::wire::names::Name;

use super::{Object, Topics, field};

const KEY: &str = "shoal";

/// A policy with its keys in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyText {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_full: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retry_backoff_ms: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_age_ms: Option<u64>,
}

/// A policy as it stands in the file; `None` when there is nothing to say.
pub fn text(policy: &Policy) -> Option<PolicyText> {
    let Bounds { max_bytes, max_messages, max_age_ms, on_full } = policy.bounds;
    (!policy.is_empty()).then(|| PolicyText {
        max_bytes,
        max_messages,
        max_age_ms,
        on_full: on_full.map(|on_full| on_full.as_str().to_owned()),
        max_attempts: Some(policy.max_attempts).filter(|&attempts| attempts > 0),
        retry_backoff_ms: policy.retry_backoff_ms.clone(),
        dead_letter_topic: policy.dead_letter_topic.map(|name| name.to_string()),
        retention_bytes: policy.retention.bytes,
        retention_age_ms: policy.retention.age_ms,
    })
}

/// The policy of a topic, or of a channel of it, as the file has it.
///
/// # Errors
/// What makes no sense.
pub fn read(object: &Object, topic: &Name, what: &str) -> Result<Policy, String> {
    let value = field(object, KEY);
    if value.is_null() {
        return Ok(Policy::default());
    }
    let wrong = |problem: String| format!("{KEY} of {what}: {problem}");
    let text: PolicyText = Value::deserialize(value)
        .and_then(PolicyText::deserialize)
        .map_err(|e| wrong(e.to_string()))?;
    let policy = policy(text).map_err(wrong)?;
    let checked = policy.check(topic, &shards::policy::Limit::default());
    checked.map_err(|problem| wrong(format!("{} {}", problem.parameter, problem.text)))?;
    Ok(policy)
}

fn policy(text: PolicyText) -> Result<Policy, String> {
    let on_full = text.on_full.map(|word| OnFull::parse(&word).ok_or(word)).transpose();
    let on_full = on_full.map_err(|word| format!("on_full cannot be {word:?}"))?;
    let target = text.dead_letter_topic.map(|name| Name::parse(name.as_bytes()).ok_or(name));
    let dead_letter_topic = target.transpose();
    let dead_letter_topic =
        dead_letter_topic.map_err(|name| format!("dead_letter_topic cannot be {name:?}"))?;
    let PolicyText { max_bytes, max_messages, max_age_ms, .. } = text;
    Ok(Policy {
        bounds: Bounds { max_bytes, max_messages, max_age_ms, on_full },
        dead_letter_topic,
        max_attempts: text.max_attempts.unwrap_or(0),
        retry_backoff_ms: text.retry_backoff_ms,
        retention: Retention { bytes: text.retention_bytes, age_ms: text.retention_age_ms },
    })
}

/// Whether dead letters would go in a circle.
///
/// # Errors
/// The circle.
pub fn check_circles(topics: &Topics) -> Result<(), String> {
    let edges = topics.values().flat_map(|topic| {
        let channels = topic.channels.iter().map(|channel| &channel.policy);
        let policies = std::iter::once(&topic.policy).chain(channels);
        let targets = policies.filter_map(|policy| policy.dead_letter_topic);
        targets.map(|target| (topic.name, target))
    });
    let edges: Vec<(Name, Name)> = edges.collect();
    for topic in topics.keys() {
        if let Some(circle) = shards::policy::circle(&edges, topic) {
            return Err(format!("dead letters go in a circle: {}", way(&circle)));
        }
    }
    Ok(())
}

/// Topics in a row.
pub fn way(topics: &[Name]) -> String {
    topics.iter().map(Name::as_str).collect::<Vec<_>>().join(" to ")
}
