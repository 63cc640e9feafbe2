//! What lookup servers are told of topics and channels, and new topics that wait for the channels
//! that lookup servers know.
//!
//! A channel that exists elsewhere in the cluster is to get a new topic's messages from the first
//! one on, though its consumers come later. So a new topic keeps its messages, like one that is
//! paused, until it is told which channels to make, or has waited long enough. Publishers are
//! answered meanwhile.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Alarm, Shard};
use crate::metadata::{DiscoveryNews, Registration};
use crate::slots::Key;
use crate::topic::Topic;
use crate::wheel::TimerId;
use crate::wire::names::Name;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// New topics wait for channels.
    asks: bool,
    /// Those for which nobody was asked yet.
    questions: Vec<Key>,
    /// Topics with changes that nobody has taken.
    changed: BTreeSet<Name>,
}

impl Discovery {
    /// A topic, or a channel of it, was created or deleted.
    pub(super) fn note(&mut self, topic: &Name) {
        self.changed.insert(*topic);
    }
}

impl Shard {
    /// From now on new topics wait for the channels that others know, or do not. When they do not
    /// any more, those that wait are let go.
    pub fn discover(&mut self, asks: bool) {
        self.discovery.asks = asks;
        if asks {
            return;
        }
        self.discovery.questions.clear();
        let waits = |(key, topic): (Key, &Topic)| topic.waiting.is_some().then_some(key);
        let waiting: Vec<Key> = self.topics.iter().filter_map(waits).collect();
        waiting.into_iter().for_each(|key| self.stop_waiting(key));
    }

    /// Which topics and channels came and went since this was last called, and the topics whose
    /// channels are to be asked for: [`Shard::channels_found`] is to be told.
    pub fn take_discovery_news(&mut self) -> Option<DiscoveryNews> {
        let Discovery { questions, changed, .. } = &mut self.discovery;
        if questions.is_empty() && changed.is_empty() {
            return None;
        }
        let (questions, changed) = (core::mem::take(questions), core::mem::take(changed));
        let asked = |key: Key| self.topics.get(key).map(|topic| (key, topic.name));
        let topics = changed.into_iter().map(|name| (name, self.registration(&name)));
        Some(DiscoveryNews {
            topics: topics.collect(),
            questions: questions.into_iter().filter_map(asked).collect(),
        })
    }

    fn registration(&self, name: &Name) -> Option<Registration> {
        let &key = self.names.get(name)?;
        let named = |&key: &Key| self.channels.get(key).map(|channel| (channel.name, key));
        let channels = self.topics.get(key)?.channels.iter().filter_map(named);
        Some(Registration { topic: key, channels: channels.collect() })
    }

    /// A channel was created.
    pub(super) fn note_registration(&mut self, topic: Key) {
        if let Some(topic) = self.topics.get(topic) {
            self.discovery.note(&topic.name);
        }
    }

    /// The answer to a question: these channels are made, and the topic goes on. False when it
    /// does not wait any more.
    pub fn channels_found(&mut self, topic: Key, channels: &[Name]) -> bool {
        if self.topics.get(topic).is_none_or(|topic| topic.waiting.is_none()) {
            return false;
        }
        for channel in channels {
            self.channel(topic, channel);
        }
        self.stop_waiting(topic);
        true
    }

    /// A topic that was just made waits for its channels, when there is somebody to ask.
    pub(super) fn await_channels(&mut self, key: Key) {
        if !self.discovery.asks {
            return;
        }
        let due_ms = self.now.mono_ms + self.options.discovery_timeout_ms + 1;
        if let Some(topic) = self.topics.get_mut(key) {
            topic.waiting = Some(self.wheel.set(due_ms, Alarm::Topic(key)));
            self.discovery.questions.push(key);
        }
    }

    /// A topic that waited when the process ended goes on waiting. It is one that keeps messages
    /// from its channels and is not paused, or one that has had no channel so far.
    pub(super) fn wait_again(&mut self, key: Key) {
        let holds = |topic: &Topic| !topic.paused && topic.handed < topic.head && topic.depth() > 0;
        if self.topics.get(key).is_some_and(holds) {
            self.await_channels(key);
        }
    }

    /// The topic of this name as it was before a restart: no new one.
    pub(super) fn restored_topic(&mut self, name: &Name) -> Key {
        self.names.get(name).copied().unwrap_or_else(|| self.make_topic(name))
    }

    /// Its timer has fired: nobody has answered.
    pub(super) fn waited_enough(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key) {
            topic.waiting = Some(TimerId::NONE);
        }
        self.stop_waiting(key);
    }

    /// A topic gives what it has kept to its channels.
    fn stop_waiting(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let Some(timer) = topic.waiting.take() else { return };
        self.wheel.cancel(timer);
        self.hand_over(key);
        self.note_topic_state(key);
        self.touch(key);
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;
    use std::format;

    use crate::client::Peer;
    use crate::limits::Options;
    use crate::log::pool::CHUNK_BYTES;
    use crate::metadata::{ChannelMetadata, Registration, TopicMetadata};
    use crate::placement::Placement;
    use crate::request::{ChannelAction, Request, TopicAction};
    use crate::shard::{Now, Parts, Shard, Socket};
    use crate::slots::Key;
    use crate::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn shard() -> Shard {
        let parts = Parts {
            options: Options::default(),
            placement: Placement::new(0, 1, &[]),
            workers: 1,
            now: Now::default(),
            seed: 1,
            disk: false,
        };
        Shard::new(parts, Box::new(|| Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]))))
    }

    fn create(shard: &mut Shard, topic: &str, channel: &str) {
        shard.ask(0, 1, Request::CreateTopic(name(topic)));
        shard.ask(0, 1, Request::CreateChannel(name(topic), name(channel)));
    }

    fn delete(shard: &mut Shard, topic: &str) {
        shard.ask(0, 1, Request::Topic(String::from(topic), TopicAction::Delete));
    }

    /// What changed, in words.
    fn changes(shard: &mut Shard) -> Vec<String> {
        let topics = shard.take_discovery_news().unwrap_or_default().topics;
        let words = |(name, found): (Name, Option<Registration>)| match found {
            Some(found) => {
                let channels = found.channels.iter().map(|(name, _)| name.as_str());
                format!("{name}({})", channels.collect::<Vec<_>>().join(" "))
            }
            None => format!("-{name}"),
        };
        topics.into_iter().map(words).collect()
    }

    fn question(shard: &mut Shard) -> Option<Key> {
        shard.take_discovery_news()?.questions.first().map(|&(key, _)| key)
    }

    /// A shard whose topic `t` has a message and waits, and the question that it asks.
    fn waiting() -> (Shard, Key) {
        let mut shard = shard();
        shard.discover(true);
        let producer = shard.connect(Socket(1), Peer::default());
        shard.received(producer, b"  V2PUB t\n\0\0\0\x01x");
        assert!(shard.output(producer).ends_with(b"OK"), "a publisher does not wait");
        let key = question(&mut shard).unwrap();
        (shard, key)
    }

    /// The depth of a channel of `t`.
    fn depth(shard: &Shard, channel: &str) -> Option<u64> {
        let topic = shard.topics.get(shard.names[&name("t")])?;
        let channels = topic.channels.iter().filter_map(|&key| shard.channels.get(key));
        let mut named = channels.filter(|found| found.name == name(channel));
        named.next().map(|channel| channel.depth(topic.handed))
    }

    #[test]
    fn every_change_is_told_with_what_is_ephemeral() {
        let mut shard = shard();
        assert_eq!(changes(&mut shard), [""; 0]);
        create(&mut shard, "t", "c#ephemeral");
        create(&mut shard, "e#ephemeral", "c");
        assert_eq!(changes(&mut shard), ["e#ephemeral(c)", "t(c#ephemeral)"]);
        create(&mut shard, "t", "c#ephemeral");
        shard.ask(0, 1, Request::Topic(String::from("t"), TopicAction::Pause));
        assert_eq!(changes(&mut shard), [""; 0], "nothing came or went");
        let last = Request::Channel(name("e#ephemeral"), name("c"), ChannelAction::Delete);
        shard.ask(0, 1, last);
        create(&mut shard, "t", "d");
        assert_eq!(changes(&mut shard), ["-e#ephemeral", "t(c#ephemeral d)"]);
        delete(&mut shard, "t");
        assert_eq!(changes(&mut shard), ["-t"]);
    }

    #[test]
    fn what_was_made_again_is_another() {
        let mut shard = shard();
        create(&mut shard, "t", "c");
        let before = shard.take_discovery_news().unwrap();
        delete(&mut shard, "t");
        create(&mut shard, "t", "c");
        assert_ne!(shard.take_discovery_news().unwrap(), before);
    }

    #[test]
    fn what_was_there_before_a_restart_is_told_and_does_not_wait() {
        let mut shard = shard();
        shard.discover(true);
        let channel = ChannelMetadata::new(name("c"), false);
        let topic = TopicMetadata { channels: [channel].into(), ..TopicMetadata::new(name("t")) };
        shard.restore(&[topic]);
        let news = shard.take_discovery_news().unwrap();
        assert_eq!((news.topics.len(), news.questions.len()), (1, 0));
        assert_eq!(shard.next_deadline_ms(), None);
    }

    #[test]
    fn all_channels_get_what_came_while_the_topic_waited() {
        let (mut shard, key) = waiting();
        let consumer = shard.connect(Socket(2), Peer::default());
        shard.received(consumer, b"  V2SUB t own\nRDY 5\n");
        shard.finish_turn();
        assert_eq!(depth(&shard, "own"), Some(0), "the topic keeps its messages");
        assert!(shard.output(consumer).ends_with(b"OK"));
        assert!(shard.channels_found(key, &[name("a"), name("own"), name("b")]));
        shard.finish_turn();
        assert_eq!((depth(&shard, "a"), depth(&shard, "b")), (Some(1), Some(1)));
        assert!(shard.output(consumer).ends_with(b"x"), "it was delivered");
        assert!(!shard.channels_found(key, &[name("late")]), "it waits for one answer");
        assert_eq!(depth(&shard, "late"), None);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut shard, key) = waiting();
        shard.ask(0, 1, Request::CreateChannel(name("t"), name("c")));
        let timeout_ms = Options::default().discovery_timeout_ms;
        for (mono_ms, there) in [(timeout_ms, 0), (timeout_ms + 1, 1)] {
            shard.begin_turn(Now { mono_ms, wall_ns: 0 });
            shard.finish_turn();
            assert_eq!(depth(&shard, "c"), Some(there), "after {mono_ms} ms");
        }
        assert!(!shard.channels_found(key, &[name("late")]));
        assert_eq!(depth(&shard, "late"), None);
    }

    #[test]
    fn an_answer_for_a_deleted_topic_is_for_no_other() {
        let (mut shard, key) = waiting();
        delete(&mut shard, "t");
        create(&mut shard, "t", "c");
        assert!(!shard.channels_found(key, &[name("d")]));
        let second = question(&mut shard).unwrap();
        assert_ne!(second, key);
        assert_eq!(depth(&shard, "d"), None);
        assert!(shard.channels_found(second, &[]));
    }

    #[test]
    fn without_anybody_to_ask_nothing_waits() {
        let (mut shard, key) = waiting();
        create(&mut shard, "t", "c");
        shard.discover(false);
        shard.finish_turn();
        assert_eq!(depth(&shard, "c"), Some(1), "what waited goes on");
        assert!(!shard.channels_found(key, &[]));
        create(&mut shard, "u", "c");
        assert_eq!(question(&mut shard), None);
        assert_eq!(shard.wheel.len(), 1, "no timer but the client's is left");
    }
}
