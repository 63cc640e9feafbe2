//! From what single nodes say to what the cluster holds: sums, rows per node, channels by name.

use super::latency::Latency;
use super::stats::{ChannelStats, TopicStats};

impl TopicStats {
    /// A topic on all nodes, from its rows on each; they keep what they say.
    pub fn of_all(topic: &str, rows: Vec<TopicStats>) -> TopicStats {
        let mut all = TopicStats {
            node: "*".to_owned(),
            topic_name: topic.to_owned(),
            e2e_processing_latency: Some(Latency::of_all(topic, "")),
            ..TopicStats::default()
        };
        let mut channels: Vec<(String, Vec<ChannelStats>)> = Vec::new();
        for row in &rows {
            all.add(row);
            for channel in row.channels.iter().flatten() {
                match channels.iter_mut().find(|(name, _)| *name == channel.channel_name) {
                    Some((_, rows)) => rows.push(channel.clone()),
                    None => channels.push((channel.channel_name.clone(), vec![channel.clone()])),
                }
            }
        }
        channels.sort_by(|(a, _), (b, _)| a.cmp(b));
        let channels: Vec<ChannelStats> = channels
            .into_iter()
            .map(|(name, mut rows)| match rows.len() {
                // The original shows a channel of one node as that node does.
                1 => rows.remove(0),
                _ => ChannelStats::of_all(topic, &name, rows),
            })
            .collect();
        all.channels = (!channels.is_empty()).then_some(channels);
        all.nodes = Some(rows);
        all
    }

    fn add(&mut self, row: &TopicStats) {
        self.depth += row.depth;
        self.memory_depth += row.memory_depth;
        self.backend_depth += row.backend_depth;
        self.message_count += row.message_count;
        self.message_bytes += row.message_bytes;
        self.delivery_msg_count += row.delivery_msg_count;
        self.zone_local_msg_count += row.zone_local_msg_count;
        self.region_local_msg_count += row.region_local_msg_count;
        self.global_msg_count += row.global_msg_count;
        self.paused |= row.paused;
        add_latency(&mut self.e2e_processing_latency, row.e2e_processing_latency.as_ref());
    }
}

impl ChannelStats {
    /// A channel on all nodes, from its rows on each; they keep what they say.
    pub fn of_all(topic: &str, channel: &str, mut rows: Vec<ChannelStats>) -> ChannelStats {
        let mut all = ChannelStats {
            node: "*".to_owned(),
            topic_name: topic.to_owned(),
            channel_name: channel.to_owned(),
            e2e_processing_latency: Some(Latency::of_all(topic, channel)),
            ..ChannelStats::default()
        };
        rows.sort_by(|a, b| a.place().cmp(&b.place()));
        rows.iter().for_each(|row| all.add(row));
        all.nodes = Some(rows);
        all
    }

    fn add(&mut self, row: &ChannelStats) {
        self.depth += row.depth;
        self.memory_depth += row.memory_depth;
        self.backend_depth += row.backend_depth;
        self.in_flight_count += row.in_flight_count;
        self.deferred_count += row.deferred_count;
        self.requeue_count += row.requeue_count;
        self.timeout_count += row.timeout_count;
        self.message_count += row.message_count;
        self.delivery_msg_count += row.delivery_msg_count;
        self.zone_local_msg_count += row.zone_local_msg_count;
        self.region_local_msg_count += row.region_local_msg_count;
        self.global_msg_count += row.global_msg_count;
        self.client_count += row.client_count;
        self.paused |= row.paused;
        add_latency(&mut self.e2e_processing_latency, row.e2e_processing_latency.as_ref());
        let clients = row.clients.iter().flatten().cloned();
        let known = self.clients.take().into_iter().flatten();
        let all: Vec<_> = known.chain(clients).collect();
        self.clients = (!all.is_empty()).then_some(all);
    }
}

fn add_latency(all: &mut Option<Latency>, row: Option<&Latency>) {
    if let (Some(all), Some(row)) = (all, row) {
        all.add(row);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::nodes::Node;
    use super::super::wire::NodeStats;
    use super::{ChannelStats, TopicStats};

    /// What an original nsqd said about a topic with one consumer.
    const SAID: &str = r#"{"version":"1.3.0","health":"OK","start_time":1795417140,"topics":[
        {"topic_name":"clicks","channels":[{"channel_name":"archive","depth":23,"backend_depth":20,
        "in_flight_count":2,"deferred_count":1,"message_count":1150,"global_msg_count":7,
        "requeue_count":3,"timeout_count":4,"client_count":1,"clients":[{"client_id":"vm",
        "hostname":"vm","version":"V2","remote_address":"127.0.0.1:52292","state":3,
        "ready_count":200,"in_flight_count":2,"message_count":7,"finish_count":5,
        "requeue_count":0,"connect_ts":1795418000,"sample_rate":0,"deflate":false,"snappy":false,
        "user_agent":"nsq_tail/1.3.0 go-nsq/1.1.0","topology_zone":"","topology_region":"",
        "tls":false,"tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"",
        "tls_negotiated_protocol_is_mutual":false}],"paused":false,
        "e2e_processing_latency":{"count":5,"percentiles":[{"quantile":0.99,"value":1000}]}}],
        "depth":10,"backend_depth":4,"message_count":1160,"message_bytes":232000,"paused":false,
        "e2e_processing_latency":{"count":5,"percentiles":[{"quantile":0.99,"value":1000}]}}],
        "producers":null}"#;

    /// The same, as told by a node at this port.
    fn row(http_port: i64) -> TopicStats {
        let mut said: NodeStats = serde_json::from_str(SAID).unwrap();
        let node = Node {
            hostname: "vm".to_owned(),
            broadcast_address: "127.0.0.1".to_owned(),
            http_port,
            ..Node::default()
        };
        said.topics.remove(0).of_node(&node, 1_795_418_006)
    }

    fn shown(value: impl serde::Serialize) -> Value {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn a_row_has_the_originals_fields() {
        let row = shown(row(14111));
        let names: Vec<&String> = row.as_object().unwrap().keys().collect();
        let wanted = [
            "backend_depth",
            "channels",
            "delivery_msg_count",
            "depth",
            "e2e_processing_latency",
            "hostname",
            "memory_depth",
            "message_bytes",
            "message_count",
            "node",
            "nodes",
            "paused",
            "topic_name",
        ];
        let mut sorted: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, wanted);
        assert_eq!((&row["node"], &row["memory_depth"]), (&json!("127.0.0.1:14111"), &json!(6)));
        let channel = &row["channels"][0];
        assert_eq!(channel["delivery_msg_count"], 7);
        assert_eq!(channel["clients"][0]["connected"], 6_000_000_000_i64);
        assert!(channel["clients"][0].get("pub_counts").is_none());
    }

    #[test]
    fn sums_are_sums_and_rows_stay_what_they_were() {
        let rows = vec![row(1), row(2), row(3)];
        let all = shown(TopicStats::of_all("clicks", rows.clone()));
        assert_eq!((&all["node"], &all["hostname"]), (&json!("*"), &json!("")));
        assert_eq!((&all["depth"], &all["message_count"]), (&json!(30), &json!(3480)));
        let channel = &all["channels"][0];
        for (field, sum) in [
            ("depth", 69),
            ("memory_depth", 9),
            ("backend_depth", 60),
            ("in_flight_count", 6),
            ("deferred_count", 3),
            ("requeue_count", 9),
            ("timeout_count", 12),
            ("message_count", 3450),
            ("client_count", 3),
            ("global_msg_count", 21),
        ] {
            assert_eq!(channel[field], sum, "{field}");
        }
        assert_eq!(channel["node"], "*");
        // The first node is in the list, and its row has its own numbers.
        assert_eq!(channel["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(all["nodes"][0]["channels"][0]["depth"], 23);
        assert_eq!(all["nodes"], shown(rows));
        assert_eq!(channel["e2e_processing_latency"]["count"], 15);
    }

    #[test]
    fn a_channel_of_one_node_is_shown_as_that_node_shows_it() {
        let all = shown(TopicStats::of_all("clicks", vec![row(5)]));
        assert_eq!(all["channels"][0]["node"], "127.0.0.1:5");
        assert_eq!(all["channels"][0]["nodes"], Value::Null);
    }

    #[test]
    fn nothing_makes_an_empty_topic() {
        let all = shown(TopicStats::of_all("t", Vec::new()));
        assert_eq!((&all["channels"], &all["nodes"]), (&Value::Null, &json!([])));
        assert_eq!(all["depth"], 0);
        let all = shown(ChannelStats::of_all("t", "c", Vec::new()));
        assert_eq!((&all["clients"], &all["nodes"]), (&Value::Null, &json!([])));
    }

    #[test]
    fn a_pause_anywhere_is_a_pause() {
        let mut paused = row(2);
        paused.paused = true;
        assert!(TopicStats::of_all("clicks", vec![row(1), paused, row(3)]).paused);
    }
}
