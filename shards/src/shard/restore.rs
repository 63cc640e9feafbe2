//! Topics as they were before a restart.

use alloc::vec::Vec;

use super::{OldFiles, Shard};
use crate::deferral::Entry;
use crate::id;
use crate::journal::state::{ChannelState, Outstanding, Range};
use crate::log::{Position, Segment};
use crate::outstanding::Waiting;
use crate::policy::Reason;
use crate::recover::{Dues, RecoveredTopic};
use crate::sequences::SequenceSet;
use crate::slots::Key;

impl Shard {
    /// Takes in what was found on the disk. Comes after [`Shard::restore`], before anything else.
    /// All of it is written down anew in the first turn.
    /// `old_files` are released as soon as that is safe, unless messages are in them.
    pub fn restore_messages(
        &mut self,
        topics: Vec<RecoveredTopic>,
        sequence_floor: u64,
        old_files: OldFiles,
    ) {
        self.sequence_floor = self.sequence_floor.max(sequence_floor);
        for recovered in topics {
            let key = self.restored_topic(&recovered.name);
            self.restore_topic(key, &recovered);
            for (name, state) in &recovered.channels {
                let channel = self.channel(key, name);
                self.restore_channel(key, channel, state, &recovered);
            }
            self.wait_again(key);
            self.touch(key);
        }
        self.settle_restored();
        self.replace_old_files(old_files);
    }

    fn restore_topic(&mut self, key: Key, recovered: &RecoveredTopic) {
        let (wall_ms, fresh_max) = (self.wall_ms(), self.options.deferred_fresh_max);
        let Shard { topics, space, .. } = self;
        let Some(topic) = topics.get_mut(key) else { return };
        assert!(topic.log.is_empty(), "messages are restored once, into a new topic");
        // Ids that somebody may have seen of messages that are lost are not given again: sequence
        // numbers go on with the clock.
        let head = recovered.state.head;
        topic.head = head.max(id::first_sequence(self.now.wall_ns)).max(self.sequence_floor);
        let segments = recovered.segments.iter();
        topic.log.restore(segments.map(|found| {
            space.store.restore(found.place);
            Segment::stored(found.first, found.last, found.count, found.deferred, found.place)
        }));
        let handed = recovered.state.handed.filter(|_| !recovered.segments.is_empty());
        topic.handed = handed.unwrap_or(topic.head);
        topic.handed_at = topic.log.locate(topic.handed);
        for (sequence, due_ms) in recovered.dues.range(topic.handed..topic.head) {
            let entry = Entry { due_ms: due_ms.saturating_sub(wall_ms), sequence, attempts: 0 };
            topic.deferred.insert(entry, fresh_max, &mut space.pool);
        }
        // Of a topic without messages it is written down, too, that there are none: some that are
        // finished may still lie in files.
        let known = recovered.state.head > 0;
        topic.journaled |= known && topic.is_kept() && self.journal.enabled;
        topic.mark_journaled();
        // Sequence numbers that no message has are not waited for.
        if !recovered.segments.is_empty() {
            topic.holes.clone_from(&recovered.holes);
            if head < topic.head {
                topic.holes.push(Range { first: head, last: topic.head - 1 });
            }
        }
    }

    fn restore_channel(
        &mut self,
        topic_key: Key,
        key: Key,
        state: &ChannelState,
        recovered: &RecoveredTopic,
    ) {
        let Some(topic) = self.topics.get_mut(topic_key) else { return };
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.journaled = topic.journaled && !channel.name.is_ephemeral();
        // Below the first message there is nothing, whatever is known of the channel.
        let first = recovered.segments.first().map_or(topic.handed, |segment| segment.first);
        channel.cursor = state.cursor.max(first).min(topic.handed);
        channel.at = topic.log.locate(channel.cursor);
        for skipped in &state.skips {
            let to = (skipped.last + 1).min(topic.handed);
            channel.skip_rest(skipped.first, to, |to| topic.log.locate(to));
        }
        channel.skip_rest(recovered.state.head, topic.handed, |to| topic.log.locate(to));
        self.restore_kept(topic_key, key, &state.kept, &recovered.dues);
        for &message in &state.outstanding {
            self.restore_outstanding(topic_key, key, message);
        }
        if let Some(channel) = self.channels.get_mut(key) {
            channel.settle_charge(&mut self.space.pool);
            channel.set_alarm(key, &mut self.wheel, &mut self.space);
        }
    }

    /// Messages that were never delivered, and are due when their records say.
    fn restore_kept(&mut self, topic_key: Key, key: Key, kept: &SequenceSet, dues: &Dues) {
        let (now, wall_ms, fresh_max) =
            (self.now.mono_ms, self.wall_ms(), self.options.deferred_fresh_max);
        let Shard { topics, channels, space, .. } = self;
        let Some(topic) = topics.get_mut(topic_key) else { return };
        let Some(channel) = channels.get_mut(key) else { return };
        let (Some(first), Some(last)) = (kept.next(0), kept.last()) else { return };
        topic.log.pin_all(kept, 1);
        channel.not_waiting += kept.count(Range { first: channel.cursor, last: u64::MAX });
        for (sequence, due_ms) in dues.range(first..last + 1) {
            if !kept.contains(sequence) {
                continue;
            }
            if due_ms > wall_ms {
                // The two clocks change their milliseconds at different times: one more, so that
                // nothing comes early.
                let due_ms = now + (due_ms - wall_ms) + 1;
                let entry = Entry { due_ms, sequence, attempts: 0 };
                channel.outstanding.published.insert(entry, fresh_max, &mut space.pool);
            } else {
                let at = Position::UNKNOWN;
                channel.outstanding.requeue(Waiting { sequence, at, attempts: 0, behind: 0 });
            }
        }
        self.mark(key);
    }

    fn restore_outstanding(&mut self, topic_key: Key, key: Key, message: Outstanding) {
        let (mono_ms, wall_ms) = (self.now.mono_ms, self.wall_ms());
        let Some(topic) = self.topics.get_mut(topic_key) else { return };
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Outstanding { sequence, attempts, due_ms } = message;
        let at = topic.log.locate(sequence);
        topic.log.pin(sequence, at);
        if sequence >= channel.cursor {
            channel.not_waiting += 1;
        }
        let waiting = Waiting { sequence, at, attempts, behind: 0 };
        if due_ms > wall_ms {
            let due = mono_ms + (due_ms - wall_ms);
            let entry = Entry { due_ms: due, sequence, attempts };
            let fresh_max = self.options.deferred_fresh_max;
            channel.outstanding.put_off.insert(entry, fresh_max, &mut self.space.pool);
        } else if channel.is_spent(attempts) && !channel.outstanding.transfers.are_full() {
            channel.give_up(waiting, Reason::Attempts);
            self.mark(key);
        } else {
            channel.outstanding.requeue(waiting);
            self.mark(key);
        }
    }

    fn settle_restored(&mut self) {
        self.settle_touched();
        // What was noted while topics and channels were made is not how they are.
        self.journal.forget_notes();
        self.note_all_topics();
    }
}
