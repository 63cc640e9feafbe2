//! What a topic keeps of what all of its channels have finished, and when it is let go.
//!
//! It is whole segments, in the log like all others, below the lowest cursor. They go, the oldest
//! first, when the rest is as much as is to be kept, or when they are too old; and before a publish
//! is refused because memory or the disk is short: keeping what nobody waits for is in nobody's way.

use super::{Alarm, Shard};
use crate::limits::{FLOOR_PRESS_MS, RETAINED_SEGMENTS_MAX};
use crate::log::UNTOLD;
use crate::policy::Keep;
use crate::slots::Key;
use crate::topic::Topic;
use crate::wheel::TimerId;

/// What becomes of the oldest segment of what is kept.
enum Oldest {
    /// It is let go.
    Goes,
    /// It stays until then, nanoseconds since the Unix epoch, or for ever.
    Stays(Option<i64>),
    /// First it has to be known when the segment that starts with this message begins.
    Untold(u64),
}

impl Shard {
    /// Lets go what a topic need not keep of the segments below the lowest cursor, or of all when
    /// everything is finished.
    pub(super) fn settle_retained(&mut self, key: Key, low: u32, is_finished: bool) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        (topic.low, topic.retained.all) = (low, is_finished);
        let now_ns = self.now.wall_ns;
        if topic.retained.head != topic.head {
            (topic.retained.head, topic.retained.last_ns) = (topic.head, now_ns);
        }
        if topic.log.is_empty() {
            return;
        }
        let mut oldest = topic.oldest(now_ns);
        while matches!(oldest, Oldest::Goes) {
            let first = topic.log.first_number();
            if first >= low {
                return self.start_anew(key);
            }
            topic.log.free_below(first + 1, &mut self.space);
            oldest = topic.oldest(now_ns);
        }
        let from = topic.log.earliest().unwrap_or(topic.head);
        topic.holes.retain(|hole| hole.last >= from);
        match oldest {
            Oldest::Goes | Oldest::Stays(None) => {}
            Oldest::Stays(Some(due_ns)) => self.set_retention_alarm(key, due_ns),
            Oldest::Untold(first) => self.ask_since(key, first),
        }
    }

    pub(super) fn set_retention_alarm(&mut self, key: Key, due_ns: i64) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let wait_ns = due_ns.saturating_sub(self.now.wall_ns).max(0);
        let due_ms = self.now.mono_ms + (wait_ns / 1_000_000).unsigned_abs() + 1;
        let retained = &mut topic.retained;
        if retained.alarm != TimerId::NONE && retained.due_ms <= due_ms {
            return;
        }
        self.wheel.cancel(retained.alarm);
        retained.due_ms = due_ms;
        retained.alarm = self.wheel.set(due_ms, Alarm::Retention(key));
    }

    /// What a topic keeps may be too old now.
    pub(super) fn retention_alarm(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key) {
            topic.retained.alarm = TimerId::NONE;
            self.touch(key);
        }
    }

    /// Lets so many bytes go of what is kept, or all that is kept if that is less. False when there
    /// was nothing.
    pub(super) fn press_retained(&mut self, bytes: u64) -> bool {
        let mut freed = 0;
        loop {
            let before = freed;
            for slot in 0..self.topics.slots() {
                if freed >= bytes {
                    return true;
                }
                if let Some(key) = self.topics.key_at(slot) {
                    freed += self.press_topic(key);
                }
            }
            if freed == before {
                return freed > 0;
            }
        }
    }

    /// Lets the oldest segment go of what a topic keeps. Its bytes.
    fn press_topic(&mut self, key: Key) -> u64 {
        let Some(topic) = self.topics.get_mut(key) else { return 0 };
        let Some(first) = topic.log.earliest().filter(|_| topic.retained.keep.is_set()) else {
            return 0;
        };
        let number = topic.log.first_number();
        let Some(segment) = topic.log.numbered(number) else { return 0 };
        let (bytes, count) = (u64::from(segment.used()), u64::from(segment.count));
        debug_assert!(segment.first == first, "it is the first one");
        if number >= topic.low {
            let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
            let finished = topic.handed == topic.head
                && topic.log.pins() == 0
                && topic.deferred.members().is_empty()
                && topic.journaled_to == topic.head
                && { channels }.all(|channel| channel.cursor == topic.handed);
            // The last segment goes with everything else, or stays.
            if !finished || topic.log.numbered_count() > 1 {
                return 0;
            }
            topic.retained.pressed_count += count;
            self.start_anew(key);
            return bytes.max(1);
        }
        topic.retained.pressed_count += count;
        topic.log.free_below(number + 1, &mut self.space);
        bytes.max(1)
    }

    /// Whether retained messages make room where the disk has less free space than it is to have:
    /// publishes go on then. A file at a time, and then the disk is looked at again.
    pub(super) fn press_for_floor(&mut self) -> bool {
        if self.now.mono_ms < self.floor_pressed_ms + FLOOR_PRESS_MS && self.floor_pressed_ms > 0 {
            return true;
        }
        let bytes = u64::from(self.options.store_file_bytes);
        let made_room = self.press_retained(bytes);
        self.floor_pressed_ms = if made_room { self.now.mono_ms.max(1) } else { 0 };
        made_room
    }

    /// The disk has no room.
    pub(super) fn press_for_disk(&mut self) {
        self.press_retained(u64::from(self.options.store_file_bytes));
    }

    /// Takes a topic's retained messages out of memory that are on the disk.
    pub(super) fn evict_retained(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        if !topic.retained.keep.is_set() {
            return;
        }
        for segment in topic.log.numbered_below_mut(topic.low) {
            // What is outstanding was read because somebody is about to have it.
            if segment.home.is_some()
                && segment.pins == 0
                && let Some(block) = segment.evict()
            {
                self.space.pool.give_back(block);
            }
        }
    }
}

impl Topic {
    /// What becomes of the oldest segment that it keeps.
    fn oldest(&self, now_ns: i64) -> Oldest {
        let first = self.log.first_number();
        let kept_to = self.kept_to();
        let Some(oldest) = self.log.numbered(first).filter(|_| first < kept_to) else {
            return Oldest::Stays(None);
        };
        let Keep { bytes, age_ms } = self.retained.keep;
        let rest = self.log.bytes_below(kept_to) - u64::from(oldest.used());
        if bytes != 0 && rest >= bytes && rest > 0
            || self.log.numbered_count() > RETAINED_SEGMENTS_MAX
        {
            return Oldest::Goes;
        }
        if age_ms == 0 {
            return Oldest::Stays(None);
        }
        // Nothing in it is younger than the beginning of the next one.
        let end_ns = match self.log.numbered(first + 1) {
            Some(next) if next.since_ns == UNTOLD => return Oldest::Untold(next.first),
            Some(next) => next.since_ns,
            None => self.retained.last_ns,
        };
        let age_ns = i64::try_from(age_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let due_ns = end_ns.saturating_add(age_ns);
        if due_ns <= now_ns { Oldest::Goes } else { Oldest::Stays(Some(due_ns)) }
    }

    /// Number of the first segment with something that is not finished, as far as that was looked at.
    fn kept_to(&self) -> u32 {
        self.low + u32::from(self.retained.all)
    }

    /// Messages that it keeps though they are finished, and their bytes.
    #[must_use]
    pub fn retained(&self) -> (u64, u64) {
        match self.retained.keep.is_set() {
            true => (self.log.count_below(self.kept_to()), self.log.bytes_below(self.kept_to())),
            false => (0, 0),
        }
    }
}
