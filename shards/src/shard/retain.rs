//! What a topic keeps of what all of its channels have finished, and when it is let go.
//!
//! It is whole segments, in the log like all others, below the lowest cursor. They go, the oldest
//! first, when the rest is as much as is to be kept, or when they are too old; and before a publish
//! is refused because memory or the disk is short: what nobody waits for is in nobody's way.

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
                && (!topic.noted || topic.journaled_to == topic.head)
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

    /// Number of the first segment with something that is not finished, as it was last seen.
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

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;

    use crate::limits::{FLOOR_PRESS_MS, Options};
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::policy::{Defaults, Keep};
    use crate::request::{Publish, Reply, Request, Seek, SeekAction, Sought, Target};
    use crate::shard::{Now, Parts, Shard};
    use crate::wire::names::Name;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    const SECOND_NS: i64 = 1_000_000_000;
    const START_NS: i64 = 1_780_272_000 * SECOND_NS;

    fn now(seconds: u64) -> Now {
        Now { mono_ms: seconds * 1000, wall_ns: START_NS + seconds as i64 * SECOND_NS }
    }

    /// A shard without a disk and with memory for some chunks, and a channel `t/c`.
    fn shard(keep: Keep, chunks: usize) -> Shard {
        let placement = Placement::new(0, 1, &[]);
        let options = Options {
            memory_limit_bytes: chunks * CHUNK_BYTES,
            defaults: Defaults { keep, ..Defaults::default() },
            ..Options::default()
        };
        let parts = Parts { options, placement, workers: 1, now: now(0), seed: 1, disk: false };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, Box::new(grow));
        for request in
            [Request::CreateTopic(name("t")), Request::CreateChannel(name("t"), name("c"))]
        {
            shard.ask(0, 1, request);
        }
        shard.finish_turn();
        while shard.take_reply().is_some() {}
        shard
    }

    fn publish(shard: &mut Shard, count: u32, bytes: u32) -> Option<String> {
        let publish = Publish {
            topic: name("t"),
            bytes: alloc::vec![7; (count * bytes) as usize],
            lengths: alloc::vec![bytes; count as usize],
            defer_ms: 0,
        };
        shard.ask(0, 2, Request::Publish(publish));
        shard.finish_turn();
        match shard.take_reply() {
            Some((2, Reply::Done)) => None,
            Some((2, Reply::Refused(reason))) => Some(reason),
            other => panic!("{other:?}"),
        }
    }

    fn seek(shard: &mut Shard, to: Target, action: SeekAction) -> Sought {
        let seek = Seek { topic: name("t"), channel: name("c"), to, action };
        shard.ask(0, 3, Request::Seek(seek));
        shard.finish_turn();
        match shard.take_reply() {
            Some((3, Reply::Sought(sought))) => sought,
            other => panic!("{other:?}"),
        }
    }

    /// Everything is finished.
    fn finish(shard: &mut Shard) {
        seek(shard, Target::Latest, SeekAction::Move);
        shard.finish_turn();
    }

    fn there(shard: &mut Shard) -> u64 {
        let sought = seek(shard, Target::Earliest, SeekAction::DryRun);
        assert_eq!(sought.messages.0, sought.messages.1, "in memory it is known");
        sought.messages.0
    }

    fn pressed(shard: &Shard) -> u64 {
        shard.topics.iter().map(|(_, topic)| topic.retained.pressed_count).sum()
    }

    #[test]
    fn as_many_bytes_are_kept_as_was_said_and_a_segment_more_at_most() {
        let mut shard = shard(Keep { bytes: 3 << 20, age_ms: 0 }, 32);
        for _ in 0..100 {
            assert_eq!(publish(&mut shard, 10, 10_000), None);
            finish(&mut shard);
        }
        let kept = there(&mut shard) * 10_042;
        assert!((3 << 20..(4 << 20) + 20_000).contains(&kept), "{kept} bytes");
        assert_eq!(pressed(&shard), 0);
    }

    #[test]
    fn what_is_too_old_goes_by_itself() {
        let mut shard = shard(Keep { bytes: 0, age_ms: 60_000 }, 32);
        for minute in 0..3 {
            shard.begin_turn(now(minute * 40));
            assert_eq!(publish(&mut shard, 200, 10_000), None);
            finish(&mut shard);
        }
        // The first of these are more than a minute old, as far as whole segments are.
        let left = there(&mut shard);
        assert!((400..600).contains(&left), "{left} are left");
        let due_ms = shard.next_deadline_ms().expect("the rest goes later");
        shard.begin_turn(Now { mono_ms: due_ms, ..now(due_ms / 1000 + 1) });
        shard.begin_turn(now(200));
        shard.finish_turn();
        assert_eq!(there(&mut shard), 0);
        assert_eq!(shard.next_deadline_ms(), None, "nothing is left to be waited for");
    }

    #[test]
    fn it_makes_room_before_a_publish_is_refused() {
        let mut shard = shard(Keep { bytes: 1 << 40, age_ms: 0 }, 4);
        for _ in 0..40 {
            assert_eq!(publish(&mut shard, 100, 10_000), None);
            finish(&mut shard);
        }
        assert!(pressed(&shard) > 0 && there(&mut shard) > 0);
        assert_eq!(pressed(&shard) + there(&mut shard), 4000, "what went is counted");
        // What is not finished makes no room.
        let refused = (0..40).find_map(|_| publish(&mut shard, 100, 10_000));
        assert!(refused.is_some_and(|reason| reason.contains("memory limit reached")));
        assert_eq!(seek(&mut shard, Target::Earliest, SeekAction::DryRun).messages, (0, 0));
    }

    #[test]
    fn it_makes_room_on_the_disk_before_a_publish_is_refused() {
        let mut shard = shard(Keep { bytes: 1 << 40, age_ms: 0 }, 32);
        assert_eq!(publish(&mut shard, 100, 10_000), None);
        finish(&mut shard);
        shard.begin_turn(now(1));
        shard.hold_floor(Some("limit reached: the disk".into()));
        assert_eq!(publish(&mut shard, 1, 10), None, "it goes instead");
        assert_eq!((pressed(&shard), there(&mut shard)), (100, 0));
        shard.begin_turn(Now { mono_ms: 1000 + FLOOR_PRESS_MS, ..now(1) });
        let refused = publish(&mut shard, 1, 10);
        assert_eq!(refused.as_deref(), Some("limit reached: the disk"), "there is nothing left");
        shard.hold_floor(None);
        assert_eq!(publish(&mut shard, 1, 10), None);
    }

    #[test]
    fn without_retention_nothing_is_kept() {
        let mut shard = shard(Keep::default(), 4);
        for _ in 0..10 {
            assert_eq!(publish(&mut shard, 100, 10_000), None);
            finish(&mut shard);
            assert_eq!(there(&mut shard), 0);
            assert_eq!(shard.space.pool.used_bytes(), 0);
        }
    }
}
