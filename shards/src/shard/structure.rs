//! Changes of topics and channels that have to be written down, and who waits until they are.

use alloc::collections::{BTreeSet, VecDeque};

use super::Shard;
use crate::mail::Letter;
use crate::metadata::{ChannelMetadata, MetadataChanges, TopicMetadata};
use crate::request::{Reply, Request};
use crate::slots::Key;
use crate::topic::Topic;
use crate::wire::names::Name;

use super::forward::NOBODY;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// Topics with changes that nobody has taken.
    changed: BTreeSet<Name>,
    /// Counts changes.
    version: u64,
    /// The changes up to this one are written, or could not be.
    settled: u64,
    /// Replies that wait for that, in the order of what they wait for.
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    version: u64,
    to: u16,
    ticket: u64,
    reply: Reply,
}

impl Structure {
    /// Replies that wait.
    pub(super) fn held_count(&self) -> u64 {
        self.held.len() as u64
    }

    /// A topic, or a channel of it, was created, deleted, paused or unpaused. Of ephemeral ones
    /// nothing is written down.
    pub(super) fn note(&mut self, topic: &Name) {
        if !topic.is_ephemeral() {
            self.changed.insert(*topic);
            self.version += 1;
        }
    }
}

impl Shard {
    /// Creates topics and channels as they were before a restart. Comes before anything else.
    pub fn restore(&mut self, topics: &[TopicMetadata]) {
        for topic in topics {
            let key = self.restored_topic(&topic.name);
            if let Some(restored) = self.topics.get_mut(key) {
                restored.paused = topic.paused;
            }
            self.set_topic_policy(key, topic.policy.clone());
            for channel in &topic.channels {
                let key = self.channel(key, &channel.name);
                if let Some(restored) = self.channels.get_mut(key) {
                    restored.paused = channel.paused;
                }
                self.set_channel_policy(key, channel.policy.clone());
            }
        }
        self.structure = Structure::default();
    }

    /// How many changes of topics and channels there have been.
    #[must_use]
    pub fn metadata_version(&self) -> u64 {
        self.structure.version
    }

    /// The topics that something happened to since this was last called. They are to be written
    /// down, and [`Shard::metadata_settled`] is to be told.
    pub fn take_metadata_changes(&mut self) -> Option<MetadataChanges> {
        if self.structure.changed.is_empty() {
            return None;
        }
        let changed = core::mem::take(&mut self.structure.changed);
        let now = |name| {
            let topic = self.names.get(&name).and_then(|&key| self.topics.get(key));
            (name, topic.map(|topic| self.topic_metadata(topic)))
        };
        let topics = changed.into_iter().map(now).collect();
        Some(MetadataChanges { version: self.structure.version, topics })
    }

    fn topic_metadata(&self, topic: &Topic) -> TopicMetadata {
        let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
        let lasting = channels.filter(|channel| !channel.name.is_ephemeral());
        let channels = lasting
            .map(|channel| ChannelMetadata {
                policy: channel.policy.clone(),
                ..ChannelMetadata::new(channel.name, channel.paused)
            })
            .collect();
        let policy = topic.policy.clone();
        TopicMetadata { name: topic.name, paused: topic.paused, policy, channels }
    }

    /// The changes up to this version are written down, or it was tried in vain: whoever waits
    /// for that is answered.
    pub fn metadata_settled(&mut self, version: u64) {
        self.structure.settled = self.structure.settled.max(version);
        let settled = self.structure.settled;
        while let Some(held) = self.structure.held.pop_front_if(|held| held.version <= settled) {
            self.send_reply(held.to, held.ticket, held.reply);
        }
    }

    /// Carries out what a worker asks on behalf of HTTP, and replies: at once, or, where the
    /// original does so, when the change is written down.
    pub(super) fn answer_request(&mut self, from: u16, ticket: u64, request: Request) {
        let waits = request.is_pause();
        let Some(reply) = self.carry_out_request(from, ticket, request) else { return };
        let version = self.structure.version;
        if waits && version > self.structure.settled {
            self.structure.held.push_back(Held { version, to: from, ticket, reply });
        } else {
            self.send_reply(from, ticket, reply);
        }
    }

    pub(super) fn send_reply(&mut self, to: u16, ticket: u64, reply: Reply) {
        if to == self.placement.me {
            self.replies.push_back((ticket, reply));
        } else if ticket != NOBODY {
            self.letters.push_back((to, Letter::Reply(ticket, reply)));
        }
    }

    /// Pauses or unpauses a topic.
    pub(super) fn set_topic_paused(&mut self, key: Key, paused: bool) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        if topic.paused != paused {
            topic.paused = paused;
            self.structure.note(&topic.name);
            self.note_topic_state(key);
        }
    }

    /// Pauses or unpauses a channel.
    pub(super) fn set_channel_paused(&mut self, key: Key, paused: bool) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if channel.paused == paused {
            return;
        }
        channel.paused = paused;
        let (name, topic) = (channel.name, channel.topic);
        self.note_channel(topic, &name);
    }

    /// A channel came, went, or was paused or unpaused.
    pub(super) fn note_channel(&mut self, topic: Key, channel: &Name) {
        if let Some(topic) = self.topics.get(topic)
            && !channel.is_ephemeral()
        {
            self.structure.note(&topic.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;
    use std::format;

    use crate::limits::Options;
    use crate::log::pool::CHUNK_BYTES;
    use crate::mail::Letter;
    use crate::metadata::TopicMetadata;
    use crate::placement::Placement;
    use crate::request::{ChannelAction, Reply, Request, TopicAction};
    use crate::shard::{Now, Parts, Shard};
    use crate::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn shard() -> Shard {
        let placement = Placement::new(0, 2, &[(name("t"), 0), (name("u"), 0)]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 2, now: Now::default(), seed: 1, disk: false };
        Shard::new(parts, Box::new(|| Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]))))
    }

    fn create(topic: &str, channel: &str) -> [Request; 2] {
        let (topic, channel) = (name(topic), name(channel));
        [Request::CreateTopic(topic), Request::CreateChannel(topic, channel)]
    }

    fn on_topic(topic: &str, action: TopicAction) -> Request {
        Request::Topic(String::from(topic), action)
    }

    fn on_channel(topic: &str, channel: &str, action: ChannelAction) -> Request {
        Request::Channel(name(topic), name(channel), action)
    }

    fn ask(shard: &mut Shard, requests: impl IntoIterator<Item = Request>) {
        requests.into_iter().for_each(|request| shard.ask(0, 1, request));
    }

    /// A topic in words: what is paused has a `!`.
    fn words(topic: &TopicMetadata) -> String {
        let mark = |name: &Name, paused| format!("{name}{}", if paused { "!" } else { "" });
        let channels: Vec<String> =
            topic.channels.iter().map(|channel| mark(&channel.name, channel.paused)).collect();
        format!("{}({})", mark(&topic.name, topic.paused), channels.join(" "))
    }

    fn changes(shard: &mut Shard) -> Vec<String> {
        let changes = shard.take_metadata_changes().map_or(Vec::new(), |changes| changes.topics);
        let text = |(name, topic): (Name, Option<TopicMetadata>)| match topic {
            Some(topic) => words(&topic),
            None => format!("-{name}"),
        };
        changes.into_iter().map(text).collect()
    }

    #[test]
    fn every_change_is_noted_once() {
        let mut shard = shard();
        assert_eq!(changes(&mut shard), [""; 0]);
        ask(&mut shard, create("t", "c"));
        ask(&mut shard, create("u", "c"));
        assert_eq!(changes(&mut shard), ["t(c)", "u(c)"]);
        assert_eq!(changes(&mut shard), [""; 0]);
        ask(&mut shard, create("t", "c"));
        assert_eq!(changes(&mut shard), [""; 0], "nothing new");
        ask(&mut shard, [on_topic("t", TopicAction::Pause)]);
        assert_eq!(changes(&mut shard), ["t!(c)"]);
        ask(&mut shard, [on_topic("t", TopicAction::Pause)]);
        assert_eq!(changes(&mut shard), [""; 0]);
        ask(&mut shard, [on_channel("t", "c", ChannelAction::Pause)]);
        ask(&mut shard, [on_topic("t", TopicAction::Unpause)]);
        assert_eq!(changes(&mut shard), ["t(c!)"]);
        ask(&mut shard, [on_channel("t", "c", ChannelAction::Unpause)]);
        assert_eq!(changes(&mut shard), ["t(c)"]);
        ask(&mut shard, [on_channel("t", "c", ChannelAction::Delete)]);
        ask(&mut shard, [on_topic("u", TopicAction::Delete)]);
        assert_eq!(changes(&mut shard), ["t()", "-u"]);
        ask(&mut shard, [on_topic("t", TopicAction::Delete)]);
        ask(&mut shard, create("t", "d"));
        assert_eq!(changes(&mut shard), ["t(d)"], "as it is now");
        ask(&mut shard, [on_topic("t", TopicAction::Empty)]);
        ask(&mut shard, [on_channel("t", "d", ChannelAction::Empty)]);
        assert_eq!(changes(&mut shard), [""; 0]);
    }

    #[test]
    fn nothing_ephemeral_is_noted() {
        let mut shard = shard();
        ask(&mut shard, create("e#ephemeral", "c"));
        ask(&mut shard, [on_channel("e#ephemeral", "c", ChannelAction::Pause)]);
        ask(&mut shard, [on_topic("e#ephemeral", TopicAction::Pause)]);
        assert_eq!(changes(&mut shard), [""; 0]);
        ask(&mut shard, create("t", "e#ephemeral"));
        assert_eq!(changes(&mut shard), ["t()"]);
        ask(&mut shard, [on_channel("t", "e#ephemeral", ChannelAction::Pause)]);
        ask(&mut shard, [on_channel("t", "e#ephemeral", ChannelAction::Delete)]);
        ask(&mut shard, [on_topic("e#ephemeral", TopicAction::Delete)]);
        assert_eq!(changes(&mut shard), [""; 0]);
        assert_eq!(shard.metadata_version(), 1);
    }

    #[test]
    fn what_was_taken_can_be_restored() {
        let mut before = shard();
        ask(&mut before, create("t", "c"));
        ask(&mut before, create("t", "d"));
        ask(&mut before, create("u", "c"));
        ask(&mut before, [on_channel("t", "d", ChannelAction::Pause)]);
        ask(&mut before, [on_topic("u", TopicAction::Pause)]);
        let taken = before.take_metadata_changes().unwrap().topics;
        let topics: Vec<TopicMetadata> = taken.into_iter().filter_map(|(_, topic)| topic).collect();
        let mut after = shard();
        after.restore(&topics);
        assert_eq!(changes(&mut after), [""; 0], "what was restored need not be written");
        ask(&mut after, create("t", "e"));
        ask(&mut after, create("u", "e"));
        assert_eq!(changes(&mut after), ["t(c d! e)", "u!(c e)"]);
    }

    #[test]
    fn a_pause_is_answered_when_it_is_written() {
        let mut shard = shard();
        ask(&mut shard, create("t", "c"));
        assert_eq!(core::iter::from_fn(|| shard.take_reply()).count(), 2, "these do not wait");
        shard.ask(0, 7, on_topic("t", TopicAction::Pause));
        let here = shard.metadata_version();
        let request = on_channel("t", "c", ChannelAction::Pause);
        shard.mail(1, Letter::Ask(8, request));
        let there = shard.metadata_version();
        assert!(shard.take_reply().is_none() && shard.take_letter().is_none());
        shard.metadata_settled(here - 1);
        assert!(shard.take_reply().is_none());
        shard.metadata_settled(here);
        assert!(matches!(shard.take_reply(), Some((7, Reply::Done))));
        assert!(shard.take_letter().is_none());
        shard.metadata_settled(there);
        assert!(matches!(shard.take_letter(), Some((1, Letter::Reply(8, Reply::Done)))));
        // Nothing is left to be written.
        shard.ask(0, 9, on_topic("t", TopicAction::Pause));
        assert!(matches!(shard.take_reply(), Some((9, Reply::Done))));
    }
}
