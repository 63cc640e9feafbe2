//! What happens is noted here, to be written down with the turn.

use alloc::vec::Vec;

use crate::journal::entry;
use crate::journal::state::{ChannelState, Outstanding as Delta, Range as Sequences, TopicState};
use crate::shard::Shard;
use crate::slots::Key;

impl Shard {
    /// A topic got messages that are to be written down.
    pub(in crate::shard) fn note_messages(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key)
            && !core::mem::replace(&mut topic.noted, true)
        {
            self.journal.topics.push(key);
        }
    }

    /// A channel's message is finished.
    pub(in crate::shard) fn note_finish(&mut self, key: Key, sequence: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !channel.journaled {
            return;
        }
        match channel.finished.last_mut() {
            Some(last) if last.last + 1 == sequence => last.last = sequence,
            _ => channel.finished.push(Sequences { first: sequence, last: sequence }),
        }
        self.note_deltas(key);
    }

    /// A channel's message waits to be delivered again, for this long.
    pub(in crate::shard) fn note_requeue(
        &mut self,
        key: Key,
        sequence: u64,
        attempts: u16,
        delay_ms: u64,
    ) {
        let due_ms = if delay_ms == 0 { 0 } else { self.wall_ms() + delay_ms };
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !channel.journaled {
            return;
        }
        channel.requeued.push(Delta { sequence, attempts, due_ms });
        self.note_deltas(key);
    }

    /// A channel has finishes or requeues of this turn.
    pub(in crate::shard) fn note_deltas(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key)
            && !core::mem::replace(&mut channel.noted, true)
        {
            self.journal.channels.push(key);
        }
    }

    /// Milliseconds since the Unix epoch.
    pub(in crate::shard) fn wall_ms(&self) -> u64 {
        u64::try_from(self.now.wall_ns / 1_000_000).unwrap_or(0)
    }

    /// Writes down where a channel stands, all of it.
    pub(in crate::shard) fn note_channel_state(&mut self, key: Key) {
        let Some(state) = self.channel_state(key) else { return };
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.finished.clear();
        channel.requeued.clear();
        channel.moved = false;
        let (name, topic_key) = (channel.name, channel.topic);
        let Some(topic) = self.topics.get(topic_key) else { return };
        entry::channel(&mut self.journal.notes, &topic.name, &name, &state);
        self.cover(topic_key);
    }

    /// Writes down where a topic stands.
    pub(in crate::shard) fn note_topic_state(&mut self, key: Key) {
        let Some(topic) = self.topics.get(key).filter(|topic| topic.journaled) else { return };
        let handed = (!topic.is_flowing()).then_some(topic.handed);
        let state = TopicState { handed, head: topic.head };
        entry::topic(&mut self.journal.notes, &topic.name, &state);
        self.cover(key);
    }

    /// Writes down where a topic and all its channels stand.
    pub(in crate::shard) fn note_whole_topic(&mut self, key: Key) {
        // Else deferred messages would be said to be the channels', and not be among theirs.
        self.hand_over(key);
        self.note_topic_state(key);
        let channels = self.topics.get(key).map_or(Vec::new(), |topic| topic.channels.clone());
        for channel in channels {
            self.note_channel_state(channel);
        }
    }

    pub(in crate::shard) fn note_channel_deleted(
        &mut self,
        topic: Key,
        channel: &crate::channel::Channel,
    ) {
        if let Some(topic) = self.topics.get(topic).filter(|_| channel.journaled) {
            entry::channel_deleted(&mut self.journal.notes, &topic.name, &channel.name);
        }
    }

    pub(in crate::shard) fn note_topic_deleted(&mut self, topic: &crate::topic::Topic) {
        if topic.journaled {
            entry::topic_deleted(&mut self.journal.notes, &topic.name, topic.head);
        }
    }

    /// The topic depends on the journal file that is written to now, or on whichever is next.
    pub(in crate::shard) fn cover(&mut self, key: Key) {
        let file = self.journal.current().map_or(0, |file| file.number);
        if let Some(topic) = self.topics.get_mut(key) {
            topic.journal_from = topic.journal_from.min(file);
        }
    }

    /// What a channel has and has not finished.
    fn channel_state(&self, key: Key) -> Option<ChannelState> {
        let channel = self.channels.get(key).filter(|channel| channel.journaled)?;
        let skips = channel.skips.values();
        let skips = skips.map(|skip| Sequences { first: skip.from, last: skip.to - 1 }).collect();
        let (mono_ms, wall_ms) = (self.now.mono_ms, self.wall_ms());
        let mut outstanding = Vec::new();
        channel.outstanding.each(|sequence, attempts, due| {
            // What a consumer has now comes back at once.
            let due_ms = due.map_or(0, |due| wall_ms + due.saturating_sub(mono_ms));
            outstanding.push(Delta { sequence, attempts, due_ms });
        });
        outstanding.sort_unstable_by_key(|message: &Delta| message.sequence);
        let kept = channel.outstanding.kept();
        Some(ChannelState { cursor: channel.cursor, skips, outstanding, kept })
    }

    /// Writes down where everything stands.
    pub(in crate::shard) fn note_all_topics(&mut self) {
        let keys: Vec<Key> = self.topics.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.note_whole_topic(key);
        }
    }
}
