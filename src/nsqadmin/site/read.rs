//! The original's questions about topics, channels and nodes.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::reply::{refused, told, unanswered};
use crate::http::query::Query;
use crate::http::respond::{Failure, Response};
use crate::nsqadmin::cluster::{
    ChannelStats, ClientStats, Cluster, Kind, Node, NodeInfo, Only, TopicStats, sort_by_topology,
    unix_seconds,
};

/// All topics, or with `inactive=true` those that no node has.
pub async fn topics(cluster: &Cluster, query: Option<&str>) -> Result<Response, Failure> {
    let query = Query::parse(query.unwrap_or_default()).map_err(|fault| Failure {
        status: StatusCode::BAD_REQUEST,
        message: fault.to_string().into(),
    })?;
    Ok(match query.get("inactive").as_deref() {
        Some(b"true") => inactive_topics(cluster).await,
        _ => match cluster.topics().await {
            Ok(found) if found.value.is_empty() => told(json!({"topics": null}), &[&found.failed]),
            Ok(found) => told(json!({ "topics": found.value }), &[&found.failed]),
            Err(nobody) => unanswered("get topics", &nobody),
        },
    })
}

async fn inactive_topics(cluster: &Cluster) -> Response {
    let found = match cluster.inactive_topics().await {
        Ok(found) => found,
        Err(nobody) => return unanswered("get topics", &nobody),
    };
    let null_when_empty = |channels: Vec<String>| match channels.is_empty() {
        true => Value::Null,
        false => Value::from(channels),
    };
    let topics = found.value.into_iter().map(|(topic, of)| (topic, null_when_empty(of)));
    let topics: BTreeMap<String, Value> = topics.collect();
    told(json!({ "topics": topics }), &[&found.failed])
}

/// One topic over all nodes.
pub async fn topic(cluster: &Cluster, name: &str) -> Response {
    let found = match cluster.topic_nodes(name).await {
        Ok(found) => found,
        Err(nobody) => return unanswered("get topic producers", &nobody),
    };
    if !found.value.known {
        return refused(StatusCode::NOT_FOUND, "TOPIC_NOT_FOUND", &found.failed);
    }
    if found.value.nodes.is_empty() {
        // Nobody has it, but lookup servers may remember its channels.
        let mut topic = TopicStats::of_all(name, Vec::new());
        let channel = |channel: &String| ChannelStats::of_all(name, channel, Vec::new());
        let channels: Vec<ChannelStats> = found.value.channels.iter().map(channel).collect();
        topic.channels = (!channels.is_empty()).then_some(channels);
        return told(topic, &[&found.failed]);
    }
    let only = Only { topic: Some(name), ..Only::default() };
    match cluster.stats(&found.value.nodes, only).await {
        Ok(rows) => told(TopicStats::of_all(name, rows.value), &[&found.failed, &rows.failed]),
        Err(nobody) => unanswered("get topic metadata", &nobody),
    }
}

/// One channel over all nodes, with its clients.
pub async fn channel(cluster: &Cluster, topic: &str, name: &str) -> Response {
    let found = match cluster.topic_nodes(topic).await {
        Ok(found) => found,
        Err(nobody) => return unanswered("get topic producers", &nobody),
    };
    if !found.value.known {
        return refused(StatusCode::NOT_FOUND, "TOPIC_NOT_FOUND", &found.failed);
    }
    let registered = found.value.channels.iter().any(|channel| channel == name);
    let only = Only { topic: Some(topic), channel: Some(name), clients: true };
    let rows = match cluster.stats(&found.value.nodes, only).await {
        Ok(rows) => rows,
        Err(_) if found.value.nodes.is_empty() => Default::default(),
        Err(nobody) => return unanswered("get channel metadata", &nobody),
    };
    let named = |of: &ChannelStats| of.channel_name == name;
    let channels = rows.value.into_iter().flat_map(|row| row.channels.unwrap_or_default());
    let channels: Vec<ChannelStats> = channels.filter(named).collect();
    let stages = [found.failed.as_slice(), rows.failed.as_slice()];
    if channels.is_empty() && !registered {
        let failed: Vec<_> = stages.concat();
        return refused(StatusCode::NOT_FOUND, "CHANNEL_NOT_FOUND", &failed);
    }
    let mut channel = ChannelStats::of_all(topic, name, channels);
    if let Some(clients) = &mut channel.clients {
        sort_by_topology(clients);
    }
    told(channel, &stages)
}

/// All nodes.
pub async fn nodes(cluster: &Cluster) -> Response {
    match cluster.nodes().await {
        Ok(found) if found.value.is_empty() => told(json!({"nodes": null}), &[&found.failed]),
        Ok(found) => told(json!({ "nodes": found.value }), &[&found.failed]),
        Err(nobody) => unanswered("get nodes", &nobody),
    }
}

/// One node with everything on it.
#[derive(Serialize)]
struct WholeNode<'a> {
    node: &'a str,
    topics: Option<Vec<TopicStats>>,
    total_messages: i64,
    total_clients: usize,
    info: NodeInfo,
    health: String,
    producers: Vec<ClientStats>,
    memory: Option<Value>,
}

/// One node with everything on it, by its HTTP address.
pub async fn node(cluster: &Cluster, address: &str) -> Response {
    let found = match cluster.nodes().await {
        Ok(found) => found,
        Err(nobody) => return unanswered("get producers", &nobody),
    };
    let Some(node) = found.value.iter().find(|node| node.http_address() == address) else {
        return refused(StatusCode::NOT_FOUND, "NODE_NOT_FOUND", &found.failed);
    };
    let only = Only { clients: true, ..Only::default() };
    let asked = cluster.node_stats(std::slice::from_ref(node), only).await;
    let mut stats = match asked.all(Kind::Nsqd) {
        Ok(said) => said.value,
        Err(nobody) => return unanswered("get nsqd stats", &nobody),
    };
    let (_, said) = stats.remove(0);
    let now_s = unix_seconds();
    let producer = |value: Value| {
        let mut client: ClientStats = serde_json::from_value(value).ok()?;
        client.be_of_node(node, now_s);
        Some(client)
    };
    let mut topics: Vec<TopicStats> =
        said.topics.into_iter().map(|topic| topic.of_node(node, now_s)).collect();
    topics.sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
    let clients = |topic: &TopicStats| {
        let channels = topic.channels.iter().flatten();
        channels.map(|channel| channel.clients.as_ref().map_or(0, Vec::len)).sum::<usize>()
    };
    let whole = WholeNode {
        node: address,
        total_messages: topics.iter().map(|topic| topic.message_count).sum(),
        total_clients: topics.iter().map(clients).sum(),
        topics: (!topics.is_empty()).then_some(topics),
        info: info(node, said.start_time),
        health: said.health,
        producers: said.producers.into_iter().filter_map(producer).collect(),
        memory: said.memory,
    };
    told(whole, &[&found.failed])
}

fn info(node: &Node, start_time: Option<i64>) -> NodeInfo {
    NodeInfo {
        version: node.version.clone(),
        hostname: node.hostname.clone(),
        broadcast_address: node.broadcast_address.clone(),
        tcp_port: node.tcp_port,
        http_port: node.http_port,
        start_time,
        topology_zone: node.topology_zone.clone(),
        topology_region: node.topology_region.clone(),
    }
}

/// Messages of each channel on each node.
pub async fn counter(cluster: &Cluster) -> Response {
    #[derive(Serialize)]
    struct Count<'a> {
        node: &'a str,
        topic_name: &'a str,
        channel_name: &'a str,
        message_count: i64,
    }
    let found = match cluster.nodes().await {
        Ok(found) => found,
        Err(nobody) => return unanswered("get counter producer list", &nobody),
    };
    let rows = match cluster.stats(&found.value, Only::default()).await {
        Ok(rows) => rows,
        Err(_) if found.value.is_empty() => Default::default(),
        Err(nobody) => return unanswered("get nsqd stats", &nobody),
    };
    let mut counts: BTreeMap<String, Count<'_>> = BTreeMap::new();
    for topic in &rows.value {
        for channel in topic.channels.iter().flatten() {
            let (node, topic_name) = (channel.node.as_str(), topic.topic_name.as_str());
            let channel_name = channel.channel_name.as_str();
            let empty = Count { node, topic_name, channel_name, message_count: 0 };
            let key = format!("{topic_name}:{channel_name}:{node}");
            counts.entry(key).or_insert(empty).message_count += channel.message_count;
        }
    }
    told(json!({ "stats": counts }), &[&found.failed, &rows.failed])
}
