//! What operators ask, as the ledger sees it.

use shards::request::{ChannelAction, Reply, Request, TopicAction};
use shards::wire::names::Name;

use super::{Ledger, Outcome, Published, Publishes};

/// What an operator asks of a topic or channel; to make it when there is no action.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Topic(usize, Option<TopicAction>),
    Channel(usize, usize, Option<ChannelAction>),
}

impl Ledger {
    /// A worker takes up what an operator asks.
    pub fn asked(&mut self, ticket: u64, request: &Request, now_ms: u64) {
        self.now_ms = now_ms;
        if let (Request::Publish(_), Some(&(first, count))) = (request, self.tickets.get(&ticket)) {
            self.hand_messages(first, count);
        }
    }

    /// What a shard is about to be asked, when it is about something that the ledger keeps.
    pub fn order(&self, request: &Request) -> Option<Order> {
        match request {
            Request::CreateTopic(topic) => {
                self.find_topic(topic.as_str()).map(|topic| Order::Topic(topic, None))
            }
            Request::Topic(topic, action) => {
                self.find_topic(topic).map(|topic| Order::Topic(topic, Some(*action)))
            }
            Request::CreateChannel(topic, channel) => self.channel_order(topic, channel, None),
            Request::Channel(topic, channel, action) => {
                self.channel_order(topic, channel, Some(*action))
            }
            _ => None,
        }
    }

    fn channel_order(
        &self,
        topic: &Name,
        channel: &Name,
        action: Option<ChannelAction>,
    ) -> Option<Order> {
        let channel = self.channel_names.iter().position(|&name| name == channel.as_str())?;
        Some(Order::Channel(self.find_topic(topic.as_str())?, channel, action))
    }

    /// The owner has carried out what an operator asks, and says what came of it: so it is known
    /// what there was.
    pub fn carried_out(&mut self, order: Order, reply: &Reply, now_ms: u64) {
        self.now_ms = now_ms;
        let (Order::Topic(topic, _) | Order::Channel(topic, ..)) = order;
        if matches!(reply, Reply::TopicNotFound) {
            return self.is_missing(topic);
        }
        if self.topics[topic].is_none() && !matches!(order, Order::Topic(_, None)) {
            self.was_made(topic);
        }
        self.topics[topic].get_or_insert_default().doubtful = false;
        match (order, reply) {
            (Order::Topic(_, None), Reply::Done) => {}
            (Order::Topic(_, Some(action)), Reply::Done) => self.act_on_topic(topic, action),
            (Order::Channel(_, channel, None), Reply::Done) => self.create_channel(topic, channel),
            (Order::Channel(_, channel, Some(action)), reply) => {
                let there = self.channel_mut(topic, channel).is_some();
                match reply {
                    Reply::Done if there => self.act_on_channel(topic, channel, action),
                    Reply::ChannelNotFound if !there => {}
                    other => self.complain(format!("{order:?} was answered by {other:?}")),
                }
            }
            (_, other) => self.complain(format!("{order:?} was answered by {other:?}")),
        }
    }

    /// A shard has a topic that the ledger does not have: a publish that is not answered yet
    /// must have made it.
    fn was_made(&mut self, topic: usize) {
        let makes = |message: &Published| {
            message.topic == topic && message.outcome == Outcome::Open && message.handed.is_some()
        };
        if !self.messages.iter().any(makes) && self.stragglers(topic).next().is_none() {
            self.complain(format!(
                "topic {} is there, but nobody made it",
                self.topic_names[topic]
            ));
        }
    }

    /// A shard says that it does not have a topic.
    pub(super) fn is_missing(&mut self, topic: usize) {
        if self.topics[topic].take().is_some_and(|topic| !topic.doubtful) {
            self.complain(format!("topic {} is gone", self.topic_names[topic]));
        }
    }

    pub(super) fn find_topic(&self, name: &str) -> Option<usize> {
        self.topic_names.iter().position(|&topic| topic == name)
    }

    fn act_on_topic(&mut self, topic: usize, action: TopicAction) {
        let turn = self.tick;
        let Some(entry) = self.topics[topic].as_mut() else { return };
        match action {
            TopicAction::Delete => self.delete_topic(topic),
            TopicAction::Empty => {
                entry.held.clear();
                entry.disturbed = turn;
                entry.channels.values_mut().for_each(|channel| channel.seen = None);
                self.queue_stragglers(topic);
            }
            TopicAction::Pause => {
                entry.disturbed = turn;
                (entry.paused, entry.was_paused) = (true, true);
                self.queue_stragglers(topic);
            }
            TopicAction::Unpause => {
                entry.paused = false;
                self.hand_over(topic);
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
                (entry.emptied, entry.seen) = (None, None);
                self.queue_stragglers(topic);
            }
            ChannelAction::Pause => entry.paused = true,
            ChannelAction::Unpause => entry.paused = false,
        }
    }

    /// An operator hears what became of what it asked.
    pub fn replied(&mut self, ticket: u64, reply: &Reply, now_ms: u64) -> Option<Publishes> {
        self.now_ms = now_ms;
        let (first, count) = self.tickets.remove(&ticket)?;
        match reply {
            Reply::Done => {
                self.conclude(first, count, Outcome::Acknowledged);
                return Some((first, count));
            }
            Reply::Refused(text) => {
                if text.contains("limit reached: ") {
                    self.check_refusal(first);
                }
                let certain = count == 1 && !self.faulty;
                let outcome = if certain { Outcome::Refused } else { Outcome::Unknown };
                self.conclude(first, count, outcome);
            }
            other => self.complain(format!("a publish was answered by {other:?}")),
        }
        None
    }
}
