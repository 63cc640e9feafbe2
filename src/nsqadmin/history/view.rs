//! What is remembered, as the page asks for it.

use serde_json::{Value, json};

use super::History;
use super::rates::Numbers;
use super::rings::{Key, Sample};
use crate::nsqadmin::cluster::warning;

/// The most samples of a line beside a row.
const SPARK_SAMPLES_MAX: usize = 30;

/// A number with at most three decimals; `null` for none.
fn float(value: impl Into<f64>) -> Value {
    let value: f64 = value.into();
    match value.is_finite() {
        true => json!((value * 1000.0).round() / 1000.0),
        false => Value::Null,
    }
}

fn numbers(of: &Numbers) -> serde_json::Map<String, Value> {
    let rate = |value: Option<f64>| value.map_or(Value::Null, float);
    let fields = json!({
        "paused": of.paused,
        "paused_channels": of.paused_channels,
        "depth": of.depth,
        "memory_depth": of.depth - of.backend_depth,
        "backend_depth": of.backend_depth,
        "channel_depth": of.channel_depth,
        "in_flight_count": of.in_flight,
        "deferred_count": of.deferred,
        "requeue_count": of.requeues,
        "timeout_count": of.timeouts,
        "message_count": of.messages,
        "channel_count": of.channels,
        "client_count": of.clients,
        "node_count": of.nodes,
        "rate_in": rate(of.rates.map(|rates| rates.incoming)),
        "rate_out": rate(of.rates.map(|rates| rates.outgoing)),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

/// One number of the last samples.
fn spark(samples: &[Option<Sample>], of: impl Fn(&Sample) -> f64) -> Value {
    let first = samples.len().saturating_sub(SPARK_SAMPLES_MAX);
    let last = &samples[first..];
    last.iter().map(|sample| sample.as_ref().map_or(Value::Null, |one| float(of(one)))).collect()
}

/// All topics with their numbers; `None` before the first poll.
pub fn overview_json(history: &History) -> Option<Value> {
    let poll = history.last()?;
    let totals = history.totals();
    let topics: Vec<Value> = totals
        .topics
        .iter()
        .map(|(name, of)| {
            let mut topic = numbers(&of.numbers);
            topic.insert("topic_name".to_owned(), json!(name));
            let samples = history.rings().get(&Key::Topic(name.clone())).unwrap_or_default();
            topic.insert("spark".to_owned(), spark(&samples, |one| one.incoming.into()));
            topic.insert("depth_spark".to_owned(), spark(&samples, |one| one.depth));
            Value::Object(topic)
        })
        .collect();
    let mut sums = numbers(&totals.cluster);
    sums.insert("topic_count".to_owned(), json!(topics.len()));
    let message = match &poll.unanswered {
        Some(text) => format!("UPSTREAM_ERROR: {text}"),
        None => warning(&[&poll.failed]),
    };
    Some(json!({
        "message": message,
        "failed": poll.failed,
        "at": poll.at_ms,
        "interval_ms": interval_ms(history),
        "nodes": poll.listed.len(),
        "nodes_failed": poll.listed.len().saturating_sub(poll.nodes.len()),
        "totals": sums,
        "topics": topics,
    }))
}

/// The numbers of the last polls for one key.
pub fn history_json(history: &History, key: &Key) -> Value {
    let samples = history.rings().get(key);
    let known = samples.is_some();
    let polls = history.rings().at_ms().len();
    let samples = samples.unwrap_or_else(|| vec![None; polls]);
    let line = |of: fn(&Sample) -> f64| -> Value {
        samples.iter().map(|one| one.as_ref().map_or(Value::Null, |one| float(of(one)))).collect()
    };
    let failed = history.last().map(|poll| poll.failed.as_slice()).unwrap_or_default();
    json!({
        "interval_ms": interval_ms(history),
        "at": history.rings().at_ms().collect::<Vec<u64>>(),
        "series": {
            "depth": line(|one| one.depth),
            "channel_depth": line(|one| one.channel_depth),
            "in_flight_count": line(|one| one.in_flight.into()),
            "deferred_count": line(|one| one.deferred.into()),
            "client_count": line(|one| one.clients.into()),
            "rate_in": line(|one| one.incoming.into()),
            "rate_out": line(|one| one.outgoing.into()),
            "requeue_rate": line(|one| one.requeues.into()),
            "timeout_rate": line(|one| one.timeouts.into()),
        },
        "known": known,
        "message": warning(&[failed]),
        "failed": failed,
    })
}

fn interval_ms(history: &History) -> u64 {
    u64::try_from(history.interval().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::{history_json, overview_json};
    use crate::nsqadmin::history::{History, Key, NodePoll, Poll};

    fn poll(at_ms: u64, at: Instant, messages: i64) -> Poll {
        let said = json!({"health": "OK", "topics": [{"topic_name": "t", "depth": 3,
            "backend_depth": 1, "message_count": messages, "channels": [{"channel_name": "c",
            "depth": 2, "message_count": messages, "paused": true}]}]});
        let said = serde_json::from_value(said).unwrap();
        let nodes = [("a:1".to_owned(), NodePoll { at, said })].into();
        let known_topics = vec!["idle".to_owned(), "t".to_owned()];
        Poll { at_ms, nodes, known_topics, ..Poll::default() }
    }

    fn history() -> History {
        let mut history = History::new(Duration::from_secs(1), Duration::from_secs(60), 1 << 20);
        assert_eq!(overview_json(&history), None);
        let start = Instant::now();
        history.take(poll(1000, start, 10));
        history.take(poll(2000, start + Duration::from_secs(1), 17));
        history
    }

    #[test]
    fn the_overview_has_all_topics() {
        let shown = overview_json(&history()).unwrap();
        let (idle, topic) = (&shown["topics"][0], &shown["topics"][1]);
        assert_eq!((&idle["topic_name"], &idle["node_count"]), (&json!("idle"), &json!(0)));
        assert_eq!(idle["rate_in"], Value::Null);
        assert_eq!(topic["rate_in"], 7.0);
        assert_eq!((&topic["depth"], &topic["memory_depth"]), (&json!(3), &json!(2)));
        assert_eq!((&topic["paused_channels"], &topic["channel_depth"]), (&json!(1), &json!(2)));
        assert_eq!(topic["spark"], json!([null, 7.0]));
        assert_eq!(topic["depth_spark"], json!([3.0, 3.0]));
        assert_eq!(shown["totals"]["topic_count"], 2);
        assert_eq!((&shown["at"], &shown["interval_ms"]), (&json!(2000), &json!(1000)));
    }

    #[test]
    fn a_history_has_a_number_for_each_poll() {
        let history = history();
        let key = Key::Channel("t".to_owned(), "c".to_owned());
        let shown = history_json(&history, &key);
        assert_eq!(shown["at"], json!([1000, 2000]));
        assert_eq!(shown["series"]["depth"], json!([2.0, 2.0]));
        assert_eq!(shown["series"]["rate_in"], json!([null, 7.0]));
        assert_eq!(shown["series"]["rate_out"], json!([null, 7.0]));
        assert_eq!(shown["known"], true);
        let unknown = history_json(&history, &Key::Topic("x".to_owned()));
        assert_eq!(unknown["series"]["depth"], json!([null, null]));
        assert_eq!(unknown["known"], false);
    }
}
