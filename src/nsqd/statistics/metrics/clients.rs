//! Connections, each with its own series: only for who asks for them.

use std::borrow::Cow;

use prometheus::Result;
use prometheus::proto::{Metric, MetricType};
use shards::stats::{ClientStats, ShardStats};

use crate::http::exposition::{Exposition, f64_of, labelled};

use MetricType::{COUNTER, GAUGE};

/// One number of every connection.
struct OfClient {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    value: fn(&ClientStats) -> u64,
}

const OF_CONSUMERS: [OfClient; 5] = [
    OfClient {
        kind: GAUGE,
        name: "nsq_client_ready_count",
        help: "RDY of a consumer.",
        value: |client| client.ready_count,
    },
    OfClient {
        kind: GAUGE,
        name: "nsq_client_in_flight_count",
        help: "Messages that a consumer has.",
        value: |client| client.in_flight_count,
    },
    OfClient {
        kind: COUNTER,
        name: "nsq_client_messages_total",
        help: "Messages sent to a consumer.",
        value: |client| client.message_count,
    },
    OfClient {
        kind: COUNTER,
        name: "nsq_client_finishes_total",
        help: "Messages that a consumer finished.",
        value: |client| client.finish_count,
    },
    OfClient {
        kind: COUNTER,
        name: "nsq_client_requeues_total",
        help: "Messages that a consumer gave back.",
        value: |client| client.requeue_count,
    },
];

/// Writes as many connections as there is room for.
pub fn write(page: &mut Exposition, stats: &ShardStats) -> Result<()> {
    let mut consumers = Vec::new();
    for topic in &stats.topics {
        for channel in &topic.channels {
            let places = [("topic", topic.name.as_str()), ("channel", channel.name.as_str())];
            let clients = channel.clients.iter().flatten();
            consumers.extend(clients.map(move |client| (places, client)));
        }
    }
    let shown = fit(page, consumers.len(), OF_CONSUMERS.len());
    consumers.truncate(shown);
    let row = |(places, client): &([(&'static str, &str); 2], &ClientStats)| {
        let (mut labels, address) = (places.to_vec(), address(client));
        labels.extend(names(client, &address));
        labelled(&labels)
    };
    let mut rows: Vec<Metric> = consumers.iter().map(row).collect();
    for of in OF_CONSUMERS {
        let value = |index: usize| f64_of((of.value)(consumers[index].1));
        rows = page.rows((of.kind, of.name, of.help), rows, value)?;
    }
    write_producers(page, stats)
}

/// Of a producer one topic is known: the one that it published to last.
fn write_producers(page: &mut Exposition, stats: &ShardStats) -> Result<()> {
    let shown = fit(page, stats.producers.len(), 1);
    let producers = &stats.producers[..shown];
    let row = |client: &ClientStats| {
        let topic = client.pub_counts.as_ref().map_or("", |(topic, _)| topic.as_str());
        let (mut labels, address) = (vec![("topic", topic)], address(client));
        labels.extend(names(client, &address));
        labelled(&labels)
    };
    let rows = producers.iter().map(row).collect();
    let count = |index: usize| {
        let counts = &producers[index].pub_counts;
        f64_of(counts.as_ref().map_or(0, |&(_, count)| count))
    };
    let help = "Messages that a connection published to the topic that it published to last.";
    page.rows((COUNTER, "nsq_client_published_total", help), rows, count).map(drop)
}

/// Where it comes from. Connections over a unix socket are numbered: no two series may be alike.
fn address(client: &ClientStats) -> Cow<'_, str> {
    match client.remote_address.as_str() {
        "@" => Cow::Owned(format!("@{:x}", client.connection)),
        address => Cow::Borrowed(address),
    }
}

fn names<'a>(client: &'a ClientStats, address: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("client_id", &client.client_id),
        ("hostname", &client.hostname),
        ("remote_address", address),
        ("user_agent", &client.user_agent),
    ]
}

/// How many there is room for, when each has so many series. What is too much is noted.
fn fit(page: &mut Exposition, count: usize, series: usize) -> usize {
    let fitting = count.min(page.room() / series);
    page.leave_out((count - fitting) * series);
    fitting
}
