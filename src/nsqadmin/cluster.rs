//! The cluster as its nodes tell it: who there is, and what they hold.
//!
//! Every question goes to all nodes at once, each with a deadline of its own, and comes back as
//! what was found and who failed. Only when all fail there is no answer. Nothing is cached.

mod failed;
mod latency;
mod merge;
mod nodes;
mod stats;
pub mod wire;

pub use failed::{Failed, Found, Kind, Unanswered, warning};
pub use nodes::{Node, NodeTopic, join as join_port};
pub use stats::{ChannelStats, ClientStats, TopicStats, sort_by_topology};
pub use wire::{NodeInfo, NodeStats, nullable, unix_seconds};

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::config::nsqadmin::Sources;
use crate::http::client::{Client, Reply, V1Error};

/// Requests to nodes under way for one question.
const REQUESTS_MAX: usize = 256;

/// What a query string's values must not contain.
const NOT_IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A value in a query string.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, NOT_IN_QUERY).to_string()
}

/// Numbers about requests to nodes of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestCounts {
    /// Requests that were answered with 200.
    pub ok: u64,
    /// Requests that were not.
    pub failed: u64,
    /// The time that all took.
    pub time: Duration,
}

/// The way to all nodes.
#[derive(Debug)]
pub struct Cluster {
    client: Client,
    sources: RefCell<Rc<Sources>>,
    lookupd_counts: Cell<RequestCounts>,
    nsqd_counts: Cell<RequestCounts>,
}

/// Where a topic is.
#[derive(Debug, Default)]
pub struct TopicNodes {
    /// Nodes that have it.
    pub nodes: Vec<Node>,
    /// Its channels, as lookup servers know them.
    pub channels: Vec<String>,
    /// Whether anybody knows the topic.
    pub known: bool,
}

/// What the statistics of nodes are restricted to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Only<'a> {
    /// One topic.
    pub topic: Option<&'a str>,
    /// One channel of it.
    pub channel: Option<&'a str>,
    /// With those who are connected.
    pub clients: bool,
}

impl Cluster {
    /// The cluster that these sources tell of.
    pub fn new(client: Client, sources: Sources) -> Cluster {
        Cluster {
            client,
            sources: RefCell::new(Rc::new(sources)),
            lookupd_counts: Cell::default(),
            nsqd_counts: Cell::default(),
        }
    }

    /// Where the list of nodes comes from at this moment.
    pub fn sources(&self) -> Rc<Sources> {
        self.sources.borrow().clone()
    }

    /// The lookup servers; none where nodes are listed.
    pub fn lookupds(&self) -> Vec<String> {
        match &*self.sources() {
            Sources::Lookupds(addresses) => addresses.clone(),
            Sources::Nsqds(_) => Vec::new(),
        }
    }

    /// Asks other lookup servers from now on. No effect where nodes are listed and the new list is
    /// empty.
    pub fn set_lookupds(&self, addresses: Vec<String>) {
        let mut sources = self.sources.borrow_mut();
        if matches!(**sources, Sources::Lookupds(_)) || !addresses.is_empty() {
            *sources = Rc::new(Sources::Lookupds(addresses));
        }
    }

    /// Numbers about requests so far.
    pub fn request_counts(&self, kind: Kind) -> RequestCounts {
        self.counts(kind).get()
    }

    fn counts(&self, kind: Kind) -> &Cell<RequestCounts> {
        match kind {
            Kind::Lookupd => &self.lookupd_counts,
            Kind::Nsqd => &self.nsqd_counts,
        }
    }

    /// All topics, sorted.
    pub async fn topics(&self) -> Result<Found<Vec<String>>, Unanswered> {
        let found = match &*self.sources() {
            Sources::Lookupds(addresses) => {
                let asked = self.ask_all::<wire::Topics>(Kind::Lookupd, addresses, "topics").await;
                asked.all(Kind::Lookupd)?.map(|all| {
                    all.into_iter().flat_map(|(_, said)| said.topics).collect::<Vec<String>>()
                })
            }
            Sources::Nsqds(addresses) => {
                let path = "stats?format=json&include_clients=false&include_mem=false";
                let asked = self.ask_all::<wire::TopicNames>(Kind::Nsqd, addresses, path).await;
                asked.all(Kind::Nsqd)?.map(|all| {
                    all.into_iter().flat_map(|(_, said)| said.names()).collect::<Vec<String>>()
                })
            }
        };
        Ok(found.map(sorted))
    }

    /// Topics that no node has, and their channels. Empty where nodes are listed.
    pub async fn inactive_topics(
        &self,
    ) -> Result<Found<BTreeMap<String, Vec<String>>>, Unanswered> {
        let Sources::Lookupds(addresses) = &*self.sources() else {
            return Ok(self.topics().await?.map(|_| BTreeMap::new()));
        };
        let (topics, nodes) = join(self.topics(), self.nodes()).await;
        let (topics, nodes) = (topics?, nodes?);
        let produced = |topic: &String| {
            let has = |of: &NodeTopic| of.topic == *topic && !of.tombstoned;
            nodes.value.iter().any(|node| node.topics.iter().any(has))
        };
        let idle: Vec<String> = topics.value.into_iter().filter(|topic| !produced(topic)).collect();
        let channels = each(idle, |topic| async move {
            let path = format!("channels?topic={}", escape(&topic));
            let asked = self.ask_all::<wire::Channels>(Kind::Lookupd, addresses, &path).await;
            let channels = asked.value.into_iter().flat_map(|(_, said)| said.channels).collect();
            (topic, sorted(channels))
        })
        .await;
        Ok(Found { value: channels.into_iter().collect(), failed: topics.failed })
    }

    /// All nodes, sorted.
    pub async fn nodes(&self) -> Result<Found<Vec<Node>>, Unanswered> {
        match &*self.sources() {
            Sources::Lookupds(addresses) => {
                let asked = self.ask_all::<wire::Nodes>(Kind::Lookupd, addresses, "nodes").await;
                Ok(asked.all(Kind::Lookupd)?.map(nodes::merge))
            }
            Sources::Nsqds(addresses) => {
                let asked = self.ask_nsqds(addresses).await;
                Ok(asked.all(Kind::Nsqd)?.map(|all| {
                    nodes::sorted(all.into_iter().map(|(_, node)| node).collect::<Vec<Node>>())
                }))
            }
        }
    }

    /// All topics that lookup servers know, and all nodes, in one round. Where nodes are listed
    /// no topics are known without them.
    pub async fn topics_and_nodes(&self) -> Result<Found<(Vec<String>, Vec<Node>)>, Unanswered> {
        if matches!(*self.sources(), Sources::Nsqds(_)) {
            return Ok(self.nodes().await?.map(|nodes| (Vec::new(), nodes)));
        }
        let (topics, nodes) = join(self.topics(), self.nodes()).await;
        // Who fails at one fails at both, and is named once.
        Ok(nodes?.map(|nodes| (topics.map(|found| found.value).unwrap_or_default(), nodes)))
    }

    /// What listed nsqds say about themselves.
    async fn ask_nsqds(&self, addresses: &[String]) -> Asked<Node> {
        let work = |address: String| async move {
            let node = self.ask_nsqd(&address).await;
            (address, node)
        };
        Asked::of(Kind::Nsqd, each(addresses.to_vec(), work).await)
    }

    async fn ask_nsqd(&self, address: &str) -> Result<Node, V1Error> {
        let info: NodeInfo = self.get(Kind::Nsqd, address, "info").await?;
        let path = "stats?format=json&include_clients=false&include_mem=false";
        let topics: wire::TopicNames = self.get(Kind::Nsqd, address, path).await?;
        Ok(Node::listed(address, info, topics.names()))
    }

    /// The nodes that have a topic.
    pub async fn topic_nodes(&self, topic: &str) -> Result<Found<TopicNodes>, Unanswered> {
        match &*self.sources() {
            Sources::Lookupds(addresses) => self.look_up(topic, addresses).await,
            Sources::Nsqds(addresses) => {
                let asked = self.ask_nsqds(addresses).await.all(Kind::Nsqd)?;
                Ok(asked.map(|all| {
                    let has = |node: &Node| node.topics.iter().any(|of| of.topic == topic);
                    let nodes = all.into_iter().map(|(_, node)| node).filter(has);
                    let nodes = nodes::sorted(nodes.collect());
                    TopicNodes { known: !nodes.is_empty(), nodes, channels: Vec::new() }
                }))
            }
        }
    }

    async fn look_up(
        &self,
        topic: &str,
        addresses: &[String],
    ) -> Result<Found<TopicNodes>, Unanswered> {
        let path = format!("lookup?topic={}", escape(topic));
        let mut asked = self.ask_all::<wire::Lookup>(Kind::Lookupd, addresses, &path).await;
        // A server that does not know the topic has answered.
        let unknown = |failed: &Failed| failed.status == Some(StatusCode::NOT_FOUND);
        let before = asked.failed.len();
        asked.failed.retain(|failed| !unknown(failed));
        let said_no = before > asked.failed.len();
        let known = !asked.value.is_empty();
        if !known && said_no {
            return Ok(Found { value: TopicNodes::default(), failed: asked.failed });
        }
        Ok(asked.all(Kind::Lookupd)?.map(|all| {
            let mut found = TopicNodes { known, ..TopicNodes::default() };
            let mut producers = Vec::new();
            for (address, said) in all {
                found.channels.extend(said.channels);
                producers.push((address, wire::Nodes { producers: said.producers }));
            }
            found.channels = sorted(found.channels);
            found.nodes = nodes::merge(producers);
            found
        }))
    }

    /// Statistics of these nodes, sorted by host name and topic.
    pub async fn stats(
        &self,
        nodes: &[Node],
        only: Only<'_>,
    ) -> Result<Found<Vec<TopicStats>>, Unanswered> {
        let asked = self.node_stats(nodes, only).await;
        let by_address: BTreeMap<String, &Node> =
            nodes.iter().map(|node| (node.http_address(), node)).collect();
        Ok(asked.all(Kind::Nsqd)?.map(|all| {
            let mut topics = Vec::new();
            for (address, said) in all {
                let Some(node) = by_address.get(&address) else { continue };
                let wanted = |of: &TopicStats| only.topic.is_none_or(|name| of.topic_name == name);
                let said = said.topics.into_iter().filter(wanted);
                topics.extend(said.map(|topic| topic.of_node(node, wire::unix_seconds())));
            }
            topics.sort_by(|a: &TopicStats, b| a.place().cmp(&b.place()));
            topics
        }))
    }

    /// Whole statistics of each of these nodes.
    pub async fn node_stats(&self, nodes: &[Node], only: Only<'_>) -> Asked<NodeStats> {
        let mut path = "stats?format=json".to_owned();
        if let Some(topic) = only.topic {
            path.push_str(&format!("&topic={}", escape(topic)));
            if let Some(channel) = only.channel {
                path.push_str(&format!("&channel={}", escape(channel)));
            }
        }
        if !only.clients {
            path.push_str("&include_clients=false");
        }
        let addresses: Vec<String> = nodes.iter().map(Node::http_address).collect();
        self.ask_all::<NodeStats>(Kind::Nsqd, &addresses, &path).await
    }

    /// `GET` of the same path from many, at once.
    pub async fn ask_all<T: DeserializeOwned>(
        &self,
        kind: Kind,
        addresses: &[String],
        path: &str,
    ) -> Asked<T> {
        let work = |address: String| async move {
            let said = self.get(kind, &address, path).await;
            (address, said)
        };
        Asked::of(kind, each(addresses.to_vec(), work).await)
    }

    /// `GET` from one.
    pub async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        address: &str,
        path: &str,
    ) -> Result<T, V1Error> {
        let url = format!("http://{address}/{path}");
        self.counted(kind, self.client.get_v1(&url)).await
    }

    /// Any call to one.
    pub async fn call(
        &self,
        kind: Kind,
        address: &str,
        (method, path): (hyper::Method, &str),
        body: Bytes,
    ) -> Result<Reply, V1Error> {
        let url = format!("http://{address}/{path}");
        self.counted(kind, self.client.call_v1(method, &url, body)).await
    }

    async fn counted<T>(
        &self,
        kind: Kind,
        work: impl Future<Output = Result<T, V1Error>>,
    ) -> Result<T, V1Error> {
        let start = Instant::now();
        let outcome = work.await;
        let mut counts = self.counts(kind).get();
        match &outcome {
            Ok(_) => counts.ok += 1,
            Err(_) => counts.failed += 1,
        }
        counts.time += start.elapsed();
        self.counts(kind).set(counts);
        outcome
    }
}

/// What many said, in the order in which they were asked.
#[derive(Debug)]
pub struct Asked<T> {
    /// Who answered, and what.
    pub value: Vec<(String, T)>,
    /// Who did not.
    pub failed: Vec<Failed>,
}

impl<T> Asked<T> {
    fn of(kind: Kind, said: Vec<(String, Result<T, V1Error>)>) -> Asked<T> {
        let mut asked = Asked { value: Vec::new(), failed: Vec::new() };
        for (address, outcome) in said {
            match outcome {
                Ok(value) => asked.value.push((address, value)),
                Err(error) => asked.failed.push(Failed::new(kind, address, &error)),
            }
        }
        asked
    }

    /// What was found, unless nobody answered.
    pub fn all(self, kind: Kind) -> Result<Found<Vec<(String, T)>>, Unanswered> {
        if self.value.is_empty() {
            return Err(Unanswered { kind, failed: self.failed });
        }
        Ok(Found { value: self.value, failed: self.failed })
    }
}

/// Does something with each, many at once; the results come in the order of what they are about.
pub async fn each<I, T, F>(items: Vec<I>, work: impl Fn(I) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    let mut results: Vec<Option<T>> = Vec::new();
    results.resize_with(items.len(), || None);
    let mut waiting = items.into_iter().enumerate();
    let numbered = |(at, item)| {
        let work = work(item);
        async move { (at, work.await) }
    };
    // Each is woken for itself: the executor's connections bear few polls that are in vain.
    let mut running: FuturesUnordered<_> =
        waiting.by_ref().take(REQUESTS_MAX).map(numbered).collect();
    while let Some((at, result)) = running.next().await {
        results[at] = Some(result);
        if let Some(next) = waiting.next() {
            running.push(numbered(next));
        }
    }
    results.into_iter().flatten().collect()
}

/// Sorted, each once.
fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}
