//! Sums over nodes, and rates from one poll to the next.
//!
//! Counters are compared node by node, so that a node that comes, goes or starts again does not
//! look like a burst of messages.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::poll::{ChannelPoll, NodePoll, Poll, TopicPoll};

/// Sums of a topic, a channel, a node or the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Messages that wait: a channel's own, or those at topics.
    pub depth: i64,
    /// As many of them on the disk.
    pub backend_depth: i64,
    /// Messages that wait at channels.
    pub channel_depth: i64,
    /// Messages that consumers have.
    pub in_flight: i64,
    /// Messages that are put off.
    pub deferred: i64,
    /// Messages given back.
    pub requeues: i64,
    /// Messages taken back.
    pub timeouts: i64,
    /// Messages published; of a channel, those that came to it.
    pub messages: i64,
    /// Consumers.
    pub clients: i64,
    /// Channels, each once; of a node, as it has them.
    pub channels: usize,
    /// Paused channels.
    pub paused_channels: usize,
    /// Nodes that have it and answered.
    pub nodes: usize,
    /// Whether it is paused anywhere.
    pub paused: bool,
    /// What went on per second; `None` until two polls of the same node are there.
    pub rates: Option<Rates>,
}

/// Events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Messages published; of a channel, those that came to it.
    pub incoming: f64,
    /// Messages that consumers were done with.
    pub outgoing: f64,
    /// Messages given back.
    pub requeues: f64,
    /// Messages taken back.
    pub timeouts: f64,
}

/// All sums of one poll.
#[derive(Debug, Default)]
pub struct Totals {
    /// Of everything.
    pub cluster: Numbers,
    /// By address, of those that answered.
    pub nodes: BTreeMap<String, Numbers>,
    /// By name.
    pub topics: BTreeMap<String, TopicTotals>,
}

/// The sums of one topic.
#[derive(Debug, Default)]
pub struct TopicTotals {
    /// Of the topic, its channels summed.
    pub numbers: Numbers,
    /// By name.
    pub channels: BTreeMap<String, Numbers>,
}

impl Numbers {
    fn add_rates(&mut self, more: Option<Rates>) {
        let Some(more) = more else { return };
        let rates = self.rates.get_or_insert_default();
        rates.incoming += more.incoming;
        rates.outgoing += more.outgoing;
        rates.requeues += more.requeues;
        rates.timeouts += more.timeouts;
    }

    fn add_channel(&mut self, of: &ChannelPoll, rates: Option<Rates>) {
        self.channel_depth += of.depth;
        self.in_flight += of.in_flight_count;
        self.deferred += of.deferred_count;
        self.requeues += of.requeue_count;
        self.timeouts += of.timeout_count;
        self.clients += of.client_count;
        // What comes to channels is counted where it was published.
        self.add_rates(rates.map(|rates| Rates { incoming: 0.0, ..rates }));
    }

    fn add_topic(&mut self, of: &TopicPoll, incoming: Option<f64>) {
        self.depth += of.depth;
        self.backend_depth += of.backend_depth;
        self.messages += of.message_count;
        self.paused |= of.paused;
        self.add_rates(incoming.map(|incoming| Rates { incoming, ..Rates::default() }));
    }

    /// A channel's own numbers.
    fn be_channel(&mut self, of: &ChannelPoll, rates: Option<Rates>) {
        self.depth += of.depth;
        self.backend_depth += of.backend_depth;
        self.channel_depth += of.depth;
        self.in_flight += of.in_flight_count;
        self.deferred += of.deferred_count;
        self.requeues += of.requeue_count;
        self.timeouts += of.timeout_count;
        self.messages += of.message_count;
        self.clients += of.client_count;
        self.nodes += 1;
        self.paused |= of.paused;
        self.add_rates(rates);
    }
}

/// How often a counter went up per second. One that went down was set to nothing in between.
#[allow(clippy::cast_precision_loss, reason = "rates are shown with three digits")]
fn rate(before: i64, now: i64, elapsed: Duration) -> f64 {
    let count = if now >= before { now - before } else { now.max(0) };
    count as f64 / elapsed.as_secs_f64()
}

/// What one node said, and what it had said before.
struct Compared<'a> {
    now: &'a NodePoll,
    elapsed: Duration,
    before: Option<HashMap<&'a str, &'a TopicPoll>>,
}

impl<'a> Compared<'a> {
    fn new(before: Option<&'a NodePoll>, now: &'a NodePoll) -> Compared<'a> {
        let elapsed = before.map(|before| now.at.saturating_duration_since(before.at));
        // Two answers in no time make no rate.
        let usable = before.filter(|_| elapsed.is_some_and(|elapsed| !elapsed.is_zero()));
        let by_name = |poll: &'a NodePoll| {
            poll.said.topics.iter().map(|topic| (&*topic.name, topic)).collect()
        };
        Compared { now, elapsed: elapsed.unwrap_or_default(), before: usable.map(by_name) }
    }

    /// Per second; what is new began with nothing.
    fn incoming(&self, topic: &TopicPoll) -> Option<f64> {
        let before = self.before.as_ref()?.get(&*topic.name);
        let before = before.map_or(0, |before| before.message_count);
        Some(rate(before, topic.message_count, self.elapsed))
    }

    fn rates(&self, topic: &TopicPoll, channel: &ChannelPoll) -> Option<Rates> {
        let before = self.before.as_ref()?.get(&*topic.name);
        let named = |of: &&ChannelPoll| of.name == channel.name;
        let none = ChannelPoll::default();
        let before = before.and_then(|of| of.channels.iter().find(named)).unwrap_or(&none);
        let restarted = channel.message_count < before.message_count;
        let rate = |before: i64, now: i64| match restarted {
            true => rate(0, now, self.elapsed),
            false => rate(before, now, self.elapsed),
        };
        // When messages are given back to the queue less is done than before: that is no event.
        let done = channel.done_count().max(if restarted { 0 } else { before.done_count() });
        Some(Rates {
            incoming: rate(before.message_count, channel.message_count),
            outgoing: rate(before.done_count(), done),
            requeues: rate(before.requeue_count, channel.requeue_count),
            timeouts: rate(before.timeout_count, channel.timeout_count),
        })
    }
}

/// The sums of a poll.
pub fn totals(before: Option<&Poll>, now: &Poll) -> Totals {
    let mut totals = Totals::default();
    for topic in &now.known_topics {
        totals.topics.entry(topic.clone()).or_default();
    }
    for (address, node) in &now.nodes {
        let before = before.and_then(|before| before.nodes.get(address));
        let compared = Compared::new(before, node);
        let mut sums = Numbers { nodes: 1, ..Numbers::default() };
        for topic in &compared.now.said.topics {
            add_topic(&mut totals, &mut sums, topic, &compared);
        }
        totals.cluster.nodes += 1;
        totals.nodes.insert(address.clone(), sums);
    }
    for topic in totals.topics.values_mut() {
        topic.numbers.channels = topic.channels.len();
        let paused = topic.channels.values().filter(|channel| channel.paused);
        topic.numbers.paused_channels = paused.count();
        totals.cluster.channels += topic.numbers.channels;
        totals.cluster.paused_channels += topic.numbers.paused_channels;
    }
    totals
}

fn add_topic(totals: &mut Totals, node: &mut Numbers, topic: &TopicPoll, of: &Compared<'_>) {
    let incoming = of.incoming(topic);
    if !totals.topics.contains_key(&*topic.name) {
        totals.topics.insert(topic.name.to_string(), TopicTotals::default());
    }
    let Some(whole) = totals.topics.get_mut(&*topic.name) else { return };
    whole.numbers.nodes += 1;
    for numbers in [&mut whole.numbers, node, &mut totals.cluster] {
        numbers.add_topic(topic, incoming);
    }
    for channel in &topic.channels {
        let rates = of.rates(topic, channel);
        for numbers in [&mut whole.numbers, &mut *node, &mut totals.cluster] {
            numbers.add_channel(channel, rates);
        }
        node.channels += 1;
        node.paused_channels += usize::from(channel.paused);
        let numbers = whole.channels.entry(channel.name.to_string()).or_default();
        numbers.be_channel(channel, rates);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::{Poll, Rates, Totals, totals};
    use crate::nsqadmin::history::poll::NodePoll;

    /// A poll of nodes at 127.0.0.1, each with one topic and one channel: address, messages,
    /// depth of the channel, in flight.
    fn poll(at: Instant, nodes: &[(&str, i64, i64, i64)]) -> Poll {
        let node = |&(address, messages, depth, in_flight): &(&str, i64, i64, i64)| {
            let said = json!({"health": "OK", "topics": [{"topic_name": "t", "depth": 1,
                "message_count": messages, "channels": [{"channel_name": "c", "depth": depth,
                "in_flight_count": in_flight, "message_count": messages, "client_count": 2,
                "requeue_count": messages / 10}]}]});
            let said = serde_json::from_value(said).unwrap();
            (address.to_owned(), NodePoll { at, said })
        };
        Poll { nodes: nodes.iter().map(node).collect(), ..Poll::default() }
    }

    fn rates_of(totals: &Totals) -> (Option<Rates>, Option<Rates>) {
        let topic = &totals.topics["t"];
        (topic.numbers.rates, topic.channels["c"].rates)
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    #[test]
    fn one_poll_makes_sums_and_no_rates() {
        let totals = totals(None, &poll(Instant::now(), &[("a:1", 100, 5, 3), ("b:1", 50, 1, 0)]));
        let topic = &totals.topics["t"].numbers;
        assert_eq!((topic.depth, topic.channel_depth, topic.in_flight), (2, 6, 3));
        assert_eq!((topic.messages, topic.clients, topic.nodes), (150, 4, 2));
        assert_eq!(topic.channels, 1);
        assert_eq!(totals.cluster.messages, 150);
        assert_eq!(totals.nodes["a:1"].messages, 100);
        assert_eq!(rates_of(&totals), (None, None));
    }

    #[test]
    fn two_polls_make_rates() {
        let start = Instant::now();
        let first = poll(start, &[("a:1", 100, 50, 10), ("b:1", 10, 10, 0)]);
        let second = poll(start + TWO_SECONDS, &[("a:1", 300, 20, 0), ("b:1", 10, 10, 0)]);
        let totals = totals(Some(&first), &second);
        // 200 came in two seconds; 40 were done before, and 280 are now.
        let rates = Rates { incoming: 100.0, outgoing: 120.0, requeues: 10.0, timeouts: 0.0 };
        assert_eq!(rates_of(&totals), (Some(rates), Some(rates)));
        assert_eq!(totals.cluster.rates, Some(rates));
        assert_eq!(totals.nodes["b:1"].rates, Some(Rates::default()));
    }

    #[test]
    fn a_node_that_starts_again_makes_no_burst() {
        let start = Instant::now();
        let first = poll(start, &[("a:1", 1_000_000, 0, 0)]);
        let second = poll(start + TWO_SECONDS, &[("a:1", 20, 0, 0)]);
        let (topic, channel) = rates_of(&totals(Some(&first), &second));
        assert_eq!(topic.unwrap().incoming, 10.0);
        assert_eq!(channel.unwrap().outgoing, 10.0);
    }

    #[test]
    fn a_node_that_comes_or_goes_makes_no_burst() {
        let start = Instant::now();
        let one = poll(start, &[("a:1", 100, 0, 0)]);
        let two = poll(start + TWO_SECONDS, &[("a:1", 120, 0, 0), ("b:1", 1_000_000, 0, 0)]);
        assert_eq!(rates_of(&totals(Some(&one), &two)).0.unwrap().incoming, 10.0);
        let one = poll(start + 2 * TWO_SECONDS, &[("a:1", 140, 0, 0)]);
        assert_eq!(rates_of(&totals(Some(&two), &one)).0.unwrap().incoming, 10.0);
    }

    #[test]
    fn messages_that_are_given_back_are_not_undone() {
        let start = Instant::now();
        let first = poll(start, &[("a:1", 100, 0, 0)]);
        let second = poll(start + TWO_SECONDS, &[("a:1", 100, 30, 0)]);
        assert_eq!(rates_of(&totals(Some(&first), &second)).1, Some(Rates::default()));
    }

    #[test]
    fn two_answers_at_once_make_no_rate() {
        let start = Instant::now();
        let first = poll(start, &[("a:1", 100, 0, 0)]);
        let totals = totals(Some(&first), &poll(start, &[("a:1", 200, 0, 0)]));
        assert_eq!(rates_of(&totals), (None, None));
    }

    #[test]
    fn a_topic_that_nobody_has_is_there() {
        let known_topics = vec!["idle".to_owned()];
        let totals = totals(None, &Poll { known_topics, ..Poll::default() });
        assert_eq!(totals.topics["idle"].numbers.nodes, 0);
    }
}
