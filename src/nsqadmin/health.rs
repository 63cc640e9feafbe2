//! What is wrong with the cluster: every node and lookup server asked, and findings from that and
//! from the last poll.

mod findings;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join;
use hyper::Method;
use hyper::header::DATE;
use serde::Serialize;

pub use findings::findings;

use super::cluster::{Cluster, Failed, Kind, Node, NodeStats, each, wire};
use crate::http::client::{Reply, V1Error};

/// A broker as it is now.
#[derive(Debug, Default, Serialize)]
pub struct NodeHealth {
    /// Its HTTP address.
    pub address: String,
    /// The machine's name.
    pub hostname: String,
    /// The release of NSQ that it is taken for.
    pub version: String,
    /// Whether it answers.
    pub ok: bool,
    /// Why not.
    pub error: String,
    /// `OK`, or what is wrong, in its own words.
    pub health: String,
    /// When it was started, by the calendar.
    pub start_time: Option<i64>,
    /// How long ago.
    pub uptime_s: Option<i64>,
    /// Room on its disk, where it tells.
    pub data_path_free_bytes: Option<f64>,
    /// Of so much.
    pub data_path_size_bytes: Option<f64>,
    /// How long it took to answer.
    pub rtt_ms: f64,
    /// How far its clock is ahead of ours, in whole seconds.
    pub clock_skew_ms: Option<i64>,
    /// Lookup servers that answered and do not list it.
    pub missing_lookupds: Vec<String>,
}

/// A lookup server as it is now.
#[derive(Debug, Default, Serialize)]
pub struct LookupdHealth {
    /// Its HTTP address.
    pub address: String,
    /// Whether it answers.
    pub ok: bool,
    /// Why not.
    pub error: String,
    /// The release of NSQ that it is taken for.
    pub version: String,
    /// Topics that it knows.
    pub topics: usize,
    /// Brokers that are connected to it.
    pub producers: usize,
    /// Brokers that others list and it does not.
    pub missing: Vec<String>,
    /// Topics that others know and it does not.
    pub missing_topics: Vec<String>,
}

/// Everything that was found out.
#[derive(Debug, Default)]
pub struct Checkup {
    /// Brokers.
    pub nodes: Vec<NodeHealth>,
    /// Lookup servers.
    pub lookupds: Vec<LookupdHealth>,
    /// Who did not answer.
    pub failed: Vec<Failed>,
    /// Why nothing is known about brokers, when nobody says which there are.
    pub unanswered: Option<String>,
}

/// Asks all.
pub async fn check(cluster: &Cluster) -> Checkup {
    let (nodes, lookupds) = join(cluster.nodes(), check_lookupds(cluster)).await;
    let mut checkup = Checkup { lookupds, ..Checkup::default() };
    match nodes {
        Ok(found) => {
            checkup.failed = found.failed;
            checkup.nodes = each(found.value, |node| check_node(cluster, node)).await;
        }
        Err(nobody) => {
            checkup.unanswered = Some(nobody.to_string());
            checkup.failed = nobody.failed;
        }
    }
    // A listed broker that does not even say who it is.
    for failed in checkup.failed.iter().filter(|failed| failed.kind == Kind::Nsqd) {
        checkup.nodes.push(NodeHealth {
            address: failed.address.clone(),
            error: failed.error.clone(),
            ..NodeHealth::default()
        });
    }
    let silent = checkup.nodes.iter().filter(|node| !node.ok).map(|node| Failed {
        kind: Kind::Nsqd,
        address: node.address.clone(),
        error: node.error.clone(),
        status: None,
    });
    let silent: Vec<Failed> = silent.filter(|failed| !checkup.failed.contains(failed)).collect();
    checkup.failed.extend(silent);
    checkup
}

async fn check_node(cluster: &Cluster, node: Node) -> NodeHealth {
    let address = node.http_address();
    let start = Instant::now();
    // Of a topic that hardly exists: only what is about the node itself.
    let path = "stats?format=json&topic=-&include_clients=false&include_mem=false";
    let asked = cluster.call(Kind::Nsqd, &address, (Method::GET, path), Bytes::new()).await;
    let rtt = start.elapsed();
    let mut health = NodeHealth {
        hostname: node.hostname,
        version: node.version,
        missing_lookupds: node.missing_lookupds,
        rtt_ms: rtt.as_secs_f64() * 1000.0,
        ..NodeHealth::default()
    };
    match asked.and_then(|reply| read(&reply).map(|said| (reply, said))) {
        Ok((reply, said)) => {
            health.ok = true;
            health.health = said.health;
            health.start_time = said.start_time;
            health.uptime_s = said.start_time.map(|start| wire::unix_seconds() - start);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let middle = now.saturating_sub(rtt / 2).as_secs_f64();
            health.clock_skew_ms = date(&reply).map(|date| skew_ms(date, middle));
            (health.data_path_free_bytes, health.data_path_size_bytes) =
                disk(cluster, &address).await;
        }
        Err(error) => health.error = error.to_string(),
    }
    NodeHealth { address, ..health }
}

fn read(reply: &Reply) -> Result<NodeStats, V1Error> {
    serde_json::from_slice(&reply.body).map_err(|error| V1Error::Undecodable(error.to_string()))
}

/// The answer's `Date`, in seconds.
fn date(reply: &Reply) -> Option<i64> {
    let date = reply.headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second())
}

/// How far a clock is ahead that shows whole seconds, when ours showed `now`.
fn skew_ms(date: i64, now: f64) -> i64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "seconds")]
    let seconds = (date as f64 + 0.5 - now).round() as i64;
    seconds.saturating_mul(1000)
}

/// Free and whole space of a broker's disk, where it has metrics.
async fn disk(cluster: &Cluster, address: &str) -> (Option<f64>, Option<f64>) {
    let asked = cluster.call(Kind::Nsqd, address, (Method::GET, "metrics"), Bytes::new()).await;
    let Ok(reply) = asked else { return (None, None) };
    let text = String::from_utf8_lossy(&reply.body);
    (gauge(&text, "nsq_data_path_free_bytes"), gauge(&text, "nsq_data_path_size_bytes"))
}

/// A number in Prometheus's text format, whatever its labels are.
fn gauge(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.split_once('}')?.1,
            None => rest,
        };
        let value = rest.strip_prefix(' ')?;
        value.split_whitespace().next()?.parse().ok()
    })
}

/// What a lookup server lists.
struct Listed {
    health: LookupdHealth,
    nodes: BTreeSet<String>,
    topics: BTreeSet<String>,
}

async fn check_lookupds(cluster: &Cluster) -> Vec<LookupdHealth> {
    let mut listed = each(cluster.lookupds(), |address| check_lookupd(cluster, address)).await;
    let all_nodes: BTreeSet<String> = listed.iter().flat_map(|of| of.nodes.clone()).collect();
    let all_topics: BTreeSet<String> = listed.iter().flat_map(|of| of.topics.clone()).collect();
    for of in listed.iter_mut().filter(|of| of.health.ok) {
        of.health.missing = all_nodes.difference(&of.nodes).cloned().collect();
        of.health.missing_topics = all_topics.difference(&of.topics).cloned().collect();
    }
    listed.into_iter().map(|of| of.health).collect()
}

async fn check_lookupd(cluster: &Cluster, address: String) -> Listed {
    let mut health = LookupdHealth { address: address.clone(), ..LookupdHealth::default() };
    let (mut nodes, mut topics) = (BTreeSet::new(), BTreeSet::new());
    let ask = async {
        let info: wire::NodeInfo = cluster.get(Kind::Lookupd, &address, "info").await?;
        let said: wire::Topics = cluster.get(Kind::Lookupd, &address, "topics").await?;
        let listed: wire::Nodes = cluster.get(Kind::Lookupd, &address, "nodes").await?;
        Ok::<_, V1Error>((info, said, listed))
    };
    match ask.await {
        Ok((info, said, listed)) => {
            health.ok = true;
            health.version = info.version;
            topics = said.topics.into_iter().collect();
            let address = |of: &wire::Producer| {
                super::cluster::join_port(&of.broadcast_address, of.http_port)
            };
            nodes = listed.producers.iter().map(address).collect();
            health.topics = topics.len();
            health.producers = listed.producers.len();
        }
        Err(error) => health.error = error.to_string(),
    }
    Listed { health, nodes, topics }
}

#[cfg(test)]
mod tests {
    use super::{gauge, skew_ms};

    #[test]
    fn clocks_are_compared_to_the_second() {
        assert_eq!(skew_ms(100, 100.4), 0);
        assert_eq!(skew_ms(100, 100.9), 0);
        assert_eq!(skew_ms(130, 100.5), 30_000);
        assert_eq!(skew_ms(90, 100.5), -10_000);
    }

    #[test]
    fn numbers_are_found_in_metrics() {
        let text = "# HELP nsq_data_path_free_bytes x\nnsq_data_path_free_bytes_more 7\n\
                    nsq_data_path_free_bytes{path=\"/d e\"} 1.5e9\nnsq_other 3 1234\n";
        assert_eq!(gauge(text, "nsq_data_path_free_bytes"), Some(1.5e9));
        assert_eq!(gauge(text, "nsq_other"), Some(3.0));
        assert_eq!(gauge(text, "nsq_none"), None);
    }
}
