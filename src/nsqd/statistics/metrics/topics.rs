//! Topics and their channels.

use prometheus::Result;
use prometheus::proto::{Metric, MetricType};
use shards::stats::{ChannelStats, Latency, TopicStats};

use super::bounds;
use crate::http::exposition::{Exposition, f64_of, labelled, set_summary};
use crate::nsqd::statistics::office::Sources;

use MetricType::{COUNTER, GAUGE, SUMMARY};

/// One number of every topic.
struct OfTopic {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    value: fn(&TopicStats) -> u64,
}

/// One number of every channel.
struct OfChannel {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    value: fn(&ChannelStats) -> u64,
}

const OF_TOPICS: [OfTopic; 11] = [
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_depth",
        help: "Messages that no channel has been given yet.",
        value: |topic| topic.depth,
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_backend_depth",
        help: "The part of the depth that is on the disk only.",
        value: |topic| topic.backend_depth,
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_paused",
        help: "Whether messages are kept back from the channels.",
        value: |topic| topic.paused.into(),
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_channels",
        help: "Channels.",
        value: |topic| topic.channels.len() as u64,
    },
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_messages_total",
        help: "Messages published.",
        value: |topic| topic.message_count,
    },
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_message_bytes_total",
        help: "Bytes of their bodies.",
        value: |topic| topic.message_bytes,
    },
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_rejected_total",
        help: "Publishes refused because a bound of the topic or a channel was reached.",
        value: |topic| topic.rejected_count,
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_full",
        help: "Whether publishes are refused now for that.",
        value: |topic| topic.full.is_some().into(),
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_retained_messages",
        help: "Messages that are kept though all channels have finished them.",
        value: |topic| topic.retained_count,
    },
    OfTopic {
        kind: GAUGE,
        name: "nsq_topic_retained_bytes",
        help: "Bytes that these take in the log.",
        value: |topic| topic.retained_bytes,
    },
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_retained_dropped_total",
        help: "Messages that were kept and let go early, because memory or disk was short.",
        value: |topic| topic.retained_pressed_count,
    },
];

const OF_CHANNELS: [OfChannel; 10] = [
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_depth",
        help: "Messages that wait, without those in flight and deferred.",
        value: |channel| channel.depth,
    },
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_backend_depth",
        help: "The part of the depth that is on the disk only.",
        value: |channel| channel.backend_depth,
    },
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_in_flight_count",
        help: "Messages with a consumer.",
        value: |channel| channel.in_flight_count,
    },
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_deferred_count",
        help: "Messages that wait for their time.",
        value: |channel| channel.deferred_count,
    },
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_clients",
        help: "Consumers.",
        value: |channel| channel.client_count,
    },
    OfChannel {
        kind: GAUGE,
        name: "nsq_topic_channel_paused",
        help: "Whether nothing is delivered.",
        value: |channel| channel.paused.into(),
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_messages_total",
        help: "Messages put on the channel.",
        value: |channel| channel.message_count,
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_requeues_total",
        help: "Messages given back.",
        value: |channel| channel.requeue_count,
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_timeouts_total",
        help: "Messages that were not answered in time.",
        value: |channel| channel.timeout_count,
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_finishes_total",
        help: "Messages that were finished.",
        value: |channel| channel.finish_count,
    },
];

/// The names that counters have where a statsd is read by Prometheus.
const LEGACY_OF_TOPICS: [OfTopic; 2] = [
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_message_count",
        help: "As nsq_topic_messages_total.",
        value: |topic| topic.message_count,
    },
    OfTopic {
        kind: COUNTER,
        name: "nsq_topic_message_bytes",
        help: "As nsq_topic_message_bytes_total.",
        value: |topic| topic.message_bytes,
    },
];

/// The same for channels.
const LEGACY_OF_CHANNELS: [OfChannel; 3] = [
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_message_count",
        help: "As nsq_topic_channel_messages_total.",
        value: |channel| channel.message_count,
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_requeue_count",
        help: "As nsq_topic_channel_requeues_total.",
        value: |channel| channel.requeue_count,
    },
    OfChannel {
        kind: COUNTER,
        name: "nsq_topic_channel_timeout_count",
        help: "As nsq_topic_channel_timeouts_total.",
        value: |channel| channel.timeout_count,
    },
];

/// Series of a summary without percentiles: count and sum.
const SUMMARY_SERIES: usize = 2;

/// Writes as many topics as there is room for.
pub fn write(page: &mut Exposition, topics: &[TopicStats], sources: &Sources) -> Result<()> {
    let shown = &topics[..fitting(page, topics, sources)];
    let row = |topic: &TopicStats| labelled(&[("topic", topic.name.as_str())]);
    let mut rows: Vec<Metric> = shown.iter().map(row).collect();
    let legacy = if sources.legacy_names { &LEGACY_OF_TOPICS[..] } else { &[] };
    for of in OF_TOPICS.iter().chain(legacy) {
        let value = |index: usize| f64_of((of.value)(&shown[index]));
        rows = page.rows((of.kind, of.name, of.help), rows, value)?;
    }
    write_topic_latency(page, shown, &sources.percentiles)?;
    let channels: Vec<(&TopicStats, &ChannelStats)> =
        shown.iter().flat_map(|topic| topic.channels.iter().map(move |of| (topic, of))).collect();
    let mut rows: Vec<Metric> = channels.iter().map(channel_row).collect();
    let legacy = if sources.legacy_names { &LEGACY_OF_CHANNELS[..] } else { &[] };
    for of in OF_CHANNELS.iter().chain(legacy) {
        let value = |index: usize| f64_of((of.value)(channels[index].1));
        rows = page.rows((of.kind, of.name, of.help), rows, value)?;
    }
    write_channel_latency(page, &channels, &sources.percentiles)?;
    bounds::write(page, shown)
}

fn channel_row((topic, channel): &(&TopicStats, &ChannelStats)) -> Metric {
    labelled(&[("topic", topic.name.as_str()), ("channel", channel.name.as_str())])
}

/// How many topics, with all their channels, there is room for. What is too much is noted.
fn fitting(page: &mut Exposition, topics: &[TopicStats], sources: &Sources) -> usize {
    let quantiles = sources.percentiles.len();
    let measured = if quantiles > 0 { quantiles + SUMMARY_SERIES } else { 0 };
    let legacy = |count: usize| if sources.legacy_names { count } else { 0 };
    let each = OF_TOPICS.len() + legacy(LEGACY_OF_TOPICS.len()) + measured;
    let channel_legacy = legacy(LEGACY_OF_CHANNELS.len());
    let of_channel = OF_CHANNELS.len() + channel_legacy + measured + SUMMARY_SERIES + quantiles;
    let mut room = page.room();
    let mut fitting = 0;
    for topic in topics {
        let series = each + topic.channels.len() * of_channel + bounds::series(topic);
        if series <= room {
            room -= series;
            fitting += 1;
        } else {
            room = 0;
            page.leave_out(series);
        }
    }
    fitting
}

fn write_topic_latency(
    page: &mut Exposition,
    topics: &[TopicStats],
    percentiles: &[f64],
) -> Result<()> {
    let rows = topics.iter().filter_map(|topic| {
        let timing = topic.timing.as_ref()?;
        let mut row = labelled(&[("topic", topic.name.as_str())]);
        set_latency(&mut row, &timing.e2e, percentiles);
        Some(row)
    });
    let help = "Time from publish to FIN, on all channels; quantiles are of the sliding window.";
    page.family(SUMMARY, "nsq_topic_e2e_processing_latency_seconds", help, rows.collect())
}

fn write_channel_latency(
    page: &mut Exposition,
    channels: &[(&TopicStats, &ChannelStats)],
    percentiles: &[f64],
) -> Result<()> {
    let rows = channels.iter().filter_map(|both| {
        let timing = both.1.timing.as_ref()?;
        let mut row = channel_row(both);
        set_latency(&mut row, &timing.e2e, percentiles);
        Some(row)
    });
    let help = "Time from publish to FIN; quantiles are of the sliding window.";
    page.family(SUMMARY, "nsq_topic_channel_e2e_processing_latency_seconds", help, rows.collect())?;
    let rows = channels.iter().map(|both| {
        let channel = both.1;
        let mut row = channel_row(both);
        match &channel.timing {
            Some(timing) => {
                set_processing(&mut row, channel, Some(&timing.processing), percentiles)
            }
            None => set_processing(&mut row, channel, None, percentiles),
        }
        row
    });
    let help = "Time from delivery to FIN; quantiles, where percentiles are configured, are of \
                the sliding window.";
    page.family(SUMMARY, "nsq_topic_channel_processing_seconds", help, rows.collect())
}

fn set_latency(row: &mut Metric, latency: &Latency, percentiles: &[f64]) {
    set_summary(
        row,
        latency.total_count,
        seconds(latency.total_ns),
        quantiles(latency, percentiles),
    );
}

/// Count and sum are there although nobody measures.
fn set_processing(
    row: &mut Metric,
    channel: &ChannelStats,
    measured: Option<&Latency>,
    percentiles: &[f64],
) {
    let sum_s = f64_of(channel.processing_ms) / 1e3;
    let quantiles = measured.into_iter().flat_map(|latency| quantiles(latency, percentiles));
    set_summary(row, channel.finish_count, sum_s, quantiles);
}

/// Without samples nobody knows: that is not 0.
fn quantiles<'a>(
    latency: &'a Latency,
    percentiles: &'a [f64],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let value = |ns: u64| if latency.count == 0 { f64::NAN } else { seconds(ns) };
    percentiles.iter().zip(&latency.values_ns).map(move |(&quantile, &ns)| (quantile, value(ns)))
}

fn seconds(ns: u64) -> f64 {
    f64_of(ns) / 1e9
}
