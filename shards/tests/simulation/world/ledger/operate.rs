//! What operators ask, as the ledger sees it.

use shards::request::{ChannelAction, Reply, Request, TopicAction};

use super::{Ledger, Outcome, Topic};

impl Ledger {
    /// A publish for this topic reached its owner, whatever comes of it: the topic is there.
    pub fn reached(&mut self, topic: &str) {
        if let Some(topic) = self.find_topic(topic) {
            self.topics[topic].get_or_insert_with(Topic::default);
        }
    }

    /// A worker takes up what an operator asks.
    pub fn asked(&mut self, ticket: u64, request: &Request, now_ms: u64) {
        self.now_ms = now_ms;
        if let (Request::Publish(_), Some(&(first, count))) = (request, self.tickets.get(&ticket)) {
            self.hand_messages(first, count);
        }
    }

    /// The owner carries out what an operator asks.
    pub fn carried_out(&mut self, request: &Request, now_ms: u64) {
        self.now_ms = now_ms;
        match request {
            Request::CreateTopic(name) => {
                if let Some(topic) = self.find_topic(name.as_str()) {
                    self.topics[topic].get_or_insert_with(Topic::default);
                }
            }
            Request::CreateChannel(topic, channel) => {
                let topic = self.find_topic(topic.as_str());
                if let (Some(topic), Some(channel)) = (topic, self.find_channel(channel.as_str()))
                    && self.topics[topic].is_some()
                {
                    self.create_channel(topic, channel);
                }
            }
            Request::Topic(name, action) => {
                if let Some(topic) = self.find_topic(name) {
                    self.act_on_topic(topic, *action);
                }
            }
            Request::Channel(topic, channel, action) => {
                let topic = self.find_topic(topic.as_str());
                if let (Some(topic), Some(channel)) = (topic, self.find_channel(channel.as_str())) {
                    self.act_on_channel(topic, channel, *action);
                }
            }
            Request::Publish(_) | Request::Stats(_) => {}
        }
    }

    fn find_topic(&self, name: &str) -> Option<usize> {
        self.topic_names.iter().position(|&topic| topic == name)
    }

    fn find_channel(&self, name: &str) -> Option<usize> {
        self.channel_names.iter().position(|&channel| channel == name)
    }

    fn act_on_topic(&mut self, topic: usize, action: TopicAction) {
        let turn = self.tick;
        let Some(entry) = self.topics[topic].as_mut() else {
            // It may be there, by publishes that are not answered: they are unsure from now on.
            self.deleted[topic] = turn;
            return;
        };
        match action {
            TopicAction::Delete => {
                self.topics[topic] = None;
                self.deleted[topic] = turn;
            }
            TopicAction::Empty => {
                entry.held.clear();
                entry.disturbed = turn;
            }
            TopicAction::Pause => {
                entry.disturbed = turn;
                entry.paused = true;
            }
            TopicAction::Unpause => {
                entry.disturbed = turn;
                entry.paused = false;
                self.hand_over(topic, false);
            }
        }
    }

    fn act_on_channel(&mut self, topic: usize, channel: usize, action: ChannelAction) {
        let turn = self.tick;
        let Some(entry) = self.channel_mut(topic, channel) else { return };
        match action {
            ChannelAction::Delete => self.delete_channel(topic, channel),
            ChannelAction::Empty => {
                entry.live.clear();
                entry.disturbed = turn;
                entry.emptied = None;
                self.expect_adrift(topic, channel);
            }
            ChannelAction::Pause => entry.paused = true,
            ChannelAction::Unpause => entry.paused = false,
        }
    }

    /// An operator hears what became of what it asked.
    pub fn replied(&mut self, ticket: u64, reply: &Reply, now_ms: u64) {
        self.now_ms = now_ms;
        let Some((first, count)) = self.tickets.remove(&ticket) else { return };
        match reply {
            Reply::Done => self.acknowledge(first, count),
            Reply::Refused(_) => {
                let outcome = if count == 1 { Outcome::Refused } else { Outcome::Unknown };
                self.conclude(first, count, outcome);
            }
            other => self.complain(format!("a publish was answered by {other:?}")),
        }
    }
}
