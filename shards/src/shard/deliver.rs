//! From a topic's log over a channel's cursor into a consumer's output, at the end of each turn.

use alloc::vec::Vec;
use hashbrown::HashSet;

use super::{Alarm, Shard};
use crate::channel::{Channel, Next, Skip};
use crate::client::Client;
use crate::deferral::Entry;
use crate::journal::state::Range;
use crate::limits::{DELIVERIES_PER_TURN_MAX, DELIVERY_BATCH_MAX};
use crate::log::{Cold, Position, Step};
use crate::outstanding::{InFlight, Outstanding, Waiting};
use crate::policy::{OnFull, Reason};
use crate::slots::Key;
use crate::topic::Topic;
use crate::wheel::{TimerId, Wheel};
use crate::wire::frame::ATTEMPTS_OFFSET;

impl Shard {
    /// Gives the topic's new messages to its channels, when they are to have them.
    pub(super) fn hand_over(&mut self, topic_key: Key) {
        let Some(topic) = self.topics.get_mut(topic_key) else { return };
        if !topic.is_flowing() || topic.handed == topic.head {
            return;
        }
        let (from, new) = (topic.handed, topic.depth());
        let deferred = topic.deferred.members().len();
        topic.handed = topic.head;
        topic.handed_at = topic.log.end();
        for &key in &topic.channels {
            let Some(channel) = self.channels.get_mut(key) else { continue };
            channel.message_count += new;
            if deferred > 0 {
                channel.not_waiting += deferred;
                let (later_ms, pool) = (after(self.now.mono_ms, 0), &mut self.space.pool);
                let fresh_max = self.options.deferred_fresh_max;
                channel.outstanding.published.adopt(&topic.deferred, later_ms, fresh_max, pool);
                channel.set_alarm(key, &mut self.wheel, &mut self.space);
            }
            for hole in topic.holes.iter().filter(|hole| hole.last >= from) {
                channel.skip_rest(hole.first.max(from), hole.last + 1, |to| topic.log.locate(to));
            }
            if !channel.marked {
                channel.marked = true;
                self.marked.push(key);
            }
        }
        if deferred > 0 {
            let channels = topic.channels.len() as u32;
            topic.log.pin_all(topic.deferred.members(), channels);
            topic.deferred.clear(&mut self.space);
        }
    }

    /// Delivers what the channels have to those who can take it.
    pub(super) fn deliver_marked(&mut self) {
        for index in 0..self.touched.len() {
            self.hand_over(self.touched[index]);
        }
        if self.is_stopping() {
            // It would not be written down any more.
            return;
        }
        let mut marked = core::mem::take(&mut self.marked);
        for key in marked.drain(..) {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.marked = false;
            }
            if self.deliver(key) {
                self.mark(key);
            }
            self.note_attempts(key);
            self.note_transfers(key);
        }
        if self.marked.is_empty() {
            self.marked = marked;
        }
    }

    /// One channel's deliveries of this turn. True when there is more to deliver.
    fn deliver(&mut self, key: Key) -> bool {
        let Some(topic_key) = self.channels.get(key).map(|channel| channel.topic) else {
            return false;
        };
        if self.topics.get(topic_key).is_some_and(|topic| topic.bounded) {
            self.touch(topic_key);
            if !self.expire(key) {
                return true;
            }
        }
        let mut expired = Vec::new();
        let mut left = DELIVERIES_PER_TURN_MAX;
        while left > 0 {
            let Some(channel) = self.channels.get_mut(key) else { return false };
            let Some(client_key) = channel.ready.front() else { return false };
            let Some(topic) = self.topics.get_mut(topic_key) else { return false };
            let waits = channel.outstanding.transfers.are_full();
            if channel.paused || waits || channel.depth(topic.handed) == 0 {
                return false;
            }
            let Some(client) = self.clients.get_mut(client_key) else {
                channel.ready.pop_front();
                continue;
            };
            let now_ms = self.now.mono_ms;
            client.lend(&mut self.spare_buffers);
            let watched = self.stopwatch.is_some();
            let expiry = channel.expiry(topic, self.now.wall_ns);
            let gone = &mut expired;
            let delivery =
                Delivery { key, channel, topic, client_key, client, now_ms, watched, expiry, gone };
            let sampled = delivery.client.session.settings.sample_rate > 0;
            let done = if sampled {
                self.deliver_sample(key, client_key, &mut expired)
            } else {
                delivery.batch(left.min(DELIVERY_BATCH_MAX), &mut self.wheel)
            };
            if !expired.is_empty() {
                self.drop_expired(key, &mut expired);
            }
            let done = match done {
                Ok(done) => done,
                Err(cold) => {
                    self.soil(client_key);
                    self.want(topic_key, cold);
                    return false;
                }
            };
            left = left.saturating_sub(done.max(1));
            if let Some(at) = self.channels.get(key).map(|channel| channel.at) {
                self.read_ahead(topic_key, at.segment);
            }
            self.next_consumer(key, client_key);
            self.touch(topic_key);
            self.soil(client_key);
        }
        true
    }

    /// After a batch the next consumer has its turn; one that can take no more leaves the list.
    fn next_consumer(&mut self, key: Key, client_key: Key) {
        let (Some(channel), Some(client)) =
            (self.channels.get_mut(key), self.clients.get_mut(client_key))
        else {
            return;
        };
        channel.ready.pop_front();
        client.queued = client.is_ready();
        if client.queued {
            channel.ready.push_back(client.session.locality, client_key);
        }
    }

    /// One message for a consumer that wants a sample: what it does not want is dropped for the
    /// whole channel, as in the original.
    fn deliver_sample(
        &mut self,
        key: Key,
        client_key: Key,
        gone: &mut Vec<(u64, Position)>,
    ) -> Result<u64, Cold> {
        let roll = self.random(100);
        let (Some(channel), Some(client)) =
            (self.channels.get_mut(key), self.clients.get_mut(client_key))
        else {
            return Ok(0);
        };
        if !client.is_ready() {
            return Ok(0);
        }
        let topic_key = channel.topic;
        let Some(topic) = self.topics.get_mut(topic_key) else { return Ok(0) };
        let wanted = roll <= u64::from(client.session.settings.sample_rate.unsigned_abs());
        let now_ms = self.now.mono_ms;
        let watched = self.stopwatch.is_some();
        let expiry = channel.expiry(topic, self.now.wall_ns);
        let mut delivery =
            Delivery { key, channel, topic, client_key, client, now_ms, watched, expiry, gone };
        if wanted {
            return delivery.batch(1, &mut self.wheel);
        }
        match delivery.channel.next(delivery.topic.handed) {
            Some(Next::New) => {
                let (sequence, _) = delivery.pass()?;
                self.note_finish(key, sequence);
            }
            Some(Next::Again(message)) => {
                let at = delivery.topic.log.place(message.sequence, message.at);
                self.finished(topic_key, key, message.sequence, at);
            }
            None => return Ok(0),
        }
        if let (Some(channel), Some(client)) =
            (self.channels.get_mut(key), self.clients.get(client_key))
        {
            channel.taken.add(client.session.locality, 1);
        }
        Ok(1)
    }

    /// Puts a consumer that can take messages into its channel's list.
    pub(super) fn queue_if_ready(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(subscription) = client.subscription else { return };
        if client.queued || !client.is_ready() {
            return;
        }
        let Some(channel) = self.channels.get_mut(subscription.channel) else { return };
        client.queued = true;
        channel.ready.push_back(client.session.locality, key);
        if !channel.marked {
            channel.marked = true;
            self.marked.push(subscription.channel);
        }
    }

    /// Puts a message back behind what its channel has waiting.
    pub(super) fn requeue(&mut self, key: Key, mut message: Waiting) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        message.behind = self.topics.get(channel.topic).map_or(0, |topic| topic.handed);
        channel.outstanding.requeue(message);
        self.mark(key);
    }

    /// Keeps a message back for a time.
    pub(super) fn defer(&mut self, key: Key, message: Waiting, delay_ms: u64) {
        let due_ms = after(self.now.mono_ms, delay_ms);
        let Waiting { sequence, attempts, .. } = message;
        let (pool, fresh_max) = (&mut self.space.pool, self.options.deferred_fresh_max);
        if let Some(channel) = self.channels.get_mut(key) {
            let entry = Entry { due_ms, sequence, attempts };
            channel.outstanding.put_off.insert(entry, fresh_max, pool);
            channel.set_alarm(key, &mut self.wheel, &mut self.space);
        }
    }

    /// Sets the timer of a message in flight.
    pub(super) fn message_alarm(&mut self, key: Key, sequence: u64, deadline_ms: u64) -> TimerId {
        self.wheel.set(after(deadline_ms, 0), Alarm::Message { channel: key, sequence })
    }

    /// A message that was outstanding on a channel is finished there.
    pub(super) fn finished(&mut self, topic: Key, channel: Key, sequence: u64, at: Position) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.log.unpin(sequence, at, &mut self.space);
        }
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.finished_one(sequence, at);
        }
        self.note_finish(channel, sequence);
    }

    /// Drops what ephemeral topics and channels have too much, and frees what nobody wants.
    pub(super) fn settle_touched(&mut self) {
        let mut touched = core::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.settle(key);
        }
        self.touched = touched;
    }

    fn settle(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.touched = false;
        if topic.bounded {
            self.enforce(key);
        }
        let Some(topic) = self.topics.get_mut(key) else { return };
        let max = self.options.mem_queue_size;
        if topic.name.is_ephemeral()
            && let Some(dropped) = topic.drop_above(max)
        {
            for &channel in &topic.channels {
                let Some(channel) = self.channels.get_mut(channel) else { continue };
                channel.skip(dropped);
            }
        }
        let mut low = topic.log.settled_segment(topic.handed, topic.handed_at);
        let mut cold = None;
        let mut idle = topic.handed == topic.head && topic.log.pins() == 0;
        for index in 0..topic.channels.len() {
            let Some(channel) = self.channels.get_mut(topic.channels[index]) else { continue };
            if channel.name.is_ephemeral() {
                cold = channel.drop_above(max, topic).or(cold);
            }
            channel.pass_idle(topic.handed, topic.handed_at);
            low = low.min(topic.log.settled_segment(channel.cursor, channel.at));
            idle &= channel.cursor == topic.handed;
            channel.settle_charge(&mut self.space.pool);
        }
        topic.deferred.settle(&mut self.space);
        if topic.retained.keep.is_set() {
            self.settle_retained(key, low, idle);
        } else if idle && !topic.log.is_empty() {
            self.start_anew(key);
        } else if low > topic.log.first_number() {
            topic.log.free_below(low, &mut self.space);
            topic.low = low;
        }
        if let Some(cold) = cold {
            self.want(key, cold);
        }
        self.merge_old(key);
        if let Some(max) = self.options.resident_messages_max {
            self.keep_in_memory(key, max);
        }
    }

    /// Gives back all memory of a topic whose messages are all finished.
    pub(super) fn start_anew(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.handed_at = topic.log.rewind(&mut self.space);
        topic.mark_journaled();
        topic.holes.clear();
        topic.low = topic.handed_at.segment;
        for &channel in &topic.channels {
            let Some(channel) = self.channels.get_mut(channel) else { continue };
            channel.at = topic.handed_at;
            channel.outstanding.shrink();
        }
    }

    /// Merges old segments of a topic, a step at a time.
    fn merge_old(&mut self, key: Key) {
        let Shard { topics, channels, space, .. } = self;
        let Some(topic) = topics.get_mut(key).filter(|topic| topic.log.wants_merge()) else {
            return;
        };
        let channels = topic.channels.iter().filter_map(|&key| channels.get(key));
        let outstanding: Vec<&Outstanding> = channels.map(|channel| &channel.outstanding).collect();
        let requeued = outstanding.iter().flat_map(|channel| channel.requeued_sequences());
        let requeued: HashSet<u64> = requeued.collect();
        let wanted = |sequence| {
            requeued.contains(&sequence) || outstanding.iter().any(|held| held.holds(sequence))
        };
        match topic.log.merge_step(space, wanted) {
            Step::Idle | Step::More => {}
            Step::Wait(cold) => self.want(key, cold),
            Step::Store(first) => self.queue_store(key, first),
        }
    }
}

/// A deadline that is never early: the turn's time may be up to a millisecond old.
fn after(now_ms: u64, delay_ms: u64) -> u64 {
    now_ms + delay_ms + 1
}

/// A channel about to deliver to a consumer.
struct Delivery<'a> {
    key: Key,
    channel: &'a mut Channel,
    topic: &'a mut Topic,
    client_key: Key,
    client: &'a mut Client,
    now_ms: u64,
    /// Somebody measures messages.
    watched: bool,
    /// What of that which came back is too old.
    expiry: Expiry,
    /// What was found to be, and goes for good.
    gone: &'a mut Vec<(u64, Position)>,
}

/// What could be delivered at these times or before is too old to be delivered again.
#[derive(Clone, Copy)]
struct Expiry {
    /// It is a dead letter then.
    bury_ns: i64,
    /// It is dropped then.
    drop_ns: i64,
}

impl Delivery<'_> {
    /// Delivers up to `max` messages, as many as the consumer takes. How many it were.
    ///
    /// # Errors
    /// [`Cold`] when the next message is not in memory, and nothing was delivered before it.
    fn batch(mut self, max: u64, wheel: &mut Wheel<Alarm>) -> Result<u64, Cold> {
        let timeout_ms = self.client.session.settings.msg_timeout_ms;
        let deadline_ms = after(self.now_ms, timeout_ms);
        let mut done = 0;
        while done < max && self.client.is_ready() && !self.channel.outstanding.transfers.are_full()
        {
            let Some(next) = self.channel.next(self.topic.handed) else { break };
            let taken = match next {
                Next::Again(message) if self.channel.is_spent(message.attempts) => {
                    self.channel.give_up(message, Reason::Attempts);
                    continue;
                }
                Next::Again(message) => self.take_again(message),
                Next::New => self.take_new(),
            };
            let (sequence, at, attempts) = match taken {
                Ok(taken) => taken,
                Err(_) if done > 0 => break,
                Err(cold) => return Err(cold),
            };
            if let Next::Again(message) = next
                && self.is_too_old(Waiting { at, ..message })
            {
                continue;
            }
            let attempts = attempts.wrapping_add(1);
            let record = match next {
                Next::New => self.topic.log.settled(at),
                Next::Again(_) => {
                    self.channel.note_attempt(sequence, attempts);
                    let Some(record) = self.topic.log.record(sequence, at) else { continue };
                    record
                }
            };
            let frame = record.frame;
            if self.watched {
                self.channel.outstanding.stamp(sequence, record.timestamp_ns());
            }
            let start = self.client.output.len();
            self.client.output.extend_from_slice(frame);
            self.client.output[start + ATTEMPTS_OFFSET..][..2]
                .copy_from_slice(&attempts.to_be_bytes());
            let timer = wheel.set(deadline_ms, Alarm::Message { channel: self.key, sequence });
            let client = self.client_key;
            let delivered_ms = self.now_ms;
            let message = InFlight { client, at, attempts, timer, delivered_ms };
            self.channel.outstanding.deliver(sequence, message);
            self.client.in_flight += 1;
            self.channel.delivered += 1;
            done += 1;
        }
        self.client.message_count += done;
        self.channel.taken.add(self.client.session.locality, done);
        Ok(done)
    }

    /// Whether a message that came back is too old to be delivered again. Then it goes.
    fn is_too_old(&mut self, message: Waiting) -> bool {
        let Expiry { bury_ns, drop_ns } = self.expiry;
        if bury_ns.max(drop_ns) == i64::MIN {
            return false;
        }
        let Waiting { sequence, at, .. } = message;
        let Some(record) = self.topic.log.record(sequence, at) else { return false };
        let since_ns = record.since_ns();
        if since_ns <= bury_ns {
            self.channel.give_up(message, Reason::Age);
        } else if since_ns <= drop_ns {
            self.gone.push((sequence, at));
        }
        since_ns <= bury_ns.max(drop_ns)
    }

    /// A message that was delivered before.
    fn take_again(&mut self, message: Waiting) -> Result<(u64, Position, u16), Cold> {
        let Waiting { sequence, at, attempts, .. } = message;
        let at = self.topic.log.place(sequence, at);
        if let Some(cold) = self.topic.log.cold(sequence, at) {
            self.channel.outstanding.requeue_first(message);
            return Err(cold);
        }
        Ok((sequence, at, attempts))
    }

    /// The message at the cursor, pinned, and the cursor past it.
    fn take_new(&mut self) -> Result<(u64, Position, u16), Cold> {
        let (sequence, at) = self.pass()?;
        self.topic.log.pin(sequence, at);
        self.channel.moved = true;
        Ok((sequence, at, 0))
    }

    /// Moves the cursor over the next message, and over all before it that are not waiting.
    fn pass(&mut self) -> Result<(u64, Position), Cold> {
        self.channel.pass(self.topic)
    }
}

impl Channel {
    /// Moves the cursor over the next message, and over all before it that are not waiting.
    pub(super) fn pass(&mut self, topic: &mut Topic) -> Result<(u64, Position), Cold> {
        loop {
            if let Some(skip) = self.take_skip() {
                self.not_waiting -= skip.to - skip.from;
                self.cursor = skip.to;
                self.at = skip.at;
                continue;
            }
            let sequence = self.cursor;
            let at = topic.log.settle(sequence, self.at)?;
            let record = topic.log.settled(at);
            debug_assert_eq!(record.sequence(), sequence, "the cursor and its place go together");
            self.cursor += 1;
            self.at = record.next;
            if record.delay_ms == 0 {
                return Ok((sequence, at));
            }
            // It is among the deferred ones, or was.
            self.not_waiting -= 1;
        }
    }

    /// Moves the cursor over all that are not waiting, to the next one that is. Where that is.
    pub(super) fn come_to_next(&mut self, topic: &mut Topic) -> Result<Position, Cold> {
        loop {
            if let Some(skip) = self.take_skip() {
                self.not_waiting -= skip.to - skip.from;
                (self.cursor, self.at) = (skip.to, skip.at);
                continue;
            }
            let at = topic.log.settle(self.cursor, self.at)?;
            let record = topic.log.settled(at);
            if record.delay_ms == 0 {
                return Ok(at);
            }
            self.cursor += 1;
            self.at = record.next;
            self.not_waiting -= 1;
        }
    }

    /// What of that which came back is too old by its own bound, or its topic's.
    fn expiry(&self, topic: &Topic, now_ns: i64) -> Expiry {
        let mut expiry = Expiry { bury_ns: i64::MIN, drop_ns: i64::MIN };
        for limit in [&self.limit, &topic.limit].into_iter().filter(|limit| limit.expires()) {
            let age_ns = i64::try_from(limit.max_age_ms * 1_000_000).unwrap_or(i64::MAX);
            let old_ns = match limit.on_full {
                OnFull::DeadLetter => &mut expiry.bury_ns,
                OnFull::DropOldest | OnFull::Reject => &mut expiry.drop_ns,
            };
            *old_ns = now_ns.saturating_sub(age_ns).max(*old_ns);
        }
        expiry
    }

    /// Drops the oldest of more than `max` waiting messages.
    fn drop_above(&mut self, max: u64, topic: &mut Topic) -> Option<Cold> {
        let waiting = topic.handed - self.cursor - self.not_waiting;
        for _ in max..waiting {
            if let Err(cold) = self.pass(topic) {
                return Some(cold);
            }
            self.dropped.add(Reason::Full, 1);
        }
        None
    }
}

impl Topic {
    /// Drops the oldest of more than `max` messages that no channel has been given; says which.
    fn drop_above(&mut self, max: u64) -> Option<Skip> {
        let from = self.handed;
        while self.head - self.handed > max {
            // An ephemeral topic is always in memory.
            let Ok(at) = self.log.settle(self.handed, self.handed_at) else { break };
            self.handed_at = self.log.settled(at).next;
            self.handed += 1;
            self.dropped.add(Reason::Full, 1);
        }
        if from < self.handed {
            self.deferred.remove_range(Range { first: from, last: self.handed - 1 });
        }
        (from < self.handed).then_some(Skip { from, to: self.handed, at: self.handed_at })
    }
}
