//! `/stats?format=json`: the original's fields in the original's order, which some readers rely on.

use std::time::UNIX_EPOCH;

use serde::Serialize;
use shards::stats::{ChannelStats, ClientStats, Timing, TopicStats};
use shards::upgrade::Compression;

use super::super::facts::Facts;
use super::super::memory::MemoryStats;
use super::Report;

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    version: &'a str,
    health: &'a str,
    start_time: u64,
    topics: Option<Vec<Topic<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<&'a MemoryStats>,
    producers: Option<Vec<Client<'a>>>,
}

impl<'a> Document<'a> {
    /// Arranges a report.
    #[must_use]
    pub fn new(
        facts: &'a Facts,
        health: &'a str,
        percentiles: &'a [f64],
        report: &'a Report,
    ) -> Document<'a> {
        let topic = |topic| Topic::new(topic, percentiles);
        Document {
            version: &facts.version,
            health,
            start_time: facts.start_time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            topics: report.topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
            memory: report.memory.as_ref(),
            producers: report.producers.as_deref().map(clients),
        }
    }
}

fn clients(clients: &[ClientStats]) -> Vec<Client<'_>> {
    clients.iter().map(Client::new).collect()
}

/// Percentiles of the time from publish to FIN: `null` when nobody measures.
#[derive(Debug, Default, Serialize)]
struct Latency {
    count: u64,
    percentiles: Option<Vec<Percentile>>,
}

#[derive(Debug, Serialize)]
struct Percentile {
    #[serde(serialize_with = "go_float")]
    quantile: f64,
    /// Nanoseconds.
    value: u64,
}

impl Latency {
    fn new(timing: Option<&Timing>, percentiles: &[f64]) -> Latency {
        let Some(Timing { e2e, .. }) = timing else { return Latency::default() };
        let rows = super::percentiles(percentiles, Some(e2e));
        let rows = rows.map(|(quantile, value)| Percentile { quantile, value });
        Latency { count: e2e.count, percentiles: Some(rows.collect()) }
    }
}

/// A number as Go writes it: without a point when it is whole.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn go_float<S: serde::Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    // The only whole percentile.
    if *number == 1.0 { to.serialize_u8(1) } else { to.serialize_f64(*number) }
}

#[derive(Debug, Serialize)]
struct Topic<'a> {
    topic_name: &'a str,
    channels: Vec<Channel<'a>>,
    depth: u64,
    backend_depth: u64,
    message_count: u64,
    message_bytes: u64,
    paused: bool,
    e2e_processing_latency: Latency,
    /// From here on only what the original does not have, and only where there is any.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    rejected_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    retained_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    retained_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    retained_dropped_count: u64,
}

impl<'a> Topic<'a> {
    fn new(topic: &'a TopicStats, percentiles: &[f64]) -> Topic<'a> {
        let channel = |channel| Channel::new(channel, percentiles);
        Topic {
            topic_name: topic.name.as_str(),
            channels: topic.channels.iter().map(channel).collect(),
            depth: topic.depth,
            backend_depth: topic.backend_depth,
            message_count: topic.message_count,
            message_bytes: topic.message_bytes,
            paused: topic.paused,
            e2e_processing_latency: Latency::new(topic.timing.as_ref(), percentiles),
            dropped_count: topic.dropped.total(),
            rejected_count: topic.rejected_count,
            full: topic.full.as_deref(),
            retained_count: topic.retained_count,
            retained_bytes: topic.retained_bytes,
            retained_dropped_count: topic.retained_pressed_count,
        }
    }
}

#[derive(Debug, Serialize)]
struct Channel<'a> {
    channel_name: &'a str,
    depth: u64,
    backend_depth: u64,
    in_flight_count: u64,
    deferred_count: u64,
    message_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    zone_local_msg_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    region_local_msg_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    global_msg_count: u64,
    requeue_count: u64,
    timeout_count: u64,
    client_count: u64,
    clients: Option<Vec<Client<'a>>>,
    paused: bool,
    e2e_processing_latency: Latency,
    /// From here on only what the original does not have, and only where there is any.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dead_letter_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dead_lettering_count: u64,
}

impl<'a> Channel<'a> {
    fn new(channel: &'a ChannelStats, percentiles: &[f64]) -> Channel<'a> {
        Channel {
            channel_name: channel.name.as_str(),
            depth: channel.depth,
            backend_depth: channel.backend_depth,
            in_flight_count: channel.in_flight_count,
            deferred_count: channel.deferred_count,
            message_count: channel.message_count,
            zone_local_msg_count: channel.zone_local_msg_count,
            region_local_msg_count: channel.region_local_msg_count,
            global_msg_count: channel.global_msg_count,
            requeue_count: channel.requeue_count,
            timeout_count: channel.timeout_count,
            client_count: channel.client_count,
            clients: channel.clients.as_deref().map(clients),
            paused: channel.paused,
            e2e_processing_latency: Latency::new(channel.timing.as_ref(), percentiles),
            dropped_count: channel.dropped.total(),
            dead_letter_count: channel.dead_letters.total(),
            dead_lettering_count: channel.dead_lettering_count,
        }
    }
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Serialize)]
struct Client<'a> {
    client_id: &'a str,
    hostname: &'a str,
    version: &'static str,
    remote_address: &'a str,
    state: u8,
    ready_count: u64,
    in_flight_count: u64,
    message_count: u64,
    finish_count: u64,
    requeue_count: u64,
    connect_ts: i64,
    sample_rate: i32,
    deflate: bool,
    snappy: bool,
    user_agent: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    authed: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    auth_identity: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    auth_identity_url: &'a str,
    topology_zone: &'a str,
    topology_region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub_counts: Option<[PubCount<'a>; 1]>,
    tls: bool,
    tls_cipher_suite: &'a str,
    tls_version: &'a str,
    tls_negotiated_protocol: &'static str,
    tls_negotiated_protocol_is_mutual: bool,
}

#[derive(Debug, Serialize)]
struct PubCount<'a> {
    topic: &'a str,
    count: u64,
}

impl<'a> Client<'a> {
    fn new(client: &'a ClientStats) -> Client<'a> {
        let pub_count = client.pub_counts.as_ref();
        let encryption = client.encryption.as_ref();
        Client {
            client_id: &client.client_id,
            hostname: &client.hostname,
            version: "V2",
            remote_address: &client.remote_address,
            state: client.state,
            ready_count: client.ready_count,
            in_flight_count: client.in_flight_count,
            message_count: client.message_count,
            finish_count: client.finish_count,
            requeue_count: client.requeue_count,
            connect_ts: client.connect_ts_s,
            sample_rate: client.sample_rate,
            deflate: matches!(client.compression, Compression::Deflate(_)),
            snappy: client.compression == Compression::Snappy,
            user_agent: &client.user_agent,
            authed: client.authorized,
            auth_identity: &client.auth_identity,
            auth_identity_url: &client.auth_identity_url,
            topology_zone: &client.topology_zone,
            topology_region: &client.topology_region,
            pub_counts: pub_count
                .map(|(topic, count)| [PubCount { topic: topic.as_str(), count: *count }]),
            tls: encryption.is_some(),
            tls_cipher_suite: encryption.map_or("", |tls| &tls.cipher_suite),
            tls_version: encryption.map_or("", |tls| &tls.version),
            tls_negotiated_protocol: "",
            // A field that Go gave up, and sets with TLS.
            tls_negotiated_protocol_is_mutual: encryption.is_some(),
        }
    }
}
