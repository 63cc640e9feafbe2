//! Nodes, as `/api/nodes` shows them, from what one or several lookup servers say.

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;

use super::wire::{NodeInfo, Nodes, Producer};

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `<lookup server>/<its connection there>`, one for each; `null` where nodes are listed.
    pub remote_addresses: Option<Vec<String>>,
    /// The first of these connections.
    pub remote_address: String,
    /// The machine's name.
    pub hostname: String,
    /// How others reach it.
    pub broadcast_address: String,
    /// Its ports.
    pub tcp_port: i64,
    /// As above.
    pub http_port: i64,
    /// The release of NSQ that it is taken for.
    pub version: String,
    /// Where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_zone: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_region: String,
    /// What it has, sorted; `null` for nothing.
    #[serde(serialize_with = "null_when_empty")]
    pub topics: Vec<NodeTopic>,
    /// Another node has a newer version.
    pub out_of_date: bool,
    /// Lookup servers that answered and do not list it.
    pub missing_lookupds: Vec<String>,
}

/// A topic of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeTopic {
    /// Its name.
    pub topic: String,
    /// Whether consumers are not sent there.
    pub tombstoned: bool,
}

fn null_when_empty<S: serde::Serializer>(list: &[NodeTopic], to: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { to.serialize_none() } else { to.collect_seq(list) }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub fn join(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Node {
    /// Where it takes HTTP.
    pub fn http_address(&self) -> String {
        join(&self.broadcast_address, self.http_port)
    }

    fn tcp_address(&self) -> String {
        join(&self.broadcast_address, self.tcp_port)
    }

    /// A node that was listed, from what it says about itself. One that does not know how others
    /// reach it is reached as it was listed.
    pub fn listed(address: &str, info: NodeInfo, topics: Vec<String>) -> Node {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let unknown = info.broadcast_address.is_empty() || info.http_port <= 0;
        let (broadcast_address, http_port) = match unknown {
            true => (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or_default()),
            false => (info.broadcast_address, info.http_port),
        };
        let topics = topics.into_iter().map(|topic| NodeTopic { topic, tombstoned: false });
        Node {
            hostname: if info.hostname.is_empty() { host.to_owned() } else { info.hostname },
            broadcast_address,
            tcp_port: info.tcp_port,
            http_port,
            version: info.version,
            topology_zone: info.topology_zone,
            topology_region: info.topology_region,
            topics: topics.collect(),
            ..Node::default()
        }
    }

    fn of(producer: Producer) -> Node {
        let mut node = Node {
            remote_addresses: Some(Vec::new()),
            remote_address: producer.remote_address,
            hostname: producer.hostname,
            broadcast_address: producer.broadcast_address,
            tcp_port: producer.tcp_port,
            http_port: producer.http_port,
            version: producer.version,
            topology_zone: producer.topology_zone,
            topology_region: producer.topology_region,
            ..Node::default()
        };
        node.add_topics(producer.topics, &producer.tombstones);
        node
    }

    /// Takes in what another server says about its topics. A tombstone counts wherever it stands.
    fn add_topics(&mut self, topics: Vec<String>, tombstones: &[bool]) {
        for (at, topic) in topics.into_iter().enumerate() {
            let tombstoned = tombstones.get(at).copied().unwrap_or_default();
            match self.topics.binary_search_by(|known| known.topic.cmp(&topic)) {
                Ok(known) => self.topics[known].tombstoned |= tombstoned,
                Err(place) => self.topics.insert(place, NodeTopic { topic, tombstoned }),
            }
        }
    }
}

/// All nodes that these lookup servers list, each once, sorted.
pub fn merge(said: Vec<(String, Nodes)>) -> Vec<Node> {
    let servers: Vec<String> = said.iter().map(|(server, _)| server.clone()).collect();
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for (server, said) in said {
        for mut producer in said.producers {
            let topics = std::mem::take(&mut producer.topics);
            let tombstones = std::mem::take(&mut producer.tombstones);
            let remote = match producer.remote_address.as_str() {
                "" => "N/A",
                remote => remote,
            };
            let remote = format!("{server}/{remote}");
            let fresh = Node::of(producer);
            let node = nodes.entry(fresh.tcp_address()).or_insert(fresh);
            node.add_topics(topics, &tombstones);
            node.remote_addresses.get_or_insert_default().push(remote);
        }
    }
    let mut nodes: Vec<Node> = nodes.into_values().collect();
    let newest = nodes.iter().map(version).max();
    for node in &mut nodes {
        node.out_of_date = Some(version(node)) < newest;
        let listed = node.remote_addresses.as_deref().unwrap_or_default();
        let lists = |server: &&String| {
            let prefix = format!("{server}/");
            !listed.iter().any(|remote| remote.starts_with(&prefix))
        };
        node.missing_lookupds = servers.iter().filter(lists).cloned().collect();
    }
    sorted(nodes)
}

/// What cannot be read counts as the oldest.
fn version(node: &Node) -> Version {
    Version::parse(&node.version).unwrap_or(Version::new(0, 0, 0))
}

/// Sorted by host name; nodes on one host by their addresses, so that rows stay where they are.
pub fn sorted(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by_cached_key(|node| {
        (node.hostname.clone(), node.broadcast_address.clone(), node.http_port, node.tcp_port)
    });
    nodes
}

#[cfg(test)]
mod tests {
    use super::{Node, merge};
    use crate::nsqadmin::cluster::wire::NodeInfo;

    fn said(server: &str, json: &str) -> (String, super::Nodes) {
        (server.to_owned(), serde_json::from_str(json).unwrap())
    }

    /// As captured from two of the original's lookup servers.
    const FIRST: &str = r#"{"producers":[{"remote_address":"127.0.0.1:54430","hostname":"vm",
        "broadcast_address":"127.0.0.1","tcp_port":14120,"http_port":14121,"version":"1.3.0",
        "topology_zone":"az2","topology_region":"","tombstones":[true],"topics":["orders"]},
        {"remote_address":"127.0.0.1:1","hostname":"vm","broadcast_address":"127.0.0.1",
        "tcp_port":14110,"http_port":14111,"version":"1.2.1","topology_zone":"",
        "topology_region":"","tombstones":[],"topics":[]}]}"#;
    const SECOND: &str = r#"{"producers":[{"remote_address":"127.0.0.1:60838","hostname":"vm",
        "broadcast_address":"127.0.0.1","tcp_port":14120,"http_port":14121,"version":"1.3.0",
        "topology_zone":"az2","topology_region":"","tombstones":[false,false],
        "topics":["orders","clicks"]}]}"#;

    #[test]
    fn nodes_of_several_servers_are_merged() {
        let nodes = merge(vec![said("l1:1", FIRST), said("l2:1", SECOND)]);
        let addresses: Vec<String> = nodes.iter().map(Node::http_address).collect();
        assert_eq!(addresses, ["127.0.0.1:14111", "127.0.0.1:14121"]);
        let both = &nodes[1];
        let remotes = ["l1:1/127.0.0.1:54430", "l2:1/127.0.0.1:60838"];
        assert_eq!(both.remote_addresses.as_deref().unwrap(), remotes);
        assert_eq!(both.remote_address, "127.0.0.1:54430");
        let topics: Vec<(&str, bool)> =
            both.topics.iter().map(|of| (of.topic.as_str(), of.tombstoned)).collect();
        assert_eq!(topics, [("clicks", false), ("orders", true)]);
        assert!(both.missing_lookupds.is_empty() && !both.out_of_date);
        assert!(nodes[0].out_of_date);
        assert_eq!(nodes[0].missing_lookupds, ["l2:1"]);
    }

    #[test]
    fn a_node_is_shown_as_the_original_shows_it() {
        let nodes = merge(vec![said("l1:1", FIRST)]);
        let mut shown = serde_json::to_value(&nodes[1]).unwrap();
        assert!(shown.as_object_mut().unwrap().remove("missing_lookupds").is_some());
        let wanted = serde_json::json!({
            "remote_addresses": ["l1:1/127.0.0.1:54430"], "remote_address": "127.0.0.1:54430",
            "hostname": "vm", "broadcast_address": "127.0.0.1", "tcp_port": 14120,
            "http_port": 14121, "version": "1.3.0", "topology_zone": "az2",
            "topics": [{"topic": "orders", "tombstoned": true}], "out_of_date": false,
        });
        assert_eq!(shown, wanted);
        assert_eq!(serde_json::to_value(&nodes[0]).unwrap()["topics"], serde_json::Value::Null);
    }

    #[test]
    fn versions_are_compared_as_versions() {
        let node = |port: u16, version: &str| {
            format!("{{\"hostname\":\"h\",\"tcp_port\":{port},\"version\":\"{version}\"}}")
        };
        let all = [node(1, "1.9.0"), node(2, "1.10.0"), node(3, "1.10.0-alpha"), node(4, "odd")];
        let nodes = merge(vec![said("l:1", &format!("{{\"producers\":[{}]}}", all.join(",")))]);
        let old: Vec<bool> = nodes.iter().map(|node| node.out_of_date).collect();
        assert_eq!(old, [true, false, true, true]);
    }

    #[test]
    fn a_listed_node_that_does_not_know_its_address_has_the_listed_one() {
        let node = Node::listed("[::1]:4151", NodeInfo::default(), vec!["t".to_owned()]);
        assert_eq!(node.http_address(), "[::1]:4151");
        let info = NodeInfo {
            broadcast_address: "b".to_owned(),
            http_port: 5,
            hostname: "h".to_owned(),
            ..NodeInfo::default()
        };
        let node = Node::listed("x:1", info, Vec::new());
        assert_eq!((node.http_address().as_str(), node.hostname.as_str()), ("b:5", "h"));
        assert_eq!(node.remote_addresses, None);
    }
}
