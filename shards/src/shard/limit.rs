//! How much topics and channels may hold: looked at once in a turn, where something happened.
//!
//! A topic that is full says so in a plain field, and publishes are refused from the next turn on:
//! a bound is passed by what one turn takes in at most. What is too much or too old makes room
//! here, oldest first, or as a dead letter. A bound of a topic is one of each of its channels,
//! together with what no channel has been given.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Alarm, Shard};
use crate::channel::{Channel, Skip};
use crate::journal::state::Range;
use crate::limits::ENFORCED_PER_TURN;
use crate::log::{Cold, Position};
use crate::outstanding::Waiting;
use crate::policy::{Limit, OnFull, Reason};
use crate::request::LIMIT_REACHED;
use crate::slots::Key;
use crate::topic::Topic;
use crate::wheel::TimerId;

/// What is more than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Bytes(u64),
    Messages(u64),
    Age,
}

impl Over {
    fn reason(self) -> Reason {
        match self {
            Over::Age => Reason::Age,
            Over::Bytes(_) | Over::Messages(_) => Reason::Full,
        }
    }

    /// The bound, as an operator set it.
    fn text(self, limit: &Limit) -> String {
        match self {
            Over::Bytes(_) => alloc::format!("max_bytes={}", limit.max_bytes),
            Over::Messages(_) => alloc::format!("max_messages={}", limit.max_messages),
            Over::Age => alloc::format!("max_age={}ms", limit.max_age_ms),
        }
    }
}

/// What came of an attempt to make room.
enum Room {
    /// So many messages went.
    Made(u64),
    /// There is nothing that can go now.
    None,
}

/// What is too much, and when the oldest message will be too old.
#[derive(Clone, Copy)]
struct Look {
    over: Option<Over>,
    due_ns: Option<i64>,
}

impl Limit {
    /// What of so many messages and bytes is too much. Where publishes are refused for it, there
    /// has to be room for one more.
    fn over(&self, messages: u64, bytes: u64) -> Option<Over> {
        let room = u64::from(self.on_full == OnFull::Reject);
        let excess =
            |is: u64, most: u64| if most == 0 { None } else { (is + room).checked_sub(most + 1) };
        let over_messages =
            excess(messages, self.max_messages).map(|more| Over::Messages(more + 1));
        over_messages.or(excess(bytes, self.max_bytes).map(|more| Over::Bytes(more + 1)))
    }
}

impl Shard {
    /// Holds a topic and its channels to their bounds.
    pub(super) fn enforce(&mut self, key: Key) {
        let Some(topic) = self.topics.get(key) else { return };
        let (own, count) = (topic.limit, topic.channels.len());
        let mut left = ENFORCED_PER_TURN;
        let mut full = None;
        let mut due_ns: Option<i64> = None;
        for index in 0..count {
            let topic = self.topics.get(key);
            let Some(&channel_key) = topic.and_then(|topic| topic.channels.get(index)) else {
                break;
            };
            let limit = self.channels.get(channel_key).map(|channel| channel.limit);
            for (limit, of_topic) in [(limit.unwrap_or_default(), false), (own, true)] {
                if !limit.is_set() {
                    continue;
                }
                let look = self.hold(channel_key, &limit, of_topic, &mut left);
                due_ns = look.due_ns.into_iter().chain(due_ns).min();
                if let (Some(over), None) = (look.over, &full) {
                    full = Some(self.full_text(key, Some(channel_key), over, &limit));
                }
            }
            self.note_transfers(channel_key);
        }
        if own.is_set() {
            let look = self.hold_own(key, &own, &mut left);
            due_ns = look.due_ns.into_iter().chain(due_ns).min();
            if let (Some(over), None) = (look.over, &full) {
                full = Some(self.full_text(key, None, over, &own));
            }
        }
        if let Some(topic) = self.topics.get_mut(key) {
            topic.full = full;
        }
        if left == 0 {
            self.touch(key);
        }
        self.set_age_alarm(key, due_ns);
    }

    /// Whether anything of a topic has a bound.
    pub(super) fn note_bounds(&mut self, key: Key) {
        let Some(topic) = self.topics.get(key) else { return };
        let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
        let bounded = topic.limit.is_set() || { channels }.any(|channel| channel.limit.is_set());
        if let Some(topic) = self.topics.get_mut(key) {
            topic.bounded = bounded;
            if !bounded {
                topic.full = None;
            }
        }
    }

    /// Drops what of a channel is too old, before anything of it is delivered. False when there
    /// may be more of it than goes in one turn.
    pub(super) fn expire(&mut self, key: Key) -> bool {
        let Some(channel) = self.channels.get(key) else { return true };
        let of_topic = self.topics.get(channel.topic).map_or(Limit::default(), |topic| topic.limit);
        let mut left = ENFORCED_PER_TURN;
        for (limit, of_topic) in [(channel.limit, false), (of_topic, true)] {
            if limit.expires() {
                let only_age = Limit { max_bytes: 0, max_messages: 0, ..limit };
                self.hold(key, &only_age, of_topic, &mut left);
            }
        }
        left > 0
    }

    fn full_text(&self, key: Key, channel: Option<Key>, over: Over, limit: &Limit) -> String {
        let topic = self.topics.get(key).map_or("", |topic| topic.name.as_str());
        let channel = channel.and_then(|key| self.channels.get(key));
        let bound = over.text(limit);
        match channel {
            Some(channel) => {
                alloc::format!("{LIMIT_REACHED}: channel {topic}/{} has {bound}", channel.name)
            }
            None => alloc::format!("{LIMIT_REACHED}: topic {topic} has {bound}"),
        }
    }

    /// Holds a channel to a bound. What is still too much then.
    fn hold(&mut self, key: Key, limit: &Limit, of_topic: bool, left: &mut u64) -> Look {
        loop {
            let look = self.look(key, limit, of_topic);
            let Some(over) = look.over.filter(|_| limit.on_full != OnFull::Reject) else {
                return look;
            };
            if *left == 0 {
                return look;
            }
            match self.make_room_in(key, limit.on_full, over) {
                Room::Made(count) => *left = left.saturating_sub(count),
                Room::None => return look,
            }
        }
    }

    /// What of a channel is too much.
    fn look(&mut self, key: Key, limit: &Limit, of_topic: bool) -> Look {
        let mut look = Look { over: None, due_ns: None };
        let Some(channel) = self.channels.get_mut(key) else { return look };
        let topic_key = channel.topic;
        let Some(topic) = self.topics.get_mut(topic_key) else { return look };
        let kept = &channel.outstanding;
        let out = kept.in_flight() + kept.deferred();
        let (mut messages, mut bytes) = (channel.depth(topic.handed) + out, channel.bytes(topic));
        if of_topic {
            messages += topic.depth();
            bytes += topic.own_bytes();
        }
        look.over = limit.over(messages, bytes);
        if limit.max_age_ms != 0 && look.over.is_none() {
            match channel.oldest_ns(topic) {
                Ok(Some(oldest_ns)) => {
                    let age_ns = i64::try_from(limit.max_age_ms * 1_000_000).unwrap_or(i64::MAX);
                    let due_ns = oldest_ns.saturating_add(age_ns);
                    look.due_ns = Some(due_ns);
                    look.over = (due_ns <= self.now.wall_ns).then_some(Over::Age);
                }
                Ok(None) => {}
                Err(cold) => self.want(topic_key, cold),
            }
        }
        look
    }

    /// Takes the oldest message that waits off a channel.
    fn make_room_in(&mut self, key: Key, on_full: OnFull, over: Over) -> Room {
        let Some(channel) = self.channels.get_mut(key) else { return Room::None };
        let topic_key = channel.topic;
        let Some(topic) = self.topics.get_mut(topic_key) else { return Room::None };
        let dead = on_full == OnFull::DeadLetter;
        if dead && channel.outstanding.transfers.are_full() {
            return Room::None;
        }
        let waits = topic.handed - channel.cursor > channel.not_waiting;
        // What is too old may be first among those that came back.
        let again = waits && over == Over::Age && channel.is_requeued_older(topic);
        if !waits || again {
            let Some(message) = channel.outstanding.next_requeued() else { return Room::None };
            let at = topic.log.place(message.sequence, message.at);
            if dead {
                channel.give_up(Waiting { at, ..message }, over.reason());
            } else {
                channel.dropped.add(over.reason(), 1);
                self.finished(topic_key, key, message.sequence, at);
            }
            return Room::Made(1);
        }
        match channel.pass(topic) {
            Ok((sequence, at)) if dead => {
                topic.log.pin(sequence, at);
                let message = Waiting { sequence, at, attempts: 0, behind: 0 };
                channel.give_up(message, over.reason());
            }
            Ok((sequence, _)) => {
                channel.dropped.add(over.reason(), 1);
                self.note_finish(key, sequence);
            }
            Err(cold) => {
                let range = if dead { None } else { channel.drop_cold(topic, over) };
                let Some(range) = range else {
                    self.want(topic_key, cold);
                    return Room::None;
                };
                for sequence in range.first..=range.last {
                    self.note_finish(key, sequence);
                }
                // Its consumers may have waited for what is not wanted any more.
                self.mark(key);
            }
        }
        Room::Made(1)
    }

    /// Holds what no channel has been given to the topic's bound.
    fn hold_own(&mut self, key: Key, limit: &Limit, left: &mut u64) -> Look {
        let mut look = Look { over: None, due_ns: None };
        let Some(topic) = self.topics.get_mut(key) else { return look };
        let from = topic.handed;
        loop {
            look = topic.look_at_own(limit, self.now.wall_ns);
            let Some(over) = look.over.filter(|_| limit.on_full == OnFull::DropOldest) else {
                break;
            };
            if *left == 0 || !topic.drop_first(over.reason()) {
                break;
            }
            *left -= 1;
        }
        let (to, at) = (topic.handed, topic.handed_at);
        if from == to {
            return look;
        }
        topic.deferred.remove_range(Range { first: from, last: to - 1 });
        for channel in topic.channels.clone() {
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.skip(Skip { from, to, at });
            }
            (from..to).for_each(|sequence| self.note_finish(channel, sequence));
        }
        self.note_topic_state(key);
        look
    }

    /// Looks at a topic again when its oldest message is too old.
    fn set_age_alarm(&mut self, key: Key, due_ns: Option<i64>) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let Some(due_ns) = due_ns else { return };
        let wait_ns = due_ns.saturating_sub(self.now.wall_ns).max(0);
        // What is too old already, and stays, is looked at when something happens to it.
        let wait_ms = (wait_ns / 1_000_000).unsigned_abs() + 1;
        let due_ms = self.now.mono_ms + wait_ms;
        if wait_ns == 0 || topic.age_alarm != TimerId::NONE && topic.age_due_ms <= due_ms {
            return;
        }
        self.wheel.cancel(topic.age_alarm);
        topic.age_due_ms = due_ms;
        topic.age_alarm = self.wheel.set(due_ms, Alarm::Age(key));
    }

    /// A topic's oldest message may be too old now.
    pub(super) fn age_alarm(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key) {
            topic.age_alarm = TimerId::NONE;
            self.touch(key);
        }
    }

    /// The disk has less free space than it is to have, or enough again.
    pub fn hold_floor(&mut self, text: Option<String>) {
        self.floor = text;
    }

    /// Why a publish to this topic is refused, if it is.
    pub(super) fn bound_reason(&mut self, key: Key) -> Option<String> {
        let topic = self.topics.get(key)?;
        let presses = self.floor.is_some() && topic.full.is_none() && topic.is_kept();
        if presses && self.press_for_floor() {
            return None;
        }
        let topic = self.topics.get_mut(key)?;
        let floor = self.floor.as_ref().filter(|_| topic.is_kept());
        let reason = topic.full.as_ref().or(floor)?.clone();
        topic.rejected_count += 1;
        self.publishes_refused += 1;
        Some(reason)
    }

    /// Messages that came back and are too old to be delivered again.
    pub(super) fn drop_expired(&mut self, key: Key, expired: &mut Vec<(u64, Position)>) {
        let Some(topic_key) = self.channels.get(key).map(|channel| channel.topic) else { return };
        for (sequence, at) in expired.drain(..) {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.dropped.add(Reason::Age, 1);
            }
            self.finished(topic_key, key, sequence, at);
        }
    }
}

impl Channel {
    /// Whether operators ask anything of it beyond NSQ, or something came of that.
    pub(super) fn is_ruled(&self, of_topic: &Limit) -> bool {
        let given_up = self.dropped.total() + self.dead_letters.total() + self.redriven_count;
        given_up > 0 || self.limit.is_set() || of_topic.is_set() || !self.policy.is_empty()
    }

    /// Bytes that its messages take, about: of those behind its cursor only the number is known.
    pub(super) fn bytes(&self, topic: &Topic) -> u64 {
        let ahead = topic.log.bytes_ahead(self.cursor, self.at).saturating_sub(topic.own_bytes());
        let kept = &self.outstanding;
        let out = kept.in_flight() + kept.requeued() + kept.deferred();
        // What is deferred and not passed yet is in `ahead` already.
        let passed = out - kept.deferred_from(self.cursor);
        ahead + passed * topic.log.mean_record_bytes()
    }

    /// Since when its oldest waiting message could be delivered.
    fn oldest_ns(&mut self, topic: &mut Topic) -> Result<Option<i64>, Cold> {
        let again = self.requeued_since_ns(topic);
        let mut new = None;
        if topic.handed - self.cursor > self.not_waiting {
            let at = self.come_to_next(topic)?;
            new = Some(topic.log.settled(at).timestamp_ns());
        }
        Ok(again.into_iter().chain(new).min())
    }

    fn is_requeued_older(&mut self, topic: &mut Topic) -> bool {
        let Some(again) = self.requeued_since_ns(topic) else { return false };
        match self.come_to_next(topic) {
            Ok(at) => topic.log.settled(at).timestamp_ns() > again,
            Err(_) => true,
        }
    }

    /// Since when the first message that came back could be delivered, as far as it is in memory.
    fn requeued_since_ns(&self, topic: &mut Topic) -> Option<i64> {
        let message = self.outstanding.peek_requeued()?;
        let at = topic.log.place(message.sequence, message.at);
        topic.log.record(message.sequence, at).map(|record| record.since_ns())
    }

    /// A segment that is not in memory is dropped as a whole, where that is not too much. What.
    fn drop_cold(&mut self, topic: &Topic, over: Over) -> Option<Range> {
        // Where the channel stood may be gone: at the end of a segment that nobody needed any more.
        let (number, segment) = topic.log.segments_from(self.at.segment).next()?;
        let (first, last) = (self.cursor, segment.last);
        let count = (last + 1).checked_sub(first)?;
        let excess = match over {
            Over::Messages(messages) => messages >= count,
            Over::Bytes(bytes) => bytes >= u64::from(segment.used()),
            Over::Age => false,
        };
        if segment.deferred || last >= topic.handed || !excess {
            return None;
        }
        let mut skipped = 0;
        while let Some(skip) = self.skips.first_entry().filter(|skip| *skip.key() <= last) {
            let skip = skip.remove();
            if skip.to > last + 1 {
                self.skips.insert(last + 1, Skip { from: last + 1, ..skip });
            }
            skipped += skip.to.min(last + 1) - skip.from;
        }
        self.not_waiting -= skipped;
        self.dropped.add(over.reason(), count - skipped);
        self.cursor = last + 1;
        self.at = Position { segment: number + 1, offset: 0 };
        Some(Range { first, last })
    }
}

impl Topic {
    /// Bytes of messages that no channel has been given.
    fn own_bytes(&self) -> u64 {
        if self.handed == self.head {
            return 0;
        }
        self.log.bytes_ahead(self.handed, self.handed_at)
    }

    fn look_at_own(&mut self, limit: &Limit, now_ns: i64) -> Look {
        let (messages, bytes) = (self.depth(), self.own_bytes());
        let mut look = Look { over: None, due_ns: None };
        look.over = limit.over(messages, bytes);
        if look.over.is_none() && limit.max_age_ms != 0 && messages > 0 {
            let Ok(at) = self.log.settle(self.handed, self.handed_at) else { return look };
            let age_ns = i64::try_from(limit.max_age_ms * 1_000_000).unwrap_or(i64::MAX);
            let due_ns = self.log.settled(at).since_ns().saturating_add(age_ns);
            look.due_ns = Some(due_ns);
            look.over = (due_ns <= now_ns).then_some(Over::Age);
        }
        look
    }

    /// Drops the first message that no channel has been given. False when it is not in memory.
    fn drop_first(&mut self, reason: Reason) -> bool {
        let Ok(at) = self.log.settle(self.handed, self.handed_at) else { return false };
        let record = self.log.settled(at);
        let (sequence, next) = (record.sequence(), record.next);
        self.handed_at = next;
        self.handed = sequence + 1;
        self.dropped.add(reason, 1);
        true
    }
}
