//! What operators ask of topics and channels beyond NSQ, and what came of it: bounds, how near they
//! are, and what was given up for which reason. Only where somebody asked, or something was.

use prometheus::Result;
use prometheus::proto::{Metric, MetricType};
use shards::policy::{Fates, Limit};
use shards::stats::{ChannelStats, TopicStats};

use crate::http::exposition::{Exposition, f64_of, metric};

use MetricType::{COUNTER, GAUGE};

type Labels<'a> = [(&'static str, &'a str)];
/// A channel and its topic.
type Both<'a> = (&'a TopicStats, &'a ChannelStats);

/// Reasons for which a message is dropped; to be a dead letter there is one more.
const DROPPED_FOR: [&str; 2] = ["full", "age"];
const DEAD_FOR: [&str; 3] = ["full", "age", "attempts"];

/// A bound's name, what it is, and its value.
type Bound = (&'static str, &'static str, fn(&Limit) -> f64);

/// All that there are.
const BOUNDS: [Bound; 3] = [
    ("max_messages", "Messages that it may hold.", |limit| f64_of(limit.max_messages)),
    ("max_bytes", "Bytes that its messages may take.", |limit| f64_of(limit.max_bytes)),
    ("max_age_seconds", "How old its messages may be.", |limit| f64_of(limit.max_age_ms) / 1e3),
];

fn of_reason(fates: &Fates, reason: &str) -> f64 {
    f64_of(match reason {
        "full" => fates.full,
        "age" => fates.age,
        _ => fates.attempts,
    })
}

fn is_ruled(topic: &TopicStats) -> bool {
    topic.limit.is_set() || topic.dropped.total() > 0
}

fn bounds_of(limit: &Limit) -> usize {
    BOUNDS.iter().filter(|(_, _, value)| value(limit) > 0.0).count()
}

/// Series that a topic gets here, with all its channels.
pub fn series(topic: &TopicStats) -> usize {
    let own = if is_ruled(topic) { DROPPED_FOR.len() + bounds_of(&topic.limit) } else { 0 };
    let of_channel = |channel: &ChannelStats| {
        if !channel.is_ruled {
            return 0;
        }
        // What is on its way, what came back.
        let counts = DROPPED_FOR.len() + DEAD_FOR.len() + 2;
        counts + bounds_of(&channel.limit) + usize::from(used(topic, channel).is_some())
    };
    own + topic.channels.iter().map(of_channel).sum::<usize>()
}

/// Writes it for topics that there is room for.
pub fn write(page: &mut Exposition, topics: &[TopicStats]) -> Result<()> {
    let ruled: Vec<&TopicStats> = topics.iter().filter(|topic| is_ruled(topic)).collect();
    let help = "Messages dropped before any channel was given them, by the reason.";
    let rows = ruled.iter().flat_map(|topic| {
        let row = |reason| {
            let labels = [("topic", topic.name.as_str()), ("reason", reason)];
            metric(COUNTER, &labels, of_reason(&topic.dropped, reason))
        };
        DROPPED_FOR.map(row)
    });
    page.family(COUNTER, "nsq_topic_dropped_total", help, rows.collect())?;
    for (name, help, value) in BOUNDS {
        let bounded = ruled.iter().filter(|topic| value(&topic.limit) > 0.0);
        let rows = bounded
            .map(|topic| metric(GAUGE, &[("topic", topic.name.as_str())], value(&topic.limit)));
        page.family(GAUGE, &format!("nsq_topic_{name}"), help, rows.collect())?;
    }
    let channels = topics.iter().flat_map(|topic| topic.channels.iter().map(move |of| (topic, of)));
    let channels: Vec<Both<'_>> = channels.filter(|(_, channel)| channel.is_ruled).collect();
    write_given_up(page, &channels)?;
    write_bounds(page, &channels)
}

fn write_given_up(page: &mut Exposition, channels: &[Both<'_>]) -> Result<()> {
    let help = "Messages dropped because the channel was full, or they were too old.";
    let rows = channels.iter().flat_map(|both| {
        DROPPED_FOR.map(|reason| {
            row(both, COUNTER, &[("reason", reason)], |channel| of_reason(&channel.dropped, reason))
        })
    });
    page.family(COUNTER, "nsq_topic_channel_dropped_total", help, rows.collect())?;
    let help = "Messages that went to another topic as dead letters, by the reason.";
    let rows = channels.iter().flat_map(|both| {
        DEAD_FOR.map(|reason| {
            row(both, COUNTER, &[("reason", reason)], |channel| {
                of_reason(&channel.dead_letters, reason)
            })
        })
    });
    page.family(COUNTER, "nsq_topic_channel_dead_letters_total", help, rows.collect())?;
    let help = "Messages on their way to another topic, dead letters and others.";
    let waiting = |channel: &ChannelStats| f64_of(channel.dead_lettering_count);
    let rows = channels.iter().map(|both| row(both, GAUGE, &[], waiting)).collect();
    page.family(GAUGE, "nsq_topic_channel_dead_lettering", help, rows)?;
    let help = "Dead letters that were brought back to the channel.";
    let back = |channel: &ChannelStats| f64_of(channel.redriven_count);
    let rows = channels.iter().map(|both| row(both, COUNTER, &[], back)).collect();
    page.family(COUNTER, "nsq_topic_channel_redriven_total", help, rows)
}

fn write_bounds(page: &mut Exposition, channels: &[Both<'_>]) -> Result<()> {
    for (name, help, value) in BOUNDS {
        let bounded = channels.iter().filter(|(_, channel)| value(&channel.limit) > 0.0);
        let rows = bounded.map(|both| row(both, GAUGE, &[], |channel| value(&channel.limit)));
        page.family(GAUGE, &format!("nsq_topic_channel_{name}"), help, rows.collect())?;
    }
    let help = "The part that is used of the bound of messages or bytes that is nearest, be it the \
                channel's or its topic's.";
    let rows = channels
        .iter()
        .filter_map(|both| used(both.0, both.1).map(|used| row(both, GAUGE, &[], |_| used)));
    page.family(GAUGE, "nsq_topic_channel_bound_used_ratio", help, rows.collect())
}

fn row(
    (topic, channel): &Both<'_>,
    kind: MetricType,
    more: &Labels<'_>,
    value: impl Fn(&ChannelStats) -> f64,
) -> Metric {
    let labels = [("topic", topic.name.as_str()), ("channel", channel.name.as_str())];
    metric(kind, &[&labels, more].concat(), value(channel))
}

/// The part that a channel uses of the bound that is nearest; `None` without a bound.
fn used(topic: &TopicStats, channel: &ChannelStats) -> Option<f64> {
    let messages = channel.depth + channel.in_flight_count + channel.deferred_count;
    let bytes = channel.held_bytes.unwrap_or(0);
    let of = |is: u64, most: u64| (most != 0).then(|| f64_of(is) / f64_of(most));
    let parts = [
        of(messages, channel.limit.max_messages),
        of(bytes, channel.limit.max_bytes),
        of(messages + topic.depth, topic.limit.max_messages),
        of(bytes, topic.limit.max_bytes),
    ];
    parts.into_iter().flatten().reduce(f64::max)
}
