//! What HTTP asks for, and the life of topics and channels.

use alloc::vec::Vec;

use super::Shard;
use super::share::Publisher;
use super::spill::Stalled;
use crate::channel::{Channel, Skip};
use crate::journal::state::Range;
use crate::limits::Durability;
use crate::outstanding::{Cleared, Forgotten};
use crate::request::{ChannelAction, Publish, Reply, Request, TopicAction};
use crate::slots::Key;
use crate::wire::names::Name;

impl Shard {
    /// Carries out what HTTP asks of this shard through a worker. A publish is replied to when its
    /// promise holds, a look at messages when they are read.
    pub(super) fn carry_out_request(
        &mut self,
        from: u16,
        ticket: u64,
        request: Request,
    ) -> Option<Reply> {
        Some(match request {
            Request::Publish(publish) => {
                self.publish_from_http(ticket, publish);
                return None;
            }
            Request::CreateTopic(topic) => {
                self.topic(&topic);
                Reply::Done
            }
            Request::Topic(topic, action) => match self.find_topic(&topic) {
                Some(key) => {
                    self.act_on_topic(key, action);
                    Reply::Done
                }
                None => Reply::TopicNotFound,
            },
            Request::CreateChannel(topic, channel) => match self.names.get(&topic) {
                Some(&key) => {
                    self.channel(key, &channel);
                    Reply::Done
                }
                None => Reply::TopicNotFound,
            },
            Request::Channel(topic, channel, action) => {
                let Some(&key) = self.names.get(&topic) else {
                    return Some(Reply::TopicNotFound);
                };
                match self.find_channel(key, &channel) {
                    Some(key) => {
                        self.act_on_channel(key, action);
                        Reply::Done
                    }
                    None => Reply::ChannelNotFound,
                }
            }
            Request::Peek(peek) => return self.begin_peek(from, ticket, &peek),
            Request::Seek(seek) => return self.begin_seek(from, ticket, seek),
            Request::Configure(topic, channel, change) => {
                self.configure(&topic, channel.as_ref(), &change)
            }
            Request::Settings(topic, channel) => self.settings(&topic, channel.as_ref()),
            Request::DeadLetterEdges => Reply::Edges(self.dead_letter_edges()),
            Request::Redrive(topic, channel, rate, most) => {
                self.redrive(&topic, &channel, rate, most)
            }
            Request::RedriveStatus(topic, channel) => self.redrive_status(&topic, &channel),
        })
    }

    /// Publishes for HTTP on this worker, now or when there is room.
    pub(super) fn publish_from_http(&mut self, ticket: u64, publish: Publish) {
        let (me, bytes) = (self.placement.me, publish.bytes.len());
        if self.is_stalled(me) || self.has_to_wait(Publisher::Worker(me), bytes) {
            return self.tiers.stalled.push_back(Stalled::Http(ticket, publish));
        }
        self.publish_for_http(ticket, &publish);
    }

    /// Publishes for HTTP on this worker. The reply goes when its promise holds.
    pub(super) fn publish_for_http(&mut self, ticket: u64, publish: &Publish) {
        let me = self.placement.me;
        self.take_share_of(me, publish.bytes.len());
        match self.append_to(&publish.topic, publish.defer_ms, publish.bodies()) {
            Ok(Durability::Memory) => self.send_reply(me, ticket, Reply::Done),
            Ok(durability) => self.owe_reply(me, ticket, durability, Reply::Done),
            Err(reason) => self.send_reply(me, ticket, Reply::Refused(reason)),
        }
    }

    fn act_on_topic(&mut self, key: Key, action: TopicAction) {
        self.hand_over(key);
        match action {
            TopicAction::Delete => return self.delete_topic(key),
            TopicAction::Empty => self.empty_topic(key),
            TopicAction::Pause | TopicAction::Unpause => {
                self.set_topic_paused(key, action == TopicAction::Pause);
                self.hand_over(key);
            }
        }
        self.touch(key);
    }

    fn act_on_channel(&mut self, key: Key, action: ChannelAction) {
        match action {
            ChannelAction::Delete => self.delete_channel(key),
            ChannelAction::Empty => self.empty_channel(key),
            ChannelAction::Pause | ChannelAction::Unpause => {
                self.set_channel_paused(key, action == ChannelAction::Pause);
                self.mark(key);
            }
        }
    }

    pub(super) fn find_channel(&self, topic: Key, name: &Name) -> Option<Key> {
        let channels = &self.topics.get(topic)?.channels;
        let named = |key: &&Key| self.channels.get(**key).is_some_and(|c| c.name == *name);
        channels.iter().find(named).copied()
    }

    /// The channel of this name, created when there is none. The first channel of a topic gets
    /// its backlog, later ones only what comes after them.
    pub(super) fn channel(&mut self, topic_key: Key, name: &Name) -> Key {
        if let Some(key) = self.find_channel(topic_key, name) {
            return key;
        }
        self.hand_over(topic_key);
        let topic = self.topics.get_mut(topic_key).expect("channels are made for topics that are");
        // What is missing of the backlog is handed over with it.
        let mut channel = Channel::new(*name, topic_key, topic.handed, topic.handed_at);
        channel.journaled = topic.journaled && !name.is_ephemeral();
        channel.meter = self.stopwatch.as_mut().map_or(0, |stopwatch| stopwatch.open());
        channel.limit = self.options.defaults.channel;
        let key = self.channels.insert(channel);
        topic.channels.push(key);
        topic.bounded |= self.options.defaults.channel.is_set();
        self.note_channel_state(key);
        self.note_channel(topic_key, name);
        self.note_registration(topic_key);
        self.hand_over(topic_key);
        self.note_topic_state(topic_key);
        self.touch(topic_key);
        key
    }

    /// Drops what no channel has been given. Channels that are still behind that skip it later.
    fn empty_topic(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let (from, to, at) = (topic.handed, topic.head, topic.log.end());
        topic.handed = to;
        topic.handed_at = at;
        topic.deferred.clear(&mut self.space);
        for &channel in &topic.channels {
            let Some(channel) = self.channels.get_mut(channel) else { continue };
            if from < to {
                channel.skip(Skip { from, to, at });
            }
        }
        self.note_whole_topic(key);
    }

    /// Drops everything that a channel has.
    fn empty_channel(&mut self, key: Key) {
        let Some(topic_key) = self.channels.get(key).map(|channel| channel.topic) else { return };
        self.hand_over(topic_key);
        self.forget_outstanding(key);
        let (Some(channel), Some(topic)) =
            (self.channels.get_mut(key), self.topics.get_mut(topic_key))
        else {
            return;
        };
        channel.cursor = topic.handed;
        channel.at = topic.handed_at;
        channel.not_waiting = 0;
        channel.skips.clear();
        self.note_channel_state(key);
        for index in 0..self.channels.get(key).map_or(0, |channel| channel.clients.len()) {
            let Some(client) = self.channels.get(key).map(|channel| channel.clients[index]) else {
                return;
            };
            if let Some(client) = self.clients.get_mut(client) {
                client.in_flight = 0;
            }
            self.queue_if_ready(client);
        }
        self.touch(topic_key);
    }

    fn forget_outstanding(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(topic) = self.topics.get_mut(channel.topic) else { return };
        let Shard { wheel, space, .. } = self;
        let log = &mut topic.log;
        channel.outstanding.clear(space, |cleared, space| match cleared {
            Cleared::Set(messages) => log.unpin_all(messages, space),
            Cleared::One(Forgotten { sequence, at, held }) => {
                if let Some((timer, _)) = held {
                    wheel.cancel(timer);
                }
                let at = log.place(sequence, at);
                log.unpin(sequence, at, space);
            }
        });
        channel.settle_charge(&mut space.pool);
        channel.set_alarm(key, wheel, space);
    }

    /// Forgets those of a channel's outstanding messages that are lost.
    pub(super) fn drop_outstanding(&mut self, key: Key, lost: Range) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(topic) = self.topics.get_mut(channel.topic) else { return };
        let cursor = channel.cursor;
        let (mut ahead, mut freed) = (0, Vec::new());
        channel.outstanding.forget(lost, |Forgotten { sequence, at, held }| {
            if let Some((timer, key)) = held {
                self.wheel.cancel(timer);
                if let Some(client) = self.clients.get_mut(key) {
                    client.in_flight = client.in_flight.saturating_sub(1);
                    freed.push(key);
                }
            }
            ahead += u64::from(sequence >= cursor);
            let at = topic.log.place(sequence, at);
            topic.log.unpin(sequence, at, &mut self.space);
        });
        channel.not_waiting -= ahead;
        channel.set_alarm(key, &mut self.wheel, &mut self.space);
        freed.into_iter().for_each(|client| self.queue_if_ready(client));
    }

    /// Removes a channel with everything in it. An ephemeral topic goes with its last channel.
    pub(super) fn delete_channel(&mut self, key: Key) {
        let Some(topic_key) = self.channels.get(key).map(|channel| channel.topic) else { return };
        self.hand_over(topic_key);
        self.forget_outstanding(key);
        let Some(channel) = self.channels.remove(key) else { return };
        self.stop_measuring(&channel);
        channel.cancel_alarms(&mut self.wheel);
        self.note_channel_deleted(topic_key, &channel);
        self.disconnect_all(&channel.clients);
        let Some(topic) = self.topics.get_mut(topic_key) else { return };
        topic.channels.retain(|&other| other != key);
        self.note_bounds(topic_key);
        let Some(topic) = self.topics.get_mut(topic_key) else { return };
        self.discovery.note(&topic.name);
        if !channel.name.is_ephemeral() {
            self.structure.note(&topic.name);
        }
        if topic.channels.is_empty() && topic.name.is_ephemeral() {
            return self.delete_topic(topic_key);
        }
        self.note_topic_state(topic_key);
        self.touch(topic_key);
    }

    fn delete_topic(&mut self, key: Key) {
        let Some(mut topic) = self.topics.remove(key) else { return };
        self.names.remove(&topic.name);
        self.sequence_floor = self.sequence_floor.max(topic.head);
        self.structure.note(&topic.name);
        self.discovery.note(&topic.name);
        if let Some(timer) = topic.waiting {
            self.wheel.cancel(timer);
        }
        self.wheel.cancel(topic.age_alarm);
        self.wheel.cancel(topic.retained.alarm);
        self.note_topic_deleted(&topic);
        for channel in core::mem::take(&mut topic.channels) {
            let Some(mut channel) = self.channels.remove(channel) else { continue };
            self.stop_measuring(&channel);
            let (wheel, space) = (&mut self.wheel, &mut self.space);
            channel.outstanding.clear(space, |cleared, _| {
                if let Cleared::One(Forgotten { held: Some((timer, _)), .. }) = cleared {
                    wheel.cancel(timer);
                }
            });
            channel.settle_charge(&mut space.pool);
            channel.set_alarm(Key::NONE, wheel, space);
            channel.cancel_alarms(wheel);
            self.disconnect_all(&channel.clients);
        }
        topic.deferred.clear(&mut self.space);
        topic.log.clear(&mut self.space);
    }
}

impl Publish {
    /// The bodies, one by one.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |&length| {
            let (body, behind) = rest.split_at(length as usize);
            rest = behind;
            body
        })
    }
}
