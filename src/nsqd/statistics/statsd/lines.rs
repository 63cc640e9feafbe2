//! The lines of a report, in the original's order, and how they are packed.

use std::collections::BTreeMap;

use shards::stats::{ChannelStats, Latency, TopicStats};
use shards::wire::names::Name;

use crate::config::nsqd::StatsdOptions;
use crate::nsqd::http::memory::MemoryStats;
use crate::nsqd::statistics::office::Totals;

/// Reports, and what the last one said.
#[derive(Debug)]
pub struct Report {
    prefix: String,
    /// The names under which percentiles are reported.
    percentiles: Vec<String>,
    with_memory: bool,
    exclude_ephemeral: bool,
    packet_bytes_max: usize,
    topics: BTreeMap<Name, LastTopic>,
    gc_runs: u64,
}

/// What was said of a topic.
#[derive(Debug, Default)]
struct LastTopic {
    messages: u64,
    bytes: u64,
    channels: BTreeMap<Name, LastChannel>,
}

/// What was said of a channel.
#[derive(Clone, Copy, Debug, Default)]
struct LastChannel {
    messages: u64,
    requeues: u64,
    timeouts: u64,
}

impl Report {
    /// Nothing was said yet.
    pub fn new(percentiles: Vec<f64>, options: &StatsdOptions) -> Report {
        let name = |percentile: &f64| format!("e2e_processing_latency_{:.0}", percentile * 100.0);
        Report {
            prefix: options.prefix.clone(),
            percentiles: percentiles.iter().map(name).collect(),
            with_memory: options.mem_stats,
            exclude_ephemeral: options.exclude_ephemeral,
            packet_bytes_max: options.udp_packet_size_bytes as usize,
            topics: BTreeMap::new(),
            gc_runs: 0,
        }
    }

    /// The packets of the next report.
    pub fn packets(&mut self, totals: &Totals) -> Vec<Vec<u8>> {
        let mut packer = Packer {
            prefix: std::mem::take(&mut self.prefix),
            bytes_max: self.packet_bytes_max,
            packets: Vec::new(),
            packet: Vec::new(),
        };
        let mut before = std::mem::take(&mut self.topics);
        let reported = totals.stats.topics.iter().filter(|topic| self.is_reported(&topic.name));
        let told = reported.map(|topic| {
            let last = before.remove(&topic.name).unwrap_or_default();
            (topic.name, self.topic(&mut packer, topic, &last))
        });
        self.topics = told.collect();
        if self.with_memory {
            self.memory(&mut packer, &totals.memory);
        }
        let Packer { prefix, mut packets, packet, .. } = packer;
        self.prefix = prefix;
        if !packet.is_empty() {
            packets.push(packet);
        }
        packets
    }

    fn is_reported(&self, name: &Name) -> bool {
        !(self.exclude_ephemeral && name.is_ephemeral())
    }

    fn topic(&self, to: &mut Packer, topic: &TopicStats, last: &LastTopic) -> LastTopic {
        let key = format!("topic.{}", topic.name);
        to.counter(&key, "message_count", topic.message_count, last.messages);
        to.counter(&key, "message_bytes", topic.message_bytes, last.bytes);
        to.gauge(&key, "depth", topic.depth);
        to.gauge(&key, "backend_depth", topic.backend_depth);
        self.latency(to, &key, topic.timing.as_ref().map(|timing| &timing.e2e));
        let mut channels = BTreeMap::new();
        for channel in topic.channels.iter().filter(|channel| self.is_reported(&channel.name)) {
            let last = last.channels.get(&channel.name).copied().unwrap_or_default();
            let now = self.channel(to, &format!("{key}.channel.{}", channel.name), channel, last);
            channels.insert(channel.name, now);
        }
        LastTopic { messages: topic.message_count, bytes: topic.message_bytes, channels }
    }

    fn channel(
        &self,
        to: &mut Packer,
        key: &str,
        channel: &ChannelStats,
        last: LastChannel,
    ) -> LastChannel {
        to.counter(key, "message_count", channel.message_count, last.messages);
        to.gauge(key, "depth", channel.depth);
        to.gauge(key, "backend_depth", channel.backend_depth);
        to.gauge(key, "in_flight_count", channel.in_flight_count);
        to.gauge(key, "deferred_count", channel.deferred_count);
        to.counter(key, "requeue_count", channel.requeue_count, last.requeues);
        to.counter(key, "timeout_count", channel.timeout_count, last.timeouts);
        to.gauge(key, "clients", channel.client_count);
        self.latency(to, key, channel.timing.as_ref().map(|timing| &timing.e2e));
        LastChannel {
            messages: channel.message_count,
            requeues: channel.requeue_count,
            timeouts: channel.timeout_count,
        }
    }

    fn latency(&self, to: &mut Packer, key: &str, latency: Option<&Latency>) {
        let values = latency.map_or(&[][..], |latency| &latency.values_ns);
        for (name, &ns) in self.percentiles.iter().zip(values) {
            to.gauge(key, name, ns);
        }
    }

    fn memory(&mut self, to: &mut Packer, memory: &MemoryStats) {
        for (name, value) in memory.rows() {
            match name {
                "gc_total_runs" => to.counter("mem", "gc_runs", value, self.gc_runs),
                name => to.gauge("mem", name, value),
            }
        }
        self.gc_runs = memory.gc_total_runs;
    }
}

/// Lines on their way into packets.
struct Packer {
    prefix: String,
    bytes_max: usize,
    packets: Vec<Vec<u8>>,
    packet: Vec<u8>,
}

impl Packer {
    fn gauge(&mut self, key: &str, name: &str, value: u64) {
        let line = format!("{}{key}.{name}:{}|g\n", self.prefix, value.cast_signed());
        self.put(line.as_bytes());
    }

    /// What came to it since the last report: less than nothing after a topic was made anew.
    fn counter(&mut self, key: &str, name: &str, value: u64, last: u64) {
        let more = value.wrapping_sub(last).cast_signed();
        let line = format!("{}{key}.{name}:{more}|c\n", self.prefix);
        self.put(line.as_bytes());
    }

    /// A line is never split: one that is too long for a packet is a packet alone.
    fn put(&mut self, line: &[u8]) {
        if self.packet.len() + line.len() > self.bytes_max && !self.packet.is_empty() {
            self.packets.push(std::mem::take(&mut self.packet));
        }
        self.packet.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::config::nsqd::StatsdOptions;
    use crate::nsqd::http::testing::{channel, topic};
    use crate::nsqd::statistics::office::Totals;
    use shards::stats::{Latency, ShardStats, Timing, TopicStats};

    fn options(packet: u32, exclude_ephemeral: bool) -> StatsdOptions {
        StatsdOptions {
            address: String::new(),
            interval_ms: 60_000,
            mem_stats: false,
            prefix: String::new(),
            udp_packet_size_bytes: packet,
            exclude_ephemeral,
        }
    }

    fn totals(topics: Vec<TopicStats>) -> Totals {
        let stats = ShardStats { topics, ..ShardStats::default() };
        Totals { stats, ..Totals::default() }
    }

    fn text(report: &mut Report, totals: &Totals) -> String {
        String::from_utf8(report.packets(totals).concat()).unwrap()
    }

    #[test]
    fn counters_are_what_came_since_the_last_report() {
        let mut report = Report::new(
            vec![0.999, 0.5],
            &StatsdOptions { prefix: "p.".to_owned(), ..options(508, false) },
        );
        let e2e = Latency { count: 1, values_ns: vec![70, 30], ..Latency::default() };
        let timing = Some(Timing { e2e, ..Timing::default() });
        let mut orders = topic("orders", vec![channel("c#ephemeral")]);
        (orders.message_count, orders.message_bytes, orders.depth) = (10, 100, 3);
        orders.timing = timing.clone();
        orders.channels[0].timing = timing;
        (orders.channels[0].requeue_count, orders.channels[0].client_count) = (4, 2);
        let first = text(&mut report, &totals(vec![orders.clone()]));
        let c = "p.topic.orders.channel.c#ephemeral";
        let expected = format!(
            "p.topic.orders.message_count:10|c\np.topic.orders.message_bytes:100|c\n\
             p.topic.orders.depth:3|g\np.topic.orders.backend_depth:0|g\n\
             p.topic.orders.e2e_processing_latency_100:70|g\n\
             p.topic.orders.e2e_processing_latency_50:30|g\n\
             {c}.message_count:0|c\n{c}.depth:0|g\n{c}.backend_depth:0|g\n\
             {c}.in_flight_count:0|g\n{c}.deferred_count:0|g\n{c}.requeue_count:4|c\n\
             {c}.timeout_count:0|c\n{c}.clients:2|g\n\
             {c}.e2e_processing_latency_100:70|g\n{c}.e2e_processing_latency_50:30|g\n"
        );
        assert_eq!(first, expected);
        orders.message_count = 15;
        let second = text(&mut report, &totals(vec![orders.clone()]));
        assert!(second.starts_with("p.topic.orders.message_count:5|c\n"), "{second}");
        assert!(second.contains("requeue_count:0|c\n"), "{second}");
        orders.message_count = 2;
        let anew = text(&mut report, &totals(vec![orders.clone()]));
        assert!(anew.starts_with("p.topic.orders.message_count:-13|c\n"), "{anew}");
        text(&mut report, &totals(Vec::new()));
        let back = text(&mut report, &totals(vec![orders]));
        assert!(back.starts_with("p.topic.orders.message_count:2|c\n"), "{back}");
    }

    #[test]
    fn ephemeral_ones_are_left_out_on_demand() {
        let mut report = Report::new(Vec::new(), &options(508, true));
        let topics = vec![
            topic("a", vec![channel("c#ephemeral"), channel("d")]),
            topic("b#ephemeral", vec![channel("c")]),
        ];
        let lines = text(&mut report, &totals(topics));
        assert!(
            lines.contains("topic.a.channel.d.depth") && !lines.contains("#ephemeral"),
            "{lines}"
        );
    }

    #[test]
    fn lines_are_packed_whole() {
        let topics = || totals(vec![topic("a", Vec::new()), topic("b", Vec::new())]);
        let mut report = Report::new(Vec::new(), &options(60, false));
        let packets = report.packets(&topics());
        assert!(packets.len() > 2);
        for packet in &packets {
            assert!(packet.len() <= 60 && packet.ends_with(b"\n"), "{packet:?}");
        }
        let mut tiny = Report::new(Vec::new(), &options(1, false));
        assert_eq!(tiny.packets(&topics()).len(), 8, "each line alone");
        let mut with_memory =
            Report { with_memory: true, ..Report::new(Vec::new(), &options(9999, false)) };
        let text = text(&mut with_memory, &totals(Vec::new()));
        let names: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
        let all = "mem.heap_objects mem.heap_idle_bytes mem.heap_in_use_bytes \
            mem.heap_released_bytes mem.gc_pause_usec_100 mem.gc_pause_usec_99 \
            mem.gc_pause_usec_95 mem.next_gc_bytes mem.gc_runs";
        assert_eq!(names.join(" "), all);
    }
}
